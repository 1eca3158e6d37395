"""The checkout form sent twice: one form is one order for good, and the same content twice is one order by mistake."""

import html
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event as Signal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, RequestFactory

from orders.access import SESSION_KEY
from orders.models import Order, Product
from orders.placing import Placed
from shop.checkout import pages
from shop.checkout.cart import read_cart
from shop.checkout.once import form_key
from shop.idempotency import claim_key
from shop.models import IdempotencyKey
from tests.checkout.conftest import fill_cart, form_of, own
from tests.factories import make_order
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
OWNER = "You placed the same order a moment ago"
STRANGER = "The same order was placed a moment ago"


def pay_page() -> str:
    """Of the only order there is."""
    return f"/orders/{Order.objects.get().number}/pay/"


def send(client: Client, form: dict[str, str]) -> Any:
    """Press the button in one more tab of the same browser, as one of several at once."""
    tab = Client()
    tab.cookies = client.cookies
    try:
        return tab.post("/checkout/", form)
    finally:
        connection.close()


def crash(*_: object) -> None:
    raise RuntimeError("the process ends here")


def place_and_crash(client: Client, monkeypatch: pytest.MonkeyPatch, form: dict[str, str]) -> None:
    """The order is placed, and the session never hears of it."""
    with monkeypatch.context() as patch:
        patch.setattr(pages, "keep_order", crash)
        with pytest.raises(RuntimeError):
            client.post("/checkout/", form)
    assert Order.objects.count() == 1
    assert SESSION_KEY not in client.session


# ---- one form ----------------------------------------------------------------------------------------------------


def test_same_form_sent_again_leads_to_the_same_order(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    first = shopper.post("/checkout/", form)
    fill_cart(shopper)
    again = shopper.post("/checkout/", form)
    assert first.url == again.url == pay_page()
    assert shopper.session["cart"] == {"tea": 1}


@whatever_redis_does
def test_form_sent_many_times_at_once_places_one_order(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: send(shopper, form), range(6)))
    assert {answer.headers.get("Location") for answer in answers} == {pay_page()}
    assert Product.objects.get().stock == 9
    assert read_cart(shopper.session).parts == []


def test_double_press_for_the_last_ones_leads_both_to_the_order(shopper, monkeypatch):
    """The first press ends between the second one's looks at its key and at the shelf."""
    fill_cart(shopper, stock=1)
    form = form_of(shopper)
    find_part = pages.find_part

    def be_overtaken(session: Any, currency: str) -> Any:
        monkeypatch.setattr(pages, "find_part", find_part)
        shopper.post("/checkout/", form)
        return find_part(session, currency)

    monkeypatch.setattr(pages, "find_part", be_overtaken)
    assert send(shopper, form).headers["Location"] == pay_page()


