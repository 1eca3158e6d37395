"""Waiting for something to become true, instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], *, within_s: float = 10.0, every_s: float = 0.05) -> T:
    """What `look` returns as soon as it is true. Fails after `within_s`."""
    give_up = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            raise AssertionError(f"did not come true within {within_s} s, last seen: {seen!r}")
        time.sleep(every_s)
