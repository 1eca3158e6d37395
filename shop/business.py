"""Business events: what the shop's other systems are told of, written in the transaction that makes it true.

An app declares what is told of each type, and which steps of a status are news; `shop.events.record` then writes the news beside the history, so that no
flow can forget it. What is no step of a status is announced by whoever makes it true. One fact is one event: a closed order
that is paid after all is `order.reopened`, and not `order.paid` as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shop.models import BusinessEvent
from shop.writes import insert

# Every type there is, in an order that stays.
TYPES = (
    "order.paid",
    "order.closed",
    "order.reopened",
    "order.shipped",
    "order.refunded",
    "payment.settled",
    "payment.surplus",
    "refund.succeeded",
    "refund.failed",
    "case.opened",
)


# One fact as a JSON schema, and the facts of one type of event by their names.
Shape = Mapping[str, Any]
Fields = Mapping[str, Shape]
TEXT: Shape = {"type": "string"}
WHOLE: Shape = {"type": "integer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a status that is news: of this type, with these facts of the change and no other."""

    type: str
    fields: Fields


_steps: dict[tuple[str, str | None, str], Step] = {}
_told: dict[str, Fields] = {}


def declare_data(event_type: str, fields: Fields) -> None:
    """Say what the `data` of a type holds, from an app's `ready()`: the API's description is made from it."""
    _told[_known(event_type)] = MappingProxyType(dict(fields))


def declared_data() -> Mapping[str, Fields]:
    """What the `data` of each type holds."""
    return MappingProxyType(_told)


def declare_step(
    subject_kind: str, from_status: str | None, to_status: str, event_type: str, fields: Fields
) -> None:
    """Make a step of a status news, from an app's `ready()`. `from_status` None: from wherever it came.

    `fields` name the facts of the change that are told: nothing else leaves the house, so nothing about a person does by
    mistake.
    """
    declare_data(event_type, fields)
    _steps[subject_kind, from_status, to_status] = Step(type=event_type, fields=_told[event_type])


def declared_steps() -> Mapping[tuple[str, str | None, str], Step]:
    """Every step that is news, by kind of subject, status before (None: any) and after."""
    return MappingProxyType(_steps)


def find_step(subject_kind: str, from_status: str, to_status: str) -> Step | None:
    """What this step is to other systems; None when it is no news."""
    exact = _steps.get((subject_kind, from_status, to_status))
    return exact or _steps.get((subject_kind, None, to_status))


def announce(event_type: str, *, stream: str, subject: str, data: Mapping[str, Any]) -> None:
    """Write one event of a fact that is no step of a status. Joins the caller's transaction, and its `together`.

    `stream` is the number of an order whose row the caller holds, or a name with a colon in it for what nobody else writes
    into at the moment: the database counts the events of a stream, and two who count at once get in each other's way.
    """
    insert(make_event(event_type, stream=stream, subject=subject, data=data))


def make_event(event_type: str, *, stream: str, subject: str, data: Mapping[str, Any]) -> BusinessEvent:
    """The row of one event, not written yet."""
    return BusinessEvent(type=_known(event_type), stream=stream, subject=subject, data=dict(data))


def event_fields(event: BusinessEvent) -> dict[str, Any]:
    """The event as other systems see it, by the feed and by webhooks alike.

    `order` is None where it is about no order; `sequence` counts the events of one order, from 1 without a gap; `position`
    is None until the event is published.
    """
    return {
        "id": event.number,
        "type": event.type,
        "position": event.position,
        "order": None if ":" in event.stream else event.stream,
        "sequence": event.sequence,
        "subject": event.subject,
        "at": event.at.isoformat(),
        "data": event.data,
    }


def _known(event_type: str) -> str:
    if event_type not in TYPES:
        raise ValueError(f"{event_type} is no type of business event")
    return event_type
