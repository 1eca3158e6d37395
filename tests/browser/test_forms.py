"""Forms that people type into: what is wrong stands beside its field before anything is sent, in the server's words."""

import pytest
from playwright.sync_api import Locator, Page, expect

from orders.models import Order
from shop.checkout.forms import ASKED, ContactForm
from tests.browser.conftest import WIDTHS
from tests.browser.shopping import PAY_PAGE, TEA, fill_in, order_one

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NO_NAME = "Please tell us your name."
NO_EMAIL = "This does not look like an email address. Example: li@example.com"


def check_out(page: Page) -> None:
    """The empty form of the checkout."""
    page.goto("/")
    page.get_by_role("button", name=f"Add {TEA} to the cart").click()
    page.get_by_role("link", name="Check out").click()
    page.wait_for_url("**/checkout/")  # with its script


def wrong_box(page: Page) -> Locator:
    """It takes the focus: an alert would be read out twice."""
    return page.get_by_role("group", name="Please look at these again.")


@pytest.mark.parametrize("width", WIDTHS)
def test_wrong_field_is_told_when_it_is_left_and_no_more_when_it_is_right(open_page, width):
    page = open_page(width=width)
    check_out(page)
    email = page.get_by_label("Email")
    email.fill("anna@")
    page.get_by_label("Phone").focus()
    expect(email).to_have_attribute("aria-invalid", "true")
    expect(email).to_have_accessible_description(NO_EMAIL)
    expect(page.get_by_text(NO_EMAIL)).to_be_visible()
    email.press_sequentially("example.com")
    expect(page.get_by_text(NO_EMAIL)).to_be_hidden()
    assert email.get_attribute("aria-invalid") is None


@pytest.mark.parametrize("width", WIDTHS)
def test_form_with_wrong_fields_stays_and_lists_them_with_a_way_to_each(open_page, photograph, width):
    page = open_page(width=width)
    check_out(page)
    fill_in(page)
    page.get_by_label("Name").fill(" ")
    page.get_by_role("button", name="Place the order").click()
    told = wrong_box(page)
    expect(told).to_be_focused()
    expect(told).to_contain_text(f"Nothing was ordered yet. Name: {NO_NAME}")
    photograph(page, "33-wrong-field")
    told.get_by_role("link", name="Name").click()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Anna Lin")
    page.get_by_role("button", name="Place the order").click()
    expect(page).to_have_url(PAY_PAGE)


def test_what_only_the_server_finds_wrong_is_listed_and_stays_until_it_is_changed(open_page):
    page = open_page()
    check_out(page)
    fill_in(page)
    page.get_by_label("Email").fill("anna@-.-example.com")
    page.get_by_role("button", name="Place the order").click()
    expect(wrong_box(page)).to_be_focused()
    page.get_by_label("Email").focus()
    page.get_by_label("Phone").focus()
    expect(page.get_by_label("Email")).to_have_accessible_description(NO_EMAIL)
    assert not Order.objects.exists()


def test_payer_is_checked_in_the_same_way(open_page, every_channel):
    page = open_page()
    order_one(page, "Hammock from Ceará")
    page.get_by_role("link", name="Boleto").click()
    page.get_by_role("button", name="Go on with Boleto").click()
    expect(wrong_box(page)).to_be_focused()
    expect(wrong_box(page).get_by_role("link")).to_have_text([str(ASKED[path].label) for path in ASKED][:5])
    expect(page.get_by_label("State")).to_have_accessible_description("Please choose your state.")
    page.get_by_label("State").select_option("CE")
    expect(page.get_by_text("Please choose your state.")).to_be_hidden()


def test_no_rule_of_the_page_is_stricter_than_the_servers(open_page):
    """Or somebody could not order at all."""
    page = open_page()
    check_out(page)
    given = {
        "Email": ["anna@localhost", "a@b.cn", '"a@b"@example.com', "anna@[127.0.0.1]", "anna@例子.中国"],
        "Phone": ["１３８００１３８０００", "+86 (0)571-1234", "٠١٢٣٤"],
    }
    for label, values in given.items():
        for value in values:
            form = ContactForm(
                {"name": "A", "email": "a@b.cn", "phone": "12345", "address": "1"} | {label.lower(): value}
            )
            assert form.is_valid(), value
            page.get_by_label(label).fill(value)
            page.get_by_label("Address").focus()
            assert page.get_by_label(label).get_attribute("aria-invalid") is None, value


def test_what_was_typed_stays_when_the_language_is_switched(open_page):
    page = open_page()
    check_out(page)
    page.get_by_label("Name").fill("Anna Lin")
    page.get_by_label("Address").fill("1 Garden Road\nHangzhou")
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_label("姓名")).to_have_value("Anna Lin")
    expect(page.locator("[name=address]")).to_have_value("1 Garden Road\nHangzhou")
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect(page.get_by_label("姓名")).to_have_value("")


def test_tax_number_is_never_kept_for_that(open_page, every_channel):
    page = open_page()
    order_one(page, "Hammock from Ceará")
    page.get_by_role("link", name="Boleto").click()
    page.wait_for_url("**channel=boleto**")
    for name, value in {"tax_id": "111.444.777-35", "address.city": "Fortaleza"}.items():
        page.locator(f"[name='{name}']").fill(value)
    page.get_by_label("State").select_option("CE")
    page.get_by_role("button", name="简体中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator("[name='address.city']")).to_have_value("Fortaleza")
    expect(page.locator("[name='address.state']")).to_have_value("CE")
    expect(page.locator("[name=tax_id]")).to_have_value("")
