"""What the pages say in every situation: true words, a mood, an icon, and always a way on."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.utils.html import escape

from orders.models import Order
from orders.statuses import CloseReason, OrderStatus
from payments.channels.base import Outcome
from payments.models import Case, Payment, Refund
from payments.moves import mark_unsure
from payments.showing import Situation, view_order
from payments.statuses import PaymentStatus, RefundStatus
from shop.checkout.returns import list_returns
from shop.checkout.templatetags.look import duration
from shop.checkout.words import WORDS, Words, tell
from tests.checkout.actions import QR, VOUCHER
from tests.checkout.conftest import BOLETO, PAYPAL, own
from tests.checkout.situations import STEPS, close, make_situation, settle
from tests.factories import make_order, make_payment

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("wechat")]

ICONS = settings.BASE_DIR / "templates" / "icons"
# The only situations in which the channel has said so.
NOTHING_CHARGED = {Situation.EXPIRED, Situation.REFUSED}
# Those in which money may be on its way: the page must not speak as if there were none.
UNDECIDED = {Situation.CONFIRMING, Situation.ENDING, Situation.REVIEWED}
LONG = timedelta(seconds=settings.CONFIRMING_LIMIT_S + 1)
WAITING_PAGES = UNDECIDED | {Situation.STARTING, Situation.WAITING, Situation.SURPLUS, Situation.LATE}


def page_of(shopper, order: Order, path: str = "") -> str:
    answer = shopper.get(own(shopper, order) + path)
    assert answer.status_code == 200
    return answer.content.decode()


def words_of(order: Order) -> Words:
    view = view_order(order)
    return tell(view, list_returns(view))


def test_every_situation_has_words_and_can_be_made():
    assert set(WORDS) == set(STEPS) == set(Situation)


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_icon_of_every_situation_is_drawn(words):
    assert (ICONS / f"{words.icon}.svg").is_file()


@pytest.mark.parametrize("situation", Situation)
def test_made_order_is_seen_in_its_situation(situation):
    assert view_order(make_situation(situation)).situation is situation


def test_order_whose_money_arrives_while_its_page_is_made_is_not_to_be_paid_again():
    order = make_order()
    payment = make_payment(order)
    read_before = Order.objects.get(pk=order.pk)
    settle(payment)
    assert view_order(read_before).situation is Situation.PAID


@pytest.mark.parametrize("path", ["", "pay/"], ids=["order", "pay"])
@pytest.mark.parametrize("situation", Situation)
def test_page_of_every_situation_names_it_and_offers_a_way_on(shopper, situation, path):
    order = make_situation(situation)
    page = page_of(shopper, order, path)
    main = page.partition("<main")[2].partition("</main>")[0]
    assert f'data-situation="{situation}"' in main
    assert escape(words_of(order).title) in page
    assert re.search(r"<button|class=\"button", main)
    assert "%(" not in page


@pytest.mark.parametrize("situation", [each for each in Situation if each is not Situation.WAITING])
def test_status_line_is_the_same_on_both_pages(shopper, situation):
    order = make_situation(situation)
    line = escape(words_of(order).line)
    assert f"<p>{line}</p>" in page_of(shopper, order)
    assert f"<p>{line}</p>" in page_of(shopper, order, "pay/")


def test_code_that_is_waiting_is_on_the_pay_page(shopper):
    order = make_situation(Situation.WAITING)
    assert "Scan the code on the payment page." in page_of(shopper, order)
    assert "Waiting for you to scan" in page_of(shopper, order, "pay/")


@pytest.mark.parametrize("path", ["", "pay/"], ids=["order", "pay"])
@pytest.mark.parametrize("situation", Situation)
def test_page_never_says_failed_or_unpaid(shopper, situation, path):
    page = page_of(shopper, make_situation(situation), path).lower()
    assert "failed" not in page
    assert "unpaid" not in page


@pytest.mark.parametrize("situation", Situation)
def test_pay_page_asks_for_money_and_promises_to_ask_for_it_only_while_the_order_is_to_be_paid(
    shopper, situation
):
    order = make_situation(situation)
    page = page_of(shopper, order, "pay/")
    is_to_pay = order.status == OrderStatus.UNPAID
    assert (">Pay nodrop</h1>" in page) is is_to_pay
    assert ("we keep asking and find your payment" in page) is is_to_pay
    has_gone = order.status in (OrderStatus.CLOSED, OrderStatus.REFUNDED)
    assert (">Your order at nodrop</h1>" in page) is has_gone
    assert (">Paid to nodrop</h1>" in page) is not (is_to_pay or has_gone)


@pytest.mark.parametrize(("quantity", "words"), [(1, "1 item"), (3, "3 items")])
def test_pay_page_counts_pieces_as_the_cart_does(shopper, quantity, words):
    assert f"<summary>{words}</summary>" in page_of(shopper, make_order(quantity=quantity), "pay/")


@pytest.mark.parametrize("situation", Situation)
def test_nothing_was_charged_is_said_only_when_the_channel_said_so(situation):
    line = words_of(make_situation(situation)).line
    assert ("Nothing was charged" in line) is (situation in NOTHING_CHARGED)


def test_expired_order_that_was_never_tried_does_not_speak_for_a_channel():
    order = make_order()
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    assert "Nothing was charged" not in words_of(order).line


def test_expired_order_with_an_attempt_that_is_still_watched_does_not_speak_for_the_channel():
    order = make_order()
    Payment.objects.filter(pk=make_payment(order).pk).update(superseded_at=Now())
    settle(make_payment(order), Outcome.CLOSED)
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    assert "Nothing was charged" not in words_of(order).line


@pytest.mark.parametrize("end", [Outcome.CLOSED, None], ids=["closed", "watched"])
def test_expired_order_whose_channel_spoke_of_a_charge_says_that_a_person_sees_to_it(end):
    order = make_order()
    payment = make_payment(order, channel="unionpay")
    settle(payment, Outcome.UNKNOWN, code="42", needs_person=True)
    Payment.objects.filter(pk=payment.pk).update(superseded_at=Now())
    if end:
        settle(payment, end, code="42", needs_person=True)
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    line = words_of(order).line
    assert "By what UnionPay told us you may have been charged" in line
    assert "A person sees to it" in line


@pytest.mark.parametrize("situation", sorted(UNDECIDED))
def test_undecided_order_shows_no_code_and_no_choice(shopper, situation):
    page = page_of(shopper, make_situation(situation), "pay/")
    assert 'class="qr"' not in page
    assert 'class="method"' not in page
    assert "data-left" not in page


@pytest.mark.parametrize("situation", Situation)
def test_page_refreshes_itself_without_javascript_exactly_while_it_waits(shopper, situation):
    page = page_of(shopper, make_situation(situation), "pay/")
    refreshes = '<noscript><meta http-equiv="refresh"' in page
    assert refreshes is (situation in WAITING_PAGES)


@pytest.mark.parametrize(
    ("situation", "status", "words"),
    [
        (
            Situation.SURPLUS,
            RefundStatus.REFUNDING,
            "You paid twice. The first payment stands; the second ¥129.00 is on its way back.",
        ),
        (
            Situation.SURPLUS,
            RefundStatus.REFUNDED,
            "The first payment stands; the second ¥129.00 is back in your wallet.",
        ),
        (
            Situation.SURPLUS,
            RefundStatus.FAILED,
            "The first payment stands; a person is sending the second ¥129.00 back.",
        ),
        (Situation.LATE, RefundStatus.REFUNDING, "¥129.00 is on its way back to your wallet."),
        (Situation.LATE, RefundStatus.REFUNDED, "¥129.00 is back in your wallet."),
        (Situation.LATE, RefundStatus.FAILED, "A person is sending ¥129.00 back."),
    ],
)
def test_returning_money_is_told_by_how_far_it_is(shopper, situation, status, words):
    order = make_situation(situation)
    Refund.objects.update(status=status)
    assert words in page_of(shopper, order)


def test_choice_to_go_on_is_offered_once_the_earlier_attempt_is_undecided_for_long(shopper):
    order = make_situation(Situation.CONFIRMING)
    assert 'name="supersede"' not in page_of(shopper, order, "pay/")
    Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - LONG)
    page = page_of(shopper, order, "pay/")
    assert 'name="supersede"' in page
    assert "if the earlier one turns out paid too, that money comes back by itself." in page


def test_choice_to_go_on_with_a_boleto_tells_that_a_person_sends_its_money_back(shopper, offer):
    offer(PAYPAL, BOLETO)
    order = make_order(currency="BRL")
    mark_unsure(make_payment(order, channel="paypal"))
    Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - LONG)
    page = page_of(shopper, order, "pay/")
    assert "the second one is sent back. A person sends back what was paid with Boleto." in page
    assert "by itself" not in page


def test_story_tells_what_happened_in_order_and_what_is_next(shopper):
    order = make_order()
    settle(make_payment(order))
    page = page_of(shopper, order)
    story = [
        "Order placed",
        "Payment with WeChat Pay started",
        "Paid with WeChat Pay",
        "Being packed",
        "Shipped to you",
    ]
    places = [page.index(words) for words in story]
    assert places == sorted(places)


def test_story_shows_times_in_the_shops_own_zone(shopper, settings):
    settings.DISPLAY_TIME_ZONE = "Asia/Shanghai"
    order = make_order()
    shown = re.search(r'<time datetime="([^"]+)">.*?(\d\d:\d\d)</time>', page_of(shopper, order), re.DOTALL)
    assert shown
    hour, minute = map(int, shown[1][11:16].split(":"))
    assert shown[1].endswith("+00:00")
    assert shown[2] == f"{(hour + 8) % 24:02}:{minute:02}"


def test_story_of_an_order_that_late_money_reopened_says_why(shopper):
    order = make_order()
    payment = make_payment(order)
    close(order, CloseReason.EXPIRED)
    settle(payment)
    page = page_of(shopper, order)
    assert "Closed, because the time to pay was over" in page
    assert "Open again, because your payment arrived" in page


def test_amount_is_large_with_the_currency_small(shopper):
    page = page_of(shopper, make_order(price=123456, currency="USD"), "pay/")
    assert '<p class="large"><span class="amount"><small>$</small>1,234.56</span></p>' in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "no time"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (1741, "30 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (172_799, "48 hours"),
        (172_800, "2 days"),
        (250_000, "3 days"),
    ],
)
def test_time_left_is_told_in_the_unit_that_people_think_in(seconds, words):
    assert duration(seconds) == words


def test_expired_order_names_every_channel_that_says_it_took_nothing():
    order = make_order()
    for channel in ("alipay", "paypal"):
        settle(make_payment(order, channel=channel), Outcome.CLOSED)
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    line = words_of(order).line
    assert "Nothing was charged as far as Alipay and PayPal told us" in line
    assert line.endswith("the order goes on or the money comes back by itself.")


def test_expired_order_for_which_other_money_came_and_went_is_not_said_to_have_charged_nothing():
    order = make_order()
    payment = make_payment(order)
    settle(payment, amount_minor=100)
    Case.objects.update(resolved_at=Now())
    Payment.objects.update(status=PaymentStatus.CLOSED)
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    assert words_of(order).line == WORDS[Situation.EXPIRED].line


@pytest.mark.parametrize("channels", [["boleto"], ["paypal", "boleto"], ["boleto", "paypal", "boleto"]])
def test_expired_order_of_a_boleto_tells_that_a_person_sends_its_money_back(channels):
    order = make_order(currency="BRL")
    for channel in channels:
        settle(make_payment(order, channel=channel), Outcome.CLOSED)
    close(order, CloseReason.EXPIRED)
    order.refresh_from_db()
    line = words_of(order).line
    assert line.endswith("A person sends back what was paid with Boleto.")
    assert "by itself" not in line


def test_late_money_that_is_back_is_no_more_on_its_way_anywhere(shopper):
    order = make_situation(Situation.LATE)
    assert "Your money is on its way back" in page_of(shopper, order)
    Refund.objects.update(status=RefundStatus.REFUNDED)
    page = page_of(shopper, order)
    assert ">Your money is back</h1>" in page
    assert 'class="next"' not in page
    assert "Your money is on its way back" not in page


@pytest.mark.parametrize("promise", ["by itself", "some minutes", "the day it is paid"])
def test_no_template_promises_what_depends_on_the_channel_or_on_people(promise):
    said = {
        path.name for path in (settings.BASE_DIR / "templates").rglob("*.*") if promise in path.read_text()
    }
    assert said == set()


def test_channel_that_needs_another_number_for_another_try_is_not_said_to_go_on_with_the_same():
    order = make_order()
    Payment.objects.filter(pk=make_payment(order, channel="unionpay").pk).update(action=None)
    line = "UnionPay has not answered yet. You can try again: you do not pay twice by that."
    assert words_of(order).line == line


@pytest.mark.parametrize(("channel", "subject"), [("boleto", "The bank"), ("alipay", "Alipay")])
def test_payment_that_was_refused_names_who_refused_it(channel, subject):
    order = make_order()
    settle(make_payment(order, channel=channel), Outcome.REFUSED)
    assert words_of(order).line == f"{subject} refused this payment. Nothing was charged."


@pytest.mark.parametrize(("channel", "subject"), [("boleto", "The bank"), ("unionpay", "UnionPay")])
def test_sentence_that_begins_with_the_channel_begins_with_a_capital(channel, subject):
    order = make_order()
    mark_unsure(make_payment(order, channel=channel))
    assert words_of(order).then == f"{subject} tells us whether you paid"


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (Situation.SURPLUS, "we have sent the second ¥129.00 back to you by hand."),
        (Situation.LATE, "We have sent ¥129.00 back to you by hand."),
    ],
)
def test_money_that_people_have_sent_back_is_not_said_to_be_in_a_wallet(shopper, situation, words):
    order = make_situation(situation)
    Refund.objects.update(status=RefundStatus.REFUNDED, kind=Refund.Kind.BY_HAND)
    page = page_of(shopper, order)
    assert words in page
    assert "Sent back to you by hand" in page
    assert "wallet" not in page.partition("What happened")[0]


def test_order_that_a_person_looks_at_is_neither_given_up_nor_paid_from_its_page(shopper):
    page = page_of(shopper, make_situation(Situation.REVIEWED))
    assert "/cancel/" not in page
    assert "Go to the payment" not in page
    assert "Back to the shop" in page


@pytest.mark.parametrize("path", ["", "pay/"])
def test_buttons_of_an_order_that_a_person_looks_at_change_when_it_closes(shopper, path):
    order = make_situation(Situation.REVIEWED)
    before = page_of(shopper, order, path)
    close(order, CloseReason.CANCELLED)
    after = page_of(shopper, order, path)
    states = [re.findall(r'data-part="actions" data-state="([^"]*)"', page) for page in (before, after)]
    assert states[0] != states[1]


def test_time_of_a_payment_that_has_just_begun_is_shown_full(shopper):
    order = make_order()
    make_payment(order, lives_s=300, action=QR)
    [(most, left)] = re.findall(r'<progress max="(\d+)" value="(\d+)"', page_of(shopper, order, "pay/"))
    assert (int(most), int(left)) == (pytest.approx(300, abs=2), pytest.approx(300, abs=20))


@pytest.mark.parametrize(("channels", "ways"), [([BOLETO], 0), ([BOLETO, PAYPAL], 1)])
@pytest.mark.parametrize("path", ["", "pay/"])
def test_boleto_whose_last_day_is_over_leads_to_another_way_only_where_there_is_one(
    shopper, offer, channels, ways, path
):
    offer(*channels)
    order = make_order(currency="BRL")
    make_payment(order, channel="boleto", scene="voucher", action=VOUCHER, lives_s=-1)
    page = page_of(shopper, order, path)
    assert "The last day of your boleto is over." in page
    assert page.count("If you did not, you may pay another way.</p>") == ways


def test_boleto_whose_order_is_over_too_leads_to_no_other_way(shopper, offer):
    offer(BOLETO, PAYPAL)
    order = make_order(currency="BRL")
    make_payment(order, channel="boleto", scene="voucher", action=VOUCHER, lives_s=-1)
    Order.objects.update(expires_at=Now())
    page = page_of(shopper, order, "pay/")
    assert "The last day of your boleto is over." in page
    assert "you may pay another way" not in page
