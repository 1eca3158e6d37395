"""The REST API over real HTTP: place, apply, pay, ask, cancel, and everything that is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.conf import settings as shop_settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import Client

from orders.models import Order, Product
from payments.models import Payment
from tests.factories import make_product
from tests.redis_states import whatever_redis_does
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CONTACT = {
    "name": "Anna Lin",
    "email": "anna@example.com",
    "phone": "13800000000",
    "address": "1 Garden Road",
}


class Api:
    """A business system that talks JSON to the shop, as one shopper when it holds an order's token."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v1"
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        return requests.request(
            method, f"{self.url}/{path}", json=body, headers=self.headers, timeout=40, **more
        )

    def place(self, **changed: Any) -> dict[str, Any]:
        body = {"items": [{"sku": make_product().sku, "quantity": 1}], "contact": CONTACT} | changed
        answer = self.call("POST", "orders", body)
        assert answer.status_code == 201, answer.text
        order: dict[str, Any] = answer.json()
        self.headers["Authorization"] = f"Bearer {order['token']}"
        return order

    def apply(self, number: str, **changed: Any) -> requests.Response:
        return self.call("POST", f"orders/{number}/payments", {"channel": "wechat", "scene": "qr"} | changed)


@pytest.fixture
def api(live_server) -> Api:
    return Api(live_server.url)


