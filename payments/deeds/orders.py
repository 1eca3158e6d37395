"""What staff may do to an order."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from orders.models import Order
from orders.statuses import OrderStatus
from payments.deeds.base import Deed
from payments.ending import cancel_order
from payments.mailing import resend_receipt
from payments.shipping import complete_order, ship_order
from shop.models import Source

KEPT = (OrderStatus.READY_FOR_SHIPMENT, OrderStatus.SHIPPED, OrderStatus.COMPLETED)


def _must_be(order: Order, *statuses: OrderStatus, what: str) -> str:
    if order.status in statuses:
        return ""
    return f"This order is {order.get_status_display().lower()}: only {what}."


def _hinders_cancel(order: Order) -> str:
    return _must_be(order, OrderStatus.UNPAID, what="an unpaid one can be cancelled")


def _foretell_cancel(order: Order) -> list[str]:
    return [
        (
            f"{order.amount_text} is not paid yet and will not be asked for any more: what can still be paid is closed at"
            " its channel first, and if it turns out to be paid, the order is kept."
        ),
        "The goods go back on the shelf. Money that comes later all the same goes back to the shopper by itself.",
    ]


def _cancel(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    cancel_order(order.number, source=Source.STAFF, actor=user.get_username())
    return f"{order.number} is cancelled; its goods are on the shelf again."


def _hinders_ship(order: Order) -> str:
    return _must_be(
        order, OrderStatus.READY_FOR_SHIPMENT, what="one that is ready for shipment can be shipped"
    )


def _foretell_ship(order: Order) -> list[str]:
    return [
        f"No money moves: {order.amount_text} is paid and stays here. The shopper sees that the goods are on their way."
    ]


def _ship(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    ship_order(order.number, actor=user.get_username())
    return f"{order.number} is shipped."


def _hinders_complete(order: Order) -> str:
    return _must_be(order, OrderStatus.SHIPPED, what="a shipped one can be completed")


def _foretell_complete(order: Order) -> list[str]:
    return [f"No money moves: {order.amount_text} is paid and stays here. The shopper has got the goods."]


def _complete(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    complete_order(order.number, actor=user.get_username())
    return f"{order.number} is completed."


def _hinders_resend(order: Order) -> str:
    return _must_be(order, *KEPT, what="a paid one has a receipt to send")


def _foretell_resend(order: Order) -> list[str]:
    return [f"No money moves. The receipt over {order.amount_text} is mailed to {order.email} once more."]


def _resend(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    resend_receipt(order.number)
    return "The receipt is mailed to the shopper once more."


DEEDS = (
    Deed(
        name="ship_order",
        title="Mark as shipped",
        permission="orders.ship_order",
        model=Order,
        hinders=_hinders_ship,
        foretells=_foretell_ship,
        run=_ship,
    ),
    Deed(
        name="complete_order",
        title="Mark as completed",
        permission="orders.ship_order",
        model=Order,
        hinders=_hinders_complete,
        foretells=_foretell_complete,
        run=_complete,
    ),
    Deed(
        name="resend_receipt",
        title="Send the receipt again",
        permission="orders.resend_receipt",
        model=Order,
        hinders=_hinders_resend,
        foretells=_foretell_resend,
        run=_resend,
    ),
    Deed(
        name="cancel_order",
        title="Cancel the order",
        permission="orders.cancel_order",
        model=Order,
        hinders=_hinders_cancel,
        foretells=_foretell_cancel,
        run=_cancel,
    ),
)
