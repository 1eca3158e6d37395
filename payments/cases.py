"""Cases: what a machine cannot decide, in one queue for people. Neither opening nor closing one changes a status.

A person closes by hand what only a person can answer. While money hangs on a case it is closed by what happens to the
money, so that no promise of the audit can be resolved away.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Concat, Now
from django.utils.translation import gettext_lazy as _
from psycopg.types.json import Jsonb

from orders.models import Order
from orders.moves import LockedOrder, lock_order
from orders.statuses import PAID, OrderStatus
from payments.channels.registry import can_refund
from payments.errors import CaseIsResolved, CaseIsTaken, CaseStaysOpen, MayNotDecide
from payments.models import Callback, Case, Difference, Payment, Proposal, Receipt, Refund
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from shop.alarms import Claim, postpone
from shop.business import announce
from shop.locks import stand_in_line
from shop.models import Alarm, Delivery, Endpoint
from shop.reads import read_one
from shop.sentences import Words, say
from shop.transactions import transactional
from shop.webhooks.publishing import DELIVER

MAX_RESOLUTION = 300
MAX_SUBJECT = 64
# Who may look after cases.
DECIDE = "payments.decide_case"
# Who is not answered at the end of a schedule is asked once a day from then on.
DAILY_S = 24 * 3600

log = structlog.get_logger("nodrop.cases")

# How long a case of each kind may wait for a person.
DEADLINES: dict[Case.Kind, timedelta] = {
    Case.Kind.MISMATCH: timedelta(hours=4),
    Case.Kind.UNMATCHED: timedelta(hours=24),
    Case.Kind.UNANSWERED: timedelta(hours=24),
    Case.Kind.REFUND: timedelta(hours=24),
    Case.Kind.APPROVAL: timedelta(hours=24),
    Case.Kind.DISAGREES: timedelta(hours=4),
    Case.Kind.CONSOLE_REFUND: timedelta(hours=24),
    Case.Kind.MAIL: timedelta(hours=24),
    Case.Kind.NO_ALARM: timedelta(hours=4),
    Case.Kind.FAILING: timedelta(hours=4),
    Case.Kind.PAYOUT: timedelta(hours=24),
    Case.Kind.IRREGULAR: timedelta(hours=24),
    Case.Kind.BOOKS: timedelta(hours=72),
    Case.Kind.PROPOSAL: timedelta(hours=24),
    Case.Kind.WEBHOOK: timedelta(hours=24),
}


OPEN = """
insert into payments_case (kind, subject, order_id, evidence, deadline, resolution)
values (%s, %s, %s, %s, statement_timestamp() + %s, '') on conflict do nothing returning id
"""


def open_case(
    kind: Case.Kind, subject: str, *, order: LockedOrder | None, evidence: Mapping[str, Any]
) -> None:
    """Open a case about `subject`, unless one of this kind is open already, and tell other systems that there is one.

    Joins the caller's transaction, which must have locked the `order`: the case has its place among what happened to it.
    """
    opened = read_one(
        OPEN,
        str(kind),
        subject[:MAX_SUBJECT],
        order.pk if order else None,
        Jsonb(dict(evidence)),
        DEADLINES[kind],
    )
    if opened is None:
        return
    (pk,) = opened
    stream = order.number if order else f"case:{pk}"
    # Without the evidence, which may tell about persons.
    announce("case.opened", stream=stream, subject=subject, data={"case": pk, "kind": str(kind)})
    log.warning("case opened", kind=str(kind), subject=subject, order=order.number if order else "")


def open_irregular(subject: str, *, order: LockedOrder | None, evidence: Mapping[str, Any]) -> None:
    """Open a case about what a channel itself calls irregular, by the `code` of `evidence`, unless people have answered that.

    Channels say the same at every query. Joins the caller's transaction.
    """
    told = Case.objects.filter(kind=Case.Kind.IRREGULAR, subject=subject, evidence__code=evidence["code"])
    if not told.filter(resolved_at__isnull=False).exists():
        open_case(Case.Kind.IRREGULAR, subject, order=order, evidence=evidence)


def list_irregular(order: Order) -> list[Payment]:
    """The attempts that their channel has called irregular, whoever has looked at that since, and whose money never came."""
    told = Case.objects.filter(kind=Case.Kind.IRREGULAR, subject=OuterRef("number"))
    return list(Payment.objects.filter(Exists(told), order=order, receipts__isnull=True).order_by("pk"))


def close_cases(kind: Case.Kind, subject: str, *, resolution: str) -> None:
    """What a case asked has been answered without a person. Joins the caller's transaction."""
    open_ones = Case.objects.filter(kind=kind, subject=subject, resolved_at__isnull=True)
    open_ones.update(resolved_at=Now(), resolution=resolution[:MAX_RESOLUTION])


