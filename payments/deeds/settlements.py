"""Settling a payment by evidence: one person proposes, another agrees. Nobody agrees with themselves."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User

from payments.channels.base import LineKind, Outcome, PaymentReport, report_from_json
from payments.channels.registry import title_of
from payments.deeds.base import AmountField, Deed, DeedRefused, Fields
from payments.evidence import approve_proposal, propose_settlement, reject_proposal
from payments.models import Callback, Difference, Entry, Payment, Proposal, Statement
from payments.statuses import PaymentStatus
from shop.money import for_people

# What somebody's word has to name.
NEEDED = {
    "said_by": "who says it",
    "channel_number": "the channel's number",
    "amount": "the amount",
    "paid_at": "when it was paid",
}
# Books and messages may name what was paid on the last day some days later.
BOOKS_WITHIN = timedelta(days=3)
SHOWN = 20


def find_entries(payment: Payment) -> list[Entry]:
    """Lines of statements from the channel itself that name the payment: found by comparing, or by the channel's number that we know."""
    days = (payment.created_at - BOOKS_WITHIN).date(), (payment.dead_at + BOOKS_WITHIN).date()
    differences = Difference.objects.filter(
        channel=payment.channel, day__range=days, number=payment.number
    ).values_list("subject", flat=True)
    trades = [*differences[:SHOWN], *filter(None, [payment.channel_number])]
    lines = Entry.objects.filter(
        channel_number__in=trades,
        number=payment.number,
        kind=LineKind.PAYMENT,
        statement__channel=payment.channel,
        statement__is_current=True,
        statement__origin=Statement.Origin.FETCHED,
    )
    return list(lines.select_related("statement").order_by("pk")[:SHOWN])


def find_messages(payment: Payment) -> list[tuple[Callback, PaymentReport]]:
    """Kept messages of the channel which say that the payment was paid."""
    kept = Callback.objects.filter(number=payment.number, channel=payment.channel).order_by("pk")
    said = [(message, report_from_json(message.report)) for message in kept[:SHOWN]]
    return [
        (message, report)
        for message, report in said
        if isinstance(report, PaymentReport) and report.outcome is Outcome.SUCCEEDED
    ]


def _hinders_proposal(payment: Payment) -> str:
    if payment.status == PaymentStatus.PAID:
        return "It is paid already."
    # `all`: a page of many payments has them prefetched.
    waiting = next((each for each in payment.proposals.all() if each.status == Proposal.Status.WAITING), None)
    if waiting is not None:
        return f"{waiting.asked_by} has proposed it already: {waiting.number} waits for a second person."
    return ""


def _foretell_proposal(payment: Payment) -> list[str]:
    return [
        "Ask the channel first: what it says itself needs no second person.",
        (
            f"Nothing is settled yet: you propose that {title_of(payment.channel)} has taken {payment.amount_text} for this"
            " payment, and by what that is known. A second person has to agree."
        ),
    ]


def _proposal_fields(payment: Payment) -> Fields:
    choices = [(f"entry:{entry.pk}", _say_entry(entry)) for entry in find_entries(payment)]
    choices += [(f"callback:{kept.pk}", _say_message(kept, said)) for kept, said in find_messages(payment)]
    choices.append((str(Proposal.Evidence.WORD), f"{Proposal.Evidence.WORD.label}: fill in what follows"))
    only = "Only for somebody's word."
    return {
        "evidence": forms.ChoiceField(choices=choices, widget=forms.RadioSelect, initial=choices[0][0]),
        "said_by": forms.CharField(required=False, max_length=100, label="Who says it", help_text=only),
        "channel_number": forms.CharField(
            required=False, max_length=64, label="The channel's number of the trade", help_text=only
        ),
        "amount": AmountField(currency=payment.currency, required=False, help_text=only),
        "paid_at": forms.DateTimeField(
            required=False,
            label="Paid at",
            help_text=f"{only} Like 2026-03-01 14:30, in the shop's time.",
        ),
    }


def _say_entry(entry: Entry) -> str:
    amount = for_people(entry.amount, entry.currency)
    return f"Line {entry.place} of the statement of {entry.statement.day}: {entry.channel_number}, {amount}"


def _say_message(kept: Callback, said: PaymentReport) -> str:
    amount = for_people(said.amount_minor or 0, said.currency or "CNY")
    return f"Message {kept.kind} of {kept.received_at:%Y-%m-%d %H:%M}: {said.channel_number}, {amount}"


def _propose(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    proposal = propose_settlement(
        payment.number, **_facts(payment, data), reason=reason, actor=user.get_username()
    )
    return f"{proposal.number} waits for a second person: {proposal.amount_text} for {payment.number}."


def _facts(payment: Payment, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a line or a message says, its flow reads from there; the word of a person has to name everything."""
    evidence, _, pk = data["evidence"].partition(":")
    facts = {"evidence": evidence, "source": pk, "channel_number": "", "amount": 0, "paid_at": None}
    if evidence == Proposal.Evidence.WORD:
        missing = [words for name, words in NEEDED.items() if not data[name]]
        if missing:
            raise DeedRefused(f"Somebody's word has to name everything; missing: {', '.join(missing)}.")
        facts |= {name: data[name] for name in NEEDED if name != "said_by"} | {"source": data["said_by"]}
    return facts | {"currency": payment.currency}


# ---- the second person -------------------------------------------------------------------------------------------


def _hinders_decision(proposal: Proposal) -> str:
    if proposal.status == Proposal.Status.WAITING:
        return ""
    return f"{proposal.decided_by} has decided already: {proposal.get_status_display().lower()}."


def _foretell_approval(proposal: Proposal) -> list[str]:
    return [
        (
            f"{proposal.asked_by} holds that {proposal.amount_text} was paid for {proposal.payment.number}"
            f" ({proposal.channel_number}), by {proposal.get_evidence_display().lower()}: {proposal.reason}"
        ),
        (
            "The channel is not asked again: the payment is settled as if it had said so. An open order becomes ready for"
            " shipment; money that the order does not wait for any more goes back to the shopper."
        ),
    ]


def _foretell_rejection(proposal: Proposal) -> list[str]:
    return [
        f"No money moves: {proposal.amount_text} for {proposal.payment.number} is not settled by this proposal."
    ]


def _approve(proposal: Proposal, user: User, reason: str, data: Mapping[str, Any]) -> str:
    settled = approve_proposal(proposal.number, actor=user.get_username())
    return f"{proposal.number} is approved: {proposal.amount_text} for {proposal.payment.number} ({settled})."


def _reject(proposal: Proposal, user: User, reason: str, data: Mapping[str, Any]) -> str:
    reject_proposal(proposal.number, actor=user.get_username(), reason=reason)
    return f"{proposal.number} is rejected: nothing was settled."


DEEDS = (
    Deed(
        name="propose_settlement",
        title="Propose to settle by evidence",
        permission="payments.propose_settlement",
        model=Payment,
        hinders=_hinders_proposal,
        foretells=_foretell_proposal,
        run=_propose,
        fields=_proposal_fields,
    ),
    Deed(
        name="approve_settlement",
        title="Approve: settle it",
        permission="payments.approve_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_approval,
        run=_approve,
        own=False,
    ),
    Deed(
        name="reject_settlement",
        title="Reject",
        permission="payments.approve_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_rejection,
        run=_reject,
        own=False,
    ),
    Deed(
        name="withdraw_settlement",
        title="Withdraw",
        permission="payments.propose_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_rejection,
        run=_reject,
        own=True,
    ),
)
