"""Refunds of surplus and late money: sent once under one number, asked about until they end."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import F

from payments.applying import apply_for_payment
from payments.audit import audit
from payments.cases import list_open_cases, resolve_case
from payments.channels import wechat
from payments.channels.base import Outcome, RefundReport, RefundRequest
from payments.errors import OverRefund
from payments.models import Case, Payment, Refund
from payments.moves import open_refund
from payments.querying import query_payment
from payments.refunding import send_refund
from payments.returning import settle_refund
from payments.settling import settle_payment
from payments.statuses import RefundStatus, Settled
from shop.alarms import handle_now
from shop.models import Alarm, Source
from tests.factories import make_order, report, steps
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def refund(sandbox) -> Refund:
    """The open refund of a second trade under one number."""
    two = {"channel": "wechat", "operation": "pay", "when": "before", "what": "two_trades"}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [two]})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    first, second = sandbox.pay(payment.number)
    query_payment(payment.number)
    # The channel's query names one trade of a number; the other is known by its own notification.
    settle_other(payment, first, second)
    return Refund.objects.get()


def settle_other(payment: Payment, *trades: dict[str, object]) -> None:
    for trade in trades:
        settle_payment(
            report(payment, channel_number=trade["channel_number"]), channel="wechat", source=Source.CALLBACK
        )


def break_refund(sandbox, what: str, when: str, **more: object) -> None:
    broken = {"channel": "wechat", "operation": "refund", "when": when, "what": what, **more}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [broken]})


def refunds_at_the_channel(sandbox, refund: Refund) -> list[dict[str, object]]:
    trades = sandbox.trades(refund.receipt.number)
    return [made for trade in trades for made in trade["refunds"]]


def status_of(refund: Refund) -> str:
    refund.refresh_from_db()
    return refund.status


def finish(refund: Refund) -> None:
    wait_until(lambda: send_refund(refund) and status_of(refund) == RefundStatus.REFUNDED, every_s=0.1)


def test_refund_is_sent_and_ends_when_the_channel_says_so(sandbox, refund):
    finish(refund)
    [made] = refunds_at_the_channel(sandbox, refund)
    assert (made["out_refund_no"], made["amount"]) == (refund.number, refund.amount)
    [trade] = [trade for trade in sandbox.trades(refund.receipt.number) if trade["refunds"]]
    assert trade["channel_number"] == refund.receipt.channel_number
    assert steps(refund.number) == [
        ("", "PENDING_APPROVAL"),
        ("PENDING_APPROVAL", "REFUNDING"),
        ("REFUNDING", "REFUNDED"),
    ]
    assert not Alarm.objects.filter(kind="send_refund").exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_refund_without_an_answer_is_asked_about_and_made_once(sandbox, refund, when):
    break_refund(sandbox, "reset", when)
    assert send_refund(refund) is Settled.STALE
    assert status_of(refund) == RefundStatus.REFUNDING
    finish(refund)
    assert len(refunds_at_the_channel(sandbox, refund)) == 1


def test_refund_that_cannot_be_sent_stays_on_its_way(sandbox, refund, settings):
    good = settings.CHANNELS
    settings.CHANNELS = {"wechat": good["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    send_refund(refund)
    assert status_of(refund) == RefundStatus.REFUNDING
    settings.CHANNELS = good
    finish(refund)


def test_refund_that_did_not_arrive_stays_on_its_way_and_is_a_case(sandbox, refund):
    break_refund(sandbox, "refund_abnormal", "before")
    wait_until(lambda: send_refund(refund) is Settled.REVIEW, every_s=0.1)
    assert status_of(refund) == RefundStatus.REFUNDING
    assert Case.objects.get().kind == Case.Kind.REFUND


def test_refund_that_the_channel_closed_fails_and_is_a_case(sandbox, refund):
    break_refund(sandbox, "refund_abnormal", "before", value="CLOSED")
    wait_until(lambda: send_refund(refund) and status_of(refund) == RefundStatus.FAILED, every_s=0.1)
    assert Case.objects.get().kind == Case.Kind.REFUND


@pytest.mark.parametrize(
    ("status", "changed"), [(RefundStatus.FAILED, {}), (RefundStatus.REFUNDING, {"amount_minor": 1})]
)
def test_money_that_went_back_otherwise_than_we_think_is_a_case(refund, status, changed):
    Refund.objects.update(status=status)
    told = {"outcome": Outcome.SUCCEEDED, "number": refund.number, "amount_minor": refund.amount} | changed
    assert settle_refund(RefundReport(**told), channel="wechat", source=Source.CALLBACK) is Settled.REVIEW
    assert status_of(refund) == status
    assert Case.objects.get().kind == Case.Kind.DISAGREES


def test_refund_that_went_back_with_a_flaw_is_done_and_a_case(refund, django_user_model):
    told = RefundReport(outcome=Outcome.SUCCEEDED, number=refund.number, code="A6", needs_person=True)
    assert settle_refund(told, channel="wechat", source=Source.QUERY) is Settled.MOVED
    assert status_of(refund) == RefundStatus.REFUNDED
    assert not Alarm.objects.filter(kind="send_refund").exists()
    case = list_open_cases().get()
    assert (case.kind, case.subject, case.evidence) == ("irregular", refund.number, {"code": "A6"})
    assert audit() == []
    resolve_case(case.pk, actor=django_user_model.objects.create_user("anna"), resolution="looked at")
    settle_refund(told, channel="wechat", source=Source.QUERY)
    assert not list_open_cases()


def test_more_than_what_was_paid_is_never_promised(refund):
    with transaction.atomic(), pytest.raises(OverRefund):
        open_refund(refund.receipt, kind=Refund.Kind.ASKED, amount=1, reason="again", source=Source.STAFF)


def test_refund_is_asked_about_first_by_whoever_comes_after_a_crash_in_the_call(
    sandbox, refund, monkeypatch, caplog
):
    send = wechat.WeChat.refund

    def send_and_die(channel: wechat.WeChat, request: RefundRequest) -> RefundReport:
        send(channel, request)
        raise SystemExit

    with monkeypatch.context() as crash:
        crash.setattr(wechat.WeChat, "refund", send_and_die)
        with pytest.raises(SystemExit):
            send_refund(refund)
    refund.refresh_from_db()
    caplog.set_level("INFO", "nodrop.wire")
    caplog.clear()
    send_refund(refund)
    assert [line.operation for line in caplog.records if hasattr(line, "operation")] == ["query_refund"]


@pytest.mark.parametrize(
    ("outcome", "age"), [(Outcome.UNKNOWN, timedelta(hours=2)), (Outcome.OPEN, timedelta(days=7))]
)
def test_refund_that_does_not_end_is_a_case_in_the_end(refund, monkeypatch, outcome, age):
    still = RefundReport(outcome=outcome, number=refund.number)
    monkeypatch.setattr(wechat.WeChat, "refund", lambda *_: still)
    monkeypatch.setattr(wechat.WeChat, "query_refund", lambda *_: still)
    handle_now("send_refund", refund.number)
    assert not Case.objects.exists()
    Refund.objects.update(created_at=F("created_at") - age)
    handle_now("send_refund", refund.number)
    assert Case.objects.get().kind == Case.Kind.REFUND
    assert status_of(refund) == RefundStatus.REFUNDING


def test_our_own_refusal_of_a_repeat_does_not_end_a_refund_that_may_have_been_made(sandbox, refund, settings):
    break_refund(sandbox, "reset", "before")
    send_refund(refund)
    refund.refresh_from_db()
    settings.PUBLIC_URL = "http://shop.example"  # no channel may be told to call there
    send_refund(refund)
    assert status_of(refund) == RefundStatus.REFUNDING
