"""The only writer of the status of a payment and of a refund.

Every move goes through the tables in `statuses`; what it entails (event, alarm, message) is written in the same
transaction. Lock order everywhere: order, payment, refund, then products by ascending id.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import Coalesce, Now

from orders.models import Order
from orders.moves import LockedOrder, lock_order, touch_order
from payments.errors import IllegalPaymentMove, OverRefund, PaymentNotFound
from payments.models import Payment, Receipt, Refund
from payments.statuses import PAYMENT_MOVES, REFUND_MOVES, RESERVING, PaymentStatus, RefundStatus
from shop.alarms import remove_alarms, send_message, set_alarm
from shop.events import Change, record
from shop.models import Source

QUERY_PAYMENT = "query_payment"
SEND_REFUND = "send_refund"
FIRST_QUERY_S = 10
# The create call answers or fails within the wire's deadline of 8 s; then another process may go on.
LEASE_S = 10


def lock_payment(number: str, *, channel: str) -> tuple[LockedOrder, Payment]:
    """Lock the payment's order, then the payment. Must be inside a transaction.

    Raises PaymentNotFound, also when the number is ours but of another channel.
    """
    ours = Payment.objects.filter(number=number, channel=channel)
    order_number = ours.values_list("order__number", flat=True).first()
    if order_number is None:
        raise PaymentNotFound(number)
    order = lock_order(order_number)
    payment = Payment.objects.select_for_update().get(number=number)
    payment.order = order
    return order, payment


def start_payment(order: LockedOrder, payment: Payment) -> None:
    """Insert a new attempt of the locked order as PAYING, with both of its first events and its query alarm."""
    payment.order, payment.status = order, PaymentStatus.PAYING
    payment.lease_until = order.now + timedelta(seconds=LEASE_S)
    payment.save(force_insert=True)
    steps = (("", PaymentStatus.UNPAID), (PaymentStatus.UNPAID, PaymentStatus.PAYING))
    record([_change(payment, before, after, source=Source.SHOPPER) for before, after in steps])
    touch_order(order)
    set_alarm(QUERY_PAYMENT, payment.number, in_s=FIRST_QUERY_S, last_at=payment.dead_at)


def move_payment(
    payment: Payment,
    to: PaymentStatus,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Change:
    """Move the locked payment through the table, together with `columns`. Returns the event for the caller to record.

    Raises IllegalPaymentMove when the table has no such move.
    """
    if to not in PAYMENT_MOVES[PaymentStatus(payment.status)]:
        raise IllegalPaymentMove(payment.number, payment.status, to)
    change = _change(payment, payment.status, to, source=source, actor=actor, note=note)
    _write(payment, status=to, **columns)
    remove_alarms([QUERY_PAYMENT], payment.number)
    return change


def supersede_payment(order: LockedOrder, payment: Payment) -> None:
    """Let another attempt take the locked payment's place. It may still take money, so it stays PAYING and watched."""
    _write(payment, superseded_at=order.now)
    touch_order(order)


def take_lease(order: LockedOrder, payment: Payment) -> None:
    """The caller makes the create call again under the same number; nobody else does meanwhile."""
    _write(payment, lease_until=order.now + timedelta(seconds=LEASE_S), nothing_sent=False)


def end_lease(payment: Payment, *, nothing_sent: bool) -> None:
    """The call did not leave this machine: the next apply may try at once. `nothing_sent`: nor did any before."""
    Payment.objects.filter(pk=payment.pk).update(lease_until=Now(), nothing_sent=nothing_sent)


def store_action(order: LockedOrder, payment: Payment, action: Mapping[str, Any]) -> None:
    """Keep what the shopper does next with the locked payment."""
    _write(payment, action=dict(action))
    touch_order(order)


def mark_unsure(payment: Payment) -> None:
    """A close had no believable answer. The first such moment counts."""
    first = Coalesce("close_unanswered_since", Now())
    Payment.objects.filter(pk=payment.pk).update(is_unsure=True, close_unanswered_since=first)


def end_doubt(payment: Payment) -> None:
    """The channel has been heard again about the locked payment. Its close is undecided all the same."""
    _write(payment, is_unsure=False)


# ---- refunds -----------------------------------------------------------------------------------------------------


def refundable_minor(receipt: Receipt) -> int:
    """What may still be given back of a receipt whose order is locked, in minor units."""
    reserved = Refund.objects.filter(receipt=receipt, status__in=RESERVING).aggregate(sum=Sum("amount"))[
        "sum"
    ]
    return receipt.amount - (reserved or 0)


def open_refund(receipt: Receipt, *, kind: Refund.Kind, amount: int, reason: str, source: Source) -> Refund:
    """Promise to give `amount` minor units of the receipt back and let a worker send it. The order must be locked.

    Raises OverRefund when less than that is left of the receipt.
    """
    if amount > refundable_minor(receipt):
        raise OverRefund(receipt.channel_number)
    refund = Refund.objects.create(
        receipt=receipt,
        channel=receipt.channel,
        kind=kind,
        amount=amount,
        reason=reason,
        status=RefundStatus.REFUNDING,
    )
    steps = (("", RefundStatus.PENDING_APPROVAL), (RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING))
    record([_change(refund, before, after, source=source) for before, after in steps])
    set_alarm(SEND_REFUND, refund.number, in_s=FIRST_QUERY_S)
    send_message(SEND_REFUND, refund.number)
    return refund


def lock_refund(number: str, *, channel: str) -> tuple[LockedOrder, Refund]:
    """Lock the refund's order, then the refund. Must be inside a transaction. Raises Refund.DoesNotExist."""
    found = Refund.objects.select_related("receipt__order").get(number=number, receipt__channel=channel)
    if found.receipt.order is None:
        raise Refund.DoesNotExist(number)
    order = lock_order(found.receipt.order.number)
    return order, Refund.objects.select_for_update(of=("self",)).select_related("receipt").get(number=number)


def move_refund(
    refund: Refund,
    to: RefundStatus,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
) -> Change:
    """Move the locked refund through the table. Returns the event for the caller to record."""
    if to not in REFUND_MOVES[RefundStatus(refund.status)]:
        raise IllegalPaymentMove(refund.number, refund.status, to)
    change = _change(refund, refund.status, to, source=source, actor=actor, note=note)
    Refund.objects.filter(pk=refund.pk).update(status=to, channel_number=refund.channel_number)
    refund.status = to
    remove_alarms([SEND_REFUND], refund.number)
    return change


# ---- the rows behind ---------------------------------------------------------------------------------------------


def _write(payment: Payment, **columns: Any) -> None:
    """Named columns only, never the whole row."""
    Payment.objects.filter(pk=payment.pk).update(**columns)
    for name, value in columns.items():
        setattr(payment, name, value)


def _change(
    row: Payment | Refund,
    before: str,
    after: str,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
) -> Change:
    order: Order | None
    facts: dict[str, Any]
    if isinstance(row, Payment):
        kind, order, facts = "payment", row.order, {"channel": row.channel}
    else:
        kind, order, facts = "refund", row.receipt.order, {"amount": row.amount, "reason": row.reason}
    return Change(
        subject_kind=kind,
        subject=row.number,
        order_number=order.number if order else "",
        from_status=before,
        to_status=after,
        source=source,
        actor=actor,
        note={**facts, **(note or {})},
    )
