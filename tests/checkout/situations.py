"""One order in each situation that a shopper can see, made through the product's own rooms and without a channel."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from orders.models import Order
from orders.moves import close_order, lock_order, move_order
from orders.statuses import CloseReason, OrderStatus
from payments.channels.base import Outcome
from payments.models import Payment
from payments.moves import mark_unsure
from payments.settling import settle_payment
from payments.showing import Situation
from shop.events import record
from shop.models import Source
from tests.factories import make_order, make_payment, report


def settle(payment: Payment, outcome: Outcome = Outcome.SUCCEEDED, **changed: Any) -> None:
    settle_payment(report(payment, outcome, **changed), channel=payment.channel, source=Source.QUERY)


def close(order: Order, reason: CloseReason) -> None:
    with transaction.atomic():
        record([close_order(lock_order(order.number), reason, source=Source.SYSTEM)])


def _starting(order: Order) -> None:
    Payment.objects.filter(pk=make_payment(order).pk).update(action=None)


def _ending(order: Order) -> None:
    make_payment(order, lives_s=-1)
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))


def _surplus(order: Order) -> None:
    payment = make_payment(order)
    settle(payment)
    settle(payment, channel_number="4200000000000000000000009999")


def _expired(order: Order) -> None:
    settle(make_payment(order), Outcome.CLOSED)
    close(order, CloseReason.EXPIRED)


def _late(order: Order) -> None:
    payment = make_payment(order)
    close(order, CloseReason.CANCELLED)
    settle(payment)


def _refunded(order: Order) -> None:
    settle(make_payment(order))
    with transaction.atomic():
        record([move_order(lock_order(order.number), OrderStatus.REFUNDED, source=Source.STAFF)])


STEPS: dict[Situation, Callable[[Order], object]] = {
    Situation.TO_PAY: lambda order: None,
    Situation.STARTING: _starting,
    Situation.WAITING: make_payment,
    Situation.CONFIRMING: lambda order: mark_unsure(make_payment(order)),
    Situation.ENDING: _ending,
    Situation.REVIEWED: lambda order: settle(make_payment(order), amount_minor=1),
    Situation.PAID: lambda order: settle(make_payment(order)),
    Situation.SURPLUS: _surplus,
    Situation.EXPIRED: _expired,
    Situation.CANCELLED: lambda order: close(order, CloseReason.CANCELLED),
    Situation.LATE: _late,
    Situation.REFUSED: lambda order: settle(make_payment(order), Outcome.REFUSED),
    Situation.REFUNDED: _refunded,
}


def make_situation(situation: Situation, **product: Any) -> Order:
    """An order whose shopper sees `situation`."""
    order = make_order(**product)
    STEPS[situation](order)
    order.refresh_from_db()
    return order
