"""The only writer of the status of a payment, of a refund and of a proposal.

Every move goes through the tables in `statuses`; what it entails (event, alarm, message) is written in the same
transaction. Lock order everywhere: order, payment, refund or proposal, then products by ascending id; a callback's row
is written last.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Sum
from django.db.models.functions import Coalesce, Now

from orders.models import Order
from orders.moves import LockedOrder, lock_order, touch_order
from payments.errors import (
    IllegalPaymentMove,
    OverRefund,
    PaymentNotFound,
    ProposalIsDecided,
    RefundNotFound,
)
from payments.models import Payment, Proposal, Receipt, Refund
from payments.statuses import (
    PAYMENT_MOVES,
    REFUND_MOVES,
    RESERVING,
    PaymentStatus,
    ReceiptClass,
    RefundStatus,
)
from shop.alarms import remove_alarms, send_message, set_alarm
from shop.clock import WITH_NOW
from shop.events import Change, record
from shop.models import Source
from shop.numbers import new_refund_number
from shop.reads import Joined
from shop.transactions import TryAgain
from shop.writes import insert, together, update

QUERY_PAYMENT = "query_payment"
SEND_REFUND = "send_refund"
CAPTURE_PAYMENT = "capture_payment"
RECHECK_PAYMENT = "recheck_payment"
MAIL_RETURNED = "mail_returned"
FIRST_QUERY_S = 10
# An attempt that has ended before its time is looked at again this soon.
RECHECK_S = 60
# The process that heard of the consent captures at once; this is for when it dies.
CAPTURE_S = 5
# The message has a mail sent at once; this is for when there is no cluster to do it.
MAIL_S = 10
# The create call answers or fails within the wire's deadline of 8 s; then another process may go on.
LEASE_S = 10
# Money that pays nothing: its shopper is told when it has gone back.
GOES_BACK = (ReceiptClass.SURPLUS, ReceiptClass.LATE)
# One statement: PostgreSQL locks the rows of a join in the order of the last list, and reads both again after a wait.
WITH_ITS_ORDER = Joined(
    """
    from payments_payment payment join orders_order placed on placed.id = payment.order_id
    where payment.number = %s and payment.channel = %s for update of placed, payment
    """,
    placed=Order,
    payment=Payment,
)


def lock_payment(number: str, *, channel: str) -> tuple[LockedOrder, Payment]:
    """Lock the payment's order, then the payment. Must be inside a transaction.

    Raises PaymentNotFound, also when the number is ours but of another channel.
    """
    found = WITH_ITS_ORDER.first(number, channel)
    if found is None:
        raise PaymentNotFound(number)
    order, payment = found
    payment.order = order
    return LockedOrder(order), payment


def start_payment(
    order: LockedOrder, payment: Payment, *, source: Source = Source.SHOPPER, actor: str = ""
) -> None:
    """Insert a new attempt of the locked order as PAYING, with both of its first events and its query alarm."""
    payment.order, payment.status = order, PaymentStatus.PAYING
    payment.lease_until = order.now + timedelta(seconds=LEASE_S)
    steps = (("", PaymentStatus.UNPAID), (PaymentStatus.UNPAID, PaymentStatus.PAYING))
    with together():
        insert(payment)
        record([_change(payment, *step, source=source, actor=actor) for step in steps])
        touch_order(order)
        set_alarm(QUERY_PAYMENT, payment.number, in_s=FIRST_QUERY_S, last_at=payment.dead_at)


def move_payment(
    payment: Payment,
    to: PaymentStatus,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
    is_over: bool = False,
    look_until: datetime | None = None,
    **columns: Any,
) -> Change:
    """Move the locked payment through the table, together with `columns`. Returns the event for the caller to record.

    What ends before `dead_at` may have been paid in that very moment, and no message of it may come: it is asked about until
    then, or `look_until`, unless it `is_over` and verified as unpaid. Raises IllegalPaymentMove when the table has no such
    move.
    """
    if to not in PAYMENT_MOVES[PaymentStatus(payment.status)]:
        raise IllegalPaymentMove(payment.number, payment.status, to)
    change = _change(payment, payment.status, to, source=source, actor=actor, note=note)
    _write(payment, status=to, payer="", **columns)
    remove_alarms([QUERY_PAYMENT, CAPTURE_PAYMENT, RECHECK_PAYMENT], payment.number)
    # A create that was refused for good has shown nobody anything to pay by.
    was_payable = to == PaymentStatus.CLOSED or payment.action is not None
    if to != PaymentStatus.PAID and was_payable and not is_over:
        last_at = look_until or payment.dead_at
        set_alarm(RECHECK_PAYMENT, payment.number, in_s=RECHECK_S, last_at=last_at)
    return change


def supersede_payment(order: LockedOrder, payment: Payment) -> None:
    """Let another attempt take the locked payment's place. It may still take money, so it stays PAYING and watched."""
    _write(payment, superseded_at=order.now)
    remove_alarms([CAPTURE_PAYMENT], payment.number)  # whose money nobody waits for is not taken
    touch_order(order)


