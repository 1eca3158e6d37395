"""What a second person may do to a refund that waits for one."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.deeds.base import Deed, channel
from payments.models import Refund
from payments.refunding import approve_refund, reject_refund
from payments.statuses import ReceiptClass, RefundStatus
from shop.sentences import lower, money, say


def _hinders(refund: Refund) -> str:
    if refund.status == RefundStatus.PENDING_APPROVAL:
        return ""
    status = lower(RefundStatus(refund.status).label)
    if not refund.approved_by:
        return say(_("It is not waiting for approval any more: %(status)s."), status=status)
    decided = _("It is not waiting for approval any more: %(status)s (%(name)s).")
    return say(decided, status=status, name=refund.approved_by)


def _tell_asked(refund: Refund) -> str:
    if not refund.asked_by:
        return gettext("The shop asked for it: %(reason)s") % {"reason": refund.reason}
    return gettext("%(name)s asked for it: %(reason)s") % {"name": refund.asked_by, "reason": refund.reason}


def _foretell_approval(refund: Refund) -> list[str]:
    if refund.kind == Refund.Kind.BY_HAND:
        foretold = gettext(
            "You confirm that %(amount)s was paid back by hand. Nothing is sent from here;"
            " the money counts as given back from now on."
        )
    else:
        foretold = gettext(
            "%(amount)s is sent back to the shopper through %(channel)s and cannot be called back."
        )
    facts = {"amount": refund.amount_text, "channel": channel(refund.channel)}
    return [_tell_asked(refund), foretold % facts]


def _foretell_rejection(refund: Refund) -> list[str]:
    if refund.receipt.receipt_class in (ReceiptClass.SURPLUS, ReceiptClass.LATE):
        foretold = gettext(
            "This money pays nothing here: it goes back to the shopper all the same, by itself."
        )
    else:
        foretold = gettext("%(amount)s stays here and may be asked for again.") % {
            "amount": refund.amount_text
        }
    return [_tell_asked(refund), foretold]


def _approve(refund: Refund, user: User, reason: str, data: Mapping[str, Any]) -> str:
    approved = approve_refund(refund.number, actor=user.get_username())
    return _say_decided(approved)


def _reject(refund: Refund, user: User, reason: str, data: Mapping[str, Any]) -> str:
    rejected = reject_refund(refund.number, actor=user.get_username(), reason=reason)
    return _say_decided(rejected)


def _say_decided(refund: Refund) -> str:
    facts = {"number": refund.number, "amount": money(refund.amount, refund.receipt.currency)}
    return say(_("Refund %(number)s over %(amount)s is %(status)s."), status=refund.status, **facts)


DEEDS = (
    Deed(
        name="approve_refund",
        title=_("Approve"),
        permission="payments.approve_refund",
        model=Refund,
        hinders=_hinders,
        foretells=_foretell_approval,
        run=_approve,
        own=False,
    ),
    Deed(
        name="reject_refund",
        title=_("Reject"),
        permission="payments.approve_refund",
        model=Refund,
        hinders=_hinders,
        foretells=_foretell_rejection,
        run=_reject,
    ),
)
