"""The shop without a mouse, without good eyes, without motion: the same order, the same truth.

What axe can see is in the gallery; here is what it cannot.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from payments.models import Payment
from tests.browser.shopping import PAY_PAGE, expect_order, expect_paid, order_tea, pay_by_wallet, show_code

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

FOCUS = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
  return {
    name: (one.getAttribute("aria-label") ?? one.labels?.[0]?.innerText ?? one.innerText ?? "").trim(),
    isShown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isSeen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
    isLost: one === document.body,
  };
}"""
LISTEN = """() => {
  const heard = [];
  const line = document.querySelector("[role=status]"), read = () => line.querySelector("p").textContent.trim();
  let last = read();
  new MutationObserver(() => {
    if (read() === last) return;
    heard.push((last = read()));
    sessionStorage.heard = JSON.stringify(heard); // the page goes on to the order
  }).observe(line, { childList: true, subtree: true, characterData: true });
}"""
MOVING = """() => [...document.querySelectorAll("*")].flatMap((each) => [null, "::before", "::after"].flatMap((part) => {
  const style = getComputedStyle(each, part), times = `${style.transitionDuration}, ${style.animationDuration}`;
  return times.split(", ").some((time) => parseFloat(time) > 0.001) ? [`${each.outerHTML.slice(0, 60)} ${times}`] : [];
}))"""
COLOURS = """(selector) => {
  const { color, backgroundColor } = getComputedStyle(document.querySelector(selector));
  return { color, backgroundColor };
}"""


def press_on(page: Page, name: str, key: str = "Enter") -> None:
    """Walk to it and press; it leads to another page."""
    walk_to(page, name)
    with page.expect_navigation():
        page.keyboard.press(key)


def walk_to(page: Page, name: str) -> None:
    """By the Tab key, seeing at each step where the focus is."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus["isLost"]:  # the end of the page: the browser's own bar, and then from the top again
            continue
        assert focus["isShown"], f"the focus on {focus['name']!r} has no outline"
        assert focus["isSeen"], f"the focus on {focus['name']!r} is out of sight"
        if focus["name"].startswith(name):
            return
    raise AssertionError(f"{name} cannot be reached by the keyboard")


def test_keyboard_alone_buys_and_sees_that_it_is_paid(open_page: Callable[..., Page], sandbox):
    page = open_page()
    page.goto("/")
    press_on(page, "Add Longjing tea to the cart")
    press_on(page, "Check out")
    for label, value in (
        ("Name", "Anna Lin"),
        ("Email", "anna@example.com"),
        ("Phone", "13800000000"),
        ("Address", "1 Garden Road"),
    ):
        walk_to(page, label)
        page.keyboard.type(value)
    press_on(page, "Place the order")
    expect(page).to_have_url(PAY_PAGE)
    press_on(page, "WeChat Pay", key="Space")
    expect(page.get_by_role("status")).to_have_text("Waiting for you to scan")
    sandbox.pay(Payment.objects.get().number)
    expect_order(page)


def test_focus_stays_on_the_page_when_the_payment_is_found(open_page, sandbox):
    page = open_page()
    order_tea(page)
    show_code(page)
    page.get_by_role("button", name="I have paid").focus()
    sandbox.pay(Payment.objects.get().number)
    expect_paid(page)
    assert not page.evaluate(FOCUS)["isLost"]


def test_change_of_the_status_is_announced_once(open_page):
    page = open_page()
    order_tea(page)
    show_code(page)
    expect(page.get_by_role("status")).to_have_attribute("aria-live", "polite")
    page.evaluate(LISTEN)
    pay_by_wallet(page)
    expect_order(page)
    assert page.evaluate("JSON.parse(sessionStorage.heard)") == ["Paid. Thank you."]


def test_nothing_moves_for_who_asks_for_no_motion(open_page):
    page = open_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    assert page.evaluate(MOVING) == []
    order_tea(page)
    assert page.evaluate(MOVING) == []
    show_code(page)
    assert page.evaluate(MOVING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours_keep_the_code_readable_and_the_status_in_sight(open_page, scheme):
    page = open_page()
    page.emulate_media(forced_colors="active", color_scheme=scheme)
    order_tea(page)
    show_code(page)
    code = page.evaluate(COLOURS, ".code")
    assert code["backgroundColor"] == "rgb(255, 255, 255)"
    ground = page.evaluate(COLOURS, "body")["backgroundColor"]
    for sign in ("[role=status] p", "[role=status] svg"):
        assert page.evaluate(COLOURS, sign)["color"] != ground
        expect(page.locator(sign).first).to_be_visible()


def test_code_is_told_in_words_and_its_picture_is_one_thing(open_page):
    page = open_page()
    order_tea(page)
    show_code(page)
    code = page.get_by_role("img", name="WeChat Pay QR code for ¥129.00")
    assert code.count() == 1
    assert "Open WeChat and scan" in page.inner_text("main")
