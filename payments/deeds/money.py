"""What staff may do to a payment and to a receipt: ask about it, close it, give money back."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User

from payments.channels.base import Outcome
from payments.channels.registry import can_refund, class_of, title_of
from payments.deeds.base import MAX_REFUND_REASON, AmountField, Deed, DeedRefused, Fields
from payments.ending import close_by_person
from payments.models import Payment, Receipt, Refund
from payments.moves import paying_of
from payments.querying import query_by_person
from payments.refunding import ask_payback, ask_refund
from payments.statuses import RESERVING, PaymentStatus, RefundStatus
from shop.idempotency import Key
from shop.money import for_people

CLOSED_AS = {
    Outcome.CLOSED: "The channel takes no money for it any more.",
    Outcome.SUCCEEDED: "The channel says that it is paid: the money is settled.",
    Outcome.NOT_FOUND: "The channel does not know it, so there is nothing to close.",
    Outcome.OPEN: "The channel does not close it: it can still be paid, and stays watched.",
    Outcome.APPROVED: "The shopper has agreed to pay: the money is being taken.",
    Outcome.REFUSED: "The channel has refused it: nothing is paid.",
    Outcome.UNKNOWN: "The channel gave no answer that can be believed: it is asked again soon.",
}


# ---- asking and closing ------------------------------------------------------------------------------------------


def _hinders_asking(payment: Payment) -> str:
    return "It is paid: the channel has nothing to add." if payment.status == PaymentStatus.PAID else ""


def _foretell_asking(payment: Payment) -> list[str]:
    return [
        f"{title_of(payment.channel)} is asked now what has become of {payment.amount_text}.",
        "If it is paid, it is settled at once; else nothing changes.",
    ]


def _ask(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    settled = query_by_person(payment.number)
    status = Payment.objects.values_list("status", flat=True).get(pk=payment.pk)
    return f"{title_of(payment.channel)} was asked: the payment is {status} ({settled})."


def _hinders_closing(payment: Payment) -> str:
    if payment.status != PaymentStatus.PAYING:
        return f"It is {payment.get_status_display().lower()}: only a payment that is open can be closed."
    if not class_of(payment.channel).can_close:
        return f"{title_of(payment.channel)} closes nothing before its time."
    return ""


def _foretell_closing(payment: Payment) -> list[str]:
    return [
        f"{title_of(payment.channel)} is told to take no money for this payment of {payment.amount_text} any more.",
        (
            "If the shopper has paid in the meantime, the money is settled instead. The order stays as it is,"
            " and can be paid in another way."
        ),
    ]


def _close(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    return CLOSED_AS[close_by_person(payment.number, actor=user.get_username())]


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
        return "Nothing was paid under this number, so there is nothing to refund."
    if not can_refund(receipt.channel):
        return f"{title_of(receipt.channel)} cannot give money back: it has to be paid back by hand."
    return _hinders_giving(receipt)


def _hinders_giving(receipt: Receipt) -> str:
    if not receipt.currency or _left(receipt) <= 0:
        return "Nothing is left of it: all of it went back, or is on its way."
    return ""


def _foretell_refund(row: Payment | Receipt) -> list[str]:
    receipt = _receipt_of(row)
    if receipt is None:
        return []
    left = for_people(_left(receipt), receipt.currency)
    limit = for_people(settings.REFUND_APPROVAL_ABOVE, receipt.currency)
    return [
        f"Of {receipt.amount_text} that {title_of(receipt.channel)} took, {left} may still be given back.",
        (
            "The amount is sent back to the shopper through the same channel and cannot be called back."
            f" Above {limit} it waits until a second person has approved it."
        ),
        "When all of it went back, the order is refunded, and goods that were not shipped go back on the shelf.",
    ]


def _refund_fields(row: Payment | Receipt) -> Fields:
    receipt = _receipt_of(row)
    if receipt is None:
        return {}
    left = _left(receipt)
    return {
        "amount": AmountField(
            currency=receipt.currency, help_text=f"At most {for_people(left, receipt.currency)}."
        ),
        # What the person saw: of two who press the button for one and the same sight, the second is told.
        "seen": forms.IntegerField(widget=forms.HiddenInput, initial=receipt.refunds.count()),
    }


def _refund(row: Payment | Receipt, user: User, reason: str, data: Mapping[str, Any]) -> str:
    receipt = _receipt_of(row)
    if receipt is None:
        raise DeedRefused(_hinders_refund(row))
    left = _left(receipt)
    if data["amount"] > left:
        asked, rest = for_people(data["amount"], receipt.currency), for_people(left, receipt.currency)
        raise DeedRefused(f"{asked} is more than what may still be given back, which is {rest}.")
    refund = ask_refund(
        row.number if isinstance(row, Payment) else row.channel_number,
        amount=data["amount"],
        reason=reason,
        actor=user.get_username(),
        key=Key("deeds:refund", f"{receipt.pk}:{data['seen']}"),
    )
    if refund.is_replay:
        raise DeedRefused(
            f"{refund.asked_by} has asked for a refund of {refund.amount_text} since this page was opened:"
            f" {refund.number}. Look again at what is left."
        )
    return _say_refund(refund)


def _say_refund(refund: Refund) -> str:
    if refund.status == RefundStatus.PENDING_APPROVAL:
        return f"{refund.amount_text} waits for a second person: refund {refund.number}."
    return f"{refund.amount_text} is on its way back: refund {refund.number}."


def _hinders_payback(receipt: Receipt) -> str:
    if can_refund(receipt.channel):
        return f"{title_of(receipt.channel)} gives money back itself: ask for a refund."
    return _hinders_giving(receipt)


def _foretell_payback(receipt: Receipt) -> list[str]:
    left = for_people(_left(receipt), receipt.currency)
    return [
        (
            f"You say that {left} was paid back to the shopper by hand, by a bank transfer for instance."
            " Nothing is sent from here."
        ),
        "A second person has to confirm it; then the money counts as given back.",
    ]


def _payback(receipt: Receipt, user: User, reason: str, data: Mapping[str, Any]) -> str:
    refund = ask_payback(receipt.channel_number, reason=reason, actor=user.get_username())
    return f"{refund.amount_text} paid back by hand waits for a second person: {refund.number}."


def _refund_deed(name: str, model: type[Payment] | type[Receipt]) -> Deed:
    return Deed(
        name=name,
        title="Refund",
        permission="payments.ask_refund",
        model=model,
        hinders=_hinders_refund,
        foretells=_foretell_refund,
        run=_refund,
        fields=_refund_fields,
        reason_label="Reason (some channels show it to the shopper)",
        max_reason=MAX_REFUND_REASON,
    )


DEEDS = (
    Deed(
        name="ask_payment",
        title="Ask the channel now",
        permission="payments.ask_payment",
        model=Payment,
        hinders=_hinders_asking,
        foretells=_foretell_asking,
        run=_ask,
        max_reason=0,
    ),
    Deed(
        name="close_payment",
        title="Close at the channel",
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
        title="Paid back by hand",
        permission="payments.ask_refund",
        model=Receipt,
        hinders=_hinders_payback,
        foretells=_foretell_payback,
        run=_payback,
        max_reason=MAX_REFUND_REASON,
    ),
)
