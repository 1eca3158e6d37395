"""Days on which something is missing or done twice: each has a page with true words and a way on, and nothing is lost.

Each on a wide screen and on a phone. A blocked socket and a server that restarts are in `test_live`, the shop without
JavaScript in `test_paying`.
"""

import re
from typing import Any

import pytest
from django.core import mail
from playwright.sync_api import Page, Route, expect

from orders.access import token_of
from orders.models import Order
from payments.models import Payment
from shop.alarms import handle_now
from tests.browser.conftest import WIDTHS
from tests.browser.shopping import (
    ORDER_PAGE,
    PAY_PAGE,
    TEA,
    buy_one,
    expect_order,
    expect_paid,
    fill_in,
    order_tea,
    pay_by_wallet,
    show_code,
)
from tests.factories import ANNA, make_order, make_payment
from tests.orders.test_access import end_link

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TO_PAY = "Waiting for your payment"


@pytest.fixture(params=WIDTHS)
def page(open_page: Any, request: pytest.FixtureRequest) -> Page:
    opened: Page = open_page(width=request.param)
    return opened


def refuse_cookies(page: Page) -> None:
    """As a browser that keeps none: what the shop sets never arrives."""

    def answer(route: Route) -> None:
        if not route.request.is_navigation_request():  # only pages set cookies
            route.continue_()
            return
        page.context.clear_cookies()
        got = route.fetch(max_redirects=0)
        kept = {name: value for name, value in got.headers.items() if name != "set-cookie"}
        page.context.clear_cookies()
        route.fulfill(response=got, headers=kept)

    page.route("**/*", answer)


def expect_way_on(page: Page, name: str) -> None:
    expect(page.locator("main").get_by_role("link", name=name)).to_be_visible()


def expect_unknown(page: Page) -> None:
    """Nothing of the order, calm words, and two ways on."""
    expect(page.get_by_role("heading", level=1)).to_have_text("This browser does not know this order")
    expect(page.get_by_text("Your order and any payment of it are safe")).to_be_visible()
    expect(page.get_by_role("button", name="Send me the link")).to_be_visible()
    expect_way_on(page, "Back to the shop")


def ask_for_link(page: Page) -> None:
    page.get_by_label("Email").fill(ANNA.email)
    page.get_by_role("button", name="Send me the link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look into your mail")


def link_mailed(order: Order) -> str:
    """Of the one mail that has gone, after the worker's turn."""
    handle_now("mail_link", order.number)
    [sent] = mail.outbox
    assert sent.to == [ANNA.email]
    [link] = re.findall(r"https?://\S+token=\S+", str(sent.body))
    return str(link)


# ---- cookies -----------------------------------------------------------------------------------------------------


def test_browser_without_cookies_is_told_so_when_it_fills_its_cart(page):
    refuse_cookies(page)
    page.goto("/")
    page.get_by_role("button", name=f"Add {TEA} to the cart").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This form is too old")
    expect(page.get_by_text("allow cookies for this shop")).to_be_visible()
    expect_way_on(page, "Back to the shop")


def test_link_to_an_order_in_a_browser_without_cookies_says_what_it_needs(page):
    refuse_cookies(page)
    order = make_order()
    page.goto(f"/orders/{order.number}/?token={token_of(order)}")
    expect_unknown(page)
    expect(page.get_by_text("allow them for this shop, then open the link again")).to_be_visible()
    ask_for_link(page)  # for another browser
    assert token_of(order) in link_mailed(order)


# ---- the session -------------------------------------------------------------------------------------------------


def test_session_that_is_lost_before_the_order_costs_the_cart_and_no_money(page):
    page.goto("/")
    page.get_by_role("button", name=f"Add {TEA} to the cart").click()
    page.get_by_role("link", name="Check out").click()
    fill_in(page)
    page.context.clear_cookies()
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_text("Nothing was done by this press")).to_be_visible()
    expect_way_on(page, "Back to the shop")
    assert not Order.objects.exists()


def test_session_that_is_lost_while_paying_is_found_again_by_the_link_in_the_mail(page, sandbox):
    order_tea(page)
    show_code(page)
    page.context.clear_cookies()
    sandbox.pay(Payment.objects.get().number)
    expect_unknown(page)  # by itself: the payment is news
    ask_for_link(page)
    page.goto(link_mailed(Order.objects.get()))
    expect_order(page)


