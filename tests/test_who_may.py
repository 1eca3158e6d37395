"""Who may what over the API, as one table: everybody who may ask, at every door, and the status of the answer."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.access import remember, token_of
from orders.models import Order
from payments.models import Payment
from payments.refunding import ask_refund
from payments.settling import settle_payment, settle_unmatched
from shop.keyring import Scope, make_key, revoke_key, rotate_key
from shop.models import ApiKey, Source
from tests.factories import make_order, make_payment, report
from tests.flows.test_api import CONTACT

pytestmark = pytest.mark.django_db

# What stands in the path exists and is another's, unless the column says otherwise. Of those who are let in to ask for
# something the answer is what the order's state makes of it: 200, 201, 400 for an empty body, 409.
TABLE = """
who                 catalogue place order status cancel apply payment query refund_it refund orders payments refunds events
nobody              200       201   404   404    404    404   404     404   404       404    401    401      401     401
wrong_token         200       201   404   404    404    404   404     404   404       404    401    401      401     401
token_of_another    200       201   404   404    404    404   404     404   404       404    401    401      401     401
its_token           200       201   200   200    409    400   200     200   403       200    401    401      401     401
session_of_shopper  200       201   200   200    409    400   200     200   403       200    401    401      401     401
session_of_another  200       201   404   404    404    404   404     404   404       404    401    401      401     401
staff_without       200       201   404   404    404    404   404     404   404       404    403    403      403     403
staff_of_orders     200       201   200   200    403    403   404     404   404       404    200    403      403     403
staff_of_payments   200       201   404   404    404    404   200     403   403       404    403    200      403     403
staff_of_refunds    200       201   404   404    404    404   404     404   404       200    403    403      200     403
staff_of_events     200       201   404   404    404    404   404     404   404       404    403    403      403     200
staff_who_refund    200       201   404   404    404    404   200     403   400       404    403    200      403     403
orders:read         200       403   200   200    403    403   403     403   403       403    200    403      403     403
orders:write        200       201   403   403    409    403   403     403   403       403    403    403      403     403
payments:read       200       403   403   403    403    403   200     403   403       403    403    200      403     403
payments:write      200       403   403   403    403    400   403     200   403       403    403    403      403     403
refunds:read        200       403   403   403    403    403   403     403   403       200    403    403      200     403
refunds:write       200       403   403   403    403    403   403     403   400       403    403    403      403     403
events:read         200       403   403   403    403    403   403     403   403       403    403    403      403     200
every_scope         200       201   200   200    409    400   200     200   400       200    200    200      200     200
refunds_of_nobody   200       403   403   403    403    403   403     403   403       403    403    403      403     403
unknown_key         200       401   401   401    401    401   401     401   401       401    401    401      401     401
malformed_key       200       401   401   401    401    401   401     401   401       401    401    401      401     401
expired_key         200       401   401   401    401    401   401     401   401       401    401    401      401     401
revoked_key         200       401   401   401    401    401   401     401   401       401    401    401      401     401
old_secret_in_time  200       201   200   200    409    400   200     200   400       200    200    200      200     200
old_secret_after_it 200       401   401   401    401    401   401     401   401       401    401    401      401     401
"""
(_who, *HEAD), *ROWS = [line.split() for line in TABLE.strip().splitlines()]
DOORS = {
    "catalogue": "GET products",
    "place": "POST orders",
    "orders": "GET orders",
    "payments": "GET payments",
    "refunds": "GET refunds",
    "events": "GET events",
    "order": "GET orders/{order}",
    "status": "GET orders/{order}/status",
    "cancel": "POST orders/{order}/cancel",
    "apply": "POST orders/{order}/payments",
    "payment": "GET payments/{payment}",
    "query": "POST payments/{payment}/query",
    "refund_it": "POST payments/{payment}/refunds",
    "refund": "GET refunds/{refund}",
}
STAFF = {
    "staff_without": (),
    "staff_of_orders": ("view_order",),
    "staff_of_payments": ("view_payment",),
    "staff_of_refunds": ("view_refund",),
    "staff_of_events": ("view_businessevent",),
    "staff_who_refund": ("view_payment", "ask_refund"),
}
EVERYTHING = tuple(Scope.values)


@pytest.fixture
def payment(settings, monkeypatch) -> Payment:
    """Paid, with a refund, so that nobody changes anything of it and every look is alike."""
    monkeypatch.setattr("payments.api.payments.query_by_person", lambda number: None)
    payment = make_payment(make_order(stock=100))
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    ask_refund(payment.number, amount=1, reason="x", actor="sue")
    return payment


def come_as(who: str, order: Order) -> Client:
    """A client that shows what this one has to show."""
    if who in STAFF:
        return _log_in(hire(who, *STAFF[who]))
    if who.startswith("session_of"):
        client = Client()
        session = client.session
        remember(session, order if who.endswith("shopper") else make_order())
        session.save()
        return client
    shown = SHOWN[who](order) if who in SHOWN else f"Api-Key {_key(who)}"
    return Client(headers={"Authorization": shown} if shown else {})


def hire(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def _log_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _key(*scopes: str) -> str:
    return make_key("till", scopes, owner=hire("olga", "ask_refund")).shown


def _rotated(order: Order, *, h: int) -> str:
    shown = _key(*EVERYTHING)
    rotate_key(ApiKey.objects.get().number)
    ApiKey.objects.update(old_until=timezone.now() + timedelta(hours=h))
    return f"Api-Key {shown}"


def _ended(order: Order, **columns: Any) -> str:
    shown = _key(*EVERYTHING)
    ApiKey.objects.update(**columns)
    return f"Api-Key {shown}"


def _revoked(order: Order) -> str:
    shown = _key(*EVERYTHING)
    revoke_key(ApiKey.objects.get().number)
    return f"Api-Key {shown}"


def _ownerless(order: Order) -> str:
    shown = _key("refunds:write")
    ApiKey.objects.update(owner=None)
    return f"Api-Key {shown}"


SHOWN: Mapping[str, Callable[[Order], str]] = {
    "nobody": lambda order: "",
    "wrong_token": lambda order: "Bearer nonsense",
    "token_of_another": lambda order: f"Bearer {token_of(make_order())}",
    "its_token": lambda order: f"Bearer {token_of(order)}",
    "every_scope": lambda order: f"Api-Key {_key(*EVERYTHING)}",
    "refunds_of_nobody": _ownerless,
    "unknown_key": lambda order: "Api-Key K0000000000A.nonsense",
    "malformed_key": lambda order: "api-key",
    "expired_key": lambda order: _ended(order, expires_at=timezone.now() - timedelta(hours=1)),
    "revoked_key": _revoked,
    "old_secret_in_time": lambda order: _rotated(order, h=1),
    "old_secret_after_it": lambda order: _rotated(order, h=-1),
}


def knock(client: Client, door: str, *, head: bool = False, **numbers: str) -> Any:
    method, path = DOORS[door].split()
    body: dict[str, Any] = {}
    if door == "place":
        body = {"items": [{"sku": "tea", "quantity": 1}], "contact": CONTACT, "again": True}
    url = "/api/v1/" + path.format(**numbers)
    if method == "GET":
        return client.head(url) if head else client.get(url)
    return client.post(url, body, content_type="application/json")


def numbers_of(payment: Payment) -> dict[str, str]:
    refund = payment.receipts.get().refunds.get()
    return {"order": payment.order.number, "payment": payment.number, "refund": refund.number}


@pytest.mark.parametrize(
    ("who", "expected"), [(row[0], " ".join(row[1:])) for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_doors_are_for_who_stands_in_the_table(payment, who, expected):
    client, numbers = come_as(who, payment.order), numbers_of(payment)
    answers = {door: knock(client, door, **numbers) for door in HEAD}
    statuses = {door: str(answer.status_code) for door, answer in answers.items()}
    assert statuses == dict(zip(HEAD, expected.split(), strict=True))
    for door in (door for door in HEAD if DOORS[door].startswith("GET")):
        assert (door, knock(client, door, head=True, **numbers).status_code) == (door, int(statuses[door]))
    for answer in answers.values():
        check_problem(answer)


def check_problem(answer: Any) -> None:
    """Every refusal has its code; who lacks a scope is told which, and who is not known how to make themselves known."""
    codes = {401: "unauthorized", 403: "forbidden", 404: "not_found"}
    if answer.status_code not in codes:
        return
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == codes[answer.status_code]
    assert (answer.get("WWW-Authenticate") == "Api-Key") is (answer.status_code == 401)
    if "scope" in answer.json():
        assert answer.json()["scope"] in answer.json()["detail"]


@pytest.mark.parametrize("who", ["nobody", "token_of_another", "session_of_another", "staff_without"])
@pytest.mark.parametrize("door", [door for door, path in DOORS.items() if "{" in path])
def test_what_is_foreign_costs_what_is_missing_costs(payment, who, door):
    client = come_as(who, payment.order)
    knock(client, door, **numbers_of(payment))  # what is looked up once
    missing = {"order": "N000000000000000", "payment": "P" + "0" * 23, "refund": "R" + "0" * 23}
    told = []
    for numbers in (numbers_of(payment), missing):
        with CaptureQueriesContext(
            connection,
        ) as statements:
            answer = knock(client, door, **numbers)
        told.append((answer.status_code, answer.json(), len(statements)))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("its_token", {"payments", "refunds"}),
        ("session_of_shopper", {"payments", "refunds"}),
        ("staff_of_orders", set()),
        ("orders:read", set()),
        ("every_scope", {"payments", "refunds"}),
    ],
)
def test_order_shows_of_its_payments_and_refunds_what_each_of_them_would(payment, who, shown):
    answer = knock(come_as(who, payment.order), "order", **numbers_of(payment))
    assert {"payments", "refunds"} & answer.json().keys() == shown


def test_session_counts_for_nothing_beside_a_key(payment):
    client = come_as("session_of_shopper", payment.order)
    client.defaults["HTTP_AUTHORIZATION"] = f"Api-Key {_key('events:read')}"
    assert knock(client, "order", **numbers_of(payment)).status_code == 403


@pytest.mark.parametrize("door", ["order", "status", "cancel", "apply", "payment", "query", "refund"])
def test_session_counts_for_nothing_beside_a_token(payment, door):
    """Who shows a token needs no CSRF token: what the browser is known by must not be lent to a page elsewhere."""
    client = come_as("session_of_shopper", payment.order)
    client.defaults["HTTP_AUTHORIZATION"] = "Bearer nonsense"
    assert knock(client, door, **numbers_of(payment)).status_code == 404


def test_stranger_cancels_nothing_with_the_session_of_a_browser_and_a_made_up_token():
    order = make_order()
    client = come_as("session_of_shopper", order)
    client.handler.enforce_csrf_checks = True
    path = f"/api/v1/orders/{order.number}/cancel"
    assert client.post(path, headers={"Authorization": "Bearer x"}).status_code == 404
    order.refresh_from_db()
    assert order.status == "UNPAID"


@pytest.mark.parametrize("who", ["session_of_shopper", "staff_of_orders"])
@pytest.mark.parametrize("door", ["place", "cancel", "apply", "query", "refund_it"])
def test_session_without_the_csrf_token_is_forbidden_to_change_anything(payment, who, door):
    client = come_as(who, payment.order)
    client.handler.enforce_csrf_checks = True
    answer = knock(client, door, **numbers_of(payment))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "CSRF" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("who", "expected"),
    [("refunds:read", 200), ("staff_of_refunds", 200), ("staff_of_payments", 404), ("its_token", 404)],
)
def test_refund_of_money_without_an_order_is_seen_by_whoever_sees_all_refunds(payment, who, expected):
    client, stray = (
        come_as(who, payment.order),
        report(payment, number="SOMEBODYELSES", channel_number="4200099"),
    )
    settle_unmatched(stray, channel="wechat", source=Source.CALLBACK)
    refund = ask_refund("4200099", amount=1, reason="not ours", actor="sue")
    assert client.get(f"/api/v1/refunds/{refund.number}").status_code == expected


def test_system_needs_no_csrf_token(payment):
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Api-Key {_key('orders:write')}"})
    client.cookies["session"] = "x" * 32
    assert knock(client, "cancel", **numbers_of(payment)).status_code == 409
