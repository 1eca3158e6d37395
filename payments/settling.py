"""Settling: the one door through which money enters. Answers, callbacks, queries, statements and staff all come here.

One fact, one transaction: receipt, payment, order, stock, event and what must follow are committed together or not at
all. Nothing here calls a channel.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Any

import structlog

from orders.models import Order
from orders.moves import LockedOrder, lock_order, mark_paid, mark_refunded, reopen_order, touch_order
from orders.statuses import PAID, CloseReason, OrderStatus
from payments.cases import close_cases, open_case
from payments.channels.base import Outcome, PaymentReport, RefundReport
from payments.errors import OverRefund, RefundNotFound
from payments.models import Case, Payment, Receipt, Refund
from payments.moves import (
    end_doubt,
    find_receipt,
    kept_minor,
    lock_payment,
    lock_receipt,
    lock_refund,
    move_payment,
    move_refund,
    open_refund,
    record_foreign_refund,
    refundable_minor,
)
from payments.statuses import PAYMENT_DEEDS, REFUND_ENDS, Deed, PaymentStatus, ReceiptClass, RefundStatus
from shop.alarms import send_message, set_alarm
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


class Settled(StrEnum):
    """What became of one piece of news."""

    MOVED = "moved"
    REPEATED = "repeated"  # known already
    STALE = "stale"  # says nothing new
    REVIEW = "review"  # a case was opened


@transactional
def settle_payment(report: PaymentReport, *, channel: str, source: Source, actor: str = "") -> Settled:
    """Settle one payment by what its `channel` said. `report.amount_minor` as reported.

    Joins an open transaction or makes its own; locks order, then payment. Late and repeated reports are answers, not
    errors. Raises PaymentNotFound.
    """
    order, payment = lock_payment(report.number, channel=channel)
    deed = PAYMENT_DEEDS[PaymentStatus(payment.status), report.outcome]
    if deed in (Deed.PAY, Deed.REPEAT):
        return _take_money(order, payment, report, source=source, actor=actor)
    if deed is Deed.KEEP:
        _end_doubt(order, payment, report)
        return Settled.STALE
    return _end(order, payment, report, deed, source=source, actor=actor)


@transactional
def expire_payment(number: str, *, channel: str, source: Source) -> Settled:
    """End an attempt that its channel, asked after `dead_at`, does not know as paid. Opens no case."""
    order, payment = lock_payment(number, channel=channel)
    if payment.status != PaymentStatus.PAYING or order.now <= payment.dead_at:
        return Settled.STALE
    _answer_cases(order, payment)
    record([move_payment(payment, PaymentStatus.CLOSED, source=source, note={"expired": True})])
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
def settle_refund(report: RefundReport, *, channel: str, source: Source) -> Settled:
    """Settle one refund by what its `channel` said. Raises RefundNotFound for a number that is not ours."""
    order, refund = lock_refund(report.number, channel=channel)
    if _contradicts(refund, report):
        evidence = {"status": refund.status, "amount": refund.amount} | _refund_evidence(report)
        open_case(Case.Kind.DISAGREES, refund.number, order=order, evidence=evidence)
        return Settled.REVIEW
    if refund.status != RefundStatus.REFUNDING:
        return Settled.REPEATED
    if report.needs_person:
        open_case(Case.Kind.REFUND, refund.number, order=order, evidence={"code": report.code})
        return Settled.REVIEW
    end = REFUND_ENDS.get(report.outcome)
    if end is None:
        return Settled.STALE
    columns = {"channel_number": report.channel_number} if report.channel_number else {}
    changes = [move_refund(refund, end, source=source, note={"code": report.code}, **columns)]
    if end is RefundStatus.FAILED:
        open_case(Case.Kind.REFUND, refund.number, order=order, evidence={"code": report.code})
    else:
        close_cases(Case.Kind.REFUND, refund.number, resolution="the money arrived")
    record(changes + _recompute(order, refund.receipt, source=source))
    return Settled.MOVED


@transactional
def settle_foreign_refund(report: RefundReport, *, channel: str, source: Source) -> Settled:
    """Take a success of a refund that is not ours: somebody made it in the channel's console. Opens a case.

    STALE while a refund of ours that is on its way has the amount: the channel will refuse one of the two, and then this
    can be told again. Raises RefundNotFound when it is not of money that we know.
    """
    # A number that was paid twice has two trades, of which one is meant.
    which = (
        {"channel_number": report.trade_number} if report.trade_number else {"number": report.payment_number}
    )
    found = find_receipt(channel=channel, **which)
    if found is None or not report.amount_minor:
        raise RefundNotFound(report.number)
    order, receipt = lock_receipt(found.pk)
    if Refund.objects.filter(channel=channel, number=report.number).exists():
        return Settled.REPEATED
    evidence = _refund_evidence(report)
    why = "the money went back in the channel's console"
    changes = _make_room(receipt, report.amount_minor, source=source, why=why)
    try:
        refund = record_foreign_refund(
            receipt,
            number=report.number,
            channel_number=report.channel_number,
            amount=report.amount_minor,
            source=source,
        )
    except OverRefund as error:
        evidence["left"] = error.left_minor
        open_case(Case.Kind.DISAGREES, report.number, order=order, evidence=evidence)
        return Settled.STALE
    close_cases(Case.Kind.DISAGREES, refund.number, resolution="it has been written down")
    open_case(Case.Kind.CONSOLE_REFUND, refund.number, order=order, evidence=evidence)
    record(changes + _recompute(order, receipt, source=source))
    return Settled.REVIEW


def _make_room(receipt: Receipt, amount: int, *, source: Source, why: str) -> list[Change]:
    """What only waits for approval gives way, where that is enough to have `amount` free; else nothing changes."""
    waiting = receipt.refunds.filter(status=RefundStatus.PENDING_APPROVAL).order_by("-pk")
    pending = list(waiting.select_for_update())
    free = refundable_minor(receipt)
    if free + sum(refund.amount for refund in pending) < amount:
        return []
    changes: list[Change] = []
    while free < amount:
        refund = pending.pop(0)
        free += refund.amount
        changes.append(move_refund(refund, RefundStatus.REJECTED, source=source, note={"rejected": why}))
        close_cases(Case.Kind.APPROVAL, refund.number, resolution=why)
    return changes


def _recompute(order: LockedOrder | None, receipt: Receipt, *, source: Source) -> list[Change]:
    """What the end of a refund means for its receipt's order and for what people were asked about the receipt."""
    changes: list[Change] = []
    if kept_minor(receipt) == 0:
        _answer_refund_cases(receipt)
        if order is not None and receipt.receipt_class == ReceiptClass.SETTLED:
            changes.append(mark_refunded(order, source=source))
        elif receipt.receipt_class == ReceiptClass.MISMATCH:
            changes += _end_attempt(receipt, source=source)
    if order is not None:
        touch_order(order)
    return changes


