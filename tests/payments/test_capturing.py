"""Capturing: the shopper's consent becomes money exactly once, and only while the order waits for it."""

from typing import Any

import pytest
from django.db.models.functions import Now

from orders.models import Order
from orders.moves import EXPIRE_ORDER
from orders.statuses import OrderStatus
from payments import capturing
from payments.applying import apply_for_payment
from payments.audit import audit
from payments.capturing import capture_payment
from payments.channels.base import Outcome
from payments.ending import cancel_order
from payments.errors import OrderIsPaid, PaymentConfirming
from payments.models import Case, Payment, Receipt
from payments.moves import CAPTURE_PAYMENT
from payments.querying import close_payment, query_payment
from payments.scanner import find_forgotten
from payments.settling import settle_payment
from payments.showing import Situation, view_order
from payments.statuses import PaymentStatus, Settled
from shop.alarms import handle_now
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def paypal(every_channel: SandboxProcess) -> SandboxProcess:
    """The sandbox, whose messages are all lost: what we do not ask we do not hear."""
    every_channel.set_faults({"notify": {"drop": 1.0}})
    return every_channel


def apply(order: Order, **more: Any) -> Payment:
    return apply_for_payment(order.number, channel="paypal", scene="page", **more).payment


def agree(sandbox: SandboxProcess, payment: Payment) -> None:
    """The shopper approves on PayPal's page."""
    sandbox.pay(payment.number, channel="paypal", force=True)


def fail(sandbox: SandboxProcess, operation: str, what: str, when: str = "before", **more: Any) -> None:
    entry = {"channel": "paypal", "operation": operation, "what": what, "when": when, **more}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [entry]})


@pytest.fixture
def order(paypal: SandboxProcess) -> Order:
    return make_order(sku="book", currency="USD")


@pytest.fixture
def agreed(paypal: SandboxProcess, order: Order) -> Payment:
    """An attempt to which the shopper has agreed; we have not heard of it."""
    payment = apply(order)
    agree(paypal, payment)
    return payment


@pytest.fixture
def undecided(paypal: SandboxProcess, agreed: Payment) -> Payment:
    """Its capture was sent, and the answer is lost: the money was taken."""
    fail(paypal, "capture", "reset", "after")
    assert query_payment(agreed.number) == (Outcome.UNKNOWN, Settled.STALE)
    paypal.set_faults({"notify": {"drop": 1.0}})
    agreed.refresh_from_db()
    return agreed


def kept(sandbox: SandboxProcess, payment: Payment) -> list[str]:
    return [trade["status"] for trade in sandbox.trades(payment.number, channel="paypal")]


def test_consent_that_a_query_finds_is_captured_at_once(paypal, order, agreed):
    assert query_payment(agreed.number) == (Outcome.SUCCEEDED, Settled.MOVED)
    order.refresh_from_db()
    assert order.status == OrderStatus.READY_FOR_SHIPMENT
    assert kept(paypal, agreed) == ["PAID"]


def test_capture_whose_answer_is_lost_is_sent_again_and_takes_the_money_once(paypal, order, undecided):
    handle_now(CAPTURE_PAYMENT, undecided.number)
    order.refresh_from_db()
    assert order.status == OrderStatus.READY_FOR_SHIPMENT
    assert kept(paypal, undecided) == ["PAID"]
    assert Receipt.objects.count() == 1
    assert not Alarm.objects.filter(kind=CAPTURE_PAYMENT).exists()


def test_while_the_answer_to_a_capture_is_missing_nobody_closes_the_attempt(paypal, order, agreed):
    fail(paypal, "capture", "hang", "before", value=0.2, times=9)
    query_payment(agreed.number)
    agreed.refresh_from_db()
    assert close_payment(agreed) is Outcome.UNKNOWN
    with pytest.raises(PaymentConfirming):
        cancel_order(order.number)
    with pytest.raises(PaymentConfirming):
        apply(order)
    order.refresh_from_db()
    agreed.refresh_from_db()
    assert (order.status, agreed.status) == (OrderStatus.UNPAID, PaymentStatus.PAYING)


def test_page_says_that_the_payment_is_being_confirmed_while_the_money_is_taken(order, undecided):
    assert view_order(order).situation is Situation.CONFIRMING
    assert not undecided.is_payable


