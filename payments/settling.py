"""Settling: the one door through which money enters. Answers, callbacks, queries, statements and staff all come here.

One fact, one transaction: receipt, payment, order, stock, event and what must follow are committed together or not at
all. Nothing here calls a channel.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from django.db import transaction

from orders.models import Order
from orders.moves import LockedOrder, lock_order, mark_paid, reopen_order, touch_order
from orders.statuses import PAID, CloseReason, OrderStatus
from payments.cases import close_cases, has_open_mismatch, open_case, open_irregular
from payments.channels.base import Outcome, PaymentReport
from payments.channels.registry import can_refund
from payments.keeping import stop_keeping
from payments.models import Case, Payment, Receipt, Refund
from payments.moves import (
    ask_capture,
    end_doubt,
    lock_payment,
    move_payment,
    open_refund,
    refundable_minor,
)
from payments.returning import make_room
from payments.statuses import PAYMENT_DEEDS, Deed, PaymentStatus, ReceiptClass, Settled
from shop.alarms import send_message, set_alarm
from shop.bell import ring
from shop.business import announce
from shop.events import Change, record
from shop.models import Source
from shop.reads import Joined
from shop.transactions import transactional
from shop.writes import save, together

log = structlog.get_logger("nodrop.settling")

FOLLOW_UP = "follow_up"
SAME_TRADE = Joined(
    "from payments_receipt receipt where channel = %s and channel_number = %s for update", receipt=Receipt
)
# The message does it at once; this is for when there is no cluster to do it.
FOLLOW_UP_S = 5
# Money that comes this long after an order expired may still have what it paid for, if the goods are there.
REOPEN_WITHIN = timedelta(hours=24)
# A bank may be at work on what its channel still calls open at the end; by then the statements of its days are out.
OPEN_FOR = timedelta(days=3)


@transactional
def settle_payment(report: PaymentReport, *, channel: str, source: Source, actor: str = "") -> Settled:
    """Settle one payment by what its `channel` said. `report.amount_minor` as reported.

    Joins an open transaction or makes its own; locks order, then payment. Late and repeated reports are answers, not
    errors. Raises PaymentNotFound.
    """
    order, payment = lock_payment(report.number, channel=channel)
    deed = PAYMENT_DEEDS[PaymentStatus(payment.status), report.outcome]
    if report.needs_person and deed is not Deed.REPEAT:
        open_irregular(payment.number, order=order, evidence=_evidence(report, source))
    if deed is Deed.CAPTURE:
        return _begin_capture(order, payment)
    if deed in (Deed.PAY, Deed.REPEAT):
        return _take_money(order, payment, report, source=source, actor=actor)
    if deed is Deed.KEEP:
        _end_doubt(order, payment, report)
        _answer_late(payment, report)
        return Settled.STALE
    # The answer to a close is our own promise not to take the money; what a query says the channel means itself.
    if deed is Deed.CLOSE and payment.capture_asked_at is not None and source is Source.RESPONSE:
        return Settled.UNDECIDED
    return _end(order, payment, report, deed, source=source, actor=actor)


def is_awaited(order: LockedOrder, payment: Payment) -> bool:
    """Whether the locked order still waits for the money of this locked attempt, and for no other's."""
    is_wanted = order.status == OrderStatus.UNPAID and payment.status == PaymentStatus.PAYING
    return is_wanted and payment.superseded_at is None


def _begin_capture(order: LockedOrder, payment: Payment) -> Settled:
    if payment.capture_asked_at is not None or not is_awaited(order, payment) or has_open_mismatch(order):
        return Settled.STALE
    if order.now > payment.dead_at:
        return Settled.STALE  # whoever asks now is told that it is over
    ask_capture(order, payment)
    return Settled.CAPTURE


@transactional
def expire_payment(asked: Payment, *, source: Source, is_open: bool = False) -> Settled:
    """End an attempt that its channel, asked after `dead_at` about it as it was read then, does not know as paid.

    `is_open`: the channel has not ended it either, and cannot be made to; it is asked for some days more. Opens no case.
    """
    order, payment = lock_payment(asked.number, channel=asked.channel)
    if payment.status != PaymentStatus.PAYING or order.now <= payment.dead_at:
        return Settled.STALE
    if payment.captures != asked.captures:
        return Settled.STALE  # the shopper has agreed meanwhile, and the money is being taken
    _answer_cases(order, payment)
    until, note = order.now + OPEN_FOR, {"expired": True}
    ended = move_payment(
        payment, PaymentStatus.CLOSED, source=source, note=note, is_over=not is_open, look_until=until
    )
    record([ended])
    touch_order(order)
    return Settled.MOVED


