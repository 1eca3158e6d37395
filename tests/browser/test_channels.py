"""Every channel as a shopper pays by it on the PC and on the phone, in a real browser against the sandbox."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from playwright.sync_api import Page, expect

from orders.models import Order
from payments.models import Payment
from tests.browser.conftest import WIDTHS
from tests.browser.shopping import (
    PAY_PAGE,
    buy_one,
    expect_order,
    expect_paid,
    order_one,
    pay_by_wallet,
)
from tests.checkout.actions import ACTIONS
from tests.factories import make_payment
from tests.payments.channels.test_offers import ANDROID, IPHONE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_channel"),
]

SCHEMES = ("light", "dark")
PHONE = {"width": 390, "user_agent": IPHONE}
GOODS = {"CNY": "Longjing tea", "USD": "Pocket notebook", "BRL": "Hammock from Ceará"}
CODES = [("WeChat Pay", "WeChat"), ("Alipay", "Alipay"), ("UnionPay", "UnionPay")]
LAUNCHES = [("WeChat Pay", "WeChat", "CNY"), ("Alipay", "Alipay", "CNY"), ("UnionPay", "UnionPay", "CNY")]
LAUNCHES += [("PayPal", "PayPal", "USD"), ("PayPal", "PayPal", "BRL")]
launches = pytest.mark.parametrize(("title", "app", "currency"), LAUNCHES)


@pytest.fixture(autouse=True)
def _on_a_developers_machine(settings) -> None:
    """Whose own address is a shopper's too: WeChat's H5 needs to be told one."""
    settings.DEBUG = True


def choose(page: Page, title: str, currency: str = "CNY") -> None:
    order_one(page, GOODS[currency])
    page.get_by_role("button", name=title, exact=True).first.click()
    expect(page).to_have_url(PAY_PAGE)


def pay_and_come_back(wallet: Page) -> None:
    """What the shopper does on the channel's page."""
    wallet.get_by_role("button", name=re.compile("^(Pay|Agree|Approve)")).click()
    wallet.get_by_role("link", name="Back to the shop").click()


# ---- on the PC ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "app"), CODES)
def test_code_on_the_pc_is_scanned_and_paid(open_page, photograph, title, app):
    page = open_page()
    choose(page, title)
    expect(page.get_by_text(f"Open {app} and scan")).to_be_visible()
    photograph(page, f"20-code-{app}")
    pay_by_wallet(page)
    expect_paid(page)
    assert Payment.objects.get().scene == "qr"


@pytest.mark.parametrize("currency", ["USD", "BRL"])
def test_paypal_on_the_pc_opens_beside_the_shop_which_stays_and_sees_it(open_page, photograph, currency):
    page = open_page()
    choose(page, "PayPal", currency)
    photograph(page, "21-paypal")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open PayPal").click()
    expect(page).to_have_url(PAY_PAGE)
    pay_and_come_back(popup.value)
    expect_order(popup.value)
    expect_paid(page)
    assert Payment.objects.get().scene == "page"


@pytest.mark.parametrize("phone", [{}, PHONE], ids=["pc", "phone"])
def test_boleto_asks_who_pays_and_shows_a_voucher_that_is_found_when_it_is_paid(
    open_page, photograph, every_channel, phone
):
    page = open_page(**phone)
    buy_one(page, GOODS["BRL"])
    page.get_by_role("link", name="Boleto").click()
    tell_payer(page, tax_id="111.222.333-44")
    expect(page.get_by_role("group", name="Please look at these again.")).to_contain_text(
        "Nothing was started yet."
    )
    expect(page.get_by_label("CPF or CNPJ")).to_have_attribute("aria-invalid", "true")
    photograph(page, "22-payer-wrong")
    page.get_by_label("CPF or CNPJ").fill("529.982.247-25")
    page.get_by_role("button", name="Go on with Boleto").click()
    expect(page.get_by_role("status")).to_contain_text("Waiting for your boleto to be paid.")
    expect(page.get_by_role("img", name="Bar code of the boleto")).to_be_visible()
    photograph(page, "23-voucher")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the number").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    payment = Payment.objects.get()
    line = re.sub(r"\D", "", payment.action["digitable_line"])
    assert page.evaluate("navigator.clipboard.readText()") == line
    every_channel.pay(payment.number, channel="boleto")
    expect_paid(page)


