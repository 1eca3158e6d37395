"""Settling by evidence: one person shows what was paid, another agrees, and the money goes the way that all money goes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from orders.models import Order
from payments.audit import audit
from payments.channels.base import LineKind, Outcome, report_to_json
from payments.errors import (
    BadEvidence,
    OwnApproval,
    PaymentIsDecided,
    PaymentNotFound,
    ProposalIsDecided,
    ProposalNotFound,
    ProposalWaits,
)
from payments.evidence import approve_proposal, propose_settlement, reject_proposal
from payments.models import Callback, Case, Entry, Payment, Proposal, Receipt, Statement
from payments.settling import settle_payment
from payments.statuses import ReceiptClass, Settled
from shop.models import Alarm, BusinessEvent, Event, Source
from tests.factories import make_order, make_payment, report
from tests.payments.audit_world import PRICE, pay
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db
# A moment ago: payments of these tests are as young as that.
JUST_NOW = datetime.now(UTC).replace(microsecond=0)
TRADE = "4200000000PROVEN"
LIES: dict[str, Any] = {"channel_number": "4200LIE", "amount": 1, "currency": "USD", "paid_at": None}
# What is taken from the evidence, and what a person may tell instead.
FACTS: dict[str, Any] = {"channel_number": TRADE, "amount": PRICE, "currency": "CNY", "paid_at": JUST_NOW}


@pytest.fixture
def payment() -> Payment:
    return make_payment(make_order())


def keep_entry(payment: Payment, *, statement: dict[str, Any] | None = None, **changed: Any) -> Entry:
    """A line about the payment in a statement that is valid and came from the channel, but for what is `changed`."""
    of: dict[str, Any] = {"channel": "wechat", "origin": Statement.Origin.FETCHED, "is_current": True}
    kept = Statement.objects.create(day=date(2026, 11, 21), digest="d", entries=1, **(of | (statement or {})))
    line: dict[str, Any] = {
        "kind": LineKind.PAYMENT,
        "number": payment.number,
        "channel_number": TRADE,
        "amount": PRICE,
        "currency": "CNY",
        "at": JUST_NOW,
    }
    return Entry.objects.create(statement=kept, place=1, fee=77, **(line | changed))


def keep_callback(payment: Payment, **changed: Any) -> Callback:
    said: dict[str, Any] = {"channel_number": TRADE, "paid_at": JUST_NOW}
    told = report(payment, **(said | changed))
    return Callback.objects.create(
        channel="wechat",
        message_id="m",
        kind="TRANSACTION.SUCCESS",
        number=told.number,
        body=b"",
        report=report_to_json(told),
        taken_at=JUST_NOW,
    )


def propose(payment: Payment, evidence: str = "word", source: Any = "the bank", **told: Any) -> Proposal:
    facts = (FACTS if evidence == "word" else LIES) | {"reason": "no answer for a day", "actor": "sue"} | told
    return propose_settlement(payment.number, evidence=evidence, source=str(source), **facts)


def propose_by_entry(payment: Payment, **changed: Any) -> Proposal:
    return propose(payment, "entry", keep_entry(payment, **changed).pk)


def propose_by_callback(payment: Payment, **changed: Any) -> Proposal:
    return propose(payment, "callback", keep_callback(payment, **changed).pk)


BY: dict[str, Callable[..., Proposal]] = {
    "entry": propose_by_entry,
    "callback": propose_by_callback,
    "word": propose,
}
by_each_evidence = pytest.mark.parametrize("propose_it", BY.values(), ids=BY)


def status_of(payment: Payment) -> tuple[str, str]:
    payment.refresh_from_db()
    return payment.status, Order.objects.get(pk=payment.order_id).status


def open_cases() -> list[str]:
    return list(Case.objects.filter(resolved_at__isnull=True).values_list("kind", flat=True))


# ---- proposing ---------------------------------------------------------------------------------------------------


@by_each_evidence
def test_proposal_waits_for_a_second_person_and_settles_nothing(payment, propose_it):
    proposal = propose_it(payment)
    assert (proposal.status, proposal.asked_by, len(proposal.number)) == ("WAITING", "sue", 24)
    assert status_of(payment) == ("PAYING", "UNPAID")
    assert Case.objects.get().subject == proposal.number
    assert open_cases() == ["proposal"]
    assert audit() == []


@by_each_evidence
def test_trade_is_what_the_evidence_says_and_not_who_proposes(payment, propose_it):
    proposal = propose_it(payment)
    assert {name: getattr(proposal, name) for name in FACTS} == FACTS


WRONG_ENTRIES: dict[str, dict[str, Any]] = {
    "a file that somebody brought": {"statement": {"origin": Statement.Origin.FILE, "given_by": "sue"}},
    "a statement that was restated": {"statement": {"is_current": False}},
    "another channel": {"statement": {"channel": "alipay"}},
    "another payment": {"number": "P00000000000000000000000"},
    "a refund": {"kind": LineKind.REFUND},
    "a currency that nobody pays in here": {"currency": "XAU"},
    "nothing": {"amount": 0},
}


@pytest.mark.parametrize("changed", WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
def test_line_that_does_not_show_this_payment_proves_nothing(payment, changed):
    with pytest.raises(BadEvidence):
        propose_by_entry(payment, **changed)
    assert not Proposal.objects.exists()


WRONG_MESSAGES: dict[str, dict[str, Any]] = {
    "another payment": {"number": "P00000000000000000000000"},
    "not paid": {"outcome": Outcome.CLOSED},
    "nothing known": {"outcome": Outcome.UNKNOWN},
}


@pytest.mark.parametrize("changed", WRONG_MESSAGES.values(), ids=WRONG_MESSAGES)
def test_message_that_does_not_say_that_this_payment_was_paid_proves_nothing(payment, changed):
    with pytest.raises(BadEvidence, match="no such message"):
        propose_by_callback(payment, **changed)
    assert not Proposal.objects.exists()


def test_message_of_another_channel_proves_nothing(payment):
    kept = keep_callback(payment)
    Callback.objects.update(channel="alipay")
    with pytest.raises(BadEvidence, match="no such message"):
        propose(payment, "callback", kept.pk)


@pytest.mark.parametrize("source", ["0", "-1", "x", "1.5", "٣", "9" * 30, "1 or 1=1"])
@pytest.mark.parametrize("evidence", ["entry", "callback"])
def test_row_that_is_not_there_proves_nothing(payment, evidence, source):
    with pytest.raises(BadEvidence, match="no such"):
        propose(payment, evidence, source)


BAD: dict[str, dict[str, Any]] = {
    "no such evidence": {"evidence": "rumour"},
    "nobody's word": {"source": " "},
    "a long word": {"source": "x" * 101},
    "no reason": {"reason": ""},
    "a long reason": {"reason": "x" * 301},
    "a reason of two lines": {"reason": "a\nb"},
    "no trade": {"channel_number": " "},
    "a long number": {"channel_number": "4" * 65},
    "no money": {"amount": 0},
    "less than no money": {"amount": -1},
    "more than there is": {"amount": 2**63},
    "an unknown currency": {"currency": "XAU"},
    "a time without an offset": {"paid_at": datetime(2026, 11, 21, 12)},  # noqa: DTZ001 - that is what is wrong
    "a time before all times": {"paid_at": datetime(1, 1, 1, tzinfo=UTC)},
    "a time before the payment": {"paid_at": JUST_NOW - timedelta(days=3)},
    "a time to come": {"paid_at": JUST_NOW + timedelta(days=3)},
}


@pytest.mark.parametrize("told", BAD.values(), ids=BAD)
def test_word_that_makes_no_sense_is_refused_and_changes_nothing(payment, told):
    with pytest.raises(BadEvidence):
        propose(payment, **told)
    assert not Proposal.objects.exists()
    assert not Case.objects.exists()


def test_unknown_payment_is_not_found():
    with pytest.raises(PaymentNotFound):
        propose_settlement("P0", evidence="word", source="x", **FACTS, reason="x", actor="sue")


def test_payment_that_is_paid_needs_no_proposal(payment):
    pay(payment)
    with pytest.raises(PaymentIsDecided, match="it is PAID"):
        propose(payment)


def test_one_proposal_about_a_payment_waits_at_a_time(payment):
    first = propose(payment)
    with pytest.raises(ProposalWaits, match=first.number):
        propose(payment)
    reject_proposal(first.number, actor="sue", reason="the wrong trade")
    assert propose(payment).status == "WAITING"


# ---- deciding ----------------------------------------------------------------------------------------------------


@by_each_evidence
def test_what_two_people_hold_is_settled_as_any_other_news_is(payment, propose_it):
    proposal = propose_it(payment)
    assert approve_proposal(proposal.number, actor="tom") is Settled.MOVED
    assert status_of(payment) == ("PAID", "READY_FOR_SHIPMENT")
    receipt = Receipt.objects.get()
    assert (receipt.channel_number, receipt.amount, receipt.paid_at) == (TRADE, PRICE, JUST_NOW)
    assert receipt.source == (Source.STATEMENT if propose_it is propose_by_entry else Source.STAFF)
    moves = Event.objects.filter(to_status__in=["PAID", "READY_FOR_SHIPMENT"])
    assert [(event.actor, event.source) for event in moves] == [("tom", receipt.source)] * 2
    assert Alarm.objects.filter(kind="follow_up").exists()
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_by, proposal.result) == ("APPROVED", "tom", "moved")
    assert proposal.decided_at is not None
    assert open_cases() == []
    assert audit() == []


@by_each_evidence
def test_nobody_approves_their_own_proposal(payment, propose_it):
    proposal = propose_it(payment)
    with pytest.raises(OwnApproval, match="somebody else"):
        approve_proposal(proposal.number, actor="sue")
    assert status_of(payment) == ("PAYING", "UNPAID")
    with pytest.raises(IntegrityError), transaction.atomic():
        Proposal.objects.update(status="APPROVED", decided_by="sue")


@pytest.mark.parametrize("actor", ["sue", "tom"])
def test_rejected_proposal_settles_nothing_also_when_its_own_author_rejects_it(payment, actor):
    proposal = propose(payment)
    assert reject_proposal(proposal.number, actor=actor, reason="mistaken").status == "REJECTED"
    assert status_of(payment) == ("PAYING", "UNPAID")
    assert Case.objects.get().resolution == f"rejected by {actor}: mistaken"
    assert (open_cases(), audit()) == ([], [])


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("then", ["approve", "reject"])
def test_proposal_is_decided_once(payment, first, then):
    proposal = propose(payment)
    decide(first, proposal)
    with pytest.raises(ProposalIsDecided, match="APPROVED" if first == "approve" else "REJECTED"):
        decide(then, proposal)
    assert Receipt.objects.count() == (first == "approve")


def decide(deed: str, proposal: Proposal, actor: str = "tom") -> object:
    if deed == "approve":
        return approve_proposal(proposal.number, actor=actor)
    return reject_proposal(proposal.number, actor=actor, reason="no")


@pytest.mark.parametrize("deed", ["approve", "reject"])
def test_unknown_proposal_is_not_found(deed):
    with pytest.raises(ProposalNotFound):
        decide(deed, Proposal(number="E0"))


def test_rejecting_needs_a_reason(payment):
    proposal = propose(payment)
    with pytest.raises(BadEvidence, match="why it is rejected"):
        reject_proposal(proposal.number, actor="tom", reason=" ")
    proposal.refresh_from_db()
    assert proposal.status == "WAITING"


def test_trade_of_another_amount_pays_nothing_and_is_a_case(payment):
    proposal = propose_by_entry(payment, amount=PRICE - 1)
    assert approve_proposal(proposal.number, actor="tom") is Settled.REVIEW
    assert Receipt.objects.get().receipt_class == ReceiptClass.MISMATCH
    assert status_of(payment) == ("PAYING", "UNPAID")
    assert open_cases() == ["mismatch"]
    assert audit() == []


def test_closed_payment_that_was_paid_after_all_is_settled_by_evidence_too(payment):
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    approve_proposal(propose(payment).number, actor="tom")
    assert status_of(payment) == ("PAID", "READY_FOR_SHIPMENT")


def test_payment_that_was_paid_meanwhile_takes_no_second_money_by_evidence(payment):
    proposal = propose(payment)
    pay(payment)
    with pytest.raises(PaymentIsDecided):
        approve_proposal(proposal.number, actor="tom")
    assert Receipt.objects.count() == 1
    assert audit() == []
    reject_proposal(proposal.number, actor="tom", reason="the channel has answered")
    assert open_cases() == []


def test_line_that_a_restated_statement_has_no_more_settles_nothing(payment):
    proposal = propose_by_entry(payment)
    Statement.objects.update(is_current=False)
    with pytest.raises(BadEvidence):
        approve_proposal(proposal.number, actor="tom")
    assert status_of(payment) == ("PAYING", "UNPAID")


def test_audit_misses_the_case_of_a_proposal_that_waits(payment):
    proposal = propose(payment)
    Case.objects.all().delete()
    BusinessEvent.objects.all().delete()  # nor was anybody told of it
    assert [(found.invariant, found.subject) for found in audit()] == [("I15", proposal.number)]


def test_audit_finds_the_open_case_of_a_proposal_that_was_decided(payment):
    proposal = propose(payment)
    reject_proposal(proposal.number, actor="tom", reason="no")
    Case.objects.update(resolved_at=None)
    assert [(found.invariant, found.subject) for found in audit()] == [("I15", proposal.number)]


@whatever_redis_does
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deeds", [("approve", "approve"), ("approve", "reject")])
def test_of_two_decisions_at_once_one_counts(payment, deeds):
    proposal, start = propose(payment), Barrier(2)

    def run(deed: str) -> str:
        connection.ensure_connection()
        start.wait(10)
        try:
            decide(deed, proposal, actor=f"{deed}r")
        except ProposalIsDecided:
            return "too late"
        finally:
            connection.close()
        return deed

    with ThreadPoolExecutor(2) as people:
        told = list(people.map(run, deeds))
    assert told.count("too late") == 1
    assert Receipt.objects.count() == ("approve" in told)
    assert audit() == []


@whatever_redis_does
@pytest.mark.django_db(transaction=True)
def test_of_two_proposals_at_once_one_waits(payment):
    start = Barrier(2)

    def run(actor: str) -> str:
        connection.ensure_connection()
        start.wait(10)
        try:
            return propose(payment, actor=actor).asked_by
        except ProposalWaits:
            return "too late"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as people:
        told = list(people.map(run, ("sue", "tom")))
    assert told.count("too late") == 1
    assert Proposal.objects.get().asked_by in told
