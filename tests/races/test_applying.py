"""Races for the order's one live payment: many who apply, and those who end the order meanwhile."""

import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from orders.models import Order
from orders.moves import EXPIRE_ORDER
from payments.applying import Applied
from payments.channels.base import Attempt, Created
from payments.channels.registry import get_channel
from payments.ending import cancel_order
from payments.errors import OrderIsClosed
from payments.models import Payment
from shop.alarms import handle_now
from shop.idempotency import Key
from tests.races.racing import names, patiently
from tests.races.world import CLOSED, PAID, Look
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]

SLOW_S = 0.05
PAYABLE = Look(order="UNPAID", payments=("PAYING",), receipts=(), trades=("OPEN",), kept=0)
# It ended before a code was asked for.
NEVER_PAYABLE = replace(CLOSED, payments=(), trades=())


@pytest.fixture
def slow_way(world, race, monkeypatch):
    """What we ask the channel to create takes its time to arrive there: whatever was asked later may come first."""
    channel = get_channel("wechat")
    create = channel.create

    def dawdle_and_create(request: Attempt) -> Created:
        time.sleep(race.dice.uniform(0, SLOW_S))
        return create(request)

    monkeypatch.setattr(channel, "create", dawdle_and_create)


def codes(told: list[Any]) -> set[str]:
    return {each.payment.action["content"] for each in told}


@pytest.mark.xdist_group("crowd")
def test_fifty_who_apply_at_once_get_one_code_of_one_payment(world, race):
    for _ in race.rounds(usually=1):
        order = world.place()
        told = race(*[patiently(partial(world.apply, order))] * 50)
        assert names(told) == {"Applied": 50}
        assert [each.is_new for each in told].count(True) == 1
        assert len(codes(told)) == 1
        world.check()
        assert world.look(order) == PAYABLE


def test_ten_applies_with_one_key_make_one_payment_and_nine_hear_of_it(world, race):
    for _ in race.rounds():
        order = world.place()
        key = Key(f"payments:{order.number}", "twice", "body")
        told = race(*[patiently(partial(world.apply, order, key=key))] * 10)
        assert names(told) == {"Applied": 10}
        assert [each.is_replay for each in told].count(False) == 1
        assert len(codes(told)) == 1
        world.check()
        assert world.look(order) == PAYABLE


def test_ten_who_choose_another_way_to_pay_at_once_supersede_one_payment_by_one(world, race):
    for _ in race.rounds():
        order = world.place()
        first = world.apply(order).payment
        world.leave_undecided(first)
        told = race(*[patiently(partial(world.apply, order, may_supersede=True))] * 10)
        assert names(told) == {"Applied": 10}
        assert len(codes(told)) == 1
        assert Payment.objects.get(order=order, superseded_at=None).pk != first.pk
        world.let_channel_fail()
        world.check()
        assert world.look(order) == replace(PAYABLE, payments=("PAYING",) * 2, trades=("OPEN",) * 2)


def test_applying_against_cancelling_leaves_no_code_that_could_be_paid(world, race, slow_way):
    for _ in race.rounds():
        order = world.place()
        applied, cancelled = race(partial(world.apply, order), partial(cancel_order, order.number))
        assert cancelled is None
        has_begun = Payment.objects.filter(order=order).exists()
        race.ended("begun" if has_begun else "cancelled", of=("begun", "cancelled"))
        assert has_begun or isinstance(applied, OrderIsClosed)
        world.check()
        assert world.look(order) == (CLOSED if has_begun else NEVER_PAYABLE)


def test_applying_against_expiry_gains_five_minutes_or_comes_too_late(world, race):
    for _ in race.rounds():
        order = world.place()
        world.run_out(order)
        told, _ = race(partial(world.apply, order), partial(handle_now, EXPIRE_ORDER, order.number))
        is_in_time = isinstance(told, Applied)
        race.ended("in time" if is_in_time else "too late", of=("in time", "too late"))
        assert is_in_time or isinstance(told, OrderIsClosed)
        world.check()
        assert world.look(order) == (PAYABLE if is_in_time else NEVER_PAYABLE)


def test_paying_in_the_wallet_against_cancelling_pays_the_order_or_nothing(world, race):
    for _ in race.rounds():
        order = world.place()
        payment = world.apply(order).payment
        race(partial(world.try_to_pay, payment), partial(cancel_order, order.number))
        is_paid = Order.objects.get(pk=order.pk).status != "CLOSED"
        race.ended("paid" if is_paid else "cancelled", of=("paid", "cancelled"))
        world.check()
        assert world.look(order) == (PAID if is_paid else CLOSED)
