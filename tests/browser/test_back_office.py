"""The three groups of the back office at their main jobs, in a real browser."""

import os
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Locator, Page, expect

from orders.models import Order
from payments.applying import apply_for_payment
from payments.cases import open_case
from payments.evidence import propose_settlement
from payments.models import Callback, Case, Payment, Proposal, Refund
from payments.querying import query_payment
from payments.refunding import ask_refund
from tests.browser.conftest import WIDTHS, height_of
from tests.factories import make_order

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WHY = "She wrote that the box was open."


@pytest.fixture
def payment(sandbox) -> Payment:
    """Tea for ¥129.00, paid at the sandbox, whose message was lost."""
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    return payment


@pytest.fixture
def log_in(open_page):
    """Opens the back office as somebody of the group."""

    def enter(group: str) -> Page:
        user = User.objects.create_user(group.lower(), password="let me in", is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        page: Page = open_page()
        page.goto("/admin/")
        page.get_by_label("Username").fill(group.lower())
        page.get_by_label("Password").fill("let me in")
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#user-tools")).to_contain_text(group.lower())
        return page

    return enter


@pytest.fixture
def photograph():
    """Sees to it that no page scrolls sideways; a wide table does, in its own box. Keeps pictures as the shop's does."""

    def take(page: Page, name: str) -> None:
        usual = page.viewport_size
        assert usual
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": height_of(width)})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
            if folder := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
        page.set_viewport_size(usual)

    return take


def find_order(page: Page, order: Order, *, by: str) -> None:
    page.goto("/admin/orders/order/")
    page.locator("#searchbar").fill(by)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=order.number, exact=True).click()
    expect(page).to_have_url(re.compile(rf"/admin/orders/order/{order.pk}/change/"))


def press(page: Page, button: str) -> None:
    """Of the buttons of this page the first of this name."""
    page.get_by_role("link", name=button, exact=True).first.click()


def confirm(page: Page, button: str, *, reason: str | None = WHY, amount: str = "") -> None:
    """Fill in the page that asks, and do it."""
    if amount:
        page.get_by_label("Amount").fill(amount)
    if reason is not None:
        page.get_by_label(re.compile("Reason|How it was resolved")).fill(reason)
    page.get_by_role("button", name=button, exact=True).click()


def told(page: Page) -> Locator:
    """What the next page says came of it."""
    return page.locator("ul.messagelist")


def page_of(row: Payment | Refund | Callback | Case | Proposal) -> str:
    return f"/admin/payments/{row._meta.model_name}/{row.pk}/change/"


def test_support_asks_the_channel_refunds_a_part_and_sees_to_a_case(log_in, photograph, payment):
    page = log_in("Support")
    find_order(page, payment.order, by="Anna@example.com")
    press(page, "Ask the channel now")
    confirm(page, "Ask the channel now", reason=None)
    expect(told(page)).to_contain_text("was asked: the payment is PAID")
    press(page, "Refund")
    expect(page.get_by_text("¥129.00 may still be given back")).to_be_visible()
    photograph(page, "deeds-refund")
    confirm(page, "Refund", amount="200")
    expect(page.get_by_text("¥200.00 is more than what may still be given back")).to_be_visible()
    photograph(page, "deeds-refund-refused")
    confirm(page, "Refund", amount="29.00")
    expect(told(page)).to_contain_text("¥29.00 is on its way back")
    assert Refund.objects.get().amount == 2900

    open_case(Case.Kind.MAIL, payment.order.number, order=payment.order, evidence={"code": "550"})
    case = Case.objects.get()
    page.goto(page_of(case))
    photograph(page, "deeds-case")
    press(page, "Take")
    confirm(page, "Take", reason=None)
    expect(told(page)).to_contain_text("is yours.")
    page.goto(page_of(case))
    press(page, "Resolve")
    confirm(page, "Resolve", reason="Called her: she has a new address.")
    expect(told(page)).to_contain_text("is resolved.")


def test_finance_approves_what_support_asked_for_and_sees_messages_as_they_came(
    log_in, photograph, sandbox, payment, settings
):
    settings.REFUND_APPROVAL_ABOVE = 0
    sandbox.set_faults({})
    sandbox.notify(payment.number)  # this time it arrives
    refund = ask_refund(payment.number, amount=9900, reason="broken", actor="sue")
    open_one = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    proposal = propose_settlement(
        open_one.number, evidence="word", source="The bank's hotline", channel_number="4200001", amount=12900,
        currency="CNY", paid_at=open_one.created_at, reason="They read it out.", actor="sue",
    )  # fmt: skip

    page = log_in("Finance")
    page.goto(page_of(refund))
    photograph(page, "deeds-refund-page")
    press(page, "Approve")
    expect(page.get_by_text("sue asked for it: broken")).to_be_visible()
    confirm(page, "Approve")
    expect(told(page)).to_contain_text("is REFUNDING")
    page.goto(page_of(Callback.objects.get()))
    expect(page.get_by_text('"event_type": "TRANSACTION.SUCCESS"')).to_be_visible()
    photograph(page, "deeds-callback")
    page.goto(page_of(proposal))
    photograph(page, "deeds-proposal")
    press(page, "Approve: settle it")
    confirm(page, "Approve: settle it")
    expect(told(page)).to_contain_text("is approved")
    open_one.refresh_from_db()
    assert open_one.status == "PAID"


def test_viewer_sees_everything_and_is_offered_nothing(log_in, photograph, payment):
    query_payment(payment.number)
    open_case(Case.Kind.MAIL, payment.order.number, order=payment.order, evidence={})
    page = log_in("Viewer")
    find_order(page, payment.order, by=payment.number.lower())
    expect(page.locator("ul.deeds")).to_have_count(0)
    for row in (payment, Case.objects.get()):
        page.goto(page_of(row))
        expect(page.locator(".readonly").first).to_be_visible()
        expect(page.locator("ul.deeds")).to_have_count(0)
        photograph(page, f"deeds-viewer-{row._meta.model_name}")
    page.goto(f"/admin/deeds/cancel_order/orders.order/{payment.order.pk}/")
    expect(page.get_by_text("it needs the permission “Can cancel an unpaid order”")).to_be_visible()
    photograph(page, "deeds-forbidden")
