"""Races of the channel's messages: against each other, and against everybody else who decides about the order."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from django.db.models.functions import Now

from orders.errors import OutOfStock
from orders.models import Order
from orders.moves import EXPIRE_ORDER
from payments.callbacks import TAKE_CALLBACK
from payments.ending import cancel_order
from payments.errors import OrderIsPaid
from payments.models import Callback, Case, Payment, Receipt
from payments.querying import query_payment
from payments.statuses import ReceiptClass
from shop.alarms import handle_now
from shop.models import Event
from tests.factories import make_order
from tests.races.world import LATE, PAID, PAID_TWICE
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]


def expire(order: Order) -> None:
    handle_now(EXPIRE_ORDER, order.number)


def was_closed(order: Order) -> bool:
    return Event.objects.filter(subject=order.number, to_status="CLOSED").exists()


# ---- against each other ------------------------------------------------------------------------------------------


def test_the_same_message_five_times_at_once_is_one_receipt(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay()
        assert race(*[partial(world.deliver, message)] * 5) == [204] * 5
        assert Callback.objects.filter(message_id=message.id).count() == 1
        world.check()
        assert world.look(order) == PAID


def test_two_messages_about_one_trade_are_one_receipt(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay()
        other = world.rewrite(message)
        assert race(*[partial(world.deliver, each) for each in (message, other, message, other)]) == [204] * 4
        world.check()
        assert world.look(order) == PAID


def test_of_two_trades_of_one_number_one_settles_the_order_and_the_other_goes_back(world, race):
    for _ in race.rounds():
        order = world.place()
        payment = world.apply(order).payment
        messages = world.pay(payment, payment)
        assert race(*[partial(world.deliver, each) for each in messages]) == [204, 204]
        world.check()
        assert world.look(order) == PAID_TWICE
        settled = Receipt.objects.get(order=order, receipt_class=ReceiptClass.SETTLED)
        is_first = world.trade_of(messages[0]) == settled.channel_number
        race.ended("first" if is_first else "second", of=("first", "second"))


def test_of_two_payments_of_one_order_one_settles_it_and_the_other_goes_back(world, race):
    for _ in race.rounds():
        order = world.place()
        first, second = world.apply_twice(order)
        messages = world.pay(first, second)
        assert race(*[partial(world.deliver, each) for each in messages]) == [204, 204]
        world.check()
        assert world.look(order) == replace(PAID_TWICE, payments=("PAID", "PAID"))
        race.ended(Receipt.objects.get(payment=first).receipt_class, of=("settled", "surplus"))


def test_message_that_is_sent_again_against_the_alarm_of_its_first_time_is_one_receipt(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        kept = world.hear_too_early(payment, message)
        race(partial(world.deliver, message), partial(handle_now, TAKE_CALLBACK, str(kept.pk)))
        world.check()
        assert world.look(order) == PAID
        assert Callback.objects.get(number=payment.number).taken_at


# ---- against those who ask, or end -------------------------------------------------------------------------------


def test_message_against_query_is_one_receipt(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        race(partial(world.deliver, message), partial(query_payment, payment.number))
        race.ended(world.mover(payment), of=("CALLBACK", "QUERY"))
        world.check()
        assert world.look(order) == PAID


def test_message_against_cancelling_keeps_the_order_that_is_paid(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        _, told = race(partial(world.deliver, message), partial(cancel_order, order.number))
        assert isinstance(told, OrderIsPaid)
        race.ended(world.mover(payment), of=("CALLBACK", "RESPONSE"))
        world.check()
        assert world.look(order) == PAID


def test_money_that_no_close_stops_against_cancelling_stays_with_its_order_or_goes_back(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay_closed()
        _, told = race(partial(world.deliver, message), partial(cancel_order, order.number))
        is_paid = isinstance(told, OrderIsPaid)
        race.ended("paid" if is_paid else "cancelled", of=("paid", "cancelled"))
        world.check()
        assert world.look(order) == (PAID if is_paid else LATE)


def test_message_against_expiry_keeps_the_order_that_is_paid(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        world.run_out(order)
        race(partial(world.deliver, message), partial(expire, order))
        race.ended(world.mover(payment), of=("CALLBACK", "RESPONSE"))
        world.check()
        assert world.look(order) == PAID
        assert not was_closed(order)


def test_money_that_no_close_stops_against_expiry_has_what_it_paid_for(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay_closed()
        world.run_out(order)
        race(partial(world.deliver, message), partial(expire, order))
        race.ended("reopened" if was_closed(order) else "paid", of=("paid", "reopened"))
        world.check()
        assert world.look(order) == PAID


def test_money_of_an_expiring_order_against_the_next_buyer_of_its_goods_gets_them_or_goes_back(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay_closed(stock=1)
        world.run_out(order)
        sku = order.lines.get().product.sku

        def expire_and_sell(order: Order = order, sku: str = sku) -> Order:
            expire(order)
            return make_order(sku=sku)

        _, told = race(partial(world.deliver, message), expire_and_sell)
        is_sold = isinstance(told, Order)
        assert is_sold or isinstance(told, OutOfStock)
        race.ended("sold" if is_sold else "kept", of=("kept", "sold"))
        world.check()
        assert world.look(order) == replace(LATE if is_sold else PAID, stock=0)


def test_money_that_no_close_stops_against_a_new_code_leaves_one_settled_payment(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay_closed()
        _, told = race(partial(world.deliver, message), partial(world.apply, order))
        has_begun = order.payments.count() == 2
        assert has_begun or isinstance(told, OrderIsPaid)
        race.ended("begun" if has_begun else "paid", of=("paid", "begun"))
        world.check()
        begun = replace(PAID, payments=("CLOSED", "PAID"), trades=("CLOSED", "PAID"))
        assert world.look(order) == (begun if has_begun else PAID)


def test_message_against_another_way_to_pay_leaves_one_settled_payment(world, race):
    for _ in race.rounds():
        order = world.place()
        first = world.apply(order).payment
        world.leave_undecided(first)
        [message] = world.pay(first)
        race(partial(world.deliver, message), partial(world.apply, order, may_supersede=True))
        world.let_channel_fail()
        second = Payment.objects.filter(order=order).exclude(pk=first.pk).first()
        race.ended("superseded" if second else "paid", of=("paid", "superseded"))
        if second and world.is_open(second):
            [surplus] = world.pay(second)
            world.deliver(surplus)
        world.check()
        look = world.look(order)
        assert (look.order, look.kept, look.stock) == (PAID.order, PAID.kept, PAID.stock)
        assert look.receipts in (("settled",), ("settled", "surplus"))


def test_strange_money_whose_payment_appears_as_a_person_is_told_of_it_pays_the_order(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        kept = world.hear_too_early(payment, message)
        Callback.objects.filter(pk=kept.pk).update(received_at=Now() - timedelta(minutes=2))

        def appear(payment: Payment = payment) -> None:
            Payment.objects.filter(pk=payment.pk).update(number=payment.number)
            query_payment(payment.number)

        Payment.objects.filter(pk=payment.pk).update(number="PNOTYETCOMMITTED00000000")
        race(appear, partial(handle_now, TAKE_CALLBACK, str(kept.pk)))
        told = Case.objects.filter(kind=Case.Kind.UNMATCHED, order=None, evidence__number=payment.number)
        race.ended("told" if told.exists() else "appeared", of=("appeared", "told"))
        world.check()
        assert world.look(order) == PAID
