"""Settling: every (status, outcome) pair, and a home for every cent."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from orders.models import Order, Product
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason, OrderStatus
from payments.cases import list_open_cases, resolve_case
from payments.channels.base import Outcome
from payments.errors import PaymentNotFound
from payments.models import Case, Payment, Receipt, Refund
from payments.settling import expire_payment, settle_payment, settle_unmatched
from payments.statuses import PAYMENT_DEEDS, Deed, PaymentStatus, ReceiptClass, RefundStatus, Settled
from shop.events import record
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, make_product, report, steps
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

AT_REST = [status for status in PaymentStatus if status != PaymentStatus.UNPAID]


def settle(payment: Payment, outcome: Outcome = Outcome.SUCCEEDED, **changed: object) -> Settled:
    return settle_payment(report(payment, outcome, **changed), channel="wechat", source=Source.QUERY)


def close(order: Order, reason: CloseReason = CloseReason.EXPIRED) -> None:
    record([close_order(lock_order(order.number), reason, source=Source.SYSTEM)])


def test_the_table_names_every_pair_of_status_and_outcome():
    assert set(PAYMENT_DEEDS) == {(status, outcome) for status in AT_REST for outcome in Outcome}


@pytest.mark.parametrize(("status", "outcome"), sorted(PAYMENT_DEEDS))
def test_each_outcome_does_to_each_status_what_the_table_says(status, outcome):
    order = make_order()
    payment = make_payment(order)
    Payment.objects.filter(pk=payment.pk).update(status=status)
    settle(payment, outcome)
    payment.refresh_from_db()
    ends = {
        Deed.KEEP: status,
        Deed.PAY: PaymentStatus.PAID,
        Deed.REPEAT: PaymentStatus.PAID,
        Deed.CLOSE: PaymentStatus.CLOSED,
        Deed.FAIL: PaymentStatus.FAILED,
        Deed.CAPTURE: status,
    }
    assert payment.status == ends[PAYMENT_DEEDS[status, outcome]]


def test_paid_order_is_ready_for_shipment_with_one_settled_receipt_and_its_events():
    order = make_order()
    payment = make_payment(order)
    assert settle(payment) is Settled.MOVED
    order.refresh_from_db()
    receipt = Receipt.objects.get()
    assert order.status == OrderStatus.READY_FOR_SHIPMENT
    assert (receipt.receipt_class, receipt.amount, receipt.order) == (
        ReceiptClass.SETTLED,
        order.amount,
        order,
    )
    assert steps(payment.number) == [("", "UNPAID"), ("UNPAID", "PAYING"), ("PAYING", "PAID")]
    assert steps(order.number) == [("", "UNPAID"), ("UNPAID", "READY_FOR_SHIPMENT")]


def test_what_is_settled_has_no_alarm_but_its_follow_up():
    settle(make_payment(make_order()))
    assert list(Alarm.objects.values_list("kind", flat=True)) == ["follow_up"]


def test_second_report_of_the_same_trade_changes_nothing():
    payment = make_payment(make_order())
    settle(payment)
    assert settle(payment) is Settled.REPEATED
    assert Receipt.objects.count() == 1
    assert len(steps(payment.number)) == 3


@pytest.mark.parametrize(
    "changed", [{"amount_minor": 1}, {"amount_minor": 999_999}, {"currency": "USD"}, {"amount_minor": None}]
)
def test_another_amount_or_currency_is_set_aside_for_a_person(changed):
    order = make_order()
    payment = make_payment(order)
    assert settle(payment, **changed) is Settled.REVIEW
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == (OrderStatus.UNPAID, PaymentStatus.PAYING)
    assert Receipt.objects.get().receipt_class == ReceiptClass.MISMATCH
    assert Case.objects.get().kind == Case.Kind.MISMATCH
    assert settle(payment, **changed) is Settled.REPEATED


def test_number_of_ours_under_another_channel_is_not_found():
    payment = make_payment(make_order())
    with pytest.raises(PaymentNotFound):
        settle_payment(report(payment), channel="alipay", source=Source.CALLBACK)


def test_trade_that_is_reported_again_for_another_payment_is_a_case():
    first, second = make_payment(make_order()), make_payment(make_order())
    settle(first)
    known = Receipt.objects.get().channel_number
    assert settle(second, channel_number=known) is Settled.REVIEW
    second.refresh_from_db()
    assert second.status == PaymentStatus.PAYING
    assert Case.objects.get().kind == Case.Kind.DISAGREES


def test_second_success_of_an_order_is_surplus_and_goes_back_in_full():
    order = make_order()
    first = make_payment(order)
    Payment.objects.filter(pk=first.pk).update(superseded_at=order.created_at)
    second = make_payment(order)
    assert [settle(second), settle(first)] == [Settled.MOVED, Settled.MOVED]
    assert list(Receipt.objects.values_list("payment", "receipt_class")) == [
        (second.pk, ReceiptClass.SETTLED),
        (first.pk, ReceiptClass.SURPLUS),
    ]
    refund = Refund.objects.get()
    assert (refund.receipt.payment, refund.amount, refund.status) == (
        first,
        first.amount,
        RefundStatus.REFUNDING,
    )
    assert Alarm.objects.filter(kind="send_refund", subject=refund.number).exists()


def test_second_trade_under_one_number_is_surplus():
    payment = make_payment(make_order())
    settle(payment)
    assert settle(payment, channel_number="another-trade") is Settled.MOVED
    assert Receipt.objects.filter(receipt_class=ReceiptClass.SURPLUS).count() == 1
    assert Refund.objects.get().receipt.channel_number == "another-trade"


def test_money_after_expiry_reopens_the_order_while_the_goods_are_there():
    order = make_order(stock=5)
    payment = make_payment(order)
    close(order)
    settle(payment)
    order.refresh_from_db()
    assert order.status == OrderStatus.READY_FOR_SHIPMENT
    assert Receipt.objects.get().receipt_class == ReceiptClass.SETTLED
    assert Product.objects.get().stock == 4


@pytest.mark.parametrize("why", ["cancelled", "long ago", "sold out", "bought again"])
def test_late_money_that_cannot_reopen_goes_back(why):
    order = make_order(stock=1 if why == "sold out" else 5)
    payment = make_payment(order)
    close(order, CloseReason.CANCELLED if why == "cancelled" else CloseReason.EXPIRED)
    if why == "long ago":
        Order.objects.filter(pk=order.pk).update(closed_at=order.created_at - timedelta(hours=25))
        Payment.objects.filter(pk=payment.pk).update(dead_at=order.created_at - timedelta(hours=25))
    if why == "sold out":
        make_order()
    if why == "bought again":
        again = make_order()
        Order.objects.filter(pk=again.pk).update(created_at=order.created_at + timedelta(seconds=1))
        settle(make_payment(again))
    settle(payment)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == (OrderStatus.CLOSED, PaymentStatus.PAID)
    assert Receipt.objects.get(payment=payment).receipt_class == ReceiptClass.LATE
    assert Refund.objects.get().receipt.payment == payment


def test_order_whose_voucher_can_be_paid_for_days_is_reopened_for_as_long_as_that():
    order = make_order()
    payment = make_payment(order, lives_s=5 * 24 * 3600)
    close(order)
    Order.objects.filter(pk=order.pk).update(closed_at=order.created_at - timedelta(hours=25))
    settle(payment)
    order.refresh_from_db()
    assert order.status == OrderStatus.READY_FOR_SHIPMENT


def test_what_a_person_has_answered_is_no_case_again_at_the_next_query(django_user_model):
    payment = make_payment(make_order(), channel="unionpay")

    def hear(code: str) -> None:
        said = report(payment, Outcome.UNKNOWN, code=code, needs_person=True)
        settle_payment(said, channel="unionpay", source=Source.QUERY)

    hear("42")
    hear("42")
    anna = django_user_model.objects.create_user("anna")
    resolve_case(Case.objects.get(kind="irregular").pk, actor=anna, resolution="UnionPay gives it back")
    hear("42")
    assert not list_open_cases()
    hear("45")
    assert list_open_cases().get().evidence["code"] == "45"


def test_late_success_moves_a_closed_payment_to_paid():
    payment = make_payment(make_order())
    settle(payment, Outcome.CLOSED)
    assert settle(payment) is Settled.MOVED
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAID


def test_an_attempt_ends_by_time_only_after_it_is_dead():
    payment = make_payment(make_order(), lives_s=1800)
    assert expire_payment(payment, source=Source.QUERY) is Settled.STALE
    Payment.objects.filter(pk=payment.pk).update(dead_at=payment.created_at - timedelta(seconds=1))
    assert expire_payment(payment, source=Source.QUERY) is Settled.MOVED
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.CLOSED
    assert not Case.objects.exists()


def test_money_without_a_payment_has_a_receipt_and_one_case():
    stray = report(make_payment(make_order()), number="SOMEBODYELSES", channel_number="stray-1")
    assert settle_unmatched(stray, channel="wechat", source=Source.STATEMENT) is Settled.REVIEW
    assert settle_unmatched(stray, channel="wechat", source=Source.STATEMENT) is Settled.REPEATED
    assert Receipt.objects.get().receipt_class == ReceiptClass.UNMATCHED
    assert Case.objects.get().kind == Case.Kind.UNMATCHED


def test_unmatched_money_is_settled_when_its_payment_appears():
    make_product()
    payment = make_payment(make_order())
    settle_unmatched(report(payment), channel="wechat", source=Source.CALLBACK)
    assert settle(payment) is Settled.MOVED
    receipt = Receipt.objects.get()
    assert (receipt.receipt_class, receipt.payment) == (ReceiptClass.SETTLED, payment)
    assert Case.objects.get().resolved_at is not None


def test_two_trades_of_a_wrong_amount_are_two_cases():
    payment = make_payment(make_order())
    settle(payment, amount_minor=1)
    settle(payment, amount_minor=2, channel_number="second")
    assert sorted(Case.objects.values_list("evidence__amount", flat=True)) == [1, 2]


def test_the_database_lets_nothing_leave_paid_and_no_receipt_be_deleted():
    payment = make_payment(make_order())
    settle(payment)
    with pytest.raises(IntegrityError, match="nothing ever leaves PAID"), transaction.atomic():
        Payment.objects.update(status=PaymentStatus.CLOSED)
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        Receipt.objects.all().delete()


@pytest.mark.parametrize("wrong", [{"receipt_class": "foo"}, {"amount": -1}, {"channel_number": ""}])
def test_the_database_refuses_an_impossible_receipt(wrong):
    settle(make_payment(make_order()))
    with pytest.raises(IntegrityError), transaction.atomic():
        Receipt.objects.update(**wrong)


@pytest.mark.django_db(transaction=True)
def test_two_payments_that_succeed_at_the_same_moment_are_one_settled_and_one_surplus():
    order = make_order()
    first = make_payment(order)
    Payment.objects.update(superseded_at=order.created_at)
    second = make_payment(order)

    def settle_second() -> Settled:
        try:
            return settle(second)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as rival:
        with transaction.atomic():
            settle(first)
            told = rival.submit(settle_second)
            wait_until(is_anybody_waiting_for_us)
        assert told.result(timeout=10) is Settled.MOVED
    classes = Receipt.objects.order_by("payment").values_list("receipt_class", flat=True)
    assert list(classes) == [ReceiptClass.SETTLED, ReceiptClass.SURPLUS]
    assert Refund.objects.get().receipt.payment == second


def is_anybody_waiting_for_us() -> bool:
    """Whether another session waits for a lock that this transaction holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])
