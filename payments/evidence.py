"""Settling by evidence: one person shows that a payment was paid, another agrees, and it is settled as any other news is.

Two people always, whatever the amount. What a statement or a message of the channel says is taken from there, never from
who proposes. Nothing here calls a channel.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from django.utils.translation import gettext_lazy as _

from payments.cases import close_cases, open_case
from payments.channels.base import LineKind, Outcome, PaymentReport, report_from_json
from payments.errors import (
    BadEvidence,
    OwnApproval,
    PaymentIsDecided,
    PaymentNotFound,
    ProposalNotFound,
    ProposalWaits,
)
from payments.models import Callback, Case, Entry, Payment, Proposal, Statement
from payments.moves import end_proposal, lock_payment, lock_proposal
from payments.settling import settle_payment
from payments.statuses import PaymentStatus, Settled
from shop.clock import read_now
from shop.locks import stand_in_line
from shop.models import Source
from shop.money import CURRENCIES
from shop.numbers import new_proposal_number
from shop.sentences import Words, say
from shop.transactions import transactional

log = structlog.get_logger("nodrop.evidence")

MAX_REASON = 300
MAX_SOURCE = 100
MAX_CHANNEL_NUMBER = 64
MAX_DIGITS = 18
BIGGEST = 2**63 - 1
# A person may name the day only, and a clock may be wrong by minutes.
BEFORE, AHEAD = timedelta(days=1), timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The trade that is said to have paid, `amount` in minor units."""

    channel_number: str
    amount: int
    currency: str
    paid_at: datetime | None


def propose_settlement(
    number: str,
    *,
    evidence: str,
    source: str,
    channel_number: str,
    amount: int,
    currency: str,
    paid_at: datetime | None,
    reason: str,
    actor: str,
) -> Proposal:
    """Propose to settle payment `number`, open or ended, by some evidence, a value of `Proposal.Evidence`.

    ENTRY: `source` is the key of a line in a statement that we fetched; CALLBACK: that of a kept message. The trade is taken
    from there. WORD: `source` says whose word it is, and the other arguments tell of the trade, `amount` in minor units.
    Raises PaymentNotFound, PaymentIsDecided once it is PAID, ProposalWaits, BadEvidence. Never inside a transaction.
    """
    payment = Payment.objects.select_related("order").filter(number=number).first()
    if payment is None:
        raise PaymentNotFound(number)
    proposal = Proposal(
        number=new_proposal_number(),
        payment=payment,
        evidence=evidence,
        source=_checked(source, _("Say what shows it, in 1 to %(most)d characters."), most=MAX_SOURCE),
        channel_number=channel_number.strip(),
        amount=amount,
        currency=currency,
        paid_at=paid_at,
        reason=_checked(
            reason, _("Say why it should be settled, in 1 to %(most)d characters."), most=MAX_REASON
        ),
        asked_by=actor,
    )
    with stand_in_line(_line_of(proposal)):
        return _propose(proposal)


def approve_proposal(number: str, *, actor: str) -> Settled:
    """Settle by what another person proposed. Returns what came of it: a trade of another amount is a case, as always.

    Raises ProposalNotFound, ProposalIsDecided, OwnApproval; PaymentIsDecided when the payment was paid meanwhile, and
    BadEvidence when the line stands in the statement no longer: then only to reject is left. Never inside a transaction.
    """
    found = _find(number)
    with stand_in_line(_line_of(found)):
        return _approve(found, actor=actor)


def reject_proposal(number: str, *, actor: str, reason: str) -> Proposal:
    """Leave the payment as it is; who proposed may do so. Raises ProposalNotFound, ProposalIsDecided, BadEvidence.

    Never inside a transaction.
    """
    reason = _checked(reason, _("Say why it is rejected, in 1 to %(most)d characters."), most=MAX_REASON)
    found = _find(number)
    with stand_in_line(_line_of(found)):
        return _reject(found, actor=actor, reason=reason)


def _find(number: str) -> Proposal:
    found = Proposal.objects.select_related("payment__order").filter(number=number).first()
    if found is None:
        raise ProposalNotFound(number)
    return found


def _line_of(proposal: Proposal) -> str:
    return f"order:{proposal.payment.order.number}"


@transactional
def _propose(proposal: Proposal) -> Proposal:
    order, payment = lock_payment(proposal.payment.number, channel=proposal.payment.channel)
    if payment.status == PaymentStatus.PAID:
        raise PaymentIsDecided(payment.number, payment.status)
    waiting = Proposal.objects.filter(payment=payment, status=Proposal.Status.WAITING).first()
    if waiting is not None:
        raise ProposalWaits(waiting.number)
    facts = _read_facts(proposal)
    for name, value in asdict(facts).items():
        setattr(proposal, name, value)
    proposal.save(force_insert=True)
    proposal.refresh_from_db(fields=["asked_at"])
    evidence = {"payment": payment.number, "amount": facts.amount, "currency": facts.currency}
    open_case(Case.Kind.PROPOSAL, proposal.number, order=order, evidence=evidence | {"by": proposal.asked_by})
    log.info("settlement proposed", proposal=proposal.number, payment=payment.number, by=proposal.asked_by)
    return proposal


