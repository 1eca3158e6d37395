"""A shopper who does things twice in a real browser: the same order, another payment, two payments."""

from datetime import timedelta

import pytest
from django.db.models import F
from playwright.sync_api import Page, expect

from orders.models import Order
from payments.models import Payment, Refund
from payments.querying import query_payment
from payments.refunding import send_refund
from tests.browser.conftest import WIDTHS
from tests.browser.shopping import (
    PAY_PAGE,
    buy_one,
    expect_order,
    expect_paid,
    fill_in,
    order_tea,
    pay_by_wallet,
    show_code,
)
from tests.checkout.conftest import begin_on_a_phone

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PREVIOUS_FIRST = "We are checking your earlier payment first, so that you do not pay twice."


# ---- the same order ----------------------------------------------------------------------------------------------


def test_same_order_again_is_asked_about_and_placed_by_the_second_button_only(open_page, photograph):
    page = open_page()
    buy_one(page)
    first = Order.objects.get().number
    fill_again(page)
    page.get_by_role("button", name="Place the order").click()
    note = page.get_by_role("alert")
    expect(note).to_contain_text(f"You placed the same order a moment ago: {first}")
    photograph(page, "9-same-order", widths=WIDTHS)
    page.get_by_role("link", name="Go to that order").click()
    expect(page.get_by_role("link", name=first)).to_be_visible()
    page.goto("/checkout/")  # the cart is as it was
    fill_in(page)
    page.get_by_role("button", name="Place the order").click()
    page.get_by_role("button", name="Order it again").click()
    expect(page).to_have_url(PAY_PAGE)
    assert Order.objects.count() == 2


def test_way_back_to_the_page_that_asks_sends_nothing_once_more(open_page):
    """It was the answer to a form, which a browser would offer to repeat."""
    page = open_page()
    buy_one(page)
    fill_again(page)
    page.get_by_role("button", name="Place the order").click()
    page.get_by_role("link", name="Go to that order").click()
    expect(page).to_have_url(PAY_PAGE)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Checkout")
    assert Order.objects.count() == 1


def test_enter_key_on_the_page_that_asks_is_no_choice(open_page):
    page = open_page()
    buy_one(page)
    fill_again(page)
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("alert")).to_contain_text("Do you want all of it twice?")
    page.get_by_label("Name").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Do you want all of it twice?")
    assert Order.objects.count() == 1


def test_same_order_from_another_browser_shows_no_number(open_page, photograph):
    buy_one(open_page())
    elsewhere = open_page()
    fill_again(elsewhere)
    elsewhere.get_by_role("button", name="Place the order").click()
    expect(elsewhere.get_by_role("alert")).to_contain_text("The same order was placed a moment ago")
    photograph(elsewhere, "10-same-order-elsewhere", widths=WIDTHS)
    expect(elsewhere.get_by_text(Order.objects.get().number)).to_have_count(0)


def fill_again(page: Page) -> None:
    """The same tea and the same address once more, up to the last button."""
    page.goto("/")
    page.get_by_role("button", name="Add Longjing tea to the cart").click()
    page.get_by_role("link", name="Check out").click()
    fill_in(page)


def test_form_that_is_changed_after_it_was_sent_is_told_which_order_stands(open_page, photograph):
    page = open_page()
    fill_again(page)
    token = page.locator("[name=form_token]").get_attribute("value")
    page.get_by_role("button", name="Place the order").click()
    expect(page).to_have_url(PAY_PAGE)
    fill_again(page)
    page.locator("[name=form_token]").evaluate("(field, token) => field.value = token", token)
    page.get_by_label("Address").fill("2 Garden Road")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("alert")).to_contain_text("Your order was placed before you changed the form")
    photograph(page, "11-changed-form", widths=WIDTHS)


# ---- another payment ---------------------------------------------------------------------------------------------


def fault_close(sandbox, when: str) -> None:
    """A close has no answer; `after`: it has taken effect all the same. Nobody is notified of a payment."""
    entry = {
        "channel": "wechat",
        "operation": "close",
        "when": when,
        "what": "status",
        "value": 500,
        "times": 1,
    }
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [entry]})


def hold_up(page: Page, sandbox, *, when: str = "before") -> Payment:
    """Choose another way while an attempt is open elsewhere, and its close is undecided. Returns that attempt."""
    order_tea(page)
    earlier = begin_on_a_phone(Order.objects.get())
    fault_close(sandbox, when)
    page.goto(f"{page.url}?choose")
    page.get_by_role("button", name="WeChat Pay").click()
    expect(page.get_by_role("status")).to_have_text(PREVIOUS_FIRST)
    return earlier


