"""Writing history: the only place that makes an Event, always inside the transaction of the change itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from shop.models import Event, Source
from shop.writes import insert

log = structlog.get_logger("nodrop.moves")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of one status. `from_status` is empty when the thing begins."""

    subject_kind: str
    subject: str
    order_number: str
    from_status: str
    to_status: str
    source: Source
    actor: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)


def record(changes: Sequence[Change]) -> None:
    """Write the events of one transaction in one statement, and a log line for each."""
    insert(
        *(
            Event(
                subject_kind=change.subject_kind,
                subject=change.subject,
                order_number=change.order_number,
                from_status=change.from_status,
                to_status=change.to_status,
                source=change.source,
                actor=change.actor,
                note=dict(change.note),
            )
            for change in changes
        )
    )
    for change in changes:
        log.info(
            "move",
            subject_kind=change.subject_kind,
            subject=change.subject,
            order=change.order_number,
            from_status=change.from_status,
            to_status=change.to_status,
            source=str(change.source),
        )