def test_attempt_that_was_closed_is_not_captured_though_the_shopper_agrees_later(paypal, order):
    payment = apply(order)
    cancel_order(order.number)
    agree(paypal, payment)
    assert query_payment(payment.number)[1] is Settled.STALE
    payment.refresh_from_db()
    assert (payment.status, payment.captures, kept(paypal, payment)) == (PaymentStatus.CLOSED, 0, ["OPEN"])


def test_order_that_was_agreed_to_in_time_is_paid_when_it_expires_though_nobody_heard_of_the_consent(
    paypal, order, agreed
):
    Order.objects.update(expires_at=Now())
    handle_now(EXPIRE_ORDER, order.number)
    order.refresh_from_db()
    assert (order.status, kept(paypal, agreed)) == (OrderStatus.READY_FOR_SHIPMENT, ["PAID"])


def test_order_that_nobody_agreed_to_pay_is_closed_when_it_expires(paypal, order):
    payment = apply(order)
    Order.objects.update(expires_at=Now())
    handle_now(EXPIRE_ORDER, order.number)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == (OrderStatus.CLOSED, PaymentStatus.CLOSED)


def test_attempt_that_was_superseded_is_not_captured(paypal, order, agreed):
    Payment.objects.update(superseded_at=Now())
    assert query_payment(agreed.number)[1] is Settled.STALE
    assert kept(paypal, agreed) == ["OPEN"]


def test_consent_that_is_gone_leaves_the_attempt_open_for_the_shopper_to_agree_anew(paypal, order, agreed):
    fail(paypal, "capture", "status", "before", value={"status": 422, "code": "INSTRUMENT_DECLINED"})
    assert query_payment(agreed.number) == (Outcome.NOT_FOUND, Settled.MOVED)
    agreed.refresh_from_db()
    assert (agreed.status, agreed.capture_asked_at, agreed.captures) == (PaymentStatus.PAYING, None, 1)
    assert not Alarm.objects.filter(kind=CAPTURE_PAYMENT).exists()
    assert query_payment(agreed.number)[1] is Settled.MOVED  # with the next consent, under an id of its own
    agreed.refresh_from_db()
    assert (agreed.status, agreed.captures) == (PaymentStatus.PAID, 2)


def test_capture_that_the_channel_refuses_for_good_fails_the_attempt(paypal, order, agreed):
    fail(paypal, "capture", "status", "before", value={"status": 422, "code": "TRANSACTION_REFUSED"})
    assert query_payment(agreed.number)[0] is Outcome.REFUSED
    agreed.refresh_from_db()
    assert agreed.status == PaymentStatus.FAILED


def test_late_answer_of_an_earlier_capture_does_not_end_the_present_one(order, undecided):
    earlier = Payment.objects.select_related("order").get(pk=undecided.pk)
    Payment.objects.update(captures=2)
    for outcome in (Outcome.NOT_FOUND, Outcome.REFUSED):
        assert capturing._settle(report(earlier, outcome), earlier) is Settled.STALE
    undecided.refresh_from_db()
    assert (undecided.status, undecided.capture_asked_at is None) == (PaymentStatus.PAYING, False)


def test_attempt_whose_money_is_being_taken_does_not_end_by_time_on_an_open_answer(paypal, order, agreed):
    fail(paypal, "capture", "reset", "before", times=9)
    query_payment(agreed.number)
    Payment.objects.update(dead_at=Now())
    assert query_payment(agreed.number)[0] is Outcome.UNKNOWN
    agreed.refresh_from_db()
    assert agreed.status == PaymentStatus.PAYING


def test_consent_after_the_order_was_paid_otherwise_is_not_captured(paypal, order, agreed):
    settle_payment(report(agreed), channel="paypal", source=Source.STAFF)
    assert capture_payment(agreed.number)[1] is Settled.STALE
    assert kept(paypal, agreed) == ["OPEN"]
    with pytest.raises(OrderIsPaid):
        cancel_order(order.number)


