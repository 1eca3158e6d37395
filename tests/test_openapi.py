"""The API's own description: it is valid, it names every door and no other, and its examples are what it says they are."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from rest_framework.exceptions import MethodNotAllowed, ParseError, UnsupportedMediaType

from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from shop import described as ground
from shop.api import TooLarge
from shop.business import TYPES, event_fields
from shop.events import record
from shop.models import BusinessEvent, Endpoint, Source
from shop.numbers import (
    ALPHABET,
    PATTERN,
    is_number,
    new_event_number,
    new_order_number,
    new_payment_number,
    new_refund_number,
)
from shop.openapi import PROBLEMS, list_ways
from shop.queries import moment as read_moment
from shop.schema import make_schema
from shop.webhooks.endpoints import TEST, trial_fields
from shop.webhooks.publishing import publish
from tests.factories import make_order, make_payment
from tests.payments.audit_world import build_world, pay

METHODS = ("get", "post", "put", "patch", "delete")
# Pages for people, and what is left below /api/.
NOT_DESCRIBED = {"/api/v1/docs/"}
SCHEMA = make_schema("en")
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, item in SCHEMA["paths"].items()
    for method in item
    if method in METHODS
]


def operation(path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["paths"][path][method]
    return found


def check(value: Any, schema: Any) -> None:
    """As a client would read it: with the components at hand."""
    Draft202012Validator(schema | {"components": SCHEMA["components"]}).validate(value)


def routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, path)
        elif isinstance(pattern, URLPattern):
            yield path.replace("<str:", "{").replace(">", "}"), pattern.callback


def test_description_is_valid_openapi_3_1():
    OpenAPIV31SpecValidator(SCHEMA).validate()
    assert SCHEMA["openapi"] == "3.1.1"


def test_every_door_is_described_and_no_other():
    doors = {path for path, _ in routes() if path.startswith("/api/v1/")} - NOT_DESCRIBED
    assert set(SCHEMA["paths"]) == doors


def test_every_method_of_every_door_is_described():
    for path, view in routes():
        if path in SCHEMA["paths"] and (made_of := getattr(view, "view_class", None)):
            offered = {method for method in METHODS if hasattr(made_of, method)}
            assert offered == SCHEMA["paths"][path].keys() & set(METHODS), path


def test_every_operation_has_a_name_of_its_own():
    names = [item[method]["operationId"] for item in SCHEMA["paths"].values() for method in item]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_operation_says_what_it_is_for_who_may_and_what_it_answers(path, method):
    said = operation(path, method)
    assert said["summary"]
    assert said["security"]
    assert said["tags"]
    assert {"200", "201"} & said["responses"].keys()
    assert {"400", "429", "503"} <= said["responses"].keys()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_examples_are_of_the_shape_that_is_promised(path, method):
    said = operation(path, method)
    bodies = [said["requestBody"]] if "requestBody" in said else []
    for body in [*bodies, *said["responses"].values()]:
        for content in body.get("content", {}).values():
            for example in content.get("examples", {}).values():
                check(example["value"], content["schema"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_good_answer_and_body_have_an_example(path, method):
    said = operation(path, method)
    if path == "/api/v1/schema/":
        return
    shown = [content for body in said["responses"].values() for content in body.get("content", {}).values()]
    assert any(content.get("examples") for content in shown)
    if "requestBody" in said and said["requestBody"].get("required"):
        assert said["requestBody"]["content"]["application/json"]["examples"]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.django_db
def test_key_that_lets_nobody_in_is_refused_where_that_is_described(path, method):
    client = Client(headers={"Authorization": "Api-Key K0000000000A.nonsense"})
    answer = client.generic(method.upper(), path.format(number="N0000000000000000"))
    assert (answer.status_code == 401) is ("401" in operation(path, method)["responses"])


def test_every_code_of_a_problem_that_is_explained_is_used():
    text = json.dumps(SCHEMA["paths"])
    assert [code for code in PROBLEMS if f'"{code}"' not in text] == []


def list_refusals() -> Iterator[tuple[str, int, str]]:
    """Where the product makes a problem document by itself: the file, the status and the code."""
    for room in ("shop", "orders", "payments"):
        for file in sorted(Path(room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                    said = {one.arg: one.value for one in node.keywords}
                    status, code = said["status"], said["code"]
                    if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                        yield str(file), int(str(status.value)), str(code.value)


def test_every_code_that_may_be_answered_is_explained():
    ours = set(list_refusals())
    assert len(ours) > 20
    assert [one for one in sorted(ours) if PROBLEMS.get(one[2], (0,))[0] != one[1]] == []
    of_drf: list[Any] = [TooLarge, ParseError, MethodNotAllowed, UnsupportedMediaType]
    for error in of_drf:
        assert PROBLEMS[error.default_code][0] == error.status_code


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-31T12:00:00Z",
        "2026-02-28T23:59:59+08:00",
        "2026-02-28T23:59:59.123456-03:00",
        "1999-12-29T00:00Z",
    ],
)
def test_time_that_the_door_takes_is_described(moment):
    [said] = [
        one for one in operation("/api/v1/orders", "get")["parameters"] if one["name"] == "created_after"
    ]
    assert read_moment(moment)
    assert said["schema"]["format"] == "date-time"
    Draft202012Validator(said["schema"]).validate(moment)


@pytest.mark.parametrize("text", [new_order_number(), new_payment_number(), new_refund_number()], ids="NPR")
def test_number_of_ours_is_described(text):
    [said] = [one for one in operation("/api/v1/refunds", "get")["parameters"] if one["name"] == "payment"]
    Draft202012Validator(said["schema"]).validate(text)


@pytest.mark.parametrize("letter", [chr(code) for code in range(33, 127)], ids=ord)
def test_pattern_of_numbers_has_the_letters_of_numbers(letter):
    assert bool(re.fullmatch(PATTERN, letter * 10)) is is_number(letter * 10)


@pytest.mark.parametrize(
    ("name", "field", "limits"),
    [
        ("Item", "quantity", {"minimum": 1, "maximum": 999}),
        ("PlaceOrder", "items", {"minItems": 1, "maxItems": 50}),
        ("Apply", "channel", {"enum": ["wechat", "alipay", "unionpay", "paypal", "boleto"]}),
        ("Apply", "scene", {"enum": ["qr", "page", "wap", "app", "voucher"]}),
    ],
)
def test_limits_of_a_field_that_a_flow_checks_are_described(name, field, limits):
    said = SCHEMA["components"]["schemas"][name]["properties"][field]
    assert {word: said[word] for word in limits} == limits


def test_session_is_described_by_the_name_of_its_cookie(settings):
    settings.SESSION_COOKIE_NAME = "__Host-session"  # as it is called behind HTTPS
    assert list_ways()["session"]["name"] == "__Host-session"


def test_every_event_is_described_as_a_webhook():
    assert tuple(SCHEMA["webhooks"]) == (*TYPES, TEST)


EVENT = {"$ref": "#/components/schemas/Event"}


def data_of(event_type: str) -> dict[str, Any]:
    """What is said of the `data` of a type."""
    said: dict[str, Any] = SCHEMA["webhooks"][event_type]["post"]["requestBody"]["content"]
    name = said["application/json"]["schema"]["$ref"].rpartition("/")[2]
    found: dict[str, Any] = SCHEMA["components"]["schemas"][name]["properties"]["data"]
    return found


@pytest.mark.django_db
def test_events_of_every_type_are_what_the_description_says_and_hold_nothing_else():
    build_world()
    order = make_order()
    late = make_payment(order)
    record([close_order(lock_order(order.number), CloseReason.EXPIRED, source=Source.SYSTEM)])
    pay(late)
    publish()
    events = list(BusinessEvent.objects.all())
    assert {event.type for event in events} == set(TYPES)
    for event in events:
        check(event_fields(event), EVENT)
        assert event.data.keys() == data_of(event.type)["properties"].keys()


def test_event_with_the_data_of_another_type_is_not_what_the_description_says():
    with pytest.raises(ValidationError):
        check({**ground.EVENT, "type": "case.opened"}, EVENT)


def test_message_that_means_nothing_is_described_too():
    message = trial_fields(Endpoint(), new_event_number(), at=datetime(2026, 11, 22, tzinfo=UTC))
    check(message, EVENT)


def test_numbers_of_examples_are_as_long_as_real_ones():
    real = [new_order_number(), new_payment_number(), new_refund_number(), new_event_number()]
    lengths = {number[0]: len(number) for number in real}
    shown = set(re.findall(rf"\b[NPRV][{ALPHABET}]{{9,}}\b", json.dumps(SCHEMA)))
    assert {number[0] for number in shown} == set(lengths)
    assert {number for number in shown if len(number) != lengths[number[0]]} == set()


def test_every_component_that_is_named_is_there():
    text = json.dumps(SCHEMA)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= SCHEMA["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("query", "media_type", "read"),
    [
        ("", "application/vnd.oai.openapi+json", json.loads),
        ("?format=json", "application/vnd.oai.openapi+json", json.loads),
        ("?format=yaml", "application/yaml", yaml.safe_load),
    ],
)
@pytest.mark.django_db
def test_description_is_served_as_json_and_yaml(query, media_type, read):
    answer = Client().get(f"/api/v1/schema/{query}")
    assert answer["Content-Type"] == media_type
    assert read(answer.content) == SCHEMA


@pytest.mark.parametrize("known", ["{}", '"other", W/{}', "*"])
@pytest.mark.django_db
def test_description_that_is_known_is_not_sent_again(known):
    first = Client().get("/api/v1/schema/")
    again = Client().get("/api/v1/schema/", headers={"If-None-Match": known.format(first["ETag"])})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


@pytest.mark.django_db
def test_other_format_is_refused_by_name():
    answer = Client().get("/api/v1/schema/?format=xml")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "format"


@pytest.mark.django_db
def test_description_speaks_the_language_of_the_reader():
    answer = Client().get("/api/v1/schema/", headers={"Accept-Language": "zh-CN"})
    assert answer.json() == make_schema("zh-hans")
