"""The order's status table, and that the database refuses what must never be."""

import itertools

import pytest
from django.db import IntegrityError, connection, transaction

from orders.errors import IllegalMove
from orders.models import Order, Product
from orders.moves import close_order, extend_if_ending, lock_order, move_order, reopen_order
from orders.statuses import MOVES, CloseReason, OrderStatus
from shop.events import record
from shop.models import Alarm, Source
from tests.factories import by_hand, make_order, make_payment, steps

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _without_money():
    """The floor of goods alone: who pays an order is a matter of the floor above."""
    with by_hand():
        yield


def put_into(order: Order, status: OrderStatus) -> None:
    closed = status == OrderStatus.CLOSED
    Order.objects.filter(pk=order.pk).update(
        status=status, holds_stock=not closed, closed_at=order.created_at if closed else None
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(OrderStatus, OrderStatus)))
def test_only_the_moves_of_the_table_happen(before, after):
    order = make_order()
    put_into(order, before)
    locked = lock_order(order.number)
    if after in MOVES[before]:
        closes = after == OrderStatus.CLOSED
        also = {"closed_at": locked.now if closes else None, "holds_stock": not closes}
        assert move_order(locked, after, source=Source.SYSTEM, **also).to_status == after
        order.refresh_from_db()
        assert (order.status, order.version) == (after, 2)
    else:
        with pytest.raises(IllegalMove):
            move_order(locked, after, source=Source.SYSTEM)


def test_every_status_is_in_the_table():
    assert set(MOVES) == set(OrderStatus)


def test_closing_gives_the_goods_back_once_and_removes_the_alarm():
    order = make_order(quantity=3, stock=10)
    record([close_order(lock_order(order.number), CloseReason.CANCELLED, source=Source.SHOPPER)])
    assert Product.objects.get().stock == 10
    assert not Alarm.objects.exists()
    with pytest.raises(IllegalMove):
        close_order(lock_order(order.number), CloseReason.CANCELLED, source=Source.SHOPPER)
    assert Product.objects.get().stock == 10


def test_reopening_takes_the_goods_again():
    order = make_order(quantity=3, stock=10)
    close_order(lock_order(order.number), CloseReason.EXPIRED, source=Source.SYSTEM)
    assert reopen_order(lock_order(order.number), source=Source.QUERY) is not None
    assert Product.objects.get().stock == 7
    order.refresh_from_db()
    assert (order.status, order.close_reason, order.closed_at) == (OrderStatus.READY_FOR_SHIPMENT, "", None)


def test_reopening_without_the_goods_changes_nothing():
    order = make_order(quantity=3, stock=3)
    close_order(lock_order(order.number), CloseReason.EXPIRED, source=Source.SYSTEM)
    make_order(quantity=1)
    assert reopen_order(lock_order(order.number), source=Source.QUERY) is None
    assert Product.objects.get().stock == 2
    assert Order.objects.get(pk=order.pk).status == OrderStatus.CLOSED


def test_the_last_minutes_are_extended_once():
    order = make_order()
    locked = lock_order(order.number)
    Order.objects.filter(pk=order.pk).update(expires_at=locked.now)
    extend_if_ending(lock_order(order.number))
    order.refresh_from_db()
    first = order.expires_at
    assert 290 < (first - locked.now).total_seconds() < 310
    assert Alarm.objects.get(kind="expire_order").due_at == first
    Order.objects.filter(pk=order.pk).update(expires_at=locked.now)
    extend_if_ending(lock_order(order.number))
    order.refresh_from_db()
    assert order.expires_at == locked.now


@pytest.mark.parametrize("statement", ["update shop_event set to_status = 'PAID'", "delete from shop_event"])
def test_history_is_refused_to_be_changed_by_the_database(statement):
    order = make_order()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        connection.cursor().execute(statement)
    assert steps(order.number) == [("", "UNPAID")]


def test_history_cannot_be_emptied_at_once():
    with (
        connection.cursor() as cursor,
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
    ):
        cursor.execute("truncate shop_event")


@pytest.mark.parametrize(
    "wrong",
    [{"status": "PAYED"}, {"amount": 0}, {"status": "CLOSED"}, {"holds_stock": False}],
)
def test_the_database_refuses_an_impossible_order(wrong):
    order = make_order()
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(**wrong)


def test_the_database_refuses_stock_below_zero():
    make_order()
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.update(stock=-1)


def test_the_database_refuses_two_live_payments():
    order = make_order()
    make_payment(order)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_payment(order)
