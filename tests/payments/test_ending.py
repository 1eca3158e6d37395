"""Cancelling and expiry: close at the channel, ask, then decide; never by the clock alone."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from orders.models import Order, Product
from orders.statuses import CloseReason
from payments import ending
from payments.applying import apply_for_payment
from payments.cases import list_open_cases
from payments.channels.base import Outcome
from payments.channels.unionpay_reading import CHARGED
from payments.ending import CASE_AFTER_TRIES, cancel_order
from payments.errors import OrderIsPaid, PaymentConfirming
from payments.models import Case, Payment, Refund
from payments.querying import query_payment
from payments.settling import settle_payment
from payments.statuses import PaymentStatus
from shop.alarms import claim_due, handle
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def start(sandbox, order: Order) -> Payment:
    sandbox.set_faults({"notify": {"drop": 1.0}})
    return apply_for_payment(order.number, channel="wechat", scene="qr").payment


def break_close(sandbox, what: str = "status", *, also: str = "close") -> None:
    broken = {"channel": "wechat", "when": "before", "what": what, "times": 20}
    script = [broken | {"operation": operation} for operation in {"close", also}]
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": script})


def silence(sandbox) -> None:
    """The channel answers neither a close nor a query."""
    break_close(sandbox, also="query")


def expire(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))
    Alarm.objects.filter(kind="expire_order", subject=order.number).update(
        due_at=Now() - timedelta(seconds=1)
    )
    for claim in claim_due(10):
        assert handle(claim)
    order.refresh_from_db()


def test_cancelled_order_is_closed_here_and_at_the_channel_and_gives_its_goods_back(sandbox):
    order = make_order(quantity=2, stock=10)
    payment = start(sandbox, order)
    cancel_order(order.number)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, order.close_reason) == ("CLOSED", "CANCELLED")
    assert payment.status == PaymentStatus.CLOSED
    assert sandbox.trades(payment.number)[0]["status"] == "CLOSED"
    assert Product.objects.get().stock == 10
    assert list(Alarm.objects.values_list("kind", flat=True)) == ["recheck_payment"]


def test_cancelling_again_changes_nothing(sandbox):
    order = make_order(stock=10)
    cancel_order(order.number)
    cancel_order(order.number)
    assert Product.objects.get().stock == 10


def test_order_that_was_paid_meanwhile_is_settled_instead_of_cancelled(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    sandbox.pay(payment.number)
    with pytest.raises(OrderIsPaid):
        cancel_order(order.number)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


def test_cancel_waits_while_the_channel_does_not_answer(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    silence(sandbox)
    with pytest.raises(PaymentConfirming):
        cancel_order(order.number)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == ("UNPAID", PaymentStatus.PAYING)
    assert payment.is_unsure


def test_what_the_channel_does_not_know_cannot_be_closed_and_stays_watched(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    break_close(sandbox, "notfound")
    cancel_order(order.number)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == ("CLOSED", PaymentStatus.PAYING)
    assert Alarm.objects.filter(kind="query_payment", subject=payment.number).exists()


def test_money_that_comes_after_a_cancel_goes_back(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    break_close(sandbox, "notfound")
    cancel_order(order.number)
    sandbox.clear_faults()
    sandbox.pay(payment.number)
    query_payment(payment.number)
    order.refresh_from_db()
    assert order.status == "CLOSED"
    assert Refund.objects.get().amount == order.amount


def test_order_expires_when_its_time_is_over(sandbox):
    order = make_order(stock=10)
    payment = start(sandbox, order)
    expire(order)
    payment.refresh_from_db()
    assert (order.status, order.close_reason, payment.status) == ("CLOSED", "EXPIRED", PaymentStatus.CLOSED)
    assert Product.objects.get().stock == 10


def test_expiry_finds_what_was_paid_at_the_last_moment(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    sandbox.pay(payment.number)
    expire(order)
    assert order.status == "READY_FOR_SHIPMENT"
    assert not Alarm.objects.filter(kind="expire_order").exists()


def test_expiry_does_not_close_while_the_channel_does_not_answer(sandbox):
    order = make_order()
    start(sandbox, order)
    silence(sandbox)
    expire(order)
    assert order.status == "UNPAID"
    assert Alarm.objects.filter(kind="expire_order").exists()
    sandbox.clear_faults()
    expire(order)
    assert order.status == "CLOSED"


def test_alarm_of_an_extended_order_is_set_to_its_new_end(sandbox):
    order = make_order()
    Alarm.objects.update(due_at=Now() - timedelta(seconds=1))
    for claim in claim_due(10):
        handle(claim)
    order.refresh_from_db()
    assert order.status == "UNPAID"
    assert Alarm.objects.get().due_at == order.expires_at


def test_what_has_no_answer_to_a_close_but_is_verified_as_unpaid_is_watched_on(sandbox):
    order = make_order()
    payment = start(sandbox, order)
    break_close(sandbox)
    cancel_order(order.number)
    order.refresh_from_db()
    payment.refresh_from_db()
    assert (order.status, payment.status) == ("CLOSED", PaymentStatus.PAYING)
    assert payment.superseded_at is not None


def test_expiry_that_stays_without_an_answer_becomes_a_case(sandbox):
    order = make_order()
    start(sandbox, order)
    silence(sandbox)
    for _ in range(CASE_AFTER_TRIES):
        assert not Case.objects.exists()
        expire(order)
    assert Case.objects.get().kind == Case.Kind.UNANSWERED


@pytest.mark.parametrize("code", sorted(CHARGED))
def test_expiry_holds_no_goods_for_money_that_unionpay_took_and_does_not_give_us(every_channel, code):
    order = make_order(stock=10)
    payment = apply_for_payment(order.number, channel="unionpay", scene="qr").payment
    told = {"what": "lie", "when": "after", "value": {"status": code}, "times": 20}
    every_channel.set_faults({"script": [{"channel": "unionpay", "operation": "query", **told}]})
    # A fresh trade may be invisible to the first query.
    wait_until(lambda: query_payment(payment.number)[0] is Outcome.UNKNOWN, within_s=5, every_s=0.5)
    expire(order)
    payment.refresh_from_db()
    assert (order.close_reason, Product.objects.get().stock) == ("EXPIRED", 10)
    assert (payment.status, payment.superseded_at is not None) == (PaymentStatus.PAYING, True)
    assert [(case.kind, case.evidence["code"]) for case in list_open_cases()] == [(Case.Kind.IRREGULAR, code)]


def test_cancelling_waits_for_money_that_may_have_been_taken(every_channel):
    payment = make_payment(make_order(), channel="unionpay")
    settle_payment(
        report(payment, Outcome.UNKNOWN, code="42", needs_person=True),
        channel="unionpay",
        source=Source.QUERY,
    )
    told = {"what": "lie", "when": "after", "value": {"status": "42"}, "times": 20}
    every_channel.set_faults({"script": [{"channel": "unionpay", "operation": "query", **told}]})
    with pytest.raises(PaymentConfirming):
        cancel_order(payment.order.number)


def test_expiry_leaves_an_order_that_a_shopper_extended_meanwhile(sandbox, monkeypatch):
    order = make_order()
    payment = start(sandbox, order)
    close = ending._close

    def apply_meanwhile(live: Payment, reason: CloseReason) -> Outcome:
        outcome = close(live, reason)
        if live.number == payment.number:
            apply_for_payment(order.number, channel="wechat", scene="qr")
        return outcome

    monkeypatch.setattr(ending, "_close", apply_meanwhile)
    expire(order)
    newest = order.payments.last()
    assert newest is not None
    assert (order.status, newest.status) == ("UNPAID", PaymentStatus.PAYING)
    assert newest.pk != payment.pk
    assert Alarm.objects.get(kind="expire_order").due_at == order.expires_at


def test_order_with_money_of_a_wrong_amount_is_not_closed(sandbox):
    order = make_order()
    payment = make_payment(order)
    settle_payment(report(payment, amount_minor=1), channel="wechat", source=Source.QUERY)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    with pytest.raises(PaymentConfirming):
        cancel_order(order.number)
    order.refresh_from_db()
    assert order.status == "UNPAID"


def test_order_that_is_paid_says_so_to_who_cancels_whatever_its_other_attempts_do():
    order = make_order()
    settle_payment(report(make_payment(order)), channel="wechat", source=Source.QUERY)
    make_payment(order)  # another attempt, and no channel is there that could say anything
    with pytest.raises(OrderIsPaid):
        cancel_order(order.number)


def test_order_whose_wrong_money_waits_for_a_person_is_no_second_case_and_asks_no_channel():
    order = make_order()
    payment = make_payment(order)
    settle_payment(report(payment, amount_minor=1), channel="wechat", source=Source.QUERY)
    Order.objects.update(expires_at=Now() - timedelta(seconds=1))
    Alarm.objects.filter(kind="expire_order").update(due_at=Now(), attempts=9)
    for claim in claim_due(5):  # no channel is configured here: asking one would fail
        assert handle(claim)
    assert [case.kind for case in Case.objects.all()] == [Case.Kind.MISMATCH]
    assert Order.objects.get().status == "UNPAID"
