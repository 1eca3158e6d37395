"""An order's story: everything that happened, in the order in which it happened, and one sentence that says how it stands."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.models import Order
from orders.moves import close_order, lock_order, move_order
from orders.statuses import CloseReason, OrderStatus
from payments.cases import open_case
from payments.channels.base import Outcome, RefundReport
from payments.mailing import ask_for_link
from payments.models import (
    Call,
    Callback,
    Case,
    Difference,
    Payment,
    Proposal,
    Receipt,
    Refund,
    RefusedCallback,
    StaffAction,
)
from payments.moves import MAIL_RETURNED, QUERY_PAYMENT, mark_unsure, supersede_payment
from payments.refunding import ask_refund
from payments.returning import settle_refund
from payments.settling import settle_payment
from payments.showing import Mood
from payments.statuses import PaymentStatus, RefundStatus
from payments.story import MOST, read_story
from payments.story.outlook import MAIL_LINK, MAIL_RECEIPT, TAKE_CALLBACK
from payments.story.telling import EVENTS
from payments.story.words import ANSWERS, tell_due, tell_span, tell_when
from shop.alarms import handle_now, kinds, set_alarm
from shop.events import record
from shop.models import Alarm, Event, Source
from tests.factories import by_hand, make_order, make_payment, report
from tests.payments.audit_world import finish

pytestmark = pytest.mark.django_db


@pytest.fixture
def order() -> Order:
    return make_order()


def outlook(order: Order) -> tuple[str, str]:
    """The sentence on top, and all that comes next."""
    told = read_story(fresh(order)).outlook
    return told.why, " ".join(told.then)


def fresh(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def pay(payment: Payment, **more: Any) -> None:
    settle_payment(report(payment, **more), channel=payment.channel, source=Source.CALLBACK)


def close(order: Order, reason: CloseReason = CloseReason.CANCELLED, actor: str = "") -> None:
    source = Source.STAFF if actor else Source.SHOPPER
    record([close_order(lock_order(order.number), reason, source=source, actor=actor)])


def keep_call(payment: Payment, operation: str = "query", outcome: str = "open", **more: Any) -> Call:
    return Call.objects.create(
        order_number=payment.order.number, subject=payment.number, channel=payment.channel,
        operation=operation, outcome=outcome, took_ms=12, source=Source.QUERY, **more,
    )  # fmt: skip


def arrive(refund: Refund) -> None:
    told = RefundReport(outcome=Outcome.SUCCEEDED, number=refund.number, amount_minor=refund.amount)
    settle_refund(told, channel=refund.channel, source=Source.QUERY)


# ---- the sentence ------------------------------------------------------------------------------------------------


def test_order_that_nobody_tried_to_pay(order):
    why, then = outlook(order)
    assert why == "Not paid: nobody has tried to pay yet."
    assert then.startswith("Without money it is closed at ")


def test_attempt_that_waits_for_the_wallet(order):
    payment = make_payment(order)
    keep_call(payment)
    why, then = outlook(order)
    assert why.startswith("Not paid: waiting for the shopper to pay in WeChat Pay, since ")
    assert why.endswith(": not decided yet.")
    assert "WeChat Pay is asked again at " in then
    assert "Without money it is closed at " in then


def test_boleto_that_is_not_paid_yet(order):
    make_payment(order, channel="boleto", scene="voucher", action={"type": "voucher"})
    assert outlook(order)[0].startswith("Not paid: waiting for the boleto to be paid, since ")


def test_attempt_without_anything_to_pay_by(order):
    payment = make_payment(order)
    Payment.objects.filter(pk=payment.pk).update(action=None)
    assert outlook(order)[0] == "Not paid: WeChat Pay has not given the shopper anything to pay by yet."


def test_close_that_had_no_answer_is_not_called_unpaid(order):
    mark_unsure(make_payment(order))
    why = outlook(order)[0]
    assert why.startswith("Not known: WeChat Pay has not said whether the attempt was paid")


def test_money_that_the_shopper_has_agreed_to_is_being_taken(order):
    payment = make_payment(order, channel="paypal", scene="page")
    Payment.objects.filter(pk=payment.pk).update(capture_asked_at=Now(), captures=1)
    assert "agreed to pay through PayPal and the money is being taken" in outlook(order)[0]


def test_channel_that_is_silent_may_have_the_money(order):
    payment = make_payment(order)
    keep_call(payment)
    keep_call(payment, outcome="unknown")
    keep_call(payment, outcome="unreachable")
    why = outlook(order)[0]
    assert why.startswith("Not known: the shopper may have paid through WeChat Pay, which does not say.")
    assert "The last 2 questions had no answer, the first " in why


def test_channel_that_answers_again_is_not_silent_any_more(order):
    payment = make_payment(order)
    keep_call(payment, outcome="unknown")
    keep_call(payment)
    assert outlook(order)[0].startswith("Not paid: waiting for the shopper")


def test_time_to_pay_that_is_over_is_not_the_end(order):
    make_payment(order, lives_s=-1)
    assert "the time to pay is over and WeChat Pay is asked once more" in outlook(order)[0]


def test_attempt_that_was_refused_says_by_which_code(order):
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.REFUSED, code="NOAUTH"), channel="wechat", source=Source.RESPONSE)
    assert outlook(order)[0] == "Not paid: WeChat Pay refused the last attempt (NOAUTH); nothing was taken."


def test_attempt_that_was_closed_is_asked_about_once_more(order):
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    why, then = outlook(order)
    assert why == "Not paid: the last attempt, through WeChat Pay, was closed without money."
    assert f"whether attempt {payment.number} was paid in its last moment" in then


def test_paid_order_waits_to_be_shipped(order):
    pay(make_payment(order))
    why, then = outlook(order)
    assert why.startswith("Paid: ¥129.00 through WeChat Pay, ")
    assert then == "The goods are to be shipped."


def test_receipt_that_is_still_to_be_mailed_is_said(order):
    pay(make_payment(order))
    set_alarm(MAIL_RECEIPT, order.number, in_s=30)
    assert "The receipt is mailed at " in outlook(order)[1]


def test_link_that_is_still_to_be_mailed_is_said_and_then_told(order):
    ask_for_link(order.number, order.email)
    assert "The order's link is mailed at " in outlook(order)[1]
    handle_now(MAIL_LINK, order.number)
    assert "Link mailed" in told(order)


def test_mail_that_money_is_back_is_said_and_then_told(order):
    payment = make_payment(order)
    pay(payment)
    pay(payment, channel_number="second")
    refund = Refund.objects.get()
    finish(refund)
    assert f"That refund {refund.number} is back is mailed at " in outlook(order)[1]
    handle_now(MAIL_RETURNED, refund.number)
    assert "Mailed that the money is back" in told(order)


def test_second_payment_is_on_its_way_back_and_when_it_is_asked_about(order):
    payment = make_payment(order)
    pay(payment)
    pay(payment, channel_number="second")
    why, then = outlook(order)
    assert "It was paid again: ¥129.00 through WeChat Pay" in why
    assert why.endswith("; that is on its way back.")
    refund = Refund.objects.get()
    assert f"Refund {refund.number} of ¥129.00 is sent to WeChat Pay at " in then
    Refund.objects.update(sent_at=Now())
    assert f"Refund {refund.number} of ¥129.00 is on its way; WeChat Pay is asked at " in outlook(order)[1]
    assert read_story(fresh(order)).outlook.mood is Mood.BACK


def test_second_payment_that_went_back_is_no_worry(order):
    payment = make_payment(order)
    pay(payment)
    pay(payment, channel_number="second")
    arrive(Refund.objects.get())
    assert "; that went back, " in outlook(order)[0]
    assert read_story(fresh(order)).outlook.mood is Mood.DONE


def test_money_that_came_after_the_order_was_cancelled_goes_back(order):
    payment = make_payment(order)
    close(order)
    pay(payment)
    why, _ = outlook(order)
    assert why.startswith("Not paid: it was cancelled by the shopper, ")
    assert "Money came afterwards: ¥129.00 through WeChat Pay" in why
    assert why.endswith("; that is on its way back.")


def test_late_money_of_a_channel_without_refunds_waits_for_a_person(order):
    payment = make_payment(order, channel="boleto", scene="voucher")
    close(order)
    pay(payment)
    why, then = outlook(order)
    assert why.endswith("; Boleto cannot send that back, so a person has to.")
    assert "Waits for a person: Money to be given back by hand" in then


def test_silent_channel_of_a_replaced_attempt_is_not_hidden_by_the_refusal_of_the_next(order):
    old = make_payment(order)
    supersede_payment(lock_order(order.number), old)
    keep_call(old, outcome="unknown")
    refused = make_payment(order, channel="alipay", scene="page")
    settle_payment(report(refused, Outcome.REFUSED), channel="alipay", source=Source.RESPONSE)
    why = outlook(order)[0]
    assert why.startswith("Not known: the shopper may have paid through WeChat Pay, which does not say.")
    assert "nothing was taken" not in why


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_closed_attempt_of_which_the_channel_says_nothing_any_more_is_not_called_unpaid(order, is_cancelled):
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    if is_cancelled:
        close(order)
    keep_call(payment, outcome="unknown")
    told = read_story(fresh(order)).outlook
    assert told.why.startswith("Not known: the shopper may have paid through WeChat Pay, which does not say.")
    assert ("It was cancelled by the shopper, " in told.why) is is_cancelled
    assert told.mood is Mood.WAITING


def test_order_that_expired_says_that_no_channel_took_money(order):
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    close(order, CloseReason.EXPIRED)
    assert outlook(order)[0].endswith("No channel has taken money for it.")


def test_order_that_staff_cancelled_names_who(order):
    close(order, actor="tom")
    why = outlook(order)[0]
    assert why.startswith("Not paid: it was cancelled by tom, ")
    assert why.endswith("Nobody had tried to pay.")


def test_money_of_another_amount_waits_for_a_person_until_a_deadline(order):
    pay(make_payment(order), amount_minor=1)
    why, then = outlook(order)
    assert why.startswith("Not paid: ¥129.00 was asked for and another amount came (¥0.01 through WeChat Pay")
    assert "Waits for a person: Amount or currency differ (" in then
    assert "nobody has taken it yet." in then
    assert read_story(fresh(order)).outlook.mood is Mood.WRONG


def test_case_says_who_looks_after_it(order):
    open_case(Case.Kind.IRREGULAR, order.number, order=order, evidence={})
    Case.objects.update(owner=User.objects.create_user("eve"))
    assert "; eve looks after it." in outlook(order)[1]


def test_refund_that_waits_for_a_second_person_names_who_asked(order, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    payment = make_payment(order)
    pay(payment)
    refund = ask_refund(payment.number, amount=5000, reason="broken", actor="sue")
    then = outlook(order)[1]
    assert (
        f"Refund {refund.number} of ¥50.00 waits for a second person to approve it; sue asked, until " in then
    )
    assert "to be shipped" not in then


def test_part_that_went_back_is_named(order):
    payment = make_payment(order)
    pay(payment)
    arrive(ask_refund(payment.number, amount=5000, reason="broken", actor="sue"))
    assert outlook(order)[0].endswith("¥50.00 of it went back.")


def test_refunded_order_has_nothing_left_to_happen(order):
    payment = make_payment(order)
    pay(payment)
    arrive(ask_refund(payment.number, amount=order.amount, reason="broken", actor="sue"))
    Alarm.objects.all().delete()
    why, then = outlook(order)
    assert why.startswith("It was paid (¥129.00 through WeChat Pay, ")
    assert "all of it went back by " in why
    assert then == "Nothing more happens by itself."


def test_shipped_order_is_completed_by_somebody(order):
    pay(make_payment(order))
    record([move_order(lock_order(order.number), OrderStatus.SHIPPED, source=Source.STAFF, actor="tom")])
    why, then = outlook(order)
    assert why.startswith("Paid: ")
    assert "somebody marks it completed when it has arrived" in then


def test_replaced_attempt_that_may_still_take_money_is_watched(order):
    old = make_payment(order, channel="alipay", scene="page")
    supersede_payment(lock_order(order.number), old)
    make_payment(order)
    why, then = outlook(order)
    assert "waiting for the shopper to pay in WeChat Pay" in why
    assert f"Alipay may still take money for attempt {old.number}, until " in then
    assert "what comes goes back by itself." in then


def test_proposal_waits_for_a_second_person(order):
    payment = make_payment(order)
    make_proposal(payment)
    assert f"Waits for a second person: sue proposes to settle {payment.number} as paid" in outlook(order)[1]


def test_message_that_waits_is_said(order):
    payment = make_payment(order)
    kept = make_callback(payment)
    set_alarm(TAKE_CALLBACK, str(kept.pk), in_s=5)
    assert "A message of WeChat Pay could not be settled yet and is taken again at " in outlook(order)[1]


def test_alarm_that_nobody_comes_for_is_said(order):
    make_payment(order)
    Alarm.objects.filter(kind=QUERY_PAYMENT).update(due_at=Now() - timedelta(minutes=5))
    assert "any moment now (overdue by 5 minutes; is `watch` running?)." in outlook(order)[1]


def test_open_attempt_without_an_alarm_is_left_to_the_scanner(order):
    make_payment(order)
    Alarm.objects.filter(kind=QUERY_PAYMENT).delete()
    assert "is asked again as soon as the scanner notices" in outlook(order)[1]


def test_order_that_is_marked_as_paid_without_money_is_no_success(order):
    with by_hand():
        Order.objects.update(status=OrderStatus.READY_FOR_SHIPMENT)
    told = read_story(fresh(order)).outlook
    assert told.mood is Mood.WRONG
    assert "no money of it is known" in told.why


# ---- words -------------------------------------------------------------------------------------------------------


def test_every_outcome_has_its_words():
    assert set(ANSWERS) >= {str(outcome) for outcome in Outcome}


def test_alarms_of_other_rooms_are_named_as_they_are_set():
    assert {MAIL_RECEIPT, MAIL_LINK, TAKE_CALLBACK} <= set(kinds())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (90_000, "1 day"),
    ],
)
def test_spans_are_told_in_their_largest_unit(seconds, words):
    assert tell_span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-2, "just now"), (0, "just now"), (-90, "1 minute ago"), (90, "in 1 minute"), (1, "in 1 second")],
)
def test_moments_have_their_distance(seconds, words):
    now = timezone.now()
    assert tell_when(now + timedelta(seconds=seconds), now).endswith(f" ({words})")


def test_moment_of_another_day_has_its_date():
    now = timezone.now()
    at = now - timedelta(days=2)
    assert tell_when(at, now) == f"{timezone.localtime(at):%Y-%m-%d %H:%M} (2 days ago)"


def test_alarm_of_this_moment_comes_any_moment():
    now = timezone.now()
    assert tell_due(now, now) == "any moment now"


# ---- the lines ---------------------------------------------------------------------------------------------------


def make_callback(payment: Payment, **more: Any) -> Callback:
    return Callback.objects.create(
        channel="wechat", message_id=f"m{Callback.objects.count()}", kind="TRANSACTION.SUCCESS",
        number=payment.number, payment=payment, body=b"{}", report={}, **more,
    )  # fmt: skip


def make_proposal(payment: Payment) -> Proposal:
    return Proposal.objects.create(
        number=f"E{Proposal.objects.count()}", payment=payment, evidence="word", channel_number="42",
        amount=12900, currency="CNY", reason="she showed it", asked_by="sue",
    )  # fmt: skip


def make_everything(order: Order, payment: Payment) -> None:
    """One more row of each kind that needs no flow."""
    nth = Callback.objects.count()
    keep_call(payment)
    make_callback(payment, taken_at=Now())
    RefusedCallback.objects.create(
        order_number=order.number, channel="wechat", number=payment.number, reason="signature", body=b""
    )
    StaffAction.objects.create(
        order_number=order.number, action="ask_payment", subject=payment.number, actor="tom", reason="she called",
        is_done=True, result="open",
    )  # fmt: skip
    Difference.objects.create(
        channel="wechat", day=order.created_at.date(), kind="unsettled", severity=3, subject=f"42{nth}",
        number=payment.number, currency="CNY", theirs=12900,
    )  # fmt: skip
    Case.objects.create(
        kind="irregular", subject=f"{payment.number}{nth}", order=order, deadline=Now(), resolved_at=Now(),
        resolution="called her",
    )  # fmt: skip


def told(order: Order) -> list[str]:
    return [entry.what for entry in read_story(fresh(order)).entries]


def test_story_tells_everything_in_the_order_in_which_it_happened(order):
    payment = make_payment(order)
    keep_call(payment)
    pay(payment)
    pay(payment, channel_number="second")
    Receipt.objects.filter(receipt_class="settled").update(mailed_at=Now())
    assert told(order) == [
        "Order placed",
        "Attempt begun",
        "Asked whether it is paid",
        "¥129.00 came",
        "Attempt paid",
        "Order paid",
        "¥129.00 came",
        "Refund on its way",
        "Receipt mailed",
    ]


def test_every_kind_of_row_has_its_line(order):
    payment = make_payment(order)
    make_everything(order, payment)
    make_proposal(payment)
    supersede_payment(lock_order(order.number), payment)
    assert set(told(order)) >= {
        "Asked whether it is paid",
        "Message received",
        "Message refused",
        "Ask payment",
        "Books differ: Paid there, not settled here",
        "Case opened",
        "Case resolved",
        "Settlement proposed",
        "Attempt replaced",
    }


def find(order: Order, what: str) -> Any:
    return next(entry for entry in read_story(fresh(order)).entries if entry.what == what)


def test_line_says_who_and_how_and_the_facts(order):
    payment = make_payment(order)
    pay(payment)
    paid = find(order, "Attempt paid")
    assert (paid.who, paid.about, paid.mood) == ("WeChat Pay, by its message", payment.number, Mood.DONE)
    assert paid.detail == "PAYING → PAID · WeChat Pay"
    begun = find(order, "Attempt begun")
    assert (begun.who, begun.detail) == ("shopper", "UNPAID → PAYING · WeChat Pay")


def test_call_says_what_was_answered_and_how_long_it_took(order):
    keep_call(make_payment(order), outcome="unknown", code="timeout")
    call = find(order, "Asked whether it is paid")
    assert (call.detail, call.took_ms, call.mood) == ("No believable answer (timeout)", 12, Mood.WAITING)


def test_refused_message_is_said_to_be_believed_by_nobody(order):
    payment = make_payment(order)
    make_everything(order, payment)
    refused = find(order, "Message refused")
    assert refused.detail == "It is not genuine (signature): nothing of it was believed."
    assert refused.who == "somebody, as WeChat Pay"


def test_message_names_the_row_whose_body_may_be_looked_at(order):
    kept = make_callback(make_payment(order))
    assert find(order, "Message received").callback == kept.pk


def test_message_that_waited_has_a_second_line_when_it_is_taken(order):
    make_callback(make_payment(order), received_at=Now() - timedelta(minutes=1), taken_at=Now())
    assert "Message taken" in told(order)


def test_staff_action_that_was_refused_says_so(order):
    StaffAction.objects.create(
        order_number=order.number,
        action="close_payment",
        subject="P1",
        actor="tom",
        is_done=False,
        result="too late",
    )
    line = find(order, "Close payment: refused")
    assert (line.who, line.detail, line.mood) == ("tom", "too late", Mood.WRONG)


def test_receipt_that_could_not_be_delivered_was_not_mailed(order):
    pay(make_payment(order))
    open_case(Case.Kind.MAIL, order.number, order=order, evidence={})
    Receipt.objects.update(mailed_at=Now())
    assert "Receipt not mailed" in told(order)


def test_case_without_an_order_is_found_by_what_it_is_about(order):
    payment = make_payment(order)
    open_case(Case.Kind.FAILING, payment.number, order=None, evidence={})
    assert "Case opened" in told(order)


def test_lines_of_other_orders_are_not_told(order):
    other = make_order()
    make_everything(other, make_payment(other))
    assert told(order) == ["Order placed"]


def test_every_status_of_an_event_has_its_words(order):
    """What is not in the table would be told by its bare status."""
    statuses = {"order": OrderStatus, "payment": PaymentStatus, "refund": RefundStatus}
    steps = {(kind, status) for kind, all_of_it in statuses.items() for status in all_of_it}
    assert set(EVENTS) == steps | {("link", "RENEWED"), ("mail", "LINK"), ("mail", "RETURNED")}


def statements(order: Order) -> int:
    with CaptureQueriesContext(connection) as seen:
        read_story(order)
    return len(seen)


def test_story_takes_the_same_statements_whatever_has_happened(order):
    few = statements(order)
    for channel in ("wechat", "alipay"):
        payment = make_payment(order, channel=channel)
        supersede_payment(lock_order(order.number), payment)
        for _ in range(3):
            make_everything(order, payment)
        pay(payment)
    assert statements(fresh(order)) == few == 13


def test_story_is_bounded_and_says_that_there_is_more(order):
    Event.objects.bulk_create(
        Event(
            order_number=order.number, subject_kind="payment", subject=f"P{nth}", from_status="PAYING",
            to_status="CLOSED", source=Source.QUERY,
        )
        for nth in range(MOST)
    )  # fmt: skip
    story = read_story(fresh(order))
    assert (len(story.entries), story.has_more) == (MOST, True)
    assert story.entries[-1].about == f"P{MOST - 1}"
    assert not read_story(make_order()).has_more
