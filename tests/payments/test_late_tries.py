"""Tries that come back late: who slept over a lease, or over a rival, undoes nothing of what was done meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from orders.models import Order
from payments import ending, querying
from payments.applying import Applied, apply_for_payment
from payments.audit import audit
from payments.channels.base import Outcome, RefundReport, Refused, Unanswered, Unreachable
from payments.channels.wechat import WeChat
from payments.errors import PaymentConfirming
from payments.models import Case, Payment, Refund
from payments.refunding import ask_refund
from payments.settling import settle_payment, settle_unmatched
from payments.statuses import PaymentStatus, RefundStatus
from shop import locks
from shop.alarms import Claim, claim_due, handle, handle_now
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _short_line(monkeypatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.05)


def elsewhere(deed: Callable[[], Any]) -> Any:
    """What `deed` gives in another thread, with a connection of its own."""

    def run() -> Any:
        try:
            return deed()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def apply(order: Order) -> Applied:
    return apply_for_payment(order.number, channel="wechat", scene="qr")


def sleep_over_the_lease() -> None:
    Payment.objects.update(lease_until=Now() - timedelta(seconds=1))


def test_refusal_of_a_try_that_slept_over_its_lease_does_not_fail_a_code_that_is_shown(sandbox, monkeypatch):
    order, create = make_order(), WeChat.create
    tries: list[int] = []

    def slow_then_refused(self: WeChat, request: Any) -> Any:
        tries.append(1)
        if len(tries) > 1:
            return create(self, request)
        sleep_over_the_lease()
        assert elsewhere(lambda: apply(order)).payment.action
        raise Refused("too late", code="SIGNERROR")

    monkeypatch.setattr(WeChat, "create", slow_then_refused)
    with pytest.raises(PaymentConfirming):
        apply(order)
    payment = Payment.objects.get()
    assert (payment.status, payment.action is None) == (PaymentStatus.PAYING, False)
    assert Alarm.objects.filter(kind="query_payment", subject=payment.number).exists()


def test_try_that_never_left_says_nothing_about_the_one_that_did(sandbox, monkeypatch):
    order, create = make_order(), WeChat.create
    tries: list[int] = []

    def first_unreachable(self: WeChat, request: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            sleep_over_the_lease()
            with pytest.raises(PaymentConfirming):
                elsewhere(lambda: apply(order))
            raise Unreachable("no route")
        if len(tries) == 2:
            create(self, request)
            raise Unanswered("lost on its way back")
        raise Refused("the repeat", code="INVALID_REQUEST")

    monkeypatch.setattr(WeChat, "create", first_unreachable)
    with pytest.raises(Exception, match="wechat cannot take"):
        apply(order)
    assert not Payment.objects.get().nothing_sent
    sleep_over_the_lease()
    with pytest.raises(PaymentConfirming):
        apply(order)
    assert Payment.objects.get().status == PaymentStatus.PAYING


def test_refusal_of_a_refund_counts_only_while_nobody_else_tries(sandbox, monkeypatch):
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    refund = ask_refund(payment.number, amount=1000, reason="broken", actor="eve")
    calls: list[int] = []
    begun, refused = threading.Event(), threading.Event()
    rivals: list[threading.Thread] = []

    def send(self: WeChat, request: Any) -> RefundReport:
        calls.append(1)
        if len(calls) == 1:
            rivals.append(
                threading.Thread(target=elsewhere, args=[lambda: handle_now("send_refund", refund.number)])
            )
            rivals[0].start()
            begun.wait(5)
            raise Refused("too often", code="FREQUENCY_LIMITED")
        begun.set()
        refused.wait(5)
        return RefundReport(
            outcome=Outcome.SUCCEEDED,
            number=request.number,
            channel_number="50300",
            payment_number=request.payment_number,
            amount_minor=request.amount_minor,
        )

    monkeypatch.setattr(WeChat, "refund", send)
    unknown = RefundReport(outcome=Outcome.NOT_FOUND, number=refund.number)
    monkeypatch.setattr(WeChat, "query_refund", lambda self, number: unknown)
    handle_now("send_refund", refund.number)
    refused.set()
    rivals[0].join()
    refund.refresh_from_db()
    assert refund.status == RefundStatus.REFUNDED
    assert not Case.objects.exists()


def test_refusal_of_the_latest_try_of_a_refund_is_final(sandbox, monkeypatch):
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    refund = ask_refund(payment.number, amount=1000, reason="broken", actor="eve")

    def refuse(self: WeChat, request: Any) -> RefundReport:
        raise Refused("no", code="NO_AUTH")

    monkeypatch.setattr(WeChat, "refund", refuse)
    handle_now("send_refund", refund.number)
    assert Refund.objects.get().status == RefundStatus.FAILED


def test_query_that_ends_its_schedule_asks_nobody_about_what_was_paid_meanwhile(sandbox, monkeypatch):
    payment = make_payment(make_order())
    Alarm.objects.filter(kind="query_payment").update(due_at=Now(), last_at=Now())

    def unknown_but_paid(number: str, **_: Any) -> tuple[Outcome, None]:
        elsewhere(lambda: settle_payment(report(payment), channel="wechat", source=Source.CALLBACK))
        return Outcome.UNKNOWN, None

    monkeypatch.setattr(querying, "query_payment", unknown_but_paid)
    [claim] = claim_due(1)
    assert claim.is_last
    assert handle(claim)
    assert not Case.objects.exists()
    assert audit() == []


def test_expiry_that_cannot_end_asks_nobody_about_what_was_paid_meanwhile(sandbox, monkeypatch):
    order = make_order()
    payment = make_payment(order)
    Order.objects.update(expires_at=Now() - timedelta(seconds=1))

    def give_up(*_: Any, **__: Any) -> None:
        elsewhere(lambda: settle_payment(report(payment), channel="wechat", source=Source.CALLBACK))
        raise PaymentConfirming(order.number, retry_after_s=5)

    monkeypatch.setattr(ending, "_end", give_up)
    claim = Claim(
        kind="expire_order", subject=order.number, attempt=9, is_last=False, due_at=order.expires_at
    )
    ending.expire_by_alarm(claim)
    assert not Case.objects.exists()


def test_trade_that_two_write_down_at_once_is_one_receipt_and_no_error(sandbox):
    """One knows its payment and one does not (yet): the second looks again and finds what the first has written."""
    payment = make_payment(make_order())
    told = report(payment)
    start = threading.Barrier(2)

    def run(settle: Callable[[], Any]) -> Any:
        start.wait(5)
        return settle()

    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(
                elsewhere, lambda: run(lambda: settle_payment(told, channel="wechat", source=Source.CALLBACK))
            ),
            pool.submit(
                elsewhere,
                lambda: run(lambda: settle_unmatched(told, channel="wechat", source=Source.CALLBACK)),
            ),
        ]
        for done in both:
            done.result()
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAID
    assert payment.receipts.count() == 1
