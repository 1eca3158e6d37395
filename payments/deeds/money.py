"""What staff may do to a payment and to a receipt: ask about it, close it, give money back."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.channels.base import Outcome
from payments.channels.registry import can_refund, class_of
from payments.deeds.base import MAX_REFUND_REASON, AmountField, Deed, DeedRefused, Fields, channel
from payments.ending import close_by_person
from payments.models import Payment, Receipt, Refund
from payments.moves import paying_of
from payments.querying import query_by_person
from payments.refunding import ask_payback, ask_refund
from payments.statuses import RESERVING, PaymentStatus, RefundStatus
from shop.idempotency import Key
from shop.money import for_people
from shop.sentences import lower, money, say

CLOSED_AS = {
    Outcome.CLOSED: _("The channel takes no money for it any more."),
    Outcome.SUCCEEDED: _("The channel says that it is paid: the money is settled."),
    Outcome.NOT_FOUND: _("The channel does not know it, so there is nothing to close."),
    Outcome.OPEN: _("The channel does not close it: it can still be paid, and stays watched."),
    Outcome.APPROVED: _("The shopper has agreed to pay: the money is being taken."),
    Outcome.REFUSED: _("The channel has refused it: nothing is paid."),
    Outcome.UNKNOWN: _("The channel gave no answer that can be believed: it is asked again soon."),
}


# ---- asking and closing ------------------------------------------------------------------------------------------


def _hinders_asking(payment: Payment) -> str:
    is_paid = payment.status == PaymentStatus.PAID
    return say(_("It is paid: the channel has nothing to add.")) if is_paid else ""


def _foretell_asking(payment: Payment) -> list[str]:
    return [
        gettext("%(channel)s is asked now what has become of %(amount)s.") % _facts(payment),
        gettext("If it is paid, it is settled at once; else nothing changes."),
    ]


def _ask(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    settled = query_by_person(payment.number)
    status = Payment.objects.values_list("status", flat=True).get(pk=payment.pk)
    asked = _("%(channel)s was asked: the payment is %(status)s (%(settled)s).")
    return say(asked, channel=channel(payment.channel), status=status, settled=settled)


def _hinders_closing(payment: Payment) -> str:
    if payment.status != PaymentStatus.PAYING:
        status = lower(PaymentStatus(payment.status).label)
        return say(_("It is %(status)s: only a payment that is open can be closed."), status=status)
    if not class_of(payment.channel).can_close:
        return say(_("%(channel)s closes nothing before its time."), channel=channel(payment.channel))
    return ""


def _foretell_closing(payment: Payment) -> list[str]:
    return [
        gettext("%(channel)s is told to take no money for this payment of %(amount)s any more.")
        % _facts(payment),
        gettext(
            "If the shopper has paid in the meantime, the money is settled instead. The order stays as it is,"
            " and can be paid in another way."
        ),
    ]


def _close(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    return say(CLOSED_AS[close_by_person(payment.number, actor=user.get_username())])


def _facts(payment: Payment) -> dict[str, str]:
    return {"channel": channel(payment.channel), "amount": payment.amount_text}


# ---- giving money back -------------------------------------------------------------------------------------------


# A page of many rows prefetches `receipts` and `refunds`, and asks nothing more for each. The flow reads again, under locks.


def _receipt_of(row: Payment | Receipt) -> Receipt | None:
    return row if isinstance(row, Receipt) else paying_of(row.receipts.all())


def _left(receipt: Receipt) -> int:
    """What may still be given back of it, in minor units."""
    reserved = (refund.amount for refund in receipt.refunds.all() if refund.status in RESERVING)
    return receipt.amount - sum(reserved)


def _hinders_refund(row: Payment | Receipt) -> str:
    receipt = _receipt_of(row)
    if receipt is None:
        return say(_("Nothing was paid under this number, so there is nothing to refund."))
    if not can_refund(receipt.channel):
        by_hand = _("%(channel)s cannot give money back: it has to be paid back by hand.")
        return say(by_hand, channel=channel(receipt.channel))
    return _hinders_giving(receipt)


def _hinders_giving(receipt: Receipt) -> str:
    if not receipt.currency or _left(receipt) <= 0:
        return say(_("Nothing is left of it: all of it went back, or is on its way."))
    return ""


def _foretell_refund(row: Payment | Receipt) -> list[str]:
    receipt = _receipt_of(row)
    if receipt is None:
        return []
    facts = {
        "amount": receipt.amount_text,
        "channel": channel(receipt.channel),
        "left": for_people(_left(receipt), receipt.currency),
        "limit": for_people(settings.REFUND_APPROVAL_ABOVE, receipt.currency),
    }
    return [
        gettext("Of %(amount)s that %(channel)s took, %(left)s may still be given back.") % facts,
        gettext(
            "The amount is sent back to the shopper through the same channel and cannot be called back."
            " Above %(limit)s it waits until a second person has approved it."
        )
        % facts,
        gettext(
            "When all of it went back, the order is refunded, and goods that were not shipped go back on the shelf."
        ),
    ]


def _refund_fields(row: Payment | Receipt) -> Fields:
    receipt = _receipt_of(row)
    if receipt is None:
        return {}
    at_most = gettext("At most %(amount)s.") % {"amount": for_people(_left(receipt), receipt.currency)}
    return {
        "amount": AmountField(currency=receipt.currency, help_text=at_most),
        # What the person saw: of two who press the button for one and the same sight, the second is told.
        "seen": forms.IntegerField(widget=forms.HiddenInput, initial=receipt.refunds.count()),
    }


def _refund(row: Payment | Receipt, user: User, reason: str, data: Mapping[str, Any]) -> str:
    receipt = _receipt_of(row)
    if receipt is None:
        raise DeedRefused(_hinders_refund(row))
    left = _left(receipt)
    if data["amount"] > left:
        asked, rest = (money(amount, receipt.currency) for amount in (data["amount"], left))
        too_much = _("%(asked)s is more than what may still be given back, which is %(rest)s.")
        raise DeedRefused(say(too_much, asked=asked, rest=rest))
    refund = ask_refund(
        row.number if isinstance(row, Payment) else row.channel_number,
        amount=data["amount"],
        reason=reason,
        actor=user.get_username(),
        key=Key("deeds:refund", f"{receipt.pk}:{data['seen']}"),
    )
    if refund.is_replay:
        meanwhile = _(
            "%(name)s has asked for a refund of %(amount)s since this page was opened: %(number)s."
            " Look again at what is left."
        )
        raise DeedRefused(say(meanwhile, name=refund.asked_by, **_facts_of(refund)))
    return _say_refund(refund)


def _facts_of(refund: Refund) -> dict[str, str]:
    return {"number": refund.number, "amount": money(refund.amount, refund.receipt.currency)}


def _say_refund(refund: Refund) -> str:
    if refund.status == RefundStatus.PENDING_APPROVAL:
        return say(_("%(amount)s waits for a second person: refund %(number)s."), **_facts_of(refund))
    return say(_("%(amount)s is on its way back: refund %(number)s."), **_facts_of(refund))


def _hinders_payback(receipt: Receipt) -> str:
    if can_refund(receipt.channel):
        itself = _("%(channel)s gives money back itself: ask for a refund.")
        return say(itself, channel=channel(receipt.channel))
    return _hinders_giving(receipt)


def _foretell_payback(receipt: Receipt) -> list[str]:
    left = {"left": for_people(_left(receipt), receipt.currency)}
    return [
        gettext(
            "You say that %(left)s was paid back to the shopper by hand, by a bank transfer for instance."
            " Nothing is sent from here."
        )
        % left,
        gettext("A second person has to confirm it; then the money counts as given back."),
    ]


def _payback(receipt: Receipt, user: User, reason: str, data: Mapping[str, Any]) -> str:
    refund = ask_payback(receipt.channel_number, reason=reason, actor=user.get_username())
    waits = _("%(amount)s paid back by hand waits for a second person: %(number)s.")
    return say(waits, **_facts_of(refund))


def _refund_deed(name: str, model: type[Payment] | type[Receipt]) -> Deed:
    return Deed(
        name=name,
        title=_("Refund"),
        permission="payments.ask_refund",
        model=model,
        hinders=_hinders_refund,
        foretells=_foretell_refund,
        run=_refund,
        fields=_refund_fields,
        reason_label=_("Reason (some channels show it to the shopper)"),
        max_reason=MAX_REFUND_REASON,
    )


DEEDS = (
    Deed(
        name="ask_payment",
        title=_("Ask the channel now"),
        permission="payments.ask_payment",
        model=Payment,
        hinders=_hinders_asking,
        foretells=_foretell_asking,
        run=_ask,
        max_reason=0,
    ),
    Deed(
        name="close_payment",
        title=_("Close at the channel"),
        permission="payments.close_payment",
        model=Payment,
        hinders=_hinders_closing,
        foretells=_foretell_closing,
        run=_close,
    ),
    _refund_deed("refund_payment", Payment),
    _refund_deed("refund_receipt", Receipt),
    Deed(
        name="payback_receipt",
        title=_("Paid back by hand"),
        permission="payments.ask_refund",
        model=Receipt,
        hinders=_hinders_payback,
        foretells=_foretell_payback,
        run=_payback,
        max_reason=MAX_REFUND_REASON,
    ),
)
