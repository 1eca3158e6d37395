"""Capturing: taking the money that the shopper has agreed to, exactly once.

The intent is written under the order's lock (`settling`), so an attempt that was closed or superseded is never captured
and one that is being captured is never closed. The id of a capture is fixed: however often it is sent, the channel takes
the money once. Never inside a transaction.
"""

import structlog

from payments.attempts import attempt_of
from payments.calls import heard
from payments.cases import has_open_mismatch, open_irregular
from payments.channels.base import Outcome, PaymentReport
from payments.channels.registry import UnknownChannel, get_channel
from payments.models import Payment
from payments.moves import CAPTURE_PAYMENT, end_capture, lock_payment, supersede_payment
from payments.settling import is_awaited, settle_payment
from payments.statuses import Settled
from shop.alarms import Claim, remove_alarms
from shop.models import Source
from shop.transactions import transactional

log = structlog.get_logger("nodrop.capturing")


def capture_by_alarm(claim: Claim) -> None:
    """One try of a capture whose end nobody has heard of."""
    capture_payment(claim.subject)


def capture_payment(number: str) -> tuple[Outcome, Settled]:
    """Take the money of an attempt whose capture was begun, and settle by the answer.

    NOT_FOUND: the consent is gone, nothing was taken. UNKNOWN: the same is sent again, under the same id, by its alarm.
    """
    payment = _read_wanted(number)
    if payment is None:
        return Outcome.UNKNOWN, Settled.STALE
    try:
        channel = get_channel(payment.channel)
    except UnknownChannel:  # taken out of the configuration: its alarm comes again
        return Outcome.UNKNOWN, Settled.STALE
    with heard("capture", payment, source=Source.RESPONSE) as hearing:
        report = hearing.take(channel.capture(attempt_of(payment)))
    settled = _settle(report, payment)
    log.info("captured", payment=number, outcome=str(report.outcome), code=report.code, settled=str(settled))
    is_decided = report.outcome in (Outcome.SUCCEEDED, Outcome.REFUSED, Outcome.NOT_FOUND)
    return report.outcome if is_decided else Outcome.UNKNOWN, settled


@transactional
def _read_wanted(number: str) -> Payment | None:
    """The attempt, if its capture is begun and the order still waits for it; else nothing is left to be done."""
    channel = Payment.objects.values_list("channel", flat=True).get(number=number)
    order, payment = lock_payment(number, channel=channel)
    is_begun = payment.capture_asked_at is not None
    if is_begun and is_awaited(order, payment):
        return None if has_open_mismatch(order) else payment
    remove_alarms([CAPTURE_PAYMENT], number)
    if is_begun and payment.is_live and payment.superseded_at is None:
        supersede_payment(order, payment)  # paid otherwise: its query watches what may have been sent
    return None


@transactional
def _settle(report: PaymentReport, tried: Payment) -> Settled:
    """Settle by the answer to this very capture; an older one's may only bring money."""
    order, payment = lock_payment(tried.number, channel=tried.channel)
    if report.needs_person and report.outcome is not Outcome.SUCCEEDED:
        evidence = {"channel": tried.channel, "code": report.code, "capture": tried.captures}
        open_irregular(tried.number, order=order, evidence=evidence)
    is_present = payment.capture_asked_at is not None and payment.captures == tried.captures
    if report.outcome is Outcome.SUCCEEDED or (is_present and report.outcome is Outcome.REFUSED):
        return settle_payment(report, channel=tried.channel, source=Source.RESPONSE)
    if is_present and report.outcome is Outcome.NOT_FOUND:
        end_capture(order, payment)
        return Settled.MOVED
    return Settled.STALE
