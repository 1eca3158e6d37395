"""What a shopper does in a browser, step by step."""

import re

from playwright.sync_api import Page, expect

from orders.access import token_of
from orders.models import Product
from orders.placing import Item, place_order
from tests.factories import ANNA

ORDER_PAGE = re.compile(r"/orders/N\w+/$")
TEA = "Longjing tea"
PAY_PAGE = re.compile(r"/orders/N\w+/pay/$")


def fill_in(page: Page) -> None:
    page.get_by_label("Name").fill("Anna Lin")
    page.get_by_label("Email").fill("anna@example.com")
    page.get_by_label("Phone").fill("138 0000 0000")
    page.get_by_label("Address").fill("1 Garden Road\nHangzhou")


def order_tea(page: Page) -> None:
    """An order that was placed a moment ago, on its pay page, which offers the ways to pay."""
    order_one(page, TEA)


def order_one(page: Page, goods: str) -> None:
    """The same with other goods."""
    order = place_order([Item(Product.objects.get(name=goods).sku, 1)], ANNA, again=True)
    page.goto(f"/orders/{order.number}/pay/?token={token_of(order)}")
    expect(page).to_have_url(PAY_PAGE)


def buy_one(page: Page, goods: str = TEA) -> None:
    """All the way from the catalogue to the pay page."""
    page.goto("/")
    page.get_by_role("button", name=f"Add {goods} to the cart").click()
    page.get_by_role("link", name="Check out").click()
    fill_in(page)
    page.get_by_role("button", name="Place the order").click()
    expect(page).to_have_url(PAY_PAGE)


def expect_paid(page: Page) -> None:
    """The page has found the payment. That it goes on to the order then, is another test's."""
    expect(page.get_by_role("status")).to_have_text("Paid. Thank you.")


def expect_order(page: Page) -> None:
    """The page of the paid order."""
    expect(page).to_have_url(ORDER_PAGE)
    expect(page.get_by_role("heading", level=1)).to_have_text("We are packing your order")


def show_code(page: Page) -> None:
    page.get_by_role("button", name="WeChat Pay").click()
    expect(page.get_by_role("img", name="WeChat Pay QR code for ¥129.00")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Waiting for you to scan")


def open_wallet(page: Page) -> Page:
    """The wallet in a second page, as on the shopper's phone."""
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open the sandbox wallet").click()
    popup.value.wait_for_load_state()
    return popup.value


def pay_by_wallet(page: Page) -> None:
    wallet = open_wallet(page)
    wallet.get_by_role("button", name=re.compile("^Pay")).click()
    wallet.wait_for_load_state()
    wallet.close()
