"""The audit: every promise about money, asked of the whole database at once, and of a channel's own list of trades.

Each invariant is one set-based statement in `audit_sql`, whose first line is its title; all of them see one snapshot.
It never changes anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from json import dumps
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from orders.statuses import MOVES, PAID
from payments.cases import DAILY_S
from payments.statuses import PAYMENT_MOVES, REFUND_MOVES, RESERVING
from shop import alarms
from shop.business import declared_steps

# What must hold at every commit; I13 and I15 only at rest, when no message is due and no alarm overdue.
OF_OURS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I13", "I14", "I15")
# What must hold at rest against the channel's own list.
OF_TRADES = ("I10", "I11", "I12", "I16")
# Whoever audits millions of rows waits longer than a shopper. And all is joined with all, so the planner may not hope
# for few rows where its statistics are old: over 20,000 orders a nested loop took more than a minute, a hash 20 ms.
PLANS = "set local statement_timeout = '10min'; set local enable_nestloop = off; set local jit = off"
BIGGEST = 2**63 - 1

SQL = Path(__file__).with_name("audit_sql")


@dataclass(frozen=True, slots=True)
class Violation:
    """What does not hold, for which row (its public number), and the values that differ, in words."""

    invariant: str
    subject: str
    detail: str


class BadTrades(ValueError):
    """The list of trades does not have the shape of the sandbox's; the message names the place."""


def audit() -> list[Violation]:
    """Ask every invariant that our own tables can answer. Inside an open transaction its own changes count."""
    with _snapshot("read only") as cursor:
        return _ask(cursor, OF_OURS)


def audit_trades(trades: Sequence[Mapping[str, Any]]) -> list[Violation]:
    """Compare with all that the channels say was paid and refunded, as `GET /_sandbox/trades` of the sandbox lists it.

    Trades that were not paid do not matter. Money of a number that is not ours must have its receipt all the same: that
    the number is unknown here may be the very thing that went wrong. A mismatch may differ in its amount, and a refund
    that is on its way, or a person's to decide, in whether it was made. Raises BadTrades.
    """
    with _snapshot("read write") as cursor:  # for the temporary tables
        cursor.execute(_read_sql("load"))
        _copy(cursor, "told_trade", _trade_rows(trades))
        _copy(cursor, "told_refund", _refund_rows(trades))
        cursor.execute("analyze told_trade; analyze told_refund; analyze open_refund")
        return _ask(cursor, OF_TRADES)


def title_of(invariant: str) -> str:
    """What holds when this invariant holds, in one line."""
    return _read_sql(invariant).partition("\n")[0].removeprefix("-- ")


# ---- asking ------------------------------------------------------------------------------------------------------


@contextmanager
def _snapshot(mode: str) -> Iterator[Any]:
    """A cursor on one unchanging view of the database; nothing that is done with it stays."""
    is_own = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_own:
            cursor.execute(f"set transaction isolation level repeatable read, {mode}")
        cursor.execute(PLANS)
        yield cursor
        transaction.set_rollback(True)


def _ask(cursor: Any, invariants: Sequence[str]) -> list[Violation]:
    found: list[Violation] = []
    facts = _facts()
    for invariant in invariants:
        cursor.execute(_read_sql(invariant), facts)
        found += [Violation(invariant, subject, detail) for subject, detail in sorted(cursor.fetchall())]
    return found


@cache
def _read_sql(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def _facts() -> dict[str, Any]:
    """What the statements ask for by name: the tables of statuses and of schedules, as they stand in the code."""
    gaps = {f"{name}_gap": timedelta(seconds=max(kind.gaps_s)) for name, kind in alarms.kinds().items()}
    return {
        "paid": [str(status) for status in PAID],
        "reserving": [str(status) for status in RESERVING],
        "moves": dumps(list(_moves())),
        "kinds": list(alarms.kinds()),
        "day": timedelta(seconds=DAILY_S),
        "steps": dumps(list(_steps())),
        "events_kept": timedelta(days=settings.EVENTS_KEPT_DAYS),
        **gaps,
    }


def _steps() -> Iterator[dict[str, str | None]]:
    """Every step of a status that other systems are told of."""
    for (kind, before, after), step in declared_steps().items():
        yield {"subject_kind": kind, "from_status": before, "to_status": after, "type": step.type}


def _moves() -> Iterator[dict[str, str]]:
    """Every step that a status may take. A thing begins with the status that no step leads to."""
    tables: dict[str, Mapping[Any, frozenset[Any]]] = {
        "order": MOVES,
        "payment": PAYMENT_MOVES,
        "refund": REFUND_MOVES,
    }
    for kind, table in tables.items():
        begins = table.keys() - frozenset[Any]().union(*table.values())
        for before, after in [("", begins), *table.items()]:
            for status in after:
                yield {"subject_kind": kind, "from_status": str(before), "to_status": str(status)}


# ---- a list of trades --------------------------------------------------------------------------------------------


def _copy(cursor: Any, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    """Stream the rows into the table, one at a time."""
    with cursor.copy(f"copy {table} from stdin") as copy:
        for row in rows:
            copy.write_row(row)


def _trade_rows(trades: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for place, trade in _paid(trades):
        yield (
            _text(trade, "channel", place),
            _text(trade, "out_trade_no", place),
            _text(trade, "channel_number", place),
            _amount(trade, place),
            _text(trade, "currency", place),
            _moment(trade, "paid_at", place),
        )


def _refund_rows(trades: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for place, trade in _paid(trades):
        refunds = trade.get("refunds")
        if not isinstance(refunds, list):
            raise BadTrades(f"{place}.refunds is not a list.")
        for index, refund in enumerate(refunds):
            inside = f"{place}.refunds[{index}]"
            yield (
                trade["channel"],
                trade["channel_number"],
                _text(_object(refund, inside), "out_refund_no", inside),
                _amount(refund, inside),
                _text(refund, "status", inside),
            )


def _paid(trades: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The trades that were paid, each with its place in the list."""
    if not isinstance(trades, Sequence) or isinstance(trades, str):
        raise BadTrades("This is not a list of trades.")
    for index, trade in enumerate(trades):
        place = f"trades[{index}]"
        if _text(_object(trade, place), "status", place) == "PAID":
            yield place, trade


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadTrades(f"{place} is not an object.")
    return value


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BadTrades(f"{place}.{name} is not a text.")
    return value


def _amount(row: Mapping[str, Any], place: str) -> int:
    value = row.get("amount")
    if type(value) is not int or not 0 <= value <= BIGGEST:
        raise BadTrades(f"{place}.amount is not a whole number of minor units.")
    return value


def _moment(row: Mapping[str, Any], name: str, place: str) -> datetime:
    value = row.get(name)
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        if moment.tzinfo is None:
            raise BadTrades(f"{place}.{name} has no offset.")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if isinstance(error, BadTrades):
            raise
        raise BadTrades(f"{place}.{name} is not a time.") from error
