"""Money of an order that goes back by itself, one trade after the other: why, how much, and how far it is.

Reads only; the refunds are opened by `payments.settling` and sent by `payments.refunding`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orders.statuses import OrderStatus
from payments.models import Receipt
from payments.showing import OrderView
from payments.statuses import ReceiptClass, RefundStatus
from shop.money import for_people

GOING_BACK = frozenset({ReceiptClass.SURPLUS, ReceiptClass.LATE})


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
    def receipt_class(self) -> ReceiptClass:
        """Why it goes back."""
        return ReceiptClass(self.receipt.receipt_class)


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


def add_up(returns: Sequence[Return], currency: str) -> tuple[RefundStatus, str]:
    """All of them in one sentence: the state that is furthest from done, and how much is in it, for people."""
    for status in (RefundStatus.FAILED, RefundStatus.REFUNDING, RefundStatus.REFUNDED):
        amounts = [each.amount for each in returns if each.status is status]
        if amounts:
            return status, for_people(sum(amounts), currency)
    return RefundStatus.REFUNDED, ""


def _status(receipt: Receipt) -> RefundStatus:
    refunds = list(receipt.refunds.all())
    back = sum(refund.amount for refund in refunds if refund.status == RefundStatus.REFUNDED)
    if back >= receipt.amount:
        return RefundStatus.REFUNDED
    is_on_its_way = any(refund.status == RefundStatus.REFUNDING for refund in refunds)
    return RefundStatus.REFUNDING if is_on_its_way else RefundStatus.FAILED
