"""The only writer of an order's status and of its stock.

Every move goes through the table in `statuses`, with its event, inside the caller's transaction and under the order's
row lock. Lock order everywhere: order, payment, refund, then products by ascending id; what only says that this was done
is written last.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NewType

from orders.errors import IllegalMove, OrderNotFound
from orders.models import Order, OrderLine, Product
from orders.statuses import MOVES, CloseReason, OrderStatus
from shop.alarms import remove_alarms, set_alarm
from shop.clock import WITH_NOW
from shop.events import Change
from shop.models import Source
from shop.writes import update, write

EXPIRE_ORDER = "expire_order"
# Who applies for payment in the last two minutes gets five more, once: the time to open a wallet.
EXTEND_WITHIN = timedelta(minutes=2)
EXTEND_BY = timedelta(minutes=5)
CHANGE_STOCK = """
update orders_product set stock = stock + change.units
  from (values {values}) as change (product_id, units) where orders_product.id = change.product_id
"""


# An order whose row this transaction holds, with the database's own time as `now`. Only `lock_order` makes one.
LockedOrder = NewType("LockedOrder", Order)


def lock_order(number: str) -> LockedOrder:
    """Take the row lock of the order and read it. Raises OrderNotFound. Must be inside a transaction."""
    locked = Order.objects.select_for_update().annotate(**WITH_NOW).filter(number=number).first()
    if locked is None:
        raise OrderNotFound(number)
    return LockedOrder(locked)


def move_order(
    order: LockedOrder,
    to: OrderStatus,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Change:
    """Move the locked order through the table, together with `columns`. Returns the event for the caller to record.

    Raises IllegalMove when the table has no such move.
    """
    before = OrderStatus(order.status)
    if to not in MOVES[before]:
        raise IllegalMove(order.number, order.status, to)
    _write(order, status=to, **columns)
    return Change(
        subject_kind="order",
        subject=order.number,
        order_number=order.number,
        from_status=before,
        to_status=to,
        source=source,
        actor=actor,
        note=note or {},
        facts=_facts(order),
    )


def mark_paid(order: LockedOrder, *, source: Source, actor: str = "") -> Change:
    """UNPAID → READY_FOR_SHIPMENT. The order does not expire any more."""
    change = move_order(order, OrderStatus.READY_FOR_SHIPMENT, source=source, actor=actor)
    remove_alarms([EXPIRE_ORDER], order.number)
    return change


def mark_shipped(order: LockedOrder, *, source: Source, actor: str = "") -> Change:
    """READY_FOR_SHIPMENT → SHIPPED: the goods have left, and stay off the shelf whatever becomes of the money."""
    return move_order(order, OrderStatus.SHIPPED, source=source, actor=actor)


def mark_completed(order: LockedOrder, *, source: Source, actor: str = "") -> Change:
    """SHIPPED → COMPLETED: the goods have arrived."""
    return move_order(order, OrderStatus.COMPLETED, source=source, actor=actor)


def close_order(order: LockedOrder, reason: CloseReason, *, source: Source, actor: str = "") -> Change:
    """UNPAID → CLOSED; the goods go back on the shelf, once."""
    change = move_order(
        order,
        OrderStatus.CLOSED,
        source=source,
        actor=actor,
        note={"reason": str(reason)},
        close_reason=reason,
        closed_at=order.now,
        holds_stock=False,
    )
    _put_back(order)
    remove_alarms([EXPIRE_ORDER], order.number)
    return change


def reopen_order(order: LockedOrder, *, source: Source, actor: str = "") -> Change | None:
    """CLOSED → READY_FOR_SHIPMENT when the goods are still there; None, and nothing changed, when they are not."""
    if not _take_again(order):
        return None
    return move_order(
        order,
        OrderStatus.READY_FOR_SHIPMENT,
        source=source,
        actor=actor,
        note={"reopened": True},
        close_reason="",
        closed_at=None,
        holds_stock=True,
    )


def mark_refunded(order: LockedOrder, *, source: Source, actor: str = "") -> Change:
    """→ REFUNDED, when nothing of its money is kept. What was not shipped goes back on the shelf, once."""
    is_here = order.status == OrderStatus.READY_FOR_SHIPMENT
    holds_stock = order.holds_stock and not is_here
    change = move_order(order, OrderStatus.REFUNDED, source=source, actor=actor, holds_stock=holds_stock)
    if is_here:
        _put_back(order)
    return change


def touch_order(order: LockedOrder) -> None:
    """Something that the waiting pages show has changed: raise the version."""
    _write(order)


def extend_if_ending(order: LockedOrder) -> None:
    """Give a shopper who applies in the last minutes five more, once."""
    if order.was_extended or order.expires_at - order.now > EXTEND_WITHIN:
        return
    _write(order, expires_at=max(order.expires_at, order.now) + EXTEND_BY, was_extended=True)
    set_alarm(EXPIRE_ORDER, order.number, at=order.expires_at)


def keep_open(order: LockedOrder, *, until: datetime) -> None:
    """Let the order wait for its money, with its goods, until then; `end_as_usual` takes that back."""
    _write(order, expires_at=until, usual_expires_at=order.expires_at)
    set_alarm(EXPIRE_ORDER, order.number, at=until)


def end_as_usual(order: LockedOrder, *, not_before: datetime) -> None:
    """An order that was kept open ends when it would have, with some minutes left to pay in another way; never later than now."""
    usual = order.usual_expires_at or order.expires_at
    ends_at = max(usual, not_before, order.now + EXTEND_BY)
    if ends_at < order.expires_at:
        _write(order, expires_at=ends_at)
        set_alarm(EXPIRE_ORDER, order.number, at=ends_at)


def take_stock(quantities: Mapping[int, int]) -> None:
    """Take `quantities` (product id → units) off the shelf in one statement; the rows must be locked already."""
    _change_stock([(product, -units) for product, units in quantities.items()])


def _put_back(order: Order) -> None:
    lines = dict(OrderLine.objects.filter(order=order).values_list("product_id", "quantity"))
    lock_products(lines)
    _change_stock(list(lines.items()))


def _take_again(order: Order) -> bool:
    lines = dict(OrderLine.objects.filter(order=order).values_list("product_id", "quantity"))
    if any(product.stock < lines[product.pk] for product in lock_products(lines)):
        return False
    take_stock(lines)
    return True


def lock_products(products: Iterable[int]) -> list[Product]:
    """Lock and read products by ascending id, the order that makes deadlocks impossible."""
    return list(Product.objects.select_for_update().filter(pk__in=products).order_by("pk"))


def _facts(order: Order) -> dict[str, Any]:
    """What other systems may be told of an order: nothing about who ordered."""
    return {
        "status": str(order.status),
        "amount": order.amount,
        "currency": order.currency,
        "version": order.version,
        "reason": str(order.close_reason),
    }


def _change_stock(changes: Sequence[tuple[int, int]]) -> None:
    values = ", ".join(["(%s::bigint, %s::integer)"] * len(changes))
    rows = [(Product, product) for product, _ in changes]
    write(CHANGE_STOCK.format(values=values), *chain.from_iterable(changes), rows=rows)


def _write(order: LockedOrder, **columns: Any) -> None:
    """Named columns only, and the version with every write."""
    update(order, counting="version", **columns)
