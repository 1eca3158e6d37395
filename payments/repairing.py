"""Repairing what the books show: through the flows that money always takes, after the channel itself was asked.

What a channel's own statement says and its own answer does not deny is settled by it. A file that somebody has handed in is
no more than a word: two people settle by it, see `evidence`. Whatever no machine should decide becomes a case.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from orders.models import Order
from orders.moves import LockedOrder, lock_order
from payments.attempts import refund_request_of
from payments.cases import open_case
from payments.channels.base import LineKind, Outcome, PaymentReport, RefundReport
from payments.channels.registry import UnknownChannel, get_channel
from payments.errors import CannotRepair, PaymentNotFound, RefundNotFound
from payments.models import Case, Difference, Entry, Receipt, Refund, Statement
from payments.querying import query_payment
from payments.reconciling import Kind, close_case, compare, open_differences, subject_of_day
from payments.returning import settle_foreign_refund, settle_refund
from payments.settling import settle_payment, settle_unmatched
from payments.statements import current_statement
from payments.statuses import RefundStatus, Settled
from shop.locks import stand_in_line
from shop.models import Source
from shop.sentences import Words, in_english, say
from shop.transactions import transactional

log = structlog.get_logger("nodrop.repairing")

# What is about money that came in.
SALES = frozenset({Kind.UNSETTLED, Kind.STRANGER})

Repair = Callable[[Difference, Entry], Words]
# What a repair has brought to light is repaired, or given to people, in the same night: a sum that was settled as the channel
# says, and stands in its books with another.
ROUNDS = 3


class StillGoesOn(CannotRepair):
    """Nobody has to do anything: the next statement, or the thing's own alarm, brings its end."""


def repair_safe(channel: str, day: date, *, actor: str) -> dict[str, int]:
    """Repair every open difference of a day that a machine may repair, and make cases of the others.

    Returns how many were repaired and how many are a person's. Doing it again is harmless. Never inside a transaction.
    """
    counts: Counter[str] = Counter(repaired=0, cases=0)
    for _round in range(ROUNDS):
        done = _repair_open(channel, day, actor=actor)
        counts.update(done)
        statement = current_statement(channel, day)
        if statement is None or not done["repaired"]:
            break
        compare(statement)
    return dict(counts)


def repair_around(channel: str, day: date, *, actor: str) -> dict[str, int]:
    """As `repair_safe`, and for the days beside it, of which its statement may have shown more."""
    counts: Counter[str] = Counter(repaired=0, cases=0)
    for days in (-1, 1, 0):
        near = day + timedelta(days=days)
        if current_statement(channel, near) is not None:
            counts.update(repair_safe(channel, near, actor=actor))
    return dict(counts)


def _repair_open(channel: str, day: date, *, actor: str) -> dict[str, int]:
    """Sales first: of money that is not known here nothing can have gone back. One that breaks does not stop the others."""
    counts = {"repaired": 0, "cases": 0}
    open_ones = open_differences(channel, day).filter(state=Difference.State.OPEN)
    for difference in sorted(open_ones, key=lambda each: (each.kind not in SALES, each.pk)):
        try:
            repair(difference.pk, actor=actor)
        except StillGoesOn:
            continue
        except CannotRepair:
            counts["cases"] += 1
        except (OperationalError, InterfaceError):
            raise  # nothing can be repaired without a database
        except Exception as error:
            log.exception("repair broke off", kind=difference.kind, subject=difference.subject)
            give_to_people(difference, say(_("The repair broke off: %(error)s."), error=type(error).__name__))
            counts["cases"] += 1
        else:
            counts["repaired"] += 1
    return counts


def repair(pk: int, *, actor: str) -> Words:
    """Put one difference right. Returns what was done, in a lazy sentence; what is written down of it is English.

    Raises CannotRepair when it is a person's, and has a case from then on, or when it has ended. Never inside a transaction.
    """
    with stand_in_line(f"difference:{pk}"):
        difference = Difference.objects.get(pk=pk)
        if difference.ended_at is not None:
            raise CannotRepair(_("This has been put right meanwhile."))
        try:
            done = _repair(difference)
        except StillGoesOn:
            raise
        except CannotRepair as error:
            give_to_people(difference, say("%(error)s", error=error))
            raise
        _end(difference, done)
    log.info("repaired", kind=difference.kind, subject=difference.subject, by=actor)
    return done


