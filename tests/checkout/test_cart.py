"""The cart: what one browser means to buy. It promises nothing and takes no nonsense."""

import pytest
from django.conf import settings

from orders.models import Product
from tests.checkout.conftest import fill_cart, form_of, own
from tests.factories import make_order, make_product

pytestmark = pytest.mark.django_db


def units(client) -> dict[str, int]:
    return dict(client.session.get("cart", {}))


def test_adding_puts_the_product_into_the_cart_and_shows_it(shopper):
    answer = shopper.post("/cart/add/", {"sku": make_product().sku, "quantity": 2}, follow=True)
    assert answer.redirect_chain == [("/cart/", 302)]
    assert units(shopper) == {"tea": 2}
    assert "258.00" in answer.content.decode()


def test_adding_again_adds_up(shopper):
    fill_cart(shopper, 2)
    fill_cart(shopper, 3)
    assert units(shopper) == {"tea": 5}


def test_changing_sets_the_quantity(shopper):
    fill_cart(shopper, 2)
    shopper.post("/cart/change/", {"sku": "tea", "quantity": 7})
    assert units(shopper) == {"tea": 7}


def test_changing_to_zero_removes(shopper):
    fill_cart(shopper)
    shopper.post("/cart/change/", {"sku": "tea", "quantity": 0})
    assert units(shopper) == {}


def test_changing_what_is_not_in_the_cart_changes_nothing(shopper):
    fill_cart(shopper)
    shopper.post("/cart/change/", {"sku": "cup", "quantity": 4})
    assert units(shopper) == {"tea": 1}


@pytest.mark.parametrize("quantity", ["0", "-1", "1000", "9" * 5000, "1.5", "one", "", " ", "1e3", "\x00"])
def test_senseless_quantity_is_refused_and_the_cart_stays_as_it_was(shopper, quantity):
    fill_cart(shopper, 2)
    answer = shopper.post("/cart/add/", {"sku": "tea", "quantity": quantity})
    assert answer.status_code == 400
    assert "whole number from 1 to 999" in answer.content.decode()
    assert units(shopper) == {"tea": 2}


@pytest.mark.parametrize("quantity", ["-1", "1000", "one", ""])
def test_senseless_change_is_refused_and_the_cart_stays_as_it_was(shopper, quantity):
    fill_cart(shopper, 2)
    assert shopper.post("/cart/change/", {"sku": "tea", "quantity": quantity}).status_code == 400
    assert units(shopper) == {"tea": 2}


def test_more_than_999_of_one_product_are_refused(shopper):
    fill_cart(shopper, 999)
    assert shopper.post("/cart/add/", {"sku": "tea", "quantity": 1}).status_code == 400
    assert units(shopper) == {"tea": 999}


def test_fifty_first_product_is_refused(shopper):
    session = shopper.session
    session["cart"] = {f"thing-{number}": 1 for number in range(50)}
    session.save()
    assert shopper.post("/cart/add/", {"sku": make_product().sku, "quantity": 1}).status_code == 400
    assert len(units(shopper)) == 50


@pytest.mark.parametrize("sku", ["no-such-thing", "tea-that-is-not-sold"])
def test_what_is_not_sold_is_not_found(shopper, sku):
    make_product("tea-that-is-not-sold")
    Product.objects.update(is_sold=False)
    answer = shopper.post("/cart/add/", {"sku": sku, "quantity": 1})
    assert answer.status_code == 404
    assert units(shopper) == {}


@pytest.mark.parametrize("sku", ["", "a b", "<script>", "x" * 41, "\x00"])
def test_malformed_sku_is_refused(shopper, sku):
    assert shopper.post("/cart/add/", {"sku": sku, "quantity": 1}).status_code == 400


@pytest.mark.parametrize("path", ["/cart/add/", "/cart/change/"])
def test_coming_by_a_link_changes_nothing_and_shows_the_cart(shopper, path):
    make_product()
    answer = shopper.get(path, {"sku": "tea", "quantity": 3})
    assert (answer.status_code, answer.url) == (302, "/cart/")
    assert units(shopper) == {}


def test_line_with_too_little_stock_says_how_many_are_left(shopper):
    fill_cart(shopper, 3, stock=2)
    page = shopper.get("/cart/").content.decode()
    assert "Only 2 left." in page
    assert "Check out" not in page


def test_line_that_sold_out_meanwhile_says_so(shopper):
    fill_cart(shopper)
    Product.objects.update(stock=0)
    assert "Sold out." in shopper.get("/cart/").content.decode()


def test_line_that_is_not_sold_any_more_says_so(shopper):
    fill_cart(shopper)
    Product.objects.update(is_sold=False)
    assert "not sold any more" in shopper.get("/cart/").content.decode()


def test_line_whose_product_is_gone_can_be_removed(shopper):
    fill_cart(shopper)
    Product.objects.all().delete()
    assert "“tea” is not sold any more." in shopper.get("/cart/").content.decode()
    shopper.post("/cart/change/", {"sku": "tea", "quantity": 0})
    assert "Nothing is in it yet" in shopper.get("/cart/").content.decode()


def test_empty_cart_leads_to_the_order_that_this_browser_placed_last(shopper):
    assert "Your last order" not in shopper.get("/cart/").content.decode()
    path = own(shopper, make_order())
    page = shopper.get("/cart/").content.decode()
    assert "Your last order" in page
    assert f'href="{path}"' in page
    fill_cart(shopper)
    assert "Your last order" not in shopper.get("/cart/").content.decode()


def test_mixed_currencies_are_explained_and_checked_out_one_by_one(shopper):
    fill_cart(shopper, sku="tea")
    fill_cart(shopper, sku="notebook", currency="USD", price=1400)
    page = shopper.get("/cart/").content.decode()
    assert "goods in 2 currencies" in page
    assert "/checkout/?currency=CNY" in page
    assert "/checkout/?currency=USD" in page


def test_cart_shows_todays_price(shopper):
    fill_cart(shopper)
    Product.objects.update(price=5000)
    page = shopper.get("/cart/").content.decode()
    assert "50.00" in page
    assert "129.00" not in page


def test_catalogue_offers_what_is_sold_and_in_stock(shopper):
    make_product("tea")
    make_product("cup", stock=0)
    make_product("kite", stock=3)
    Product.objects.create(
        sku="ghost", name="Ghost", price=1, currency="CNY", stock=1, supplied=1, is_sold=False
    )
    page = shopper.get("/").content.decode()
    assert page.count('action="/cart/add/"') == 2
    assert "Sold out" in page
    assert "only 3 left" in page
    assert "Ghost" not in page


def test_cart_of_two_currencies_names_them_by_their_totals_and_has_one_primary_way_on(shopper):
    fill_cart(shopper)
    fill_cart(shopper, sku="hammock", currency="BRL")
    page = shopper.get("/cart/").content.decode()
    assert page.count('aria-labelledby="total-') == page.count('id="total-') == 2
    assert (page.count(">Check out</a>"), page.count('class="button primary"')) == (2, 1)


def test_browser_whose_session_is_known_to_nobody_any_more_begins_a_new_one(shopper):
    shopper.cookies[settings.SESSION_COOKIE_NAME] = "0123456789abcdefghijklmnopqrstuv"
    fill_cart(shopper)
    assert "Your cart" in shopper.get("/cart/").content.decode()
    answer = shopper.post("/checkout/", form_of(shopper))
    assert shopper.get(answer.url).status_code == 200
