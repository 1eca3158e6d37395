"""Random bytes to every open door: a clear no, never an error of ours, and nothing is changed."""

import random

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from orders.models import Order
from payments.models import Callback, Payment, Receipt, Refund
from shop.models import Alarm, Event

pytestmark = pytest.mark.django_db

TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data; boundary=x",
    "",
)
METHODS = ("get", "post", "put", "patch", "delete", "options")
TRIES = 12


def doors(patterns: list[URLPattern | URLResolver], before: str = "/") -> list[str]:
    """Every path of ours outside the admin, its parts to be filled with anything."""
    found = []
    for pattern in patterns:
        path = before + str(pattern.pattern).lstrip("^")
        if isinstance(pattern, URLResolver):
            found += doors(pattern.url_patterns, path)
        else:
            found.append(path)
    return [path for path in found if not path.startswith(("/admin/", "/static/", "/media/"))]


DOORS = sorted(set(doors(get_resolver().url_patterns)))


def fill(path: str, dice: random.Random) -> str:
    """The path with something else in place of each of its parts."""
    parts = ["wechat", "N" * 16, "0", "%00", "%ff%fe", "..%2f", "x" * 300, dice.randbytes(9).hex()]
    return "/".join(dice.choice(parts) if "<" in part or "(" in part else part for part in path.split("/"))


def test_doors_are_found():
    assert {"/notify/", "/api/v1/orders", "/checkout/"} <= {
        door.partition("<")[0].partition("(")[0] for door in DOORS
    }


@pytest.mark.parametrize("door", DOORS)
def test_random_bytes_are_refused_and_change_nothing(door):
    dice, client = random.Random(door), Client(raise_request_exception=False)
    for _ in range(TRIES):
        path, method = fill(door, dice), dice.choice(METHODS)
        body, kind = dice.randbytes(dice.choice((0, 1, 50, 5000))), dice.choice(TYPES)
        headers = {"Authorization": f"Bearer {dice.randbytes(12).hex()}", "Accept-Language": "\x80zh;q=x"}
        if method in ("get", "options"):
            answer = getattr(client, method)(path, headers=headers)
        else:
            answer = getattr(client, method)(path, body, content_type=kind or "x", headers=headers)
        assert answer.status_code < 500 or path.endswith("readyz"), (method, path, kind, answer.status_code)
    kept = (Order, Payment, Receipt, Refund, Callback, Event, Alarm)
    assert [model.objects.count() for model in kept] == [0] * len(kept)
