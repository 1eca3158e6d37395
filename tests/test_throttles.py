"""How often one asker may ask: so many of one kind in a minute, each for themselves, and everybody where Redis is away."""

from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django_redis import get_redis_connection

from orders.access import token_of
from payments.models import Payment
from shop.hints import full_name
from shop.keyring import make_key
from shop.throttles import KINDS, TooManyRequests, count_request, kind_of
from tests.factories import make_order, make_payment
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db

HERE, ELSEWHERE = "198.41.0.4", "192.33.4.12"  # of the world, as shoppers are
KIND_OF = """
GET     /api/v1/products                    read
POST    /api/v1/orders                      place
GET     /api/v1/orders/N1                   read
HEAD    /api/v1/orders/N1                   read
OPTIONS /api/v1/orders/N1                   read
GET     /api/v1/orders/N1/status            status
HEAD    /api/v1/orders/N1/status            status
POST    /api/v1/orders/N1/payments          apply
POST    /api/v1/orders/N1/cancel            cancel
GET     /api/v1/payments/P1                 read
POST    /api/v1/payments/P1/query           query
POST    /api/v1/payments/P1/refunds         refund
GET     /api/v1/refunds/R1                  read
DELETE  /api/v1/refunds/R1                  write
GET     /api/v1/orders                      list
HEAD    /api/v1/orders                      list
GET     /api/v1/payments                    list
GET     /api/v1/refunds                     list
GET     /api/v1/events                      feed
GET     /api/v1/schema/                     docs
GET     /api/v1/docs/                       docs
"""


@pytest.fixture
def payment() -> Payment:
    return make_payment(make_order())


def limit(settings: Any, **limits: int) -> None:
    settings.THROTTLES = settings.THROTTLES | limits


def look(payment: Payment, *, address: str = HERE, shown: str = "") -> Any:
    headers = {"Authorization": shown} if shown else {}
    path = f"/api/v1/orders/{payment.order.number}"
    return Client(headers=headers).get(path, REMOTE_ADDR=address)


def statuses(times: int, payment: Payment, **how: str) -> list[int]:
    return [look(payment, **how).status_code for _ in range(times)]


@pytest.mark.parametrize("line", KIND_OF.strip().splitlines(), ids=lambda line: " ".join(line.split()[:2]))
def test_each_request_is_of_the_kind_that_stands_in_the_table(line):
    method, path, kind = line.split()
    request = RequestFactory().generic(method, path)
    request.resolver_match = resolve(path)
    assert kind_of(request) == kind


def list_routes(patterns: Any, before: str = "") -> list[str]:
    routes = []
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            routes += list_routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            routes.append(route)
    return routes


def test_nothing_stands_in_the_table_that_is_no_path():
    """A path that was renamed would otherwise be counted as any other."""
    api = {route.removeprefix("api/v1/") for route in list_routes(get_resolver().url_patterns)}
    assert {name.split()[1] for name in KINDS} <= api


def test_long_poll_is_counted_when_it_begins(payment, settings):
    limit(settings, status=1)
    path, shown = f"/api/v1/orders/{payment.order.number}/status", f"Bearer {token_of(payment.order)}"
    client = Client(headers={"Authorization": shown})
    answers = [client.get(path, REMOTE_ADDR=HERE) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1]["Retry-After"]


@pytest.mark.parametrize(
    ("kind", "path", "shown", "status"),
    [
        ("list", "orders", "", 401),
        ("list", "payments", "Bearer nonsense", 401),
        ("list", "refunds", "key", 403),
        ("feed", "events", "", 401),
        ("feed", "events", "key", 403),
        ("docs", "schema/", "", 200),
        ("docs", "docs/", "", 200),
        ("read", "products", "", 200),
        ("read", "products", "Api-Key K0000000000A.nonsense", 200),
        ("read", f"payments/P{'0' * 23}", "key", 403),
    ],
)
def test_who_is_refused_is_counted_as_well(settings, kind, path, shown, status):
    limit(settings, **{kind: 2})
    shown = f"Api-Key {make_key('till', ['orders:write']).shown}" if shown == "key" else shown
    client = Client(headers={"Authorization": shown} if shown else {})
    answers = [client.get(f"/api/v1/{path}", REMOTE_ADDR=HERE).status_code for _ in range(3)]
    assert answers == [status, status, 429]


def test_browser_without_the_csrf_token_is_counted_as_well(payment, settings):
    limit(settings, place=1)
    client = Client(enforce_csrf_checks=True)
    client.cookies["session"] = "x" * 32
    answers = [client.post("/api/v1/orders", REMOTE_ADDR=HERE).status_code for _ in range(2)]
    assert answers == [403, 429]


