"""Writes of one transaction that travel together: one statement instead of many, while a row lock is held.

Outside of `together` each write is a statement at once. Inside, they wait and go as one, before anything else is said to
the database: so whoever reads finds what was written, and only writes in a row share a statement. In one statement
PostgreSQL keeps no order and changes a row once, so a second write of the same row begins the next. The rules stay with
those who call this.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault


@dataclass
class Waiting:
    """Statements by name with their values, and which rows they change."""

    statements: list[tuple[str, str, Sequence[Any]]] = field(default_factory=list)
    rows: set[Hashable] = field(default_factory=set)
    # Which statement inserts rows of this model with these columns.
    inserts: dict[tuple[type[Model], tuple[str, ...]], int] = field(default_factory=dict)


_waiting: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Let the block's writes wait for each other; a block in a block is a part of it. Must be inside a transaction."""
    if _waiting.get() is not None:
        yield
        return
    token = _waiting.set(Waiting())
    try:
        with connection.execute_wrapper(_send_first):
            yield
            _send()
    finally:
        _waiting.reset(token)


def write(sql: str, *values: Any, rows: Sequence[Hashable] = (), name: str = "") -> None:
    """One INSERT, UPDATE or DELETE, with `%s` for each value. `rows` names those that it may change, in any way that is equal
    for the same row. By its `name` what it returns is read by a later write of the block, which then comes after it.
    """
    waiting = _waiting.get()
    if waiting is None:
        _execute(sql, values)
        return
    if not waiting.rows.isdisjoint(rows):
        _send()
    waiting.statements.append((name or f"w{len(waiting.statements)}", sql, values))
    waiting.rows.update(rows)


def _send() -> None:
    waiting = _waiting.get()
    if waiting is None or not waiting.statements:
        return
    statements = list(waiting.statements)
    waiting.statements.clear()
    waiting.rows.clear()
    waiting.inserts.clear()
    *first, (_, last, _) = statements
    named = ", ".join(f"{name} as ({sql})" for name, sql, _ in first)
    _execute(
        f"with {named} {last}" if named else last, [value for *_, values in statements for value in values]
    )


def _send_first(execute: Callable[..., Any], *statement: Any) -> Any:
    """Around every statement of the block, whoever makes it."""
    _send()
    return execute(*statement)


def insert(*rows: Model) -> None:
    """Insert new rows of one model, or none. Columns that the database fills stay as they are in Python; so does the key.

    Inside `together` rows of one model travel in one INSERT: only so does PostgreSQL take them in their order.
    """
    if not rows:
        return
    model, given = type(rows[0]), _given(rows[0])
    values = [value for row in rows for value in _values(row, given)]
    if not _join_insert(model, given, values):
        write(_insert_sql(model, given, len(rows)), *values)


def _join_insert(model: type[Model], given: tuple[str, ...], values: list[Any]) -> bool:
    """Add the rows to the INSERT that waits already; False when there is none, and the next write begins it."""
    waiting = _waiting.get()
    if waiting is None:
        return False
    place = waiting.inserts.setdefault((model, given), len(waiting.statements))
    if place == len(waiting.statements):
        return False
    name, _, before = waiting.statements[place]
    all_values = [*before, *values]
    waiting.statements[place] = (name, _insert_sql(model, given, len(all_values) // len(given)), all_values)
    return True


def update(row: Model, *, counting: str = "", **columns: Any) -> None:
    """Write the named columns of a row, by its key, and of its Python object: never the whole row.

    `counting` is a column that the database raises by one, whatever Python thinks that it is.
    """
    for name, value in columns.items():
        setattr(row, name, value)
    if counting:
        setattr(row, counting, getattr(row, counting) + 1)
    values = _values(row, tuple(columns))
    write(_update_sql(type(row), tuple(columns), counting), *values, row.pk, rows=[(type(row), row.pk)])


def save(row: Model) -> None:
    """Insert a new row, or write all of one that is locked."""
    if row.pk is None:
        insert(row)
    else:
        row.save()


def _given(row: Model) -> tuple[str, ...]:
    """The fields that have a value: not the key that is to come, nor what the database fills by itself."""
    return tuple(
        field.name
        for field in row._meta.concrete_fields
        if not isinstance(value := getattr(row, field.attname), DatabaseDefault)
        and not (field.primary_key and value is None)
    )


def _values(row: Model, names: Sequence[str]) -> list[Any]:
    fields = [row._meta.get_field(name) for name in names]
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]  # type: ignore[union-attr]


@lru_cache
def _insert_sql(model: type[Model], names: tuple[str, ...], rows: int) -> str:
    places = ", ".join(["(" + ", ".join(["%s"] * len(names)) + ")"] * rows)
    return f"insert into {model._meta.db_table} ({', '.join(_columns(model, names))}) values {places}"  # noqa: S608


@lru_cache
def _update_sql(model: type[Model], names: tuple[str, ...], counting: str) -> str:
    changes = [f"{column} = %s" for column in _columns(model, names)]
    changes += [f"{column} = {column} + 1" for column in _columns(model, (counting,) if counting else ())]
    return f"update {model._meta.db_table} set {', '.join(changes)} where id = %s"  # noqa: S608


def _columns(model: type[Model], names: Sequence[str]) -> list[str]:
    return [str(model._meta.get_field(name).column) for name in names]  # type: ignore[union-attr]


def _execute(sql: str, values: Sequence[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
