"""Callbacks over real HTTP from the sandbox: settled once, kept once, refused when not genuine."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from django.db.models.functions import Now

from orders.models import Order
from payments.applying import apply_for_payment
from payments.callbacks import (
    MAX_BODY_BYTES,
    forget_old,
    replay_callback,
    take_callback,
    take_late_matches,
)
from payments.cases import open_case
from payments.channels import wechat
from payments.channels.base import (
    CallbackReply,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    report_to_json,
)
from payments.channels.registry import get_channel
from payments.models import Callback, Case, Payment, Receipt, Refund
from payments.settling import settle_payment
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from shop.alarms import claim_due, handle, handle_now
from shop.models import Alarm, Source
from tests.factories import by_hand, make_order, make_payment, report, steps
from tests.redis_states import whatever_redis_does
from tests.sandbox.merchant import Received, Shop
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def payment(sandbox) -> Payment:
    return apply_for_payment(make_order().number, channel="wechat", scene="qr").payment


@pytest.fixture
def caught(sandbox, settings) -> Iterator[tuple[Payment, Received]]:
    """A paid payment and its genuine notification, caught on its way to us."""
    elsewhere = Shop()
    settings.PUBLIC_URL = elsewhere.url.removesuffix("/notify/wechat/")
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    yield payment, elsewhere.take()
    elsewhere.close()


def status_of(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.status


def is_paid(payment: Payment) -> bool:
    return status_of(payment) == PaymentStatus.PAID


def test_callback_settles_the_payment_and_is_kept_as_taken(sandbox, payment):
    sandbox.pay(payment.number)
    wait_until(lambda: is_paid(payment))
    kept = Callback.objects.get()
    assert (kept.payment, kept.kind) == (payment, "TRANSACTION.SUCCESS")
    assert kept.taken_at is not None
    assert Receipt.objects.get().source == Source.CALLBACK
    assert not Alarm.objects.filter(kind__in=["take_callback", "query_payment"]).exists()


def test_acknowledged_callback_is_not_sent_again(sandbox, payment):
    sandbox.pay(payment.number)
    wait_until(lambda: sandbox.trades(payment.number)[0]["notifications"])
    time.sleep(1)  # the first retry would come after 0.3 s
    tries = sandbox.trades(payment.number)[0]["notifications"]
    assert [(each["status"], each["acknowledged"]) for each in tries] == [(204, True)]


@whatever_redis_does
def test_the_same_callback_five_times_at_once_is_one_event(sandbox, payment):
    dup = {"channel": "wechat", "operation": "notify", "when": "before", "what": "dup", "value": 5}
    sandbox.set_faults({"script": [dup]})
    sandbox.pay(payment.number)
    wait_until(lambda: len(sandbox.trades(payment.number)[0]["notifications"]) >= 5)
    assert all(each["acknowledged"] for each in sandbox.trades(payment.number)[0]["notifications"])
    assert steps(payment.number) == [("", "UNPAID"), ("UNPAID", "PAYING"), ("PAYING", "PAID")]
    assert (Receipt.objects.count(), Callback.objects.count()) == (1, 1)


def test_repeat_of_a_settled_callback_costs_one_read(caught, django_assert_num_queries):
    _, message = caught
    take(message)
    with django_assert_num_queries(1):
        assert take(message).status == 204


def test_message_that_is_replayed_outside_its_window_is_refused(caught, monkeypatch):
    payment, message = caught
    stamp = int(message.headers["Wechatpay-Timestamp"])
    channel = get_channel("wechat")
    monkeypatch.setattr(channel, "_clock", lambda: datetime.fromtimestamp(stamp + 301, UTC))
    assert take(message).status == 401
    assert status_of(payment) == PaymentStatus.PAYING


@pytest.mark.parametrize("what", ["tamper", "forge"])
def test_callback_that_is_not_genuine_is_refused_and_leaves_nothing(sandbox, payment, what):
    sandbox.set_faults({"notify": {what: 1.0}})
    sandbox.pay(payment.number)
    tries = wait_until(lambda: sandbox.trades(payment.number)[0]["notifications"])
    assert tries[0]["status"] == 401
    assert not tries[0]["acknowledged"]
    assert status_of(payment) == PaymentStatus.PAYING
    assert not Callback.objects.exists()
    assert not Receipt.objects.exists()


@pytest.mark.parametrize("lie", [{"amount": 1}, {"currency": "USD"}, {"amount": 10**9}])
def test_genuine_callback_about_another_amount_opens_a_case_and_ships_nothing(sandbox, payment, lie):
    sandbox.set_faults(
        {
            "script": [
                {"channel": "wechat", "operation": "notify", "when": "before", "what": "lie", "value": lie}
            ]
        }
    )
    sandbox.pay(payment.number)
    wait_until(Case.objects.exists)
    assert status_of(payment) == PaymentStatus.PAYING
    payment.order.refresh_from_db()
    assert payment.order.status == "UNPAID"
    assert Receipt.objects.get().receipt_class == "mismatch"


def test_callback_for_an_unknown_number_is_acknowledged_kept_and_becomes_a_case_after_a_minute(caught):
    payment, message = caught
    Payment.objects.filter(pk=payment.pk).update(number="PLOSTINARESTORE000000000")
    assert take(message).status == 204
    kept = Callback.objects.get()
    assert kept.taken_at is None
    look_again()
    assert not Case.objects.exists()
    Callback.objects.update(received_at=Now() - timedelta(seconds=61))
    look_again()
    assert Case.objects.get().kind == Case.Kind.UNMATCHED
    assert Receipt.objects.get().receipt_class == "unmatched"
    assert not Alarm.objects.filter(kind="take_callback").exists()


def test_callback_that_came_before_its_payment_settles_it_when_it_appears(caught):
    payment, message = caught
    number = payment.number
    Payment.objects.filter(pk=payment.pk).update(number="PNOTYETCOMMITTED00000000")
    take(message)
    Payment.objects.filter(pk=payment.pk).update(number=number)
    look_again()
    assert is_paid(payment)
    assert Callback.objects.get().payment == payment


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 401), (b"{}", 401), (b"\xff\xfe", 401), (b"x" * (MAX_BODY_BYTES + 1), 413)],
)
def test_senseless_bodies_are_refused(sandbox, live_server, body, status):
    answer = requests.post(f"{live_server.url}/notify/wechat/", data=body, timeout=5)
    assert answer.status_code == status
    assert not Callback.objects.exists()


def test_oversized_body_without_a_length_is_refused(sandbox, live_server):
    chunks = iter([b"x" * 8192] * 20)
    answer = requests.post(f"{live_server.url}/notify/wechat/", data=chunks, timeout=5)
    assert answer.status_code in (401, 413)
    assert not Callback.objects.exists()


def test_channel_that_we_do_not_have_is_not_found(sandbox, client):
    assert client.post("/notify/cash/", b"{}", content_type="application/json").status_code == 404


def test_only_post_is_taken(sandbox, client):
    assert client.get("/notify/wechat/").status_code == 405


def test_genuine_message_that_we_cannot_read_is_asked_about(caught, monkeypatch):
    payment, message = caught
    read = wechat.read_payment
    unreadable = PaymentReport(outcome=Outcome.UNKNOWN, number=payment.number, code="malformed")
    monkeypatch.setattr(wechat, "read_payment", lambda data: unreadable)
    assert take(message).status == 204
    assert Callback.objects.get().taken_at is None
    monkeypatch.setattr(wechat, "read_payment", read)
    look_again()
    assert is_paid(payment)
    assert Callback.objects.get().taken_at is not None


def test_genuine_message_that_nobody_can_read_becomes_a_case(caught, monkeypatch):
    payment, message = caught
    unreadable = PaymentReport(outcome=Outcome.UNKNOWN, number=payment.number, code="malformed")
    monkeypatch.setattr(wechat, "read_payment", lambda data: unreadable)
    take(message)
    Callback.objects.update(received_at=Now() - timedelta(seconds=61))
    look_again()
    assert Case.objects.get().kind == Case.Kind.UNMATCHED


def test_message_that_its_channel_wants_confirmed_waits_for_the_answer_and_is_settled_by_it(
    caught, sandbox, monkeypatch
):
    payment, message = caught
    monkeypatch.setattr(type(get_channel("wechat")), "confirms_callbacks_by_query", True)
    silent = {"channel": "wechat", "operation": "query", "when": "before", "what": "status", "value": 500}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [silent | {"times": 20}]})
    assert take(message).status == 204
    Callback.objects.update(received_at=Now() - timedelta(seconds=61))
    look_again()
    assert status_of(payment) == PaymentStatus.PAYING
    assert not Receipt.objects.exists()
    sandbox.clear_faults()
    look_again()
    assert is_paid(payment)
    assert not Case.objects.exists()


def test_address_without_its_slash_is_taken_too(caught, live_server):
    payment, message = caught
    headers = dict(message.headers.items())
    answer = requests.post(f"{live_server.url}/notify/wechat", data=message.body, headers=headers, timeout=5)
    assert answer.status_code == 204
    assert is_paid(payment)


def test_surplus_money_goes_back_by_itself(sandbox, payment):
    sandbox.pay(payment.number)
    wait_until(lambda: is_paid(payment))
    sandbox.pay(payment.number, force=True)
    wait_until(lambda: Receipt.objects.count() == 2)
    wait_until(
        lambda: look_again() or Refund.objects.filter(status=RefundStatus.REFUNDED).exists(), every_s=0.3
    )
    assert sorted(Receipt.objects.values_list("receipt_class", flat=True)) == ["settled", "surplus"]
    returned = {
        trade["channel_number"]: sum(refund["amount"] for refund in trade["refunds"])
        for trade in sandbox.trades(payment.number)
    }
    assert returned == {
        receipt.channel_number: 0 if receipt.receipt_class == "settled" else receipt.amount
        for receipt in Receipt.objects.all()
    }


def look_again() -> None:
    Alarm.objects.exclude(kind__in=["expire_order", "query_payment"]).update(due_at=Now())
    for claim in claim_due(20):
        assert handle(claim)


def take(caught: Received) -> CallbackReply:
    headers = {name.lower(): value for name, value in caught.headers.items()}
    return take_callback("wechat", RawCallback(headers=headers, body=caught.body))


def make_stray(body: bytes = b"{}", **changed: object) -> Callback:
    """A kept and taken message about a payment that was not there."""
    told = PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number=str(changed.get("number", "PNOWHERE0000")),
        channel_number="4200077",
        amount_minor=12900,
        currency="CNY",
    )
    fields = {"number": told.number, "taken_at": Now(), "report": report_to_json(told)} | changed
    return Callback.objects.create(channel="wechat", message_id="m1", kind="t", body=body, **fields)


def test_message_whose_payment_appears_later_is_taken_again(sandbox):
    payment = make_payment(make_order())
    kept = make_stray(number=payment.number)
    assert take_late_matches() == 1
    assert take_late_matches() == 0
    [claim] = claim_due(5)
    assert handle(claim)
    assert status_of(payment) == PaymentStatus.PAID
    kept.refresh_from_db()
    assert kept.payment == payment


def test_message_that_still_names_nobody_is_left_alone(sandbox):
    make_stray()
    assert take_late_matches() == 0


def test_replay_settles_what_has_become_ours_and_closes_its_case(sandbox):
    payment = make_payment(make_order())
    kept = make_stray(number=payment.number)
    assert replay_callback(kept.pk)
    assert status_of(payment) == PaymentStatus.PAID
    assert replay_callback(kept.pk)
    assert Receipt.objects.count() == 1


def test_replay_of_a_message_that_names_nobody_gives_its_money_one_home(sandbox):
    kept = make_stray(received_at=Now() - timedelta(minutes=2))
    assert not replay_callback(kept.pk)
    assert not replay_callback(kept.pk)
    assert Receipt.objects.get().receipt_class == ReceiptClass.UNMATCHED
    assert Case.objects.count() == 1


def test_messages_are_forgotten_when_their_time_is_over_and_their_news_was_taken(settings):
    long_ago = Now() - timedelta(days=settings.CALLBACKS_KEPT_DAYS + 1)
    make_stray(taken_at=long_ago)
    assert forget_old() == 1
    make_stray(taken_at=None, received_at=long_ago)
    assert forget_old() == 0


def test_refund_in_the_channels_console_is_found_by_its_callback(sandbox, payment):
    sandbox.pay(payment.number)
    wait_until(lambda: is_paid(payment))
    sandbox.refund_in_console(payment.number, 900)
    wait_until(lambda: Callback.objects.filter(kind="REFUND.SUCCESS").exists())
    Callback.objects.update(received_at=Now() - timedelta(minutes=2))
    handle_now("take_callback", str(Callback.objects.get(kind="REFUND.SUCCESS").pk))
    refund = Refund.objects.get()
    assert (refund.kind, refund.amount, refund.status) == (Refund.Kind.CONSOLE, 900, RefundStatus.REFUNDED)
    assert Case.objects.get().kind == Case.Kind.CONSOLE_REFUND


def test_console_refund_that_is_heard_before_its_payment_is_known_asks_about_the_payment_first(
    sandbox, payment
):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    sandbox.pay(payment.number)
    sandbox.end_notifications()
    sandbox.clear_faults()
    sandbox.refund_in_console(payment.number, payment.amount)
    kept = wait_until(lambda: Callback.objects.filter(kind="REFUND.SUCCESS").first())
    Callback.objects.update(received_at=Now() - timedelta(minutes=2))
    handle_now("take_callback", str(kept.pk))
    assert status_of(payment) == PaymentStatus.PAID
    assert Refund.objects.get().kind == Refund.Kind.CONSOLE
    assert Order.objects.get().status == "REFUNDED"


def test_second_trade_that_the_channel_does_not_confirm_is_kept_and_becomes_a_case(
    sandbox, payment, monkeypatch
):
    sandbox.pay(payment.number)
    wait_until(lambda: is_paid(payment))
    monkeypatch.setattr(wechat.WeChat, "confirms_callbacks_by_query", True)
    kept = make_stray(number=payment.number, taken_at=None)  # of another trade
    assert not replay_callback(kept.pk)
    kept.refresh_from_db()
    assert kept.taken_at is None
    assert not Case.objects.exists()
    Callback.objects.filter(pk=kept.pk).update(received_at=Now() - timedelta(hours=2))
    assert not replay_callback(kept.pk)
    assert Case.objects.get().kind == Case.Kind.UNMATCHED


def test_both_trades_of_a_number_that_was_paid_twice_are_taken(sandbox, payment):
    two = {"channel": "wechat", "operation": "pay", "when": "before", "what": "two_trades"}
    sandbox.set_faults({"script": [two]})
    sandbox.pay(payment.number)
    wait_until(lambda: Receipt.objects.count() == 2)
    assert sorted(Receipt.objects.values_list("receipt_class", flat=True)) == ["settled", "surplus"]


@pytest.mark.parametrize("names_payment", [True, False], ids=["by payment", "by trade"])
def test_refund_of_money_that_is_known_later_is_taken_again(sandbox, names_payment):
    payment = make_payment(make_order())
    told = RefundReport(
        outcome=Outcome.SUCCEEDED,
        number="console1",
        channel_number="503",
        payment_number=payment.number if names_payment else "",
        trade_number=report(payment).channel_number,
        amount_minor=100,
    )
    fields = {"number": told.number, "report": report_to_json(told), "taken_at": Now()}
    Callback.objects.create(channel="wechat", message_id="m2", kind="REFUND.SUCCESS", body=b"{}", **fields)
    open_case(Case.Kind.UNMATCHED, "m2", order=None, evidence={})
    assert take_late_matches() == 0
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    assert take_late_matches() == 1


def test_somebody_elses_refund_that_moved_no_money_is_nobodys_case(sandbox):
    told = RefundReport(outcome=Outcome.CLOSED, number="console2")
    fields = {
        "number": told.number,
        "report": report_to_json(told),
        "received_at": Now() - timedelta(minutes=2),
    }
    kept = Callback.objects.create(
        channel="wechat", message_id="m3", kind="REFUND.CLOSED", body=b"{}", **fields
    )
    replay_callback(kept.pk)
    kept.refresh_from_db()
    assert kept.taken_at is not None
    assert not Case.objects.exists()


@pytest.mark.parametrize("outcome", [Outcome.OPEN, Outcome.APPROVED, Outcome.CLOSED])
@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "nobody's"])
def test_message_that_tells_of_no_money_is_no_case_though_nothing_confirms_it(
    sandbox, payment, monkeypatch, outcome, is_ours
):
    monkeypatch.setattr(wechat.WeChat, "confirms_callbacks_by_query", True)
    silent = {"channel": "wechat", "operation": "query", "when": "before", "what": "status", "value": 500}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [silent]})
    number = payment.number if is_ours else "OFANOTHERSYSTEM"
    told = PaymentReport(outcome=outcome, number=number)
    long_ago = Now() - timedelta(minutes=2)
    kept = make_stray(number=number, report=report_to_json(told), taken_at=None, received_at=long_ago)
    replay_callback(kept.pk)
    kept.refresh_from_db()
    assert kept.taken_at is not None
    assert not Case.objects.exists()


def test_repeat_that_names_another_amount_is_looked_at(caught):
    _, message = caught
    take(message)
    with by_hand():
        Receipt.objects.update(amount=1)
    take(message)
    assert Case.objects.get().kind == Case.Kind.DISAGREES