def test_what_is_too_much_is_refused_with_the_time_to_wait(payment, settings):
    limit(settings, read=2)
    assert statuses(2, payment) == [404, 404]
    answer = look(payment)
    assert (answer.status_code, answer["Content-Type"]) == (429, "application/problem+json")
    assert answer.json()["code"] == "too_many_requests"
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_each_kind_is_counted_for_itself(payment, settings):
    limit(settings, read=1)
    assert statuses(2, payment) == [404, 429]
    assert Client().post(f"/api/v1/orders/{payment.order.number}/cancel").status_code == 404


def test_minute_begins_with_the_first_request_and_ends_by_itself(payment, settings):
    limit(settings, read=1)
    assert statuses(2, payment) == [404, 429]
    redis = get_redis_connection("default")
    (name,) = redis.keys(full_name("throttle:*"))
    assert 0 < redis.pttl(name) <= 60_000
    redis.delete(name)
    assert statuses(1, payment) == [404]


def test_shopper_behind_the_address_of_a_hasty_stranger_is_let_in(payment, settings):
    limit(settings, read=1)
    assert statuses(2, payment) == [404, 429]
    assert statuses(2, payment, shown=f"Bearer {token_of(payment.order)}") == [200, 429]


def test_each_key_is_counted_for_itself(payment, settings):
    limit(settings, read=1)
    keys = [make_key(name, ["orders:read"]).shown for name in ("one", "two")]
    for shown in keys:
        assert statuses(2, payment, shown=f"Api-Key {shown}") == [200, 429]


@pytest.mark.parametrize("scheme", ["Api-Key", "Bearer"])
@pytest.mark.parametrize("spell", [str.lower, str.upper, "{} ".format])
def test_scheme_spelled_in_another_way_is_counted_with_the_usual_one(payment, settings, scheme, spell):
    limit(settings, read=1)
    shown = {"Api-Key": make_key("till", ["orders:read"]).shown, "Bearer": token_of(payment.order)}[scheme]
    assert look(payment, shown=f"{scheme} {shown}").status_code == 200
    assert look(payment, shown=f"{spell(scheme)} {shown}").status_code == 429


def test_scheme_that_lets_nobody_in_is_not_counted_apart(payment, settings):
    limit(settings, read=1)
    assert [look(payment, shown=f"Basic {n}").status_code for n in range(2)] == [404, 429]


def test_who_invents_a_token_for_each_request_is_counted_by_address(payment, settings):
    limit(settings, read=1)
    made_up = [look(payment, shown=f"Bearer {n}").status_code for n in range(11)]
    assert made_up == [404] * 10 + [429]
    assert look(payment, shown="Bearer 99", address=ELSEWHERE).status_code == 404


def test_neighbours_of_one_ipv6_network_are_one(payment, settings):
    limit(settings, read=1)
    found = [
        look(payment, address=f"2001:500:2:{net}::{n}").status_code for net, n in ((1, 1), (1, 2), (2, 1))
    ]
    assert found == [404, 429, 404]


def test_wrong_keys_are_counted_by_address_and_right_ones_go_on(payment, settings):
    limit(settings, refused=2)
    shown = make_key("till", ["orders:read"]).shown
    wrong = [look(payment, shown=f"Api-Key K0000000000A.{n}").status_code for n in range(3)]
    assert wrong == [401, 401, 429]
    assert look(payment, shown=f"Api-Key {shown}").status_code == 200


def test_no_limit_is_a_zero(payment, settings):
    limit(settings, read=0)
    assert set(statuses(5, payment)) == {404}


@pytest.mark.parametrize("address", ["", "127.0.0.1", "10.0.0.7"])
def test_who_shows_nothing_and_comes_from_no_address_of_the_world_is_not_counted(payment, settings, address):
    """It is a machine of ours that does not say for whom it asks: one hasty client would shut out all of them."""
    limit(settings, read=1)
    assert statuses(3, payment, address=address) == [404] * 3


def test_callbacks_of_channels_are_never_refused(payment, settings):
    settings.THROTTLES = dict.fromkeys(settings.THROTTLES, 1)
    answers = [Client().post("/notify/wechat/", REMOTE_ADDR=HERE).status_code for _ in range(5)]
    assert 429 not in answers


@whatever_redis_does
def test_everybody_is_let_through_where_redis_is_away(redis_state, payment, settings):
    limit(settings, read=1)
    assert statuses(3, payment) == ([404, 429, 429] if redis_state == "up" else [404, 404, 404])


def test_refusal_is_one_of_the_errors_of_the_api(settings):
    limit(settings, read=1)
    request = RequestFactory().get("/api/v1/products", REMOTE_ADDR=HERE)
    count_request(request)
    with pytest.raises(TooManyRequests) as refused:
        count_request(request)
    assert refused.value.retry_after_s == 60