def list_open_cases() -> QuerySet[Case]:
    """What waits for a person, the nearest deadline first."""
    return Case.objects.filter(resolved_at__isnull=True).select_related("order", "owner").order_by("deadline")


def open_for_alarm(claim: Claim, error: Exception) -> None:
    """The handler of an alarm keeps failing: a person should know. It is tried on, at its last moment once a day."""
    with transaction.atomic():
        evidence = {"alarm": claim.kind, "attempt": claim.attempt, "error": type(error).__name__}
        open_case(Case.Kind.FAILING, _name_matter(claim), order=None, evidence=evidence)
        if claim.is_last:
            postpone(claim.kind, claim.subject, by_s=DAILY_S)


def close_healed() -> int:
    """Close the cases of alarms that failed and have been handled since. Returns how many."""
    healed = Case.objects.exclude(_still_fails()).filter(kind=Case.Kind.FAILING, resolved_at__isnull=True)
    return healed.update(resolved_at=Now(), resolution="it went well in the end")


def _name_matter(claim: Claim) -> str:
    """What a case is about: an endpoint has one, however many of its streams cannot be delivered."""
    if claim.kind != DELIVER:
        return claim.subject
    numbers = Endpoint.objects.filter(pk=claim.crowd).values_list("number", flat=True)
    return numbers.first() or claim.subject


def _still_fails() -> Q:
    """Of a case: whether its alarm, or one of those that deliver to its endpoint, has not gone well since."""
    failing = Alarm.objects.filter(failures__gt=0)
    own = failing.filter(kind=KeyTextTransform("alarm", OuterRef("evidence")), subject=OuterRef("subject"))
    crowd = Concat(Cast(OuterRef("pk"), CharField()), Value(":"))
    delivering = failing.filter(kind=DELIVER, subject__startswith=crowd)
    about = Endpoint.objects.filter(Exists(delivering), number=OuterRef("subject"))
    return Q(Exists(own)) | Q(Exists(about))


def open_for_endpoint(endpoint: Endpoint) -> None:
    """Another system could not be told: one case about its endpoint, which says how things stand. Joins the caller's
    transaction.
    """
    given_up = Delivery.objects.filter(endpoint=endpoint, status=Delivery.Status.DEAD).count()
    evidence = {"endpoint": endpoint.note, "off": endpoint.off_why, "given_up": given_up}
    if endpoint.failing_since:
        evidence["failing_since"] = endpoint.failing_since.isoformat()
    open_case(Case.Kind.WEBHOOK, endpoint.number, order=None, evidence=evidence)
    about = Case.objects.filter(kind=Case.Kind.WEBHOOK, subject=endpoint.number, resolved_at__isnull=True)
    about.update(evidence=evidence)


def close_for_endpoint(endpoint: Endpoint) -> None:
    """The endpoint took something, or was removed: what people had to do about it may be done. Joins the caller's
    transaction.
    """
    ours = Endpoint.objects.filter(number=OuterRef("subject"))
    given_up = Delivery.objects.filter(endpoint__number=OuterRef("subject"), status=Delivery.Status.DEAD)
    is_over = Exists(ours.filter(removed_at__isnull=False)) | (
        Exists(ours.filter(off_at__isnull=True)) & ~Exists(given_up)
    )
    about = Case.objects.filter(is_over, kind=Case.Kind.WEBHOOK, subject=endpoint.number)
    resolution = (
        "the endpoint was removed" if endpoint.removed_at else "it takes what it is sent, and nothing is left"
    )
    about.filter(resolved_at__isnull=True).update(resolved_at=Now(), resolution=resolution)


def has_open_mismatch(order: Order) -> bool:
    """While money of the wrong amount waits for a decision, nobody may pay this order again."""
    return Case.objects.filter(order=order, kind=Case.Kind.MISMATCH, resolved_at__isnull=True).exists()


# ---- people ------------------------------------------------------------------------------------------------------


