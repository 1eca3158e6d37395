"""A boleto in the shopper's hand while the order is paid, or may be paid, another way: the pages say not to pay it."""

import pytest
from django.db.models.functions import Now
from django.test import Client

from orders.models import Order
from orders.statuses import CloseReason
from payments.channels.base import Outcome
from payments.channels.boleto import Boleto
from payments.models import Payment
from tests.checkout.actions import QR, REDIRECT, VOUCHER
from tests.checkout.conftest import own
from tests.checkout.situations import close, settle
from tests.factories import make_order, make_payment

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("five")]

STILL = "You still hold a boleto for this order."
ONE_ONLY = f"{STILL} Do not pay it if you pay another way: throw it away."
NOT_AT_ALL = f"{STILL} Do not pay it: throw it away."
BY_HAND = "If it is paid all the same, a person sends that money back: a boleto has no way back by itself."
BOTH_PAGES = pytest.mark.parametrize("path", ["", "pay/"], ids=["order", "pay"])


def page_of(shopper: Client, order: Order, path: str) -> str:
    return str(shopper.get(own(shopper, order) + path).content.decode())


def hold_boleto(order: Order, *, lives_s: float = 1800) -> Payment:
    return make_payment(order, channel="boleto", scene="voucher", action=VOUCHER, lives_s=lives_s)


def go_on(order: Order, channel: str = "paypal") -> Payment:
    """With another way, while what was open stays so."""
    order.payments.filter(superseded_at=None).update(superseded_at=Now())
    return make_payment(order, channel=channel, scene="page", action=REDIRECT)


@pytest.mark.parametrize(
    ("query", "warns"), [("", False), ("?choose", True), ("?choose&channel=boleto&scene=voucher", True)]
)
def test_page_that_offers_another_way_warns_of_the_boleto_and_its_own_page_does_not(shopper, query, warns):
    order = make_order()
    hold_boleto(order)
    page = page_of(shopper, order, f"pay/{query}")
    assert (STILL in page) is warns
    assert (f"{ONE_ONLY} {BY_HAND}" in page) is warns


def test_order_page_of_a_boleto_that_is_waited_for_does_not_warn(shopper):
    order = make_order()
    hold_boleto(order)
    assert STILL not in page_of(shopper, order, "")


@BOTH_PAGES
@pytest.mark.parametrize("channel", ["paypal", "alipay"])
def test_page_of_the_second_way_warns_of_the_boleto(shopper, path, channel):
    order = make_order()
    hold_boleto(order)
    go_on(order, channel)
    assert f"{ONE_ONLY} {BY_HAND}" in page_of(shopper, order, path)


@BOTH_PAGES
def test_order_that_was_paid_another_way_says_not_to_pay_the_boleto(shopper, path):
    order = make_order()
    hold_boleto(order)
    settle(go_on(order))
    assert f"{NOT_AT_ALL} {BY_HAND}" in page_of(shopper, order, path)


@BOTH_PAGES
def test_order_that_an_earlier_attempt_has_paid_says_not_to_pay_its_present_boleto(shopper, path):
    order = make_order()
    earlier = make_payment(order, channel="paypal")
    order.payments.update(superseded_at=Now())
    hold_boleto(order)
    settle(earlier)
    assert NOT_AT_ALL in page_of(shopper, order, path)


@BOTH_PAGES
def test_cancelled_order_says_not_to_pay_its_boleto(shopper, path):
    order = make_order()
    hold_boleto(order)
    order.payments.update(superseded_at=Now())
    close(order, CloseReason.CANCELLED)
    assert f"{NOT_AT_ALL} {BY_HAND}" in page_of(shopper, order, path)


@BOTH_PAGES
def test_money_of_a_wrong_amount_leaves_nothing_to_pay_the_boleto_for(shopper, path):
    order = make_order()
    hold_boleto(order)
    settle(go_on(order), amount_minor=1)
    assert NOT_AT_ALL in page_of(shopper, order, path)


def _is_paid(boleto: Payment) -> None:
    settle(boleto)


def _is_paid_in_part(boleto: Payment) -> None:
    settle(boleto, amount_minor=1)


