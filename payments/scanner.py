"""The scheduled scanner: the spare wheel. It does the same claim pass as `watch`, and looks for what nobody watches.

Something unfinished without an alarm would be a bug of ours; it gets its alarm back and a case that says so.
"""

import time

from django.db import connection

from orders.moves import EXPIRE_ORDER
from payments.callbacks import TAKE_CALLBACK, forget_old, take_late_matches
from payments.cases import close_healed, open_case
from payments.mailing import MAIL_RECEIPT
from payments.models import Case
from payments.moves import CAPTURE_PAYMENT, MAIL_RETURNED, QUERY_PAYMENT, RECHECK_PAYMENT, SEND_REFUND
from payments.settling import FOLLOW_UP
from payments.statements import promise_statements
from shop.alarms import claim_due, handle, set_alarm
from shop.idempotency import forget_old as forget_old_keys
from shop.scraping import keep_tallies
from shop.transactions import transactional
from shop.webhooks.forgetting import forget_old as forget_old_events
from shop.webhooks.publishing import DELIVER, publish_if_any

# A pass ends itself before the queue's time limit of 20 s, which the last alarm, some 8 s of it, must not cross.
PASS_S = 10
# A transaction that is just being committed is not a bug.
SETTLED_FOR = "1 minute"

UNFINISHED = f"""
select kind, subject, last_at from (
    select '{QUERY_PAYMENT}' as kind, number as subject, created_at, dead_at as last_at
      from payments_payment where status = 'PAYING'
    union all select '{CAPTURE_PAYMENT}', number, created_at, null
      from payments_payment where status = 'PAYING' and capture_asked_at is not null and superseded_at is null
    union all select '{RECHECK_PAYMENT}', number, created_at, dead_at from payments_payment
     where (status = 'CLOSED' or status = 'FAILED' and action is not null) and dead_at > now()
    union all select '{SEND_REFUND}', number, created_at, null from payments_refund where status = 'REFUNDING'
    union all select '{MAIL_RETURNED}', number, ended_at, null from payments_refund where not is_told
    union all select '{EXPIRE_ORDER}', number, created_at, null from orders_order where status = 'UNPAID'
    union all select '{FOLLOW_UP}', placed.number, receipt.created_at, null
      from payments_receipt receipt join orders_order placed on placed.id = receipt.order_id
     where receipt.receipt_class = 'settled' and receipt.mailed_at is null and not exists (
           select from shop_alarm a where a.kind = '{MAIL_RECEIPT}' and a.subject = placed.number)
    union all select '{TAKE_CALLBACK}', id::text, received_at, null from payments_callback where taken_at is null
    union all select '{DELIVER}', endpoint.id || ':' || event.stream, min(delivery.created_at), null
      from shop_delivery delivery join shop_businessevent event on event.id = delivery.event_id
      join shop_endpoint endpoint on endpoint.id = delivery.endpoint_id
     where delivery.status = 'WAITING' and endpoint.off_at is null group by endpoint.id, event.stream
) unfinished
where created_at < now() - interval '{SETTLED_FOR}'
  and not exists (select from shop_alarm a where a.kind = unfinished.kind and a.subject = unfinished.subject)
"""  # noqa: S608 - our own constants


def scan_payments() -> dict[str, int]:
    """One pass: give what has none an alarm and a case, publish and tidy, then handle due alarms, one at a time, for some
    seconds.

    Returns how many were handled, failed, found without an alarm, matched late, published and forgotten.
    """
    counts = {"handled": 0, "failed": 0, "without_alarm": len(find_forgotten())}
    counts |= {"matched_late": take_late_matches(), "published": sum(iter(publish_if_any, 0))}
    counts["forgotten"] = forget_old() + forget_old_keys() + forget_old_events()
    close_healed()
    promise_statements()
    keep_tallies()
    give_up = time.monotonic() + PASS_S
    while time.monotonic() < give_up and (claims := claim_due(1)):
        counts["handled" if handle(claims[0]) else "failed"] += 1
    return counts


@transactional
def find_forgotten() -> list[tuple[str, str]]:
    """The (kind, subject) of everything unfinished that nobody watched; each is watched again and has a case."""
    with connection.cursor() as cursor:
        cursor.execute(UNFINISHED)
        forgotten = cursor.fetchall()
    for kind, subject, last_at in forgotten:
        set_alarm(kind, subject, last_at=last_at)
        open_case(Case.Kind.NO_ALARM, subject, order=None, evidence={"kind": kind})
    return [(kind, subject) for kind, subject, _ in forgotten]
