"""The order's link on the pages: who it opens, how it is made anew, and the way on for who has lost it."""

import re
from collections.abc import Callable

import pytest
from django.core import mail
from django.test import Client

from orders.access import renew_link, token_of
from orders.models import Order
from shop.alarms import handle_now
from shop.models import Alarm
from tests.checkout.actions import REDIRECT
from tests.checkout.conftest import ADDRESS, own
from tests.factories import ANNA, make_order, make_payment
from tests.orders.test_access import end_link

pytestmark = pytest.mark.django_db

MISSING = "N000000000000000"


def revoked(order: Order) -> str:
    token = token_of(order)
    renew_link(order.number)
    return token


def foreign(order: Order) -> str:
    return token_of(make_order())


LINKS: dict[str, tuple[Callable[[Order], str], bool]] = {
    "good": (token_of, True),
    "revoked": (revoked, False),
    "ended": (lambda order: token_of(end_link(order)), False),
    "foreign": (foreign, False),
    "none": (lambda order: "", False),
}


@pytest.mark.parametrize("path", ["", "pay/"])
@pytest.mark.parametrize("link", LINKS)
def test_link_opens_the_order_while_it_counts(shopper, link, path):
    make_token, opens = LINKS[link]
    order = make_order()
    answer = shopper.get(f"/orders/{order.number}/{path}", {"token": make_token(order)}, follow=True)
    assert answer.status_code == (200 if opens else 404)
    assert ("Send me the link" in answer.content.decode()) is not opens


@pytest.mark.parametrize("link", LINKS)
def test_link_lets_its_holder_act_while_it_counts(shopper, link):
    make_token, opens = LINKS[link]
    order = make_order()
    shopper.get(f"/orders/{order.number}/", {"token": make_token(order)})
    answer = shopper.post(f"/orders/{order.number}/cancel/")
    assert answer.status_code == (302 if opens else 404)
    order.refresh_from_db()
    assert order.status == ("CLOSED" if opens else "UNPAID")


@pytest.mark.parametrize("link", LINKS)
def test_token_lets_an_api_client_in_while_it_counts(client, link):
    make_token, opens = LINKS[link]
    order = make_order()
    bearer = {"Authorization": f"Bearer {make_token(order)}"}
    assert client.get(f"/api/v1/orders/{order.number}", headers=bearer).status_code == (200 if opens else 404)


# ---- the shopper makes a new one ---------------------------------------------------------------------------------


def test_shopper_finds_the_link_on_the_order_page(shopper, settings):
    order = make_order()
    page = shopper.get(own(shopper, order)).content.decode()
    assert f'value="{settings.PUBLIC_URL}/orders/{order.number}/?token={token_of(order)}"' in page


def test_who_placed_the_order_makes_a_new_link_and_keeps_the_order(shopper):
    order = make_order()
    path, old = own(shopper, order), token_of(order)
    page = shopper.post(f"{path}link/new/", follow=True).content.decode()
    assert "This order has a new link." in page
    assert old not in page
    assert token_of(Order.objects.get()) in page


def test_who_came_by_the_link_makes_a_new_one_and_keeps_the_order_while_others_lose_it(shopper):
    order = make_order()
    path, other = f"/orders/{order.number}/", Client(REMOTE_ADDR=ADDRESS)
    for browser in (shopper, other):
        browser.get(path, {"token": token_of(order)})
    assert shopper.post(f"{path}link/new/", follow=True).status_code == 200
    assert other.get(path).status_code == 404


def test_shopper_of_an_ended_link_is_told_so_and_can_make_a_new_one(shopper):
    order = end_link(make_order())
    page = shopper.get(own(shopper, order)).content.decode()
    assert "The link to this order ended on" in page
    assert token_of(order) not in page


def test_page_in_a_wallet_gives_no_link_that_has_ended(shopper):
    order = end_link(make_order())
    make_payment(order, scene="wap", action=REDIRECT)
    page = shopper.get(f"{own(shopper, order)}pay/").content.decode()
    assert token_of(order) not in page
    assert "open this page in another browser" not in page


def test_stranger_makes_no_link(shopper):
    order = make_order()
    assert shopper.post(f"/orders/{order.number}/link/new/").status_code == 404
    assert Order.objects.get().token_salt == order.token_salt


# ---- who has lost it ---------------------------------------------------------------------------------------------


def ask(client: Client, number: str, email: str = ANNA.email) -> tuple[int, str]:
    answer = client.post(f"/orders/{number}/link/", {"email": email})
    page = answer.content.decode().replace(number, "NUMBER").replace(email, "EMAIL")
    return answer.status_code, re.sub(r'"csrfmiddlewaretoken" value="\w+"', "", page)


def test_link_is_mailed_to_who_asks_with_the_orders_address(shopper):
    order = make_order()
    status, page = ask(shopper, order.number)
    assert (status, "the link is on its way" in page) == (202, True)
    handle_now("mail_link", order.number)
    [link] = re.findall(r"https?://\S+token=\S+", mail.outbox[0].body)
    assert shopper.get(link, follow=True).status_code == 200


def test_answer_is_the_same_whether_or_not_there_is_such_an_order_or_address(shopper):
    order = make_order()
    answers = {
        ask(shopper, order.number),
        ask(shopper, order.number),
        ask(shopper, order.number, "bo@example.com"),
        ask(shopper, MISSING),
    }
    assert len(answers) == 1
    assert Alarm.objects.filter(kind="mail_link").count() == 1


def test_address_that_is_none_is_asked_for_again(shopper):
    answers = {ask(shopper, number, "nonsense") for number in (make_order().number, MISSING)}
    [(status, page)] = answers
    assert status == 400
    assert "does not look like an email address" in page


def test_browser_that_takes_no_cookie_may_ask_too():
    order = make_order()
    careful = Client(enforce_csrf_checks=True)
    assert ask(careful, order.number)[0] == 202
    assert not careful.cookies.get("session")


def test_asking_by_get_leads_to_the_order(shopper):
    answer = shopper.get(f"/orders/{MISSING}/link/")
    assert (answer.status_code, answer.url) == (302, f"/orders/{MISSING}/")