@transactional
def _end(difference: Difference, done: Words) -> None:
    same = Difference.objects.filter(pk=difference.pk, ended_at__isnull=True)
    same.update(state=Difference.State.REPAIRED, ended_at=Now(), note=in_english(done)[:200])
    close_case(difference.channel, difference.subject)


def is_safe(difference: Difference) -> bool:
    """Whether a machine may try to put it right."""
    return difference.ended_at is None and difference.kind in REPAIRS


def _repair(difference: Difference) -> Words:
    mend = REPAIRS.get(Kind(difference.kind))
    if mend is None:
        raise CannotRepair(BY_PEOPLE[Kind(difference.kind)])
    statement = current_statement(difference.channel, difference.day)
    entry = _find_entry(difference, statement) if statement else None
    if statement is None or entry is None:
        raise CannotRepair(_("No statement of that day shows it any more: compare again."))
    if statement.origin != Statement.Origin.FETCHED:
        raise CannotRepair(
            _("The statement was handed in by a person: two people settle by it, or the channel's own comes.")
        )
    return mend(difference, entry)


def _find_entry(difference: Difference, statement: Statement) -> Entry | None:
    """The first line about it. Where a channel has no number of its own for a refund, trade and number name it."""
    is_sale = difference.kind in SALES
    kind = LineKind.PAYMENT if is_sale else LineKind.REFUND
    entries = Entry.objects.filter(statement=statement, kind=kind).order_by("place")
    if found := entries.filter(channel_number=difference.subject).first():
        return found
    trade, _slash, number = difference.subject.partition("/")
    by_trade = entries.filter(channel_number="", trade_number=trade, number__startswith=number)
    return by_trade.first() or entries.filter(channel_number="", number=difference.subject).first()


# ---- what a machine may do ---------------------------------------------------------------------------------------


def _settle_sale(difference: Difference, entry: Entry) -> Words:
    """Ask first. In the end the statement decides; that the channel itself says otherwise is for a person to look at."""
    try:
        outcome, _settled = query_payment(entry.number, source=Source.STATEMENT)
    except PaymentNotFound as error:
        raise CannotRepair(_("The payment is not there any more.")) from error
    if _has_receipt(entry):
        return _("The channel was asked and confirmed it: settled by its answer.")
    is_denied = outcome in (Outcome.CLOSED, Outcome.REFUSED)
    report = replace(_report_of(entry), needs_person=is_denied)
    settle_payment(report, channel=difference.channel, source=Source.STATEMENT)
    return _("Settled by the channel's statement.")


def _keep_stranger(difference: Difference, entry: Entry) -> Words:
    settle_unmatched(_report_of(entry), channel=difference.channel, source=Source.STATEMENT)
    return _("Written down as money without a payment: its own case says what is to be done with it.")


def _end_refund(difference: Difference, entry: Entry) -> Words:
    """Ours, and on its way as far as we know. A line decides only where the channel, when asked, says nothing."""
    refund = _refund_of(difference)
    report = _ask_about(difference.channel, refund)
    if report.outcome is Outcome.OPEN:
        raise StillGoesOn(_("The channel says that it is still being processed."))
    if report.outcome in (Outcome.UNKNOWN, Outcome.NOT_FOUND):
        report = _refund_report_of(entry, number=refund.number)
    settle_refund(report, channel=difference.channel, source=Source.STATEMENT)
    refund.refresh_from_db(fields=["status"])
    if refund.status != RefundStatus.REFUNDED:
        shown = _("The channel's books show it as given back, and here it is %(status)s.")
        raise CannotRepair(say(shown, status=refund.status))
    return _("The refund has arrived: ended by the channel's word.")


def _take_foreign_refund(difference: Difference, entry: Entry) -> Words:
    report = _refund_report_of(entry, number=entry.number or entry.channel_number)
    try:
        settled = settle_foreign_refund(report, channel=difference.channel, source=Source.STATEMENT)
    except RefundNotFound as error:
        raise CannotRepair(_("It was given back of money that is not known here.")) from error
    if settled is Settled.STALE:
        raise CannotRepair(_("More went back than is left of the payment."))
    return _("Written down as made in the channel's console; a person is told.")


