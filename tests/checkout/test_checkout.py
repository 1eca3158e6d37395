"""Checkout: four fields, and nothing ordered that was not seen. What is sent twice: see `test_twice`."""

import re

import pytest

from orders.models import Order, Product
from shop.models import Event
from tests.checkout.conftest import CONTACT, fill_cart, form_of
from tests.factories import make_product

pytestmark = pytest.mark.django_db


def test_placing_makes_the_order_and_leads_to_its_pay_page(shopper):
    fill_cart(shopper, 2)
    answer = shopper.post("/checkout/", form_of(shopper))
    order = Order.objects.get()
    assert (answer.status_code, answer.url) == (302, f"/orders/{order.number}/pay/")
    assert (order.amount, order.currency, order.status) == (25800, "CNY", "UNPAID")
    assert (order.name, order.address) == (CONTACT["name"], "1 Garden Road\nHangzhou")
    assert shopper.get(answer.url).status_code == 200


def test_placing_empties_the_cart_of_what_was_ordered_only(shopper):
    fill_cart(shopper, sku="tea")
    fill_cart(shopper, sku="notebook", currency="USD")
    shopper.post("/checkout/", form_of(shopper, "CNY"))
    assert shopper.session["cart"] == {"notebook": 1}
    assert [line.product.sku for line in Order.objects.get().lines.all()] == ["tea"]


FIELDS = [
    ("name", "", "Please tell us your name."),
    ("name", "   ", "Please tell us your name."),
    ("name", "x" * 101, "at most 100 characters"),
    ("name", "An\x00na", "Null characters are not allowed."),
    ("email", "", "Please tell us your email address."),
    ("email", "anna", "This does not look like an email address."),
    ("email", "anna@", "This does not look like an email address."),
    ("email", "anna@exa mple.com", "This does not look like an email address."),
    ("email", "a" * 250 + "@b.cn", "at most 254 characters"),
    ("phone", "", "Please tell us your phone number"),
    ("phone", "call me", "This does not look like a phone number."),
    ("phone", "1234", "This does not look like a phone number."),
    ("phone", "1" * 31, "at most 30 characters"),
    ("address", "", "Please tell us where the goods should go."),
    ("address", "x" * 301, "at most 300 characters"),
]


@pytest.mark.parametrize(("field", "value", "words"), FIELDS)
def test_wrong_field_is_named_beside_it_and_on_top_and_nothing_is_ordered(shopper, field, value, words):
    fill_cart(shopper)
    answer = shopper.post("/checkout/", form_of(shopper, **{field: value}))
    page = answer.content.decode()
    assert answer.status_code == 400
    assert re.sub(r' data-\w+="[^"]*"', "", page).count(words) == 2
    assert f'href="#id_{field}"' in page
    assert 'aria-invalid="true"' in page
    assert f'aria-describedby="id_{field}_error"' in page
    assert f'id="id_{field}_error"' in page
    assert not Order.objects.exists()
    assert shopper.session["cart"] == {"tea": 1}


def test_what_was_typed_stays_when_a_field_is_wrong(shopper):
    fill_cart(shopper)
    page = shopper.post("/checkout/", form_of(shopper, email="")).content.decode()
    assert 'value="Anna Lin"' in page
    assert "1 Garden Road" in page


def test_price_that_changed_since_the_page_was_shown_is_shown_before_anything_is_ordered(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    Product.objects.update(price=99900)
    answer = shopper.post("/checkout/", form)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "has changed since you saw this page" in page
    assert "999.00" in page
    assert not Order.objects.exists()


def test_cart_that_changed_in_another_tab_is_shown_before_anything_is_ordered(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    fill_cart(shopper, 5)
    assert shopper.post("/checkout/", form).status_code == 409
    assert not Order.objects.exists()


def test_goods_that_sold_out_before_the_press_lead_back_to_the_cart(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    Product.objects.update(stock=0)
    answer = shopper.post("/checkout/", form, follow=True)
    assert answer.redirect_chain == [("/cart/", 302)]
    assert "Sold out." in answer.content.decode()
    assert not Order.objects.exists()


def test_goods_that_sold_out_during_the_press_are_said_so_and_nothing_is_ordered(shopper, monkeypatch):
    """A rival takes the last one between the cart's look and the locked look of `place_order`."""
    fill_cart(shopper, stock=1)
    form = form_of(shopper)

    def take_the_last_first(session, currency):
        part = find_part(session, currency)
        Product.objects.update(stock=0)
        return part

    from shop.checkout import pages

    find_part = pages.find_part
    monkeypatch.setattr(pages, "find_part", take_the_last_first)
    answer = shopper.post("/checkout/", form)
    assert answer.status_code == 409
    assert "Nothing was ordered" in answer.content.decode()
    assert "Sold out." in answer.content.decode()
    assert not Order.objects.exists()


def test_order_too_large_to_be_paid_is_refused(shopper):
    fill_cart(shopper, price=10**10, quantity=11, stock=100)
    answer = shopper.post("/checkout/", form_of(shopper))
    assert answer.status_code == 400
    assert "too large" in answer.content.decode()
    assert not Order.objects.exists()


@pytest.mark.parametrize("currency", ["", "USD", "nonsense", "\x00"])
def test_checkout_without_such_a_part_of_the_cart_leads_to_the_cart(shopper, currency):
    answer = shopper.get("/checkout/", {"currency": currency})
    assert (answer.status_code, answer.url) == (302, "/cart/")


def test_mixed_cart_without_a_choice_leads_to_the_cart(shopper):
    fill_cart(shopper, sku="tea")
    fill_cart(shopper, sku="notebook", currency="USD")
    assert shopper.get("/checkout/").url == "/cart/"


def test_looking_at_the_checkout_orders_nothing(shopper):
    fill_cart(shopper)
    shopper.get("/checkout/")
    assert not Order.objects.exists()
    assert not Event.objects.exists()
    assert make_product().stock == 10
