"""An open page that keeps itself true: by push, else by long poll, else by asking, else by words and a button."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from orders.access import token_of
from orders.models import Order
from orders.statuses import CloseReason
from payments.cached import renew_state
from payments.channels.base import Outcome
from payments.models import Payment
from payments.settling import settle_payment
from shop.alarms import handle_now
from shop.checkout import push
from shop.models import Source
from tests.asgi_server import AsgiServer
from tests.asgi_server import asgi_server as asgi_server
from tests.browser.conftest import WIDTHS
from tests.checkout.situations import close
from tests.factories import make_order, make_payment, report

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SOCKETS = re.compile(r"/ws/orders/")
# Longer than push takes on any machine, shorter than every other way that would find it.
SOON_MS = 10_000


@pytest.fixture(autouse=True)
def _nobody_looks_unless_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that would look by itself every few seconds could pass for one that was told."""
    monkeypatch.setattr(push, "LOOK_S", 3600.0)


@pytest.fixture
def order() -> Order:
    return make_order()


@pytest.fixture
def visit(open_page, asgi_server, order) -> Callable[..., Page]:
    """The pay page of the order, or another page of it, at the server that speaks WebSocket."""

    def visit_page(
        path: str = "pay/", *, width: int = 1280, before: Callable[[Page], Any] | None = None
    ) -> Page:
        page = open_page(width=width)
        if before:
            before(page)
        page.goto(f"{asgi_server.url}/orders/{order.number}/{path}?token={token_of(order)}")
        return page

    return visit_page


def settle(payment: Payment) -> None:
    settle_payment(report(payment), channel=payment.channel, source=Source.CALLBACK)
    handle_now("follow_up", payment.order.number)


def expect_line(page: Page, words: str, within_ms: int = 20_000) -> None:
    expect(page.get_by_role("status")).to_have_text(words, timeout=within_ms)


def block_sockets(page: Page) -> None:
    def close(socket: WebSocketRoute) -> None:
        socket.close(code=1008)

    page.route_web_socket(SOCKETS, close)


def block_status(page: Page, only: str = "") -> list[str]:
    """Questions for the status, all or those with `only` in their address, are lost. Returns the addresses, as they come."""
    asked: list[str] = []

    def lose(route: Route) -> None:
        asked.append(route.request.url)
        route.abort() if only in route.request.url else route.continue_()

    page.route("**/status?*", lose)
    return asked


def test_push_tells_while_no_question_gets_through(visit, order):
    payment = make_payment(order)
    asked: list[str] = []
    page = visit(before=lambda page: asked.extend(block_status(page)))
    expect_line(page, "Waiting for you to scan")
    settle(payment)
    expect_line(page, "Paid. Thank you.", SOON_MS)
    expect(page).to_have_title(re.compile("^✓ Paid"))
    assert asked == []
    expect(page).to_have_url(re.compile(rf"/orders/{order.number}/$"))


def test_surplus_shows_on_the_page_of_an_order_that_is_long_paid(visit, order):
    first = make_payment(order)
    Payment.objects.update(superseded_at=order.created_at)
    settle(make_payment(order, scene="wap"))
    page = visit("")
    expect_line(page, "Paid. Thank you.")
    with page.expect_websocket(lambda socket: bool(SOCKETS.search(socket.url))) as opened:
        page.reload()
    opened.value.wait_for_event("framereceived")
    settle(first)
    expect(page.get_by_role("status")).to_contain_text("You paid twice", timeout=SOON_MS)


@pytest.mark.parametrize("width", WIDTHS)
def test_without_sockets_it_waits_for_long_answers(visit, order, width):
    payment = make_payment(order)
    asked: list[str] = []

    def block(page: Page) -> None:
        block_sockets(page)
        page.on("request", lambda request: asked.append(request.url))

    page = visit(width=width, before=block)
    while not any("wait=20" in url for url in asked):
        page.wait_for_timeout(50)
    settle(payment)
    expect_line(page, "Paid. Thank you.", SOON_MS)


def test_without_long_answers_it_asks_now_and_then(visit, order):
    payment = make_payment(order)

    def block(page: Page) -> None:
        block_sockets(page)
        block_status(page, only="wait=20")

    page = visit(before=block)
    with page.expect_response(re.compile("wait=0")):
        pass
    expect(page.get_by_role("alert")).to_have_count(0)
    settle(payment)
    expect_line(page, "Paid. Thank you.")


