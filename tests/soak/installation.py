"""An installation for the soak: `manage.py demo` in a folder of its own, a full shelf, and a line to its database.

The line only counts what came about and stocks the shelf beforehand; money moves through the shop's own doors alone.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import redis
import requests

from shop import embedded
from tests.flows.test_demo import Demo
from tests.programs import MANAGE, ROOT
from tests.soak.parts import Parts
from tests.waiting import wait_until

HEALED_WITHIN_S = 90
# While an earlier attempt is undecided: so long a shopper who changes the method is asked to wait.
CONFIRMING_LIMIT_S = 15
AUDIT_WITHIN_S = 900
# The whole crowd comes from one address.
THROTTLED = ("place", "apply", "cancel", "query", "status", "read", "refund")
FOUND_SOMETHING = 1


class Installation:
    """A running demo, its processes, and what can be asked of it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.demo = Demo(data_dir)
        self.parts = Parts(self.demo.process.pid, data_dir)
        self.shop, self.sandbox = self.demo.shop, self.demo.sandbox

    def ask(self, query: str, *params: Any) -> list[Any]:
        """The rows of one query of the shop's database, on a connection of its own. Raises psycopg.Error."""
        url = embedded.postgres_url(self.data_dir)
        with psycopg.connect(url, connect_timeout=3, autocommit=True) as connection:
            found = connection.execute(query, params)
            return found.fetchall() if found.description else []

    def stock_up(self, units: int) -> dict[str, list[str]]:
        """Put so many units of each product on the shelf. Returns the SKUs of each currency."""
        self.ask("update orders_product set stock = stock + %s, supplied = supplied + %s", units, units)
        found = self.ask("select currency, array_agg(sku order by id) from orders_product group by currency")
        return dict(found)

    def empty_redis(self) -> None:
        """FLUSHALL. Raises redis.RedisError."""
        with redis.Redis.from_url(embedded.redis_url(self.data_dir), socket_timeout=2) as connection:
            connection.flushall()

    def trades(self) -> list[dict[str, Any]]:
        """The channels' own list: the truth of the money."""
        trades: list[dict[str, Any]] = requests.get(f"{self.sandbox}/_sandbox/trades", timeout=60).json()
        return trades

    def tell_again(self, trade: Mapping[str, Any]) -> None:
        """Have the channel send its message about a payment now. Its own next try may be an hour away."""
        url = f"{self.sandbox}/_sandbox/trades/{trade['channel']}/{trade['out_trade_no']}/notify"
        requests.post(url, json={}, timeout=60)

    def is_whole(self) -> bool:
        """Whether the shop reports that every part of it is well, and the sandbox answers."""
        with suppress(requests.RequestException):
            report = requests.get(f"{self.shop}/readyz", timeout=5).json()
            return all(report.values()) and requests.get(f"{self.sandbox}/_sandbox/faults", timeout=5).ok
        return False

    def wait_until_whole(self) -> None:
        wait_until(self.is_whole, within_s=HEALED_WITHIN_S, every_s=0.5)

    def audit(self) -> list[str]:
        """What `manage.py audit` finds, also against the channels' list, in lines."""
        done = self.manage("audit", "--trades", f"{self.sandbox}/_sandbox/trades", "--json")
        if done.returncode not in (0, FOUND_SOMETHING):
            raise RuntimeError(f"the audit could not be made: {done.stderr}")
        found = json.loads(done.stdout)["violations"]
        return [f"{each['invariant']} {each['subject']} {each['detail']}" for each in found]

    def manage(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command as in a second terminal."""
        environment = os.environ | {"NODROP_DATA_DIR": str(self.data_dir)}
        return subprocess.run(
            [*MANAGE, *args], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=AUDIT_WITHIN_S, check=False,
        )  # fmt: skip


@contextmanager
def installed(folder: Path | None, *, order_lifetime_s: int) -> Iterator[Installation]:
    """An installation that ends with the block. Its folder is kept if it was given, for whoever looks for a reason.

    Raises FileExistsError for a folder that is there: what an earlier run left would be judged again.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="nodrop-soak-"))
    place.mkdir(parents=True, exist_ok=folder is None)
    place.chmod(0o755)  # the servers' unprivileged account must be able to pass
    limits = {f"THROTTLE_{kind.upper()}": "0" for kind in THROTTLED}
    limits |= {"ORDER_LIFETIME_S": str(order_lifetime_s), "CONFIRMING_LIMIT_S": str(CONFIRMING_LIMIT_S)}
    with mock.patch.dict(os.environ, limits):
        installation = Installation(place / "data")
    try:
        yield installation
    finally:
        installation.demo.stop()
        if folder is None:
            shutil.rmtree(place)