def take_case(pk: int, *, actor: User) -> Case:
    """Make `actor` the owner of an open case; taking one's own again is fine.

    Locks its order, if it has one, then the case. Raises CaseIsTaken, CaseIsResolved.
    """
    with stand_in_line(f"case:{pk}"):
        return _take(pk, actor)


@transactional
def _take(pk: int, actor: User) -> Case:
    case = _lock_own(pk, actor)
    _write(case, owner=actor)
    return case


def assign_case(pk: int, *, actor: User, owner: User) -> Case:
    """Give an open case, whoever has it, to `owner`.

    Locks its order, if it has one, then the case. Raises CaseIsResolved; MayNotDecide for somebody who is no active member
    of the staff or may not decide cases.
    """
    if not (owner.is_staff and owner.has_perm(DECIDE)):
        raise MayNotDecide(owner.get_username())
    with stand_in_line(f"case:{pk}"):
        return _assign(pk, actor, owner)


@transactional
def _assign(pk: int, actor: User, owner: User) -> Case:
    case = _lock_open(pk)
    _write(case, owner=owner)
    names = {"to": owner.get_username(), "by": actor.get_username()}
    log.info("case assigned", kind=case.kind, subject=case.subject, **names)
    return case


def resolve_case(pk: int, *, actor: User, resolution: str) -> Case:
    """Close a case as answered by `actor`, who owns it from then on. `resolution` says how, in 1 to 300 characters.

    Locks its order, if it has one, then the case. Raises CaseIsTaken, CaseIsResolved; CaseStaysOpen while money hangs on
    it; ValueError for a resolution that says nothing.
    """
    resolution = resolution.strip()
    if not 1 <= len(resolution) <= MAX_RESOLUTION or not resolution.isprintable():
        raise ValueError(say(_("Say how it was resolved, in 1 to %(most)d characters."), most=MAX_RESOLUTION))
    with stand_in_line(f"case:{pk}"):
        return _resolve(pk, actor, resolution)


@transactional
def _resolve(pk: int, actor: User, resolution: str) -> Case:
    case = _lock_own(pk, actor)
    is_undecided, instead = HELD_OPEN.get(Case.Kind(case.kind), (None, ""))
    if is_undecided and is_undecided(case):
        raise CaseStaysOpen(instead)
    _write(case, owner=actor, resolved_at=Now(), resolution=resolution)
    if case.kind == Case.Kind.BOOKS:
        _decide_differences(case)
    case.refresh_from_db(fields=["resolved_at"])
    log.info("case resolved", kind=case.kind, subject=case.subject, by=actor.get_username())
    return case


def _lock_own(pk: int, actor: User) -> Case:
    """The open case that nobody else has, locked."""
    case = _lock_open(pk)
    if case.owner is not None and case.owner != actor:
        raise CaseIsTaken(case.owner.get_username())
    return case


def _decide_differences(case: Case) -> None:
    """What the case was about is not asked again while the books stay as they are."""
    told = case.evidence
    found = Difference.objects.filter(state=Difference.State.CASE, channel=told.get("channel"))
    of_statement = Q(day=told.get("day"), kind=told.get("kind"))
    which = of_statement if case.subject.endswith(f":{told.get('kind')}") else Q(subject=case.subject)
    found.filter(which).update(state=Difference.State.DECIDED)


def _lock_open(pk: int) -> Case:
    """The open case, locked. A case comes last in the order of locks."""
    order_number = Case.objects.values_list("order__number", flat=True).get(pk=pk)
    if order_number:
        lock_order(order_number)
    # Without its owner: after a wait PostgreSQL reads the locked row again, but not what is joined to it.
    case = Case.objects.select_for_update().get(pk=pk)
    if case.resolved_at is not None:
        raise CaseIsResolved(case.resolution)
    return case


def _write(case: Case, **columns: Any) -> None:
    """Named columns only, never the whole row."""
    Case.objects.filter(pk=case.pk).update(**columns)
    for name, value in columns.items():
        setattr(case, name, value)


# ---- what a person cannot close by hand --------------------------------------------------------------------------


def _is_kept(case: Case) -> bool:
    """Where a channel has no way back, a person has sent the money by a bank transfer, and says so."""
    kept = _list_kept(case).filter(receipt_class=ReceiptClass.MISMATCH)
    return any(can_refund(channel) for channel in kept.values_list("channel", flat=True))


