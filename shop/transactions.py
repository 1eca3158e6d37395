"""One decorator: a function that is one transaction, or a part of its caller's."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

P = ParamSpec("P")
R = TypeVar("R")

# PostgreSQL: deadlock_detected, serialization_failure. The whole transaction may be repeated, never one statement.
REPEATABLE = frozenset({"40P01", "40001"})
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
            except OperationalError as error:
                if not left or getattr(error.__cause__, "sqlstate", None) not in REPEATABLE:
                    raise
        raise AssertionError("unreachable")

    return run
