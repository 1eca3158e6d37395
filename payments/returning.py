"""Settling what went back: the one door through which news of refunds enters, made by us or in a channel's console.

One fact, one transaction, like in `settling`: refund, receipt, order, event and cases are committed together or not at
all. Nothing here calls a channel.
"""

from typing import Any

from django.db.models import Q

from orders.moves import LockedOrder, mark_refunded, touch_order
from payments.cases import close_cases, open_case, open_irregular
from payments.channels.base import Outcome, RefundReport
from payments.errors import OverRefund, RefundNotFound
from payments.models import Case, Payment, Receipt, Refund
from payments.moves import (
    find_receipt,
    keep_refund_number,
    kept_minor,
    lock_receipt,
    lock_refund,
    move_payment,
    move_refund,
    record_foreign_refund,
    refundable_minor,
)
from payments.statuses import REFUND_ENDS, PaymentStatus, ReceiptClass, RefundStatus, Settled
from shop.clock import WITH_NOW
from shop.events import Change, record
from shop.models import Source
from shop.transactions import transactional


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
    if report.needs_person and report.outcome is not Outcome.SUCCEEDED:
        open_case(Case.Kind.REFUND, refund.number, order=order, evidence={"code": report.code})
        return Settled.REVIEW
    end = REFUND_ENDS.get(report.outcome)
    if end is None:
        if report.channel_number and not refund.channel_number:
            keep_refund_number(refund, report.channel_number)  # by which some channels must be asked
        return Settled.STALE
    columns = {"channel_number": report.channel_number} if report.channel_number else {}
    changes = [move_refund(refund, end, source=source, note={"code": report.code}, **columns)]
    if end is RefundStatus.FAILED:
        open_case(Case.Kind.REFUND, refund.number, order=order, evidence={"code": report.code})
    else:
        close_cases(Case.Kind.REFUND, refund.number, resolution="the money arrived")
    if report.needs_person:  # it went back, with a flaw
        open_irregular(refund.number, order=order, evidence={"code": report.code})
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
    if _is_known(receipt, report):
        return Settled.REPEATED
    number = report.number
    if Refund.objects.filter(
        number=number
    ).exists():  # some channels' numbers tell the refunds of one trade apart, no more
        number = _number_within(receipt, report)
    evidence = _refund_evidence(report)
    why = "the money went back in the channel's console"
    changes = make_room(receipt, report.amount_minor, source=source, why=why)
    try:
        refund = record_foreign_refund(
            receipt,
            number=number,
            channel_number=report.channel_number,
            amount=report.amount_minor,
            source=source,
        )
    except OverRefund as error:
        evidence["left"] = error.left_minor
        open_case(Case.Kind.DISAGREES, number, order=order, evidence=evidence)
        return Settled.STALE
    close_cases(Case.Kind.DISAGREES, refund.number, resolution="it has been written down")
    open_case(Case.Kind.CONSOLE_REFUND, refund.number, order=order, evidence=evidence)
    record(changes + _recompute(order, receipt, source=source))
    return Settled.REVIEW


def _is_known(receipt: Receipt, report: RefundReport) -> bool:
    """Whether this refund of the locked receipt is written down already."""
    numbers = Q(receipt=receipt, number__in=(report.number, _number_within(receipt, report)))
    if report.channel_number:
        numbers |= Q(channel=receipt.channel, channel_number=report.channel_number)
    return Refund.objects.filter(numbers).exists()


def _number_within(receipt: Receipt, report: RefundReport) -> str:
    return f"{receipt.channel_number}/{report.number}"[:64]


def settle_payback(order: LockedOrder | None, refund: Refund, *, actor: str) -> None:
    """What was paid back by hand, and waits, is REFUNDED as soon as `actor` approves it: no channel has to be told.

    The refund must be locked with `lock_refund`, which gives its order.
    """
    by: dict[str, Any] = {"source": Source.STAFF, "actor": actor}
    changes = [
        move_refund(refund, RefundStatus.REFUNDING, approved_by=actor, **by),
        move_refund(refund, RefundStatus.REFUNDED, **by),
    ]
    record(changes + _recompute(order, refund.receipt, **by))


def make_room(receipt: Receipt, amount: int, *, source: Source, why: str) -> list[Change]:
    """What only waits for approval gives way, where that is enough to have `amount` free; else nothing changes."""
    # What was paid back by hand has left us, whether or not a second person has looked at it yet.
    waiting = receipt.refunds.filter(status=RefundStatus.PENDING_APPROVAL).exclude(kind=Refund.Kind.BY_HAND)
    pending = list(waiting.order_by("-pk").select_for_update().annotate(**WITH_NOW))
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


def _recompute(
    order: LockedOrder | None, receipt: Receipt, *, source: Source, actor: str = ""
) -> list[Change]:
    """What the end of a refund means for its receipt's order and for what people were asked about the receipt."""
    changes: list[Change] = []
    if kept_minor(receipt) == 0:
        _answer_refund_cases(receipt)
        if order is not None and receipt.receipt_class == ReceiptClass.SETTLED:
            changes.append(mark_refunded(order, source=source, actor=actor))
        elif receipt.receipt_class == ReceiptClass.MISMATCH:
            changes += _end_attempt(receipt, source=source, actor=actor)
    if order is not None:
        touch_order(order)
    return changes


def _end_attempt(receipt: Receipt, *, source: Source, actor: str) -> list[Change]:
    """Money of a wrong amount went back: the attempt that took it has nothing to wait for any more."""
    payment = Payment.objects.select_for_update().filter(receipts=receipt).first()
    if payment is None or payment.status != PaymentStatus.PAYING:
        return []
    note = {"mismatch": "went back"}
    return [move_payment(payment, PaymentStatus.CLOSED, source=source, actor=actor, note=note)]


def _answer_refund_cases(receipt: Receipt) -> None:
    """All of it went back: nobody has to decide about it any more."""
    for kind in (Case.Kind.MISMATCH, Case.Kind.UNMATCHED, Case.Kind.PAYOUT):
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


def _refund_evidence(report: RefundReport) -> dict[str, Any]:
    return {
        "reported_amount": report.amount_minor,
        "reported_payment": report.payment_number,
        "channel_number": report.channel_number,
        "code": report.code,
    }
