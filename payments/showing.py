"""What a person is told about an order: one state in words, never "unpaid" while money may be on its way."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import Any

from orders.models import Order
from orders.statuses import PAID, CloseReason, OrderStatus
from payments.cases import has_open_mismatch
from payments.channels.registry import can_refund
from payments.models import Payment, Receipt
from payments.statuses import PaymentStatus, ReceiptClass
from shop.clock import WITH_NOW, read_now


class Mood(StrEnum):
    """How a page shows a state: see the four mood colours of the stylesheet."""

    QUIET = "quiet"
    WAITING = "waiting"
    DONE = "done"
    BACK = "back"
    WRONG = "wrong"


class Situation(StrEnum):
    """Where the order's money stands, as its shopper sees it."""

    TO_PAY = "to_pay"  # nothing was started
    STARTING = "starting"  # the channel has not given the shopper anything to pay by
    WAITING = "waiting"  # an attempt is open: scan and pay
    CONFIRMING = "confirming"  # an attempt may have been paid
    ENDING = "ending"  # the time is over, and the channel is asked once more
    REVIEWED = "reviewed"  # a person decides about money of a wrong amount
    PAID = "paid"
    SURPLUS = "surplus"  # paid, and a second payment is going back
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    LATE = "late"  # closed, and the money that came is going back
    REFUSED = "refused"  # the channel refused the last attempt
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """What the status call answers."""

    number: str
    status: str
    payment_status: str | None
    version: int

    def as_json(self) -> dict[str, Any]:
        """`{number, status, payment_status, version}`."""
        return asdict(self)


def current_payment(order: Order) -> Payment | None:
    """The attempt that matters most: the newest that was not superseded. Its `order` is as the same statement saw it."""
    payments = Payment.objects.annotate(**WITH_NOW).filter(order=order, superseded_at__isnull=True)
    return payments.select_related("order").order_by("-pk").first()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """Everything a page about an order needs."""

    order: Order
    payment: Payment | None
    situation: Situation
    returning: Receipt | None
    paid_by: str
    paid_at: datetime | None
    # Until the time to pay is over; 0 when there is nothing to pay.
    seconds_left: int
    # An earlier attempt has been undecided for so long that the shopper may choose to go on.
    may_supersede: bool


def view_order(order: Order) -> OrderView:
    """The order as its shopper sees it."""
    payment, now = current_payment(order), read_now()
    # Since the order was read its money may have arrived: a paid attempt of an unpaid order would ask to be paid again.
    order = payment.order if payment else order
    settled = Receipt.objects.filter(order=order, receipt_class=ReceiptClass.SETTLED).first()
    # By its receipt and not by its refund: some channels have none, and a person sends it back.
    going_back = [ReceiptClass.SURPLUS, ReceiptClass.LATE]
    returning = Receipt.objects.filter(order=order, receipt_class__in=going_back).last()
    return OrderView(
        order=order,
        payment=payment,
        situation=_situation(order, payment, returning, now),
        returning=returning,
        paid_by=settled.channel if settled else "",
        paid_at=(settled.paid_at or settled.created_at) if settled else None,
        seconds_left=_seconds_left(order, payment, now),
        may_supersede=payment is not None and _may_supersede(payment, now),
    )


def _may_supersede(payment: Payment, now: datetime) -> bool:
    return payment.is_undecided_for_long(now) and can_refund(payment.channel)


def _seconds_left(order: Order, payment: Payment | None, now: datetime) -> int:
    """By the database's clock, because the shopper's may be wrong. An attempt may end before its order, which was extended."""
    if order.status != OrderStatus.UNPAID:
        return 0
    ends_at = payment.expires_at if payment and payment.is_live else order.expires_at
    return max(0, ceil((ends_at - now).total_seconds()))


def _situation(order: Order, payment: Payment | None, returning: Receipt | None, now: datetime) -> Situation:
    if order.status == OrderStatus.REFUNDED:
        return Situation.REFUNDED
    if order.status in PAID:
        return Situation.SURPLUS if returning else Situation.PAID
    if order.status == OrderStatus.CLOSED:
        if returning:
            return Situation.LATE
        if has_open_mismatch(order):
            return Situation.REVIEWED
        return Situation.EXPIRED if order.close_reason == CloseReason.EXPIRED else Situation.CANCELLED
    if has_open_mismatch(order):
        return Situation.REVIEWED
    if payment is None or payment.status in (PaymentStatus.CLOSED, PaymentStatus.PAID):
        return Situation.TO_PAY
    if payment.status == PaymentStatus.FAILED:
        return Situation.REFUSED
    return _live_situation(payment, now)


def _live_situation(payment: Payment, now: datetime) -> Situation:
    if payment.is_unsure or payment.capture_asked_at is not None:
        return Situation.CONFIRMING
    if payment.action is None:
        return Situation.STARTING
    if payment.expires_at <= now:
        return Situation.ENDING
    return Situation.WAITING
