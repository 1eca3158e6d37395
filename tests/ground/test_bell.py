"""The bell: a hint through Redis that never stands in the way."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from shop.bell import Listening, ring


@pytest.fixture(params=["absent", "frozen"])
def no_redis(request, settings) -> Iterator[None]:
    """An address where nobody listens, or somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1] if request.param == "frozen" else 9
        cache = settings.CACHES["default"]
        settings.CACHES = {"default": cache | {"LOCATION": f"redis://127.0.0.1:{port}/0"}}
        yield


async def _wait(subject: str, limit_s: float, *, then: str = "") -> tuple[bool, float]:
    async with Listening(subject) as bell:
        if then:
            await asyncio.to_thread(ring, then)
        began = time.monotonic()
        return await bell.wait(limit_s), time.monotonic() - began


def test_who_listens_is_woken():
    was_rung, waited_s = asyncio.run(_wait("N1", 10, then="N1"))
    assert was_rung
    assert waited_s < 5


def test_bell_of_another_order_wakes_nobody():
    assert asyncio.run(_wait("N1", 0.3, then="N2"))[0] is False


@pytest.mark.usefixtures("no_redis")
def test_without_redis_a_page_waits_its_time():
    was_rung, waited_s = asyncio.run(_wait("N1", 0.3))
    assert not was_rung
    assert 0.25 <= waited_s < 3


@pytest.mark.usefixtures("no_redis")
def test_without_redis_nobody_is_woken_and_nothing_fails():
    assert ring("N1") is False
