"""Refunds: asked for, approved, sent by a worker, asked about until the channel says how they ended.

The amount is promised under the order's lock before anything is sent, and the number is committed first. The channel is
asked before anything is sent again; it never makes a second number for a refund that is not final.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Now

from orders.moves import LockedOrder
from payments.attempts import refund_request_of
from payments.calls import heard
from payments.cases import close_cases, open_case
from payments.channels.base import Impossible, Outcome, RefundReport, Refused, Unreachable
from payments.channels.registry import can_refund, get_channel, title_of
from payments.errors import (
    ChannelRefunds,
    NotRefundable,
    OverRefund,
    OwnApproval,
    PaymentNotFound,
    RefundIsDecided,
    RefundNotFound,
)
from payments.models import Case, Payment, Receipt, Refund
from payments.moves import (
    SEND_REFUND,
    find_receipt,
    lock_receipt,
    lock_refund,
    move_refund,
    open_refund,
    refundable_minor,
    start_refund,
)
from payments.returning import settle_payback, settle_refund
from payments.settling import give_back
from payments.statuses import RESERVING, ReceiptClass, RefundStatus, Settled
from shop.alarms import Claim, is_latest, remove_alarms
from shop.clock import WITH_NOW
from shop.events import record
from shop.idempotency import Key, claim_key
from shop.keyring import is_of
from shop.locks import stand_in_line
from shop.models import Source
from shop.numbers import new_refund_number
from shop.transactions import transactional

log = structlog.get_logger("nodrop.refunding")

# A refund that has not ended for so long is a case: banks may take some days over one, silence is another matter.
TOLD_AFTER = defaultdict(lambda: timedelta(hours=2), {Outcome.OPEN: timedelta(days=7)})


def ask_refund(
    number: str,
    *,
    amount: int,
    reason: str,
    actor: str,
    source: Source = Source.STAFF,
    key: Key | None = None,
) -> Refund:
    """Promise to give `amount` minor units back of what was paid under `number`, ours or the channel's; once for each `key`.

    Above the limit of the settings a second person has to approve it; else it is on its way. Raises PaymentNotFound,
    OverRefund when less than that is left, or nothing was paid, and NotRefundable; with a key also KeyMismatch, InProgress.
    """
    receipt = _find_receipt(number)
    if receipt is None:
        raise OverRefund(number, left_minor=0)
    if not can_refund(receipt.channel):
        raise NotRefundable(receipt.channel)
    with stand_in_line(_line_of(receipt)):
        return _ask_refund(receipt, amount=amount, reason=reason, actor=actor, source=source, key=key)


def _line_of(receipt: Receipt) -> str:
    return f"order:{receipt.order.number}" if receipt.order else f"receipt:{receipt.pk}"


@transactional
def _ask_refund(
    receipt: Receipt, *, amount: int, reason: str, actor: str, source: Source, key: Key | None
) -> Refund:
    refund_number = new_refund_number()
    made = claim_key(key, subject=refund_number, status=201) if key else None
    if made is not None:
        known = Refund.objects.select_related("receipt__payment").get(number=made.subject)
        known.is_replay = True
        return known
    order, locked = lock_receipt(receipt.pk)
    refund = open_refund(
        locked,
        number=refund_number,
        kind=Refund.Kind.ASKED,
        amount=amount,
        reason=reason,
        source=source,
        actor=actor,
        needs_approval=amount + _unapproved_minor(locked) > settings.REFUND_APPROVAL_ABOVE,
    )
    if refund.status == RefundStatus.PENDING_APPROVAL:
        _ask_approval(refund, order)
    return refund


def ask_payback(channel_number: str, *, reason: str, actor: str) -> Refund:
    """Write down that all that is left of a trade was paid back by hand, because its channel cannot return it.

    It counts once a second person has approved it. Raises PaymentNotFound, ChannelRefunds; OverRefund when nothing is
    left. Never inside a transaction.
    """
    receipt = find_receipt(channel_number=channel_number)
    if receipt is None:
        raise PaymentNotFound(channel_number)
    if can_refund(receipt.channel):
        raise ChannelRefunds(title_of(receipt.channel))
    with stand_in_line(_line_of(receipt)):
        return _ask_payback(receipt, reason=reason, actor=actor)


@transactional
def _ask_payback(receipt: Receipt, *, reason: str, actor: str) -> Refund:
    order, locked = lock_receipt(receipt.pk)
    left = refundable_minor(locked)
    if left == 0:
        raise OverRefund(receipt.channel_number, left_minor=0)
    refund = open_refund(
        locked,
        kind=Refund.Kind.BY_HAND,
        amount=left,
        reason=reason,
        source=Source.STAFF,
        actor=actor,
        needs_approval=True,
    )
    _ask_approval(refund, order)
    return refund


def _ask_approval(refund: Refund, order: LockedOrder | None) -> None:
    evidence = {"amount": refund.amount, "by": refund.asked_by}
    open_case(Case.Kind.APPROVAL, refund.number, order=order, evidence=evidence)


def _unapproved_minor(receipt: Receipt) -> int:
    """What single people have promised of the receipt so far: a large refund in small parts is a large one."""
    alone = receipt.refunds.filter(kind=Refund.Kind.ASKED, approved_by="", status__in=RESERVING)
    total: int | None = alone.aggregate(sum=Sum("amount"))["sum"]
    return total or 0


def _find_receipt(number: str) -> Receipt | None:
    """What was paid under a payment's number, or the trade of a channel's number. Raises PaymentNotFound."""
    if Payment.objects.filter(number=number).exists():
        return find_receipt(payment__number=number)
    receipt = find_receipt(channel_number=number)
    if receipt is None:
        raise PaymentNotFound(number)
    return receipt


def approve_refund(number: str, *, actor: str) -> Refund:
    """Let a refund that waits be sent; one that was paid back by hand has ended with that.

    Raises RefundNotFound, RefundIsDecided, OwnApproval. Never inside a transaction.
    """
    with stand_in_line(_line_of_refund(number)):
        return _approve(number, actor=actor)


def reject_refund(number: str, *, actor: str, reason: str) -> Refund:
    """Give back nothing: the amount may be promised again. Raises RefundNotFound, RefundIsDecided. Never inside a transaction."""
    with stand_in_line(_line_of_refund(number)):
        return _reject(number, actor=actor, reason=reason)


def _line_of_refund(number: str) -> str:
    refund = Refund.objects.select_related("receipt__order").filter(number=number).first()
    if refund is None:
        raise RefundNotFound(number)
    return _line_of(refund.receipt)


@transactional
def _approve(number: str, *, actor: str) -> Refund:
    order, refund = _lock_waiting(number)
    if is_of(refund.asked_by, actor):
        raise OwnApproval(number)
    if refund.kind == Refund.Kind.BY_HAND:
        settle_payback(order, refund, actor=actor)
    else:
        record([start_refund(refund, source=Source.STAFF, actor=actor)])
    close_cases(Case.Kind.APPROVAL, number, resolution=f"approved by {actor}")
    return refund


@transactional
def _reject(number: str, *, actor: str, reason: str) -> Refund:
    order, refund = _lock_waiting(number)
    note = {"rejected": reason}
    record([move_refund(refund, RefundStatus.REJECTED, source=Source.STAFF, actor=actor, note=note)])
    close_cases(Case.Kind.APPROVAL, number, resolution=f"rejected by {actor}: {reason}")
    if order is not None and refund.receipt.receipt_class in (ReceiptClass.SURPLUS, ReceiptClass.LATE):
        give_back(order, refund.receipt)  # money that pays nothing is not for anybody to keep
    return refund


def _lock_waiting(number: str) -> tuple[LockedOrder | None, Refund]:
    order, refund = lock_refund(number)
    if refund.status != RefundStatus.PENDING_APPROVAL:
        raise RefundIsDecided(number, refund.status)
    return order, refund


# ---- sending -----------------------------------------------------------------------------------------------------


def send_by_alarm(claim: Claim) -> None:
    """One step of one refund: send it if nothing was sent, else ask the channel, and repeat what it does not know."""
    refund = (
        Refund.objects.select_related("receipt__order", "receipt__payment")
        .annotate(**WITH_NOW)
        .get(number=claim.subject)
    )
    if refund.status != RefundStatus.REFUNDING:
        remove_alarms([SEND_REFUND], refund.number)
        return
    outcome, settled = _go_on(refund, claim)
    if settled is Settled.STALE and refund.now - refund.created_at > TOLD_AFTER[outcome]:
        _tell_people(refund, {"outcome": str(outcome), "tries": claim.attempt})


@transactional
def _tell_people(refund: Refund, evidence: Mapping[str, Any]) -> None:
    """It takes too long, if it still does: the channel may have answered elsewhere meanwhile."""
    order, locked = lock_refund(refund.number)
    if locked.status == RefundStatus.REFUNDING:
        open_case(Case.Kind.REFUND, refund.number, order=order, evidence=evidence)


def send_refund(refund: Refund) -> Settled:
    """Bring one REFUNDING refund a step on. Never inside a transaction."""
    return _go_on(refund, None)[1]


def _go_on(refund: Refund, claim: Claim | None) -> tuple[Outcome, Settled]:
    was_sent = refund.sent_at is not None
    report = _ask(refund) if was_sent else None
    if report is None or report.outcome is Outcome.NOT_FOUND:
        report = _send(refund, was_sent=was_sent)
    settled = _settle(report, refund, claim)
    log.info("refund", refund=refund.number, outcome=str(report.outcome), settled=str(settled))
    return report.outcome, settled


@transactional
def _settle(report: RefundReport, refund: Refund, claim: Claim | None) -> Settled:
    """Settle by the answer; a refusal only while nobody else tries: that one may have been taken under the same number."""
    lock_refund(refund.number)
    if report.outcome is Outcome.REFUSED and claim is not None and not is_latest(claim):
        return Settled.STALE
    return settle_refund(report, channel=refund.channel, source=Source.RESPONSE)


def _ask(refund: Refund) -> RefundReport:
    channel = get_channel(refund.channel)
    with heard("query_refund", refund, source=Source.RESPONSE) as hearing:
        return hearing.take(channel.query_refund(refund_request_of(refund)))


def _send(refund: Refund, *, was_sent: bool) -> RefundReport:
    # Marked before the call: whoever comes after a crash asks first.
    if refund.sent_at is None:
        Refund.objects.filter(pk=refund.pk, sent_at__isnull=True).update(sent_at=Now())
        refund.refresh_from_db(fields=["sent_at"])
    channel = get_channel(refund.channel)
    outcome = Outcome.UNKNOWN
    try:
        with heard("refund", refund, source=Source.RESPONSE) as hearing:
            return hearing.take(channel.refund(refund_request_of(refund)))
    except Unreachable as error:
        code = error.code
    except Refused as error:
        # Our own check says nothing about a request that an earlier try may have brought to the channel.
        is_final = not (was_sent and isinstance(error, Impossible))
        outcome, code = Outcome.REFUSED if is_final else Outcome.UNKNOWN, error.code
    return RefundReport(outcome=outcome, number=refund.number, code=code)
