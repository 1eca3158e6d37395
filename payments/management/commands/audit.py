"""`manage.py audit`: every promise about money, checked over the whole database and against a channel's list of trades."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.audit import OF_OURS, OF_TRADES, BadTrades, Violation, audit, audit_trades, title_of

# Seconds to connect, and between two pieces of the answer.
LIMIT_S = (3, 30)
# So many of one invariant are enough for a person; `--json` has them all.
SHOWN = 20


class Command(BaseCommand):
    help = "Check the invariants of money over the whole database. Exit 1 when one is violated."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        where = "the channel's own list too: a file, - for standard input, or an address such as"
        parser.add_argument(
            "--trades", metavar="WHERE", help=f"{where} http://127.0.0.1:9000/_sandbox/trades"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        where = options["trades"]
        checked = OF_OURS if where is None else OF_OURS + OF_TRADES
        of_trades = [] if where is None else _audit_trades(_read_trades(where))
        violations = audit() + of_trades
        (_print_json if options["json"] else _print_table)(checked, violations)
        if violations:
            raise SystemExit(1)


def _audit_trades(trades: Any) -> list[Violation]:
    try:
        return audit_trades(trades)
    except BadTrades as error:
        raise CommandError(str(error), returncode=2) from error


def _read_trades(where: str) -> Any:
    try:
        return json.loads(_read(where))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{where} is not JSON in UTF-8.", returncode=2) from error


def _read(where: str) -> bytes:
    if where == "-":
        return sys.stdin.buffer.read()
    if "://" in where:
        return _fetch(where)
    try:
        return Path(where).read_bytes()
    except OSError as error:
        raise CommandError(f"{where} cannot be read: {error.strerror}.", returncode=2) from error


def _fetch(address: str) -> bytes:
    if not address.startswith(("http://", "https://")):
        raise CommandError(f"{address} is not an http or https address.", returncode=2)
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(address, timeout=LIMIT_S, allow_redirects=False)
        except requests.RequestException as error:
            raise CommandError(f"{address} does not answer: {type(error).__name__}.", returncode=2) from error
    if answer.status_code != requests.codes.ok:
        raise CommandError(f"{address} answered {answer.status_code}.", returncode=2)
    return answer.content


def _print_json(checked: Sequence[str], violations: Sequence[Violation]) -> None:
    counts = Counter(violation.invariant for violation in violations)
    rows = [
        {"invariant": found.invariant, "subject": found.subject, "detail": found.detail}
        for found in violations
    ]
    print(json.dumps({"checked": {name: counts[name] for name in checked}, "violations": rows}))


def _print_table(checked: Sequence[str], violations: Sequence[Violation]) -> None:
    counts = Counter(violation.invariant for violation in violations)
    for name in checked:
        print(f"{name:<4}{counts[name]:>6}  {title_of(name)}")
    for name in checked:
        found = [violation for violation in violations if violation.invariant == name]
        for violation in found[:SHOWN]:
            print(f"{name:<4}{violation.subject} {violation.detail}")
        if len(found) > SHOWN:
            print(f"{name:<4}and {len(found) - SHOWN} more; --json has them all")
