"""What a second person may do to a refund that waits for one."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from payments.channels.registry import title_of
from payments.deeds.base import Deed
from payments.models import Refund
from payments.refunding import approve_refund, reject_refund
from payments.statuses import ReceiptClass, RefundStatus


def _hinders(refund: Refund) -> str:
    if refund.status == RefundStatus.PENDING_APPROVAL:
        return ""
    by = f" ({refund.approved_by})" if refund.approved_by else ""
    return f"It is not waiting for approval any more: {refund.get_status_display().lower()}{by}."


def _foretell_approval(refund: Refund) -> list[str]:
    asked = f"{refund.asked_by or 'The shop'} asked for it: {refund.reason}"
    if refund.kind == Refund.Kind.BY_HAND:
        return [
            asked,
            (
                f"You confirm that {refund.amount_text} was paid back by hand. Nothing is sent from here;"
                " the money counts as given back from now on."
            ),
        ]
    return [
        asked,
        (
            f"{refund.amount_text} is sent back to the shopper through {title_of(refund.channel)}"
            " and cannot be called back."
        ),
    ]


def _foretell_rejection(refund: Refund) -> list[str]:
    asked = f"{refund.asked_by or 'The shop'} asked for it: {refund.reason}"
    if refund.receipt.receipt_class in (ReceiptClass.SURPLUS, ReceiptClass.LATE):
        return [asked, "This money pays nothing here: it goes back to the shopper all the same, by itself."]
    return [asked, f"{refund.amount_text} stays here and may be asked for again."]


def _approve(refund: Refund, user: User, reason: str, data: Mapping[str, Any]) -> str:
    approved = approve_refund(refund.number, actor=user.get_username())
    return f"Refund {approved.number} over {refund.amount_text} is {approved.status}."


def _reject(refund: Refund, user: User, reason: str, data: Mapping[str, Any]) -> str:
    rejected = reject_refund(refund.number, actor=user.get_username(), reason=reason)
    return f"Refund {rejected.number} over {refund.amount_text} is {rejected.status}."


DEEDS = (
    Deed(
        name="approve_refund",
        title="Approve",
        permission="payments.approve_refund",
        model=Refund,
        hinders=_hinders,
        foretells=_foretell_approval,
        run=_approve,
        own=False,
    ),
    Deed(
        name="reject_refund",
        title="Reject",
        permission="payments.approve_refund",
        model=Refund,
        hinders=_hinders,
        foretells=_foretell_rejection,
        run=_reject,
    ),
)
