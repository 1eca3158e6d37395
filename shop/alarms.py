"""Alarms: the truth about everything unfinished. Each owns one row that says when to look at it again.

Any number of processes may claim at once; losing a claimer loses nothing, because claiming only moves the due time on.
Nothing here knows what an alarm is about: kinds are registered with the dotted name of their handler.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest, Least, Now
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.brokers.orm import ORM
from django_q.tasks import async_task

from shop.models import Alarm
from shop.writes import write

log = structlog.get_logger("nodrop.alarms")

# After `last_at` a claimed alarm comes back after a minute, until its handler finishes or postpones it: the last try
# must not be lost with the process that made it.
AFTER_LAST_S = 60
# People are told of an alarm when it has failed so often without going well in between.
TELL_EVERY = 5
# Lanes: what strangers may keep waiting has claimers of its own, so that it never holds up an alarm about money.
MONEY = "money"
WEBHOOKS = "webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What an alarm of this kind does and when it comes back.

    `gaps_s` are the seconds from the first claim to the second, from the second to the third, …; the last for ever. What
    `is_long` takes more than some seconds: only `watch` does it, never a task of the cluster. `lane`: whose claimers do it;
    those of `WEBHOOKS` are threads of `watch` alone.
    """

    handler: str
    gaps_s: Sequence[int]
    is_long: bool = False
    lane: str = MONEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One try. `attempt` is the fencing token: a later claim has a higher one. `is_last` once `last_at` has passed.

    `due_at` is when the alarm comes back, unless somebody sets it anew. `failures`: how often its handler has failed since it
    last went well.
    """

    kind: str
    subject: str
    attempt: int
    is_last: bool
    due_at: datetime
    failures: int = 0

    @property
    def crowd(self) -> str:
        """What stands before a colon in the subject: alarms that have something in common, as the endpoint they call."""
        return self.subject.partition(":")[0]


_kinds: dict[str, Kind] = {}


def register(
    name: str, *, handler: str, gaps_s: Sequence[int], is_long: bool = False, lane: str = MONEY
) -> None:
    """Make a kind known, from an app's `ready()`. `handler` is a dotted name, called with a Claim; see Kind."""
    _kinds[name] = Kind(handler=handler, gaps_s=tuple(gaps_s), is_long=is_long, lane=lane)


def kinds() -> Mapping[str, Kind]:
    """Every kind that was registered, by name."""
    return MappingProxyType(_kinds)


# ---- setting and removing, always inside the caller's transaction ------------------------------------------------

SET = """
insert into shop_alarm (kind, subject, due_at, last_at, attempts)
values (%s, %s, coalesce(%s, statement_timestamp() + %s * interval '1 second'), %s, 0)
on conflict (kind, subject) do update set due_at = excluded.due_at, last_at = excluded.last_at
"""
REMOVE = "delete from shop_alarm where kind = any(%s) and subject = %s"
SEND = "insert into django_q_ormq (key, payload, lock) values (%s, %s, %s)"


def set_alarm(
    kind: str,
    subject: str,
    *,
    in_s: float | None = None,
    at: datetime | None = None,
    last_at: datetime | None = None,
) -> None:
    """Own one alarm for `subject`, due `at` or `in_s` seconds from the database's now. Replaces one that is there."""
    write(SET, kind, subject, at, in_s or 0, last_at, rows=[(Alarm, kind, subject)])


def remove_alarms(kinds: Sequence[str], subject: str) -> None:
    """The thing is finished."""
    write(REMOVE, list(kinds), subject, rows=[(Alarm, kind, subject) for kind in kinds])


def finish(claim: Claim) -> None:
    """The thing is finished as the claim found it: the alarm goes, unless it was set or claimed again since."""
    same = Alarm.objects.filter(kind=claim.kind, subject=claim.subject)
    same.filter(attempts=claim.attempt, due_at=claim.due_at).delete()


def is_latest(claim: Claim) -> bool:
    """Whether nobody has claimed the alarm since. While that is so it stays so to the end of the caller's transaction."""
    same = Alarm.objects.select_for_update().filter(kind=claim.kind, subject=claim.subject)
    return same.values_list("attempts", flat=True).first() == claim.attempt


def postpone(kind: str, subject: str, *, by_s: int) -> None:
    """Look again `by_s` seconds from now at the earliest, whatever the schedule says."""
    Alarm.objects.filter(kind=kind, subject=subject).update(due_at=Now() + timedelta(seconds=by_s))


def slow_down(kind: str, subject: str, *, to_s: int) -> None:
    """Look again `to_s` seconds from now at the earliest, or at the last moment if that is sooner."""
    later = Coalesce(Least(Now() + timedelta(seconds=to_s), F("last_at")), Now() + timedelta(seconds=to_s))
    Alarm.objects.filter(kind=kind, subject=subject, due_at__lt=later).update(due_at=later)


def hasten(kind: str, subject: str, *, in_s: float = 0) -> None:
    """Look again in `in_s` seconds at the latest, whatever the schedule says."""
    soon = Now() + timedelta(seconds=in_s)
    Alarm.objects.filter(kind=kind, subject=subject, due_at__gt=soon).update(due_at=soon, is_hurried=True)


def keep_pace(kind: str, subjects: Iterable[str], *, every_s: float) -> None:
    """Look again at the latest `every_s` seconds after the last try, whatever the schedule says."""
    at_pace = Coalesce("tried_at", "created_at") + timedelta(seconds=every_s)
    slower = Alarm.objects.filter(kind=kind, subject__in=subjects, due_at__gt=Greatest(at_pace, Now()))
    slower.update(due_at=Greatest(at_pace, Now()), is_hurried=True)


