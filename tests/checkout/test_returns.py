"""Money that goes back by itself: the shopper sees why, how much and how far it is, on every page about the order."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from orders.statuses import CloseReason, OrderStatus
from payments.models import Payment, Receipt, Refund
from payments.refunding import ask_refund
from payments.showing import Situation, view_order
from payments.statuses import RefundStatus
from shop.checkout.returns import list_returns
from tests.checkout.conftest import own
from tests.checkout.situations import close, make_situation, settle
from tests.factories import make_order, make_payment
from tests.payments.audit_world import finish

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("wechat")]

GOING = "You paid twice. The first payment stands; the second ¥129.00 is on its way back."


def pages(shopper: Client, order: Order) -> list[str]:
    """The order page and the pay page."""
    path = own(shopper, order)
    return [shopper.get(page).content.decode() for page in (path, f"{path}pay/")]


def supersede(payment: Payment) -> None:
    Payment.objects.filter(pk=payment.pk).update(superseded_at=payment.created_at)


def pay_twice() -> Order:
    """By two attempts, the newer one first."""
    order = make_order()
    earlier = make_payment(order)
    supersede(earlier)
    settle(make_payment(order))
    settle(earlier)
    return order


def statuses(order: Order) -> list[RefundStatus]:
    order.refresh_from_db()
    return [each.status for each in list_returns(view_order(order))]


def test_both_pages_say_why_the_second_payment_goes_back(shopper):
    for page in pages(shopper, pay_twice()):
        assert GOING in page


def test_order_page_has_the_amount_and_the_state_of_what_goes_back(shopper):
    page = pages(shopper, pay_twice())[0]
    card = page.partition("Money that goes back")[2].partition("</section>")[0]
    assert "Paid twice: the order needs one payment, and the first one stands." in card
    assert "129.00" in card
    assert "On its way to your wallet" in card


def test_story_tells_both_payments_and_why_one_goes_back_in_their_order(shopper):
    page = pages(shopper, pay_twice())[0]
    story = page.partition("What happened")[2]
    told = [
        "Paid with WeChat Pay",
        "Being packed",
        "Paid once more with WeChat Pay",
        "¥129.00 on its way back, because you paid twice; the first payment stands",
    ]
    places = [story.index(words) for words in told]
    assert places == sorted(places)


def test_story_of_a_code_that_was_paid_twice_does_not_call_its_first_payment_another(shopper):
    order = make_situation(Situation.SURPLUS)
    story = pages(shopper, order)[0].partition("What happened")[2]
    assert "Paid with WeChat Pay" in story
    assert "once more" not in story
    assert "because you paid twice" in story


def test_late_money_is_told_with_its_own_reason(shopper):
    order = make_situation(Situation.LATE)
    page = pages(shopper, order)[0]
    assert "Paid after the order had closed." in page
    assert "Paid with WeChat Pay after the order had closed" in page
    assert "¥129.00 on its way back, because the order had closed" in page


def test_three_payments_are_added_up_and_listed_one_by_one(shopper):
    order = make_order()
    payment = make_payment(order)
    for trade in ("1", "2", "3"):
        settle(payment, channel_number=trade)
    order_page, pay_page = pages(shopper, order)
    words = "You paid more than once. The first payment stands; the other ¥258.00 is on its way back."
    assert words in order_page
    assert words in pay_page
    assert order_page.count("Paid twice: the order needs one payment") == 2


def test_of_several_the_one_that_is_furthest_from_done_is_told(shopper):
    order = make_order()
    payment = make_payment(order)
    for trade in ("1", "2", "3"):
        settle(payment, channel_number=trade)
    Refund.objects.filter(pk=Refund.objects.earliest("pk").pk).update(status=RefundStatus.REFUNDED)
    assert statuses(order) == [RefundStatus.REFUNDED, RefundStatus.REFUNDING]
    assert "the other ¥129.00 is on its way back" in pages(shopper, order)[0]


@pytest.mark.parametrize(
    ("made", "status"),
    [
        ([(RefundStatus.REFUNDING, 12900)], RefundStatus.REFUNDING),
        ([(RefundStatus.REFUNDED, 12900)], RefundStatus.REFUNDED),
        ([(RefundStatus.FAILED, 12900)], RefundStatus.FAILED),
        ([(RefundStatus.FAILED, 12900), (RefundStatus.PENDING_APPROVAL, 12900)], RefundStatus.FAILED),
        ([(RefundStatus.FAILED, 12900), (RefundStatus.REFUNDING, 12900)], RefundStatus.REFUNDING),
        ([(RefundStatus.FAILED, 12900), (RefundStatus.REFUNDED, 12900)], RefundStatus.REFUNDED),
        ([(RefundStatus.REFUNDED, 900), (RefundStatus.REFUNDING, 12000)], RefundStatus.REFUNDING),
        ([(RefundStatus.REFUNDED, 900), (RefundStatus.FAILED, 12000)], RefundStatus.FAILED),
        ([(RefundStatus.REFUNDED, 900), (RefundStatus.REFUNDED, 12000)], RefundStatus.REFUNDED),
    ],
)
def test_state_of_what_goes_back_is_that_of_all_its_refunds(made, status):
    order = make_situation(Situation.SURPLUS)
    receipt = Receipt.objects.get(receipt_class="surplus")
    Refund.objects.all().delete()
    for number, (refund_status, amount) in enumerate(made):
        Refund.objects.create(
            number=f"R{number}",
            receipt=receipt,
            channel="wechat",
            kind=Refund.Kind.AUTOMATIC,
            amount=amount,
            reason="paid twice",
            status=refund_status,
        )
    assert statuses(order) == [status]


@pytest.mark.parametrize("situation", sorted(set(Situation) - {Situation.SURPLUS, Situation.LATE}))
def test_where_nothing_goes_back_nothing_is_said_about_it(shopper, situation):
    order = make_situation(situation)
    assert statuses(order) == []
    page = pages(shopper, order)[0]
    assert "Money that goes back" not in page
    assert '<div data-part="returns"></div>' in page


def test_late_money_that_reopens_the_order_does_not_go_back():
    order = make_order()
    payment = make_payment(order)
    close(order, CloseReason.EXPIRED)
    settle(payment)
    assert statuses(order) == []


# ---- what somebody gives back ------------------------------------------------------------------------------------

BY_SHOP = "A refund by the shop."


def give_back(order: Order, amount: int, **changed: object) -> None:
    """As staff do, and how far it got."""
    payment = order.payments.get()
    refund = ask_refund(payment.number, amount=amount, reason="broken", actor="sue")
    Refund.objects.filter(pk=refund.pk).update(**changed)


def card_of(shopper: Client, order: Order) -> str:
    return pages(shopper, order)[0].partition("Money that goes back")[2].partition("</section>")[0]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (RefundStatus.REFUNDING, Refund.Kind.ASKED, "On its way to your wallet"),
        (RefundStatus.REFUNDED, Refund.Kind.CONSOLE, "Back in your wallet"),
        (RefundStatus.REFUNDED, Refund.Kind.BY_HAND, "Sent back to you by hand"),
        (RefundStatus.FAILED, Refund.Kind.ASKED, "A person is sending it"),
    ],
)
def test_refund_by_people_is_listed_with_its_amount_and_how_far_it_is(shopper, status, kind, words):
    order = make_situation(Situation.PAID)
    give_back(order, 900, status=status, kind=kind)
    card = card_of(shopper, order)
    assert BY_SHOP in card
    assert "</small>9.00</span>" in card
    assert words in card


@pytest.mark.parametrize("status", [RefundStatus.PENDING_APPROVAL, RefundStatus.REJECTED])
def test_refund_that_is_not_approved_is_promised_to_nobody(shopper, status):
    order = make_situation(Situation.PAID)
    give_back(order, 900, status=status)
    assert "Money that goes back" not in pages(shopper, order)[0]


@pytest.mark.parametrize(("second", "listed"), [(900, 1), (400, 2)])
def test_refund_that_failed_is_listed_until_another_took_its_place(shopper, second, listed):
    order = make_situation(Situation.PAID)
    give_back(order, 900, status=RefundStatus.FAILED)
    give_back(order, second, status=RefundStatus.REFUNDED)
    assert card_of(shopper, order).count(BY_SHOP) == listed


def test_order_that_was_paid_twice_and_then_refunded_lists_both(shopper):
    order = make_situation(Situation.SURPLUS)
    give_back(order, 12900)
    card = card_of(shopper, order)
    assert card.index("Paid twice:") < card.index(BY_SHOP)
    assert card.count("</small>129.00</span>") == 2


def test_order_whose_second_payment_went_back_by_hand_and_that_was_then_refunded_is_shown(shopper):
    order = make_situation(Situation.SURPLUS)
    Refund.objects.update(status=RefundStatus.REFUNDED, kind=Refund.Kind.BY_HAND)
    Order.objects.update(status=OrderStatus.REFUNDED)
    for page in pages(shopper, order):
        assert "¥129.00 has gone back to you." in page


def test_late_money_of_which_a_part_went_back_by_hand_is_not_said_to_have_gone_so(shopper):
    order = make_order()
    earlier = make_payment(order)
    supersede(earlier)
    later = make_payment(order)
    close(order, CloseReason.CANCELLED)
    for payment in (earlier, later):
        settle(payment)
    Refund.objects.update(status=RefundStatus.REFUNDED)
    Refund.objects.filter(receipt__payment=later).update(kind=Refund.Kind.BY_HAND)
    order.refresh_from_db()
    for page in pages(shopper, order):
        assert "Your money came after the order closed. ¥258.00 has gone back to you." in page


def test_only_an_order_with_such_refunds_takes_one_statement_more(shopper):
    order = make_situation(Situation.PAID)
    path = own(shopper, order)
    shopper.get(path)  # the session is read and written once
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            shopper.get(path)
        counts.append(len(captured))
        give_back(order, 900)
    assert counts[1] == counts[0] + 1


def test_title_of_an_order_that_was_paid_twice_tells_so_and_its_heading_tells_of_the_goods(shopper):
    order_page, pay_page = pages(shopper, make_situation(Situation.SURPLUS))
    assert "<title>You paid twice ·" in order_page
    assert "<title>You paid twice ·" in pay_page
    assert ">We are packing your order</h1>" in order_page


def test_page_looks_for_news_of_what_goes_back_until_it_is_back(shopper):
    order = pay_twice()
    assert all('data-wait="20"' in page and "refresh" in page for page in pages(shopper, order))
    finish(Refund.objects.get())
    assert not [page for page in pages(shopper, order) if 'data-wait="0"' not in page or "http-equiv" in page]