def test_answer_that_never_comes_does_not_end_the_looking(visit, order):
    payment = make_payment(order)
    page = visit()
    expect_line(page, "Waiting for you to scan")
    held: list[Route] = []
    page.route("**/pay/", lambda route: held.append(route), times=1)
    settle(payment)
    while not held:
        page.wait_for_timeout(50)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect_line(page, "Paid. Thank you.", SOON_MS)


def test_press_that_gets_no_answer_can_be_repeated(visit, order):
    make_payment(order)
    page = visit(before=lambda page: page.clock.install())
    held: list[Route] = []
    page.route("**/check/", lambda route: held.append(route), times=1)
    page.get_by_role("button", name="I have paid").click()
    expect(page.get_by_role("button", name="Asking…")).to_be_visible()
    page.clock.fast_forward(16_000)
    expect(page.get_by_role("button", name="I have paid")).to_be_enabled()


def test_shop_that_restarts_is_missed_in_honest_words_and_found_again(visit, order, asgi_server: AsgiServer):
    payment = make_payment(order)
    page = visit()
    expect_line(page, "Waiting for you to scan")
    asgi_server.stop()
    expect(page.get_by_role("alert")).to_contain_text(
        "We cannot reach the shop at the moment. Your payment is safe"
    )
    page.get_by_role("link", name="Look again").click()  # keeps the page, and its code
    expect(page.get_by_role("alert")).to_be_visible()
    settle(payment)
    asgi_server.start()
    page.get_by_role("link", name="Look again").click()
    expect_line(page, "Paid. Thank you.", SOON_MS)
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("width", WIDTHS)
def test_server_that_restarts_while_a_page_waits_is_found_again_by_itself(
    visit, order, asgi_server: AsgiServer, width
):
    payment = make_payment(order)
    page = visit(width=width)
    expect_line(page, "Waiting for you to scan")
    asgi_server.stop()
    settle(payment)
    asgi_server.start()
    expect_line(page, "Paid. Thank you.")


def test_device_that_has_slept_comes_again_at_once(visit, order):
    page = visit(before=lambda page: page.clock.install())
    expect(page.get_by_role("status")).to_be_visible()
    with page.expect_websocket(), page.expect_response(re.compile(r"/pay/$")):
        page.clock.fast_forward("02:00:00")


def test_socket_that_has_gone_deaf_is_opened_anew(visit, order):
    opened: list[WebSocketRoute] = []

    def speak_once(socket: WebSocketRoute) -> None:
        opened.append(socket)
        socket.send('{"version": 1}')

    page = visit(before=lambda page: (page.clock.install(), page.route_web_socket(SOCKETS, speak_once)))
    expect(page.get_by_role("status")).to_be_visible()
    page.clock.run_for(1000)
    assert len(opened) == 1
    for _ in range(12):
        page.clock.run_for(5000)
    assert len(opened) == 2


def test_page_with_a_place_in_its_address_is_loaded_again_when_its_language_was_switched_elsewhere(
    visit, order
):
    payment = make_payment(order)
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # to the content
    expect(page).to_have_url(re.compile("#main$"))
    page.context.add_cookies([{"name": "language", "value": "zh-hans", "url": page.url}])
    settle(payment)
    expect_line(page, "已付款，谢谢。", SOON_MS)


def test_page_with_a_place_in_its_address_whose_session_is_lost_leads_on_and_asks_no_more(visit, order):
    make_payment(order)
    asked: list[str] = []

    def count(page: Page) -> None:
        block_sockets(page)
        page.on("request", lambda request: asked.append(request.url) if "/status?" in request.url else None)

    page = visit(before=count)
    page.evaluate("location.hash = 'main'")
    while not any("wait=20" in url for url in asked):
        page.wait_for_timeout(50)
    page.context.clear_cookies()
    Order.objects.update(version=order.version + 5)  # there is news, so the question is answered
    renew_state(order.number)
    expect(page.get_by_role("heading", name="This browser does not know this order")).to_be_visible()
    assert len(asked) < 6


@pytest.mark.parametrize("blocked", ["sockets", "sockets and long answers"])
def test_what_comes_after_a_cancelled_order_shows_without_sockets_too(visit, order, blocked):
    payment = make_payment(order)
    close(order, CloseReason.CANCELLED)

    def block(page: Page) -> None:
        page.clock.install()
        block_sockets(page)
        if blocked != "sockets":
            block_status(page, only="wait=20")

    page = visit("", before=block)
    expect_line(page, "This order is cancelled. If a payment still arrives, the money comes back.")
    settle(payment)
    for _ in range(12):
        page.clock.run_for(5000)
    expect(page.get_by_role("status")).to_contain_text("Your money came after the order closed.")