def tell_payer(page: Page, *, tax_id: str) -> None:
    page.get_by_label("CPF or CNPJ").fill(tax_id)
    page.get_by_label("Street and number").fill("Rua A 1")
    page.get_by_label("City").fill("Fortaleza")
    page.get_by_label("State").select_option("CE")
    page.get_by_label("Postal code").fill("60000-000")
    page.get_by_role("button", name="Go on with Boleto").click()


def test_boleto_that_waits_gives_way_to_paypal_and_the_pages_ask_not_to_pay_it(open_page, photograph):
    page = open_page()
    order_one(page, GOODS["BRL"])
    page.get_by_role("link", name="Boleto").click()
    tell_payer(page, tax_id="529.982.247-25")
    still_held = page.get_by_text("You still hold a boleto for this order.")
    expect(still_held).to_be_hidden()
    page.get_by_role("link", name="Pay another way").click()
    expect(still_held).to_contain_text("Do not pay it if you pay another way: throw it away.")
    photograph(page, "29-choice-beside-a-boleto", widths=WIDTHS)
    page.get_by_role("button", name="PayPal").click()
    expect(still_held).to_be_visible()
    photograph(page, "30-paypal-beside-a-boleto", widths=WIDTHS)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open PayPal").click()
    pay_and_come_back(popup.value)
    expect_order(page)
    expect(still_held).to_contain_text("Do not pay it: throw it away.")
    photograph(page, "31-order-beside-a-boleto", widths=WIDTHS)
    page.goto(f"{page.url}pay/")
    expect(still_held).to_contain_text("Do not pay it: throw it away.")
    photograph(page, "32-paid-beside-a-boleto", widths=WIDTHS)
    assert [payment.status for payment in Payment.objects.order_by("pk")] == ["PAYING", "PAID"]


# ---- on the phone ------------------------------------------------------------------------------------------------


@launches
def test_wallet_opens_on_the_phone_and_leads_back_to_the_paid_order(
    open_page, photograph, title, app, currency
):
    page = open_page(**PHONE)
    choose(page, title, currency)
    photograph(page, f"24-launch-{app}")
    launch(page, app)
    pay_and_come_back(page)
    expect_order(page)
    assert Payment.objects.get().scene == "wap"


@launches
def test_wallet_opens_on_the_phone_without_javascript(open_page, title, app, currency):
    page = open_page(**PHONE, javascript=False)
    choose(page, title, currency)
    launch(page, app)
    pay_and_come_back(page)
    expect_order(page)


def launch(page: Page, app: str) -> None:
    """The one big button. Its page is the wallet's, in the same tab."""
    page.locator(".launch").get_by_text(f"Open {app}").click()
    expect(page.get_by_role("button", name="Decline")).to_be_visible()


@pytest.mark.parametrize(("title", "app"), CODES)
def test_wallet_that_was_left_unpaid_unfolds_the_other_ways_and_a_second_phone_pays(
    open_page, photograph, title, app
):
    page = open_page(**PHONE)
    choose(page, title)
    expect(page.get_by_role("button", name="Pay with another phone")).to_be_hidden()
    launch(page, app)
    page.go_back()
    expect(page.get_by_role("button", name="Pay with another phone")).to_be_visible()
    photograph(page, f"25-not-opened-{app}")
    page.get_by_role("button", name="Pay with another phone").click()
    expect(page.get_by_text(f"Open {app} on the other phone and scan")).to_be_visible()
    photograph(page, f"26-other-phone-{app}")
    pay_by_wallet(page)
    expect_paid(page)


def test_wallet_that_does_not_open_unfolds_the_other_ways_after_some_seconds(open_page):
    page = open_page(**PHONE)
    choose(page, "Alipay")
    page.route(
        "**/gateway.do*", lambda route: route.fulfill(status=204)
    )  # as an address that nobody answers to
    page.get_by_role("link", name="Open Alipay").click()
    expect(page.get_by_role("link", name="Choose another way to pay")).to_be_visible()
    page.unroute("**/gateway.do*")
    page.get_by_role("link", name="Try again").click()
    pay_and_come_back(page)
    expect_order(page)


def test_other_ways_can_be_unfolded_without_javascript(open_page):
    page = open_page(**PHONE, javascript=False)
    choose(page, "Alipay")
    page.get_by_text("Did Alipay not open?").click()
    page.get_by_role("button", name="Pay with another phone").click()
    expect(page.get_by_text("Open Alipay on the other phone and scan")).to_be_visible()


