"""The rounds: pgbench, then HTTP, again and again on the same database, so that both have the same weather."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django_q.models import OrmQ

from payments.models import Callback
from payments.sandbox.wechat_seals import WeChatKeys
from tests.bench.batches import Counted, count_batch, make_batch, numbers_of
from tests.bench.bodies import seal_callback, to_request
from tests.bench.load import pack
from tests.bench.meter import Meter, others_percent
from tests.bench.plain import CLIENTS, settle_by_pgbench
from tests.programs import ROOT

CONNECTIONS = 16
# pgbench gets more to do, so that both parts of a round take about as long.
PLAIN_PER_CALLBACK = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One half of a round: how many were to be settled, in how many seconds, and what the database says afterwards."""

    asked: int
    seconds: float
    counted: Counted
    cpu_s: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Payments that are PAID now, a second."""
        return self.counted.paid / self.seconds

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds of one settle, by who used them."""
        return {name: used_s / self.asked * 1e6 for name, used_s in self.cpu_s.items()}

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for has been settled, in every table."""
        return self.counted.agrees and self.counted.paid == self.asked


@dataclass(frozen=True, slots=True)
class Round:
    """pgbench and HTTP right after each other, and how busy the machine was with others before."""

    plain: Part
    http: Part
    others_percent: float

    @property
    def ratio(self) -> float:
        """What counts: by the clock and the rows."""
        return self.http.per_second / self.plain.per_second

    @property
    def ratio_of_cpu(self) -> float | None:
        """What the ratio would be if nobody else used the cores; None where PostgreSQL is not ours to measure."""
        if "postgres" not in self.http.cpu_s:
            return None
        return sum(self.plain.cpu_us.values()) / sum(self.http.cpu_us.values())


class Bench:
    """Makes rounds on the present database, and against the web that listens at `port`."""

    def __init__(self, keys: WeChatKeys, port: int, meter: Meter, folder: Path) -> None:
        self.keys, self.port, self.meter, self.folder = keys, port, meter, folder
        self.sample: Mapping[str, str] = {}

    def warm_up(self, callbacks: int) -> None:
        """A round that does not count: every worker imports and connects, and the tables get a history.

        Over tables that are nearly empty PostgreSQL plans other ways, and keeps to them for a while.
        """
        self.settle_over_http("first", callbacks)
        self.sample = read_sample()
        self.settle_plainly("history", callbacks * PLAIN_PER_CALLBACK)

    def rounds(self, callbacks: int, times: int) -> Iterator[Round]:
        """So many rounds of so many callbacks."""
        for nth in range(1, times + 1):
            others = others_percent()
            plain = self.settle_plainly(f"plain {nth}", callbacks * PLAIN_PER_CALLBACK)
            yield Round(plain, self.settle_over_http(f"http {nth}", callbacks), others)

    def settle_plainly(self, batch: str, count: int) -> Part:
        """Have pgbench settle a new batch. Raises RuntimeError."""
        count = -(-count // CLIENTS) * CLIENTS
        make_batch(batch, count)
        return self._measure(batch, count, lambda: settle_by_pgbench(batch, count, self.sample, self.folder))

    def settle_over_http(self, batch: str, count: int) -> Part:
        """Have the web settle a new batch. Raises RuntimeError."""
        make_batch(batch, count)
        requests = pack(to_request(*seal_callback(self.keys, *named)) for named in numbers_of(batch))
        return self._measure(batch, count, lambda: self._send(requests))

    def _measure(self, batch: str, count: int, settle: Callable[[], float]) -> Part:
        with self.meter.measuring():
            seconds = settle()
        return Part(count, seconds, count_batch(batch), self.meter.used_s)

    def _send(self, requests: bytes) -> float:
        command = [sys.executable, "-m", "tests.bench.load", str(self.port), str(CONNECTIONS)]
        done = subprocess.run(command, cwd=ROOT, input=requests, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the load stopped: {done.stderr.decode()}")
        return float(done.stdout)


def read_sample() -> dict[str, str]:
    """The texts of the latest settle, as the shop wrote them."""
    callback, message = Callback.objects.latest("pk"), OrmQ.objects.latest("pk")
    return {
        "headers": json.dumps(callback.headers),
        "body": "\\x" + bytes(callback.body).hex(),
        "report": json.dumps(callback.report),
        "message": message.payload,
    }
