"""`python -m tests.bench.push`: how soon open pages hear that their order is settled, and show it.

One uvicorn worker, `watch` and its cluster, all in processes of their own; 500 open sockets, each of its own order and its
own browser session. From the end of the settling transaction to the message of the socket, and on to the page, read again
as the browser would, that says so. Beside it what Redis alone takes from a publication to its receipt, in the same run.
Exit 0 when 99 of 100 pages show it within a second, 1 otherwise.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import redis
import redis.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.bench.bodies import HOST
from tests.bench.ground import prepared
from tests.programs import MANAGE, ROOT
from tests.waiting import wait_until

LIMIT_S = 1.0
BARE = 200
GAP_S = 0.1
HEADERS = {"X-Forwarded-Proto": "https"}


@dataclass
class Figures:
    """Seconds, one of each settled order."""

    message: list[float] = field(default_factory=list)
    page: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shopper:
    """A browser with its order's pay page open."""

    number: str
    payment: Any
    session: str

    @property
    def headers(self) -> dict[str, str]:
        return HEADERS | {"Cookie": f"__Host-session={self.session}"}


def main() -> int:
    """Run what the options say."""
    parser = argparse.ArgumentParser("python -m tests.bench.push", description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=500, help="open at once (default: %(default)s)")
    parser.add_argument("--settles", type=int, default=100, help="of their orders (default: %(default)s)")
    options = parser.parse_args()
    with prepared():
        log = Path(os.environ["NODROP_DATA_DIR"]) / "push.log"
        shoppers = make_shoppers(options.sockets)
        with serving(log) as (port, worker):
            figures, rss = asyncio.run(measure(port, worker, shoppers, options.settles))
        bare = asyncio.run(measure_redis())
        sys.stderr.write(log.read_text()[-4000:])
    print(describe(figures, bare, rss, options))
    return 0 if len(figures.page) == options.settles and percentile(figures.page) < LIMIT_S else 1


def make_shoppers(count: int) -> list[Shopper]:
    """Each with an order, an open attempt, and the session that placed it."""
    from django.contrib.sessions.backends.db import SessionStore

    from orders.access import remember
    from tests.factories import make_order, make_payment

    made = []
    for _ in range(count):
        order = make_order(sku="push", stock=count)
        session = SessionStore()
        remember(session, order)
        session.save()
        assert session.session_key
        made.append(Shopper(order.number, make_payment(order), session.session_key))
    return made


@contextmanager
def serving(log: Path) -> Iterator[tuple[int, psutil.Process]]:
    """One web worker, as the demo starts it, and `watch`. The port and the worker."""
    from shop.demo import WEB_SOCKETS

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    web = [
        sys.executable,
        "-m",
        "uvicorn",
        "shop.asgi:application",
        f"--port={port}",
        "--lifespan=off",
        "--no-access-log",
        "--log-level=warning",
    ]
    web += [f"--{name.replace('_', '-')}={value}" for name, value in WEB_SOCKETS.items()]
    with log.open("ab") as out:
        programs = [
            subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"LOG_LEVEL": "ERROR"}, stdout=out, stderr=out
            )
            for command in (web, [*MANAGE, "watch"])
        ]
    try:
        wait_until(lambda: _answers(port), within_s=30)
        yield port, psutil.Process(programs[0].pid)
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait(timeout=30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def measure(
    port: int, worker: psutil.Process, shoppers: Sequence[Shopper], settles: int
) -> tuple[Figures, tuple[int, int]]:
    """The figures, and the worker's memory in bytes before the sockets and with them."""
    figures, before = Figures(), worker.memory_info().rss
    async with AsyncExitStack() as stack:
        pages = []
        for shopper in shoppers:
            opened = connect(
                f"ws://{HOST}/ws/orders/{shopper.number}/",
                host="127.0.0.1",
                port=port,
                origin=Origin(f"https://{HOST}"),
                additional_headers=shopper.headers,
                proxy=None,
                open_timeout=60,
            )
            page = await stack.enter_async_context(opened)
            pages.append((shopper, page, json.loads(await page.recv())["version"]))
        rss = worker.memory_info().rss
        await asyncio.sleep(5)  # until every socket has looked once, and the cluster runs
        for shopper, page, version in pages[:settles]:
            await _settle_and_see(port, shopper, page, version, figures)
            await asyncio.sleep(GAP_S)
    return figures, (before, rss)


async def _settle_and_see(
    port: int, shopper: Shopper, page: ClientConnection, version: int, figures: Figures
) -> None:
    settled_at = await asyncio.to_thread(_settle, shopper.payment)
    while json.loads(await page.recv())["version"] <= version:
        pass  # a heartbeat from before
    figures.message.append(time.perf_counter() - settled_at)
    if 'data-situation="paid"' in await _read_page(port, shopper):
        figures.page.append(time.perf_counter() - settled_at)


def _settle(payment: Any) -> float:
    """When it was committed. What follows, and so the bell, is the cluster's work."""
    from payments.settling import settle_payment
    from shop.models import Source
    from tests.factories import report

    settle_payment(report(payment), channel=payment.channel, source=Source.CALLBACK)
    return time.perf_counter()


async def _read_page(port: int, shopper: Shopper) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in shopper.headers.items())
    writer.write(
        f"GET /orders/{shopper.number}/pay/ HTTP/1.1\r\nHost: {HOST}\r\n{lines}Connection: close\r\n\r\n".encode()
    )
    text = (await reader.read()).decode()
    writer.close()
    return text


async def measure_redis() -> list[float]:
    """From a publication in a thread to its receipt here, over the same Redis, in seconds."""
    address = os.environ["REDIS_URL"]
    client, plain = redis.asyncio.Redis.from_url(address), redis.Redis.from_url(address)
    took = []
    async with client.pubsub(ignore_subscribe_messages=True) as heard:
        await heard.subscribe("bare")
        await heard.get_message(timeout=1)
        for _ in range(BARE):
            began = time.perf_counter()
            await asyncio.to_thread(plain.publish, "bare", b"news")
            while not await heard.get_message(timeout=1):
                pass
            took.append(time.perf_counter() - began)
    await client.aclose()
    plain.close()
    return took


def percentile(figures: Sequence[float]) -> float:
    """The 99th."""
    return quantiles(figures, n=100)[98] if len(figures) > 1 else max(figures, default=float("inf"))


def describe(
    figures: Figures, bare: Sequence[float], rss: tuple[int, int], options: argparse.Namespace
) -> str:
    """One block for people."""
    rows = [("Redis alone", bare), ("settle to message", figures.message), ("settle to page", figures.page)]
    lines = [
        f"{options.sockets} open sockets, each of its own order and session, on one uvicorn worker",
        f"{len(figures.page)} of {options.settles} settled orders seen paid",
    ]
    for name, seconds in rows:
        lines.append(
            f"{name:18} median {median(seconds) * 1000:7.1f} ms   p99 {percentile(seconds) * 1000:7.1f} ms"
            f"   {median(seconds) / median(bare):6.1f} times Redis alone"
        )
    lines.append(
        f"worker's memory    {rss[0] / 2**20:.0f} MiB before, {rss[1] / 2**20:.0f} MiB with the sockets"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