@transactional
def _approve(found: Proposal, *, actor: str) -> Settled:
    order, payment = lock_payment(found.payment.number, channel=found.payment.channel)
    proposal = lock_proposal(found.pk)
    if actor == proposal.asked_by:
        raise OwnApproval(
            proposal.number, _("A settlement is approved by somebody else than who asked for it.")
        )
    if payment.status == PaymentStatus.PAID:
        raise PaymentIsDecided(payment.number, payment.status)
    proposal.payment = payment
    if _read_facts(proposal) != _facts_of(proposal):
        raise BadEvidence(
            _("The statement says something else by now: reject this, and propose what it says.")
        )
    by_books = proposal.evidence == Proposal.Evidence.ENTRY
    settled = settle_payment(
        _report_of(proposal),
        channel=payment.channel,
        source=Source.STATEMENT if by_books else Source.STAFF,
        actor=actor,
    )
    end_proposal(proposal, Proposal.Status.APPROVED, now=order.now, actor=actor, result=str(settled))
    close_cases(Case.Kind.PROPOSAL, proposal.number, resolution=f"approved by {actor}")
    log.info("settlement approved", proposal=proposal.number, payment=payment.number, by=actor)
    return settled


@transactional
def _reject(found: Proposal, *, actor: str, reason: str) -> Proposal:
    order, _ = lock_payment(found.payment.number, channel=found.payment.channel)
    proposal = lock_proposal(found.pk)
    end_proposal(proposal, Proposal.Status.REJECTED, now=order.now, actor=actor)
    close_cases(Case.Kind.PROPOSAL, proposal.number, resolution=f"rejected by {actor}: {reason}")
    log.info("settlement rejected", proposal=proposal.number, by=actor)
    return proposal


def _report_of(proposal: Proposal) -> PaymentReport:
    return PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number=proposal.payment.number,
        channel_number=proposal.channel_number,
        amount_minor=proposal.amount,
        currency=proposal.currency,
        paid_at=proposal.paid_at,
        code=proposal.number,
    )


# ---- what shows it -----------------------------------------------------------------------------------------------


def _read_facts(proposal: Proposal) -> Facts:
    """The trade as the evidence of the proposal tells of it. Raises BadEvidence."""
    read = READERS.get(proposal.evidence)
    if read is None:
        raise BadEvidence(
            _("A payment is settled by a line of a statement, a message of its channel or somebody's word.")
        )
    facts = read(proposal)
    number = facts.channel_number
    if not 1 <= len(number) <= MAX_CHANNEL_NUMBER or not number.isprintable():
        words = _("The channel's number of the trade has 1 to %(most)d characters.")
        raise BadEvidence(say(words, most=MAX_CHANNEL_NUMBER))
    if not 1 <= facts.amount <= BIGGEST or facts.currency not in CURRENCIES:
        words = _("The amount is at least 1, in %(currencies)s.")
        raise BadEvidence(say(words, currencies=", ".join(CURRENCIES)))
    if facts.paid_at is not None and facts.paid_at.tzinfo is None:
        raise BadEvidence(_("The time of the payment needs its offset."))
    return facts


def _read_entry(proposal: Proposal) -> Facts:
    payment = proposal.payment
    entry = Entry.objects.select_related("statement").filter(pk=_key(proposal)).first()
    if entry is None or not entry.statement.is_current:
        raise BadEvidence(_("There is no such line in a statement that is valid now."))
    if entry.statement.origin != Statement.Origin.FETCHED:
        raise BadEvidence(_("This statement did not come from the channel itself."))
    shown = (entry.kind, entry.statement.channel, entry.number)
    if shown != (LineKind.PAYMENT, payment.channel, payment.number):
        raise BadEvidence(_("This line is not about this payment."))
    return Facts(
        channel_number=entry.channel_number, amount=entry.amount, currency=entry.currency, paid_at=entry.at
    )


def _read_callback(proposal: Proposal) -> Facts:
    payment = proposal.payment
    kept = Callback.objects.filter(pk=_key(proposal), channel=payment.channel, number=payment.number).first()
    report = report_from_json(kept.report) if kept else None
    if not isinstance(report, PaymentReport) or report.outcome is not Outcome.SUCCEEDED:
        raise BadEvidence(_("There is no such message of the channel that says that this payment was paid."))
    return Facts(
        channel_number=report.channel_number,
        amount=report.amount_minor or 0,
        currency=report.currency,
        paid_at=report.paid_at,
    )


def _read_word(proposal: Proposal) -> Facts:
    facts, begun_at = _facts_of(proposal), proposal.payment.created_at
    at = facts.paid_at
    if at is not None and at.tzinfo is not None and not begun_at - BEFORE <= at <= read_now() + AHEAD:
        words = _("It was paid after %(earliest)s UTC, and not in the future.")
        raise BadEvidence(say(words, earliest=f"{begun_at - BEFORE:%Y-%m-%d %H:%M}"))
    return facts


def _facts_of(proposal: Proposal) -> Facts:
    return Facts(
        channel_number=proposal.channel_number,
        amount=proposal.amount,
        currency=proposal.currency,
        paid_at=proposal.paid_at,
    )


READERS: dict[str, Callable[[Proposal], Facts]] = {
    Proposal.Evidence.ENTRY: _read_entry,
    Proposal.Evidence.CALLBACK: _read_callback,
    Proposal.Evidence.WORD: _read_word,  # there is nothing but what was told
}


def _key(proposal: Proposal) -> int:
    """The row that is named; 0, which no row has, for what names none."""
    text = proposal.source
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def _checked(text: str, refusal: Words, *, most: int) -> str:
    text = text.strip()
    if not 1 <= len(text) <= most or not text.isprintable():
        raise BadEvidence(say(refusal, most=most))
    return text