REPAIRS: dict[Difference.Kind, Repair] = {
    Kind.UNSETTLED: _settle_sale,
    Kind.STRANGER: _keep_stranger,
    Kind.REFUND_STATUS: _end_refund,
    Kind.REFUND_UNKNOWN: _take_foreign_refund,
}
BY_PEOPLE: dict[Difference.Kind, Words] = {
    Kind.MISSING: _("We have it as paid and the channel's books do not show it: ask the channel."),
    Kind.AMOUNT: _("The channel's books name another amount than the channel has told us: ask the channel."),
    Kind.CURRENCY: _(
        "The channel's books name another currency than the channel has told us: ask the channel."
    ),
    Kind.DOUBLED: _("The channel's books have it more than once: see that it is paid out once."),
    Kind.FEE: _("The channel has kept another fee than was agreed."),
    Kind.REFUND_MISSING: _(
        "We have it as given back and the channel's books do not show it: ask the channel."
    ),
    Kind.REFUND_AMOUNT: _("The channel has given back another amount than we asked for: ask the channel."),
}


def words_for(difference: Difference) -> str:
    """What is to be done about it, in a sentence."""
    return str(BY_PEOPLE.get(Kind(difference.kind)) or SAFE_WORDS[Kind(difference.kind)])


SAFE_WORDS: dict[Difference.Kind, Words] = {
    Kind.UNSETTLED: _("The channel is asked, and the payment is settled by its answer, or by its statement."),
    Kind.STRANGER: _("The money is written down as unmatched, and gets a case of its own."),
    Kind.REFUND_STATUS: _("The channel is asked, and the refund ends by its answer, or by its statement."),
    Kind.REFUND_UNKNOWN: _("It is written down as made in the channel's console, and a person is told."),
}


def _has_receipt(entry: Entry) -> bool:
    channel = entry.statement.channel
    return Receipt.objects.filter(channel=channel, channel_number=entry.channel_number).exists()


def _refund_of(difference: Difference) -> Refund:
    refunds = Refund.objects.select_related("receipt__order", "receipt__payment")
    refund = refunds.filter(channel=difference.channel, number=difference.number).first()
    if refund is None:
        raise CannotRepair(_("The refund is not there any more."))
    return refund


def _ask_about(channel: str, refund: Refund) -> RefundReport:
    try:
        return get_channel(channel).query_refund(refund_request_of(refund))
    except UnknownChannel:
        return RefundReport(outcome=Outcome.UNKNOWN, number=refund.number)


def _report_of(entry: Entry) -> PaymentReport:
    return PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number=entry.number,
        channel_number=entry.channel_number,
        amount_minor=entry.amount,
        currency=entry.currency,
        paid_at=entry.at,
        code=entry.code,
    )


def _refund_report_of(entry: Entry, *, number: str) -> RefundReport:
    return RefundReport(
        outcome=Outcome.SUCCEEDED,
        number=number,
        channel_number=entry.channel_number,
        payment_number=entry.payment_number,
        trade_number=entry.trade_number,
        amount_minor=entry.amount,
        code=entry.code,
    )


# ---- what is a person's ------------------------------------------------------------------------------------------


@transactional
def give_to_people(difference: Difference, why: Words) -> None:
    """One case for each trade; what is only to be noted has one for the whole statement. `why` is kept in English."""
    why = in_english(why)
    is_note = difference.severity == Difference.Severity.NOTE
    subject = difference.subject
    if is_note:
        subject = subject_of_day(difference.channel, difference.day, difference.kind)
    order = None if is_note else _lock_order_of(difference)
    evidence: dict[str, Any] = {
        "channel": difference.channel,
        "day": str(difference.day),
        "kind": difference.kind,
        "why": why,
    }
    if not is_note:
        evidence |= {"number": difference.number, "currency": difference.currency}
        evidence |= {"theirs": difference.theirs, "ours": difference.ours}
    open_case(Case.Kind.BOOKS, subject, order=order, evidence=evidence)
    still_open = Difference.objects.filter(pk=difference.pk, state=Difference.State.OPEN)
    still_open.update(state=Difference.State.CASE, note=why[:200])


def _lock_order_of(difference: Difference) -> LockedOrder | None:
    """Lock the order whose payment or refund it names."""
    number = difference.number
    about = Q(payments__number=number) | Q(receipts__number=number) | Q(receipts__refunds__number=number)
    found = Order.objects.filter(about).first() if number else None
    return lock_order(found.number) if found else None