def problem(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


def test_products_are_listed_with_amounts_in_minor_units(api):
    make_product(price=12900)
    assert api.call("GET", "products").json() == [
        {"sku": "tea", "name": "Tea", "price": 12900, "currency": "CNY", "stock": 10}
    ]


def test_products_are_paged_by_link(api, live_server, settings):
    settings.PUBLIC_URL = live_server.url
    for n in range(51):
        make_product(f"tea-{n}")
    first = api.call("GET", "products")
    assert len(first.json()) == 50
    assert len(requests.get(first.links["next"]["url"], timeout=5).json()) == 1
    assert problem(api.call("GET", "products?page=0")) == (400, "invalid")
    settings.PUBLIC_URL = "https://shop.example"
    assert api.call("GET", "products").links["next"]["url"] == "https://shop.example/api/v1/products?page=2"


def test_placed_order_is_answered_with_its_token_and_where_to_pay(api, settings):
    order = api.place()
    assert set(order) == {
        "number", "status", "amount", "currency", "items", "expires_at", "pay_url", "token",
    }  # fmt: skip
    assert (order["status"], order["amount"], order["currency"]) == ("UNPAID", 12900, "CNY")
    assert order["expires_at"].endswith("+00:00")
    assert order["pay_url"] == f"{settings.PUBLIC_URL}/orders/{order['number']}/pay/"


@whatever_redis_does
def test_order_is_paid_through_the_api(api, sandbox):
    number = api.place()["number"]
    applied = api.apply(number)
    payment = applied.json()
    assert (applied.status_code, payment["status"], payment["action"]["type"]) == (201, "PAYING", "qr")
    version = api.call("GET", f"orders/{number}/status").json()["version"]
    sandbox.pay(payment["number"])
    state = api.call("GET", f"orders/{number}/status?since={version}&wait=10").json()
    assert (state["status"], state["payment_status"]) == ("READY_FOR_SHIPMENT", "PAID")
    order = api.call("GET", f"orders/{number}").json()
    assert order["payments"][0]["status"] == "PAID"
    assert order["payments"][0]["action"] is None


@whatever_redis_does
def test_applying_again_is_200_with_the_same_payment(api, sandbox):
    number = api.place()["number"]
    first, second = api.apply(number), api.apply(number)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


@whatever_redis_does
def test_status_waits_no_longer_than_asked(api):
    number = api.place()["number"]
    version = api.call("GET", f"orders/{number}/status").json()["version"]
    answer = api.call("GET", f"orders/{number}/status?since={version}&wait=1")
    assert answer.json()["version"] == version
    assert 0.9 < answer.elapsed.total_seconds() < 5


@whatever_redis_does
def test_asking_the_channel_finds_a_payment_and_is_limited(api, sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = api.apply(api.place()["number"]).json()
    sandbox.pay(payment["number"])
    assert api.call("POST", f"payments/{payment['number']}/query").json()["status"] == "PAID"
    again = api.call("POST", f"payments/{payment['number']}/query")
    assert problem(again) == (429, "too_many_requests")
    assert int(again.headers["Retry-After"]) >= 1


@whatever_redis_does
def test_cancelled_order_is_closed_and_takes_no_payment(api, sandbox):
    number = api.place()["number"]
    assert api.call("POST", f"orders/{number}/cancel").json()["status"] == "CLOSED"
    assert api.call("POST", f"orders/{number}/cancel").status_code == 200
    assert problem(api.apply(number)) == (409, "order_closed")


def test_paid_order_takes_no_payment_and_no_cancel(api, sandbox):
    number = api.place()["number"]
    sandbox.pay(api.apply(number).json()["number"])
    wait_until(lambda: Order.objects.filter(status="READY_FOR_SHIPMENT").exists())
    assert problem(api.apply(number)) == (409, "order_paid")
    assert problem(api.call("POST", f"orders/{number}/cancel")) == (409, "order_paid")


def test_unanswered_create_says_that_payment_is_being_confirmed(api, sandbox):
    number = api.place()["number"]
    lost = {"channel": "wechat", "operation": "create", "when": "after", "what": "reset"}
    sandbox.set_faults({"script": [lost]})
    answer = api.apply(number)
    assert problem(answer) == (409, "payment_confirming")
    assert answer.headers["Retry-After"] == "1"


def test_channel_out_of_reach_is_503(api, sandbox, settings):
    number = api.place()["number"]
    settings.CHANNELS = {"wechat": settings.CHANNELS["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    assert problem(api.apply(number)) == (503, "channel_unavailable")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "orders/{number}"),
        ("GET", "orders/{number}/status"),
        ("POST", "orders/{number}/payments"),
        ("POST", "orders/{number}/cancel"),
        ("GET", "payments/{payment}"),
        ("POST", "payments/{payment}/query"),
    ],
)
@pytest.mark.parametrize("stranger", ["nobody", "wrong token", "another order's token"])
def test_a_stranger_sees_nothing_whatever_the_number(api, sandbox, method, path, stranger):
    number = api.place()["number"]
    payment = api.apply(number).json()["number"]
    api.headers = {} if stranger == "nobody" else {"Authorization": "Bearer wrong"}
    if stranger == "another order's token":
        api.place(again=True)
    body = {"channel": "wechat", "scene": "qr"} if path.endswith("payments") else None
    foreign = api.call(method, path.format(number=number, payment=payment), body)
    missing = api.call(method, path.format(number="N" + "0" * 15, payment="P" + "0" * 23), body)
    assert problem(foreign) == (404, "not_found")
    assert foreign.json() == missing.json()


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"items": []}, "invalid", "items"),
        ({"items": [{"sku": "nothing", "quantity": 1}]}, "invalid", "items"),
        ({"items": [{"sku": "tea", "quantity": 0}]}, "invalid", "items.0.quantity"),
        ({"items": [{"sku": "tea", "quantity": 10**12}]}, "invalid", "items.0.quantity"),
        ({"items": [{"sku": "tea", "quantity": "1"}]}, "invalid", "items.0.quantity"),
        ({"items": [{"sku": "tea", "quantity": 1.0}]}, "invalid", "items.0.quantity"),
        ({"items": [{"sku": "tea", "quantity": True}]}, "invalid", "items.0.quantity"),
        ({"items": [{"sku": "tea", "quantity": 1, "price": 1}]}, "invalid", "items.0.price"),
        ({"items": "tea"}, "invalid", "items"),
        ({"items": [{"sku": 5, "quantity": 1}]}, "invalid", "items.0.sku"),
        ({"contact": {}}, "invalid", "contact.name"),
        ({"contact": CONTACT | {"email": "anna"}}, "invalid", "contact.email"),
        ({"contact": CONTACT | {"name": "An\x00na"}}, "invalid", "contact.name"),
        ({"contact": None}, "invalid", "contact"),
        ({"amount": 1}, "invalid", "amount"),
        ({"again": 1}, "invalid", "again"),
        ({"again": "yes"}, "invalid", "again"),
        ({"items": [{"sku": "tea", "quantity": 1}, {"sku": "book", "quantity": 1}]}, "mixed_currency", None),
    ],
)
def test_senseless_order_is_refused_by_the_name_of_the_field(api, changed, code, field):
    make_product()
    make_product("book", currency="USD")
    body = {"items": [{"sku": "tea", "quantity": 1}], "contact": CONTACT} | changed
    answer = api.call("POST", "orders", body)
    assert problem(answer) == (400, code)
    if field:
        assert field in {error["field"] for error in answer.json()["errors"]}
    assert not Order.objects.exists()


def test_what_is_sold_out_is_409(api):
    make_product(stock=1)
    body = {"items": [{"sku": "tea", "quantity": 2}], "contact": CONTACT}
    answer = api.call("POST", "orders", body)
    assert problem(answer) == (409, "out_of_stock")
    assert answer.json()["left"] == 1
    assert Product.objects.get().stock == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b'{"items": NaN}', 400),
        (b'{"items": [], "items": []}', 400),
        (b"\xff\xfe{}", 400),
        (b'{"items":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        (b'{"items": [], "contact": {"name": "' + b"x" * 70_000 + b'"}}', 413),
    ],
)
def test_malformed_json_is_refused(api, body, status):
    answer = requests.post(
        f"{api.url}/orders", data=body, headers={"Content-Type": "application/json"}, timeout=5
    )
    assert problem(answer)[0] == status
    assert not Order.objects.exists()


