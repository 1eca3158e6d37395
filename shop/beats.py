"""Signs of life: every guardian says now and then that it is there, by the database's clock."""

from datetime import timedelta
from typing import Any

from django.db.models import F, Min, Q
from django.db.models.functions import Now

from shop.models import Heartbeat

CLUSTER = "cluster"
CANARY = "shop.beats.canary"
# Beats of guardians that are gone for good are forgotten after this time.
FORGET_AFTER = timedelta(days=1)


def beat(name: str, **note: Any) -> None:
    """`name` is alive now. One statement."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=Now(), note=note)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["at", "note"],
    )


def canary() -> None:
    """A task that does nothing: that it comes back acknowledged shows that every part of the cluster works."""


def hear_canary(sender: str, task: dict[str, Any], **_: Any) -> None:
    """Told by the cluster's monitor of each task that it has acknowledged.

    The worker's own word would not do: beside a monitor that is stuck it runs every task again and again.
    """
    if task["func"] == CANARY:
        beat(CLUSTER)


def silent_for(name: str) -> timedelta | None:
    """How long `name` has been silent; None when it was never heard."""
    found = (
        Heartbeat.objects.filter(name=name)
        .annotate(silence=Now() - F("at"))
        .values_list("silence", flat=True)
    )
    return found.first()


def shortest_silence(kind: str) -> timedelta | None:
    """The silence of the guardian of a kind that was heard last; None when none was ever heard."""
    heard = Heartbeat.objects.filter(Q(name=kind) | Q(name__startswith=f"{kind} "))
    return heard.aggregate(silence=Min(Now() - F("at")))["silence"]


def forget_old() -> None:
    """Remove the beats of guardians that are gone."""
    Heartbeat.objects.filter(at__lt=Now() - FORGET_AFTER).delete()
