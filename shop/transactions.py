"""One decorator: a function that is one transaction, or a part of its caller's. And what to do where there must be none."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError, OperationalError, connection, connections, transaction

P = ParamSpec("P")
R = TypeVar("R")

# PostgreSQL: deadlock_detected, serialization_failure, unique_violation: a rival has written the same meanwhile, and who
# looks again finds it. The whole transaction may be repeated, never one statement.
REPEATABLE = frozenset({"40P01", "40001", "23505"})
TRIES = 3


class TryAgain(Exception):
    """What was read before a lock was taken is another by now: the whole transaction is repeated."""


def transactional(flow: Callable[P, R]) -> Callable[P, R]:
    """Run `flow` in the open transaction, or in one of its own, repeated at most three times after a deadlock."""

    @functools.wraps(flow)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            return flow(*args, **kwargs)
        for left in reversed(range(TRIES)):
            try:
                with transaction.atomic():
                    return flow(*args, **kwargs)
            except TryAgain:
                if not left:
                    raise
            except (OperationalError, IntegrityError) as error:
                if not left or getattr(error.__cause__, "sqlstate", None) not in REPEATABLE:
                    raise
        raise AssertionError("unreachable")

    return run


def in_transaction(handler: Any = connections) -> bool:
    """Whether any database connection of this thread has a transaction open, by `atomic` or with autocommit off."""
    return any(
        held.in_atomic_block or (held.connection is not None and not held.autocommit)
        for held in handler.all(initialized_only=True)
    )


def give_back_connections(handler: Any = connections) -> None:
    """Before something that may take seconds: a pooled connection serves others meanwhile. One without a pool is kept."""
    for held in handler.all(initialized_only=True):
        if held.settings_dict["OPTIONS"].get("pool"):
            held.close()
