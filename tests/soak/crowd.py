"""Many shoppers on few threads: each is resumed when its pause is over, and new ones come while there is room."""

import heapq
import itertools
import sys
import threading
import time
from collections.abc import Iterator

from tests.soak.shoppers import Pauses

LOOK_EVERY_S = 0.2
SAY_EVERY_S = 15.0


class Crowd:
    """Runs every shopper of `arrivals` to its end.

    `at_once` of them are in the shop at most, so that a slow shop is not buried; a new one comes at the earliest
    `every_s` seconds after the last.
    """

    def __init__(
        self,
        arrivals: Iterator[Pauses],
        *,
        threads: int,
        at_once: int,
        every_s: float = 0.0,
        quiet: bool = True,
    ) -> None:
        self.arrivals, self.threads, self.at_once, self.every_s = arrivals, threads, at_once, every_s
        self.quiet = quiet
        self.arrived = self.left = 0
        self.errors: list[BaseException] = []
        self._waiting: list[tuple[float, int, Pauses]] = []
        self._order = itertools.count()
        self._is_open = True
        self._next_arrival = 0.0
        self._change = threading.Condition()

    def run(self) -> None:
        """Return when all have left. Raises what a shopper raised: a bug of the soak's own."""
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        next_word = time.monotonic() + SAY_EVERY_S
        for worker in workers:
            while worker.is_alive():
                worker.join(LOOK_EVERY_S)
                if not self.quiet and time.monotonic() >= next_word:
                    sys.stderr.write(f"{self.arrived} came, {self.left} have left\n")
                    next_word = time.monotonic() + SAY_EVERY_S
        if self.errors:
            raise self.errors[0]

    def _work(self) -> None:
        while (shopper := self._next()) is not None:
            pause_s: float | None = None
            try:
                pause_s = next(shopper)
            except StopIteration:
                pass
            except BaseException as error:  # noqa: BLE001 - handed on by `run`
                self.errors.append(error)
            self._put_back(shopper, pause_s)

    def _next(self) -> Pauses | None:
        """The shopper to resume now; waits for one. None when all have left."""
        with self._change:
            while not self.errors:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    return heapq.heappop(self._waiting)[2]
                if (new := self._let_in(now)) is not None:
                    return new
                if not self._is_open and self.arrived == self.left:
                    break
                self._change.wait(LOOK_EVERY_S)
            self._change.notify_all()
            return None

    def _let_in(self, now: float) -> Pauses | None:
        if not self._is_open or self.arrived - self.left >= self.at_once or now < self._next_arrival:
            return None
        new = next(self.arrivals, None)
        if new is None:
            self._is_open = False
            return None
        self.arrived += 1
        self._next_arrival = max(self._next_arrival + self.every_s, now)
        return new

    def _put_back(self, shopper: Pauses, pause_s: float | None) -> None:
        with self._change:
            if pause_s is None:
                self.left += 1
            else:
                due = time.monotonic() + pause_s
                heapq.heappush(self._waiting, (due, next(self._order), shopper))
            self._change.notify()
