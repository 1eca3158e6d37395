"""What a shopper does in a browser, step by step."""

import re

from playwright.sync_api import Page, expect

ORDER_PAGE = re.compile(r"/orders/N\w+/$")
PAY_PAGE = re.compile(r"/orders/N\w+/pay/$")


def fill_in(page: Page) -> None:
    page.get_by_label("Name").fill("Anna Lin")
    page.get_by_label("Email").fill("anna@example.com")
    page.get_by_label("Phone").fill("138 0000 0000")
    page.get_by_label("Address").fill("1 Garden Road\nHangzhou")


def order_tea(page: Page) -> None:
    """From the catalogue to the pay page, which offers the ways to pay."""
    order_one(page, "Longjing tea")


def order_one(page: Page, goods: str) -> None:
    """The same with other goods."""
    page.goto("/")
    page.get_by_role("button", name=f"Add {goods} to the cart").click()
    page.get_by_role("link", name="Check out").click()
    fill_in(page)
    page.get_by_role("button", name="Place the order").click()
    expect(page).to_have_url(PAY_PAGE)


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
