"""Goods leave once they are paid for, and never while all of their money is on its way back."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from orders.errors import IllegalMove, OrderNotFound
from orders.models import Order
from payments.audit import audit
from payments.channels.base import Outcome
from payments.errors import AllGoesBack
from payments.models import Receipt, Refund
from payments.refunding import approve_refund, reject_refund
from payments.shipping import complete_order, ship_order
from shop.models import Event, Source
from tests.factories import make_order, make_payment, steps
from tests.payments.audit_world import PRICE, ask, finish, order_of, pay
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db


@pytest.fixture
def receipt() -> Receipt:
    """Of an order that is ready for shipment."""
    return pay(make_payment(make_order()))


def status_of(receipt: Receipt) -> str:
    return order_of(receipt).status


def ship(receipt: Receipt) -> None:
    ship_order(order_of(receipt).number, actor="sue")


def complete(receipt: Receipt) -> None:
    complete_order(order_of(receipt).number, actor="sue")


def test_paid_order_is_shipped_and_then_completed_and_history_says_by_whom(receipt):
    version = order_of(receipt).version
    ship(receipt)
    complete(receipt)
    order = order_of(receipt)
    assert (order.status, order.version) == ("COMPLETED", version + 2)
    assert steps(order.number)[-2:] == [("READY_FOR_SHIPMENT", "SHIPPED"), ("SHIPPED", "COMPLETED")]
    last = Event.objects.filter(subject=order.number).last()
    assert last is not None
    assert (last.source, last.actor) == (Source.STAFF, "sue")
    assert audit() == []


@pytest.mark.parametrize("act", [ship_order, complete_order])
def test_unpaid_order_is_neither_shipped_nor_completed(act):
    order = make_order()
    with pytest.raises(IllegalMove, match="cannot go from UNPAID"):
        act(order.number, actor="sue")
    order.refresh_from_db()
    assert order.status == "UNPAID"


def test_order_is_not_shipped_twice_nor_completed_before(receipt):
    with pytest.raises(IllegalMove, match="from READY_FOR_SHIPMENT to COMPLETED"):
        complete(receipt)
    ship(receipt)
    with pytest.raises(IllegalMove, match="from SHIPPED to SHIPPED"):
        ship(receipt)


def test_refunded_order_is_not_shipped(receipt):
    finish(ask(receipt, PRICE))
    with pytest.raises(IllegalMove, match="from REFUNDED"):
        ship(receipt)


def test_unknown_order_is_not_found():
    with pytest.raises(OrderNotFound):
        ship_order("N000000000000000", actor="sue")


@pytest.mark.parametrize("waits", [True, False])
def test_order_stays_while_all_of_its_money_is_to_go_back(receipt, waits):
    ask(receipt, PRICE, waits=waits)
    with pytest.raises(AllGoesBack):
        ship(receipt)
    assert status_of(receipt) == "READY_FOR_SHIPMENT"


def test_order_stays_while_the_last_part_of_its_money_is_to_go_back(receipt):
    finish(ask(receipt, PRICE - 100))
    ask(receipt, 100)
    with pytest.raises(AllGoesBack):
        ship(receipt)


def test_shipped_order_is_not_completed_while_all_of_its_money_is_to_go_back(receipt):
    ship(receipt)
    ask(receipt, PRICE)
    with pytest.raises(AllGoesBack):
        complete(receipt)


def test_order_is_shipped_while_a_part_of_its_money_goes_back(receipt):
    ask(receipt, PRICE - 1)
    ship(receipt)
    assert status_of(receipt) == "SHIPPED"


def test_order_is_shipped_once_its_refund_came_to_nothing(receipt):
    reject_refund(ask(receipt, PRICE, waits=True).number, actor="tom", reason="no")
    finish(ask(receipt, PRICE), Outcome.REFUSED)
    ship(receipt)
    assert status_of(receipt) == "SHIPPED"
    assert [violation for violation in audit() if violation.invariant == "I4"] == []


def test_surplus_that_goes_back_keeps_nothing_here(receipt):
    pay(make_payment(order_of(receipt)), channel_number="4200SECOND")
    assert Refund.objects.get().status == "REFUNDING"
    ship(receipt)
    assert status_of(receipt) == "SHIPPED"


@whatever_redis_does
@pytest.mark.django_db(transaction=True)
def test_goods_and_money_never_leave_at_once(receipt):
    refund, start = ask(receipt, PRICE - 1, waits=True), Barrier(2)

    def run(act: str) -> str:
        connection.ensure_connection()
        start.wait(10)
        try:
            ship(receipt) if act == "ship" else ask(receipt, 1)
        except AllGoesBack:
            return "stayed"
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(2) as people:
        shipped, asked = people.map(run, ("ship", "ask"))
    approve_refund(refund.number, actor="tom")
    assert asked == "done"
    assert (shipped == "done") == (Order.objects.get().status == "SHIPPED")
    assert [violation for violation in audit() if violation.invariant == "I4"] == []
