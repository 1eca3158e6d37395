"""What a channel is told about a payment or a refund of ours: rows turned into the channel contract's own words."""

from datetime import datetime
from typing import Any

import structlog
from django.conf import settings

from payments.channels.base import Attempt, RefundReport, RefundRequest
from payments.models import Payment, Refund
from shop.vault import CannotOpen, unseal

log = structlog.get_logger("nodrop.attempts")


def attempt_of(payment: Payment) -> Attempt:
    """The payment as its channel knows it; what the create call carries is the same every time."""
    return Attempt(
        number=payment.number,
        scene=payment.scene,
        amount_minor=payment.amount,
        currency=payment.currency,
        started_at=payment.created_at,
        expires_at=payment.expires_at,
        payer=_open(payment),
        handle=payment.handle,
        capture_id=f"{payment.number}C{payment.captures}" if payment.captures else "",
        **payment.request,
    )


def _open(payment: Payment) -> dict[str, Any]:
    """What the channel must know of the person; nothing where the key is lost, which must not stop us from asking."""
    try:
        return unseal(payment.payer) if payment.payer else {}
    except CannotOpen as error:
        log.error("payer cannot be read", payment=payment.number, reason=str(error))  # noqa: TRY400 - no trace needed
        return {}


def refund_request_of(refund: Refund) -> RefundRequest:
    """The refund call of this refund: the same content every time it is made, once `sent_at` is set."""
    receipt = refund.receipt
    return RefundRequest(
        number=refund.number,
        payment_number=receipt.number,
        channel_number=receipt.channel_number,
        amount_minor=refund.amount,
        paid_minor=receipt.amount,
        currency=receipt.currency,
        reason=refund.reason,
        notify_url=notify_url(refund.channel),
        scene=receipt.payment.scene if receipt.payment else "",
        started_at=refund.sent_at or refund.created_at,
        handle=refund.channel_number,
    )


def foreign_request_of(report: RefundReport, *, heard_at: datetime) -> RefundRequest:
    """What is needed to ask about a refund that is not ours, as a message of its channel names it."""
    return RefundRequest(
        number=report.number,
        payment_number=report.payment_number,
        channel_number=report.trade_number,
        amount_minor=0,
        paid_minor=0,
        currency="",
        reason="",
        notify_url="",
        scene="",
        started_at=heard_at,
        handle=report.channel_number,
    )


def notify_url(channel: str) -> str:
    """Where the channel calls back."""
    return f"{settings.PUBLIC_URL}/notify/{channel}/"


def new_request(*, channel: str, description: str, order_number: str) -> dict[str, Any]:
    """What the create call carries besides the payment's own columns, to be stored with the intent."""
    return {
        "description": description,
        "notify_url": notify_url(channel),
        # Whoever comes back by it has been at the channel's: the page asks at once.
        "return_url": f"{settings.PUBLIC_URL}/orders/{order_number}/?returned",
    }
