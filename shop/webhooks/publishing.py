"""Publishing: business events that were committed get their places in the feed, and each subscriber its delivery.

Transactions commit in another order than they began in, so nobody could read a feed by the order of ids without missing
what commits later. One publisher at a time gives out positions; who has read up to one has read everything before it.
"""

from typing import Any

from django.db import connection

from shop.models import BusinessEvent
from shop.transactions import transactional

# The kind of alarm that delivers what waits for one endpoint in one stream; its subject is "endpoint's id:stream".
DELIVER = "deliver"
BATCH = 1000
# Any number will do, as long as nothing else of the installation uses it.
PUBLISHING_LOCK = 0x6E657773
TRY_LOCK = "select pg_try_advisory_xact_lock(%s)"
LOCK = "select pg_advisory_xact_lock(%s)"
LAST = "select coalesce(max(position), 0) from shop_businessevent"
# An alarm that is there already keeps its time: the stream may be waiting for an endpoint that fails. Its row is locked
# all the same, so that whoever is just about to remove it, under its lock, sees the new delivery first.
# That an endpoint is in trouble stands in the feed and is sent to nobody: what fails must not make more to be sent.
PUBLISH = """
with news as (
    select id, row_number() over (order by id) as nth
      from (select id from shop_businessevent where position is null order by id limit %(limit)s) unpublished
), placed as (
    update shop_businessevent event
       set position = news.nth + (select coalesce(max(position), 0) from shop_businessevent)
      from news where event.id = news.id
    returning event.id, event.stream, event.subject, event.type, event.position
), told as (
    insert into shop_delivery (endpoint_id, event_id, status, tries, answer)
    select endpoint.id, placed.id, 'WAITING', 0, ''
      from placed join shop_endpoint endpoint
        on endpoint.removed_at is null and endpoint.since_position < placed.position
       and (endpoint.types = '[]' or endpoint.types ? placed.type)
     where not exists (select from shop_endpoint about where about.number = placed.subject)
     order by placed.position, endpoint.id
    returning endpoint_id, event_id
), promised as (
    insert into shop_alarm (kind, subject, due_at, attempts)
    select distinct %(kind)s::text, told.endpoint_id || ':' || placed.stream, statement_timestamp(), 0
      from told join placed on placed.id = told.event_id
     order by 2
        on conflict (kind, subject) do update set due_at = shop_alarm.due_at
)
select count(*) from placed
"""


@transactional
def publish(limit: int = BATCH) -> int:
    """Publish up to `limit` events, the oldest first, and set an alarm for each endpoint and stream that has news.

    Returns how many; 0 also while somebody else is at it. An endpoint that is switched off has its deliveries and alarms
    too: who delivers decides, under the alarm's lock. Joins an open transaction or makes its own.
    """
    if not _ask(TRY_LOCK, [PUBLISHING_LOCK]):
        return 0
    published: int = _ask(PUBLISH, {"limit": limit, "kind": DELIVER})
    return published


def publish_if_any() -> int:
    """The same, at the price of one look at an index while there is nothing to publish."""
    return publish() if BusinessEvent.objects.filter(position__isnull=True).exists() else 0


def hold_publishing() -> int:
    """Let nobody publish until the end of the transaction. Returns the last position, from which a new endpoint begins."""
    _ask(LOCK, [PUBLISHING_LOCK])
    last: int = _ask(LAST)
    return last


def _ask(sql: str, values: Any = None) -> Any:
    """The one value that the statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]
