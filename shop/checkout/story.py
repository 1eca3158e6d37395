"""An order's history in the shopper's words: the events worth telling, oldest first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from orders.models import Order
from orders.statuses import CloseReason, OrderStatus
from payments.showing import Mood
from payments.statuses import PaymentStatus, RefundStatus
from shop.checkout.words import Text, wallet_of
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
    ("refund", RefundStatus.REFUNDED): (_("%(amount)s back in your wallet"), Mood.BACK),
    ("refund", RefundStatus.FAILED): (_("A person is sending %(amount)s back"), Mood.WAITING),
}
REOPENED = _("Open again, because your payment arrived; being packed")
EXPIRED = _("Closed, because the time to pay was over")


def tell_story(order: Order) -> list[Step]:
    """What happened to the order and its money; one statement."""
    events = Event.objects.filter(order_number=order.number)
    return [_step(event, order) for event in events if (event.subject_kind, event.to_status) in TOLD]


def _step(event: Event, order: Order) -> Step:
    text, mood = TOLD[event.subject_kind, event.to_status]
    return Step(at=event.at, text=_special(event) or text % _facts(event, order), mood=mood)


def _special(event: Event) -> str:
    if event.note.get("reopened"):
        return str(REOPENED)
    return str(EXPIRED) if event.note.get("reason") == CloseReason.EXPIRED else ""


def _facts(event: Event, order: Order) -> dict[str, Any]:
    return {
        "wallet": wallet_of(event.note.get("channel", "")).title,
        "amount": for_people(event.note.get("amount", 0), order.currency),
    }