@transactional
def settle_unmatched(report: PaymentReport, *, channel: str, source: Source) -> Settled:
    """Give money that names no payment of ours a home and a case."""
    receipt, is_new = Receipt.objects.get_or_create(
        channel=channel,
        channel_number=report.channel_number,
        defaults=_facts(report, source) | {"receipt_class": ReceiptClass.UNMATCHED},
    )
    if not is_new:
        return Settled.REPEATED
    open_case(Case.Kind.UNMATCHED, receipt.channel_number, order=None, evidence=_evidence(report, source))
    return Settled.REVIEW


@transactional
def settle_again(order_number: str) -> Settled:
    """Compensation: an order that is unpaid though a settled receipt pays it takes the step that is missing.

    Never needed while the database's own constraints are in force: this is for a hand in the database.
    """
    order = lock_order(order_number)
    if order.status != OrderStatus.UNPAID or not has_settled_receipt(order):
        return Settled.STALE
    record([mark_paid(order, source=Source.SYSTEM)])
    return Settled.MOVED


def has_settled_receipt(order: Order) -> bool:
    """Whether one receipt of the order's own amount pays it, of a payment that is PAID."""
    return Receipt.objects.filter(
        order=order,
        receipt_class=ReceiptClass.SETTLED,
        amount=order.amount,
        currency=order.currency,
        payment__status=PaymentStatus.PAID,
    ).exists()


# ---- the staircase of money --------------------------------------------------------------------------------------


def _take_money(
    order: LockedOrder, payment: Payment, report: PaymentReport, *, source: Source, actor: str
) -> Settled:
    found = SAME_TRADE.first(payment.channel, report.channel_number)
    known: Receipt | None = found[0] if found else None
    if known is not None and known.receipt_class != ReceiptClass.UNMATCHED:
        return _compare(known, order, payment, report, source)
    if known is not None:
        close_cases(Case.Kind.UNMATCHED, known.channel_number, resolution="its payment appeared")
    receipt = known or Receipt(channel=payment.channel, channel_number=report.channel_number)
    receipt.payment, receipt.order = payment, order
    for name, value in _facts(report, source).items():
        setattr(receipt, name, value)
    if (report.amount_minor, report.currency) != (payment.amount, payment.currency):
        return _set_aside(order, payment, receipt, report, source)

    # From here it must succeed.
    _answer_cases(order, payment)
    is_going_back = known is not None and _is_going_back(known, source=source)
    with together():
        changes: list[Change] = []
        if payment.status != PaymentStatus.PAID:
            columns: dict[str, Any] = {"channel_number": report.channel_number, "is_unsure": False}
            changes.append(move_payment(payment, PaymentStatus.PAID, source=source, actor=actor, **columns))
        moved = None if is_going_back else _pay_order(order, payment, source=source, actor=actor)
        if moved is None:
            is_late = order.status == OrderStatus.CLOSED
            receipt.receipt_class = ReceiptClass.LATE if is_late else ReceiptClass.SURPLUS
            touch_order(order)
        else:
            receipt.receipt_class = ReceiptClass.SETTLED
            changes.append(moved)
        _announce(order, payment, receipt)
        record(changes)
        if moved is None:
            receipt.save()
            give_back(order, receipt)
        else:
            save(receipt)
        set_alarm(FOLLOW_UP, order.number, in_s=FOLLOW_UP_S)
        send_message(FOLLOW_UP, order.number)
    return Settled.MOVED


def _announce(order: LockedOrder, payment: Payment, receipt: Receipt) -> None:
    """Tell other systems of money that has its class: it pays the order, or it is surplus, or came too late."""
    is_settled = receipt.receipt_class == ReceiptClass.SETTLED
    announce(
        "payment.settled" if is_settled else "payment.surplus",
        stream=order.number,
        subject=payment.number,
        data={
            "payment": payment.number,
            "channel": payment.channel,
            "scene": payment.scene,
            "trade": receipt.channel_number,
            "class": str(receipt.receipt_class),
            "amount": receipt.amount,
            "currency": receipt.currency,
            "paid_at": receipt.paid_at and receipt.paid_at.isoformat(),
            "source": str(receipt.source),
        },
    )


def _is_going_back(known: Receipt, *, source: Source) -> bool:
    """A person may have begun to send back what nobody knew a payment for: then it pays no order."""
    record(make_room(known, known.amount, source=source, why="its payment appeared"))
    return refundable_minor(known) < known.amount


