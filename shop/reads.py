"""Reads of the hot paths: the statement is put together once, and its rows become model instances.

For the few reads that every callback makes; building a query anew costs several times as much as asking it. Everything
else asks through the models' managers.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Model


class Joined:
    """A SELECT of whole rows of some models, each under its name in `tail`, and the database's clock beside them.

    `tail` is everything from FROM on, with `%s` for each value.
    """

    def __init__(self, tail: str, **models: type[Model]) -> None:
        self._tail = tail
        self._models = models

    def first(self, *values: Any) -> list[Any] | None:
        """One instance of each model, each with the database's clock as its `now`; None when there is no such row."""
        row = read_one(self._sql, *values)
        if row is None:
            return None
        found, at = [], 0
        for (_, model), loaders in zip(self._models.items(), self._loaders, strict=True):
            instance = _make(model, loaders, row[at : at + len(loaders)])
            instance.now = row[-1]  # type: ignore[attr-defined]
            found.append(instance)
            at += len(loaders)
        return found

    @cached_property
    def _sql(self) -> str:
        columns = [
            f"{name}.{field.column}"
            for name, model in self._models.items()
            for field in model._meta.concrete_fields
        ]
        return f"select {', '.join(columns)}, statement_timestamp() {self._tail}"

    @cached_property
    def _loaders(self) -> list[list[Callable[..., Any] | None]]:
        return [
            [getattr(field, "from_db_value", None) for field in model._meta.concrete_fields]
            for model in self._models.values()
        ]


def read_one(sql: str, *values: Any) -> tuple[Any, ...] | None:
    """The first row of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def _make(model: type[Model], loaders: Sequence[Callable[..., Any] | None], values: Sequence[Any]) -> Model:
    loaded = [
        load(value, None, connection) if load else value for load, value in zip(loaders, values, strict=True)
    ]
    names = [field.attname for field in model._meta.concrete_fields]
    return model.from_db(connection.alias, names, loaded)
