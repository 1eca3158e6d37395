"""The nemesis: every few seconds it does something bad to the installation, chosen by a seed.

Its deeds are a shuffled deck that begins anew when it is empty, so that each kind comes before any comes twice as often.
"""

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil
import psycopg
import redis

from tests.soak.installation import Installation
from tests.soak.parts import Gone
from tests.soak.ways import CHANNELS
from tests.soak.weather import WEATHERS, Weather
from tests.waiting import wait_until

LOOK_EVERY_S = 0.5
FROZEN_S = 4.0
TOLD_WITHIN_S = 60

KILLED = ("web", "watch", "sandbox", "cluster", "sentinel", "cluster member", "redis", "postgres")
DEEDS_TO_SERVERS = ("redis emptied", "redis frozen", "postgres restarted", "connections cut")
EVERYTHING = (*WEATHERS, *(f"kill {name}" for name in KILLED), *DEEDS_TO_SERVERS)
KILLS_ONLY = tuple(f"kill {name}" for name in KILLED)

CUT = "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()"


class Nemesis:
    """Does the deeds of `kinds`, one about every `every_s` seconds, over the weather `always`."""

    def __init__(
        self,
        installation: Installation,
        *,
        kinds: Sequence[str],
        every_s: float,
        seed: int,
        always: Sequence[str] = (),
        channels: Sequence[str] = CHANNELS,
    ) -> None:
        self.installation, self.kinds, self.every_s = installation, list(kinds), every_s
        self.always, self.channels = list(always), channels
        self.random = random.Random(f"{seed}/nemesis")
        self.done: Counter[str] = Counter()
        self.weather = Weather(installation.sandbox)
        self._deck: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nemesis")

    @property
    def counts(self) -> Counter[str]:
        """How often each kind struck: calls and notifications spoilt, processes killed, servers harmed."""
        return self.done + self.weather.struck

    def start(self) -> None:
        self.weather.change(self.always, seed=self._new_seed())
        self._thread.start()

    def stop(self) -> None:
        """Do nothing bad any more, and see to it that the channels are well again."""
        self._stop.set()
        self._thread.join()
        wait_until(self.weather.end, within_s=TOLD_WITHIN_S, every_s=LOOK_EVERY_S)

    def _run(self) -> None:
        while not self._pause(self.every_s * self.random.uniform(0.5, 1.5)):
            if not self.kinds:
                continue
            kind = self._draw()
            # What is down already cannot be killed; an answer may be missing in the middle of another's outage.
            with suppress(Gone, psutil.Error, psycopg.Error, redis.RedisError):
                self._do(kind)

    def _pause(self, seconds: float) -> bool:
        """Wait, and keep the weather meanwhile; True when it is time to end."""
        for _ in range(max(1, round(seconds / LOOK_EVERY_S))):
            if self._stop.wait(LOOK_EVERY_S):
                return True
            self.weather.keep()
        return False

    def _draw(self) -> str:
        if not self._deck:
            self._deck = self.random.sample(self.kinds, len(self.kinds))
        return self._deck.pop()

    def _do(self, kind: str) -> None:
        if kind in WEATHERS:
            more = self.random.sample([*WEATHERS], self.random.choice((0, 0, 1, 2)))
            kinds = [*self.always, *more, kind]
            self.weather.change(kinds, seed=self._new_seed(), channels=self._draw_channels())
            return
        deed = _DEEDS.get(kind)
        if deed is None:
            _kill(self, kind.removeprefix("kill "))
        else:
            deed(self)
        self.done[kind] += 1

    def _draw_channels(self) -> list[str]:
        """Mostly all have a bad day; sometimes one alone, which is when shoppers change the method."""
        is_all = bool(self.always) or self.random.random() < 0.75
        return [] if is_all else [self.random.choice(self.channels)]

    def _new_seed(self) -> int:
        return self.random.randrange(1, 2**31)


def _kill(nemesis: Nemesis, name: str) -> None:
    parts = nemesis.installation.parts
    if name == "cluster member":
        members = parts.cluster_members()
        if not members:
            raise Gone(name)
        nemesis.random.choice(members).kill()
    else:
        parts.find(name).kill()


def _freeze_redis(nemesis: Nemesis) -> None:
    redis = nemesis.installation.parts.find("redis")
    redis.suspend()
    nemesis._pause(FROZEN_S)
    redis.resume()


def _empty_redis(nemesis: Nemesis) -> None:
    nemesis.installation.empty_redis()


def _restart_postgres(nemesis: Nemesis) -> None:
    # PostgreSQL's immediate shutdown, which leaves a recovery to do; the demo starts it again.
    nemesis.installation.parts.find("postgres").send_signal(signal.SIGQUIT)


def _cut_connections(nemesis: Nemesis) -> None:
    nemesis.installation.ask(CUT)


_DEEDS: dict[str, Callable[[Nemesis], None]] = {
    "redis frozen": _freeze_redis,
    "redis emptied": _empty_redis,
    "postgres restarted": _restart_postgres,
    "connections cut": _cut_connections,
}
