"""Refunds that people ask for: promised under the lock, approved by a second person above a limit, and what they leave."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from orders.models import Order, Product
from orders.moves import lock_order, move_order
from orders.statuses import OrderStatus
from payments.channels.base import Outcome, RefundReport
from payments.errors import OverRefund, OwnApproval, PaymentNotFound, RefundIsDecided, RefundNotFound
from payments.models import Case, Payment, Receipt, Refund
from payments.refunding import approve_refund, ask_refund, reject_refund
from payments.returning import settle_foreign_refund, settle_refund
from payments.settling import settle_payment, settle_unmatched
from payments.statuses import ReceiptClass, RefundStatus, Settled
from shop.events import record
from shop.models import Alarm, Event, Source
from tests.factories import make_order, make_payment, report, steps
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db
PRICE = 12900


@pytest.fixture
def payment() -> Payment:
    """Paid in full: ¥129.00 for one packet of tea."""
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    payment.refresh_from_db()
    return payment


def ask(payment: Payment, amount: int = PRICE) -> Refund:
    return ask_refund(payment.number, amount=amount, reason="broken", actor="sue")


def end(refund: Refund, outcome: Outcome = Outcome.SUCCEEDED) -> Settled:
    told = RefundReport(outcome=outcome, number=refund.number, channel_number=f"5{refund.pk}", code="TEST")
    return settle_refund(told, channel="wechat", source=Source.QUERY)


def order_of(payment: Payment) -> Order:
    return Order.objects.get(pk=payment.order_id)


def status_of(refund: Refund) -> str:
    refund.refresh_from_db()
    return refund.status


def ship(payment: Payment) -> None:
    with transaction.atomic():
        record([move_order(lock_order(order_of(payment).number), OrderStatus.SHIPPED, source=Source.STAFF)])


def test_small_refund_is_on_its_way_at_once(payment):
    refund = ask(payment, 100)
    assert (refund.status, refund.kind, refund.asked_by) == ("REFUNDING", Refund.Kind.ASKED, "sue")
    assert Alarm.objects.filter(kind="send_refund", subject=refund.number).exists()


def test_refund_above_the_limit_waits_for_a_second_person(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 99
    refund = ask(payment, 100)
    assert refund.status == RefundStatus.PENDING_APPROVAL
    assert not Alarm.objects.filter(kind="send_refund").exists()
    approve_refund(refund.number, actor="tom")
    assert status_of(refund) == RefundStatus.REFUNDING
    assert Alarm.objects.filter(kind="send_refund", subject=refund.number).exists()
    assert [event.actor for event in Event.objects.filter(subject=refund.number)] == ["sue", "tom"]


def test_nobody_approves_what_they_asked_for(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund = ask(payment)
    with pytest.raises(OwnApproval):
        approve_refund(refund.number, actor="sue")
    with pytest.raises(IntegrityError), transaction.atomic():
        Refund.objects.update(approved_by="sue")


def test_rejected_refund_may_be_asked_for_again(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund = ask(payment)
    reject_refund(refund.number, actor="tom", reason="not broken")
    assert status_of(refund) == RefundStatus.REJECTED
    assert ask(payment).status == RefundStatus.PENDING_APPROVAL


def test_refund_is_decided_once(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund = ask(payment)
    approve_refund(refund.number, actor="tom")
    for decide in (
        lambda: approve_refund(refund.number, actor="tom"),
        lambda: reject_refund(refund.number, actor="tom", reason="late"),
    ):
        with pytest.raises(RefundIsDecided):
            decide()
    assert status_of(refund) == RefundStatus.REFUNDING


def test_parts_are_given_back_until_nothing_is_left(payment):
    ask(payment, 10000)
    with pytest.raises(OverRefund) as refused:
        ask(payment, 2901)
    assert refused.value.left_minor == 2900
    assert ask(payment, 2900).status == RefundStatus.REFUNDING


def test_part_given_back_leaves_the_order_to_be_delivered(payment):
    end(ask(payment, 100))
    assert order_of(payment).status == OrderStatus.READY_FOR_SHIPMENT


def test_order_that_was_given_back_in_full_is_refunded_and_its_goods_return_once(payment):
    first, second = ask(payment, 12000), ask(payment, 900)
    end(first)
    assert end(second) is Settled.MOVED
    assert end(second) is Settled.REPEATED
    order = order_of(payment)
    assert (order.status, order.holds_stock) == (OrderStatus.REFUNDED, False)
    assert Product.objects.get().stock == 10
    assert steps(order.number)[-1] == ("READY_FOR_SHIPMENT", "REFUNDED")


def test_goods_that_were_shipped_do_not_return_by_a_refund(payment):
    ship(payment)
    end(ask(payment))
    order = order_of(payment)
    assert (order.status, order.holds_stock) == (OrderStatus.REFUNDED, True)
    assert Product.objects.get().stock == 9


@pytest.mark.django_db(transaction=True)
def test_what_is_being_given_back_in_full_is_not_shipped(payment):
    refund = ask(payment)
    with pytest.raises(IntegrityError):
        ship(payment)
    end(refund, Outcome.CLOSED)
    ship(payment)
    assert order_of(payment).status == OrderStatus.SHIPPED


def test_refused_refund_frees_its_amount_and_is_a_case_until_the_money_is_back(payment):
    refund = ask(payment)
    end(refund, Outcome.REFUSED)
    assert status_of(refund) == RefundStatus.FAILED
    assert Case.objects.get(resolved_at=None).subject == refund.number
    end(ask(payment))
    assert not Case.objects.filter(resolved_at=None).exists()


def test_unpaid_payment_has_nothing_to_give_back():
    with pytest.raises(OverRefund) as refused:
        ask(make_payment(make_order()))
    assert refused.value.left_minor == 0


def test_unknown_numbers_are_named():
    with pytest.raises(PaymentNotFound):
        ask_refund("P00000000000000000000000", amount=1, reason="x", actor="sue")
    with pytest.raises(RefundNotFound):
        approve_refund("R00000000000000000000000", actor="sue")


def test_money_of_a_wrong_amount_goes_back_and_its_case_is_closed():
    payment = make_payment(make_order())
    settle_payment(report(payment, amount_minor=100), channel="wechat", source=Source.QUERY)
    end(ask(payment, 100))
    assert not Case.objects.filter(resolved_at=None).exists()
    assert order_of(payment).status == OrderStatus.UNPAID


def test_money_without_a_payment_goes_back_by_the_channels_number():
    payment = make_payment(make_order())
    stray = report(payment, number="SOMEBODYELSES", channel_number="4200099")
    settle_unmatched(stray, channel="wechat", source=Source.CALLBACK)
    end(ask_refund("4200099", amount=PRICE, reason="not ours", actor="sue"))
    assert Receipt.objects.get().receipt_class == ReceiptClass.UNMATCHED
    assert not Case.objects.filter(resolved_at=None).exists()


def stray_of(payment: Payment) -> Receipt:
    """The payment's money, which came while the payment was not there."""
    settle_unmatched(report(payment), channel="wechat", source=Source.CALLBACK)
    return Receipt.objects.get()


