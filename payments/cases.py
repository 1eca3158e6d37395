"""Cases: what a machine cannot decide, in one queue for people. Opening one never changes a status."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db.models.functions import Now

from orders.models import Order
from payments.models import Case

log = structlog.get_logger("nodrop.cases")

# How long a case of each kind may wait for a person.
DEADLINES: dict[Case.Kind, timedelta] = {
    Case.Kind.MISMATCH: timedelta(hours=4),
    Case.Kind.UNMATCHED: timedelta(hours=24),
    Case.Kind.UNANSWERED: timedelta(hours=24),
    Case.Kind.REFUND: timedelta(hours=24),
    Case.Kind.DISAGREES: timedelta(hours=4),
    Case.Kind.NO_ALARM: timedelta(hours=4),
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


def has_open_mismatch(order: Order) -> bool:
    """While money of the wrong amount waits for a decision, nobody may pay this order again."""
    return Case.objects.filter(order=order, kind=Case.Kind.MISMATCH, resolved_at__isnull=True).exists()
