"""The page "How to add a channel" is followed: one file, one line, one folder; and then a shop sells with it.

The file is `toy.py` beside this one. Of the product nothing is changed but the registry's line.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from orders.models import Order
from payments.applying import apply_for_payment
from payments.channels import registry
from payments.channels.base import (
    Attempt,
    BadStatement,
    Channel,
    ChannelError,
    LineKind,
    NotGenuine,
    Outcome,
    RawCallback,
    RefundRequest,
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
from tests.factories import make_order, steps

from .toy import Toy
from .wechat_party import ScriptedWire

PAGE = Path(registry.__file__).with_name("README.md").read_text(encoding="utf-8")
FOLDER = Path(__file__).parent / "vectors" / "toy"
SCREEN_LINES = 60
SECRET = "throwaway-toy-secret"
NUMBER, REFUND_NUMBER = "ND20261121A0000001", "NDR20261122A0000001"
NOW = datetime(2026, 11, 21, 10, 10, tzinfo=UTC)
ATTEMPT = Attempt(
    number=NUMBER,
    scene="qr",
    amount_minor=12900,
    currency="CNY",
    description="two shirts",
    started_at=NOW,
    expires_at=NOW,
    notify_url="https://shop.example/notify/toy/",
    return_url="https://shop.example/orders/1/",
)
REFUND = RefundRequest(
    number=REFUND_NUMBER,
    payment_number=NUMBER,
    channel_number="T1",
    amount_minor=2900,
    paid_minor=12900,
    currency="CNY",
    reason="size",
    notify_url=ATTEMPT.notify_url,
    scene="qr",
    started_at=NOW,
)


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
    assert names_in("file") == {path.name for path in FOLDER.iterdir()}


# ---- the folder: each recorded message is read as the page says --------------------------------------------------


def recorded(name: str) -> Reply:
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    headers = {key.lower(): value for key, value in kept["headers"].items()}
    return Reply(status=200, headers=headers, body=kept["body"].encode(), elapsed_ms=1)


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


class ToyPay:
    """The provider: one address, and the truth of the money in a dict by our number."""

    def __init__(self) -> None:
        self.trades: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pay(self, number: str) -> bytes:
        """The shopper pays; returns the callback's body."""
        paid = {"state": "paid", "trade": f"T{number}", "paid_at": datetime.now(UTC).isoformat()}
        self.trades[number] |= paid
        return json.dumps({"id": f"M{number}"} | self.trades[number]).encode()

    def answer(self, wish: dict[str, Any]) -> dict[str, Any]:
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

    def _make_handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Seal"] == seal(asked)
                body = json.dumps(provider.answer(json.loads(asked))).encode()
                self.send_response(200)
                self.send_header("Seal", seal(body))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        return Handler


@pytest.fixture
def toypay(monkeypatch, settings) -> Iterator[ToyPay]:
    """ToyPay, and its one line in the registry as the page writes it."""
    provider = ToyPay()
    [line] = re.findall(r'^    "(<name>)": "(.+)",$', PAGE, re.MULTILINE)
    name, path = (
        text.replace("payments.channels.<name>.<Class>", f"{Toy.__module__}.Toy").replace("<name>", "toy")
        for text in line
    )
    monkeypatch.setitem(registry.CLASSES, name, path)
    settings.CHANNELS = {"toy": {"URL": provider.url, "SECRET": SECRET}}
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
