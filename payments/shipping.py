"""What becomes of a paid order's goods: a person marks it as shipped, then as completed.

Goods do not leave while all of their money is on its way back: the refund is decided first, under the same lock.
"""

from typing import Protocol

from orders.moves import LockedOrder, lock_order, mark_completed, mark_shipped
from payments.cached import renew_state
from payments.errors import AllGoesBack
from payments.models import Receipt
from payments.moves import kept_minor, refundable_minor
from payments.statuses import ReceiptClass
from shop.events import Change, record
from shop.locks import stand_in_line
from shop.models import Source
from shop.transactions import transactional


class Mark(Protocol):
    """A move of `orders.moves`."""

    def __call__(self, order: LockedOrder, *, source: Source, actor: str) -> Change: ...


def ship_order(number: str, *, actor: str) -> None:
    """The goods of a paid order have left. Never inside a transaction.

    Raises OrderNotFound, IllegalMove unless it is ready for shipment, AllGoesBack while all of its money is to go back.
    """
    _mark(number, mark_shipped, actor=actor)


def complete_order(number: str, *, actor: str) -> None:
    """The goods of a shipped order have arrived. Raises as `ship_order`; IllegalMove unless it is shipped."""
    _mark(number, mark_completed, actor=actor)


def _mark(number: str, mark: Mark, *, actor: str) -> None:
    with stand_in_line(f"order:{number}"):
        _mark_locked(number, mark, actor)
        renew_state(number)


@transactional
def _mark_locked(number: str, mark: Mark, actor: str) -> None:
    order = lock_order(number)
    if _all_goes_back(order):
        raise AllGoesBack(number)
    record([mark(order, source=Source.STAFF, actor=actor)])


def _all_goes_back(order: LockedOrder) -> bool:
    """Whether refunds that have not ended would leave nothing of what paid the locked order."""
    settled = Receipt.objects.filter(order=order, receipt_class=ReceiptClass.SETTLED).first()
    return settled is not None and kept_minor(settled) > 0 and refundable_minor(settled) == 0
