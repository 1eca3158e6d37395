"""The page "How to add a channel" is followed: one file, one line, one JSON; and then a shop sells with it.

The file is `toy.py` beside this one. Of the product nothing is changed but the registry's line and the names of its settings.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
from ast import literal_eval
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from environs import Env

from orders.models import Order
from payments.applying import apply_for_payment
from payments.channels import registry
from payments.channels.base import (
    BadStatement,
    Channel,
    ChannelError,
    LineKind,
    NotGenuine,
    Outcome,
    RawCallback,
    Unanswered,
)
from payments.channels.registry import get_channel, offered_channels
from payments.channels.wire import Reply
from payments.ending import cancel_order
from payments.errors import OrderIsPaid
from payments.models import Case, Payment
from payments.querying import query_payment
from payments.refunding import ask_refund, send_refund
from payments.statuses import PaymentStatus, RefundStatus
from shop.env import channel_settings
from tests.factories import make_order, steps
from tests.sandbox.merchant import Answer, Listener, Received

from .party import ScriptedWire, load_vectors, lower, make_attempt, make_refund
from .test_table import tell
from .toy import Toy

PAGE = Path(registry.__file__).with_name("README.md").read_text(encoding="utf-8")
VECTORS = load_vectors("toy")
SECRET, MESSAGES = VECTORS["secret"], VECTORS["messages"]
SCREEN_LINES = 60
NUMBER, REFUND_NUMBER = "ND20261121A0000001", "NDR20261122A0000001"
NOW = datetime(2026, 11, 21, 10, 10, tzinfo=UTC)
ATTEMPT = make_attempt("toy", NUMBER, started_at=NOW, expires_at=NOW)
REFUND = make_refund(ATTEMPT, REFUND_NUMBER, channel_number="T1")


def seal(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


# ---- the page ----------------------------------------------------------------------------------------------------


def names_in(title: str) -> set[str]:
    """The words in code type of a table's first column."""
    table = PAGE.partition(f"| {title} |")[2].partition("\n\n")[0]
    first_cells = (row.split("|")[1] for row in table.splitlines() if row.count("|") > 2)
    return {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


def test_page_is_two_screens_at_most():
    assert len(PAGE.splitlines()) <= 2 * SCREEN_LINES


def test_page_names_every_operation_of_the_contract():
    assert names_in("operation") == set(Channel.__abstractmethods__)


def test_page_names_everything_that_a_channel_declares():
    assert names_in("declare") == {
        name for name, kind in Channel.__annotations__.items() if kind.startswith("ClassVar")
    }


def test_page_names_the_recorded_messages_that_there_are():
    assert names_in("message") == set(MESSAGES)


# ---- the messages: each recorded message is read as the page says --------------------------------------------------


def recorded(name: str) -> Reply:
    kept = MESSAGES[name]
    return Reply(status=200, headers=lower(kept["headers"]), body=kept["body"].encode(), elapsed_ms=1)


def toy_answered(reply: Reply | ChannelError) -> Toy:
    wire: Any = ScriptedWire(reply)
    return Toy("https://toy.example/", SECRET, wire)


def test_created_is_an_action():
    created = toy_answered(recorded("created")).create(ATTEMPT)
    assert created.action == {"type": "qr", "content": "toy://pay/T1"}


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("open", Outcome.OPEN), ("closed", Outcome.CLOSED), ("missing", Outcome.NOT_FOUND)],
)
def test_state_of_an_unpaid_payment_is_read(name, outcome):
    assert toy_answered(recorded(name)).query(ATTEMPT).outcome is outcome
    assert toy_answered(recorded(name)).close(ATTEMPT).outcome is outcome


def test_paid_is_a_success_with_every_field():
    report = toy_answered(recorded("paid")).query(ATTEMPT)
    assert (report.outcome, report.number, report.channel_number) == (Outcome.SUCCEEDED, NUMBER, "T1")
    assert (report.amount_minor, report.currency) == (12900, "CNY")
    assert report.paid_at == datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)