# ---- back, and twice ---------------------------------------------------------------------------------------------


def test_back_button_from_the_pay_page_places_no_second_order_and_leads_forward_again(page):
    buy_one(page)
    page.go_back()
    expect_way_on(page, "See what there is")  # the goods are ordered, so the cart is empty
    page.get_by_role("link", name=Order.objects.get().number).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TO_PAY)
    page.get_by_role("link", name="Pay now").click()
    expect(page).to_have_url(PAY_PAGE)
    assert Order.objects.count() == 1


def test_back_button_after_paying_shows_that_it_is_paid(page):
    order_tea(page)
    show_code(page)
    pay_by_wallet(page)
    expect(page).to_have_url(ORDER_PAGE)  # by itself
    page.go_back()
    expect(page).to_have_url(PAY_PAGE)
    expect_paid(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid to nodrop")
    expect_way_on(page, "See your order")


def test_form_of_two_tabs_is_one_order(page):
    page.goto("/")
    page.get_by_role("button", name=f"Add {TEA} to the cart").click()
    page.goto("/checkout/")
    fill_in(page)
    other = page.context.new_page()
    other.goto("/checkout/")
    fill_in(other)
    other.get_by_role("button", name="Place the order").click()
    expect(other).to_have_url(PAY_PAGE)
    page.get_by_role("button", name="Place the order").click()
    expect_way_on(page, Order.objects.get().number)


def test_order_that_was_cancelled_in_another_tab_shows_no_code_any_more(page):
    order_tea(page)
    show_code(page)
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("details.cancel > summary").click()
    other.locator("details.cancel button").click()
    expect(other).to_have_url(ORDER_PAGE)
    expect(page.get_by_role("status")).to_contain_text("This order is cancelled.")
    expect(page.get_by_role("img", name=re.compile("QR code"))).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your order at nodrop")
    expect_way_on(page, "See your order")


# ---- clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "width"), [("2001-01-01T00:00:00Z", WIDTHS[0]), ("2099-12-31T23:59:59Z", WIDTHS[1])]
)
def test_device_whose_clock_is_wrong_sees_the_true_time_and_pays(open_page, moment, width):
    page = open_page(width=width)
    page.clock.set_fixed_time(moment)
    order_tea(page)
    show_code(page)
    expect(page.locator("[data-left]")).to_have_text(re.compile("^(30|29) minutes$"))
    pay_by_wallet(page)
    expect_paid(page)


# ---- links -------------------------------------------------------------------------------------------------------


def test_link_that_was_shared_shows_the_same_payment_and_starts_no_second_one(open_page):
    order = make_order(sku="longjing-tea")
    make_payment(order)
    link = f"/orders/{order.number}/pay/?token={token_of(order)}"
    for page in [open_page(width=width) for width in WIDTHS]:
        page.goto(link)
        expect(page).to_have_url(PAY_PAGE)
        expect(page.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    assert Payment.objects.count() == 1


def test_link_that_was_shared_lets_another_browser_pay_until_there_is_a_new_one(page, open_page):
    buy_one(page)
    page.get_by_role("link", name=re.compile("^N")).click()
    page.get_by_text("Your link to this order").click()
    other = open_page(width=page.viewport_size["width"])
    other.goto(page.get_by_label("The link to this page").input_value())
    expect(other.get_by_role("heading", level=1)).to_have_text(TO_PAY)
    other.get_by_role("link", name="Pay now").click()
    show_code(other)
    page.get_by_role("button", name="Make a new link").click()
    expect(page.get_by_text("This order has a new link.")).to_be_visible()
    expect_unknown(other)  # by itself
    expect(page.get_by_role("heading", level=1)).to_have_text(TO_PAY)  # and whoever placed it, keeps it


def test_link_that_has_ended_is_sent_anew_and_works(page):
    order = end_link(make_order())
    ended = f"/orders/{order.number}/?token={token_of(order)}"
    page.goto(ended)
    expect_unknown(page)
    ask_for_link(page)
    link = link_mailed(order)
    assert not link.endswith(ended)
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text(TO_PAY)
    expect_way_on(page, "Pay now")


def test_link_that_is_wrong_gives_nothing_away_and_leads_on(page):
    order = make_order()
    page.goto(f"/orders/{order.number}/pay/?token={token_of(make_order())}")
    expect_unknown(page)