def expect_code(page: Page) -> None:
    """The wanted code, in place of the earlier attempt, which is closed."""
    expect(page.get_by_role("img", name="WeChat Pay QR code for ¥129.00")).to_be_visible()
    earlier, wanted = Payment.objects.order_by("pk")
    assert (earlier.status, wanted.status, wanted.scene) == ("CLOSED", "PAYING", "qr")


def test_wanted_payment_comes_by_itself_when_the_earlier_one_turns_out_closed(open_page, photograph, sandbox):
    page = open_page()
    earlier = hold_up(page, sandbox, when="after")
    expect(page.get_by_text("Then on with WeChat Pay")).to_be_visible()
    photograph(page, "12-held-up", widths=WIDTHS)
    query_payment(earlier.number)
    expect_code(page)
    pay_by_wallet_unheard(page)


def pay_by_wallet_unheard(page: Page) -> None:
    pay_by_wallet(page)
    page.get_by_role("button", name="I have paid").click()
    expect_paid(page)


def test_wanted_payment_comes_by_itself_when_the_channel_answers_again(open_page, sandbox):
    """Nobody else asks the channel here: the open page does."""
    page = open_page()
    hold_up(page, sandbox)
    expect_code(page)


def test_earlier_payment_that_turns_out_paid_leads_to_the_order(open_page, sandbox):
    page = open_page()
    earlier = hold_up(page, sandbox)
    sandbox.pay(earlier.number)
    query_payment(earlier.number)
    expect_order(page)
    assert Payment.objects.count() == 1


def test_without_javascript_the_wanted_payment_is_one_press_away_once_the_earlier_one_is_closed(
    open_page, photograph, sandbox
):
    page = open_page(javascript=False)
    earlier = hold_up(page, sandbox, when="after")
    query_payment(earlier.number)
    expect(page.get_by_text("Your earlier payment is closed. Go on with WeChat Pay.")).to_be_visible()
    photograph(page, "13-go-on-without-javascript", widths=WIDTHS)
    page.get_by_role("button", name="WeChat Pay").click()
    expect_code(page)


def test_open_page_offers_another_way_by_itself_after_a_minute(open_page, photograph, sandbox):
    page = open_page()
    hold_up(page, sandbox)
    silent = {"channel": "wechat", "when": "before", "what": "status", "value": 500, "times": 50}
    sandbox.set_faults({"script": [silent | {"operation": each} for each in ("close", "query")]})
    minute = timedelta(seconds=61)
    Payment.objects.update(is_unsure=True, close_unanswered_since=F("close_unanswered_since") - minute)
    expect(page.get_by_role("heading", name="Pay another way")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("that money comes back by itself")
    photograph(page, "14-another-way", widths=WIDTHS)
    page.get_by_role("button", name="WeChat Pay").click()
    expect(page.get_by_role("img", name="WeChat Pay QR code for ¥129.00")).to_be_visible()
    assert Payment.objects.filter(superseded_at__isnull=False).count() == 1


# ---- two payments ------------------------------------------------------------------------------------------------


def test_second_payment_is_explained_until_it_is_back(open_page, photograph, sandbox):
    page = open_page()
    order_tea(page)
    earlier = begin_on_a_phone(Order.objects.get())
    Payment.objects.update(superseded_at=F("created_at"))
    page.reload()
    show_code(page)
    pay_by_wallet(page)
    expect_order(page)
    sandbox.pay(earlier.number)
    query_payment(earlier.number)
    page.reload()
    going = "You paid twice. The first payment stands; the second ¥129.00 is on its way back."
    expect(page.get_by_role("status")).to_have_text(going)
    card = page.locator("[data-part=returns]")
    expect(card).to_contain_text("Paid twice: the order needs one payment, and the first one stands.")
    expect(card).to_contain_text("On its way to your wallet")
    expect(page.locator(".story")).to_contain_text("Paid once more with WeChat Pay")
    photograph(page, "15-paid-twice", widths=WIDTHS)
    page.goto(page.url + "pay/")
    expect(page.get_by_role("status")).to_have_text(going)
    photograph(page, "16-paid-twice-pay-page", widths=WIDTHS)
    page.get_by_role("link", name="See your order").click()
    send_until_back()
    expect(page.get_by_role("status")).to_contain_text("the second ¥129.00 is back in your wallet.")
    expect(card).to_contain_text("Back in your wallet")
    photograph(page, "17-paid-twice-and-back", widths=WIDTHS)


def send_until_back() -> None:
    """What the refund's alarm does, without its pauses."""
    refund = Refund.objects.get()
    while refund.status == "REFUNDING":
        send_refund(refund)
        refund.refresh_from_db()
    assert refund.status == "REFUNDED"
