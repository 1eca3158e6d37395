"""How long an order waits, with its goods, for what is paid days later: until its channel takes no money for it any more.

It waits so once, and from when the shopper is given something to pay; what is over before that goes back to the order's
usual end. Nothing here ends an order.
"""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from orders.moves import LockedOrder, end_as_usual, keep_open
from orders.statuses import OrderStatus
from payments.channels.registry import class_of
from payments.errors import NotOffered
from payments.models import Payment
from payments.statuses import PaymentStatus
from shop.sentences import say


def check_patience(order: LockedOrder, payment: Payment) -> None:
    """Raises NotOffered when the order would have to wait for this attempt and has waited once: slip after slip, for ever."""
    if needs_patience(order, payment) and order.usual_expires_at is not None:
        title = _(class_of(payment.channel).title)
        raise NotOffered(say(_("This order has waited for %(title)s once."), title=title), field="channel")


def needs_patience(order: LockedOrder, payment: Payment) -> bool:
    """Whether the attempt can be paid after the order's end, and its channel wants to be waited for."""
    return class_of(payment.channel).outlives_order and payment.dead_at > order.expires_at


def keep_for(order: LockedOrder, payment: Payment) -> None:
    """Let the locked order wait for this locked attempt, where it has to. Raises NotOffered, see `check_patience`."""
    check_patience(order, payment)
    if needs_patience(order, payment):
        keep_open(order, until=payment.dead_at)


def stop_keeping(order: LockedOrder, ended: Payment) -> None:
    """The locked attempt takes no money any more: its order ends as usual, unless it waits for another one."""
    if order.status == OrderStatus.UNPAID and order.usual_expires_at is not None:
        end_as_usual(order, not_before=_needed_until(order, ended))


def _needed_until(order: LockedOrder, ended: Payment) -> datetime:
    """What the shopper was shown can be paid as long as was said, and a superseded slip too."""
    shown = Payment.objects.filter(order=order, status=PaymentStatus.PAYING, action__isnull=False)
    ends = [order.now]
    for other in shown.exclude(pk=ended.pk):
        if class_of(other.channel).outlives_order:
            ends.append(other.dead_at)
        elif other.superseded_at is None:
            ends.append(other.expires_at)
    return max(ends)
