"""The lines of an order's story: every kind of row in the same few words, in the order in which things happened."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.statuses import CloseReason, OrderStatus
from payments.channels.base import report_from_json
from payments.models import Call, Callback, Case, Difference, Payment, Proposal, Receipt, RefusedCallback
from payments.showing import Mood
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from payments.story.rows import Rows
from payments.story.words import SILENT, tell_answer, tell_channel, tell_money, tell_reason
from shop.models import Event, Source

# Of what happened in one moment the cause is told before its effects.
RANKS = (
    "callback",
    "refused",
    "call",
    "receipt",
    "event",
    "taken",
    "case",
    "mail",
    "books",
    "proposal",
    "staff",
)
# A message that waited less was taken when it came.
AT_ONCE = timedelta(seconds=1)

# What an event says and how it looks, by the kind of its subject and the status that it ends in.
EVENTS: dict[tuple[str, str], tuple[Any, Mood]] = {
    ("order", OrderStatus.UNPAID): (gettext_lazy("Order placed"), Mood.QUIET),
    ("order", OrderStatus.READY_FOR_SHIPMENT): (gettext_lazy("Order paid"), Mood.DONE),
    ("order", OrderStatus.SHIPPED): (gettext_lazy("Order shipped"), Mood.DONE),
    ("order", OrderStatus.COMPLETED): (gettext_lazy("Order completed"), Mood.DONE),
    ("order", OrderStatus.CLOSED): (gettext_lazy("Order closed"), Mood.QUIET),
    ("order", OrderStatus.REFUNDED): (gettext_lazy("Order refunded"), Mood.BACK),
    ("link", "RENEWED"): (gettext_lazy("New link to the order; the old ones stopped working"), Mood.QUIET),
    ("mail", "LINK"): (gettext_lazy("Link mailed"), Mood.QUIET),
    ("mail", "RETURNED"): (gettext_lazy("Mailed that the money is back"), Mood.BACK),
    ("payment", PaymentStatus.UNPAID): (gettext_lazy("Attempt begun"), Mood.QUIET),
    ("payment", PaymentStatus.PAYING): (gettext_lazy("Attempt begun"), Mood.WAITING),
    ("payment", PaymentStatus.PAID): (gettext_lazy("Attempt paid"), Mood.DONE),
    ("payment", PaymentStatus.CLOSED): (gettext_lazy("Attempt closed"), Mood.QUIET),
    ("payment", PaymentStatus.FAILED): (gettext_lazy("Attempt refused"), Mood.WRONG),
    ("refund", RefundStatus.PENDING_APPROVAL): (gettext_lazy("Refund waits for approval"), Mood.WAITING),
    ("refund", RefundStatus.REFUNDING): (gettext_lazy("Refund on its way"), Mood.BACK),
    ("refund", RefundStatus.REFUNDED): (gettext_lazy("Refund arrived"), Mood.BACK),
    ("refund", RefundStatus.FAILED): (gettext_lazy("Refund failed"), Mood.WRONG),
    ("refund", RefundStatus.REJECTED): (gettext_lazy("Refund rejected"), Mood.WRONG),
}
CALLS = {
    "create": gettext_lazy("Attempt asked for"),
    "query": gettext_lazy("Asked whether it is paid"),
    "close": gettext_lazy("Asked to close the attempt"),
    "capture": gettext_lazy("Asked for the agreed money"),
    "refund": gettext_lazy("Refund sent"),
    "query_refund": gettext_lazy("Asked about the refund"),
}
RECEIPT_MOODS = {
    ReceiptClass.SETTLED: Mood.DONE,
    ReceiptClass.SURPLUS: Mood.BACK,
    ReceiptClass.LATE: Mood.BACK,
    ReceiptClass.MISMATCH: Mood.WRONG,
    ReceiptClass.UNMATCHED: Mood.WRONG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEntry:
    """One line: when, what in a few words, who did or said it, what it is about (a public number), and the facts.

    `took_ms` is how long a channel took to answer. `callback` is the key of a kept message whose body may be looked at.
    """

    at: datetime
    kind: str
    what: str
    who: str
    about: str = ""
    mood: Mood = Mood.QUIET
    detail: str = ""
    took_ms: int | None = None
    callback: int | None = None


def tell_entries(rows: Rows) -> list[StoryEntry]:
    """All lines of an order, in the order in which they happened: by time, then cause before effect, then as written."""
    told = (
        *_tell_callbacks(rows.callbacks),
        *map(_tell_refused, rows.refused),
        *map(_tell_call, rows.calls),
        *map(_tell_receipt, rows.receipts),
        *_tell_events(rows),
        *_tell_superseded(rows.payments),
        *_tell_cases(rows.cases),
        *_tell_mails(rows),
        *_tell_differences(rows.differences),
        *_tell_proposals(rows.proposals),
        *_tell_actions(rows),
    )
    return sorted(told, key=lambda entry: (entry.at, RANKS.index(entry.kind)))


def _facts(*facts: object) -> str:
    return " · ".join(str(fact) for fact in facts if fact)


# ---- events ------------------------------------------------------------------------------------------------------


def _tell_events(rows: Rows) -> Iterator[StoryEntry]:
    """What took several steps in one moment is one line."""
    for _moment, steps in groupby(rows.events, key=lambda event: (event.subject, event.at)):
        yield _tell_event(rows, list(steps))


def _tell_event(rows: Rows, steps: list[Event]) -> StoryEntry:
    event = steps[-1]
    what, mood = EVENTS.get((event.subject_kind, event.to_status), (event.to_status, Mood.QUIET))
    note: dict[str, Any] = {}
    for step in steps:
        note |= step.note
    path = [steps[0].from_status, *(step.to_status for step in steps)]
    return StoryEntry(
        at=event.at,
        kind="event",
        what=_close_word(note) or _reopened_word(note) or str(what),
        who=_who(event, rows),
        about=event.subject,
        mood=mood,
        detail=_facts(" → ".join(map(_, filter(None, path))), *_note_facts(event, note, rows)),
    )


def _close_word(note: Mapping[str, Any]) -> str:
    if note.get("reason") == CloseReason.EXPIRED:
        return _("Order expired")
    return _("Order cancelled") if note.get("reason") == CloseReason.CANCELLED else ""


def _reopened_word(note: Mapping[str, Any]) -> str:
    return _("Order reopened and paid") if note.get("reopened") else ""


def _note_facts(event: Event, note: Mapping[str, Any], rows: Rows) -> Iterator[str]:
    """What the notes of our own rooms say; what else one may hold is not for this page."""
    if event.subject_kind == "payment" and "channel" in note:
        yield tell_channel(str(note["channel"]))
    if event.subject_kind == "refund":
        currencies = {refund.number: refund.receipt.currency for refund in rows.refunds}
        yield tell_money(note.get("amount"), currencies.get(event.subject, rows.order.currency))
        yield tell_reason(str(note.get("reason", "")))
    if event.subject_kind == "order" and not event.from_status:
        yield rows.order.amount_text
    if note.get("expired"):
        yield _("its channel took no money until its end")
    if note.get("mismatch"):
        yield _("its money of another amount went back")
    yield str(note.get("rejected", ""))
    yield str(note.get("code", ""))


def _who(event: Event, rows: Rows) -> str:
    if event.source == Source.SHOPPER:
        return _("shopper")
    if event.source == Source.STAFF:
        return event.actor or _("staff")
    if event.source == Source.SYSTEM:
        return event.actor or _("system")
    if event.source == Source.API:
        return event.actor or _("another system")
    ways = {
        Source.RESPONSE: _("%(channel)s, answering us"),
        Source.CALLBACK: _("%(channel)s, by its message"),
        Source.QUERY: _("%(channel)s, being asked"),
        Source.STATEMENT: _("%(channel)s, by its statement"),
    }
    return capfirst(ways[Source(event.source)] % {"channel": _channel_of(event, rows)})


def _channel_of(event: Event, rows: Rows) -> str:
    """Whose word moved it; of an order, the channel of the money that pays it."""
    settled = (receipt for receipt in rows.receipts if receipt.receipt_class == ReceiptClass.SETTLED)
    named = {payment.number: payment.channel for payment in rows.payments}
    named |= {refund.number: refund.channel for refund in rows.refunds}
    named[rows.order.number] = next((receipt.channel for receipt in settled), "")
    return tell_channel(named[event.subject]) if named.get(event.subject) else _("the channel")


def _tell_superseded(payments: Iterable[Payment]) -> Iterator[StoryEntry]:
    for payment in payments:
        if payment.superseded_at is not None:
            yield StoryEntry(
                at=payment.superseded_at,
                kind="event",
                what=_("Attempt replaced"),
                who=_("system"),
                about=payment.number,
                detail=_facts(tell_channel(payment.channel), _("it is watched as long as it can take money")),
            )


# ---- what channels said ------------------------------------------------------------------------------------------


def _tell_call(call: Call) -> StoryEntry:
    is_silent = call.outcome in SILENT
    wrong = Mood.WRONG if call.outcome in ("refused", "error") else Mood.QUIET
    return StoryEntry(
        at=call.at,
        kind="call",
        what=str(CALLS.get(call.operation, call.operation)),
        who=tell_channel(call.channel),
        about=call.subject,
        mood=Mood.WAITING if is_silent and wrong is Mood.QUIET else wrong,
        detail=capfirst(tell_answer(call.outcome, call.code)),
        took_ms=call.took_ms,
    )


def _tell_callbacks(callbacks: Iterable[Callback]) -> Iterator[StoryEntry]:
    for kept in callbacks:
        taken_at = kept.taken_at
        waited = taken_at is not None and taken_at - kept.received_at > AT_ONCE
        yield StoryEntry(
            at=kept.received_at,
            kind="callback",
            what=_("Message received"),
            who=tell_channel(kept.channel),
            about=kept.number,
            mood=Mood.QUIET if taken_at else Mood.WAITING,
            detail=_facts(kept.kind, *_report_facts(kept), "" if taken_at else _("not taken yet")),
            callback=kept.pk,
        )
        if taken_at is not None and waited:
            yield StoryEntry(
                at=taken_at,
                kind="taken",
                what=_("Message taken"),
                who=_("system"),
                about=kept.number,
                detail=kept.kind,
                callback=kept.pk,
            )


def _report_facts(kept: Callback) -> Iterator[str]:
    try:
        report = report_from_json(kept.report)
    except (KeyError, TypeError, ValueError):  # an older release wrote it
        return
    yield tell_answer(str(report.outcome), report.code)
    yield tell_money(report.amount_minor, getattr(report, "currency", ""))
    yield report.channel_number


def _tell_refused(refused: RefusedCallback) -> StoryEntry:
    return StoryEntry(
        at=refused.at,
        kind="refused",
        what=_("Message refused"),
        who=_("somebody, as %(channel)s") % {"channel": tell_channel(refused.channel)},
        about=refused.number,
        mood=Mood.WRONG,
        detail=_("It is not genuine (%(check)s): nothing of it was believed.") % {"check": refused.reason},
    )


def _tell_receipt(receipt: Receipt) -> StoryEntry:
    money = tell_money(receipt.amount, receipt.currency)
    return StoryEntry(
        at=receipt.created_at,
        kind="receipt",
        what=_("%(money)s came") % {"money": money},
        who=tell_channel(receipt.channel),
        about=receipt.number,
        mood=RECEIPT_MOODS[ReceiptClass(receipt.receipt_class)],
        detail=_facts(receipt.get_receipt_class_display(), receipt.channel_number),
    )


def _tell_differences(differences: Iterable[Difference]) -> Iterator[StoryEntry]:
    for difference in differences:
        money = [
            (_("theirs %(money)s"), difference.theirs),
            (_("ours %(money)s"), difference.ours),
        ]
        facts = [
            words % {"money": tell_money(amount, difference.currency)}
            for words, amount in money
            if amount is not None
        ]
        common: dict[str, Any] = {
            "kind": "books",
            "who": _("%(channel)s's statement of %(day)s")
            % {"channel": tell_channel(difference.channel), "day": difference.day},
            "about": difference.number or difference.subject,
        }
        yield StoryEntry(
            at=difference.found_at,
            what=_("Books differ: %(kind)s") % {"kind": difference.get_kind_display()},
            mood=Mood.WRONG if difference.severity == Difference.Severity.MONEY else Mood.WAITING,
            detail=_facts(*facts, _(difference.note)),
            **common,
        )
        if difference.ended_at is not None:
            what = _("Difference ended: %(state)s") % {"state": difference.get_state_display()}
            yield StoryEntry(at=difference.ended_at, what=what, **common)


# ---- people ------------------------------------------------------------------------------------------------------


def _tell_cases(cases: Iterable[Case]) -> Iterator[StoryEntry]:
    for case in cases:
        yield StoryEntry(
            at=case.opened_at,
            kind="case",
            what=_("Case opened"),
            who=_("system"),
            about=case.subject,
            mood=Mood.WAITING if case.resolved_at is None else Mood.QUIET,
            detail=_facts(case.get_kind_display()),
        )
        if case.resolved_at is not None:
            yield StoryEntry(
                at=case.resolved_at,
                kind="case",
                what=_("Case resolved"),
                who=case.owner.get_username() if case.owner else _("system"),
                about=case.subject,
                mood=Mood.DONE,
                detail=_facts(case.get_kind_display(), case.resolution),
            )


def _tell_mails(rows: Rows) -> Iterator[StoryEntry]:
    for receipt in rows.receipts:
        if receipt.mailed_at is not None:
            yield StoryEntry(
                at=receipt.mailed_at,
                kind="mail",
                what=_("Receipt not mailed") if _was_undeliverable(rows, receipt) else _("Receipt mailed"),
                who=_("system"),
                about=rows.order.number,
                detail=rows.order.email,
            )


def _was_undeliverable(rows: Rows, receipt: Receipt) -> bool:
    """The address was refused in that moment, or the money had gone back before."""
    mailed_at = receipt.mailed_at or rows.now
    refused = any(
        case.kind == Case.Kind.MAIL and abs(mailed_at - case.opened_at) < AT_ONCE for case in rows.cases
    )
    returned = any(
        event.to_status == OrderStatus.REFUNDED and event.subject_kind == "order" and event.at <= mailed_at
        for event in rows.events
    )
    return refused or returned


def _tell_proposals(proposals: Iterable[Proposal]) -> Iterator[StoryEntry]:
    for proposal in proposals:
        facts = (tell_money(proposal.amount, proposal.currency), proposal.channel_number)
        yield StoryEntry(
            at=proposal.asked_at,
            kind="proposal",
            what=_("Settlement proposed"),
            who=proposal.asked_by,
            about=proposal.payment.number,
            mood=Mood.WAITING if proposal.status == Proposal.Status.WAITING else Mood.QUIET,
            detail=_facts(proposal.get_evidence_display(), proposal.source, *facts, proposal.reason),
        )
        if proposal.decided_at is not None:
            is_agreed = proposal.status == Proposal.Status.APPROVED
            yield StoryEntry(
                at=proposal.decided_at,
                kind="proposal",
                what=_("Settlement approved") if is_agreed else _("Settlement rejected"),
                who=proposal.decided_by,
                about=proposal.payment.number,
                mood=Mood.DONE if is_agreed else Mood.QUIET,
                detail=_facts(*facts, proposal.result),
            )


def _tell_actions(rows: Rows) -> Iterator[StoryEntry]:
    for action in rows.actions:
        name = capfirst(_(action.action.replace("_", " ")))
        yield StoryEntry(
            at=action.at,
            kind="staff",
            what=name if action.is_done else _("%(action)s: refused") % {"action": name},
            who=action.actor,
            about=action.subject,
            mood=Mood.QUIET if action.is_done else Mood.WRONG,
            detail=_facts(action.reason and f"“{action.reason}”", action.result),
        )
