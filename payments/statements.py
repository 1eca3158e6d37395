"""Taking in a channel's statement: fetched to a file, read line by line, copied into entries. Whole, or not at all.

The same file twice is one statement; another file for the same day is the restated one and counts from then on, but never
a person's in place of the channel's own. Nothing is compared here, and the file itself is not kept: its digest is.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from io import BytesIO
from subprocess import TimeoutExpired
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from payments.cases import close_cases, open_case
from payments.channels.base import BadStatement, Channel, NotReady, StatementLine
from payments.channels.registry import CLASSES, UnknownChannel, get_channel
from payments.models import Case, Entry, Payment, Receipt, Statement
from payments.statuses import PaymentStatus
from shop import processes
from shop.alarms import Claim, finish, postpone, set_alarm
from shop.models import Alarm
from shop.sentences import say
from shop.transactions import transactional

log = structlog.get_logger("nodrop.statements")

FETCH_STATEMENT = "fetch_statement"
# A statement that has not come is asked for so long. What a channel has restated by the next day is taken in as well.
PATIENCE = timedelta(days=3)
# After a longer time in which nobody looked, days with money are asked for so far back.
LOOK_BACK = timedelta(days=14)
AGAIN_AFTER = timedelta(hours=20)
TIME_LIMIT_S = 3600.0
PROGRESS_EVERY = 20_000
# A million lines take longer than anything that a shopper waits for.
LIMITS = "set local statement_timeout = '30min'; set local idle_in_transaction_session_timeout = '10min'"
ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtext(%s))"
COPY = """
copy payments_entry (statement_id, place, kind, number, channel_number, amount, currency, fee, payment_number,
                     trade_number, at, code) from stdin
"""
COLUMNS = (
    "number",
    "channel_number",
    "amount_minor",
    "currency",
    "fee_minor",
    "payment_number",
    "trade_number",
)
# What a column takes: of text so many characters, of an amount what eight bytes hold.
WIDTHS = tuple(
    (field.attname, field.max_length) for field in Entry._meta.concrete_fields if field.max_length is not None
)
AMOUNTS = ("amount_minor", "fee_minor")
MOST_MINOR = 2**63 - 1

Progress = Callable[[int], None]
"""Told every some thousand lines how many were read."""


class NotReconciled(Exception):
    """The process that reconciles a day broke off, or ended without having compared what it took in."""


def _be_quiet(lines: int) -> None: ...


# ---- taking in ---------------------------------------------------------------------------------------------------


def fetch_statement(channel: str, day: date, *, progress: Progress = _be_quiet) -> Statement:
    """Fetch and take in the channel's statement of a day of its calendar. Never inside a transaction.

    Raises UnknownChannel, NotReady, Unreachable, Unanswered, Refused or BadStatement.
    """
    adapter = get_channel(channel)
    if not is_over(adapter, day):
        raise NotReady(f"{day} is not over in the channel's calendar", code="not_over")
    with TemporaryFile() as file:
        adapter.fetch_statement(day, file)
        return _take(adapter, day, file, origin=Statement.Origin.FETCHED, given_by="", progress=progress)


def take_statement(
    channel: str, day: date, file: BinaryIO, *, given_by: str, progress: Progress = _be_quiet
) -> Statement:
    """Take in a statement that a person has downloaded. `file` must be seekable.

    Raises UnknownChannel; BadStatement also while the day is not over, and once the channel's own is here.
    """
    adapter = get_channel(channel)
    if not is_over(adapter, day):
        raise BadStatement(say(_("%(day)s is not over in the channel's calendar"), day=day))
    return _take(adapter, day, file, origin=Statement.Origin.FILE, given_by=given_by, progress=progress)


def current_statement(channel: str, day: date) -> Statement | None:
    """The one that counts, if any has come."""
    return Statement.objects.filter(channel=channel, day=day, is_current=True).first()


def is_over(channel: Channel | type[Channel], day: date) -> bool:
    """Whether that day of the channel's calendar has ended: before, no statement can be whole."""
    return channel.statement_span(day)[1] <= timezone.now()


def _take(
    adapter: Channel,
    day: date,
    file: BinaryIO,
    *,
    origin: Statement.Origin,
    given_by: str,
    progress: Progress,
) -> Statement:
    file.seek(0)
    digest = hashlib.file_digest(cast("BytesIO", file), "sha256").hexdigest()
    new = Statement(
        channel=adapter.name,
        day=day,
        digest=digest,
        origin=origin,
        given_by=given_by,
        is_current=True,
        entries=0,
    )
    statement = _write(adapter, new, file, progress)
    log.info(
        "statement", channel=adapter.name, day=str(day), entries=statement.entries, is_new=statement is new
    )
    return statement