@whatever_redis_does
def test_form_sent_a_day_later_leads_to_its_order(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    Order.objects.update(created_at=F("created_at") - DAY)
    IdempotencyKey.objects.update(created_at=F("created_at") - DAY)
    fill_cart(shopper)
    assert shopper.post("/checkout/", form).url == pay_page()


def test_form_of_an_order_that_the_session_forgot_leads_to_it_and_is_remembered_again(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    own(shopper, make_order())  # and nothing else
    answer = shopper.post("/checkout/", form)
    assert shopper.get(answer.url).status_code == 200


def test_form_sent_again_after_a_crash_leads_to_the_order_that_was_placed(shopper, monkeypatch):
    fill_cart(shopper)
    form = form_of(shopper)
    place_and_crash(shopper, monkeypatch, form)
    answer = shopper.post("/checkout/", form)
    assert answer.url == pay_page()
    assert shopper.get(answer.url).status_code == 200
    assert shopper.session["cart"] == {}


def test_token_of_somebody_elses_form_gives_no_way_to_their_order(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    answer = Client().post("/checkout/", form)
    assert (answer.status_code, answer.url) == (302, "/cart/")


def test_token_of_somebody_elses_form_is_a_token_like_any_other_for_a_stranger_with_a_cart(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    stranger = Client()
    fill_cart(stranger)
    answer = stranger.post("/checkout/", form | {"name": "Bo Chen"})
    assert answer.url not in (None, f"/orders/{Order.objects.earliest('pk').number}/pay/")
    assert Order.objects.count() == 2


def test_session_that_is_gone_gives_no_way_to_the_order_of_its_form(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    shopper.session.delete()
    assert shopper.post("/checkout/", form).url == "/cart/"


@pytest.mark.parametrize("token", ["", "x", "x" * 300, "\x00" * 22, "é" * 22])
def test_form_with_a_token_that_is_not_ours_places_an_order_all_the_same(shopper, token):
    fill_cart(shopper)
    answer = shopper.post("/checkout/", form_of(shopper) | {"form_token": token})
    assert answer.url == pay_page()


def test_form_that_was_changed_after_it_had_become_an_order_is_told_so_and_orders_nothing(shopper):
    fill_cart(shopper)
    form = form_of(shopper)
    shopper.post("/checkout/", form)
    answer = shopper.post("/checkout/", form | {"address": "2 Garden Road"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Your order was placed before you changed the form" in page
    assert f'href="{pay_page()}"' in page


def test_form_whose_first_press_is_still_at_work_asks_for_a_moment(shopper):
    """The rival's transaction holds the key and does not end."""
    fill_cart(shopper)
    form = form_of(shopper)
    request = RequestFactory().post("/checkout/", form)
    request.session = shopper.session
    key = form_key(request)
    has_begun, may_end = Signal(), Signal()

    def hold() -> None:
        with transaction.atomic():
            claim_key(key, subject="N1", status=201)
            has_begun.set()
            may_end.wait(30)
            transaction.set_rollback(True)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        rival = pool.submit(hold)
        has_begun.wait(30)
        try:
            connection.cursor().execute("set lock_timeout = '200ms'")
            answer = shopper.post("/checkout/", form)
        finally:
            may_end.set()
            rival.result()
            connection.close()
    assert answer.status_code == 409
    assert answer["Retry-After"] == "1"
    assert "Please press once more in a few seconds" in answer.content.decode()
    assert form["form_token"] in answer.content.decode()
    assert shopper.post("/checkout/", form).url == pay_page()


def test_table_of_keys_does_not_hold_the_key_of_the_session(shopper):
    fill_cart(shopper)
    shopper.post("/checkout/", form_of(shopper))
    assert shopper.session.session_key not in IdempotencyKey.objects.get().scope


# ---- the cart ----------------------------------------------------------------------------------------------------


@whatever_redis_does
def test_two_checkouts_at_once_in_one_browser_keep_both_orders(shopper):
    fill_cart(shopper)
    fill_cart(shopper, sku="book", currency="USD")
    forms = [form_of(shopper, "CNY"), form_of(shopper, "USD")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda form: send(shopper, form), forms))
    assert [shopper.get(answer.headers["Location"]).status_code for answer in answers] == [200, 200]
    assert read_cart(shopper.session).parts == []


def test_what_is_put_into_the_cart_while_its_order_is_placed_stays_there(shopper, monkeypatch):
    fill_cart(shopper)
    form = form_of(shopper)
    place_once = pages.place_once

    def add_meanwhile(*args: object, **more: object) -> Placed:
        placed: Placed = place_once(*args, **more)
        fill_cart(shopper, 3)
        return placed

    monkeypatch.setattr(pages, "place_once", add_meanwhile)
    shopper.post("/checkout/", form)
    assert shopper.session["cart"] == {"tea": 3}


# ---- the same content by another form -----------------------------------------------------------------------------


def order_twice(first: Client, second: Client) -> tuple[str, Any]:
    """The same order by two forms. Returns the first one's pay page and the second answer."""
    fill_cart(first)
    address = first.post("/checkout/", form_of(first)).headers["Location"]
    fill_cart(second)
    return address, second.post("/checkout/", form_of(second))


@whatever_redis_does
def test_same_order_by_another_form_is_not_placed_and_its_owner_is_led_to_the_first(shopper):
    address, answer = order_twice(shopper, shopper)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert OWNER in page
    assert f'href="{address}"' in page
    assert Order.objects.get().number in page
    assert shopper.session["cart"] == {"tea": 1}
    assert Product.objects.get().stock == 9


@whatever_redis_does
def test_whoever_means_it_orders_the_same_again_by_the_second_button(shopper):
    _, answer = order_twice(shopper, shopper)
    form = form_in(answer)
    pages = {shopper.post("/checkout/", form).url for _ in range(2)}
    assert Order.objects.count() == 2
    assert pages == {f"/orders/{Order.objects.latest('pk').number}/pay/"}
    assert shopper.session["cart"] == {}


def form_in(answer: Any) -> dict[str, str]:
    """What the button "Order it again" of this page sends."""
    [form] = re.findall(r"<form(?:(?!<form).)*?Order it again</button>", answer.content.decode(), re.DOTALL)
    fields = re.findall(r'name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in fields}


def test_same_order_from_elsewhere_is_told_without_a_number_or_a_link(shopper):
    address, answer = order_twice(shopper, Client())
    page = answer.content.decode()
    assert answer.status_code == 409
    assert STRANGER in page
    assert OWNER not in page
    assert Order.objects.get().number not in page
    assert address not in page


def test_somebody_elsewhere_may_order_the_same_again_too(shopper):
    elsewhere = Client()
    _, answer = order_twice(shopper, elsewhere)
    assert elsewhere.post("/checkout/", form_in(answer)).status_code == 302
    assert Order.objects.count() == 2


def test_owner_whose_session_never_heard_of_the_order_is_led_to_it_by_the_form_that_placed_it(
    shopper, monkeypatch
):
    fill_cart(shopper)
    place_and_crash(shopper, monkeypatch, form_of(shopper))
    page = shopper.post("/checkout/", form_of(shopper)).content.decode()
    assert OWNER in page
    [way] = set(re.findall(r'href="(/orders/[^"]+)"', page))
    assert shopper.get(way, follow=True).status_code == 200
    assert Client().get(pay_page()).status_code == 404


@whatever_redis_does
def test_two_tabs_that_order_the_same_at_once_place_one_order_and_both_lead_to_it(shopper):
    fill_cart(shopper)
    forms = [form_of(shopper), form_of(shopper)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda form: send(shopper, form), forms))
    [told] = [answer for answer in answers if answer.headers.get("Location") != pay_page()]
    # The slower tab may also have found the cart empty already.
    assert told.headers.get("Location") == "/cart/" or f'href="{pay_page()}' in told.content.decode()


def test_another_address_is_another_order(shopper):
    fill_cart(shopper)
    shopper.post("/checkout/", form_of(shopper))
    fill_cart(shopper)
    assert shopper.post("/checkout/", form_of(shopper, address="2 Garden Road")).status_code == 302
    assert Order.objects.count() == 2


def test_pressing_the_usual_button_on_the_page_that_asks_is_no_choice(shopper):
    _, answer = order_twice(shopper, shopper)
    form = form_in(answer)
    del form["again"]
    assert shopper.post("/checkout/", form).status_code == 409
    assert Order.objects.count() == 1
