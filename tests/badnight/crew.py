"""Some threads that keep their connections to the database for as long as the run lasts."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

from django.db import connections

THREADS = 6
WAIT_S = 60
T = TypeVar("T")
R = TypeVar("R")


class Crew:
    """Does one deed for each of many things, some at once."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def each(self, things: Iterable[T], deed: Callable[[T], R]) -> list[R]:
        """What each came to, in order. Raises what the first that failed has raised."""
        return list(self._pool.map(deed, things))


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew that leaves no connection behind."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="badnight") as pool:
        try:
            yield Crew(pool)
        finally:
            together = Barrier(THREADS)  # so that each thread closes its own

            def leave(_: int) -> None:
                together.wait(WAIT_S)
                connections.close_all()

            list(pool.map(leave, range(THREADS)))
