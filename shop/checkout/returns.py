"""Money of an order that goes back: by itself, one trade after the other, or because somebody at the shop gives it back.

Reads only; the refunds are opened by `payments.settling` and sent by `payments.refunding`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orders.statuses import OrderStatus
from payments.models import Receipt, Refund
from payments.showing import OrderView
from payments.statuses import ReceiptClass, RefundStatus
from shop.models import Event
from shop.money import for_people

GOING_BACK = frozenset({ReceiptClass.SURPLUS, ReceiptClass.LATE})
# What a second person has not approved yet, or will not, goes nowhere.
MOVING = (RefundStatus.REFUNDING, RefundStatus.REFUNDED, RefundStatus.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """One trade whose money goes back. `is_extra`: its attempt had taken money before, so its end tells of that one.

    `status`: REFUNDED when all of it is back, REFUNDING while it is on its way, FAILED while a person has to send it.
    """

    receipt: Receipt
    status: RefundStatus
    is_extra: bool

    @property
    def amount(self) -> int:
        """Minor units."""
        return self.receipt.amount

    @property
    def currency(self) -> str:
        """ISO code."""
        return self.receipt.currency

    @property
    def is_by_hand(self) -> bool:
        """Whether people have sent some of it, because its channel cannot."""
        sent = (
            refund.kind for refund in self.receipt.refunds.all() if refund.status == RefundStatus.REFUNDED
        )
        return Refund.Kind.BY_HAND in sent

    @property
    def receipt_class(self) -> ReceiptClass:
        """Why it goes back."""
        return ReceiptClass(self.receipt.receipt_class)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """What somebody gives back of money that was rightly ours. `status`: as that of a `Return`; `amount`: minor units."""

    amount: int
    currency: str
    status: RefundStatus
    is_by_hand: bool


def list_returns(view: OrderView) -> list[Return]:
    """What goes back of the order's money, oldest first; two statements, none where nothing does."""
    if view.returning is None or view.order.status == OrderStatus.UNPAID:
        return []
    receipts = list(view.order.receipts.select_related("payment").prefetch_related("refunds"))
    kept = {receipt.payment_id for receipt in receipts if receipt.receipt_class not in GOING_BACK}
    return [
        Return(receipt=receipt, status=_status(receipt), is_extra=receipt.payment_id in kept)
        for receipt in receipts
        if receipt.receipt_class in GOING_BACK
    ]


def list_given_back(events: Iterable[Event], returns: Sequence[Return]) -> list[GivenBack]:
    """The refunds among an order's events that `returns` does not tell of; one statement, none where there are none.

    One that failed is told until others have taken its place.
    """
    told = {refund.number for each in returns for refund in each.receipt.refunds.all()}
    others = {event.subject for event in events if event.subject_kind == "refund"} - told
    if not others:
        return []
    refunds = list(Refund.objects.filter(number__in=others, status__in=MOVING).select_related("receipt"))
    return [
        GivenBack(
            amount=refund.amount,
            currency=refund.receipt.currency,
            status=RefundStatus(refund.status),
            is_by_hand=refund.kind == Refund.Kind.BY_HAND,
        )
        for refund in refunds
        if refund.status != RefundStatus.FAILED or not _is_replaced(refund, refunds)
    ]


def add_up(returns: Sequence[Return], currency: str) -> tuple[RefundStatus, str]:
    """All of them in one sentence: the state that is furthest from done, and how much is in it, for people."""
    for status in (RefundStatus.FAILED, RefundStatus.REFUNDING, RefundStatus.REFUNDED):
        amounts = [each.amount for each in returns if each.status is status]
        if amounts:
            return status, for_people(sum(amounts), currency)
    return RefundStatus.REFUNDED, ""


def _is_replaced(failed: Refund, refunds: Iterable[Refund]) -> bool:
    later = (each for each in refunds if each.receipt_id == failed.receipt_id and each.pk > failed.pk)
    return sum(each.amount for each in later) >= failed.amount


def _status(receipt: Receipt) -> RefundStatus:
    refunds = list(receipt.refunds.all())
    back = sum(refund.amount for refund in refunds if refund.status == RefundStatus.REFUNDED)
    if back >= receipt.amount:
        return RefundStatus.REFUNDED
    is_on_its_way = any(refund.status == RefundStatus.REFUNDING for refund in refunds)
    return RefundStatus.REFUNDING if is_on_its_way else RefundStatus.FAILED
