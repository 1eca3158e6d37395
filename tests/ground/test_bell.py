"""The bell: a hint through Redis that never stands in the way, over one connection of each process."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from django_redis import get_redis_connection

from shop import bell as bell_room
from shop import hints
from shop.bell import Listening, group_of, ring


def lead_to(settings: Any, address: str) -> None:
    """Cache and bell of this test ask Redis at `address`."""
    layer = settings.CHANNEL_LAYERS["default"]
    host = {"address": address, "socket_connect_timeout": 0.3, "socket_timeout": 0.3}
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": layer["CONFIG"] | {"hosts": [host]}}}
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": address}}


@pytest.fixture(params=["absent", "frozen"])
def no_redis(request, settings) -> Iterator[None]:
    """An address where nobody listens, or somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1] if request.param == "frozen" else 9
        lead_to(settings, f"redis://127.0.0.1:{port}/0")
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


@pytest.mark.django_db(
    transaction=True
)  # a consumer looks after the connections of its thread, whoever left them there
def test_bell_is_heard_by_any_consumer_of_the_layer():
    heard: asyncio.Future[dict[str, Any]]

    class Consumer(AsyncConsumer):
        async def hang_up(self, message: dict[str, Any]) -> None:
            await self.channel_layer.group_add(group_of("N1"), self.channel_name)
            await asyncio.to_thread(ring, "N1")

        async def bell_rings(self, message: dict[str, Any]) -> None:
            heard.set_result(message)

    async def hear() -> dict[str, Any]:
        nonlocal heard
        heard = asyncio.get_running_loop().create_future()
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        said.put_nowait({"type": "hang.up"})
        consumer = asyncio.create_task(Consumer.as_asgi()({"type": "bell"}, said.get, _nobody))
        message = await asyncio.wait_for(heard, 10)
        consumer.cancel()
        return message

    assert asyncio.run(hear()) == {"type": "bell.rings", "group": group_of("N1")}


async def _nobody(message: Any) -> None:
    """Nobody is told anything."""


def test_all_who_listen_share_one_connection():
    async def count() -> tuple[int, bool]:
        async with AsyncExitStack() as stack:
            bells = [await stack.enter_async_context(Listening(f"N{n % 30}")) for n in range(90)]
            hearing = _who_hears(30)
            await asyncio.to_thread(ring, "N3")
            return hearing, await bells[63].wait(10)

    assert asyncio.run(count()) == (1, True)


def _who_hears(many: int) -> int:
    """How many connections hear so many groups; those of other tests at this moment hear one or two."""
    clients = get_redis_connection("default").client_list(_type="pubsub")
    return sum(int(each["sub"]) >= many for each in clients)


def test_nothing_is_left_of_those_who_have_gone():
    async def come_and_go() -> tuple[Any, Any]:
        for n in range(5):
            async with Listening(f"N{n}"):
                pass
        async with Listening("N9"):
            layer: Any = get_channel_layer()
            return asyncio.get_running_loop(), tuple(layer.groups)

    loop, [left] = asyncio.run(come_and_go())
    assert left.endswith(group_of("N9"))
    assert loop not in bell_room._belfries


@pytest.mark.parametrize("is_first", [True, False])
def test_nothing_is_left_of_a_loop_that_ends_while_somebody_listens(is_first):
    """The bell's own task may be cancelled before who listens, and before its first step."""

    async def listen() -> None:
        async with Listening("N1") as bell:
            await bell.wait(60)

    async def end_early() -> Any:
        listener = asyncio.create_task(listen())
        await asyncio.sleep(0 if is_first else 0.1)
        loop = asyncio.get_running_loop()
        task = bell_room._belfries[loop]._task
        for each in (task, listener):
            each.cancel()
            await asyncio.wait([each])
        assert listener.cancelled()
        return loop

    assert asyncio.run(end_early()) not in bell_room._belfries


@pytest.mark.usefixtures("no_redis")
def test_without_redis_a_page_waits_its_time():
    began = time.monotonic()
    was_rung, waited_s = asyncio.run(_wait("N1", 0.3))
    assert not was_rung
    assert 0.25 <= waited_s < 3
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("no_redis")
def test_without_redis_nobody_is_woken_and_nothing_fails():
    assert ring("N1") is False


# ---- a Redis that goes and comes back ------------------------------------------------------------------------------


class Way:
    """A way to Redis that can be closed, and opened again; frozen, it stays open and carries nothing."""

    def __init__(self) -> None:
        self.is_frozen = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server
        self._server.close()
        for end in self._ends:
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await connect()
        self._ends |= {writer, there_writer}
        await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                while self.is_frozen:
                    await asyncio.sleep(0.01)
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    options = get_redis_connection("default").connection_pool.connection_kwargs
    if "path" in options:
        return await asyncio.open_unix_connection(options["path"])
    return await asyncio.open_connection(options["host"], options["port"])


@asynccontextmanager
async def way_to_redis(settings: Any) -> AsyncIterator[Way]:
    """Only the bell of this test goes by it; who rings, does so directly."""
    way = Way()
    await way.open()
    layer = settings.CHANNEL_LAYERS["default"]
    host = {
        "address": f"redis://127.0.0.1:{way.port}/0",
        "socket_connect_timeout": 0.3,
        "socket_timeout": 0.3,
    }
    settings.CHANNEL_LAYERS = {"default": layer | {"CONFIG": layer["CONFIG"] | {"hosts": [host]}}}
    try:
        yield way
    finally:
        await way.close()


async def _close(way: Way) -> None:
    await way.close()


async def _freeze(way: Way) -> None:
    way.is_frozen = True


@pytest.mark.parametrize("trouble", [_close, _freeze])
def test_after_redis_was_gone_who_stayed_and_who_came_meanwhile_are_woken_again(
    settings, monkeypatch, trouble: Callable[[Way], Awaitable[None]]
):
    monkeypatch.setattr(bell_room, "REST_S", 0.1)
    monkeypatch.setattr(hints, "_rests_until", {})

    async def stay() -> list[bool]:
        async with way_to_redis(settings) as way, Listening("N1") as early:
            await trouble(way)
            async with Listening("N2") as late:
                assert await early.wait(0.5) is False
                way.is_frozen = False
                if trouble is _close:
                    await way.open()
                return [await _is_woken("N1", early), await _is_woken("N2", late)]

    assert asyncio.run(stay()) == [True, True]


async def _is_woken(subject: str, bell: Listening) -> bool:
    """Within ten seconds; what rings before the bell is hung up again is lost, as it may be."""
    for _ in range(50):
        await asyncio.to_thread(ring, subject)
        if await bell.wait(0.2):
            return True
    return False
