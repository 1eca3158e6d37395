"""What came of a delivery, written down: the only place that changes a delivery's status, and how an endpoint fares.

Whatever a receiver said is a fact and is kept, also by who has lost the alarm meanwhile. Locks: alarm, delivery, endpoint.
"""

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

from shop.models import Delivery, Endpoint

# So many failures in a row, and the endpoint is given a rest; a single event that it refuses holds nothing up.
PATIENCE = 3
# A rest is a quarter of the time since it began to fail, within these.
SHORTEST_REST_S = 5
LONGEST_REST_S = 300
# Failures so far apart are no failing without a success in between: nothing was sent meanwhile.
FORGOTTEN_AFTER_S = 2 * 86_400
FAIL = """
update shop_endpoint failed
   set failing_since = began.at,
       failed_at = statement_timestamp(),
       failures = failures + 1,
       rests_until = case when failures + 1 >= %s then statement_timestamp() + least(greatest(
           (statement_timestamp() - began.at) / 4, %s * interval '1 second'), %s * interval '1 second') end
  from (select id, case when failing_since is null or failed_at < statement_timestamp() - %s * interval '1 second'
                        then statement_timestamp() else failing_since end as at
          from shop_endpoint where id = %s and url = %s for no key update) began
 where failed.id = began.id
"""


def note_taken(delivery_pk: int, *, answer: str) -> None:
    """The receiver has it, also one that had been given up."""
    untaken = Delivery.objects.filter(pk=delivery_pk).exclude(status=Delivery.Status.TAKEN)
    untaken.update(
        status=Delivery.Status.TAKEN,
        tries=F("tries") + 1,
        first_tried_at=Coalesce("first_tried_at", Now()),
        tried_at=Now(),
        ended_at=Now(),
        answer=answer,
    )


def note_refused(delivery_pk: int, *, answer: str) -> None:
    """It was tried, and is still to be taken."""
    waiting = Delivery.objects.filter(pk=delivery_pk, status=Delivery.Status.WAITING)
    waiting.update(
        tries=F("tries") + 1,
        first_tried_at=Coalesce("first_tried_at", Now()),
        tried_at=Now(),
        answer=answer,
    )


def give_up(delivery_pk: int) -> bool:
    """Nothing more is tried by itself. Whether it was waiting until now."""
    waiting = Delivery.objects.filter(pk=delivery_pk, status=Delivery.Status.WAITING)
    return bool(waiting.update(status=Delivery.Status.DEAD, ended_at=Now()))


def begin_again(deliveries: QuerySet[Delivery]) -> int:
    """Let what was given up wait again, with all its tries before it. How many."""
    dead = Delivery.objects.filter(
        pk__in=list(deliveries.values_list("pk", flat=True)), status=Delivery.Status.DEAD
    )
    return dead.update(
        status=Delivery.Status.WAITING, tries=0, first_tried_at=None, tried_at=None, ended_at=None
    )


def forget_tries(waiting: QuerySet[Delivery]) -> None:
    """What waits goes at once, with all its tries before it."""
    tried = waiting.filter(status=Delivery.Status.WAITING, tries__gt=0)
    tried.update(tries=0, first_tried_at=None, tried_at=None)


def end_all(endpoint: Endpoint) -> None:
    """Nothing is kept for it any more."""
    waiting = Delivery.objects.filter(endpoint=endpoint, status=Delivery.Status.WAITING)
    waiting.update(status=Delivery.Status.DEAD, ended_at=Now(), answer="removed")


# ---- the endpoint ------------------------------------------------------------------------------------------------


def note_well(endpoint_pk: int) -> bool:
    """It took something. Whether it had been given a rest, so that others wait for it."""
    failing = Endpoint.objects.filter(pk=endpoint_pk, failing_since__isnull=False)
    rested = failing.filter(rests_until__isnull=False).update(well_since=Now())
    failing.update(failing_since=None, failures=0, rests_until=None)
    return bool(rested)


def note_failure(endpoint_pk: int, *, url: str) -> bool:
    """It did not take something: after some in a row it is left alone for a while. False, and nothing, when it has moved."""
    with connection.cursor() as cursor:
        cursor.execute(FAIL, [PATIENCE, SHORTEST_REST_S, LONGEST_REST_S, FORGOTTEN_AFTER_S, endpoint_pk, url])
        return bool(cursor.rowcount)
