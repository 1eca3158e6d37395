"""The lists of the API: for systems and staff, by filters, page by page, and nothing is told twice or not at all."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.access import token_of
from orders.models import Order
from payments.models import Payment, Refund
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.keyring import Scope, make_key
from shop.models import Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db

LISTS = {"orders": Scope.ORDERS_READ, "payments": Scope.PAYMENTS_READ, "refunds": Scope.REFUNDS_READ}


@pytest.fixture
def system() -> Client:
    """A system that may read everything."""
    made = make_key(name="books", scopes=list(LISTS.values()))
    return Client(headers={"Authorization": f"Api-Key {made.shown}"})


def pay(payment: Payment) -> Payment:
    settle_payment(report(payment), channel=payment.channel, source=Source.QUERY)
    return payment


def make_rows(kind: str, count: int) -> list[str]:
    """So many of them; their numbers, oldest first."""
    orders = [make_order(stock=1000) for _ in range(count)]
    if kind == "orders":
        return [order.number for order in orders]
    payments = [make_payment(order) for order in orders]
    if kind == "payments":
        return [payment.number for payment in payments]
    return [
        ask_refund(pay(payment).number, amount=100, reason="size", actor="Ann").number for payment in payments
    ]


def numbers(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["number"] for row in answer.json()["results"]]


def walk(system: Client, path: str) -> Iterator[list[str]]:
    """Every page, by `next`."""
    following: str | None = f"/api/v1/{path}"
    while following:
        answer = system.get(following)
        yield numbers(answer)
        following = answer.json()["next"]


@pytest.mark.parametrize("kind", LISTS)
def test_list_is_walked_newest_first_and_complete(system, kind):
    made = make_rows(kind, 5)
    pages = list(walk(system, f"{kind}?limit=2"))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [number for page in pages for number in page] == made[::-1]


@pytest.mark.parametrize("kind", LISTS)
def test_full_last_page_leads_nowhere(system, kind):
    make_rows(kind, 2)
    answer = system.get(f"/api/v1/{kind}?limit=2")
    assert (answer.json()["next"], "Link" in answer) == (None, False)


def test_next_page_is_named_in_the_body_and_by_link(system):
    make_rows("orders", 2)
    answer = system.get("/api/v1/orders?limit=1&status=UNPAID")
    assert answer["Link"] == f'<{answer.json()["next"]}>; rel="next"'


def test_next_page_is_where_the_world_finds_the_shop_whatever_the_request_came_through(system, settings):
    """Whoever follows it shows the key there: never in clear, because a proxy does not tell of its https."""
    settings.PUBLIC_URL = "https://shop.example"
    make_rows("orders", 2)
    answer = system.get("/api/v1/orders?limit=1", headers={"Host": "localhost:8000"})
    assert answer.json()["next"].startswith("https://shop.example/api/v1/orders?limit=1&cursor=")


@pytest.mark.parametrize("kind", LISTS)
def test_what_is_made_meanwhile_repeats_nothing_and_hides_nothing(system, kind):
    made = make_rows(kind, 4)
    pages = walk(system, f"{kind}?limit=2")
    seen = next(pages)
    make_rows(kind, 3)
    for page in pages:
        seen += page
    assert seen == made[::-1]


def test_list_of_nothing_is_empty(system):
    assert system.get("/api/v1/orders").json() == {"results": [], "next": None}


# ---- filters -------------------------------------------------------------------------------------------------------


@pytest.fixture
def paid() -> Payment:
    return pay(make_payment(make_order()))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("orders?status=READY_FOR_SHIPMENT", True),
        ("orders?status=UNPAID", False),
        ("orders?currency=CNY", True),
        ("orders?currency=USD", False),
        ("orders?status=READY_FOR_SHIPMENT&currency=USD", False),
        ("payments?status=PAID", True),
        ("payments?status=CLOSED", False),
        ("payments?channel=wechat", True),
        ("payments?channel=alipay", False),
        ("payments?order={order}", True),
        ("payments?order=N000000000000000", False),
        ("refunds?status=REFUNDING", True),
        ("refunds?status=FAILED", False),
        ("refunds?kind=ASKED", True),
        ("refunds?kind=AUTOMATIC", False),
        ("refunds?payment={payment}", True),
        ("refunds?payment={order}", False),
        ("refunds?order={order}", True),
    ],
)
def test_filter_leaves_what_was_asked_for(system, paid, path, found):
    ask_refund(paid.number, amount=100, reason="size", actor="Ann")
    answer = system.get(f"/api/v1/{path.format(order=paid.order.number, payment=paid.number)}")
    assert len(numbers(answer)) == found


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(
    ("after_s", "before_s", "expected"),
    [(None, None, "cba"), (-100, None, "cba"), (10, None, "c"), (0, None, "cb"), (None, 0, "a"), (-10, 10, "b"), (3600, None, ""), (None, -3600, "")],
)  # fmt: skip
def test_times_bound_the_list_from_their_moment_on_and_up_to_it(system, kind, after_s, before_s, expected):
    rows = {"orders": Order, "payments": Payment, "refunds": Refund}[kind].objects
    moment = timezone.now().replace(microsecond=0)
    names = dict(zip(make_rows(kind, 3), "abc", strict=True))
    for number, at_s in zip(names, (-20, 0, 20), strict=True):
        rows.filter(number=number).update(created_at=moment + timedelta(seconds=at_s))
    bounds = {
        name: (moment + timedelta(seconds=at_s)).isoformat()
        for name, at_s in (("created_after", after_s), ("created_before", before_s))
        if at_s is not None
    }
    found = numbers(system.get(f"/api/v1/{kind}?{urlencode(bounds)}"))
    assert "".join(names[number] for number in found) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        "limit=0",
        "limit=101",
        "limit=1_0",
        "limit=5.0",
        "limit=%D9%A3",
        "limit=%205",
        "limit=",
        "status=paid",
        "status=",
        "cursor=",
        "cursor=N000000000000000",
        "created_after=2026-11-22",
        "created_after=2026-11-22T12:00:00",
        "created_after=2026-11-22T12:00:00 08:00",
        "created_after=2026-13-22T12:00:00Z",
        "created_after=9999-12-31T23:59:59Z",
        "created_before=now",
        "order_by=amount",
        "page=2",
    ],
)
@pytest.mark.parametrize("kind", LISTS)
def test_senseless_parameter_is_refused_by_name(system, kind, wrong):
    answer = system.get(f"/api/v1/{kind}?{wrong}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert [one["field"] for one in answer.json()["errors"]] == [wrong.partition("=")[0]]


def test_every_wrong_parameter_is_named(system):
    answer = system.get("/api/v1/orders?status=x&limit=x&colour=x")
    assert {one["field"] for one in answer.json()["errors"]} == {"status", "limit", "colour"}


@pytest.mark.parametrize("other", ["payments", "orders?status=UNPAID", "orders?currency=CNY"])
def test_cursor_belongs_to_its_list_and_filters(system, other):
    make_rows("orders", 2)
    cursor = system.get("/api/v1/orders?limit=1").json()["next"].partition("cursor=")[2]
    answer = system.get(f"/api/v1/{other}{'&' if '?' in other else '?'}cursor={cursor}")
    assert answer.json()["errors"][0]["field"] == "cursor"


# ---- who -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LISTS)
def test_shopper_lists_nothing(kind):
    order = make_order()
    answer = Client(headers={"Authorization": f"Bearer {token_of(order)}"}).get(f"/api/v1/{kind}")
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", LISTS)
def test_key_for_other_things_is_told_which_scope_it_lacks(kind):
    made = make_key(name="other", scopes=[Scope.EVENTS_READ])
    answer = Client(headers={"Authorization": f"Api-Key {made.shown}"}).get(f"/api/v1/{kind}")
    assert (answer.status_code, answer.json()["scope"]) == (403, LISTS[kind])


# ---- cost ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "statements"), [("orders", 3), ("payments", 2), ("refunds", 2)])
@pytest.mark.parametrize("rows", [1, 7])
def test_page_costs_the_same_whatever_is_on_it(system, kind, statements, rows):
    """One that reads the key, and one for each kind of row."""
    system.get(f"/api/v1/{kind}")  # that the key is used is written down once a minute
    make_rows(kind, rows)
    with CaptureQueriesContext(connection) as seen:
        assert len(numbers(system.get(f"/api/v1/{kind}"))) == rows
    assert len(seen) == statements


@pytest.mark.parametrize(
    "path",
    [
        "orders",
        "orders?status=UNPAID",
        "orders?created_before=2026-01-01T00:00:00Z",
        "payments",
        "payments?status=PAID",
        "payments?channel=wechat",
        "payments?created_after=2026-01-01T00:00:00Z&created_before=2026-02-01T00:00:00Z",
        "refunds",
        "refunds?status=REFUNDED",
    ],
)
def test_page_is_found_by_an_index_in_the_order_of_the_list(system, path):
    """Whatever the planner knows about how many there are: it must be able to walk an index, and to stop."""
    with CaptureQueriesContext(connection) as seen:
        assert system.get(f"/api/v1/{path}").status_code == 200
    table = {"o": "orders_order", "p": "payments_payment", "r": "payments_refund"}[path[0]]
    [asked] = [one["sql"] for one in seen if f'FROM "{table}"' in one["sql"] and "LIMIT 51" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")
        cursor.execute("set local enable_sort = off")
        cursor.execute(f"explain {asked}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Sort" not in plan
    assert f"Seq Scan on {table}" not in plan
