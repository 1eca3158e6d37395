"""How many SQL statements the hot paths take, transaction control not counted: see README, "Twice"."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.access import token_of
from orders.models import Order
from orders.placing import Item, place_order
from payments.applying import apply_for_payment
from payments.callbacks import take_callback
from payments.channels.base import RawCallback
from payments.models import Payment
from tests.factories import ANNA, make_order, make_product
from tests.sandbox.merchant import Shop

pytestmark = pytest.mark.django_db(transaction=True)

CONTROL = re.compile(r"(BEGIN|COMMIT|SAVEPOINT|RELEASE|ROLLBACK)", re.IGNORECASE)
WRITING = re.compile(r"(INSERT INTO|UPDATE |DELETE FROM|FOR UPDATE|FOR NO KEY)", re.IGNORECASE)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What was sent to the database in the block."""
    seen: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield seen
    seen += [query["sql"] for query in captured.captured_queries if not CONTROL.match(query["sql"])]


@pytest.fixture
def order(sandbox) -> Order:
    return make_order()


@pytest.fixture
def caught(sandbox, order, settings) -> Iterator[RawCallback]:
    """A genuine notification of a payment, caught on its way to us."""
    elsewhere = Shop()
    settings.PUBLIC_URL = elsewhere.url.removesuffix("/notify/wechat/")
    sandbox.pay(apply(order).number)
    message = elsewhere.take()
    headers = {name.lower(): value for name, value in message.headers.items()}
    yield RawCallback(headers=headers, body=message.body)
    elsewhere.close()


def apply(order: Order) -> Payment:
    return apply_for_payment(order.number, channel="wechat", scene="qr").payment


@pytest.mark.parametrize("lines", [1, 12])
def test_placing_takes_three_whatever_the_number_of_lines(lines):
    items = [Item(make_product(f"tea-{n}").sku, 1) for n in range(lines)]
    with statements() as seen:
        place_order(items, ANNA)
    assert len(seen) == 3


def test_new_application_takes_at_most_six(order):
    with statements() as seen:
        apply(order)
    assert len(seen) <= 6


def test_application_that_was_answered_a_moment_ago_writes_and_locks_nothing(client, order):
    """By HTTP, as a second press comes: one read says who may see the order."""
    body, headers = {"channel": "wechat", "scene": "qr"}, {"Authorization": f"Bearer {token_of(order)}"}
    path = f"/api/v1/orders/{order.number}/payments"
    first = client.post(path, body, content_type="application/json", headers=headers)
    with statements() as seen:
        again = client.post(path, body, content_type="application/json", headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert len(seen) == 1
    assert not WRITING.search(seen[0])


def test_callback_that_settles_takes_four(caught):
    with statements() as seen:
        take_callback("wechat", caught)
    assert len(seen) == 4


def test_repeated_callback_takes_one_without_a_lock_or_a_write(caught):
    take_callback("wechat", caught)
    with statements() as seen:
        take_callback("wechat", caught)
    assert len(seen) == 1
    assert not WRITING.search(seen[0])


def test_status_from_a_warm_cache_takes_none(client, order):
    apply(order)
    path, headers = f"/api/v1/orders/{order.number}/status", {"Authorization": f"Bearer {token_of(order)}"}
    first = client.get(path, headers=headers)
    with statements() as seen:
        again = client.get(path, headers=headers)
    assert again.json() == first.json()
    assert seen == []


def test_status_from_a_warm_cache_takes_none_for_a_browser_neither(client, order):
    session = client.session
    session["orders"] = [order.number]
    session.save()
    path = f"/api/v1/orders/{order.number}/status"
    first = client.get(path)
    assert first.status_code == 200
    with statements() as seen:
        again = client.get(path)
    assert again.json() == first.json()
    assert seen == []