@pytest.mark.parametrize("is_sent", [True, False])
def test_money_on_its_way_back_pays_no_order_when_its_payment_appears(is_sent):
    payment = make_payment(make_order())
    refund = ask_refund(stray_of(payment).channel_number, amount=PRICE - 100, reason="stray", actor="sue")
    if is_sent:
        end(refund)
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    assert order_of(payment).status == OrderStatus.UNPAID
    assert Receipt.objects.get().receipt_class == ReceiptClass.SURPLUS
    assert sorted(Refund.objects.values_list("amount", flat=True)) == [100, PRICE - 100]


def test_stray_money_of_a_wrong_amount_has_one_case_when_its_payment_appears():
    payment = make_payment(make_order())
    told = report(payment, amount_minor=1)
    settle_unmatched(told, channel="wechat", source=Source.CALLBACK)
    settle_payment(told, channel="wechat", source=Source.QUERY)
    assert [case.kind for case in Case.objects.filter(resolved_at=None)] == [Case.Kind.MISMATCH]


def test_attempt_whose_wrong_money_went_back_is_asked_about_no_more():
    payment = make_payment(make_order())
    settle_payment(report(payment, amount_minor=100), channel="wechat", source=Source.QUERY)
    end(ask(payment, 100))
    payment.refresh_from_db()
    assert payment.status == "CLOSED"
    assert not Alarm.objects.filter(kind="query_payment").exists()


def test_case_of_a_part_that_did_not_arrive_at_first_is_closed_when_it_does(payment):
    refund = ask(payment, 900)
    told = RefundReport(outcome=Outcome.OPEN, number=refund.number, code="ABNORMAL", needs_person=True)
    settle_refund(told, channel="wechat", source=Source.QUERY)
    assert Case.objects.filter(resolved_at=None).exists()
    end(refund)
    assert not Case.objects.filter(resolved_at=None).exists()


def test_console_refund_of_a_second_trade_is_of_that_trade(payment):
    settle_payment(report(payment, channel_number="4200002"), channel="wechat", source=Source.CALLBACK)
    end(Refund.objects.get(), Outcome.CLOSED)  # ours was refused: somebody does it by hand
    assert told_of_console_refund(payment, PRICE, trade_number="4200002") is Settled.REVIEW
    assert Refund.objects.get(kind=Refund.Kind.CONSOLE).receipt.receipt_class == ReceiptClass.SURPLUS
    assert order_of(payment).status == OrderStatus.READY_FOR_SHIPMENT


