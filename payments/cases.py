"""Cases: what a machine cannot decide, in one queue for people. Opening one never changes a status."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now

from orders.models import Order
from payments.models import Case
from shop.alarms import Claim, postpone
from shop.models import Alarm

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
}


def open_case(kind: Case.Kind, subject: str, *, order: Order | None, evidence: Mapping[str, Any]) -> None:
    """Open a case about `subject`, unless one of this kind is open already. Joins the caller's transaction."""
    Case.objects.bulk_create(
        [
            Case(
                kind=kind,
                subject=subject,
                order=order,
                evidence=dict(evidence),
                deadline=Now() + DEADLINES[kind],
            )
        ],
        ignore_conflicts=True,
    )
    log.warning("case opened", kind=str(kind), subject=subject, order=order.number if order else "")


def close_cases(kind: Case.Kind, subject: str, *, resolution: str) -> None:
    """What a case asked has been answered without a person. Joins the caller's transaction."""
    open_ones = Case.objects.filter(kind=kind, subject=subject, resolved_at__isnull=True)
    open_ones.update(resolved_at=Now(), resolution=resolution[:300])


def list_open_cases() -> QuerySet[Case]:
    """What waits for a person, the nearest deadline first."""
    return Case.objects.filter(resolved_at__isnull=True).select_related("order", "owner").order_by("deadline")


def open_for_alarm(claim: Claim, error: Exception) -> None:
    """The handler of an alarm keeps failing: a person should know. It is tried on, at its last moment once a day."""
    with transaction.atomic():
        evidence = {"alarm": claim.kind, "attempt": claim.attempt, "error": type(error).__name__}
        open_case(Case.Kind.FAILING, claim.subject, order=None, evidence=evidence)
        if claim.is_last:
            postpone(claim.kind, claim.subject, by_s=DAILY_S)


def close_healed() -> int:
    """Close the cases of alarms that failed and have been handled since. Returns how many."""
    still_there = Alarm.objects.filter(
        kind=KeyTextTransform("alarm", OuterRef("evidence")), subject=OuterRef("subject")
    )
    healed = Case.objects.filter(~Exists(still_there), kind=Case.Kind.FAILING, resolved_at__isnull=True)
    return healed.update(resolved_at=Now(), resolution="it went well in the end")


def has_open_mismatch(order: Order) -> bool:
    """While money of the wrong amount waits for a decision, nobody may pay this order again."""
    return Case.objects.filter(order=order, kind=Case.Kind.MISMATCH, resolved_at__isnull=True).exists()
