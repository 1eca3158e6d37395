"""Back from a channel's page: its address proves nothing, so the channel is asked, once, and the right page shows it."""

import pytest
from django.test import Client

from orders.access import OPENED_KEY, SESSION_KEY, token_of
from payments.errors import AskedTooOften
from payments.moves import mark_unsure
from payments.showing import Situation
from shop.checkout import paying
from tests.checkout.actions import REDIRECT
from tests.checkout.conftest import own
from tests.checkout.situations import make_situation, settle
from tests.factories import make_order, make_payment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("wechat")]

PAYPAL = "?token=5O190127TN364715T&PayerID=QYR5Z8XDVJNXQ"
ALIPAY = "?method=alipay.trade.wap.pay.return&out_trade_no=P1&total_amount=129.00&sign=abc"
UNIONPAY = {"orderId": "P1", "respCode": "00", "signature": "abc"}


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The orders whose channels were asked; the answer is that nothing has changed."""
    numbers: list[str] = []
    monkeypatch.setattr(paying, "query_order_by_person", numbers.append)
    return numbers


def waiting():
    order = make_order()
    return order, make_payment(order, channel="paypal", scene="page", action=REDIRECT)


@pytest.mark.parametrize("query", [PAYPAL, ALIPAY], ids=["paypal", "alipay"])
def test_return_asks_the_channel_once_and_leaves_a_clean_address(shopper, asked, query):
    order, _ = waiting()
    answer = shopper.get(f"{own(shopper, order)}{query}", follow=True)
    assert answer.status_code == 200
    assert answer.redirect_chain[-1][0] == f"/orders/{order.number}/pay/"
    assert asked == [order.number]


def test_return_of_unionpay_is_a_form_from_elsewhere_without_our_cookie(asked):
    """A browser sends the session's cookie with the GET that follows, not with the POST."""
    order, _ = waiting()
    browser = Client(enforce_csrf_checks=True)
    path = own(browser, order)
    stranger = Client(enforce_csrf_checks=True).post(path, UNIONPAY)
    assert (stranger.status_code, stranger.url) == (302, f"{path}?returned")
    assert asked == []
    browser.get(stranger.url)
    assert asked == [order.number]


def test_return_shows_the_order_when_it_is_paid(shopper, monkeypatch):
    order, payment = waiting()
    monkeypatch.setattr(paying, "query_order_by_person", lambda number: settle(payment))
    answer = shopper.get(f"{own(shopper, order)}{PAYPAL}", follow=True)
    assert answer.redirect_chain[-1][0] == f"/orders/{order.number}/"
    assert "We are packing your order" in answer.content.decode()


def test_return_shows_the_order_while_the_payment_is_being_confirmed(shopper, monkeypatch):
    order, payment = waiting()
    monkeypatch.setattr(paying, "query_order_by_person", lambda number: mark_unsure(payment))
    answer = shopper.get(f"{own(shopper, order)}{PAYPAL}", follow=True)
    assert answer.redirect_chain[-1][0] == f"/orders/{order.number}/"
    assert "Your payment is being confirmed" in answer.content.decode()


def test_return_without_a_payment_leads_back_to_the_pay_page(shopper, asked):
    order, _ = waiting()
    answer = shopper.get(f"{own(shopper, order)}{PAYPAL}", follow=True)
    assert "Waiting for you to pay with PayPal" in answer.content.decode()


def test_return_that_comes_too_soon_after_another_question_is_no_error(shopper, monkeypatch):
    def refuse(number: str) -> None:
        raise AskedTooOften(3)

    monkeypatch.setattr(paying, "query_order_by_person", refuse)
    order, _ = waiting()
    answer = shopper.get(f"{own(shopper, order)}{ALIPAY}", follow=True)
    assert answer.status_code == 200
    assert "mood-wrong" not in answer.content.decode()


def test_wallet_that_was_closed_comes_back_to_the_pay_page(shopper, asked):
    """Of PayPal by an address that holds its token only."""
    order, _ = waiting()
    for page in ("", "pay/"):
        answer = shopper.get(f"{own(shopper, order)}{page}?token=5O190127TN364715T", follow=True)
        assert answer.request["PATH_INFO"] == f"/orders/{order.number}/pay/"
        assert "Open PayPal" in answer.content.decode()
    assert shopper.session[SESSION_KEY] == [order.number]


def test_return_of_a_stranger_asks_nothing_and_shows_nothing(asked):
    order, _ = waiting()
    assert Client().get(f"/orders/{order.number}/{PAYPAL}").status_code == 404
    assert Client().get(f"/orders/{order.number}/?returned").status_code == 404
    assert asked == []


def test_link_with_our_own_token_opens_the_order_and_asks_nothing(shopper, asked):
    order = make_order()
    answer = shopper.get(f"/orders/{order.number}/?token={token_of(order)}", follow=True)
    assert answer.redirect_chain == [(f"/orders/{order.number}/", 302)]
    assert list(shopper.session[OPENED_KEY]) == [order.number]
    assert asked == []


@pytest.mark.parametrize("situation", Situation)
def test_return_in_every_situation_leads_to_a_page(shopper, asked, situation):
    order = make_situation(situation)
    assert shopper.get(f"{own(shopper, order)}{PAYPAL}", follow=True).status_code == 200


def test_order_page_of_an_open_payment_offers_to_ask(shopper):
    order, _ = waiting()
    assert "I have paid" in shopper.get(own(shopper, order)).content.decode()
