"""The look after a settlement: order and receipts agree, or a person hears of it."""

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now

from orders.models import Order
from payments.applying import apply_for_payment
from payments.following import agrees
from payments.models import Case, Payment, Receipt
from payments.querying import query_payment
from payments.settling import settle_payment
from shop.alarms import claim_due, handle, handle_now, set_alarm
from shop.models import Alarm, Source
from tests.factories import by_hand, make_order, make_payment, report
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db


def settle(order: Order) -> Order:
    settle_payment(report(make_payment(order)), channel="wechat", source=Source.QUERY)
    order.refresh_from_db()
    return order


def test_an_unpaid_and_a_settled_order_agree():
    assert agrees(make_order())
    assert agrees(settle(make_order()))


@whatever_redis_does
def test_follow_up_of_a_settled_order_is_finished_without_a_case():
    order = settle(make_order())
    handle_now("follow_up", order.number)
    assert not Alarm.objects.filter(kind="follow_up").exists()
    assert not Case.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_open_code_of_an_order_that_was_paid_otherwise_is_closed(sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    order = make_order()
    first = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    Payment.objects.update(superseded_at=order.created_at)
    second = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    sandbox.pay(first.number)
    query_payment(first.number)
    handle_now("follow_up", order.number)
    second.refresh_from_db()
    assert second.status == "CLOSED"
    assert sandbox.trades(second.number)[0]["status"] == "CLOSED"


BROKEN = {
    "BASE_URL": "https://api.stripe.com",
    "SECRET_KEY": "",
    "WEBHOOK_SECRET": "",
    "EXPIRES_AFTER_DAYS": "",
}


@pytest.mark.parametrize("configured", [None, BROKEN], ids=["absent", "broken"])
@pytest.mark.parametrize("other", ["alipay", "boleto"])
def test_other_attempt_of_a_channel_that_cannot_be_used_does_not_keep_the_receipt_back(
    settings, other, configured
):
    order = make_order()
    payment = make_payment(order, channel=other)
    Payment.objects.update(superseded_at=order.created_at)
    order = settle(order)
    settings.CHANNELS = {other: configured}
    Alarm.objects.update(due_at=Now())
    [claim] = [claim for claim in claim_due(20) if claim.kind == "follow_up"]
    assert handle(claim)
    assert Alarm.objects.filter(kind="mail_receipt").exists()
    assert not Alarm.objects.filter(kind="follow_up").exists()
    payment.refresh_from_db()
    assert payment.status == "PAYING"
    assert Alarm.objects.filter(kind="query_payment", subject=payment.number).exists()


def test_an_order_that_somebody_set_to_paid_by_hand_becomes_a_case():
    order = make_order()
    with by_hand():
        Order.objects.update(status="READY_FOR_SHIPMENT")
    Alarm.objects.create(kind="follow_up", subject=order.number, due_at=order.created_at)
    handle_now("follow_up", order.number)
    assert Case.objects.get().kind == Case.Kind.DISAGREES
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


@pytest.mark.django_db(transaction=True)
def test_unpaid_order_with_a_settled_receipt_is_paid_by_the_one_door():
    order = settle(make_order())
    with by_hand():
        Order.objects.update(status="UNPAID")
    handle_now("follow_up", order.number)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"
    assert not Case.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", ["READY_FOR_SHIPMENT", "SHIPPED", "COMPLETED", "REFUNDED"])
def test_database_refuses_a_paid_order_without_its_money(status):
    make_order()
    with pytest.raises(IntegrityError):
        Order.objects.update(status=status)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", ["UNPAID", "CLOSED"])
def test_database_refuses_to_forget_that_an_order_was_paid(status):
    order = settle(make_order())
    with pytest.raises(IntegrityError):
        Order.objects.update(status=status, closed_at=order.created_at, holds_stock=status == "UNPAID")


@pytest.mark.django_db(transaction=True)
def test_database_refuses_a_settled_receipt_of_another_amount():
    settle(make_order())
    with pytest.raises(IntegrityError):
        Receipt.objects.update(amount=1)


def test_pages_that_wait_are_woken(monkeypatch):
    rung: list[str] = []
    monkeypatch.setattr("payments.cached.ring", rung.append)
    order = settle(make_order())
    handle_now("follow_up", order.number)
    assert rung == [order.number]


def test_follow_up_that_a_second_settlement_set_anew_is_not_taken_for_done(monkeypatch):
    order = settle(make_order())

    def settle_again_meanwhile(number: str) -> None:
        set_alarm("follow_up", number, in_s=5)

    monkeypatch.setattr("payments.following._close_other_attempts", settle_again_meanwhile)
    handle_now("follow_up", order.number)
    assert Alarm.objects.filter(kind="follow_up", subject=order.number).exists()


@pytest.mark.django_db(transaction=True)
def test_database_refuses_to_take_a_settled_receipt_from_its_order():
    settle(make_order())
    with pytest.raises(IntegrityError):
        Receipt.objects.update(receipt_class="surplus")