def _is_over(boleto: Payment) -> None:
    Payment.objects.filter(pk=boleto.pk).update(expires_at=Now())


def _is_closed(boleto: Payment) -> None:
    settle(boleto, Outcome.CLOSED)


@BOTH_PAGES
@pytest.mark.parametrize("end", [_is_paid, _is_paid_in_part, _is_over, _is_closed])
def test_boleto_that_nobody_can_pay_any_more_is_not_warned_of(shopper, path, end):
    order = make_order()
    boleto = hold_boleto(order)
    settle(go_on(order))
    end(boleto)
    assert STILL not in page_of(shopper, order, path)


@BOTH_PAGES
def test_order_that_the_boleto_has_paid_does_not_warn_of_it(shopper, path):
    order = make_order()
    settle(hold_boleto(order))
    assert STILL not in page_of(shopper, order, path)


EARLIER = "Your earlier payment with %s is not over yet. If you have paid it, have it checked; if not, do not pay it any more."


def _nothing(payment: Payment) -> None:
    """It stays open."""


def _closes(payment: Payment) -> None:
    settle(payment, Outcome.CLOSED)


def _is_refused(payment: Payment) -> None:
    settle(payment, Outcome.REFUSED)


@BOTH_PAGES
@pytest.mark.parametrize("ends", [_nothing, _closes, _is_refused])
def test_earlier_payment_that_may_be_paid_still_is_told_of_and_can_be_checked(shopper, path, ends):
    order = make_order()
    make_payment(order, channel="unionpay", action=QR)
    ends(go_on(order))
    page = page_of(shopper, order, path)
    assert EARLIER % "UnionPay" in page
    assert "I have paid" in page


@BOTH_PAGES
def test_earlier_payment_can_be_checked_while_another_one_is_starting(shopper, path):
    order = make_order()
    make_payment(order, channel="unionpay", action=QR)
    Payment.objects.filter(pk=go_on(order).pk).update(action=None)
    page = page_of(shopper, order, path)
    assert EARLIER % "UnionPay" in page
    assert page.count("I have paid") == 1


@BOTH_PAGES
def test_earlier_payment_is_told_of_beside_a_boleto(shopper, path):
    order = make_order()
    make_payment(order, channel="paypal", scene="page", action=REDIRECT)
    order.payments.update(superseded_at=Now())
    hold_boleto(order)
    go_on(order, "alipay")
    page = page_of(shopper, order, path)
    assert f"{ONE_ONLY} {BY_HAND} {EARLIER % 'PayPal'}" in page


@BOTH_PAGES
def test_all_earlier_payments_are_named(shopper, path):
    order = make_order()
    make_payment(order, channel="unionpay", action=QR)
    go_on(order, "alipay")
    go_on(order)
    assert EARLIER % "UnionPay and Alipay" in page_of(shopper, order, path)


@BOTH_PAGES
@pytest.mark.parametrize("ends", [_closes, settle, _is_paid_in_part])
def test_earlier_payment_that_has_ended_is_not_told_of(shopper, path, ends):
    order = make_order()
    earlier = make_payment(order, channel="unionpay", action=QR)
    go_on(order)
    ends(earlier)
    assert "is not over yet" not in page_of(shopper, order, path)


@BOTH_PAGES
def test_order_that_was_paid_says_nothing_about_earlier_payments(shopper, path):
    order = make_order()
    make_payment(order, channel="unionpay", action=QR)
    settle(go_on(order))
    assert "is not over yet" not in page_of(shopper, order, path)


@BOTH_PAGES
def test_code_that_was_left_behind_is_nothing_that_a_shopper_holds(shopper, path):
    order = make_order()
    make_payment(order, channel="alipay", action=QR)
    settle(go_on(order))
    assert STILL not in page_of(shopper, order, path)


def test_voucher_of_a_channel_that_gives_money_back_is_said_to_come_back_by_itself(shopper, monkeypatch):
    monkeypatch.setattr(Boleto, "can_refund", True)
    order = make_order()
    hold_boleto(order)
    settle(go_on(order))
    page = page_of(shopper, order, "")
    assert f"{NOT_AT_ALL} If it is paid all the same, that money comes back by itself." in page
