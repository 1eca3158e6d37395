"""`manage.py reconcile --channel C --date YYYY-MM-DD`: the channel's statement against our records."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from payments.channels.base import BadStatement, ChannelError, NotReady
from payments.channels.registry import UnknownChannel
from payments.management.actors import add_actor, read_actor
from payments.models import Difference, Statement
from payments.reconciling import compare_around
from payments.repairing import repair_around
from payments.statements import Progress, current_statement, fetch_statement, take_statement
from shop.money import for_people

LOCK = "select pg_try_advisory_lock(hashtext(%s))"
UNLOCK = "select pg_advisory_unlock(hashtext(%s))"
SHOWN = 50
SIDES = {
    "not_here": "not in our books",
    "amount": "of another amount",
    "doubled": "more than once",
    "other_day_here": "ours of another day",
    "other_day_there": "theirs on another day",
    "other_currency": "of another currency",
    "not_there": "not in their books",
}


class Command(BaseCommand):
    help = (
        "Fetch a channel's statement, or take the file given, and name every difference from our records."
        " Exit 1 when there are any, or when no statement has come."
    )
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--channel", required=True, metavar="C")
        parser.add_argument(
            "--date", required=True, type=_read_date, metavar="YYYY-MM-DD", help="of the channel's calendar"
        )
        parser.add_argument("--file", metavar="F", help="a statement that was downloaded by hand")
        parser.add_argument(
            "--fix", action="store_true", help="run the safe repairs; whatever is a person's gets a case"
        )
        add_actor(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--quiet", action="store_true", help="print no differences")

    def handle(self, *args: Any, **options: Any) -> None:
        channel, day, by = options["channel"], options["date"], read_actor(options)
        with _alone(f"reconcile {channel} {day}"):
            statement = _take_in(channel, day, options["file"], by)
            found = list(compare_around(statement))
            repaired: dict[str, int] = {}
            if options["fix"]:
                repaired = repair_around(channel, day, actor=by)
                statement.refresh_from_db()
                found = list(compare_around(statement))
        if options["json"]:
            print(json.dumps(_to_document(statement, found, repaired)))
        elif not options["quiet"]:
            _print_table(statement, found, repaired)
        if found:
            raise SystemExit(1)


def _read_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text} is not a date like 2026-11-21.", returncode=2) from error


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process for each channel and day. The lock is the session's: it ends with it, whatever kills it."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [name])
        if not cursor.fetchone()[0]:
            raise CommandError("Somebody reconciles this day just now.", returncode=1)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(UNLOCK, [name])


def _take_in(channel: str, day: date, path: str | None, by: str) -> Statement:
    try:
        if path is not None:
            with Path(path).open("rb") as file:
                return take_statement(channel, day, file, given_by=by, progress=_progress())
        return fetch_statement(channel, day, progress=_progress())
    except UnknownChannel as error:
        raise CommandError(f"{error}.", returncode=2) from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.", returncode=2) from error
    except BadStatement as error:
        raise CommandError(
            f"This statement is not taken in: {error}.", returncode=2 if path else 1
        ) from error
    except ChannelError as error:
        return _take_known(channel, day, error)


def _take_known(channel: str, day: date, error: ChannelError) -> Statement:
    """What came before is compared again when the channel does not give it once more."""
    known = current_statement(channel, day)
    words = "It is not there yet" if isinstance(error, NotReady) else "The channel did not give it"
    if known is None:
        raise CommandError(f"No statement of {channel} for {day}. {words}: {error}.", returncode=1) from error
    print(f"{words}: {error}. The one of {known.read_at:%Y-%m-%d %H:%M} UTC counts.", file=sys.stderr)
    return known


def _progress() -> Progress:
    """On a terminal, a line that counts."""
    is_seen = sys.stderr.isatty()

    def show(lines: int) -> None:
        if is_seen:
            sys.stderr.write(f"\r{lines:>12,} lines")
            sys.stderr.flush()

    return show


def _to_document(statement: Statement, found: list[Difference], repaired: dict[str, int]) -> dict[str, Any]:
    return {
        "channel": statement.channel,
        "date": statement.day.isoformat(),
        "origin": statement.origin,
        "digest": statement.digest,
        "entries": statement.entries,
        "totals": statement.totals,
        "repaired": repaired,
        "differences": [difference.as_json() for difference in found],
    }


def _print_table(statement: Statement, found: list[Difference], repaired: dict[str, int]) -> None:
    print(
        f"{statement.channel}  {statement.day}  {statement.entries:,} lines  {statement.get_origin_display().lower()}"
    )
    for currency, totals in statement.totals.items():
        _print_totals(currency, totals)
    if repaired:
        print(f"\n{repaired['repaired']} put right, {repaired['cases']} are a person's: see `cases`.")
    if not found:
        print("\nBoth books say the same.")
        return
    print(f"\n{'kind':<16}{'theirs':>14}{'ours':>14}  {'number':<26}subject")
    for difference in found[:SHOWN]:
        theirs, ours = difference.amount_text(difference.theirs), difference.amount_text(difference.ours)
        print(
            f"{difference.kind:<16}{theirs:>14}{ours:>14}  {difference.number or '-':<26}{difference.subject}"
        )
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more; --json has them all")


def _print_totals(currency: str, totals: dict[str, Any]) -> None:
    def text(amount: int) -> str:
        return for_people(amount, currency)

    theirs, ours = totals["theirs"], totals["ours"]
    print(f"\n{currency:<26}{'sales':>16}{'refunds':>16}{'fees':>14}{'net':>16}")
    print(
        f"{'  theirs':<26}"
        + "".join(
            f"{text(theirs[name]):>{width}}"
            for name, width in (("sales", 16), ("refunds", 16), ("fees", 14), ("net", 16))
        )
    )
    print(f"{'  ours':<26}{text(ours['sales']):>16}{text(ours['refunds']):>16}")
    for line in totals["bridge"]:
        columns = ("", text(line["amount"])) if line["side"] == "refunds" else (text(line["amount"]), "")
        print(f"    {SIDES[line['kind']]:<22}{columns[0]:>16}{columns[1]:>16}  {line['count']}")
    rest = totals["rest"]
    print(f"{'  unexplained':<26}{text(rest['sales']):>16}{text(rest['refunds']):>16}")
