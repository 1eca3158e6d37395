"""The bell: wakes pages that wait for news of an order, through Redis.

A hint and nothing more: whoever is woken reads the state from PostgreSQL, and whoever is not reads it some moments
later. With Redis gone nobody is woken, and nothing else changes.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import structlog
from channels.layers import get_channel_layer
from django.conf import settings

from shop.hints import ask_redis, full_name

log = structlog.get_logger("nodrop.bell")

# While Redis is gone, the bell is hung up again this often.
REST_S = 2.0


def ring(subject: str) -> bool:
    """Wake whoever waits for news of `subject`; False when Redis could not be told. Never inside a transaction.

    By the connection that every hint uses, from any thread. It says what `group_send` of the layer would say.
    """
    group = group_of(subject)
    layer: Any = get_channel_layer()
    layers: dict[str, Any] = settings.CHANNEL_LAYERS
    channel = f"{layers['default']['CONFIG']['prefix']}__group__{group}"
    body = layer.serialize({"type": "bell.rings", "group": group})
    return ask_redis(lambda client: client.publish(channel, body)) is not None


def group_of(subject: str) -> str:
    """The layer's group that hears of `subject`; there a colon is not allowed."""
    return full_name(f"bell:{subject}").replace(":", ".")


class Listening:
    """Hears the bell of one subject from `async with` on, so that what happens before the first wait is not missed.

    Redis is not waited for: while it is gone nobody hears anything, and afterwards the bell is heard again.
    """

    def __init__(self, subject: str) -> None:
        self.group = group_of(subject)
        self.heard, self.rung = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._belfry = _belfry()
        self._belfry.enter(self)
        cache: dict[str, Any] = settings.CACHES["default"]
        limit_s = cache["OPTIONS"]["SOCKET_CONNECT_TIMEOUT"]
        with suppress(TimeoutError):
            await asyncio.wait_for(self.heard.wait(), limit_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._belfry.leave(self)  # when its loop ends, it may have gone first

    async def wait(self, limit_s: float) -> bool:
        """Until the bell rings, True, or `limit_s` seconds are over, False."""
        try:
            await asyncio.wait_for(self.rung.wait(), limit_s)
        except TimeoutError:
            return False
        self.rung.clear()
        return True


class _Belfry:
    """Everybody of one event loop who listens, behind one channel of the layer and so one connection to Redis.

    The layer is the bell's alone: when anything is wrong with it, it is made anew.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listening]] = {}
        self._joined: set[str] = set()
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        # Not by the task itself: one that is cancelled before its first step never runs.
        self._task.add_done_callback(lambda task: _belfries.pop(task.get_loop(), None))

    def enter(self, listening: Listening) -> None:
        """Its `heard` is set as soon as the bell of its group is heard."""
        self._listeners.setdefault(listening.group, set()).add(listening)
        if listening.group in self._joined:
            listening.heard.set()
        self._changed.set()

    def leave(self, listening: Listening) -> None:
        """Its group is left with the last of them."""
        others = self._listeners[listening.group]
        others.discard(listening)
        if not others:
            del self._listeners[listening.group]
        self._changed.set()

    async def _run(self) -> None:
        layer: Any = get_channel_layer()
        while _is_wanted():
            with suppress(Exception):
                await layer.flush()  # also what an earlier try has left behind
            try:
                await self._listen(layer)
            except Exception as error:  # noqa: BLE001 - whatever a broken connection raises, it is hung up again
                log.warning("nobody hears the bell", error=type(error).__name__, rests_s=REST_S)
            self._joined.clear()
            await asyncio.sleep(REST_S)

    async def _listen(self, layer: Any) -> None:
        channel = await layer.new_channel("bell.")
        if not _is_wanted():
            return
        waking = asyncio.create_task(self._wake(layer, channel))
        joining = asyncio.create_task(self._join(layer, channel))
        try:
            done, _ = await asyncio.wait((waking, joining), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            waking.cancel()
            joining.cancel()

    async def _wake(self, layer: Any, channel: str) -> None:
        while _is_wanted():
            message = await layer.receive(channel)
            for listening in self._listeners.get(message.get("group", ""), ()):
                listening.rung.set()

    async def _join(self, layer: Any, channel: str) -> None:
        """Keep the channel in the groups that somebody listens to, and in no other."""
        self._changed.set()
        while _is_wanted():
            await self._changed.wait()
            self._changed.clear()
            for group in self._listeners.keys() - self._joined:
                await layer.group_add(group, channel)
                self._joined.add(group)
                for listening in self._listeners.get(group, ()):
                    listening.heard.set()
            for group in self._joined - self._listeners.keys():
                self._joined.discard(group)
                await layer.group_discard(group, channel)


def _is_wanted() -> bool:
    """Whether nobody has cancelled this task; to be asked, because a library may have swallowed that (so does `wait_for`
    before Python 3.12)."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


# The loop of a web process lives as long as it; under WSGI each waiting call has one of its own.
_belfries: dict[asyncio.AbstractEventLoop, _Belfry] = {}


def _belfry() -> _Belfry:
    loop = asyncio.get_running_loop()
    if loop not in _belfries:
        _belfries[loop] = _Belfry()
    return _belfries[loop]