def _compare(
    known: Receipt, order: LockedOrder, payment: Payment, report: PaymentReport, source: Source
) -> Settled:
    """A trade that we know already is a repeat, unless its channel now names another payment or amount for it."""
    is_same_money = (known.amount, known.currency) == (report.amount_minor or 0, report.currency)
    if known.payment_id == payment.pk and is_same_money:
        return Settled.REPEATED
    evidence = _evidence(report, source) | {"known_payment": known.number, "known_amount": known.amount}
    open_case(Case.Kind.DISAGREES, payment.number, order=order, evidence=evidence)
    return Settled.REVIEW


def _pay_order(order: LockedOrder, payment: Payment, *, source: Source, actor: str) -> Change | None:
    """The order's own move when this money pays it; None when it is surplus or late."""
    if order.status == OrderStatus.UNPAID:
        return mark_paid(order, source=source, actor=actor)
    if order.status == OrderStatus.CLOSED and _may_reopen(order, payment):
        return reopen_order(order, source=source, actor=actor)
    return None


def _may_reopen(order: LockedOrder, payment: Payment) -> bool:
    if order.close_reason != CloseReason.EXPIRED or order.closed_at is None:
        return False
    if order.now - order.closed_at >= REOPEN_WITHIN and order.now > payment.dead_at:
        return False
    # Whoever ordered and paid the same again meanwhile wants it once.
    newer = Order.objects.filter(content_hash=order.content_hash, created_at__gt=order.created_at)
    return not newer.filter(status__in=PAID).exists()


def _set_aside(
    order: LockedOrder, payment: Payment, receipt: Receipt, report: PaymentReport, source: Source
) -> Settled:
    """The amount or the currency is not what we asked for: the order stays as it is and a person decides."""
    receipt.receipt_class = ReceiptClass.MISMATCH
    receipt.save()
    evidence = _evidence(report, source) | {"expected": payment.amount, "expected_currency": payment.currency}
    open_case(Case.Kind.MISMATCH, report.channel_number, order=order, evidence=evidence)
    touch_order(order)
    return Settled.REVIEW


def give_back(order: LockedOrder, receipt: Receipt) -> None:
    """Surplus and late money of the locked order goes back, whatever of it does not yet."""
    reason = "paid twice" if receipt.receipt_class == ReceiptClass.SURPLUS else "paid after the order closed"
    left = refundable_minor(receipt)
    if left and not can_refund(receipt.channel):
        evidence = {"amount": left, "currency": receipt.currency, "why": reason}
        open_case(Case.Kind.PAYOUT, receipt.channel_number, order=order, evidence=evidence)
    elif left:
        open_refund(receipt, kind=Refund.Kind.AUTOMATIC, amount=left, reason=reason, source=Source.SYSTEM)


def _answer_cases(order: LockedOrder, payment: Payment) -> None:
    """A payment that was asked about until its end, or an order that could not be ended, has been answered."""
    if order.was_extended or order.now > min(payment.dead_at, order.expires_at):
        for subject in (payment.number, order.number):
            close_cases(Case.Kind.UNANSWERED, subject, resolution="the channel has answered")


def _end_doubt(order: LockedOrder, payment: Payment, report: PaymentReport) -> None:
    """A verified word after a close without an answer: the attempt is simply open again."""
    if payment.is_unsure and report.outcome in (Outcome.OPEN, Outcome.NOT_FOUND):
        end_doubt(payment)
        touch_order(order)


def _answer_late(payment: Payment, report: PaymentReport) -> None:
    """A channel that was asked in vain about an attempt that had ended has answered."""
    has_ended = payment.status in (PaymentStatus.CLOSED, PaymentStatus.FAILED)
    if has_ended and report.outcome is not Outcome.UNKNOWN:
        close_cases(Case.Kind.UNANSWERED, payment.number, resolution="the channel has answered")


def _end(
    order: LockedOrder, payment: Payment, report: PaymentReport, deed: Deed, *, source: Source, actor: str
) -> Settled:
    to = PaymentStatus.CLOSED if deed is Deed.CLOSE else PaymentStatus.FAILED
    _answer_cases(order, payment)
    record([move_payment(payment, to, source=source, actor=actor, note={"code": report.code})])
    touch_order(order)
    stop_keeping(order, payment)
    transaction.on_commit(partial(ring, order.number), robust=True)
    return Settled.MOVED


def _facts(report: PaymentReport, source: Source) -> dict[str, Any]:
    return {
        "number": report.number,
        "amount": report.amount_minor or 0,
        "currency": report.currency,
        "source": source,
        "paid_at": report.paid_at,
    }


def _evidence(report: PaymentReport, source: Source) -> dict[str, Any]:
    return {
        "source": str(source),
        "number": report.number,
        "channel_number": report.channel_number,
        "amount": report.amount_minor,
        "currency": report.currency,
        "code": report.code,
    }
