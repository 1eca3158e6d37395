"""Settling a payment by evidence: one person proposes, another agrees. Nobody agrees with themselves."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.functional import lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.channels.base import LineKind, Outcome, PaymentReport, report_from_json
from payments.deeds.base import AmountField, Deed, DeedRefused, Fields, channel
from payments.evidence import approve_proposal, propose_settlement, reject_proposal
from payments.models import Callback, Difference, Entry, Payment, Proposal, Statement
from payments.statuses import PaymentStatus
from shop.money import for_people
from shop.sentences import Words, lower, money, say

# What somebody's word has to name.
NEEDED: dict[str, Words] = {
    "said_by": _("who says it"),
    "channel_number": _("the channel's number"),
    "amount": _("the amount"),
    "paid_at": _("when it was paid"),
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
        return say(_("It is paid already."))
    # `all`: a page of many payments has them prefetched.
    waiting = next((each for each in payment.proposals.all() if each.status == Proposal.Status.WAITING), None)
    if waiting is not None:
        proposed = _("%(name)s has proposed it already: %(number)s waits for a second person.")
        return say(proposed, name=waiting.asked_by, number=waiting.number)
    return ""


def _foretell_proposal(payment: Payment) -> list[str]:
    return [
        gettext("Ask the channel first: what it says itself needs no second person."),
        gettext(
            "Nothing is settled yet: you propose that %(channel)s has taken %(amount)s for this"
            " payment, and by what that is known. A second person has to agree."
        )
        % {"channel": channel(payment.channel), "amount": payment.amount_text},
    ]


def _proposal_fields(payment: Payment) -> Fields:
    choices = [(f"entry:{entry.pk}", _say_entry(entry)) for entry in find_entries(payment)]
    choices += [(f"callback:{kept.pk}", _say_message(kept, said)) for kept, said in find_messages(payment)]
    choices.append((str(Proposal.Evidence.WORD), gettext("What somebody says: fill in what follows")))
    only = gettext("Only for somebody's word.")
    return {
        "evidence": forms.ChoiceField(choices=choices, widget=forms.RadioSelect, initial=choices[0][0]),
        "said_by": forms.CharField(
            required=False, max_length=100, label=gettext("Who says it"), help_text=only
        ),
        "channel_number": forms.CharField(
            required=False, max_length=64, label=gettext("The channel's number of the trade"), help_text=only
        ),
        "amount": AmountField(currency=payment.currency, required=False, help_text=only),
        "paid_at": forms.DateTimeField(
            required=False,
            label=gettext("Paid at"),
            help_text=gettext("Only for somebody's word. Like 2026-03-01 14:30, in the shop's time."),
        ),
    }


def _say_entry(entry: Entry) -> str:
    return gettext("Line %(place)d of the statement of %(day)s: %(number)s, %(amount)s") % {
        "place": entry.place,
        "day": entry.statement.day,
        "number": entry.channel_number,
        "amount": for_people(entry.amount, entry.currency),
    }


def _say_message(kept: Callback, said: PaymentReport) -> str:
    return gettext("Message %(kind)s of %(when)s: %(number)s, %(amount)s") % {
        "kind": kept.kind,
        "when": f"{kept.received_at:%Y-%m-%d %H:%M}",
        "number": said.channel_number,
        "amount": for_people(said.amount_minor or 0, said.currency or "CNY"),
    }


def _propose(payment: Payment, user: User, reason: str, data: Mapping[str, Any]) -> str:
    proposal = propose_settlement(
        payment.number, **_facts(payment, data), reason=reason, actor=user.get_username()
    )
    return say(_("%(number)s waits for a second person: %(amount)s for %(payment)s."), **_name(proposal))


def _name(proposal: Proposal) -> dict[str, str]:
    return {
        "number": proposal.number,
        "amount": money(proposal.amount, proposal.currency),
        "payment": proposal.payment.number,
    }


_list_lazily = lazy(lambda words: str(_(", ")).join(map(str, words)), str)


def _facts(payment: Payment, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a line or a message says, its flow reads from there; the word of a person has to name everything."""
    evidence, _colon, pk = data["evidence"].partition(":")
    facts = {"evidence": evidence, "source": pk, "channel_number": "", "amount": 0, "paid_at": None}
    if evidence == Proposal.Evidence.WORD:
        missing = [words for name, words in NEEDED.items() if not data[name]]
        if missing:
            incomplete = _("Somebody's word has to name everything; missing: %(what)s.")
            raise DeedRefused(say(incomplete, what=_list_lazily(missing)))
        facts |= {name: data[name] for name in NEEDED if name != "said_by"} | {"source": data["said_by"]}
    return facts | {"currency": payment.currency}


# ---- the second person -------------------------------------------------------------------------------------------


def _hinders_decision(proposal: Proposal) -> str:
    if proposal.status == Proposal.Status.WAITING:
        return ""
    status = lower(Proposal.Status(proposal.status).label)
    return say(_("%(name)s has decided already: %(status)s."), name=proposal.decided_by, status=status)


def _foretell_approval(proposal: Proposal) -> list[str]:
    return [
        gettext(
            "%(name)s holds that %(amount)s was paid for %(payment)s (%(trade)s), by %(evidence)s: %(reason)s"
        )
        % {
            **_name(proposal),
            "name": proposal.asked_by,
            "trade": proposal.channel_number,
            "evidence": proposal.get_evidence_display().lower(),
            "reason": proposal.reason,
        },
        gettext(
            "The channel is not asked again: the payment is settled as if it had said so. An open order becomes ready for"
            " shipment; money that the order does not wait for any more goes back to the shopper."
        ),
    ]


def _foretell_rejection(proposal: Proposal) -> list[str]:
    stays = gettext("No money moves: %(amount)s for %(payment)s is not settled by this proposal.")
    return [stays % _name(proposal)]


def _approve(proposal: Proposal, user: User, reason: str, data: Mapping[str, Any]) -> str:
    settled = approve_proposal(proposal.number, actor=user.get_username())
    approved = _("%(number)s is approved: %(amount)s for %(payment)s (%(settled)s).")
    return say(approved, settled=settled, **_name(proposal))


def _reject(proposal: Proposal, user: User, reason: str, data: Mapping[str, Any]) -> str:
    reject_proposal(proposal.number, actor=user.get_username(), reason=reason)
    return say(_("%(number)s is rejected: nothing was settled."), number=proposal.number)


DEEDS = (
    Deed(
        name="propose_settlement",
        title=_("Propose to settle by evidence"),
        permission="payments.propose_settlement",
        model=Payment,
        hinders=_hinders_proposal,
        foretells=_foretell_proposal,
        run=_propose,
        fields=_proposal_fields,
    ),
    Deed(
        name="approve_settlement",
        title=_("Approve: settle it"),
        permission="payments.approve_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_approval,
        run=_approve,
        own=False,
    ),
    Deed(
        name="reject_settlement",
        title=_("Reject"),
        permission="payments.approve_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_rejection,
        run=_reject,
        own=False,
    ),
    Deed(
        name="withdraw_settlement",
        title=_("Withdraw"),
        permission="payments.propose_settlement",
        model=Proposal,
        hinders=_hinders_decision,
        foretells=_foretell_rejection,
        run=_reject,
        own=True,
    ),
)
