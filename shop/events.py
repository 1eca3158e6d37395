"""Writing history: the only place that makes an Event, always inside the transaction of the change itself.

What the apps have declared to be news is written beside it, for the shop's other systems (`shop.business`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from shop.business import find_step, make_event
from shop.models import BusinessEvent, Event, Source
from shop.writes import insert, together

log = structlog.get_logger("nodrop.moves")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of one status. `from_status` is empty when the thing begins.

    `facts` are for other systems, where the step is news, and stand in no history. `stream` orders the news of what has no
    order; see `business.announce`.
    """

    subject_kind: str
    subject: str
    order_number: str
    from_status: str
    to_status: str
    source: Source
    actor: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    stream: str = ""


def record(changes: Sequence[Change]) -> None:
    """Write the events of one transaction in one statement, with those that are news, and a log line for each."""
    with together():
        insert(*map(_event_of, changes))
        insert(*filter(None, map(_news_of, changes)))
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


def _event_of(change: Change) -> Event:
    return Event(
        subject_kind=change.subject_kind,
        subject=change.subject,
        order_number=change.order_number,
        from_status=change.from_status,
        to_status=change.to_status,
        source=change.source,
        actor=change.actor,
        note=dict(change.note),
    )


def _news_of(change: Change) -> BusinessEvent | None:
    step = find_step(change.subject_kind, change.from_status, change.to_status)
    if step is None:
        return None
    return make_event(
        step.type,
        stream=change.order_number or change.stream,
        subject=change.subject,
        data={name: change.facts[name] for name in step.fields},
    )
