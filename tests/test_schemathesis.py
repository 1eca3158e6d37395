"""Random requests, right ones and wrong ones, at every door of the API, judged by its description: no answer is a mistake of
ours, and none is another one than was promised. A longer run has a line of its own, see README.
"""

import os
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from payments.models import Payment
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.keyring import Scope, make_key
from shop.models import Source
from shop.refusals import PlainWSGIHandler
from shop.schema import make_schema
from tests.factories import make_order, make_payment, make_product, report
from tests.flows.test_api import CONTACT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sandbox", "unthrottled"),
    pytest.mark.xdist_group("schemathesis"),  # it takes its time to start
]

EXAMPLES = int(os.environ.get("NODROP_EXAMPLES", "10"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
SCHEMA = make_schema("en")
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, item in SCHEMA["paths"].items()
    for method in item
]


@pytest.fixture
def unthrottled(settings) -> None:
    settings.THROTTLES = dict.fromkeys(settings.THROTTLES, 0)


@pytest.fixture
def key() -> str:
    """A system that may do everything, and whose owner may, too."""
    owner = User.objects.create_superuser("owner")
    return make_key(name="everything", scopes=Scope.values, owner=owner).shown


@pytest.fixture
def numbers(key) -> dict[str, str]:
    """Of things that are there: an order that waits with its payment, one that is paid, and a refund of it."""
    make_product("tea", stock=10_000)
    waiting, paid = make_payment(make_order()), make_payment(make_order())
    settle_payment(report(paid), channel="wechat", source=Source.QUERY)
    refund = ask_refund(paid.number, amount=1, reason="size", actor="Ann")
    return {
        "/api/v1/orders": waiting.order.number,
        "/api/v1/payments/{number}/refunds": paid.number,
        "/api/v1/payments": waiting.number,
        "/api/v1/refunds": refund.number,
    }


# Not every text of the pattern is a day of the calendar: some that all are.
A_MOMENT = {
    "type": "string",
    "pattern": "^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
}
# What is there, in place of any text: random words would never be let in. For right requests only.
KNOWN: dict[str, dict[str, Any]] = {
    "Item": {"sku": "tea", "quantity": 1},
    "PlaceOrder": {"again": True},
    "Contact": CONTACT,
    "Apply": {"channel": "wechat", "scene": "qr"},
    "AskRefund": {"amount": 1, "reason": "size"},
}


def described(path: str, numbers: dict[str, str], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The description, with the numbers of what is there, and what else is `known`, in place of any text."""
    schema = deepcopy(SCHEMA)
    schema["servers"] = [{"url": "http://testserver"}]
    for name, fields in known.items():
        properties = schema["components"]["schemas"][name]["properties"]
        for field, value in fields.items():
            properties[field] = {"enum": [value], "type": properties[field]["type"]}
    schema["components"]["schemas"]["PlaceOrder"]["properties"]["items"] |= {"minItems": 1, "maxItems": 1}
    for item in schema["paths"][path].values():
        for parameter in item.get("parameters", ()):
            if parameter["in"] == "path":
                number = next(numbers[begin] for begin in numbers if path.startswith(begin))
                parameter["schema"] = {"type": "string", "enum": [number]}
            if parameter["name"].startswith("created_"):
                parameter["schema"] = A_MOMENT
            if parameter["name"] == "wait":
                parameter["schema"]["maximum"] = 0  # nobody has time
    return schema


MODES = {GenerationMode.POSITIVE: CHECKS, GenerationMode.NEGATIVE: [*CHECKS, negative_data_rejection]}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_random_requests_meet_no_mistake_and_no_answer_that_was_not_promised(path, method, key, numbers):
    met: set[int] = set()
    for mode, checks in MODES.items():
        known = KNOWN if mode is GenerationMode.POSITIVE else {}
        schema = schemathesis.openapi.from_dict(described(path, numbers, known))
        schema.app = PlainWSGIHandler()
        requests = schema[path][method.upper()].as_strategy(generation_mode=mode)
        met |= throw(requests, checks, headers={"Authorization": f"Api-Key {key}"})
    assert met & {200, 201}  # or nothing was tried that lies behind the first refusal
    assert met & {400, 404}


def throw(requests: Any, checks: list[Any], headers: dict[str, str]) -> set[int]:
    """So many requests, the same each time; the statuses that were met."""
    met: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests)
    def one_by_one(case: Any) -> None:
        Payment.objects.update(queried_at=None)  # the channel may be asked again
        met.add(case.call_and_validate(headers=headers, checks=checks).status_code)

    one_by_one()
    return met