@transactional
def _write(adapter: Channel, new: Statement, file: BinaryIO, progress: Progress) -> Statement:
    with connection.cursor() as cursor:
        cursor.execute(LIMITS)
        cursor.execute(ONE_AT_A_TIME, [f"statement {new.channel} {new.day}"])
    same_day = Statement.objects.filter(channel=new.channel, day=new.day)
    known = same_day.filter(digest=new.digest).first()
    if new.origin == Statement.Origin.FILE and same_day.filter(origin=Statement.Origin.FETCHED).exists():
        if known is not None and known.is_current:
            return known
        raise BadStatement(_("the channel's own statement of this day is here already"))
    if known is not None:
        return _confirm(known, new)
    same_day.update(is_current=False)
    new.pk = None  # of a try that was rolled back
    new.save()
    file.seek(0)
    new.entries = _copy(new, adapter.read_statement(file), progress)
    new.save(update_fields=["entries"])
    _check_day(adapter, new)
    close_cases(Case.Kind.BOOKS, _subject(new.channel, new.day), resolution="the statement has come")
    return new


def _confirm(known: Statement, again: Statement) -> Statement:
    """The same file once more: it counts, and what a person had given is the channel's own once the channel gives it too."""
    Statement.objects.filter(channel=known.channel, day=known.day).exclude(pk=known.pk).update(
        is_current=False
    )
    known.is_current, known.read_at = True, Now()  # the clock of `compared_at`
    if again.origin == Statement.Origin.FETCHED:
        known.origin, known.given_by = again.origin, ""
    known.save(update_fields=["is_current", "read_at", "origin", "given_by"])
    known.refresh_from_db(fields=["read_at"])
    return known


def _copy(statement: Statement, lines: Iterator[StatementLine], progress: Progress) -> int:
    """Stream the lines into the table. Returns how many. Raises BadStatement, also behind the last line."""
    place = 0
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for place, line in enumerate(lines, start=1):
            _check_line(place, line)
            words = [getattr(line, name) for name in COLUMNS]
            copy.write_row((statement.pk, place, str(line.kind), *words, line.at, line.code))
            if place % PROGRESS_EVERY == 0:
                progress(place)
    return place


def _check_line(place: int, line: StatementLine) -> None:
    """What no column can hold is refused with its name, not with an error of the database."""
    for name, width in WIDTHS:
        text = getattr(line, name)
        if len(text) > width or "\0" in text:
            words = _(
                "trade %(place)d: its %(name)s is longer than %(width)d characters or holds a zero byte"
            )
            raise BadStatement(say(words, place=place, name=name, width=width))
    for name in AMOUNTS:
        if abs(getattr(line, name)) > MOST_MINOR:
            raise BadStatement(
                say(_("trade %(place)d: its %(name)s is larger than any amount"), place=place, name=name)
            )


def _check_day(adapter: Channel, statement: Statement) -> None:
    """A file of another day is refused. Around midnight channels book a trade on the next day, so most of it must fit."""
    start, end = adapter.statement_span(statement.day)
    entries = Entry.objects.filter(statement=statement, at__isnull=False)
    counts = entries.aggregate(all=Count("id"), within=Count("id", filter=Q(at__gte=start, at__lt=end)))
    if counts["within"] * 2 < counts["all"]:
        raise BadStatement(
            say(_("it is of another day: most of its lines are not of %(day)s"), day=statement.day)
        )


# ---- every night -------------------------------------------------------------------------------------------------


@transactional
def promise_statements() -> int:
    """Have each channel's own statements fetched when they should be there, of the last days on which it was in use.

    A day that is longer ago was promised then, unless nobody looked: it is promised once, if it can hold money. Returns how
    many.
    """
    days = [(adapter, day) for name in CLASSES if (adapter := _find(name)) for day in _list_days(adapter)]
    known = _list_known(since=min((day for _, day in days), default=date.max))
    wanted = [
        (adapter, day)
        for adapter, day in days
        if _subject(adapter.name, day) not in known
        and (_is_recent(adapter, day) or _was_missed(adapter, day))
    ]
    for adapter, day in wanted:
        ready_at = adapter.statement_ready_at(day)
        last_at = max(ready_at, timezone.now()) + PATIENCE
        set_alarm(FETCH_STATEMENT, _subject(adapter.name, day), at=ready_at, last_at=last_at)
    return len(wanted)


def _list_known(*, since: date) -> set[str]:
    """The days whose own statement has come or is promised. What a person has handed in is asked for all the same."""
    fetched = Statement.objects.filter(day__gte=since, is_current=True, origin=Statement.Origin.FETCHED)
    came = {_subject(channel, day) for channel, day in fetched.values_list("channel", "day")}
    return came.union(Alarm.objects.filter(kind=FETCH_STATEMENT).values_list("subject", flat=True))


def _is_recent(adapter: Channel, day: date) -> bool:
    return day >= datetime.now(adapter.calendar).date() - PATIENCE


