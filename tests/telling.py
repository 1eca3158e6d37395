"""News for other systems, and a watch that is turned by hand: for tests of what is delivered when."""

from datetime import timedelta
from typing import Any

from django.db.models import F

from shop.alarms import Claim, claim_webhook, handle
from shop.business import announce
from shop.models import Alarm, BusinessEvent, Delivery, Endpoint
from shop.transactions import transactional
from shop.webhooks.endpoints import add_endpoint
from shop.webhooks.publishing import publish

MOMENTS: dict[type[Any], tuple[str, ...]] = {
    Alarm: ("due_at", "tried_at", "created_at"),
    Delivery: ("first_tried_at", "tried_at", "ended_at", "created_at"),
    Endpoint: ("failing_since", "failed_at", "rests_until", "well_since", "off_at", "old_until"),
}


def make_endpoint(url: str, **options: Any) -> Endpoint:
    """An endpoint that is told of everything, or of some `types`."""
    return add_endpoint(url, **options).endpoint


@transactional
def tell(*streams: str, event_type: str = "order.paid") -> None:
    """Something happens in each of the streams, and is published."""
    for stream in streams:
        announce(event_type, stream=stream, subject=stream, data={})
    publish()


def work(*, most: int = 1000) -> list[Claim]:
    """Handle what is due for webhooks until nothing is, as watch would."""
    done: list[Claim] = []
    while len(done) < most and (claim := claim_webhook()):
        assert handle(claim)
        done.append(claim)
    return done


def pass_time(**units: float) -> None:
    """Let everything that webhooks remember be so much older."""
    by = timedelta(**units)
    for model, columns in MOMENTS.items():
        model.objects.update(**{column: F(column) - by for column in columns})


def places(ids: list[str]) -> list[tuple[str, int]]:
    """Stream and sequence of the events that a receiver was sent, in the order in which they came."""
    events = {event.number: (event.stream, event.sequence) for event in BusinessEvent.objects.all()}
    return [events[each] for each in ids]
