"""Sending refunds: the number was committed first, the channel is asked before anything is sent again, and the alarm
goes on until the channel says how it ended.

It never makes a second number for a refund that is not final.
"""

import structlog
from django.conf import settings
from django.db.models.functions import Now

from payments.channels.base import Outcome, RefundReport, RefundRequest, Refused, Unreachable
from payments.channels.registry import get_channel
from payments.models import Refund
from payments.moves import SEND_REFUND
from payments.settling import Settled, settle_refund
from payments.statuses import RefundStatus
from shop.alarms import Claim, remove_alarms
from shop.models import Source

log = structlog.get_logger("nodrop.refunding")


def send_by_alarm(claim: Claim) -> None:
    """One step of one refund: send it if nothing was sent, else ask the channel, and repeat what it does not know."""
    refund = Refund.objects.select_related("receipt__payment").get(number=claim.subject)
    if refund.status != RefundStatus.REFUNDING:
        remove_alarms([SEND_REFUND], refund.number)
        return
    send_refund(refund)


def send_refund(refund: Refund) -> Settled:
    """Bring one REFUNDING refund a step on. Never inside a transaction."""
    report = _ask(refund) if refund.sent_at else None
    if report is None or report.outcome is Outcome.NOT_FOUND:
        report = _send(refund)
    settled = settle_refund(report, channel=refund.receipt.channel, source=Source.RESPONSE)
    log.info("refund", refund=refund.number, outcome=str(report.outcome), settled=str(settled))
    return settled


def _ask(refund: Refund) -> RefundReport:
    return get_channel(refund.receipt.channel).query_refund(refund.number)


def _send(refund: Refund) -> RefundReport:
    # Marked before the call: whoever comes after a crash asks first.
    Refund.objects.filter(pk=refund.pk, sent_at__isnull=True).update(sent_at=Now())
    channel = get_channel(refund.receipt.channel)
    try:
        return channel.refund(_request_of(refund, channel.name))
    except Unreachable as error:
        return RefundReport(outcome=Outcome.UNKNOWN, number=refund.number, code=error.code)
    except Refused as error:
        return RefundReport(outcome=Outcome.REFUSED, number=refund.number, code=error.code)


def _request_of(refund: Refund, channel: str) -> RefundRequest:
    receipt = refund.receipt
    return RefundRequest(
        number=refund.number,
        payment_number=receipt.number,
        channel_number=receipt.channel_number,
        amount_minor=refund.amount,
        paid_minor=receipt.amount,
        currency=receipt.currency,
        reason=refund.reason,
        notify_url=f"{settings.PUBLIC_URL}/notify/{channel}/",
    )
