"""What the ground knows about itself: alarms, the queue, guardians, events on their way to other systems, keys that end.

Facts are read from the database when somebody asks, so they are the same on every machine and no process can lose them.
Each statement reads what is unfinished or the last few rows, by an index, never a whole table that grows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shop.metrics import Metric
from shop.tallies import Tallied


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Some gauges of the same labels, read together: each row is its labels, then one value for each metric.

    `rows` is a statement or a function; a value of None is a series that is not there.
    """

    metrics: tuple[Metric, ...]
    rows: str | Callable[[], Iterable[tuple[Any, ...]]]


def gauges(labels: tuple[str, ...], **helps: str) -> tuple[Metric, ...]:
    """Gauges of the same labels by their names, without the prefix."""
    return tuple(Metric(name=f"nodrop_{name}", help=text, labels=labels) for name, text in helps.items())


SECONDS_SINCE = "extract(epoch from statement_timestamp() - {})"

# Heads of streams are looked for among so many waiting deliveries of each endpoint, the oldest.
HEADS_AMONG = 2000

READINGS = (
    Reading(
        metrics=gauges(
            ("kind",),
            alarms_due="Alarms whose moment has come and that nobody has claimed yet.",
            alarms_overdue_seconds="How long the one that is due for longest has been due.",
        ),
        rows=f"""select kind, count(*), {SECONDS_SINCE.format("min(due_at)")} from shop_alarm
                  where due_at <= statement_timestamp() group by kind""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            (),
            queue_messages="Messages of the task queue that no worker holds.",
            queue_age_seconds="How long the oldest of them has been waiting.",
        ),
        rows=f"""select count(*), coalesce({SECONDS_SINCE.format("min(lock)")}, 0) from django_q_ormq
                  where lock <= statement_timestamp()""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("guardian",),
            guardian_silence_seconds="Since the guardian was last heard; +Inf when it was not heard for a day.",
            guardians="Copies of the guardian that were heard within 15 s.",
        ),
        rows=f"""select guardian, coalesce({SECONDS_SINCE.format("max(at)")}, 'infinity'::float8),
                        count(*) filter (where at > statement_timestamp() - interval '15 seconds')
                   from unnest(array['watch', 'cluster', 'scanner']) guardian
                   left join shop_heartbeat on split_part(name, ' ', 1) = guardian group by guardian""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            (),
            business_events_unpublished="Business events that no other system can see yet.",
            business_events_unpublished_age_seconds="How long the oldest of them has been waiting.",
        ),
        rows=f"""select count(*), coalesce({SECONDS_SINCE.format("min(at)")}, 0) from shop_businessevent
                  where position is null""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("endpoint",),
            webhook_endpoint_off="1 for an endpoint that is switched off, else 0.",
            webhook_endpoint_failing_seconds="How long the endpoint has taken nothing, though it was tried; 0 when all is well, or it is off.",
            webhook_deliveries_waiting="Deliveries that the endpoint has not taken yet.",
            webhook_deliveries_dead="Deliveries that were given up; each endpoint's have a case.",
        ),
        rows=f"""select number, (off_at is not null)::int,
                        coalesce(case when off_at is null then {SECONDS_SINCE.format("failing_since")} end, 0),
                        (select count(*) from shop_delivery d where d.endpoint_id = e.id and d.status = 'WAITING'),
                        (select count(*) from shop_delivery d where d.endpoint_id = e.id and d.status = 'DEAD')
                   from shop_endpoint e where removed_at is null""",  # noqa: S608
    ),
    Reading(
        # One event that is refused again and again holds back its own stream only: told apart from an endpoint that is behind.
        metrics=gauges(
            ("endpoint",),
            webhook_untried_age_seconds="Age of the oldest delivery that could go now and was never tried; 0 for none.",
            webhook_refused_age_seconds="Since the first try of the delivery that was tried in vain for longest; 0 for none.",
        ),
        rows=f"""
            select e.number,
                   coalesce({SECONDS_SINCE.format("min(head.created_at) filter (where head.tries = 0)")}, 0),
                   coalesce({SECONDS_SINCE.format("min(head.first_tried_at) filter (where head.tries > 0)")}, 0)
              from shop_endpoint e left join lateral (
                   select distinct on (event.stream) d.created_at, d.tries, d.first_tried_at
                     from (select * from shop_delivery where endpoint_id = e.id and status = 'WAITING'
                            order by id limit {HEADS_AMONG}) d
                     join shop_businessevent event on event.id = d.event_id
                    order by event.stream, event.sequence) head on true
             where e.removed_at is null and e.off_at is null group by e.number""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            (),
            api_keys="API keys that let somebody in.",
            api_key_ends_in_seconds="Until the next of those ends that were used within thirty days; below zero when one has ended.",
        ),
        rows="""select count(*) filter (where coalesce(expires_at > statement_timestamp(), true)),
                       extract(epoch from min(expires_at) filter (
                       where last_used_at > statement_timestamp() - interval '30 days') - statement_timestamp())
                  from shop_apikey where revoked_at is null""",
    ),
)

TALLIES = (
    Tallied(
        metric=Metric(
            name="nodrop_business_events_total",
            help="Business events written, by type.",
            kind="counter",
            labels=("type",),
        ),
        table="shop_businessevent",
        at="at",
        labels=("one.type",),
    ),
    Tallied(
        metric=Metric(
            name="nodrop_webhook_deliveries_total",
            help="Deliveries made for endpoints: without the waiting and the dead they were taken.",
            kind="counter",
            labels=("endpoint",),
        ),
        table="shop_delivery",
        at="created_at",
        labels=("endpoint.number",),
        joined="join shop_endpoint endpoint on endpoint.id = one.endpoint_id",
    ),
)
