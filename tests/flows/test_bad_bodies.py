"""Bodies and headers that no client means: each is refused in the words of a problem document, and in the sender's language."""

import json
from typing import Any

import pytest
from django.test import Client

from orders.models import Order
from shop.keyring import make_key
from shop.refusals import PlainWSGIRequest
from tests.factories import make_order, make_product
from tests.flows.test_api import CONTACT

pytestmark = pytest.mark.django_db

PLACE = "/api/v1/orders"
GOOD = {"items": [{"sku": "tea", "quantity": 1}], "contact": CONTACT}


@pytest.fixture(autouse=True)
def _requests_as_the_servers_make_them(monkeypatch):
    monkeypatch.setattr("django.test.client.WSGIRequest", PlainWSGIRequest)


def text(**changed: Any) -> str:
    return json.dumps(GOOD | changed)


def refusal(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


def send(body: str | bytes, content_type: str = "application/json", **headers: str) -> Any:
    client = Client(raise_request_exception=False)
    data = body if isinstance(body, bytes) else body.encode()
    return client.generic("POST", PLACE, data, content_type, headers=headers)


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"items=tea",
    "half of it": text().encode()[:40],
    "two documents": (text() * 2).encode(),
    "UTF-16": text().encode("utf-16"),
    "UTF-32 without a mark": text().encode("utf-32-le"),
    "a byte order mark": text().encode("utf-8-sig"),
    "latin-1": text().replace("Anna", "Ann\u00e4").encode("latin-1"),
    "overlong UTF-8": text().encode().replace(b"tea", b"\xc0\xaf"),
    "a surrogate as bytes": text().encode().replace(b"tea", b"\xed\xa0\x80"),
    "a raw NUL": text().encode().replace(b"tea", b"t\x00a"),
    "a name twice": b'{"again": false, "again": true}',
    "a name twice within": text().replace('"sku": "tea"', '"sku": "tea", "sku": "tea"').encode(),
    "not a number": text().replace('"quantity": 1', '"quantity": NaN').encode(),
    "infinity": text().replace('"quantity": 1', '"quantity": -Infinity').encode(),
    "five thousand digits": text().replace('"quantity": 1', '"quantity": ' + "9" * 5000).encode(),
    "seventeen lists deep": b"[" * 17 + b"]" * 17,
    "thirty thousand lists deep": b"[" * 30_000 + b"]" * 30_000,
    "thirty thousand objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a list": b"[]",
    "null": b"null",
    "a text": b'"order"',
}


@pytest.mark.parametrize("name", BODIES)
def test_body_that_is_no_order_is_refused_and_makes_none(name):
    make_product()
    status, code = refusal(send(BODIES[name]))
    assert (status, code) in {(400, "parse_error"), (400, "invalid")}
    assert not Order.objects.exists()


NUMBERS = [
    "-1",
    "0",
    "1e3",
    "1.0",
    "0.1",
    "1e400",
    "-9223372036854775809",
    "9" * 400,
    '"1"',
    "true",
    "null",
    "[1]",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_quantity_that_is_no_count_is_refused_by_name(number):
    make_product()
    answer = send(text().replace('"quantity": 1', f'"quantity": {number}'))
    assert refusal(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == "items.0.quantity"


@pytest.mark.parametrize("escaped", ["\\u0000", "\\ud800", "\\udfff\\ud800", "\\u0007"])
def test_escaped_character_that_is_no_text_is_refused_by_name(escaped):
    make_product()
    answer = send(text().replace("Anna", f"An{escaped}na"))
    assert refusal(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == "contact.name"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/json-patch+json",
        "",
        "json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=hex",
        "application/json; charset=rot13",
        "application/json; charset=no-such-thing",
    ],
)
def test_other_types_of_bodies_are_415(content_type):
    make_product()
    assert refusal(send(text(), content_type)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "charset", ["hex", "base64", "rot13", "undefined", "idna", "utf-16", "utf-7", "\u0416"]
)
@pytest.mark.parametrize("path", ["/api/v1/products?page=1", "/?page=1", f"/api/v1/orders/{'N' * 16}"])
def test_charset_of_a_request_without_a_body_breaks_nothing(path, charset):
    answer = Client(raise_request_exception=False).get(
        path, headers={"Content-Type": f"application/json; charset={charset}"}
    )
    assert answer.status_code in (200, 404)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 128 * 1024, 1_000_000])