def _end_attempt(receipt: Receipt, *, source: Source) -> list[Change]:
    """Money of a wrong amount went back: the attempt that took it has nothing to wait for any more."""
    payment = Payment.objects.select_for_update().filter(receipts=receipt).first()
    if payment is None or payment.status != PaymentStatus.PAYING:
        return []
    return [move_payment(payment, PaymentStatus.CLOSED, source=source, note={"mismatch": "went back"})]


def _answer_refund_cases(receipt: Receipt) -> None:
    """All of it went back: nobody has to decide about it any more."""
    for kind in (Case.Kind.MISMATCH, Case.Kind.UNMATCHED):
        close_cases(kind, receipt.channel_number, resolution="it went back in full")
    for number in receipt.refunds.values_list("number", flat=True):
        close_cases(Case.Kind.REFUND, number, resolution="the money went back in full")


def _contradicts(refund: Refund, report: RefundReport) -> bool:
    """Whether the channel's word does not fit ours: money that went back after all, of another amount or payment."""
    if report.outcome is not Outcome.SUCCEEDED:
        return False
    return (
        refund.status in (RefundStatus.PENDING_APPROVAL, RefundStatus.FAILED, RefundStatus.REJECTED)
        or report.amount_minor not in (None, refund.amount)
        or report.payment_number not in ("", refund.receipt.number)
        or report.trade_number not in ("", refund.receipt.channel_number)
    )


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
        moved = None if is_going_back else _pay_order(order, source=source, actor=actor)
        if moved is None:
            is_late = order.status == OrderStatus.CLOSED
            receipt.receipt_class = ReceiptClass.LATE if is_late else ReceiptClass.SURPLUS
            touch_order(order)
        else:
            receipt.receipt_class = ReceiptClass.SETTLED
            changes.append(moved)
        record(changes)
        if moved is None:
            receipt.save()
            give_back(receipt)
        else:
            save(receipt)
        set_alarm(FOLLOW_UP, order.number, in_s=FOLLOW_UP_S)
        send_message(FOLLOW_UP, order.number)
    return Settled.MOVED


def _is_going_back(known: Receipt, *, source: Source) -> bool:
    """A person may have begun to send back what nobody knew a payment for: then it pays no order."""
    record(_make_room(known, known.amount, source=source, why="its payment appeared"))
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


def _pay_order(order: LockedOrder, *, source: Source, actor: str) -> Change | None:
    """The order's own move when this money pays it; None when it is surplus or late."""
    if order.status == OrderStatus.UNPAID:
        return mark_paid(order, source=source, actor=actor)
    if order.status == OrderStatus.CLOSED and _may_reopen(order):
        return reopen_order(order, source=source, actor=actor)
    return None


def _may_reopen(order: LockedOrder) -> bool:
    if order.close_reason != CloseReason.EXPIRED or order.closed_at is None:
        return False
    if order.now - order.closed_at >= REOPEN_WITHIN:
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


def give_back(receipt: Receipt) -> None:
    """Surplus and late money goes back, whatever of it does not yet. Its order must be locked."""
    reason = "paid twice" if receipt.receipt_class == ReceiptClass.SURPLUS else "paid after the order closed"
    left = refundable_minor(receipt)
    if left:
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


def _end(
    order: LockedOrder, payment: Payment, report: PaymentReport, deed: Deed, *, source: Source, actor: str
) -> Settled:
    to = PaymentStatus.CLOSED if deed is Deed.CLOSE else PaymentStatus.FAILED
    _answer_cases(order, payment)
    record([move_payment(payment, to, source=source, actor=actor, note={"code": report.code})])
    touch_order(order)
    return Settled.MOVED


def _facts(report: PaymentReport, source: Source) -> dict[str, Any]:
    return {
        "number": report.number,
        "amount": report.amount_minor or 0,
        "currency": report.currency,
        "source": source,
        "paid_at": report.paid_at,
    }


def _refund_evidence(report: RefundReport) -> dict[str, Any]:
    return {
        "reported_amount": report.amount_minor,
        "reported_payment": report.payment_number,
        "channel_number": report.channel_number,
        "code": report.code,
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
