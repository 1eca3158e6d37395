"""Races for one balance: nobody gives back more than was paid, and nothing goes back twice."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from payments.errors import OverRefund
from payments.models import Refund
from payments.moves import SEND_REFUND
from payments.refunding import approve_refund, ask_refund, reject_refund
from shop.alarms import handle_now
from shop.idempotency import Key
from tests.races.racing import names, patiently
from tests.races.world import PAID, PAID_TWICE, PRICE, STOCK
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]

REFUNDED = replace(PAID, order="REFUNDED", refunds=("REFUNDED",), kept=0, stock=STOCK)
# A refund of so much needs a second person.
MUCH = 200_000


def ask(number: str, amount: int, **more: Any) -> Refund:
    return ask_refund(number, amount=amount, reason="size", actor="amy", **more)


def test_of_two_refunds_of_all_the_money_one_goes_back(world, race):
    for _ in race.rounds():
        order, payment = world.place_settled()
        told = race(*[partial(ask, payment.number, PRICE)] * 2)
        assert names(told) == {"Refund": 1, "OverRefund": 1}
        world.check()
        assert world.look(order) == REFUNDED


def test_of_ten_refunds_at_once_no_more_are_promised_than_the_money_is_enough_for(world, race):
    part = PRICE // 6
    for _ in race.rounds():
        order, payment = world.place_settled()
        told = race(*[partial(ask, payment.number, part)] * 10)
        assert names(told) == {"Refund": 6, "OverRefund": 4}
        world.check()
        assert world.look(order) == replace(REFUNDED, refunds=("REFUNDED",) * 6)


def test_of_ten_refunds_with_one_key_one_goes_back_and_nine_hear_of_it(world, race):
    for _ in race.rounds():
        order, payment = world.place_settled()
        key = Key(f"refunds:{payment.number}", "twice", "body")
        told = race(*[patiently(partial(ask, payment.number, PRICE, key=key))] * 10)
        assert names(told) == {"Refund": 10}
        assert len({refund.number for refund in told}) == 1
        assert [refund.is_replay for refund in told].count(False) == 1
        world.check()
        assert world.look(order) == REFUNDED


def test_staff_cannot_give_back_what_goes_back_by_itself(world, race):
    for _ in race.rounds():
        order = world.place()
        first, second = world.apply_twice(order)
        settling, surplus = world.pay(first, second)
        world.deliver(settling)
        _, told = race(partial(world.deliver, surplus), partial(ask, second.number, PRICE))
        assert isinstance(told, OverRefund)
        world.check()
        assert world.look(order) == replace(PAID_TWICE, payments=("PAID", "PAID"))


def test_of_four_who_decide_about_one_refund_one_is_heard(world, race):
    for _ in race.rounds():
        order, payment = world.place_settled(price=MUCH)
        refund = ask(payment.number, MUCH)
        told = race(
            *(partial(approve_refund, refund.number, actor=actor) for actor in ("bo", "cy")),
            *(partial(reject_refund, refund.number, actor=actor, reason="used") for actor in ("di", "ed")),
        )
        assert names(told) == {"Refund": 1, "RefundIsDecided": 3}
        refund.refresh_from_db()
        is_approved = refund.status == "REFUNDING"
        world.check()
        paid = replace(PAID, kept=MUCH)
        assert world.look(order) == (REFUNDED if is_approved else replace(paid, refunds=("REJECTED",)))


def test_two_workers_with_one_refund_send_it_once(world, race):
    for _ in race.rounds():
        order, payment = world.place_settled()
        refund = ask(payment.number, PRICE)
        race(*[partial(handle_now, SEND_REFUND, refund.number)] * 2)
        world.check()
        assert world.look(order) == REFUNDED
        [trade] = world.sandbox.trades(payment.number)
        assert [made["out_refund_no"] for made in trade["refunds"]] == [refund.number]


def test_message_about_a_refund_against_the_worker_who_asks_ends_it_once(world, race):
    for _ in race.rounds():
        order, refund, message = world.place_with_refund_at_channel()
        race(partial(world.deliver, message), partial(handle_now, SEND_REFUND, refund.number))
        race.ended(world.mover(refund), of=("CALLBACK", "RESPONSE"))
        world.check()
        assert world.look(order) == REFUNDED


def test_strange_money_that_staff_give_back_while_its_payment_appears_goes_back_once(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        receipt = world.tell_of_strange_money(payment, message)
        race(partial(world.deliver, message), partial(ask, receipt.channel_number, PRICE))
        receipt.refresh_from_db()
        race.ended(receipt.receipt_class, of=("settled", "surplus"))
        world.check()
        was_paid = receipt.receipt_class == "settled"
        given_up = replace(REFUNDED, order="UNPAID", receipts=("surplus",), stock=STOCK - 1)
        assert world.look(order) == (REFUNDED if was_paid else given_up)