def _was_missed(adapter: Channel, day: date) -> bool:
    """Whether a day of long ago was never asked for: asking in vain has left a case, unless a person's file was there."""
    told = Case.objects.filter(kind=Case.Kind.BOOKS, subject=_subject(adapter.name, day))
    is_here = current_statement(adapter.name, day) is not None
    return not is_here and not told.exists() and _has_money(adapter, day)


def ask_statement(channel: str, day: date) -> None:
    """Have the statement fetched at once, also if one has come, then compared and repaired like at night.

    Raises UnknownChannel.
    """
    get_channel(channel)
    set_alarm(FETCH_STATEMENT, _subject(channel, day), in_s=0, last_at=timezone.now() + PATIENCE)


def fetch_by_alarm(claim: Claim) -> None:
    """Fetch, compare and repair in a process of its own, whose memory and time are no thread's of `watch`.

    Raises NotReconciled, so that it is tried again and people are told. A channel that is not configured any more is nobody's.
    """
    channel, _, text = claim.subject.partition(":")
    day = date.fromisoformat(text)
    if settings.CHANNELS.get(channel) is None:
        finish(claim)
        return
    before = current_statement(channel, day)
    _reconcile(channel, text)
    now = current_statement(channel, day)
    _check_compared(now)
    if not _came(before, now):
        if claim.is_last:
            _give_up(claim, channel, day)
    elif claim.is_last or _is_final(channel, day):
        finish(claim)
    else:
        postpone(FETCH_STATEMENT, claim.subject, by_s=int(AGAIN_AFTER.total_seconds()))


def _came(before: Statement | None, now: Statement | None) -> bool:
    """Whether the channel has given it: a file that somebody hands in meanwhile is not the channel's own."""
    if now is None or now.origin != Statement.Origin.FETCHED:
        return False
    return before is None or now.read_at != before.read_at


def _check_compared(statement: Statement | None) -> None:
    if statement is None:
        return
    if statement.compared_at is None or statement.compared_at < statement.read_at:
        raise NotReconciled(f"the statement of {statement} was taken in and not compared")


def _is_final(channel: str, day: date) -> bool:
    """Whether the channel has had a day to restate it."""
    adapter = _find(channel)
    return adapter is None or timezone.now() - adapter.statement_ready_at(day) > AGAIN_AFTER


def _reconcile(channel: str, day: str) -> None:
    """Run the command. Raises NotReconciled when it ended with neither 0 nor 1, or not in time."""
    manage = str(settings.BASE_DIR / "manage.py")
    words = [sys.executable, manage, "reconcile", "--channel", channel, "--date", day, "--fix", "--quiet"]
    process = processes.start_group(words)
    try:
        status = process.wait(TIME_LIMIT_S)
    except TimeoutExpired as error:
        raise NotReconciled(f"reconciling took longer than {TIME_LIMIT_S:.0f} s") from error
    finally:
        processes.end_group(process, grace_s=1)
    if status not in (0, 1):
        raise NotReconciled(f"reconciling ended with {status}")


@transactional
def _give_up(claim: Claim, channel: str, day: date) -> None:
    """Nothing has come for days. A person should know, unless there is nothing that it could tell."""
    adapter = _find(channel)
    if adapter is not None and current_statement(channel, day) is None and _has_money(adapter, day):
        evidence = {"channel": channel, "day": str(day), "why": "its statement has not come"}
        open_case(Case.Kind.BOOKS, claim.subject, order=None, evidence=evidence)
    finish(claim)


def _has_money(adapter: Channel, day: date) -> bool:
    """Whether the channel took money that day, or may have: of an attempt that is open still nobody knows."""
    start, end = adapter.statement_span(day)
    attempts = Payment.objects.filter(channel=adapter.name, created_at__gte=start, created_at__lt=end)
    if attempts.filter(status=PaymentStatus.PAYING).exists():
        return True
    receipts = Receipt.objects.filter(channel=adapter.name, created_at__gte=start)
    return receipts.filter(Q(created_at__lt=end) | Q(paid_at__gte=start, paid_at__lt=end)).exists()


def _find(name: str) -> Channel | None:
    """The channel, if it is configured, can be built, and has statements."""
    try:
        adapter = get_channel(name)
    except UnknownChannel:
        return None
    return adapter if adapter.has_statement else None


def _list_days(adapter: Channel) -> list[date]:
    """The last days that are over in the channel's calendar, none before its first payment."""
    first = Payment.objects.filter(channel=adapter.name).order_by("id").first()
    if first is None:
        return []
    today = datetime.now(adapter.calendar).date()
    since = max(first.created_at.astimezone(adapter.calendar).date(), today - LOOK_BACK)
    return [since + timedelta(days=number) for number in range((today - since).days)]


def _subject(channel: str, day: date) -> str:
    return f"{channel}:{day.isoformat()}"
