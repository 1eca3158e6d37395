"""Another payment while an earlier one is undecided: held up, and gone on with as soon as it is resolved."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from payments.models import Payment
from payments.querying import query_payment
from tests.checkout.conftest import begin_on_a_phone, own
from tests.checkout.test_paying import WECHAT, fault, text
from tests.factories import make_order, make_payment

pytestmark = pytest.mark.django_db(transaction=True)

PREVIOUS_FIRST = "We are checking your earlier payment first, so that you do not pay twice."
WANTED = re.compile(r'<form method="post" action="[^"]+" id="wanted">.*?</form>', re.DOTALL)


@pytest.fixture
def path(shopper: Client, sandbox) -> str:
    """The pay page of an order whose attempt of another kind is open."""
    order = make_order()
    begin_on_a_phone(order)
    return f"{own(shopper, order)}pay/"


def hold_up(shopper: Client, sandbox, path: str, *, when: str = "before") -> Any:
    """Ask for another payment, and the earlier one's close has no answer, though `after` that it took effect."""
    fault(sandbox, "close", "status", when=when, value=500)
    answer = shopper.post(path, WECHAT)
    sandbox.clear_faults()
    sandbox.set_faults({"notify": {"drop": 1.0}})
    assert answer.status_code == 409
    return answer


def refreshed(shopper: Client, page: Any) -> Any:
    """The page that a browser without JavaScript shows next, by itself."""
    address = re.search(r'http-equiv="refresh" content="\d+; url=([^"]+)"', text(page))
    assert address
    return shopper.get(address[1].replace("&amp;", "&"))


def hear_the_channel() -> None:
    query_payment(Payment.objects.earliest("pk").number)


def wait_for_the_limit(seconds: float) -> None:
    waited = timedelta(seconds=seconds)
    Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - waited)


def test_payment_is_held_up_while_the_earlier_one_is_undecided(shopper, sandbox, path):
    answer = hold_up(shopper, sandbox, path)
    assert answer["Retry-After"] == "5"
    assert PREVIOUS_FIRST in text(answer)
    assert not WANTED.search(text(answer))
    assert Payment.objects.count() == 1


def test_held_up_page_looks_again_and_says_the_same_while_nothing_is_known(shopper, sandbox, path):
    page = refreshed(shopper, hold_up(shopper, sandbox, path))
    again = refreshed(shopper, page)
    assert PREVIOUS_FIRST in text(page)
    assert PREVIOUS_FIRST in text(again)
    assert not WANTED.search(text(again))


def test_earlier_payment_that_turns_out_closed_leaves_the_wanted_one_to_be_pressed(shopper, sandbox, path):
    held_up = hold_up(shopper, sandbox, path, when="after")
    hear_the_channel()
    page = refreshed(shopper, held_up)
    assert "Your earlier payment is closed. Go on with WeChat Pay." in text(page)
    assert WANTED.search(text(page))
    assert "http-equiv" not in text(page)
    assert "Waiting for you to scan" in text(shopper.post(path, WECHAT, follow=True))


def test_earlier_payment_that_turns_out_open_may_be_closed_by_asking_again(shopper, sandbox, path):
    held_up = hold_up(shopper, sandbox, path)
    hear_the_channel()
    page = refreshed(shopper, held_up)
    assert "Go on with WeChat Pay, and it is closed before the new one begins." in text(page)
    assert WANTED.search(text(page))
    assert 'class="qr"' not in text(page)
    assert "Waiting for you to scan" in text(shopper.post(path, WECHAT, follow=True))
    assert [payment.status for payment in Payment.objects.all()] == ["CLOSED", "PAYING"]


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("alipay", ". Go on with WeChat Pay, and it is closed before the new one begins."),
        ("unionpay", ", and nobody can close it. Go on with WeChat Pay, and do not pay the earlier one."),
        ("boleto", ", and nobody can close it. Go on with WeChat Pay, and do not pay the earlier one."),
    ],
)
def test_earlier_payment_is_said_to_be_closed_only_where_its_channel_can(shopper, five, channel, words):
    order = make_order()
    make_payment(order, channel=channel)
    Payment.objects.update(close_unanswered_since=Now())
    page = text(shopper.get(f"{own(shopper, order)}pay/?channel=wechat&scene=qr"))
    assert f"Your earlier payment is still open{words}" in page