@pytest.mark.parametrize(
    ("title", "app", "currency"), [("Alipay", "Alipay", "CNY"), ("PayPal", "PayPal", "USD")]
)
def test_wallet_that_was_declined_leads_back_to_the_pay_page(open_page, title, app, currency):
    page = open_page(**PHONE)
    choose(page, title, currency)
    launch(page, app)
    page.get_by_role("button", name="Decline").click()
    page.get_by_role("link", name="Back to the shop").click()
    expect(page).to_have_url(PAY_PAGE)
    expect(page.locator(".launch").get_by_text(f"Open {app}")).to_be_visible()


def test_shop_is_named_to_wechat_and_the_order_is_not(open_page, live_server):
    """WeChat's page opens for whom it knows by the Referer only."""
    page = open_page(**PHONE)
    choose(page, "WeChat Pay")
    with page.expect_request(lambda request: not request.url.startswith(live_server.url)) as arrived:
        page.get_by_role("link", name="Open WeChat").click()
    assert arrived.value.all_headers()["referer"] == f"{live_server.url}/"


def test_return_by_a_form_from_another_site_finds_its_shopper(open_page):
    """As UnionPay's page does it: the session's cookie stays away from that POST."""
    page = open_page(**PHONE)
    choose(page, "UnionPay")
    order = Order.objects.get()
    back = f'<form method="post" action="{settings.PUBLIC_URL}/orders/{order.number}/"><input name="orderId"><button>Back</button></form>'
    page.route("https://cashier.example/", lambda route: route.fulfill(body=back, content_type="text/html"))
    page.goto("https://cashier.example/")
    page.get_by_role("button", name="Back").click()
    expect(page).to_have_url(PAY_PAGE)
    expect(page.get_by_role("status")).to_have_text("Waiting for you to pay with UnionPay")


def test_page_that_was_open_before_unionpays_form_came_may_send_it(open_page):
    page = open_page(**PHONE)
    order_one(page, GOODS["CNY"])
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="UnionPay").first.click()
    expect(page.locator(".launch")).to_be_visible()
    launch(page, "UnionPay")


def test_in_wechat_the_page_names_what_works_and_its_link_opens_elsewhere(open_page, photograph):
    page = open_page(width=390, user_agent=f"{ANDROID} MicroMessenger/8.0.49")
    order_one(page, GOODS["CNY"])
    photograph(page, "27-in-wechat")
    expect(page.get_by_role("button", name="UnionPay").first).to_be_visible()
    expect(page.get_by_role("button", name="WeChat Pay")).to_be_hidden()
    elsewhere = open_page(**PHONE)
    elsewhere.goto(page.get_by_label("The link to this page").input_value())
    expect(elsewhere).to_have_url(PAY_PAGE)
    expect(elsewhere.get_by_role("button", name="WeChat Pay").first).to_be_visible()


def test_typed_payer_stays_while_the_page_is_kept_true(open_page):
    page = open_page()
    order_one(page, GOODS["BRL"])
    page.get_by_role("link", name="Boleto").click()
    page.get_by_label("City").fill("Fortaleza")
    page.get_by_label("State").select_option("CE")
    action = {"type": "redirect", "url": "https://pay.example/"}
    make_payment(Order.objects.get(), channel="paypal", scene="page", action=action)
    long_ago = Now() - timedelta(seconds=settings.CONFIRMING_LIMIT_S + 1)
    Payment.objects.update(is_unsure=True, close_unanswered_since=long_ago)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("[name=supersede]")).to_be_attached()
    expect(page.get_by_label("City")).to_have_value("Fortaleza")
    expect(page.get_by_label("State")).to_have_value("CE")


def test_page_of_every_action_fits_a_window_of_320(open_page, photograph):
    page = open_page(width=320, user_agent=IPHONE)
    order_one(page, GOODS["BRL"])
    page.get_by_role("link", name="Boleto").click()
    page.get_by_role("button", name="Go on with Boleto").click()
    photograph(page, "28-payer", schemes=SCHEMES)
    order = Order.objects.get()
    for kind, action in ACTIONS.items():
        order.payments.update(superseded_at=order.created_at)
        make_payment(order, channel="boleto" if kind == "voucher" else "paypal", action=action)
        page.goto(f"/orders/{order.number}/pay/")
        if kind == "redirect":
            page.get_by_text("Did PayPal not open?").click()
        photograph(page, f"28-{kind}", schemes=SCHEMES)
