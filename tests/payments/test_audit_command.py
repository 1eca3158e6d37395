"""`manage.py audit` over a shop that did its business with a channel of its own, and what it says to a wrong call."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now

from orders.models import Order
from payments.applying import apply_for_payment
from payments.audit import OF_OURS, OF_TRADES
from payments.ending import cancel_order
from payments.errors import PaymentConfirming
from payments.models import Callback, Payment, Receipt, Refund
from payments.querying import query_payment
from payments.refunding import ask_refund
from payments.statuses import ReceiptClass
from shop.alarms import handle_now
from shop.models import Alarm
from tests.factories import make_order, make_product
from tests.payments.audit_world import change
from tests.sandbox.merchant import Merchant
from tests.sandbox_process import SandboxProcess, start_sandbox
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = 12900


@pytest.fixture
def channel(sandbox, settings, tmp_path, key_dir):
    """A sandbox of this test's own, so that its list holds nothing but our trades."""
    own = start_sandbox(tmp_path, notify_speed=50, key_dir=key_dir)
    settings.CHANNELS = {"wechat": {key: own.env[f"WECHAT_{key}"] for key in settings.CHANNEL_KEYS["wechat"]}}
    yield own
    own.end_notifications()
    own.stop()


def command(*arguments: str) -> int:
    try:
        call_command("audit", *arguments)
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


def read_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


# ---- a day of business -------------------------------------------------------------------------------------------


def apply(order: Order | None = None, **options: Any) -> Payment:
    number = (order or make_order()).number
    return apply_for_payment(number, channel="wechat", scene="qr", **options).payment


def sees(**fields: Any) -> Callable[[], bool]:
    return lambda: Receipt.objects.filter(**fields).exists()


def break_calls(channel: SandboxProcess, what: str, *operations: str, **more: Any) -> None:
    broken = {"channel": "wechat", "when": "before", "what": what, "times": 9} | more
    channel.set_faults({"script": [broken | {"operation": operation} for operation in operations]})


def pay(channel: SandboxProcess, payment: Payment, *, as_class: ReceiptClass, force: bool = False) -> Receipt:
    channel.pay(payment.number, force=force)
    wait_until(sees(payment=payment, receipt_class=as_class))
    return Receipt.objects.get(payment=payment, receipt_class=as_class)


def pay_twice(channel: SandboxProcess) -> None:
    payment = apply()
    break_calls(channel, "two_trades", "pay", times=1)
    pay(channel, payment, as_class=ReceiptClass.SETTLED)
    wait_until(sees(payment=payment, receipt_class=ReceiptClass.SURPLUS))


def pay_late(channel: SandboxProcess) -> None:
    payment = apply()
    cancel_order(payment.order.number)
    pay(channel, payment, as_class=ReceiptClass.LATE, force=True)


def pay_after_expiry(channel: SandboxProcess) -> None:
    payment = apply()
    Order.objects.filter(pk=payment.order_id).update(expires_at=Now() - timedelta(seconds=1))
    handle_now("expire_order", payment.order.number)
    assert Order.objects.get(pk=payment.order_id).status == "CLOSED"
    pay(channel, payment, as_class=ReceiptClass.SETTLED, force=True)


def pay_what_was_superseded_as_well(channel: SandboxProcess, settings: Any) -> None:
    first = apply()
    break_calls(channel, "status", "close", "query", value=503)
    with pytest.raises(PaymentConfirming):
        cancel_order(first.order.number)
    settings.CONFIRMING_LIMIT_S = 0
    second = apply(first.order, may_supersede=True)
    channel.clear_faults()
    pay(channel, second, as_class=ReceiptClass.SETTLED)
    pay(channel, first, as_class=ReceiptClass.SURPLUS)


def pay_an_amount_that_was_told_wrongly(channel: SandboxProcess) -> None:
    payment = apply()
    break_calls(channel, "lie", "notify", times=1, value={"amount": 1})
    pay(channel, payment, as_class=ReceiptClass.MISMATCH)


def pay_for_nothing_of_ours(channel: SandboxProcess, settings: Any) -> None:
    number = Merchant(channel).create(notify_url=f"{settings.PUBLIC_URL}/notify/wechat/")
    channel.pay(number)
    take_unmatched()
    assert Receipt.objects.get(number=number).receipt_class == ReceiptClass.UNMATCHED


def refund_in_part_and_in_the_console(channel: SandboxProcess) -> None:
    receipt = pay(channel, apply(), as_class=ReceiptClass.SETTLED)
    ask_refund(receipt.number, amount=100, reason="size", actor="anna")
    channel.refund_in_console(receipt.number, 200)
    take_unmatched()
    assert Refund.objects.filter(kind=Refund.Kind.CONSOLE, amount=200).exists()


def refund_in_full(channel: SandboxProcess) -> None:
    receipt = pay(channel, apply(), as_class=ReceiptClass.SETTLED)
    ask_refund(receipt.number, amount=PRICE, reason="size", actor="anna")


def take_unmatched() -> None:
    """A minute passes for the message that names nothing of ours."""
    wait_until(lambda: Callback.objects.filter(taken_at__isnull=True).exists())
    kept = Callback.objects.get(taken_at__isnull=True)
    change(kept, received_at=Now() - timedelta(minutes=2))
    handle_now("take_callback", str(kept.pk))


def come_to_rest() -> None:
    """All alarms are handled until no refund is on its way and no order is to be followed up."""
    wait_until(_handle_all, within_s=30, every_s=0.2)