def test_earlier_payment_that_turns_out_paid_is_the_payment(shopper, sandbox, path):
    held_up = hold_up(shopper, sandbox, path)
    sandbox.pay(Payment.objects.get().number)
    hear_the_channel()
    page = refreshed(shopper, held_up)
    assert "Paid. Thank you." in text(page)
    assert not WANTED.search(text(page))
    assert "See your order" in text(page)


@pytest.mark.parametrize(("waited_s", "is_offered"), [(0, False), (55, False), (61, True)])
def test_another_way_is_offered_after_a_minute_with_the_word_that_a_double_payment_comes_back(
    shopper, sandbox, path, waited_s, is_offered
):
    held_up = hold_up(shopper, sandbox, path)
    wait_for_the_limit(waited_s)
    page = text(refreshed(shopper, held_up))
    words = "if the earlier one turns out paid too, that money comes back by itself"
    assert [each in page for each in ("Pay another way", words, 'name="supersede" value="1"')] == [
        is_offered
    ] * 3
    assert not WANTED.search(page), "that is the shopper's own choice"


def test_shopper_who_chooses_another_way_after_a_minute_gets_it(shopper, sandbox, path):
    hold_up(shopper, sandbox, path)
    fault(sandbox, "close", "status", value=500)
    wait_for_the_limit(61)
    assert shopper.post(path, WECHAT).status_code == 409
    answer = shopper.post(path, WECHAT | {"supersede": "1"}, follow=True)
    assert "Waiting for you to scan" in text(answer)
    assert Payment.objects.filter(superseded_at__isnull=False).count() == 1


def test_page_without_another_wish_shows_the_present_code(shopper, sandbox, path):
    hold_up(shopper, sandbox, path)
    hear_the_channel()
    page = text(shopper.get(path))
    assert "Waiting for you to scan" in page
    assert not WANTED.search(page)


@pytest.mark.parametrize(
    "wish", ["?channel=cash&scene=qr", "?channel=wechat&scene=voucher", "?channel=wechat"]
)
def test_wish_in_the_address_for_what_is_not_offered_is_no_wish(shopper, sandbox, path, wish):
    hold_up(shopper, sandbox, path, when="after")
    hear_the_channel()
    page = text(shopper.get(path + wish))
    assert not WANTED.search(page)
    assert "data-page" not in page


@pytest.mark.parametrize(
    ("lease_s", "age_s", "goes_on"),
    [(5, 0, False), (-1, 0, True), (-1, 61, False)],
    ids=["held", "free", "old"],
)
def test_payment_that_the_channel_did_not_answer_is_tried_again_by_itself_within_a_minute(
    shopper, sandbox, lease_s, age_s, goes_on
):
    path = f"{own(shopper, make_order())}pay/"
    fault(sandbox, "create", "reset")
    held_up = shopper.post(path, WECHAT)
    Payment.objects.update(
        lease_until=Now() + timedelta(seconds=lease_s), created_at=Now() - timedelta(seconds=age_s)
    )
    page = text(refreshed(shopper, held_up))
    assert bool(WANTED.search(page)) is goes_on
    assert "Try again" in page


def test_only_a_page_that_was_held_up_asks_again_by_itself(shopper, sandbox, path):
    held_up = hold_up(shopper, sandbox, path, when="after")
    hear_the_channel()
    assert 'data-after="5"' in text(held_up)
    assert "data-after" not in text(refreshed(shopper, held_up))


@pytest.mark.parametrize(("channel", "is_offered"), [("paypal", True), ("boleto", False)])
def test_voucher_whose_last_day_is_over_is_not_offered_again(shopper, five, channel, is_offered):
    order = make_order()
    make_payment(order, channel=channel, lives_s=-1)
    page = text(shopper.get(f"{own(shopper, order)}pay/"))
    assert "Alipay" in page
    assert (f'value="{channel}"' in page) is is_offered


def test_language_switched_while_a_wish_is_held_up_does_not_forget_the_wish(shopper, sandbox, path):
    held_up = text(hold_up(shopper, sandbox, path))
    waits_at = re.search(r'data-page="([^"]+)"', held_up)
    assert waits_at
    assert f'<input type="hidden" name="next" value="{waits_at[1]}">' in held_up