@pytest.mark.parametrize(("name", "outcome"), [("refunding", Outcome.OPEN), ("refunded", Outcome.SUCCEEDED)])
def test_refund_is_read(name, outcome):
    assert toy_answered(recorded(name)).refund(REFUND).outcome is outcome
    assert toy_answered(recorded(name)).query_refund(REFUND).outcome is outcome


def test_callback_is_read_and_any_byte_of_it_counts():
    whole = recorded("callback")
    toy = toy_answered(whole)
    message = toy.read_callback(RawCallback(headers=whole.headers, body=whole.body))
    assert (message.message_id, message.report.outcome) == ("M1", Outcome.SUCCEEDED)
    for place in range(len(whole.body)):
        damaged = whole.body[:place] + bytes([whole.body[place] ^ 1]) + whole.body[place + 1 :]
        with pytest.raises(NotGenuine):
            toy.read_callback(RawCallback(headers=whole.headers, body=damaged))


def test_statement_is_a_payment_and_a_refund():
    file = io.BytesIO()
    toy = toy_answered(recorded("statement"))
    toy.fetch_statement(date(2026, 11, 21), file)
    file.seek(0)
    assert [(line.kind, line.number) for line in toy.read_statement(file)] == [
        (LineKind.PAYMENT, NUMBER),
        (LineKind.REFUND, REFUND_NUMBER),
    ]
    with pytest.raises(BadStatement):
        list(toy.read_statement(io.BytesIO(b'{"lines": [{}]}')))


@pytest.mark.parametrize("name", ["paid", "created"])
def test_answer_that_does_not_verify_is_unknown(name):
    forged = Reply(status=200, headers={"seal": "0" * 64}, body=recorded(name).body, elapsed_ms=1)
    assert toy_answered(forged).query(ATTEMPT).outcome is Outcome.UNKNOWN
    assert toy_answered(forged).refund(REFUND).outcome is Outcome.UNKNOWN
    with pytest.raises(Unanswered):
        toy_answered(forged).create(ATTEMPT)


# ---- the line: and it is sold with -------------------------------------------------------------------------------


class ToyPay(Listener):
    """The provider: one address, and the truth of the money in a dict by our number."""

    path = "/"

    def __init__(self) -> None:
        self.trades: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        super().__init__()

    def pay(self, number: str) -> bytes:
        """The shopper pays; returns the callback's body."""
        paid = {"state": "paid", "trade": f"T{number}", "paid_at": datetime.now(UTC).isoformat()}
        self.trades[number] |= paid
        return json.dumps({"id": f"M{number}"} | self.trades[number]).encode()

    def answer_to(self, received: Received) -> Answer:
        assert received.headers["Seal"] == seal(received.body)
        body = json.dumps(self.do(json.loads(received.body))).encode()
        return Answer(200, body, {"Seal": seal(body)})

    def do(self, wish: dict[str, Any]) -> dict[str, Any]:
        number = wish["number"]
        if wish["do"] == "create":
            trade = {"number": number, "state": "open", "amount": wish["amount"], "currency": "CNY"}
            return self.trades.setdefault(number, trade) | {"code": f"toy://pay/{number}"}
        if wish["do"] == "refund":
            back = {"number": number, "state": "paid", "trade": f"B{number}", "amount": wish["amount"]}
            return self.refunds.setdefault(number, back)
        if wish["do"] == "query_refund":
            return self.refunds.get(number, {"number": number, "state": "missing"})
        trade = self.trades.get(number, {"number": number, "state": "missing"})
        if wish["do"] == "close" and trade["state"] == "open":
            trade["state"] = "closed"
        return trade


def read_value(opening: str) -> Any:
    """The value in the page's line for a dict, which opens like this."""
    [value] = re.findall(rf'^    "<name>": ({re.escape(opening)}.+),$', PAGE, re.MULTILINE)
    return literal_eval(value)