def restore_payment(order: LockedOrder, payment: Payment) -> None:
    """The locked payment, which was superseded, is the order's live one again. The order must have no other."""
    _write(payment, superseded_at=None)
    touch_order(order)


def take_create_lease(order: LockedOrder, payment: Payment) -> None:
    """The caller makes the create call again under the same number; nobody else does meanwhile."""
    _write(payment, lease_until=order.now + timedelta(seconds=LEASE_S), nothing_sent=False)


def end_create_lease(payment: Payment, *, nothing_sent: bool) -> None:
    """The call did not leave this machine: the next apply may try at once. `nothing_sent`: nor did any before.

    `payment` is as it was when the lease was taken; a lease that somebody has taken since stays as it is.
    """
    ours = Payment.objects.filter(number=payment.number, lease_until=payment.lease_until)
    ours.update(lease_until=Now(), nothing_sent=nothing_sent)


def store_action(
    order: LockedOrder, payment: Payment, action: Mapping[str, Any], *, handle: str = ""
) -> None:
    """Keep what the shopper does next with the locked payment, and the channel's own name of it."""
    with together():
        _write(payment, action=dict(action), handle=handle)
        touch_order(order)


def ask_capture(order: LockedOrder, payment: Payment) -> None:
    """Begin to take the money of the locked payment: from here on nobody closes it until the channel has said how it ended."""
    with together():
        _write(payment, capture_asked_at=order.now, captures=payment.captures + 1)
        touch_order(order)
        set_alarm(CAPTURE_PAYMENT, payment.number, in_s=CAPTURE_S)
        send_message(CAPTURE_PAYMENT, payment.number)


def end_capture(order: LockedOrder, payment: Payment) -> None:
    """No money was taken from the locked payment, and the shopper has to agree anew: it is open as before."""
    with together():
        _write(payment, capture_asked_at=None)
        touch_order(order)
        remove_alarms([CAPTURE_PAYMENT], payment.number)


def mark_unsure(payment: Payment) -> None:
    """A close had no believable answer. The first such moment counts."""
    first = Coalesce("close_unanswered_since", Now())
    Payment.objects.filter(pk=payment.pk).update(is_unsure=True, close_unanswered_since=first)


def end_doubt(payment: Payment) -> None:
    """The channel has been heard again about the locked payment. Its close is undecided all the same."""
    _write(payment, is_unsure=False)


# ---- refunds -----------------------------------------------------------------------------------------------------


def find_receipt(**which: Any) -> Receipt | None:
    """One receipt, the one that pays its order before any other."""
    return paying_of(Receipt.objects.filter(**which))


