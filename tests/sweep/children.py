"""Children: forked from the warmed parent, they run one function, tell line by line what they reach, and end.

The parent holds no database connection while it forks, so a child makes its own and takes nobody's with it.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connections

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0

Tell = Callable[..., None]


class Stuck(AssertionError):
    """A child did not come to its end in time."""


class Child:
    """One forked process. `told` holds what it has said so far: [word, value, ...]."""

    def __init__(self, work: Callable[[Tell], Any]) -> None:
        connections.close_all()
        self._reader, writer = os.pipe()
        self.told: list[list[Any]] = []
        self._rest = b""
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _live(work, writer)
        os.close(writer)

    def heard(self, word: str) -> list[Any]:
        """The values told with this word."""
        return [line[1:] for line in self.told if line[0] == word]

    def reaches(self) -> bool:
        """Wait until it says that it has reached its point; False when it ends without."""
        return self._listen(until="reached")

    def wait_until_stopped(self) -> None:
        """It has said that it will stop; now it does."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._status = status

    def go_on(self) -> None:
        """End its sleep."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> None:
        """Until it has ended, by itself or by a signal."""
        try:
            self._listen(until=None)
        finally:
            os.close(self._reader)
            if self._status is None:
                _, self._status = os.waitpid(self.pid, 0)

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        assert self._status is not None
        return os.WIFSIGNALED(self._status) and os.WTERMSIG(self._status) == signal.SIGKILL

    def _listen(self, *, until: str | None) -> bool:
        give_up = time.monotonic() + LIMIT_S
        while True:
            if until is not None and self.heard(until):
                return True
            ready, _, _ = select.select([self._reader], [], [], max(0, give_up - time.monotonic()))
            if not ready:
                os.kill(self.pid, signal.SIGKILL)
                raise Stuck(f"no end after {LIMIT_S} s; told: {self.told}")
            read = os.read(self._reader, 65536)
            if not read:
                return False
            *lines, self._rest = (self._rest + read).split(b"\n")
            self.told += [json.loads(line) for line in lines]


def _live(work: Callable[[Tell], Any], writer: int) -> None:
    def tell(*line: Any) -> None:
        os.write(writer, json.dumps(line).encode() + b"\n")

    try:
        work(tell)
        tell("ended")
    except BaseException:  # noqa: BLE001 - whatever it is, the parent judges it
        tell("raised", describe_error())
    finally:
        os._exit(0)


def describe_error() -> str:
    """The exception that is being handled: class, message, and the innermost line of this repository."""
    kind, error, trace = sys.exc_info()
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
    ours = [place.removeprefix(f"{ROOT}/") for place in places if place.startswith(f"{ROOT}/")]
    return f"{kind.__name__ if kind else ''}: {' '.join(str(error).split())} ({', '.join(ours[-2:])})"
