"""An order's history in the shopper's words: the events worth telling, oldest first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from orders.models import Order
from orders.statuses import CloseReason, OrderStatus
from payments.showing import Mood
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from shop.checkout.returns import Return
from shop.checkout.wallets import Text, wallet_of
from shop.models import Event
from shop.money import for_people


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the story."""

    at: datetime
    text: str
    mood: Mood


# What moved, and to which status. What is missing is not worth telling: it comes together with something that is.
TOLD: Mapping[tuple[str, str], tuple[Text, Mood]] = {
    ("order", OrderStatus.UNPAID): (_("Order placed"), Mood.QUIET),
    ("payment", PaymentStatus.PAYING): (_("Payment with %(wallet)s started"), Mood.QUIET),
    ("payment", PaymentStatus.PAID): (_("Paid with %(wallet)s"), Mood.DONE),
    ("payment", PaymentStatus.CLOSED): (_("Payment with %(wallet)s closed"), Mood.QUIET),
    ("payment", PaymentStatus.FAILED): (_("%(wallet)s refused the payment"), Mood.WRONG),
    ("order", OrderStatus.READY_FOR_SHIPMENT): (_("Being packed"), Mood.DONE),
    ("order", OrderStatus.SHIPPED): (_("Shipped"), Mood.DONE),
    ("order", OrderStatus.COMPLETED): (_("Delivered"), Mood.DONE),
    ("order", OrderStatus.CLOSED): (_("Cancelled"), Mood.QUIET),
    ("order", OrderStatus.REFUNDED): (_("Refunded in full"), Mood.BACK),
    ("refund", RefundStatus.REFUNDING): (_("%(amount)s on its way back"), Mood.BACK),
    ("refund", RefundStatus.REFUNDED): (_("%(amount)s has gone back to you"), Mood.BACK),
    ("refund", RefundStatus.FAILED): (_("A person is sending %(amount)s back"), Mood.WAITING),
}
REOPENED = _("Open again, because your payment arrived; being packed")
EXPIRED = _("Closed, because the time to pay was over")


# Of money that goes back by itself: how it came, and why it goes.
CAME: Mapping[ReceiptClass, Text] = {
    ReceiptClass.SURPLUS: _("Paid once more with %(wallet)s"),
    ReceiptClass.LATE: _("Paid with %(wallet)s after the order had closed"),
}
WENT: Mapping[ReceiptClass, Text] = {
    ReceiptClass.SURPLUS: _("%(amount)s on its way back, because you paid twice; the first payment stands"),
    ReceiptClass.LATE: _("%(amount)s on its way back, because the order had closed"),
}


def tell_story(order: Order, events: Iterable[Event], returns: Sequence[Return]) -> list[Step]:
    """What happened to the order and its money: its events, with `returns` as `list_returns` gave them; no statement."""
    special: dict[tuple[str, str], Text] = {}
    for each in returns:
        why = each.receipt_class
        if each.receipt.payment and not each.is_extra:
            special[each.receipt.payment.number, PaymentStatus.PAID] = CAME[why]
        for refund in each.receipt.refunds.all():
            special[refund.number, RefundStatus.REFUNDING] = WENT[why]
    return [_step(event, order, special) for event in events if (event.subject_kind, event.to_status) in TOLD]


def _step(event: Event, order: Order, special: Mapping[tuple[str, str], Text]) -> Step:
    usual, mood = TOLD[event.subject_kind, event.to_status]
    text = special.get((event.subject, event.to_status)) or _reason(event) or usual
    return Step(at=event.at, text=str(text) % _facts(event, order), mood=mood)


def _reason(event: Event) -> Text:
    if event.note.get("reopened"):
        return REOPENED
    return EXPIRED if event.note.get("reason") == CloseReason.EXPIRED else ""


def _facts(event: Event, order: Order) -> dict[str, Any]:
    return {
        "wallet": wallet_of(event.note.get("channel", "")).title,
        "amount": for_people(event.note.get("amount", 0), order.currency),
    }
