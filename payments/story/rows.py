"""Reading all that is known of one order: one statement for each kind of row, each served by an index and bounded."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from orders.models import Order
from payments.models import (
    Call,
    Callback,
    Case,
    Difference,
    Payment,
    Proposal,
    Receipt,
    Refund,
    RefusedCallback,
    StaffAction,
)
from shop.alarms import kinds
from shop.clock import read_now
from shop.models import Alarm, Event

# The newest so many rows of a kind are read; nobody reads more, and one order must not fill the memory.
MOST = 500
# A statement's day is its channel's: a trade may stand in the one before the day that we call it.
DAY_BEFORE = timedelta(days=2)
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is known of one order, the oldest first, and the database's clock."""

    order: Order
    now: datetime
    payments: list[Payment]
    receipts: list[Receipt]
    refunds: list[Refund]
    events: list[Event]
    calls: list[Call]
    callbacks: list[Callback]
    refused: list[RefusedCallback]
    cases: list[Case]
    actions: list[StaffAction]
    proposals: list[Proposal]
    differences: list[Difference]
    alarms: dict[tuple[str, str], Alarm]

    def due_at(self, kind: str, subject: str) -> datetime | None:
        """When the alarm of this kind comes; None when there is none."""
        alarm = self.alarms.get((kind, subject))
        return alarm.due_at if alarm else None

    def open_case(self, kind: str, subject: str = "") -> Case | None:
        """The open case of this kind, about this subject if one is given."""
        return next(
            (
                case
                for case in self.cases
                if case.kind == kind and case.resolved_at is None and subject in ("", case.subject)
            ),
            None,
        )


def read_rows(order: Order) -> Rows:
    """Read them, 13 statements whatever there is. The rows know each other: following them asks nothing more."""
    payments = _newest(Payment.objects.filter(order=order))
    receipts = _newest(Receipt.objects.filter(order=order))
    refunds = _newest(Refund.objects.filter(receipt__order=order))
    _introduce(order, payments, receipts, refunds)
    numbers = [order.number, *(each.number for each in payments), *(each.number for each in refunds)]
    callbacks = _newest(Callback.objects.filter(number__in=numbers).defer("body", "headers"))
    by_pk = {payment.pk: payment for payment in payments}
    for callback in callbacks:
        callback.payment = by_pk.get(callback.payment_id or 0)
    trades = [each.channel_number for each in receipts]
    trades += [each.channel_number for each in refunds if each.channel_number]
    subjects = [*numbers, *trades, *(callback.message_id for callback in callbacks)]
    cases = _newest(
        Case.objects.filter(Q(order=order) | Q(order=None, subject__in=subjects)).select_related("owner")
    )
    for case in cases:
        case.order = order if case.order_id else None
    proposals = _newest(Proposal.objects.filter(payment__order=order))
    for proposal in proposals:
        if proposal.payment_id in by_pk:
            proposal.payment = by_pk[proposal.payment_id]
    about_it = {"order_number": order.number}
    return Rows(
        order=order,
        now=read_now(),
        payments=payments,
        receipts=receipts,
        refunds=refunds,
        events=_newest(Event.objects.filter(**about_it)),
        calls=_newest(Call.objects.filter(**about_it)),
        callbacks=callbacks,
        refused=_newest(RefusedCallback.objects.filter(**about_it).defer("body", "headers")),
        cases=cases,
        actions=_newest(StaffAction.objects.filter(**about_it)),
        proposals=proposals,
        differences=_newest(_differences(order, payments, numbers, trades)),
        alarms=_alarms([*numbers, *(str(callback.pk) for callback in callbacks if not callback.taken_at)]),
    )


def _newest(rows: QuerySet[M]) -> list[M]:
    """One more than are told, to know that there are more; the oldest first."""
    return list(rows.order_by("-pk")[: MOST + 1])[::-1]


def _introduce(order: Order, payments: list[Payment], receipts: list[Receipt], refunds: list[Refund]) -> None:
    payment_of = {payment.pk: payment for payment in payments}
    receipt_of = {receipt.pk: receipt for receipt in receipts}
    for payment in payments:
        payment.order = order
    for receipt in receipts:
        receipt.order = order
        if receipt.payment_id in payment_of:
            receipt.payment = payment_of[receipt.payment_id]
    for refund in refunds:
        if refund.receipt_id in receipt_of:
            refund.receipt = receipt_of[refund.receipt_id]


def _differences(
    order: Order, payments: Iterable[Payment], numbers: list[str], trades: list[str]
) -> QuerySet[Difference]:
    """By channel and day, which have an index."""
    channels = {payment.channel for payment in payments} or {""}
    about_it = Q(number__in=numbers) | Q(subject__in=[*numbers, *trades])
    since = (order.created_at - DAY_BEFORE).date()
    return Difference.objects.filter(about_it, channel__in=channels, day__gte=since)


def _alarms(subjects: list[str]) -> dict[tuple[str, str], Alarm]:
    """The kinds are named because the index begins with them."""
    found = Alarm.objects.filter(kind__in=list(kinds()), subject__in=subjects)
    return {(alarm.kind, alarm.subject): alarm for alarm in found}