def _handle_all() -> bool:
    for kind, subject in Alarm.objects.values_list("kind", "subject"):
        handle_now(kind, subject)
    return not Alarm.objects.exclude(kind__in=["query_payment", "recheck_payment", "expire_order"]).exists()


@pytest.fixture
def business(channel, settings):
    """Every class of receipt and every kind of refund, made at the channel."""
    make_product(stock=50)
    apply()
    pay(channel, apply(), as_class=ReceiptClass.SETTLED)
    for happen in (pay_twice, pay_late, pay_after_expiry, pay_an_amount_that_was_told_wrongly):
        happen(channel)
        channel.clear_faults()
    pay_what_was_superseded_as_well(channel, settings)
    pay_for_nothing_of_ours(channel, settings)
    refund_in_part_and_in_the_console(channel)
    refund_in_full(channel)
    come_to_rest()
    return channel


def test_shop_that_has_seen_everything_agrees_with_its_channel(business, capsys):
    assert set(Receipt.objects.values_list("receipt_class", flat=True)) == set(ReceiptClass.values)
    assert set(Order.objects.values_list("status", flat=True)) == {
        "UNPAID",
        "READY_FOR_SHIPMENT",
        "CLOSED",
        "REFUNDED",
    }

    assert command("--trades", f"{business.url}/_sandbox/trades", "--json") == 0

    assert read_json(capsys) == {"checked": dict.fromkeys(OF_OURS + OF_TRADES, 0), "violations": []}


def test_money_whose_messages_are_all_lost_is_named_until_it_is_asked_about(channel, capsys):
    payment = apply()
    channel.set_faults({"notify": {"drop": 1.0}})
    [trade] = channel.pay(payment.number)

    assert command("--trades", f"{channel.url}/_sandbox/trades", "--json") == 1

    document = read_json(capsys)
    assert document["checked"] == dict.fromkeys(OF_OURS + OF_TRADES, 0) | {"I10": 1, "I16": 1}
    assert document["violations"][0]["subject"] == trade["channel_number"]
    query_payment(payment.number)
    assert command("--trades", f"{channel.url}/_sandbox/trades") == 0


# ---- the command -------------------------------------------------------------------------------------------------


def spoil() -> Order:
    order = make_order()
    Alarm.objects.all().delete()
    return order


def test_table_has_a_line_for_each_invariant_and_then_the_violations(capsys):
    order = spoil()

    assert command() == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*OF_OURS, "I6"]
    assert lines[OF_OURS.index("I6")].split()[1] == "1"
    assert lines[-1] == f"I6  {order.number} is unfinished, but has no alarm expire_order"


def test_table_shows_some_of_many_violations_and_their_number(capsys):
    make_product(stock=50)
    for _ in range(22):
        make_order()
    Alarm.objects.all().delete()

    assert command() == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "I6  and 2 more; --json has them all"
    assert len(lines) == len(OF_OURS) + 21


def test_json_is_one_document_with_every_violation(capsys):
    order = spoil()

    assert command("--json") == 1

    assert read_json(capsys) == {
        "checked": dict.fromkeys(OF_OURS, 0) | {"I6": 1},
        "violations": [
            {
                "invariant": "I6",
                "subject": order.number,
                "detail": "is unfinished, but has no alarm expire_order",
            }
        ],
    }


def test_right_shop_is_fine(capsys):
    make_order()
    assert command() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(OF_OURS)


def test_list_is_read_from_a_file(tmp_path, capsys):
    listed = tmp_path / "trades.json"
    listed.write_text("[]")
    assert command("--trades", str(listed)) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(OF_OURS + OF_TRADES)


def test_list_is_read_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[]")))
    assert command("--trades", "-") == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON in UTF-8."),
        (b"\xff", "is not JSON in UTF-8."),
        (b"[" * 100_000, "is not JSON in UTF-8."),
        (b'{"trades": []}', "This is not a list of trades."),
        (b'[{"status": "PAID"}]', "trades[0].channel is not a text."),
    ],
    ids=["empty", "no text", "too deep", "object", "no trade"],
)
def test_list_that_is_none_is_a_wrong_call(tmp_path, content, words):
    listed = tmp_path / "trades.json"
    listed.write_bytes(content)
    assert refusal(str(listed)).endswith(words)


def test_place_where_nothing_is_is_a_wrong_call(tmp_path):
    assert refusal(str(tmp_path / "nowhere")).endswith("nowhere cannot be read: No such file or directory.")
    assert refusal(str(tmp_path)).endswith("cannot be read: Is a directory.")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/trades", "file:///etc/hosts", "://", "HTTP+X://x"])
def test_address_that_is_not_http_is_a_wrong_call(address):
    assert refusal(address) == f"{address} is not an http or https address."


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/trades", "http://", "http://[", "https://127.0.0.1:9/"]
)
def test_address_that_does_not_answer_is_a_wrong_call(address):
    assert refusal(address).startswith(f"{address} does not answer: ")


def test_address_that_answers_otherwise_is_a_wrong_call(sandbox):
    address = f"{sandbox.url}/_sandbox/nothing"
    assert refusal(address) == f"{address} answered 404."
    assert refusal(f"{sandbox.url}/_sandbox/").endswith("is not JSON in UTF-8.")


def refusal(where: str) -> str:
    with pytest.raises(CommandError) as refused:
        call_command("audit", "--trades", where)
    assert refused.value.returncode == 2
    return str(refused.value)
