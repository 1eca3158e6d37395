"""The statuses of an order and every move between them. What is not in the table does not happen."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class OrderStatus(TextChoices):
    UNPAID = "UNPAID", _("Unpaid")
    READY_FOR_SHIPMENT = "READY_FOR_SHIPMENT", _("Ready for shipment")
    SHIPPED = "SHIPPED", _("Shipped")
    COMPLETED = "COMPLETED", _("Completed")
    CLOSED = "CLOSED", _("Closed")  # nobody paid in time, or the shopper gave up
    REFUNDED = "REFUNDED", _("Refunded")  # in full


class CloseReason(TextChoices):
    CANCELLED = "CANCELLED", _("Cancelled by the shopper")
    EXPIRED = "EXPIRED", _("Not paid in time")


MOVES: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.UNPAID: frozenset({OrderStatus.READY_FOR_SHIPMENT, OrderStatus.CLOSED}),
    OrderStatus.READY_FOR_SHIPMENT: frozenset({OrderStatus.SHIPPED, OrderStatus.REFUNDED}),
    OrderStatus.SHIPPED: frozenset({OrderStatus.COMPLETED, OrderStatus.REFUNDED}),
    OrderStatus.COMPLETED: frozenset({OrderStatus.REFUNDED}),
    # Money that came late reopens what is still there to be sold.
    OrderStatus.CLOSED: frozenset({OrderStatus.READY_FOR_SHIPMENT}),
    OrderStatus.REFUNDED: frozenset(),
}
# An order of these statuses keeps its goods off the shelf. A refunded one may have shipped, so the row itself says
# whether it still holds stock (`Order.holds_stock`).
PAID = frozenset(
    {OrderStatus.READY_FOR_SHIPMENT, OrderStatus.SHIPPED, OrderStatus.COMPLETED, OrderStatus.REFUNDED}
)
