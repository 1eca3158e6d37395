"""Cases and the people who look after them: one has it, and closes by hand only what only a person can answer."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.utils import timezone

from orders.moves import EXPIRE_ORDER, lock_order
from payments.audit import audit
from payments.cases import (
    DEADLINES,
    assign_case,
    close_cases,
    has_open_mismatch,
    open_case,
    resolve_case,
    take_case,
)
from payments.channels.base import Outcome
from payments.errors import CaseIsResolved, CaseIsTaken, CaseStaysOpen, MayNotDecide
from payments.evidence import propose_settlement, reject_proposal
from payments.models import Case, Payment, Proposal
from shop.models import Alarm, Endpoint
from tests.factories import make_order, make_payment
from tests.payments.audit_world import (
    PRICE,
    World,
    ask,
    build_world,
    change,
    finish,
    order_of,
    pay,
    unguarded,
)
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db
SENT = "Sent by bank transfer on Monday."


@pytest.fixture
def anna(django_user_model) -> User:
    user: User = django_user_model.objects.create_user("anna")
    return user


@pytest.fixture
def bo(django_user_model) -> User:
    user: User = django_user_model.objects.create_user("bo")
    return user


@pytest.fixture
def world() -> World:
    return build_world()


def failing(subject: str) -> Case:
    """Of the alarm that would end the order, and fails."""
    Alarm.objects.filter(kind=EXPIRE_ORDER, subject=subject).update(failures=1)
    return case_of("failing", subject, alarm=EXPIRE_ORDER)


def case_of(kind: str, subject: str, **evidence: Any) -> Case:
    """The open case, opened unless it is there."""
    open_case(Case.Kind(kind), subject, order=None, evidence=evidence)
    return Case.objects.get(kind=kind, subject=subject, resolved_at__isnull=True)


@pytest.fixture
def case() -> Case:
    """Of an order whose receipt could not be mailed."""
    with transaction.atomic():
        order = lock_order(make_order().number)
        open_case(Case.Kind.MAIL, order.number, order=order, evidence={})
    return Case.objects.get()


# ---- whose it is -------------------------------------------------------------------------------------------------


def test_case_is_taken_by_who_looks_after_it(case, anna):
    assert take_case(case.pk, actor=anna).owner == anna
    case.refresh_from_db()
    assert (case.owner, case.resolved_at) == (anna, None)


def test_own_case_may_be_taken_again(case, anna):
    take_case(case.pk, actor=anna)
    assert take_case(case.pk, actor=anna).owner == anna


@pytest.mark.parametrize("deed", ["take", "resolve"])
def test_case_of_somebody_else_is_left_alone_and_their_name_told(case, anna, bo, deed):
    take_case(case.pk, actor=anna)
    with pytest.raises(CaseIsTaken) as refused:
        act(deed, case, bo)
    case.refresh_from_db()
    assert (refused.value.owner, case.owner, case.resolved_at) == ("anna", anna, None)


@pytest.mark.parametrize("deed", ["take", "resolve"])
def test_resolved_case_says_how_it_was_resolved(case, anna, bo, deed):
    resolve_case(case.pk, actor=anna, resolution=SENT)
    with pytest.raises(CaseIsResolved) as refused:
        act(deed, case, bo)
    case.refresh_from_db()
    assert (refused.value.resolution, case.owner, case.resolution) == (SENT, anna, SENT)


def test_case_that_the_machine_closed_is_nobodys_any_more(case, anna):
    close_cases(Case.Kind.MAIL, case.subject, resolution="it arrived")
    with pytest.raises(CaseIsResolved):
        take_case(case.pk, actor=anna)


def act(deed: str, case: Case, actor: User) -> Case:
    if deed == "take":
        return take_case(case.pk, actor=actor)
    return resolve_case(case.pk, actor=actor, resolution=SENT)


def test_who_resolves_a_case_that_nobody_has_is_its_owner(case, anna):
    resolved = resolve_case(case.pk, actor=anna, resolution=f"  {SENT} ")
    case.refresh_from_db()
    assert (case.owner, case.resolution, case.resolved_at) == (anna, SENT, resolved.resolved_at)
    assert resolved.resolved_at is not None


@pytest.mark.parametrize("resolution", ["", "  ", "x" * 301, "a\x00b", "two\nlines"])
def test_resolution_must_say_something(case, anna, resolution):
    with pytest.raises(ValueError, match="Say how"):
        resolve_case(case.pk, actor=anna, resolution=resolution)
    case.refresh_from_db()
    assert (case.owner, case.resolved_at) == (None, None)


@pytest.fixture
def carl(django_user_model) -> User:
    """One of those who may decide cases."""
    carl: User = django_user_model.objects.create_user("carl", is_staff=True)
    carl.groups.add(Group.objects.get(name="Support"))
    return carl


def test_case_is_given_to_another_whoever_has_it(case, anna, bo, carl):
    take_case(case.pk, actor=anna)
    assert assign_case(case.pk, actor=bo, owner=carl).owner == carl
    case.refresh_from_db()
    assert (case.owner, case.resolved_at) == (carl, None)


@pytest.mark.parametrize("lacks", ["is_active", "is_staff", "permission"])
def test_case_is_given_only_to_active_staff_who_may_decide_it(case, anna, carl, lacks):
    if lacks == "permission":
        carl.groups.clear()
    else:
        setattr(carl, lacks, False)
    with pytest.raises(MayNotDecide, match="carl may not decide"):
        assign_case(case.pk, actor=anna, owner=carl)
    case.refresh_from_db()
    assert case.owner is None


def test_resolved_case_is_given_to_nobody(case, anna, carl):
    resolve_case(case.pk, actor=anna, resolution=SENT)
    with pytest.raises(CaseIsResolved):
        assign_case(case.pk, actor=anna, owner=carl)
    case.refresh_from_db()
    assert case.owner == anna


@whatever_redis_does
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deed", ["take", "resolve"])
def test_of_two_people_at_once_one_has_the_case_and_the_other_is_told_so(case, anna, bo, deed):
    start = Barrier(2)

    def reach_for_it(actor: User) -> str:
        try:
            connection.ensure_connection()
            start.wait(10)
            return act(deed, case, actor).owner.username  # type: ignore[union-attr]
        except CaseIsTaken as refused:
            return f"{refused.owner} has it"
        except CaseIsResolved as refused:
            return f"it ended: {refused.resolution}"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as people:
        told = set(people.map(reach_for_it, (anna, bo)))
    case.refresh_from_db()
    assert case.owner is not None
    other = f"{case.owner.username} has it" if deed == "take" else f"it ended: {SENT}"
    assert told == {case.owner.username, other}


# ---- what is closed by hand, and what is not ---------------------------------------------------------------------


# What nobody can answer but a person.
BY_HAND: dict[str, Callable[[World], Case]] = {
    "money that is none of ours": lambda world: case_of("unmatched", world.unmatched.channel_number),
    "a message that names nothing of ours": lambda world: case_of(
        "unmatched", world.taken.message_id, callback=world.taken.pk
    ),
    "a refund that the channel refused": lambda world: case_of("refund", world.failed.number),
    "surplus that the channel does not give back": lambda world: case_of(
        "refund", finish(world.surplus.refunds.get(), Outcome.REFUSED).number
    ),
    "a refund in the channel's console": lambda world: case_of("console_refund", world.console.number),
    "what a channel says of a refund that was rejected": lambda world: case_of(
        "disagrees", world.rejected.number
    ),
    "what a channel says of a payment now": lambda world: case_of("disagrees", world.settled.number),
    "an order that agrees with its receipts again": lambda world: case_of("disagrees", world.paid.number),
    "a receipt that cannot be delivered": lambda world: case_of("mail", world.paid.number),
    "something that had no alarm": lambda world: case_of("no_alarm", world.unpaid.number),
    "an alarm that has gone well": lambda world: case_of("failing", world.paid.number, alarm=EXPIRE_ORDER),
    "a payment that was answered": lambda world: case_of("unanswered", world.ended.number),
    "an order that could be closed": lambda world: case_of("unanswered", world.closed.number),
    "money to be paid out that went back otherwise": lambda world: case_of(
        "payout", world.late.channel_number
    ),
    "what differs between the books": lambda world: case_of("books", world.paid.number),
    "a proposal that was rejected": lambda world: case_of(
        "proposal", reject_proposal(propose(world.paying).number, actor="li", reason="no").number
    ),
    "an endpoint that is on again": lambda _: case_of("webhook", make_endpoint().number),
    "what the channel itself calls irregular": lambda world: case_of("irregular", world.paid.number),
    "a refund that was rejected": lambda world: case_of("approval", world.rejected.number),
    "a mismatch of nothing": lambda world: case_of(
        "mismatch", pay(make_payment(make_order()), amount_minor=0).channel_number
    ),
}


def make_endpoint(**columns: Any) -> Endpoint:
    return Endpoint.objects.create(url="https://partner.example/", secret="sealed", **columns)


def propose(payment: Payment) -> Proposal:
    return propose_settlement(
        payment.number,
        evidence="word",
        source="the bank's clerk",
        channel_number="4200WORD",
        amount=PRICE,
        currency="CNY",
        paid_at=None,
        reason="seen on their screen",
        actor="anna",
    )


def pay_wrong(*, back: int, **how: Any) -> Case:
    """Money of a wrong amount, a part of which is refunded."""
    receipt = pay(make_payment(make_order()), amount_minor=PRICE - 1)
    refund = ask(receipt, back, **how)
    if not how:
        finish(refund)
    return case_of("mismatch", receipt.channel_number)


# What is closed by what happens to the money, and what its case says instead.
NOT_BY_HAND: dict[str, tuple[Callable[[World], Case], str]] = {
    "money of a wrong amount": (
        lambda world: case_of("mismatch", world.mismatch.channel_number),
        "refund all of it",
    ),
    "money of a wrong amount that went back in part": (
        lambda _: pay_wrong(back=PRICE - 2),
        "refund all of it",
    ),
    "money of a wrong amount that shall go back": (
        lambda _: pay_wrong(back=PRICE - 1, waits=True),
        "refund all of it",
    ),
    "unmatched money that is on its way back": (
        lambda world: case_of("unmatched", ask(world.unmatched, 500).receipt.channel_number),
        "when the money went back",
    ),
    "a message that is not taken": (
        lambda world: case_of("unmatched", world.waiting.message_id, callback=world.waiting.pk),
        "when the money went back",
    ),
    "a payment without an answer": (lambda world: case_of("unanswered", world.paying.number), "query"),
    "an order that cannot be closed": (lambda world: case_of("unanswered", world.unpaid.number), "query"),
    "a refund that does not arrive": (
        lambda world: case_of("refund", world.on_its_way.number),
        "see to it at the channel",
    ),
    "a refund that waits for approval": (
        lambda world: case_of("approval", ask(world.settled, 1, waits=True).number),
        "Approve or reject",
    ),
    "money to be paid out": (
        lambda world: case_of("payout", world.surplus.channel_number),
        "record what you paid back",
    ),
    "a proposal that waits": (
        lambda world: case_of("proposal", propose(world.paying).number),
        "Approve or reject",
    ),
    "an endpoint that is switched off": (
        lambda _: case_of("webhook", make_endpoint(off_at=timezone.now()).number),
        "switch it on",
    ),
    "an alarm that fails": (
        lambda world: failing(world.unpaid.number),
        "tried again",
    ),
}


@pytest.mark.parametrize("happen", BY_HAND.values(), ids=BY_HAND)
def test_person_resolves_what_only_a_person_can_answer_and_the_audit_agrees(world, anna, happen):
    case = happen(world)
    resolve_case(case.pk, actor=anna, resolution=SENT)
    assert not Case.objects.filter(pk=case.pk, resolved_at__isnull=True).exists()
    assert audit() == []


@pytest.mark.parametrize(("happen", "instead"), NOT_BY_HAND.values(), ids=NOT_BY_HAND)
def test_person_cannot_resolve_away_what_money_hangs_on(world, anna, happen, instead):
    case = happen(world)
    with pytest.raises(CaseStaysOpen, match=instead):
        resolve_case(case.pk, actor=anna, resolution=SENT)
    case.refresh_from_db()
    assert (case.owner, case.resolved_at, case.resolution) == (None, None, "")


@pytest.mark.parametrize("kind", Case.Kind.values)
def test_every_kind_has_a_deadline_and_can_be_ended_by_hand_somehow(world, kind):
    assert kind in DEADLINES
    assert kind in {happen(world).kind for happen in BY_HAND.values()}


def test_order_that_disagrees_with_its_receipts_is_not_resolved_away(world, anna):
    unguarded()
    change(world.paid, status="UNPAID")
    case = case_of("disagrees", world.paid.number)
    with pytest.raises(CaseStaysOpen, match="audit"):
        resolve_case(case.pk, actor=anna, resolution=SENT)


def test_order_stays_blocked_until_money_of_a_wrong_amount_is_back(world, anna):
    case, order = case_of("mismatch", world.mismatch.channel_number), order_of(world.mismatch)
    take_case(case.pk, actor=anna)
    with pytest.raises(CaseStaysOpen):
        resolve_case(case.pk, actor=anna, resolution=SENT)
    assert has_open_mismatch(order)
    finish(ask(world.mismatch, world.mismatch.amount))
    assert not has_open_mismatch(order)
    with pytest.raises(CaseIsResolved, match="went back"):
        resolve_case(case.pk, actor=anna, resolution=SENT)


def test_resolved_case_is_opened_anew_when_it_happens_again(world, anna):
    case = case_of("failing", world.unpaid.number, alarm="none")
    resolve_case(case.pk, actor=anna, resolution=SENT)
    assert case_of("failing", world.unpaid.number, alarm=EXPIRE_ORDER).pk != case.pk
