"""Placing an order: the price of the day, stock off the shelf, an expiry alarm, or nothing at all."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from orders.duplicates import content_hash
from orders.errors import InvalidOrder, MixedCurrency, OutOfStock, UnknownProduct
from orders.models import Order, Product
from orders.placing import MAX_LINES, MAX_QUANTITY, Contact, Item, place_order
from shop.models import Alarm
from tests.factories import ANNA, make_order, make_product, steps

pytestmark = pytest.mark.django_db


def test_order_has_todays_price_and_keeps_it():
    product = make_product(price=500)
    order = place_order([Item("tea", 3)], ANNA)
    Product.objects.filter(pk=product.pk).update(price=900)
    line = order.lines.get()
    assert (order.amount, line.unit_price, line.quantity) == (1500, 500, 3)


def test_goods_leave_the_shelf():
    make_order(quantity=4, stock=10)
    assert Product.objects.get(sku="tea").stock == 6


def test_order_expires_after_half_an_hour_and_has_an_alarm_for_it():
    order = make_order()
    assert timedelta(minutes=29) < order.expires_at - order.created_at < timedelta(minutes=31)
    alarm = Alarm.objects.get(subject=order.number)
    assert (alarm.kind, alarm.due_at) == ("expire_order", order.expires_at)


def test_the_first_event_is_unpaid():
    assert steps(make_order().number) == [("", "UNPAID")]


def test_numbers_fit_every_channel_and_cannot_be_guessed():
    numbers = {make_order(stock=100).number for _ in range(20)}
    assert len(numbers) == 20
    assert all(len(number) == 16 and number.isalnum() and number.isupper() for number in numbers)


def test_the_same_product_twice_is_one_line():
    make_product()
    order = place_order([Item("tea", 1), Item("tea", 2)], ANNA)
    assert order.lines.get().quantity == 3


def test_placing_takes_three_statements_whatever_the_number_of_lines(django_assert_num_queries):
    items = [Item(make_product(f"tea-{n}").sku, 1) for n in range(12)]
    with django_assert_num_queries(3):
        place_order(items, ANNA)


def test_what_is_sold_out_is_refused_and_says_how_many_are_left():
    make_product(stock=2)
    with pytest.raises(OutOfStock) as refused:
        place_order([Item("tea", 3)], ANNA)
    assert refused.value.left == 2


@pytest.mark.parametrize(
    ("items", "error", "field"),
    [
        ([], InvalidOrder, "items"),
        ([Item("tea", 0)], InvalidOrder, "items.0.quantity"),
        ([Item("tea", -1)], InvalidOrder, "items.0.quantity"),
        ([Item("tea", MAX_QUANTITY + 1)], InvalidOrder, "items.0.quantity"),
        ([Item("tea", MAX_QUANTITY), Item("tea", 1)], InvalidOrder, "items.1.quantity"),
        ([Item("tea", 10**30)], InvalidOrder, "items.0.quantity"),
        ([Item("nothing", 1)], UnknownProduct, "items"),
        ([Item("tea", 1), Item("book", 1)], MixedCurrency, "items"),
        ([Item(f"tea-{n}", 1) for n in range(MAX_LINES + 1)], InvalidOrder, "items"),
    ],
)
def test_senseless_items_are_refused_and_change_nothing(items, error, field):
    make_product()
    make_product("book", currency="USD")
    with pytest.raises(error) as refused:
        place_order(items, ANNA)
    assert refused.value.field == field
    assert not Order.objects.exists()
    assert Product.objects.get(sku="tea").stock == 10


@pytest.mark.parametrize(
    "contact",
    [
        Contact(name="", email="anna@example.com", phone="1", address="x"),
        Contact(name="Anna", email="anna", phone="1", address="x"),
        Contact(name="Anna", email="anna@example.com", phone=" ", address="x"),
        Contact(name="Anna", email="anna@example.com", phone="1", address="x" * 301),
        Contact(name="An\x00na", email="anna@example.com", phone="1", address="x"),
    ],
)
def test_a_senseless_contact_is_refused(contact):
    make_product()
    with pytest.raises(InvalidOrder):
        place_order([Item("tea", 1)], contact)


def test_an_order_too_large_for_the_channels_is_refused():
    make_product(price=10**10, stock=999)
    with pytest.raises(InvalidOrder):
        place_order([Item("tea", 999)], ANNA)


def test_a_product_that_is_not_sold_any_more_is_unknown():
    make_product()
    Product.objects.update(is_sold=False)
    with pytest.raises(UnknownProduct):
        place_order([Item("tea", 1)], ANNA)


def test_the_content_hash_does_not_depend_on_the_order_of_lines():
    assert content_hash({"a": 1, "b": 2}, ANNA) == content_hash({"b": 2, "a": 1}, ANNA)
    assert content_hash({"a": 1, "b": 2}, ANNA) != content_hash({"a": 2, "b": 1}, ANNA)


@pytest.mark.django_db(transaction=True)
def test_two_buyers_of_the_last_one_are_an_order_and_a_clear_word():
    make_product(stock=1)

    def buy(_: int) -> str:
        try:
            return place_order([Item("tea", 1)], ANNA, again=True).status
        except OutOfStock:
            return "out of stock"
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(buy, range(6))) == ["UNPAID", *["out of stock"] * 5]
