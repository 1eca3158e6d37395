"""Races for orders: the same one sent again and again, and many people after the same goods."""

import json
import time
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest
import requests
from django.test import Client

from orders.models import Order, OrderLine, Product
from orders.placing import Item, Placed, place_once, place_order
from shop.idempotency import Key
from tests.checkout.conftest import fill_cart, form_of
from tests.factories import ANNA, make_product
from tests.races.racing import AGAIN_S, TRIES, names, patiently
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]
# A hundred of them have a hundred connections: one such test at a time.
in_turn = pytest.mark.xdist_group("crowd")


@pytest.fixture
def sku(world):
    """Makes products of which there is one unit, so that a second order of it would be refused for another reason."""
    return lambda: make_product(world.new_sku(), stock=1).sku


def order_of(sku: str) -> Order:
    """The only one. Raises OrderLine.DoesNotExist, MultipleObjectsReturned."""
    return OrderLine.objects.get(product__sku=sku).order


def place(sku: str, quantity: int = 1) -> Order:
    return place_order([Item(sku, quantity)], ANNA)


def place_by_key(sku: str, key: Key) -> Placed:
    return place_once(key, [Item(sku, 1)], ANNA)


def buy(sku: str, number: int) -> Order:
    return place_order([Item(sku, 1)], replace(ANNA, email=f"buyer{number}@example.com"))


# ---- the same again ----------------------------------------------------------------------------------------------


@in_turn
def test_a_hundred_identical_submits_are_one_order(world, race, sku):
    for _ in race.rounds(usually=1):
        tea = sku()
        told = race(*[patiently(partial(place, tea))] * 100)
        assert names(told) == {"Order": 1, "DuplicateOrder": 99}
        assert {each.number for each in told} == {order_of(tea).number}
        world.check()


@in_turn
def test_a_hundred_submits_with_one_key_are_one_order_and_ninety_nine_hear_of_it(world, race, sku):
    for number in race.rounds(usually=1):
        tea = sku()
        told = race(*[patiently(partial(place_by_key, tea, Key("orders", str(number), "body")))] * 100)
        assert names(told) == {"Placed": 100}
        assert {placed.order for placed in told} == {order_of(tea)}
        assert [placed.is_replay for placed in told].count(False) == 1
        world.check()


def test_of_two_requests_with_one_key_the_later_one_is_told_of_its_mistake(world, race, sku):
    for number in race.rounds():
        teas = sku(), sku()
        keys = Key("orders", str(number), "one"), Key("orders", str(number), "another")
        deeds = [patiently(partial(place_by_key, tea, key)) for tea, key in zip(teas, keys, strict=True)]
        told = race(*deeds * 5)
        assert names(told) == {"Placed": 5, "KeyMismatch": 5}
        assert Product.objects.filter(sku__in=teas, stock=0).count() == 1
        race.ended("one" if isinstance(told[0], Placed) else "another", of=("one", "another"))
        world.check()


def test_an_order_with_a_key_against_the_same_without_one_is_one_order(world, race, sku):
    for number in race.rounds():
        tea = sku()
        key = Key("orders", str(number), "body")
        told = race(*[patiently(partial(place_by_key, tea, key)), patiently(partial(place, tea))] * 3)
        has_key = isinstance(told[0], Placed)
        expected = {"Placed": 3, "DuplicateOrder": 3} if has_key else {"Order": 1, "DuplicateOrder": 5}
        assert names(told) == expected
        assert order_of(tea)
        race.ended("with" if has_key else "without", of=("with", "without"))
        world.check()


# ---- over HTTP ---------------------------------------------------------------------------------------------------

CONNECTIONS, EACH = 20, 5


class Caller:
    """A client of the API with a connection of its own, which the shop's side has answered on before.

    It does as it is told: after an answer with `Retry-After`, the same again, as `patiently` does.
    """

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v1"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.get(f"{self.url}/products", timeout=20).raise_for_status()

    def submit(self, body: str, headers: dict[str, str]) -> list[requests.Response]:
        """The same order some times, one after the other."""
        headers = {"Content-Type": "application/json", **headers}
        return [self._submit_once(body, headers) for _ in range(EACH)]

    def _submit_once(self, body: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(TRIES):
            told = self.http.post(f"{self.url}/orders", body, headers=headers, timeout=20)
            if "Retry-After" not in told.headers:
                break
            time.sleep(AGAIN_S)
        return told


@pytest.fixture
def submit_together(race, live_server):
    """Has one order sent a hundred times over twenty connections. The answers."""
    callers = [Caller(live_server.url) for _ in range(CONNECTIONS)]

    def submit(sku: str, **headers: str) -> list[requests.Response]:
        body = json.dumps({"items": [{"sku": sku, "quantity": 1}], "contact": asdict(ANNA)})
        told = race(*(partial(caller.submit, body, headers) for caller in callers))
        return [answer for answers in told for answer in answers]

    yield submit
    for caller in callers:
        caller.http.close()


@in_turn
def test_a_hundred_identical_requests_are_one_order(world, race, sku, submit_together):
    for _ in race.rounds(usually=1):
        tea = sku()
        answers = submit_together(tea)
        assert Counter(told.status_code for told in answers) == {201: 1, 409: 99}
        assert {told.json()["code"] for told in answers if told.status_code == 409} == {"duplicate_order"}
        assert order_of(tea)
        world.check()


@in_turn
def test_a_hundred_requests_with_one_key_have_the_same_answer(world, race, sku, submit_together):
    for number in race.rounds(usually=1):
        tea = sku()
        answers = submit_together(tea, **{"Idempotency-Key": f"key {number}"})
        assert {told.status_code for told in answers} == {201}
        assert {told.text for told in answers} == {answers[0].text}
        assert [told.headers.get("Idempotency-Replayed") for told in answers].count("true") == 99
        assert answers[0].json()["number"] == order_of(tea).number
        world.check()


def test_twenty_presses_of_one_checkout_form_are_one_order(world, race):
    for _ in race.rounds():
        tea = world.new_sku()
        shopper = Client()
        fill_cart(shopper, sku=tea, stock=1)
        form = form_of(shopper)
        told = race(*(partial(tab.post, "/checkout/", form) for tab in open_tabs(shopper, 20)))
        assert {answer.status_code for answer in told} == {302}
        assert {answer.url for answer in told} == {f"/orders/{order_of(tea).number}/pay/"}
        world.check()


def open_tabs(shopper: Client, count: int) -> list[Client]:
    """Windows of one browser, ready to send something."""
    tabs = [Client() for _ in range(count)]
    for tab in tabs:
        tab.cookies = shopper.cookies
        tab.handler.load_middleware()
    return tabs


# ---- the same goods ----------------------------------------------------------------------------------------------


@in_turn
def test_of_fifty_buyers_of_the_last_unit_one_gets_it(world, race, sku):
    for _ in race.rounds(usually=1):
        tea = sku()
        told: list[Any] = race(*(patiently(partial(buy, tea, number)) for number in range(50)))
        assert names(told) == {"Order": 1, "OutOfStock": 49}
        assert Product.objects.get(sku=tea).stock == 0
        assert order_of(tea)
        world.check()