def send_message(kind: str, subject: str) -> None:
    """Also look at this alarm at once: a queue row in the caller's transaction. Losing or doubling it is harmless."""
    async_task("shop.alarms.handle_now", kind, subject, broker=_Broker())


class _Broker(ORM):
    """The stock broker, whose row travels together with the other writes of the transaction."""

    def enqueue(self, task: str) -> None:
        write(SEND, self.list_key, task, timezone.now())


# ---- claiming and handling ---------------------------------------------------------------------------------------

CLAIM = """
with schedule (kind, gaps) as (select * from jsonb_to_recordset(%(schedule)s::jsonb) as s (kind text, gaps int[])),
due as (
    select alarm.id, case when alarm.is_hurried then 0 else 1 end as step,
           s.gaps[least(greatest(alarm.place + case when alarm.is_hurried then 0 else 1 end, 1), cardinality(s.gaps))]
           * interval '1 second' as gap
      from shop_alarm alarm join schedule s using (kind)
     where {which}
     order by alarm.due_at limit %(limit)s
       for update of alarm skip locked
)
update shop_alarm alarm
   set attempts = alarm.attempts + 1,
       place = alarm.place + due.step,
       is_hurried = false,
       tried_at = statement_timestamp(),
       due_at = case when alarm.last_at is null then statement_timestamp() + due.gap
                     when alarm.last_at > statement_timestamp() then least(statement_timestamp() + due.gap, alarm.last_at)
                     else statement_timestamp() + %(after_last)s * interval '1 second' end
  from due
 where alarm.id = due.id
returning alarm.kind, alarm.subject, alarm.attempts, coalesce(alarm.last_at <= statement_timestamp(), false), alarm.due_at,
          alarm.failures
"""
CLAIMED = ("kind", "subject", "attempt", "is_last", "due_at", "failures")
DUE = CLAIM.format(which="alarm.due_at <= statement_timestamp()")
CROWD = "split_part(alarm.subject, ':', 1)"
OF_OTHERS = CLAIM.format(which=f"alarm.due_at <= statement_timestamp() and {CROWD} <> all(%(busy)s)")
OF_CROWD = CLAIM.format(
    which=f"alarm.due_at <= statement_timestamp() and alarm.kind = %(kind)s and {CROWD} = %(crowd)s"
)
ONE = CLAIM.format(which="alarm.kind = %(kind)s and alarm.subject = %(subject)s")
OVERDUE = CLAIM.format(
    which="alarm.kind = %(kind)s and alarm.subject = any(%(subjects)s)"
    " and alarm.due_at <= statement_timestamp() - %(by_s)s * interval '1 second'"
)


def claim_due(limit: int, *, with_long: bool = False) -> list[Claim]:
    """Claim up to `limit` due alarms about money, oldest first: one statement, which also sets each one's next moment."""
    return _claim(DUE, lane=MONEY, with_long=with_long, limit=limit)


def claim_webhook(*, busy: Sequence[str] = ()) -> Claim | None:
    """Claim the oldest due alarm of the lane of webhooks that belongs to none of the `busy` crowds."""
    claims = _claim(OF_OTHERS, lane=WEBHOOKS, limit=1, busy=list(busy))
    return claims[0] if claims else None


def claim_next(claim: Claim) -> Claim | None:
    """Claim the oldest due alarm of the same kind and crowd."""
    claims = _claim(OF_CROWD, limit=1, kind=claim.kind, crowd=claim.crowd)
    return claims[0] if claims else None


def handle_now(kind: str, subject: str) -> None:
    """Claim and handle this alarm before it is due. Nothing happens when it is gone or a rival holds it."""
    for claim in _claim(ONE, limit=1, kind=kind, subject=subject):
        handle(claim)


def handle_overdue(kind: str, subjects: Sequence[str], *, by_s: float) -> int:
    """Do the work of a guardian that does not come: handle those alarms that are `by_s` seconds overdue. How many."""
    claims = _claim(OVERDUE, limit=len(subjects), kind=kind, subjects=list(subjects), by_s=by_s)
    for claim in claims:
        handle(claim)
    return len(claims)


def handle(claim: Claim) -> bool:
    """Run the handler of one claim; False when it raised. The alarm stays, so that the work is tried again."""
    with structlog.contextvars.bound_contextvars(
        alarm=claim.kind, subject=claim.subject, attempt=claim.attempt
    ):
        try:
            import_string(_kinds[claim.kind].handler)(claim)
        except Exception as error:  # the edge of the loop: one poisoned alarm must not stop the others
            log.exception("alarm failed")
            _count_failure(claim, error)
            return False
        if claim.failures:
            Alarm.objects.filter(kind=claim.kind, subject=claim.subject).update(failures=0)
    return True


def _count_failure(claim: Claim, error: Exception) -> None:
    """Nothing ends in a log line: what fails at its last moment, or again and again, is somebody's to look at."""
    failures = claim.failures + 1
    try:
        Alarm.objects.filter(kind=claim.kind, subject=claim.subject).update(failures=failures)
        if claim.is_last or failures % TELL_EVERY == 0:
            import_string(settings.ALARM_FAILED)(claim, error)
    except DatabaseError:  # it will fail, and be told, again
        log.exception("failed alarm could not be told")


def _claim(statement: str, *, with_long: bool = False, lane: str = "", **params: Any) -> list[Claim]:
    kinds = [
        (name, kind)
        for name, kind in _kinds.items()
        if (with_long or not kind.is_long) and lane in ("", kind.lane)
    ]
    schedule = json.dumps([{"kind": name, "gaps": list(kind.gaps_s)} for name, kind in kinds])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"schedule": schedule, "after_last": AFTER_LAST_S, **params})
        return [Claim(**dict(zip(CLAIMED, row, strict=True))) for row in cursor.fetchall()]
