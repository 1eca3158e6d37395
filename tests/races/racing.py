"""Races: parties who begin at the same moment, each a thread with an open database connection of its own.

`NODROP_RACES` is how often each race is run, every time with new orders. Who comes first is left to a millisecond of
chance, drawn from a seed, and whoever comes first starts later in the next round: so a race soon balances on the point at
which the parties meet, on any machine, and a long run must have seen every way in which it can end.
"""

import logging
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import OperationalError, connection

from orders.errors import OrderError
from payments.errors import PaymentConfirming, PaymentError
from shop.idempotency import LOCK_TIMEOUT, InProgress, KeyMismatch
from tests.sweep.world import Failures
from tests.waiting import wait_until

T = TypeVar("T")

ROUNDS = int(os.environ.get("NODROP_RACES", "0"))
# From so many rounds on, every ending that a race can have must have been seen.
MANY = 50
# Nobody waits longer than this for the others to be ready.
READY_S = 60
# Everybody hesitates by chance up to this long.
HESITATION_S = 0.001
# The first handicap of a winner; it doubles as long as the same party wins again, up to the most.
HANDICAP_S, MOST_HANDICAP_S = 0.002, 0.2
# Threads take turns this often, so that they meet in Python too: by default only every 5 ms.
TURN_S = 0.0005
# What the product says to whoever comes second. Anything else that is raised fails the test.
REFUSALS = (OrderError, PaymentError, KeyMismatch, InProgress)
# How often a client comes back who is told to, and how soon.
TRIES = 20
AGAIN_S = 0.1


class Race:
    """Lets deeds begin at the same moment, again and again. Connections stay open until `close`."""

    def __init__(self, seed: str) -> None:
        self.dice = random.Random(seed)
        self._parties: list[ThreadPoolExecutor] = []
        self._handicaps_s: defaultdict[int, float] = defaultdict(float)
        self._step_s, self._winner = HANDICAP_S, -1
        self._endings: Counter[str] = Counter()

    def rounds(self, *, usually: int = 3) -> Iterator[int]:
        """The rounds to run, `usually` so many; after a long run, every ending must have been seen."""
        yield from range(ROUNDS or usually)
        assert ROUNDS < MANY or all(self._endings.values()), f"never seen in {ROUNDS} rounds: {self._endings}"

    def __call__(self, *deeds: Callable[[], Any]) -> list[Any]:
        """Do all deeds at once. What each returned, or was refused with."""
        while len(self._parties) < len(deeds):
            self._parties.append(ThreadPoolExecutor(1))
        start = threading.Barrier(len(deeds))
        runs = [
            self._parties[place].submit(_take_part, start, deed, self._draw_wait_s(place))
            for place, deed in enumerate(deeds)
        ]
        errors = [error for run in runs if isinstance(error := run.exception(), Exception)]
        if errors:
            raise ExceptionGroup("a party of the race failed", errors)
        return [run.result() for run in runs]

    def ended(self, ending: str, *, of: tuple[str, ...]) -> None:
        """How this round ended, one `of` the ways that it may: each means that the party at its place came first."""
        self._endings.update(dict.fromkeys(of, 0))
        self._endings[ending] += 1
        winner = of.index(ending)
        self._step_s = min(self._step_s * 2, MOST_HANDICAP_S) if winner == self._winner else HANDICAP_S
        self._winner = winner
        self._handicaps_s[winner] += self._step_s
        least_s = min(self._handicaps_s[place] for place in range(len(of)))
        for place in range(len(of)):
            self._handicaps_s[place] = min(self._handicaps_s[place] - least_s, MOST_HANDICAP_S)

    def _draw_wait_s(self, place: int) -> float:
        return self._handicaps_s[place] + self.dice.uniform(0, HESITATION_S)

    def close(self) -> None:
        """Everybody goes home, and PostgreSQL has written down what it had to do for them."""
        leaving = [party.submit(_leave) for party in self._parties]
        pids = [each.result() for each in leaving]
        for party in self._parties:
            party.shutdown()
        wait_until(lambda: not _count("select count(*) from pg_stat_activity where pid = any(%s)", pids))


def _take_part(start: threading.Barrier, deed: Callable[[], Any], wait_s: float) -> Any:
    try:
        _connect()
    except BaseException:
        start.abort()
        raise
    start.wait(READY_S)
    time.sleep(wait_s)
    try:
        return deed()
    except REFUSALS as refusal:
        return refusal


def _connect() -> None:
    """A hundred at once may take a busy machine longer than one of them waits."""
    give_up = time.monotonic() + READY_S
    while True:
        try:
            connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(AGAIN_S)
        else:
            return


def _leave() -> int:
    pid = _count("select pg_backend_pid()")
    connection.close()
    return pid


def patiently(deed: Callable[[], T]) -> Callable[[], T]:
    """The deed of a client who comes back when asked to: somebody is at it, or a lock took too long."""

    def do() -> T:
        for _ in range(TRIES):
            try:
                return deed()
            except (InProgress, PaymentConfirming):
                pass
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != LOCK_TIMEOUT:
                    raise
            time.sleep(AGAIN_S)
        return deed()

    return do


def names(told: Iterable[Any]) -> Counter[str]:
    """How often each came out of a race: the class of what was returned or refused."""
    return Counter(type(each).__name__ for each in told)


@contextmanager
def without_failed_alarms() -> Iterator[None]:
    """No handler of an alarm raises in the block: that would be tried again, and only be logged."""
    failures, log = Failures(), logging.getLogger("nodrop.alarms")
    log.addHandler(failures)
    try:
        yield
    finally:
        log.removeHandler(failures)
    assert not failures.errors, failures.errors


@contextmanager
def without_deadlocks() -> Iterator[None]:
    """Locks are taken in one order everywhere: PostgreSQL has to break no deadlock in the block."""
    before = _count_deadlocks()
    yield
    assert _count_deadlocks() == before, "two transactions took the same locks in different orders"


def _count_deadlocks() -> int:
    return _count("select deadlocks from pg_stat_database where datname = current_database()")


def _count(question: str, *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(question, values)
        return int(cursor.fetchone()[0])


@contextmanager
def quick_turns() -> Iterator[None]:
    """Threads take turns often in the block."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