def told_of_console_refund(payment: Payment, amount: int, trade_number: str = "") -> Settled:
    told = RefundReport(
        trade_number=trade_number,
        outcome=Outcome.SUCCEEDED,
        number="console@1",
        channel_number="5031",
        payment_number=payment.number,
        amount_minor=amount,
    )
    return settle_foreign_refund(told, channel="wechat", source=Source.CALLBACK)


def test_refund_made_in_the_channels_console_is_written_down_and_shown_to_a_person(payment):
    assert told_of_console_refund(payment, PRICE) is Settled.REVIEW
    refund = Refund.objects.get()
    assert (refund.kind, refund.status) == (Refund.Kind.CONSOLE, RefundStatus.REFUNDED)
    assert order_of(payment).status == OrderStatus.REFUNDED
    assert Case.objects.get().kind == Case.Kind.CONSOLE_REFUND
    assert told_of_console_refund(payment, PRICE) is Settled.REPEATED


def test_console_refund_waits_until_the_channel_has_refused_ours(payment):
    ours = ask(payment, PRICE)
    assert told_of_console_refund(payment, 1) is Settled.STALE
    assert Refund.objects.count() == 1
    assert Case.objects.get().kind == Case.Kind.DISAGREES
    end(ours, Outcome.REFUSED)
    assert told_of_console_refund(payment, 1) is Settled.REVIEW
    assert Refund.objects.filter(kind=Refund.Kind.CONSOLE).count() == 1
    open_ones = Case.objects.filter(resolved_at=None).values_list("kind", flat=True)
    assert sorted(open_ones) == [Case.Kind.CONSOLE_REFUND, Case.Kind.REFUND]


def test_console_refund_takes_the_place_of_one_that_waits_for_approval(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    ours = ask(payment, PRICE)
    assert told_of_console_refund(payment, PRICE) is Settled.REVIEW
    assert status_of(ours) == RefundStatus.REJECTED
    assert order_of(payment).status == OrderStatus.REFUNDED


def test_word_of_success_about_a_refund_that_nobody_sent_is_a_case(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund = ask(payment)
    assert end(refund) is Settled.REVIEW
    assert status_of(refund) == RefundStatus.PENDING_APPROVAL
    assert Case.objects.filter(kind=Case.Kind.DISAGREES, subject=refund.number).exists()


@pytest.mark.django_db(transaction=True)
@whatever_redis_does
def test_two_people_who_refund_the_same_money_give_it_back_once(payment):
    def try_it(_: int) -> bool:
        try:
            ask(payment)
        except OverRefund:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(try_it, range(4))) == [False, False, False, True]
    assert Refund.objects.count() == 1


def test_large_refund_in_small_parts_is_a_large_one(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 5000
    assert [ask(payment, amount).status for amount in (3000, 2000, 1)] == [
        "REFUNDING",
        "REFUNDING",
        "PENDING_APPROVAL",
    ]


def test_refund_that_waits_for_approval_is_a_case_until_somebody_decides(payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    for decide in (
        lambda number: approve_refund(number, actor="tom"),
        lambda number: reject_refund(number, actor="tom", reason="no"),
    ):
        refund = ask(payment, 100)
        assert Case.objects.get(resolved_at=None).kind == Case.Kind.APPROVAL
        decide(refund.number)
        assert not Case.objects.filter(resolved_at=None).exists()


def test_money_whose_refund_only_waits_for_approval_pays_its_order_when_its_payment_appears(settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    payment = make_payment(make_order())
    refund = ask_refund(stray_of(payment).channel_number, amount=PRICE, reason="stray", actor="sue")
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    assert status_of(refund) == RefundStatus.REJECTED
    assert order_of(payment).status == OrderStatus.READY_FOR_SHIPMENT
    assert not Case.objects.filter(resolved_at=None).exists()


def test_rejecting_a_refund_of_surplus_money_leaves_nobody_with_it(payment, settings):
    settle_payment(report(payment, channel_number="4200002"), channel="wechat", source=Source.CALLBACK)
    end(Refund.objects.get(), Outcome.CLOSED)
    settings.REFUND_APPROVAL_ABOVE = 0
    waiting = ask_refund("4200002", amount=PRICE, reason="again", actor="sue")
    reject_refund(waiting.number, actor="tom", reason="no")
    assert Refund.objects.get(status=RefundStatus.REFUNDING).amount == PRICE


def test_console_refund_that_does_not_fit_rejects_nobodys_refund(payment, settings):
    ours = ask(payment, 5000)
    settings.REFUND_APPROVAL_ABOVE = 0
    waiting = ask(payment, 6000)
    assert told_of_console_refund(payment, 9000) is Settled.STALE
    assert (status_of(ours), status_of(waiting)) == (RefundStatus.REFUNDING, RefundStatus.PENDING_APPROVAL)