def test_huge_body_is_413(size):
    assert refusal(send(text(padding="x" * size))) == (413, "too_large")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("{", "application/json", "请求正文不是有效的 JSON。"),
        ("x", "text/plain", "text/plain"),
        ('{"items": 1}', "application/json", None),
    ],
)
def test_refusal_speaks_the_language_of_who_sends(body, content_type, expected):
    answer = send(body, content_type, **{"Accept-Language": "zh-CN"})
    assert answer["Content-Language"] == "zh-Hans"
    assert expected is None or expected in answer.json()["detail"]


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*;q=0", ""])
def test_answer_is_json_whatever_is_accepted(accept):
    answer = Client().get("/api/v1/products", headers={"Accept": accept})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/api/v1/products", (405, "method_not_allowed")),
        ("OPTIONS", "/api/v1/products", (405, "method_not_allowed")),
        ("DELETE", f"/api/v1/orders/{'N' * 16}", (405, "method_not_allowed")),
        ("POST", f"/api/v1/orders/{'N' * 16}/status", (405, "method_not_allowed")),
        ("GET", "/api/v1/", (404, "not_found")),
        ("GET", "/api/v2/orders", (404, "not_found")),
        ("GET", "/api/v1/orders/a/b/c", (404, "not_found")),
        ("GET", "/api/v1/orders/%00", (404, "not_found")),
        ("GET", "/api/v1/orders/%FF%FE", (404, "not_found")),
        ("GET", "/api/v1/products?page=1_0", (400, "invalid")),
        ("GET", "/api/v1/products?page=5.0", (400, "invalid")),
        ("GET", "/api/v1/products?page=%D9%A3", (400, "invalid")),
        ("GET", "/api/v1/products?page=%205", (400, "invalid")),
        ("GET", "/api/v1/products?page=1&page=2", (400, "invalid")),
        ("GET", "/api/v1/products?size=5", (400, "invalid")),
    ],
)
def test_whatever_is_not_offered_is_a_problem_document(method, path, expected):
    assert refusal(Client(raise_request_exception=False).generic(method, path)) == expected


def test_parameter_that_is_not_known_is_named():
    answer = Client().get("/api/v1/products?pages=1")
    assert answer.json()["errors"] == [{"field": "pages", "detail": "This parameter is not known."}]


@pytest.mark.parametrize(
    "query", ["since=1_0", "since=%2B1", "since=5.0", "wait=%D9%A3", "wait=31", "sinse=1", "wait=1&wait=1"]
)
def test_status_call_reads_its_parameters_as_strictly(query):
    answer = Client().get(f"/api/v1/orders/{make_order().number}/status?{query}")
    assert refusal(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["payments?order", "refunds?order", "refunds?payment", "events?order"])
@pytest.mark.parametrize("text", ["%00", "", "N1", "n7q2m4x8k1v0r5t", "N" * 33, "%FF", "%F0%9F%8D%B5"])
def test_filter_that_is_no_number_of_ours_is_refused_by_name(query, text):
    shown = make_key("books", ["payments:read", "refunds:read", "events:read"]).shown
    client = Client(raise_request_exception=False, headers={"Authorization": f"Api-Key {shown}"})
    answer = client.get(f"/api/v1/{query}={text}")
    assert refusal(answer) == (400, "invalid")
    assert [each["field"] for each in answer.json()["errors"]] == [query.partition("?")[2]]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("products", "GET, HEAD"),
        ("events", "GET, HEAD"),
        ("schema/", "GET, HEAD"),
        ("docs/", "GET, HEAD"),
        (f"orders/{'N' * 16}/status", "GET, HEAD"),
        (f"orders/{'N' * 16}/cancel", "POST"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "DELETE"])
def test_method_that_is_not_offered_is_told_which_are(path, allowed, method):
    shown = make_key("reader", ["events:read"]).shown
    answer = Client(headers={"Authorization": f"Api-Key {shown}"}).generic(method, f"/api/v1/{path}")
    assert refusal(answer) == (405, "method_not_allowed")
    assert sorted(answer["Allow"].split(", ")) == sorted(allowed.split(", "))


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("host", ["a b", "evil.example", "shop.example:x"])
def test_host_that_is_not_ours_is_a_problem_document(host, debug, settings):
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, ["shop.example"]
    answer = Client(raise_request_exception=False).get("/api/v1/products", headers={"Host": host})
    assert refusal(answer) == (400, "wrong_host")


def test_mistake_of_ours_is_a_problem_document_that_tells_nothing(monkeypatch, settings):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    settings.DEBUG = False
    monkeypatch.setattr("orders.api.ProductsView.get", fail)
    answer = Client(raise_request_exception=False).get("/api/v1/products")
    assert refusal(answer) == (500, "broken")
    assert "secret" not in answer.content.decode()