def paying_of(receipts: Iterable[Receipt]) -> Receipt | None:
    """Of some receipts the one that pays, before any other."""
    return min(
        receipts,
        key=lambda receipt: (receipt.receipt_class != ReceiptClass.SETTLED, receipt.pk),
        default=None,
    )


def lock_receipt(pk: int) -> tuple[LockedOrder | None, Receipt]:
    """Lock the receipt's order, if it has one, then the receipt. Must be inside a transaction.

    Raises TryAgain when the receipt has found its order meanwhile.
    """
    order_number = Receipt.objects.values_list("order__number", flat=True).get(pk=pk)
    order = lock_order(order_number) if order_number else None
    receipt = Receipt.objects.select_for_update(of=("self",)).select_related("order").get(pk=pk)
    if receipt.order_id != (order.pk if order else None):
        raise TryAgain
    return order, receipt


def refundable_minor(receipt: Receipt) -> int:
    """What may still be given back of a locked receipt, in minor units."""
    reserved = Refund.objects.filter(receipt=receipt, status__in=RESERVING).aggregate(sum=Sum("amount"))
    return receipt.amount - (reserved["sum"] or 0)


def kept_minor(receipt: Receipt) -> int:
    """What is left of a locked receipt after what did go back, in minor units."""
    gone = Refund.objects.filter(receipt=receipt, status=RefundStatus.REFUNDED).aggregate(sum=Sum("amount"))
    return receipt.amount - (gone["sum"] or 0)


def open_refund(
    receipt: Receipt,
    *,
    kind: Refund.Kind,
    amount: int,
    reason: str,
    source: Source,
    actor: str = "",
    number: str = "",
    needs_approval: bool = False,
) -> Refund:
    """Promise to give `amount` minor units of the receipt back; a worker sends it once nobody has to approve it.

    The receipt's order must be locked, or the receipt where it has none. Raises OverRefund when less is left.
    """
    left = refundable_minor(receipt)
    if amount > left:
        raise OverRefund(receipt.channel_number, left_minor=left)
    refund = Refund.objects.create(
        number=number or new_refund_number(),
        receipt=receipt,
        channel=receipt.channel,
        kind=kind,
        amount=amount,
        reason=reason,
        asked_by=actor,
        status=RefundStatus.PENDING_APPROVAL,
    )
    changes = [_change(refund, "", RefundStatus.PENDING_APPROVAL, source=source, actor=actor)]
    if not needs_approval:
        changes.append(start_refund(refund, source=source))
    record(changes)
    return refund


def start_refund(refund: Refund, *, source: Source, actor: str = "") -> Change:
    """PENDING_APPROVAL → REFUNDING: from here on the alarm sends it. Returns the event for the caller to record."""
    change = move_refund(refund, RefundStatus.REFUNDING, source=source, actor=actor, approved_by=actor)
    set_alarm(SEND_REFUND, refund.number, in_s=FIRST_QUERY_S)
    send_message(SEND_REFUND, refund.number)
    return change


def record_foreign_refund(
    receipt: Receipt, *, number: str, channel_number: str, amount: int, source: Source
) -> Refund:
    """Write down what was refunded in the channel's own console. The receipt must be locked. Raises OverRefund."""
    left = refundable_minor(receipt)
    if amount > left:
        raise OverRefund(receipt.channel_number, left_minor=left)
    refund = Refund.objects.create(
        number=number,
        receipt=receipt,
        channel=receipt.channel,
        kind=Refund.Kind.CONSOLE,
        amount=amount,
        reason="made in the channel's console",
        status=RefundStatus.REFUNDED,
        channel_number=channel_number,
        ended_at=Now(),
    )
    path = ("", RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING, RefundStatus.REFUNDED)
    record([_change(refund, before, after, source=source) for before, after in pairwise(path)])
    return refund


