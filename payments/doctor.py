"""The doctor: is everything that money depends on as it must be? Configuration, keys, clocks, reachability, guardians.

It asks and tells; it changes nothing. A channel is only greeted, with no key and no money in the call.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Exists, OuterRef, Q
from django_q.models import Schedule

from payments.channels.base import ChannelError
from payments.channels.registry import CLASSES, BrokenChannel, get_channel, title_of
from payments.channels.wire import Wire, is_safe_url
from payments.models import Payment
from payments.moves import RECHECK_PAYMENT
from payments.statuses import PaymentStatus
from shop.beats import CLUSTER, shortest_silence
from shop.clock import read_now
from shop.keyring import is_alive, list_ending, list_orphaned
from shop.models import Alarm
from shop.webhooks.signing import list_unsealable

# Signatures of most channels are good for five minutes; a clock that is off by more than this is on its way there.
MOST_SKEW = timedelta(seconds=30)
# `watch` beats every few seconds.
MOST_SILENCE = timedelta(seconds=15)
# A schedule that should have run so long ago is not run by anybody.
MOST_LATENESS = timedelta(minutes=5)


class Verdict(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    subject: str
    verdict: Verdict
    detail: str
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding for programs."""
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Everything there is to look at, one after the other. Never inside a transaction."""
    yield from _examine_configuration()
    yield from _examine_database()
    yield from _examine_redis()
    yield from _examine_guardians()
    yield from _examine_keys()
    yield from _examine_endpoints()
    for name in CLASSES:
        yield from _examine_channel(name)


def _examine_configuration() -> Iterator[Finding]:
    found = [
        message for message in checks.run_checks(include_deployment_checks=True) if not message.is_silenced()
    ]
    for message in found:
        verdict = Verdict.WRONG if message.is_serious() else Verdict.WARNING
        yield Finding("configuration", verdict, f"{message.id}: {message.msg}", message.hint or "")
    if not found:
        yield Finding("configuration", Verdict.FINE, "every check passes")


def _examine_database() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{migration.app_label} {migration.name}" for migration, _ in missing)
        yield Finding(
            "postgresql", Verdict.WRONG, f"migrations are missing: {names}", "Run manage.py migrate."
        )
    else:
        yield Finding("postgresql", Verdict.FINE, "it answers, and every migration is applied")
    yield _compare_clocks("clock of postgresql", read_now())


def _compare_clocks(subject: str, theirs: datetime) -> Finding:
    skew = theirs - datetime.now(UTC)
    if abs(skew) > MOST_SKEW:
        detail = f"differs from this machine's by {abs(skew).total_seconds():.0f} s"
        hint = (
            "Run a time service on both: signatures are refused by their age, and orders expire by the clock."
        )
        return Finding(subject, Verdict.WRONG, detail, hint)
    return Finding(subject, Verdict.FINE, "agrees with this machine's")


def _examine_redis() -> Iterator[Finding]:
    cache.set("doctor", 1, 5)  # a failing Redis is ignored by the cache: read back what was written
    if cache.get("doctor"):
        yield Finding("redis", Verdict.FINE, "it answers")
    else:
        hint = "The shop sells on without it, but every page asks PostgreSQL. Look at REDIS_URL."
        yield Finding("redis", Verdict.WARNING, "it does not answer", hint)


def _examine_guardians() -> Iterator[Finding]:
    for name, what in (
        ("watch", "Start manage.py watch: nothing is asked or refunded in time without it."),
        (CLUSTER, "watch starts it again by itself; look at its log."),
    ):
        silence = shortest_silence(name)
        if silence is None or silence > MOST_SILENCE:
            heard = (
                "was never heard of" if silence is None else f"is silent for {silence.total_seconds():.0f} s"
            )
            yield Finding(name, Verdict.WRONG, heard, what)
        else:
            yield Finding(name, Verdict.FINE, "it is alive")
    for name in settings.SCHEDULES:
        yield _examine_schedule(name)


def _examine_schedule(name: str) -> Finding:
    schedule = Schedule.objects.filter(name=name).first()
    if schedule is None:
        return Finding(f"schedule {name}", Verdict.WRONG, "it is not there", "watch makes it when it starts.")
    if schedule.next_run is None or read_now() - schedule.next_run > MOST_LATENESS:
        return Finding(
            f"schedule {name}", Verdict.WRONG, "it has not run when it should", "Is the cluster alive?"
        )
    return Finding(f"schedule {name}", Verdict.FINE, f"runs next at {schedule.next_run.isoformat()}")


def _examine_keys() -> Iterator[Finding]:
    ending, orphaned = list_ending(), list_orphaned()
    for key in ending:
        word = "ends" if is_alive(key) else "has ended"
        detail = f"{key.name} ({key.number}) {word} at {key.expires_at.isoformat()}"
        hint = "Its system is shut out then. Make a new key in time; revoke one that nobody needs."
        yield Finding("api keys", Verdict.WARNING, detail, hint)
    for key in orphaned:
        detail = f"{key.name} ({key.number}) gives no money back: its owner may not do so themselves any more"
        yield Finding(
            "api keys", Verdict.WARNING, detail, "Make one with another owner, and revoke this one."
        )
    if not (ending or orphaned):
        yield Finding("api keys", Verdict.FINE, "none ends within 14 days")


def _examine_endpoints() -> Iterator[Finding]:
    for endpoint in (mute := list_unsealable()):
        detail = (
            f"{endpoint} ({endpoint.number}) is sent nothing: its secret was sealed with another SECRET_KEY"
        )
        hint = (
            "Put that one into SECRET_KEY_FALLBACKS and start anew; or change the secret, `webhooks rotate NUMBER"
            " --old-for 0`, and hand the new one to its receiver."
        )
        yield Finding("endpoints", Verdict.WRONG, detail, hint)
    if not mute:
        yield Finding("endpoints", Verdict.FINE, "what is sent to each can be signed")


def _examine_channel(name: str) -> Iterator[Finding]:
    configured = settings.CHANNELS.get(name)
    if configured is None:
        yield _examine_absent(name)
        return
    try:
        get_channel(name)
    except BrokenChannel as broken:
        yield _examine_broken(name, broken)
        return
    address = next((value for key, value in configured.items() if key.endswith("URL")), "")
    if not is_safe_url(address):
        return  # found by the checks
    try:
        reply = Wire(channel=name).send(
            "GET", _origin_of(address), headers={"User-Agent": "nodrop"}, operation="greet"
        )
    except ChannelError as error:
        yield Finding(
            name,
            Verdict.WRONG,
            f"cannot be reached: {error.code}",
            "Is the address right, and the way out open?",
        )
        return
    yield Finding(name, Verdict.FINE, "it can be reached")
    if told := reply.headers.get("date"):
        yield _compare_clocks(f"clock of {name}", _parse_date(told))


def _examine_broken(name: str, broken: BrokenChannel) -> Finding:
    detail = f"is not offered, for it cannot be used: {broken.reason}"
    if open_ones := _count_open(name):
        detail += f"; {open_ones} payments are open, and nobody can ask"
    return Finding(name, Verdict.WRONG, detail, "Mend its variables, then start web and watch anew.")


def _examine_absent(name: str) -> Finding:
    if open_ones := _count_open(name):
        hint = "Put its variables back: what was begun there may still be paid, and nobody can ask."
        return Finding(name, Verdict.WRONG, f"{open_ones} payments are open, but it is not configured", hint)
    return Finding(name, Verdict.FINE, f"{title_of(name)} is not configured and not offered")


def _count_open(name: str) -> int:
    """Those that the channel must still be asked about: they may be paid, or may have been when they were closed."""
    looked_at = Alarm.objects.filter(kind=RECHECK_PAYMENT, subject=OuterRef("number"))
    asked_about = Q(status=PaymentStatus.PAYING) | Q(Exists(looked_at))
    return Payment.objects.filter(asked_about, channel=name).count()


def _origin_of(address: str) -> str:
    """Scheme and host of the address at which the channel is called."""
    url = urlsplit(address)
    return f"{url.scheme}://{url.netloc}/"


def _parse_date(text: str) -> datetime:
    """The time of an HTTP header; now, where it is none: that says nothing about clocks."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