def _is_to_be_paid_back(case: Case) -> bool:
    return _list_kept(case).exists()


def _list_kept(case: Case) -> QuerySet[Receipt]:
    """The receipts that the case is about, of which not all went back."""
    went_back = Coalesce(Sum("refunds__amount", filter=Q(refunds__status=RefundStatus.REFUNDED)), 0)
    ours = Receipt.objects.filter(channel_number=case.subject)
    return ours.alias(went_back=went_back).filter(amount__gt=F("went_back"))


def _is_at_work(case: Case) -> bool:
    under_way = (RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING)
    return (
        Refund.objects.filter(receipt__channel_number=case.subject, status__in=under_way).exists()
        or Callback.objects.filter(message_id=case.subject, taken_at__isnull=True).exists()
    )


def _is_unanswered(case: Case) -> bool:
    last_look_in_vain = Exists(Alarm.objects.filter(subject=OuterRef("number"), tried_at__gte=F("last_at")))
    asked_about = Q(status=PaymentStatus.PAYING) | Q(last_look_in_vain)
    return (
        Payment.objects.filter(asked_about, number=case.subject).exists()
        or Order.objects.filter(number=case.subject, status=OrderStatus.UNPAID).exists()
    )


def _is_on_its_way(case: Case) -> bool:
    return Refund.objects.filter(number=case.subject, status=RefundStatus.REFUNDING).exists()


def _waits_for_approval(case: Case) -> bool:
    return Refund.objects.filter(number=case.subject, status=RefundStatus.PENDING_APPROVAL).exists()


def _waits_for_decision(case: Case) -> bool:
    return Proposal.objects.filter(number=case.subject, status=Proposal.Status.WAITING).exists()


def _disagrees_with_receipts(case: Case) -> bool:
    """About an order. Whether a channel's word about a payment or a refund has been answered stands in no row of ours."""
    settled = Receipt.objects.filter(order=OuterRef("pk"), receipt_class=ReceiptClass.SETTLED)
    ours = Order.objects.filter(number=case.subject).alias(is_settled=Exists(settled))
    return ours.filter(Q(is_settled=True) ^ Q(status__in=PAID)).exists()


def _is_failing(case: Case) -> bool:
    return Case.objects.filter(_still_fails(), pk=case.pk).exists()


def _is_switched_off(case: Case) -> bool:
    off = Endpoint.objects.filter(number=case.subject, off_at__isnull=False, removed_at__isnull=True)
    return off.exists()


# While the first is true of a case of this kind, a person must do the second instead of closing it. A kind that is not
# here, and a case that is past this, only a person can answer.
HELD_OPEN: dict[Case.Kind, tuple[Callable[[Case], bool], Words]] = {
    Case.Kind.MISMATCH: (
        _is_kept,
        _(
            "This money is still here and keeps its order from being paid: refund all of it, which closes the case."
        ),
    ),
    Case.Kind.UNMATCHED: (
        _is_at_work,
        _(
            "This is being worked on: the case closes when the money went back, or the message has been taken."
        ),
    ),
    Case.Kind.UNANSWERED: (
        _is_unanswered,
        _(
            "The channel may still have money for this: query the payment. The case closes when it is answered."
        ),
    ),
    Case.Kind.REFUND: (
        _is_on_its_way,
        _("This refund has not ended: see to it at the channel. The case closes when the money arrived."),
    ),
    Case.Kind.PAYOUT: (
        _is_to_be_paid_back,
        _("This money is still here: pay it back and record what you paid back, which closes the case."),
    ),
    Case.Kind.APPROVAL: (_waits_for_approval, _("Approve or reject the refund: that closes the case.")),
    Case.Kind.PROPOSAL: (_waits_for_decision, _("Approve or reject the proposal: that closes the case.")),
    Case.Kind.DISAGREES: (
        _disagrees_with_receipts,
        _(
            "The order does not agree with its receipts: `audit` names what does not fit, which has to be put right."
        ),
    ),
    Case.Kind.FAILING: (
        _is_failing,
        _("Its alarm is tried again: the case closes when that has gone well."),
    ),
    Case.Kind.WEBHOOK: (
        _is_switched_off,
        _(
            "Nothing is sent to this endpoint: switch it on, or remove it. The case closes when nothing is left of it."
        ),
    ),
}
