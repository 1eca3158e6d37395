"""Waiting for something to become true, instead of sleeping."""

import time as clock
from collections.abc import Callable
from datetime import datetime, time, tzinfo
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], *, within_s: float = 10.0, every_s: float = 0.05) -> T:
    """What `look` returns as soon as it is true. Fails after `within_s`."""
    give_up = clock.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if clock.monotonic() > give_up:
            raise AssertionError(f"did not come true within {within_s} s, last seen: {seen!r}")
        clock.sleep(every_s)


def wait_for_a_day_that_lasts(zone: tzinfo) -> None:
    """Wait until midnight in that zone is past, if it is near: what happens next is all of one day."""
    wait_until(lambda: datetime.now(zone).time() < time(23, 59, 30), within_s=40)