def test_note_about_what_was_so_goes_when_it_is_so_no_more(visit, order):
    payment = make_payment(order)
    page = visit("")
    messages = "p.note[role=status]"
    page.get_by_text("Your link to this order").click()
    page.get_by_role("button", name="Make a new link").click()
    expect(page.locator(messages)).to_contain_text("This order has a new link.")
    settle(payment)
    expect(page.get_by_text("Paid. Thank you.")).to_be_visible(timeout=SOON_MS)
    expect(page.locator(messages)).to_have_count(0)


def test_page_whose_time_runs_out_says_so_in_that_moment(visit, order):
    make_payment(order)
    page = visit()
    expect_line(page, "Waiting for you to scan")
    Order.objects.update(expires_at=Now() + timedelta(seconds=3))
    Payment.objects.update(expires_at=Now() + timedelta(seconds=3))
    page.reload()
    expect_line(page, "The time to pay is over. We are asking WeChat once more whether you paid.", 8000)
    expect(page.get_by_role("img", name=re.compile("QR code"))).to_have_count(0)


def test_keyboard_stays_where_it_was_when_there_is_nothing_to_press_any_more(visit, order):
    away = {"type": "redirect", "url": "https://wallet.example/"}
    payment = make_payment(order, scene="wap", action=away)
    page = visit()
    page.get_by_role("link", name="Open WeChat").focus()
    settle(payment)
    expect_line(page, "Paid. Thank you.", SOON_MS)
    assert page.evaluate("document.activeElement.closest('main') !== null")


# ---- "I have paid" -------------------------------------------------------------------------------------------------


def test_check_is_asked_in_place_and_its_words_stand_at_the_status(visit, order):
    make_payment(order)
    page = visit()
    held: list[Route] = []
    page.route("**/check/", lambda route: held.append(route))
    page.evaluate("window.isTheSame = true")
    button = page.get_by_role("button", name="I have paid")
    button.click()
    asking = page.get_by_role("button", name="Asking…")
    expect(asking).to_have_attribute("aria-disabled", "true")
    asking.click(force=True)
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    expect(page.get_by_role("status")).to_contain_text("Waiting for you to scan")
    expect(page.get_by_role("status")).to_contain_text("No payment is reported yet by WeChat")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    assert page.evaluate("window.isTheSame")
    assert len(held) == 1


def test_check_that_does_not_reach_the_shop_says_so(visit, order):
    make_payment(order)
    page = visit()
    page.route("**/check/", lambda route: route.abort())
    page.get_by_role("button", name="I have paid").click()
    expect(page.get_by_role("alert")).to_contain_text("We cannot reach the shop")


def test_refusal_is_told_by_the_socket_at_once(visit, order):
    payment = make_payment(order)
    page = visit()
    expect_line(page, "Waiting for you to scan")
    settle_payment(report(payment, Outcome.REFUSED), channel="wechat", source=Source.QUERY)
    expect(page.get_by_role("status")).not_to_contain_text("Waiting for you to scan", timeout=SOON_MS)


def test_press_in_vain_is_answered_although_the_socket_speaks(visit, order):
    make_payment(order)
    sockets: list[WebSocketRoute] = []
    page = visit(before=lambda page: page.route_web_socket(SOCKETS, lambda socket: sockets.append(socket)))
    page.route("**/check/", lambda route: route.abort())
    page.get_by_role("button", name="I have paid").click()
    expect(page.get_by_role("alert")).to_contain_text("We cannot reach the shop")
    sockets[0].send('{"version": 0}')
    page.wait_for_timeout(200)  # for it to be heard
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_who_comes_back_from_a_wallet_is_asked_for_at_once_and_once(visit, order, asgi_server: AsgiServer):
    away = {"type": "redirect", "url": f"{asgi_server.url}/healthz"}
    make_payment(order, scene="wap", action=away)
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/check/") else None)
    page.evaluate("document.querySelector('a[data-launch]').removeAttribute('target')")
    page.get_by_role("link", name="Open WeChat").click()
    page.wait_for_url("**/healthz")
    with page.expect_response("**/check/"):
        page.go_back()
    expect(page.get_by_role("status")).to_be_visible()
    with page.expect_response(re.compile(r"/pay/$")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert len(asked) == 1
