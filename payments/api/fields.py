"""Payments and refunds as the API shows them: amounts in minor units, times with offset."""

from typing import Any

from orders.statuses import OrderStatus
from payments.cases import has_open_mismatch
from payments.models import Payment, Refund


def read_fields(payment: Payment) -> dict[str, Any]:
    """A payment as it is now: without its action, too, while a person decides about money of a wrong amount."""
    fields = payment_fields(payment)
    return fields | {"action": None} if fields["action"] and has_open_mismatch(payment.order) else fields


def payment_fields(payment: Payment) -> dict[str, Any]:
    """A payment as the API shows it. The action is shown while it is wanted."""
    is_unpaid = payment.order.status == OrderStatus.UNPAID
    return {
        "number": payment.number,
        "order": payment.order.number,
        "channel": payment.channel,
        "scene": payment.scene,
        "status": payment.status,
        "amount": payment.amount,
        "currency": payment.currency,
        "action": payment.action if payment.is_payable and is_unpaid else None,
        "expires_at": payment.expires_at.isoformat(),
    }


def refund_fields(refund: Refund) -> dict[str, Any]:
    """A refund."""
    payment = refund.receipt.payment
    return {
        "number": refund.number,
        "payment": payment.number if payment else None,
        "status": refund.status,
        "amount": refund.amount,
        "currency": refund.receipt.currency,
        "reason": refund.reason,
    }


def listed_payment_fields(payment: Payment) -> dict[str, Any]:
    """A payment in a list: without the action, which is its shopper's, and with the time that lists ask for."""
    fields = payment_fields(payment) | {"created_at": payment.created_at.isoformat()}
    del fields["action"]
    return fields


def listed_refund_fields(refund: Refund) -> dict[str, Any]:
    """A refund in a list, with what lists ask for."""
    return refund_fields(refund) | {"kind": refund.kind, "created_at": refund.created_at.isoformat()}