def test_capture_that_was_not_sent_before_the_order_was_paid_otherwise_is_only_watched(paypal, order):
    voucher = make_payment(order, channel="boleto", scene="voucher")
    Payment.objects.update(superseded_at=Now())
    payment = apply(order)
    agree(paypal, payment)
    fail(paypal, "capture", "reset", "before")
    query_payment(payment.number)
    settle_payment(report(voucher), channel="boleto", source=Source.CALLBACK)
    handle_now(CAPTURE_PAYMENT, payment.number)
    payment.refresh_from_db()
    assert (payment.status, payment.superseded_at is None) == (PaymentStatus.PAYING, False)
    assert kept(paypal, payment) == ["OPEN"]
    assert not find_forgotten()
    assert not audit()


def test_capture_without_an_alarm_is_found_by_the_scanner(paypal, agreed):
    fail(paypal, "capture", "reset", "before", times=9)
    query_payment(agreed.number)
    Alarm.objects.filter(kind=CAPTURE_PAYMENT).delete()
    Payment.objects.update(created_at="2026-01-01T00:00Z")
    assert (CAPTURE_PAYMENT, agreed.number) in find_forgotten()


# ---- taken, and reviewed by the channel ----------------------------------------------------------------------------


@pytest.fixture
def reviewed(paypal: SandboxProcess, agreed: Payment) -> Payment:
    """Its capture was answered by nobody, and PayPal says since that it is still deciding."""
    pending = {"channel": "paypal", "operation": "query", "what": "lie", "when": "after", "times": 999}
    lost = {"channel": "paypal", "operation": "capture", "what": "reset", "when": "after", "times": 999}
    paypal.set_faults({"notify": {"drop": 1.0}, "script": [lost, pending | {"value": {"status": "PENDING"}}]})
    Payment.objects.update(captures=0)
    query_payment(agreed.number)
    with_capture = {"capture_asked_at": Now(), "captures": 1}
    Payment.objects.filter(capture_asked_at=None).update(**with_capture)
    agreed.refresh_from_db()
    return agreed


def test_what_the_channel_still_reviews_is_neither_given_up_nor_replaced_nor_expired(paypal, order, reviewed):
    with pytest.raises(PaymentConfirming):
        cancel_order(order.number)
    with pytest.raises(PaymentConfirming):
        apply_for_payment(order.number, channel="paypal", scene="wap")
    Order.objects.update(expires_at=Now())
    handle_now(EXPIRE_ORDER, order.number)
    Payment.objects.update(dead_at=Now())
    query_payment(reviewed.number)
    order.refresh_from_db()
    reviewed.refresh_from_db()
    assert (order.status, reviewed.status, reviewed.superseded_at) == ("UNPAID", PaymentStatus.PAYING, None)


def test_what_the_channel_has_reviewed_pays_its_order(paypal, order, reviewed):
    capture = ["PAID"]
    if kept(paypal, reviewed) != capture:
        capture_payment(reviewed.number)
    paypal.set_faults({"notify": {"drop": 1.0}})
    capture_payment(reviewed.number)
    order.refresh_from_db()
    assert (order.status, kept(paypal, reviewed)) == (OrderStatus.READY_FOR_SHIPMENT, capture)


def test_capture_that_needs_a_person_is_a_case(paypal, order, agreed):
    fail(paypal, "capture", "status", value={"status": 422, "code": "DUPLICATE_INVOICE_ID"})
    query_payment(agreed.number)
    assert Case.objects.get().kind == Case.Kind.IRREGULAR


def test_capture_that_is_refused_for_a_reason_that_nobody_knows_ends_with_its_attempt(paypal, order, agreed):
    fail(paypal, "capture", "status", value={"status": 422, "code": "PAYER_ACCOUNT_RESTRICTED"}, times=99)
    assert query_payment(agreed.number)[0] is Outcome.NOT_FOUND
    Payment.objects.update(dead_at=Now())
    query_payment(agreed.number)
    agreed.refresh_from_db()
    assert agreed.status == PaymentStatus.CLOSED


def test_attempt_that_was_superseded_while_its_capture_was_undecided_ends_when_it_is_dead(
    paypal, order, agreed
):
    fail(paypal, "capture", "reset", times=99)
    query_payment(agreed.number)
    Payment.objects.update(superseded_at=Now(), dead_at=Now())
    query_payment(agreed.number)
    agreed.refresh_from_db()
    assert agreed.status == PaymentStatus.CLOSED
