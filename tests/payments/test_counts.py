"""How many SQL statements the hot paths take, transaction control not counted: see README, "How fast"."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orders.access import token_of
from orders.models import Order
from orders.placing import Item, place_order
from payments.applying import apply_for_payment
from payments.models import Payment
from tests.factories import ANNA, make_order, make_product
from tests.sandbox.merchant import Received, Shop

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
def caught(sandbox, order, settings) -> Iterator[Received]:
    """A genuine notification of a payment, caught on its way to us."""
    elsewhere = Shop()
    settings.PUBLIC_URL = elsewhere.url.removesuffix("/notify/wechat/")
    sandbox.pay(apply(order).number)
    yield elsewhere.take()
    elsewhere.close()


def deliver(client: Client, message: Received) -> list[str]:
    """The statements of one callback over HTTP, acknowledged."""
    with statements() as seen:
        answer = client.post(
            "/notify/wechat/", message.body, content_type="application/json", headers=dict(message.headers)
        )
    assert answer.status_code == 204
    return seen


def apply(order: Order) -> Payment:
    return apply_for_payment(order.number, channel="wechat", scene="qr").payment


def post(client: Client, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any, list[str]]:
    """Status and body of the answer, and the statements that it took."""
    with statements() as seen:
        answer = client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)
    return answer.status_code, answer.json(), seen


@pytest.mark.parametrize("lines", [1, 12])
def test_placing_takes_three_whatever_the_number_of_lines(lines):
    items = [Item(make_product(f"tea-{n}").sku, 1) for n in range(lines)]
    with statements() as seen:
        place_order(items, ANNA)
    assert len(seen) == 3


@pytest.mark.parametrize(("headers", "most"), [({}, 4), ({"Idempotency-Key": "k1"}, 6)])
def test_order_over_http_takes_at_most_six_with_its_key_and_its_answer(client, headers, most):
    items = [{"sku": make_product(f"tea-{n}").sku, "quantity": 1} for n in range(5)]
    status, _, seen = post(client, "orders", {"items": items, "contact": asdict(ANNA)}, **headers)
    assert status == 201
    assert len(seen) <= most


@pytest.mark.parametrize(("headers", "most"), [({}, 7), ({"Idempotency-Key": "k1"}, 10)])
def test_new_application_over_http_takes_at_most_ten_with_its_key(client, order, headers, most):
    """Who may see the order, look and write the intent, keep the action; and what the key needs."""
    headers = headers | {"Authorization": f"Bearer {token_of(order)}"}
    wish = {"channel": "wechat", "scene": "qr"}
    status, _, seen = post(client, f"orders/{order.number}/payments", wish, **headers)
    assert status == 201
    assert len(seen) <= most


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


def test_callback_that_settles_takes_four(client, caught):
    assert len(deliver(client, caught)) == 4
    assert Payment.objects.get().status == "PAID"


def test_repeated_callback_takes_one_without_a_lock_or_a_write(client, caught):
    deliver(client, caught)
    seen = deliver(client, caught)
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
