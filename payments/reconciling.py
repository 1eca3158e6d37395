"""Reconciling: a channel's books against ours, both ways, in a few set-based statements.

What differs becomes a row with a kind and a severity, and stays one row however often it is found. Looking changes nothing
about money: `repairing` does, through the same flows as everything else.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from payments.cases import close_cases
from payments.channels.registry import class_of
from payments.models import Case, Difference, Statement
from shop.transactions import transactional

log = structlog.get_logger("nodrop.reconciling")

SQL = Path(__file__).with_name("books_sql")
# All is joined with all: as in the audit the planner may not hope for few rows where its statistics are old.
PLANS = (
    "set local statement_timeout = '30min'; set local jit = off; set local enable_nestloop = off;"
    " set local work_mem = '64MB'"
)
ONE_BY_ONE = "set local enable_nestloop = on"
FOUND = """
create temporary table found (kind text, subject text, number text, currency text, theirs bigint, ours bigint, note text)
    on commit drop
"""
DROP = "drop table found, their_sales, their_refunds, our_sales, our_refunds"
# Clocks differ: a trade so near to midnight may stand in the statement beside.
MIDNIGHT = timedelta(hours=1)

Kind, Severity = Difference.Kind, Difference.Severity
SEVERITIES: dict[Difference.Kind, Difference.Severity] = {
    Kind.UNSETTLED: Severity.MONEY,
    Kind.STRANGER: Severity.MONEY,
    Kind.MISSING: Severity.MONEY,
    Kind.AMOUNT: Severity.MONEY,
    Kind.CURRENCY: Severity.MONEY,
    Kind.DOUBLED: Severity.LOOK,
    Kind.FEE: Severity.NOTE,
    Kind.REFUND_UNKNOWN: Severity.MONEY,
    Kind.REFUND_STATUS: Severity.LOOK,
    Kind.REFUND_MISSING: Severity.MONEY,
    Kind.REFUND_AMOUNT: Severity.MONEY,
}
OPEN = (Difference.State.OPEN, Difference.State.CASE)


def compare(statement: Statement) -> QuerySet[Difference]:
    """Find every difference of a current statement, end those of its day that are not there any more, and sum both sides up.

    Returns the open ones of its day. Comparing again changes nothing.
    """
    _compare(statement)
    return open_differences(statement.channel, statement.day)


@transactional
def _compare(statement: Statement) -> int:
    """How many differences have gone."""
    facts = _facts(statement)
    with connection.cursor() as cursor:
        cursor.execute(PLANS)
        cursor.execute(FOUND)
        _run(cursor, "load", facts)
        cursor.execute(ONE_BY_ONE)
        _run(cursor, "elsewhere", facts)
        cursor.execute(PLANS)
        _run(cursor, "find", facts)
        _run(cursor, "keep", facts)
        _run(cursor, "gone", facts)
        gone = cursor.fetchall()
        _run(cursor, "totals", facts)
        totals = _sum_up(cursor.fetchall())
        cursor.execute(DROP)
    for kind, subject in gone:
        close_case(statement.channel, subject)
        close_case_of_day(statement.channel, statement.day, kind)
    Statement.objects.filter(pk=statement.pk).update(compared_at=Now(), totals=totals)
    statement.totals = totals
    log.info("compared", channel=statement.channel, day=str(statement.day), gone=len(gone))
    return len(gone)


def compare_around(statement: Statement) -> QuerySet[Difference]:
    """Compare a statement that has come, and those of the days beside it, which may have waited for it.

    A line that has moved to the day beside is found there once it is gone here: then all are compared again.
    """
    around = [beside for number in (-1, 1) if (beside := _beside(statement, number))]
    for _ in range(2):
        gone = sum(_compare(each) for each in (*around, statement))
        if not around or not gone:
            break
    return open_differences(statement.channel, statement.day)


def open_differences(channel: str, day: date) -> QuerySet[Difference]:
    """What differs and nobody has decided yet, the gravest first."""
    return Difference.objects.filter(channel=channel, day=day, state__in=OPEN)


def _facts(statement: Statement) -> dict[str, Any]:
    channel = class_of(statement.channel)
    start, end = channel.statement_span(statement.day)
    before, after = _beside(statement, -1), _beside(statement, 1)
    fees = [
        {"currency": currency, "rate": str(fee.rate), "fixed": fee.fixed_minor}
        for (channel, currency), fee in settings.CHANNEL_FEES.items()
        if channel == statement.channel
    ]
    return {
        "statement": statement.pk,
        "channel": statement.channel,
        "day": statement.day,
        "near": [beside.pk for beside in (before, after) if beside],
        "start": start,
        "end": end,
        "from": start if before else start + MIDNIGHT,
        "until": end if after else end - MIDNIGHT,
        "has_next": after is not None,
        "by_hand": statement.origin == Statement.Origin.FILE,
        "is_final": channel.refunded_codes is None,
        "final_codes": list(channel.refunded_codes or []),
        "fees": json.dumps(fees),
        "severities": json.dumps(
            [{"kind": kind, "severity": severity} for kind, severity in SEVERITIES.items()]
        ),
    }


def _beside(statement: Statement, days: int) -> Statement | None:
    day = statement.day + timedelta(days=days)
    return Statement.objects.filter(channel=statement.channel, day=day, is_current=True).first()


def _run(cursor: Any, name: str, facts: Mapping[str, Any]) -> None:
    for statement in _read(name):
        cursor.execute(statement, facts)


@cache
def _read(name: str) -> list[str]:
    """The statements of a file, one by one: only so can they have parameters."""
    text = SQL.joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return [statement for statement in text.split(";\n") if statement.strip()]


def _sum_up(rows: list[tuple[str, str, str, int, int]]) -> dict[str, Any]:
    """By currency: `theirs` and `ours` by side, the `bridge` of signed sums from ours to theirs, and the `rest`, which is 0."""
    totals: dict[str, Any] = {}
    for side, currency, what, count, amount in sorted(rows):
        total = totals.setdefault(currency, _nothing())
        if what in ("theirs", "ours"):
            total[what][side] = amount
        elif amount or count:
            total["bridge"].append({"kind": what, "side": side, "count": count, "amount": amount})
    for total in totals.values():
        theirs, ours = total["theirs"], total["ours"]
        theirs["net"] = theirs["sales"] - theirs["refunds"] - theirs["fees"]
        for side in ("sales", "refunds"):
            explained = sum(line["amount"] for line in total["bridge"] if line["side"] == side)
            total["rest"][side] = theirs[side] - ours[side] - explained
    return totals


def _nothing() -> dict[str, Any]:
    return {
        "theirs": {"sales": 0, "refunds": 0, "fees": 0, "net": 0},
        "ours": {"sales": 0, "refunds": 0},
        "bridge": [],
        "rest": {"sales": 0, "refunds": 0},
    }


def close_case(channel: str, subject: str) -> None:
    """Nobody has to look at it any more, unless it differs in another way too. Joins the caller's transaction."""
    if not Difference.objects.filter(channel=channel, subject=subject, state__in=OPEN).exists():
        close_cases(Case.Kind.BOOKS, subject, resolution="the books agree")


def close_case_of_day(channel: str, day: date, kind: str) -> None:
    """What is only to be noted has one case for all of its kind in a statement. Joins the caller's transaction."""
    if not Difference.objects.filter(channel=channel, day=day, kind=kind, state__in=OPEN).exists():
        close_cases(Case.Kind.BOOKS, subject_of_day(channel, day, kind), resolution="the books agree")


def subject_of_day(channel: str, day: date, kind: str) -> str:
    """What such a case is about."""
    return f"{channel}:{day}:{kind}"
