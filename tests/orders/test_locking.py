"""The lock of an order: whoever has it is alone with the order until the transaction ends."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from orders.models import Order
from orders.moves import lock_order
from tests.factories import make_order

pytestmark = pytest.mark.django_db(transaction=True)


def may_lock(number: str) -> bool:
    """Whether somebody else gets the order's row at once."""
    try:
        with transaction.atomic():
            return Order.objects.select_for_update(skip_locked=True).filter(number=number).exists()
    finally:
        connection.close()


def test_locked_order_is_nobody_elses_until_the_transaction_ends():
    number = make_order().number
    with ThreadPoolExecutor(1) as somebody:
        with transaction.atomic():
            lock_order(number)
            assert not somebody.submit(may_lock, number).result()
        assert somebody.submit(may_lock, number).result()
