"""A shopper in a real browser: from the catalogue to a paid order, with and without JavaScript, wide and narrow."""

import re

import pytest
from playwright.sync_api import Page, expect

from orders.models import Order, Product
from payments.models import Payment
from tests.browser.conftest import WIDTHS
from tests.browser.shopping import (
    ORDER_PAGE,
    buy_one,
    expect_order,
    expect_paid,
    fill_in,
    order_tea,
    pay_by_wallet,
    show_code,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", WIDTHS)
def test_shopper_buys_scans_pays_and_sees_it(open_page, photograph, width):
    page = open_page(width=width)
    page.goto("/")
    photograph(page, "1-catalogue")
    page.get_by_role("button", name="Add Longjing tea to the cart").click()
    photograph(page, "2-cart")
    page.get_by_role("link", name="Check out").click()
    fill_in(page)
    photograph(page, "3-checkout")
    page.get_by_role("button", name="Place the order").click()
    photograph(page, "4-ways-to-pay")
    show_code(page)
    photograph(page, "5-code")
    pay_by_wallet(page)
    expect_paid(page)
    photograph(page, "6-paid")
    expect_order(page)
    photograph(page, "7-order")
    assert Order.objects.get().status == "READY_FOR_SHIPMENT"


@pytest.mark.parametrize("width", WIDTHS)
def test_all_of_it_works_without_javascript(open_page, photograph, width):
    page = open_page(width=width, javascript=False)
    buy_one(page)
    show_code(page)
    for words in ("129.00", "Open WeChat and scan", "left to pay"):
        expect(page.get_by_text(words).first).to_be_visible()
    expect(page.get_by_role("button", name="I have paid")).to_be_enabled()
    pay_by_wallet(page)
    expect(page.get_by_text("Paid. Thank you.")).to_be_visible()  # the page refreshes itself
    photograph(page, "8-paid-without-javascript")
    page.get_by_role("link", name="See your order").click()
    expect_order(page)


def test_no_page_scrolls_sideways_at_320(open_page, photograph):
    page = open_page(width=320)
    page.goto("/")
    photograph(page, "catalogue", schemes=("light", "dark"))
    page.get_by_role("button", name="Add Longjing tea to the cart").click()
    page.goto("/")
    page.get_by_role("button", name="Add Hammock from Ceará to the cart").click()
    photograph(page, "mixed-cart", schemes=("light", "dark"))
    page.goto("/checkout/?currency=CNY")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("group", name="Please look at these again.")).to_contain_text(
        "Nothing was ordered yet."
    )
    photograph(page, "wrong-checkout", schemes=("light", "dark"))
    fill_in(page)
    page.get_by_role("button", name="Place the order").click()
    show_code(page)
    photograph(page, "code", schemes=("light", "dark"))
    page.get_by_role("link", name=re.compile("^N")).click()
    photograph(page, "order", schemes=("light", "dark"))
    page.goto("/orders/N000000000000000/")
    photograph(page, "not-found", schemes=("light", "dark"))


def test_name_of_one_long_word_breaks_and_does_not_push_the_price_away(open_page, photograph):
    Product.objects.filter(name="Longjing tea").update(name="W" * 60)
    page = open_page(width=320)
    page.goto("/")
    photograph(page, "long-name-catalogue")
    page.get_by_role("button", name="to the cart").first.click()
    photograph(page, "long-name-cart")
    page.goto("/checkout/")
    photograph(page, "long-name-checkout")
    fill_in(page)
    page.get_by_role("button", name="Place the order").click()
    page.get_by_role("link", name=re.compile("^N")).click()
    photograph(page, "long-name-order")


def test_press_on_check_finds_what_no_notification_told(open_page, sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    page = open_page()
    order_tea(page)
    show_code(page)
    pay_by_wallet(page)
    page.get_by_role("button", name="I have paid").click()
    expect_paid(page)
    assert Payment.objects.get().status == "PAID"


def test_order_that_was_paid_in_another_tab_goes_on_by_itself(open_page):
    page = open_page()
    order_tea(page)
    show_code(page)
    other = page.context.new_page()
    other.goto(page.url)
    pay_by_wallet(other)
    for tab in (page, other):
        expect(tab).to_have_url(ORDER_PAGE)


def test_status_line_stays_in_its_place_when_the_payment_is_found(open_page):
    page = open_page()
    order_tea(page)
    show_code(page)
    place = top_of_status(page)
    pay_by_wallet(page)
    expect_paid(page)
    assert top_of_status(page) == place


def test_waiting_page_outlives_a_shop_that_is_away_for_a_moment(open_page):
    page = open_page()
    order_tea(page)
    show_code(page)
    page.route("**/status?*", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    with page.expect_event("requestfailed"):
        pass  # and once more, by itself
    page.unroute("**/status?*")
    pay_by_wallet(page)
    expect_paid(page)


def top_of_status(page: Page) -> int:
    box = page.get_by_role("status").bounding_box()
    assert box
    return round(box["y"])