def lock_refund(number: str, *, channel: str = "") -> tuple[LockedOrder | None, Refund]:
    """Lock the refund's order (or receipt, where there is none), then the refund. Must be inside a transaction.

    Raises RefundNotFound, also when the number is ours but of another channel than the one given.
    """
    found = Refund.objects.filter(number=number, **({"channel": channel} if channel else {})).first()
    if found is None:
        raise RefundNotFound(number)
    order, receipt = lock_receipt(found.receipt_id)
    refund = Refund.objects.select_for_update().annotate(**WITH_NOW).get(pk=found.pk)
    refund.receipt = receipt
    return order, refund


def keep_refund_number(refund: Refund, channel_number: str) -> None:
    """Keep the channel's own number of the locked refund, which has not ended yet."""
    _write(refund, channel_number=channel_number)


def move_refund(
    refund: Refund,
    to: RefundStatus,
    *,
    source: Source,
    actor: str = "",
    note: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Change:
    """Move the locked refund through the table, together with `columns`. Returns the event for the caller to record.

    One that ends must have been read with the database's clock. Raises IllegalPaymentMove when the table has no such move.
    """
    if to not in REFUND_MOVES[RefundStatus(refund.status)]:
        raise IllegalPaymentMove(refund.number, refund.status, to)
    change = _change(refund, refund.status, to, source=source, actor=actor, note=note)
    if not REFUND_MOVES[to]:
        columns["ended_at"] = refund.now
    is_to_be_told = to is RefundStatus.REFUNDED and refund.receipt.receipt_class in GOES_BACK
    if is_to_be_told:
        columns["is_told"] = False
    with together():
        _write(refund, status=to, **columns)
        remove_alarms([SEND_REFUND], refund.number)
        if is_to_be_told:
            set_alarm(MAIL_RETURNED, refund.number, in_s=MAIL_S)
            send_message(MAIL_RETURNED, refund.number)
    return change


# ---- proposals ---------------------------------------------------------------------------------------------------


def lock_proposal(pk: int) -> Proposal:
    """Lock a proposal that waits for a decision; its payment must be locked. Raises ProposalIsDecided."""
    proposal = Proposal.objects.select_for_update().get(pk=pk)
    if proposal.status != Proposal.Status.WAITING:
        raise ProposalIsDecided(proposal.number, proposal.status)
    return proposal


def end_proposal(
    proposal: Proposal, to: Proposal.Status, *, now: datetime, actor: str, result: str = ""
) -> None:
    """`actor` has decided the locked proposal. `result`: what settling by it came to."""
    update(proposal, status=to, decided_by=actor, decided_at=now, result=result)


# ---- the rows behind ---------------------------------------------------------------------------------------------


def _write(row: Payment | Refund, **columns: Any) -> None:
    """Named columns only, never the whole row."""
    update(row, **columns)


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
    told: dict[str, Any]
    facts, stream = {}, ""
    if isinstance(row, Payment):
        kind, order, told = "payment", row.order, {"channel": row.channel}
    else:
        kind, order, told = "refund", row.receipt.order, {"amount": row.amount, "reason": row.reason}
        facts, stream = _facts(row), f"receipt:{row.receipt_id}"
    return Change(
        subject_kind=kind,
        subject=row.number,
        order_number=order.number if order else "",
        from_status=before,
        to_status=after,
        source=source,
        actor=actor,
        note={**told, **(note or {})},
        facts=facts,
        stream=stream,
    )


def _facts(refund: Refund) -> dict[str, Any]:
    """What other systems may be told of a refund; never what a person wrote as its reason."""
    receipt = refund.receipt
    by_itself = refund.kind in (Refund.Kind.AUTOMATIC, Refund.Kind.CONSOLE)
    return {
        "refund": refund.number,
        "payment": receipt.number,
        "channel": receipt.channel,
        "trade": receipt.channel_number,
        "class": str(receipt.receipt_class),
        "kind": str(refund.kind),
        "reason": refund.reason if by_itself else "",
        "amount": refund.amount,
        "currency": receipt.currency,
    }
