"""A line in front of what people start: of a hundred presses at once one works, and the others wait without holding a
connection to the database.

A courtesy that saves work and makes nothing right: a lock in Redis may be lost, or be held by two. Whoever has waited
long enough goes on all the same, and PostgreSQL's row locks decide, with a bounded wait of their own.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shop import hints
from shop.transactions import give_back_connections, in_transaction

# Longer than anything that is done under it; only a process that died keeps it so long.
HELD_S = 20.0
WAIT_S = 2.0
STEP_S = 0.03


@contextmanager
def stand_in_line(name: str) -> Iterator[bool]:
    """Run the block when nobody else is in it under this `name`, or after two seconds of waiting. Raises nothing.

    Gives whether somebody else was before us. Never inside a transaction.
    """
    name, token = f"line:{name}", secrets.token_hex(8)
    give_up = time.monotonic() + WAIT_S
    has_waited = False
    while hints.claim(name, token, for_s=HELD_S) is not None and time.monotonic() < give_up:
        has_waited = True
        pause(STEP_S)
    try:
        yield has_waited
    finally:
        hints.release(name, token)


def pause(seconds: float) -> None:
    """Wait for somebody else, who may need the connection that we hold."""
    if not in_transaction():
        give_back_connections()
    time.sleep(seconds)
