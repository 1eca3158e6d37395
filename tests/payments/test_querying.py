"""Active querying: a lost callback is found, no answer changes nothing, an abandoned code expires without a case."""

from datetime import timedelta

import pytest
import requests
from django.db.models import F
from django.db.models.functions import Now

from orders.access import token_of
from payments.applying import apply_for_payment
from payments.apps import QUERY_GAPS_S
from payments.channels import wechat
from payments.channels.base import Outcome
from payments.channels.wire import Reply, Wire
from payments.errors import AskedTooOften, PaymentNotFound
from payments.models import Case, Payment
from payments.moves import FIRST_QUERY_S, mark_unsure
from payments.querying import keep_asking, query_by_person, query_order_by_person, query_payment
from payments.statuses import PaymentStatus, Settled
from shop.alarms import claim_due, handle
from shop.models import Alarm
from tests.factories import make_order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def payment(sandbox) -> Payment:
    sandbox.set_faults({"notify": {"drop": 1.0}})
    return apply_for_payment(make_order().number, channel="wechat", scene="qr").payment


def break_queries(sandbox, what: str, **more: object) -> None:
    broken = {"channel": "wechat", "operation": "query", "when": "after", "what": what, "times": 20, **more}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [broken]})


def status_of(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.status


def die(payment: Payment) -> None:
    long_ago = Now() - timedelta(seconds=1)
    Payment.objects.filter(pk=payment.pk).update(dead_at=long_ago)
    Alarm.objects.filter(subject=payment.number).update(last_at=long_ago, due_at=long_ago)


def wake(payment: Payment) -> None:
    Alarm.objects.filter(subject=payment.number).update(due_at=Now())
    for claim in claim_due(5):
        assert handle(claim)


def test_the_schedule_asks_after_10_20_30_seconds_then_after_square_minutes():
    moments = [FIRST_QUERY_S + sum(QUERY_GAPS_S[:n]) for n in range(8)]
    assert moments == [10, 20, 30, 60, 4 * 60, 9 * 60, 16 * 60, 25 * 60]


def test_claims_come_at_the_moments_of_the_schedule(payment):
    alarm = Alarm.objects.get(subject=payment.number)
    applied_at = payment.created_at
    moments = []
    for _ in range(6):
        moments.append(round((alarm.due_at - applied_at).total_seconds()))
        Alarm.objects.filter(pk=alarm.pk).update(due_at=Now())
        [claim] = claim_due(1)
        alarm.refresh_from_db()
        # As if the claim had come at its moment.
        late = alarm.tried_at - applied_at - timedelta(seconds=moments[-1])
        alarm.due_at -= late
        assert claim.attempt == len(moments)
    assert moments == [10, 20, 30, 60, 240, 540]


def test_paid_order_whose_callback_was_lost_is_found(sandbox, payment):
    sandbox.pay(payment.number)
    wake(payment)
    assert status_of(payment) == PaymentStatus.PAID
    payment.order.refresh_from_db()
    assert payment.order.status == "READY_FOR_SHIPMENT"


def test_open_payment_stays_paying_and_is_asked_again(payment):
    wake(payment)
    assert status_of(payment) == PaymentStatus.PAYING
    alarm = Alarm.objects.get(subject=payment.number)
    assert (alarm.due_at - alarm.tried_at).total_seconds() == 10


@pytest.mark.parametrize(
    "what", ["reset", "garbage", "truncate", "badsign", "redirect", "status", "syserr", "notfound"]
)
def test_answer_that_cannot_be_believed_changes_nothing(sandbox, payment, what):
    sandbox.pay(payment.number)
    break_queries(sandbox, what)
    outcome, settled = query_payment(payment.number)
    assert outcome in (Outcome.UNKNOWN, Outcome.NOT_FOUND)
    assert settled is Settled.STALE
    assert status_of(payment) == PaymentStatus.PAYING
    sandbox.clear_faults()
    query_payment(payment.number)
    assert status_of(payment) == PaymentStatus.PAID


def test_abandoned_code_expires_after_it_is_dead_and_opens_no_case(payment):
    die(payment)
    wake(payment)
    assert status_of(payment) == PaymentStatus.CLOSED
    assert not Case.objects.exists()
    assert not Alarm.objects.filter(subject=payment.number).exists()


def test_not_found_before_the_end_keeps_asking_and_after_it_ends(sandbox, payment):
    break_queries(sandbox, "notfound")
    wake(payment)
    assert status_of(payment) == PaymentStatus.PAYING
    die(payment)
    wake(payment)
    assert status_of(payment) == PaymentStatus.CLOSED


def test_unsigned_not_found_ends_nothing(payment, monkeypatch):
    die(payment)
    unsigned = Reply(status=404, headers={}, body=b'{"code": "ORDER_NOT_EXIST"}', elapsed_ms=1)
    monkeypatch.setattr(Wire, "send", lambda *args, **more: unsigned)
    assert query_payment(payment.number) == (Outcome.UNKNOWN, Settled.STALE)
    assert status_of(payment) == PaymentStatus.PAYING


def test_case_of_silence_is_answered_when_the_channel_speaks_again(sandbox, payment):
    break_queries(sandbox, "status", value=500)
    die(payment)
    wake(payment)
    sandbox.clear_faults()
    wake(payment)
    assert status_of(payment) == PaymentStatus.CLOSED
    assert Case.objects.get().resolved_at is not None


def test_query_that_fails_at_its_last_moment_is_a_case_and_is_tried_once_a_day(payment, monkeypatch):
    monkeypatch.setattr("payments.querying.query_payment", lambda number: 1 / 0)
    die(payment)
    for claim in claim_due(5):
        assert not handle(claim)
    assert Case.objects.get().kind == Case.Kind.FAILING
    alarm = Alarm.objects.annotate(wait=F("due_at") - Now()).get(subject=payment.number)
    assert alarm.wait > timedelta(hours=23)


def test_silence_until_the_end_opens_one_case_and_goes_on_once_a_day(sandbox, payment):
    break_queries(sandbox, "status", value=500)
    die(payment)
    wake(payment)
    die(payment)
    wake(payment)
    assert status_of(payment) == PaymentStatus.PAYING
    assert Case.objects.get().kind == Case.Kind.UNANSWERED
    alarm = Alarm.objects.annotate(wait=F("due_at") - Now()).get(subject=payment.number)
    assert timedelta(hours=23) < alarm.wait <= timedelta(hours=24)


def test_answer_about_the_wrong_amount_is_set_aside(sandbox, payment):
    sandbox.pay(payment.number)
    break_queries(sandbox, "lie", value={"amount": 1})
    assert query_payment(payment.number)[1] is Settled.REVIEW
    assert query_payment(payment.number)[1] is Settled.REPEATED
    assert Case.objects.count() == 1


def test_a_person_may_ask_but_not_too_often(payment):
    assert query_by_person(payment.number) is Settled.STALE
    with pytest.raises(AskedTooOften):
        query_by_person(payment.number)


def test_asking_about_an_order_asks_about_every_attempt_that_may_have_been_paid(sandbox, payment):
    Payment.objects.update(superseded_at=payment.created_at)
    apply_for_payment(payment.order.number, channel="wechat", scene="qr")
    sandbox.pay(payment.number)
    query_order_by_person(payment.order.number)
    assert status_of(payment) == PaymentStatus.PAID
    with pytest.raises(AskedTooOften):
        query_order_by_person(payment.order.number)


def test_verified_answer_ends_the_doubt_of_a_close_without_one(payment):
    mark_unsure(payment)
    query_payment(payment.number)
    payment.refresh_from_db()
    assert not payment.is_unsure
    assert payment.close_unanswered_since is not None  # no close has been decided


def test_while_somebody_looks_at_the_order_the_channel_is_asked_every_ten_seconds(payment):
    def gap_s() -> float:
        alarm = Alarm.objects.get(subject=payment.number)
        return (alarm.due_at - (alarm.tried_at or alarm.created_at)).total_seconds()

    Alarm.objects.filter(subject=payment.number).update(due_at=Now(), place=6)
    assert claim_due(5)
    assert gap_s() == 540
    keep_asking(payment.order)
    assert gap_s() == pytest.approx(10, abs=1)


def test_looking_at_an_order_never_puts_a_query_off(payment):
    Alarm.objects.filter(subject=payment.number).update(due_at=Now())
    keep_asking(payment.order)
    assert [claim.subject for claim in claim_due(5)] == [payment.number]


def test_asking_about_nothing_is_not_found(sandbox):
    with pytest.raises(PaymentNotFound):
        query_by_person("PNOTHING")


def test_page_that_waits_heals_its_order_when_no_guardian_comes(sandbox, payment):
    sandbox.pay(payment.number)
    assert not keep_asking(payment.order)  # not overdue yet
    Alarm.objects.filter(subject=payment.number).update(due_at=Now() - timedelta(seconds=3))
    assert keep_asking(payment.order)
    assert status_of(payment) == PaymentStatus.PAID


def test_page_that_waits_asks_the_channel_no_more_often_than_every_ten_seconds(sandbox, payment):
    Alarm.objects.filter(subject=payment.number).update(due_at=Now() - timedelta(seconds=3))
    assert [keep_asking(payment.order) for _ in range(5)] == [True, False, False, False, False]
    alarm = Alarm.objects.get(subject=payment.number)
    assert alarm.attempts == 1


def test_status_call_of_a_waiting_page_finds_the_payment_without_watch_and_cluster(
    sandbox, payment, live_server
):
    sandbox.pay(payment.number)
    Alarm.objects.filter(subject=payment.number).update(due_at=Now() - timedelta(seconds=3))
    told = requests.get(
        f"{live_server.url}/api/v1/orders/{payment.order.number}/status",
        headers={"Authorization": f"Bearer {token_of(payment.order)}"},
        timeout=10,
    )
    assert told.json()["status"] == "READY_FOR_SHIPMENT"


def test_who_looked_for_minutes_and_left_is_not_asked_about_later_than_anybody(payment):
    alarm = Alarm.objects.filter(subject=payment.number)
    for _ in range(18):  # three minutes before an open page
        keep_asking(payment.order)
        alarm.update(due_at=Now())
        assert claim_due(1)
    left = alarm.get()
    assert (left.due_at - left.tried_at).total_seconds() <= 30
    assert left.attempts == 18


def test_answer_that_was_asked_for_before_the_end_does_not_end_the_attempt(payment, monkeypatch):
    query = wechat.WeChat.query

    def query_slowly(channel: wechat.WeChat, number: str) -> object:
        told = query(channel, number)
        die(payment)  # while the answer was on its way
        return told

    monkeypatch.setattr(wechat.WeChat, "query", query_slowly)
    query_payment(payment.number)
    assert status_of(payment) == PaymentStatus.PAYING
    query_payment(payment.number)
    assert status_of(payment) == PaymentStatus.CLOSED
