"""Forgetting what other systems were told long ago, always from the beginning of the feed on.

So the feed knows with one number, the horizon, whether a reader has missed anything. The last event of each stream stays
where it is, because the next one is counted from it.
"""

from django.conf import settings
from django.db import connection

from shop.transactions import transactional

BATCH = 1000
BEGIN = "insert into shop_horizon (id, forgotten_to) values (1, 0) on conflict do nothing"
# Two who forget go one after the other.
LOCK = "select forgotten_to from shop_horizon for update"
# As far as everything is old, and no living endpoint has still to be told. What was taken is never sent again, and nothing
# published gets another delivery: so what may be forgotten stays so, and no row of it needs a lock.
FIND = """
with eldest as (
    select id, position, at from shop_businessevent where position > %(horizon)s order by position limit %(batch)s
), kept as (
    select min(position) as first from eldest
     where at >= statement_timestamp() - %(days)s * interval '1 day'
        or exists (select from shop_delivery delivery join shop_endpoint endpoint on endpoint.id = delivery.endpoint_id
                    where delivery.event_id = eldest.id and delivery.status <> 'TAKEN' and endpoint.removed_at is null)
)
select coalesce(max(position), %(horizon)s) from eldest, kept where kept.first is null or position < kept.first
"""
FORGET_DELIVERIES = """
delete from shop_delivery where event_id in (
    select id from shop_businessevent where position > %(horizon)s and position <= %(to)s)
"""
# Also what an earlier pass had to leave as the last of its stream, once it is the last no more.
FORGET = """
delete from shop_businessevent event
 where position <= %(to)s
   and stream in (select stream from shop_businessevent where position > %(horizon)s and position <= %(to)s)
   and exists (select from shop_businessevent later where later.stream = event.stream and later.sequence > event.sequence)
"""
MOVE = "update shop_horizon set forgotten_to = %(to)s"


@transactional
def forget_old() -> int:
    """Forget a batch of events that are older than the settings say. Returns how many rows of events are gone."""
    with connection.cursor() as cursor:
        cursor.execute(BEGIN)
        horizon = cursor.execute(LOCK).fetchone()[0]
        facts = {"horizon": horizon, "days": settings.EVENTS_KEPT_DAYS, "batch": BATCH}
        facts["to"] = cursor.execute(FIND, facts).fetchone()[0]
        if facts["to"] == horizon:
            return 0
        cursor.execute(FORGET_DELIVERIES, facts)
        cursor.execute(FORGET, facts)
        gone: int = cursor.rowcount
        cursor.execute(MOVE, facts)
    return gone