def test_another_content_type_is_refused(api):
    answer = requests.post(f"{api.url}/orders", data="a=b", headers={"Content-Type": "text/plain"}, timeout=5)
    assert problem(answer) == (415, "unsupported_media_type")


def test_form_too_large_for_django_is_a_problem_as_well(api):
    browser = {"csrftoken": "x" * 32}  # whose form is searched for the token, if only to be refused
    answer = requests.post(f"{api.url}/orders", data={"a": "x" * 3_000_000}, cookies=browser, timeout=5)
    assert problem(answer) == (413, "too_large")


@pytest.mark.parametrize(
    "query", ["since=x", "since=" + "9" * 5000, "wait=31", "wait=-1", "since=1e3", "wait=%F0%9F%98%80"]
)
def test_senseless_waiting_is_refused(api, query):
    number = api.place()["number"]
    assert problem(api.call("GET", f"orders/{number}/status?{query}")) == (400, "invalid")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"channel": "cash"}, "channel"),
        ({"channel": "paypal"}, "channel"),
        ({"scene": "voucher"}, "scene"),
        ({"amount": 1}, "amount"),
        ({"supersede": "yes"}, "supersede"),
        ({"supersede": 1}, "supersede"),
        ({"supersede": None}, "supersede"),
    ],
)
def test_senseless_application_is_refused(api, sandbox, changed, field):
    number = api.place()["number"]
    answer = api.apply(number, **changed)
    assert problem(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == field
    assert not Payment.objects.exists()


def test_browser_session_may_not_change_anything_without_the_csrf_token(api, live_server, sandbox):
    browser = requests.Session()
    make_product()
    browser.get(f"{live_server.url}/cart/", timeout=5)
    number = api.place()["number"]
    browser.get(f"{live_server.url}/orders/{number}/?token={api.headers['Authorization'][7:]}", timeout=5)
    assert browser.get(f"{live_server.url}/api/v1/orders/{number}", timeout=5).status_code == 200
    wanted = {"channel": "wechat", "scene": "qr"}
    url = f"{live_server.url}/api/v1/orders/{number}/payments"
    refused = browser.post(url, json=wanted, timeout=5)
    assert problem(refused) == (403, "forbidden")
    assert not Payment.objects.exists()
    browser.get(f"{live_server.url}/orders/{number}/pay/", timeout=5)
    allowed = browser.post(
        url, json=wanted, headers={"X-CSRFToken": browser.cookies["csrftoken"]}, timeout=15
    )
    assert allowed.status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "payments/P%00", "payments/" + "9" * 5000, "orders/%00", "orders/N\u0661" + "0" * 14, "nothing", "orders/",
        "payments/P%00/query",
    ],
)  # fmt: skip
def test_odd_paths_are_problems_and_not_errors(api, path):
    assert problem(api.call("GET", path))[0] in (404, 405)


@pytest.mark.parametrize("query", ["page=" + "9" * 5000, "page=0", "page=-1", "page=x", "page=%00"])
def test_odd_pages_are_refused(api, query):
    assert problem(api.call("GET", f"products?{query}")) == (400, "invalid")


@pytest.mark.parametrize("cookie", ["%00aaaa", "\\000aaaaaaaaaaaa", "x" * 5000, "é", "'; drop table"])
def test_odd_session_cookies_are_no_session(api, live_server, cookie):
    headers = {"Cookie": f'session="{cookie}"'.encode()}
    assert requests.get(f"{live_server.url}/cart/", headers=headers, timeout=5).status_code == 200
    number = api.place()["number"]
    api.headers = {"Cookie": f'session="{cookie}"'.encode()}
    assert problem(api.call("GET", f"orders/{number}")) == (404, "not_found")


def test_head_is_answered_where_get_is(api):
    number = api.place()["number"]
    for path in ("products", f"orders/{number}", f"orders/{number}/status"):
        assert api.call("HEAD", path).status_code == 200


def test_numbers_leak_into_no_log_with_their_token(api, sandbox, caplog):
    order = api.place()
    api.call("GET", f"orders/{order['number']}")
    text = json.dumps([record.getMessage() for record in caplog.records], default=str)
    assert order["number"] in text
    assert order["token"] not in text
    assert CONTACT["email"] not in text


def test_orders_that_one_browser_places_at_once_are_all_its_own(live_server):
    session = SessionStore()
    session["cart"] = {}
    session.save()
    cookie = {shop_settings.SESSION_COOKIE_NAME: session.session_key}
    sku = make_product().sku

    def place(nth: int) -> str:
        own = Client()
        own.cookies.load(cookie)
        contact = CONTACT | {"email": f"anna{nth}@example.com"}
        body = {"items": [{"sku": sku, "quantity": 1}], "contact": contact}
        try:
            answer = own.post("/api/v1/orders", body, content_type="application/json")
            assert answer.status_code == 201
            return str(answer.json()["number"])
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        placed = set(pool.map(place, range(6)))
    assert set(SessionStore(session.session_key)["orders"]) == placed