@pytest.fixture
def toypay(monkeypatch, settings) -> Iterator[ToyPay]:
    """ToyPay, and its lines in the registry and in the settings as the page writes them."""
    provider = ToyPay()
    path = read_value('"').replace("payments.channels.<name>.<Class>", f"{Toy.__module__}.Toy")
    monkeypatch.setitem(registry.CLASSES, "toy", path)
    monkeypatch.setenv("TOY_URL", provider.url)
    monkeypatch.setenv("TOY_SECRET", SECRET)
    settings.CHANNELS = {"toy": channel_settings(Env(), "TOY", read_value("("), {})}
    yield provider
    provider.close()


def apply(order: Order) -> Payment:
    return apply_for_payment(order.number, channel="toy", scene="qr").payment


def notify(body: bytes, given_seal: str | None = None) -> tuple[int, bytes]:
    answer = Client().post(
        "/notify/toy/", data=body, content_type="application/json", headers={"Seal": given_seal or seal(body)}
    )
    return answer.status_code, answer.content


@pytest.mark.django_db(transaction=True)
class TestSelling:
    def test_channel_is_offered_by_its_line(self, toypay):
        assert [channel.title for channel in offered_channels("CNY")] == ["ToyPay"]
        assert offered_channels("USD") == []
        assert isinstance(get_channel("toy"), Toy)

    def test_row_of_the_table_is_told_by_the_class(self, toypay):
        assert tell(get_channel("toy")).startswith("| ToyPay `toy` | ¥0.01 to ¥50,000.00 | `qr` | sent again")
        assert f"tests/payments/channels/{Path(tell.__code__.co_filename).name}" in PAGE

    def test_payment_is_applied_for_and_settled_by_its_callback(self, toypay):
        order = make_order()
        payment = apply(order)
        assert payment.action == {"type": "qr", "content": f"toy://pay/{payment.number}"}
        assert apply(order).action == payment.action

        assert notify(toypay.pay(payment.number)) == (200, b'{"state":"taken"}')

        payment.refresh_from_db()
        order.refresh_from_db()
        assert (payment.status, order.status) == (PaymentStatus.PAID, "READY_FOR_SHIPMENT")
        assert notify(toypay.pay(payment.number))[0] == 200
        assert steps(payment.number) == [("", "UNPAID"), ("UNPAID", "PAYING"), ("PAYING", "PAID")]

    def test_forged_callback_is_refused_in_the_channels_words(self, toypay):
        payment = apply(make_order())
        body = toypay.pay(payment.number)
        assert notify(body, "0" * 64) == (400, b'{"state":"refused"}')
        payment.refresh_from_db()
        assert payment.status == PaymentStatus.PAYING

    def test_lost_callback_is_made_good_by_a_query(self, toypay):
        payment = apply(make_order())
        assert query_payment(payment.number)[0] is Outcome.OPEN
        toypay.pay(payment.number)
        assert query_payment(payment.number)[0] is Outcome.SUCCEEDED
        payment.refresh_from_db()
        assert payment.status == PaymentStatus.PAID

    def test_cancelled_order_is_closed_at_the_channel(self, toypay):
        order = make_order()
        payment = apply(order)
        cancel_order(order.number)
        payment.refresh_from_db()
        assert payment.status == PaymentStatus.CLOSED
        assert toypay.trades[payment.number]["state"] == "closed"

    def test_order_that_was_paid_while_it_was_cancelled_is_paid(self, toypay):
        order = make_order()
        payment = apply(order)
        toypay.pay(payment.number)
        with pytest.raises(OrderIsPaid):
            cancel_order(order.number)
        payment.refresh_from_db()
        assert payment.status == PaymentStatus.PAID

    def test_money_goes_back_under_one_number(self, toypay):
        payment = apply(make_order())
        notify(toypay.pay(payment.number))
        refund = ask_refund(payment.number, amount=12900, reason="size", actor="anna")
        for _ in range(2):
            send_refund(refund)
        refund.refresh_from_db()
        assert refund.status == RefundStatus.REFUNDED
        assert [back["amount"] for back in toypay.refunds.values()] == [12900]
        assert not Case.objects.exists()
