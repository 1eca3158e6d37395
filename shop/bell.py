"""The bell: wakes pages that wait for news of an order, through Redis.

A hint and nothing more: whoever is woken reads the state from PostgreSQL, and whoever is not reads it some moments
later. With Redis gone nobody is woken, and nothing else changes.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

import redis
import redis.asyncio
from django.conf import settings

from shop.hints import ask_redis, full_name


def ring(subject: str) -> bool:
    """Wake whoever waits for news of `subject`; False when Redis could not be told. Never inside a transaction."""
    return ask_redis(lambda client: client.publish(_name(subject), "news")) is not None


class Listening:
    """Hears the bell of one subject from `async with` on, so that what happens before the first wait is not missed."""

    def __init__(self, subject: str) -> None:
        self._name = _name(subject)
        self._client: redis.asyncio.Redis | None = None
        self._pubsub: Any = None

    async def __aenter__(self) -> Self:
        cache: dict[str, Any] = settings.CACHES["default"]
        limit_s = cache["OPTIONS"]["SOCKET_CONNECT_TIMEOUT"]
        self._client = redis.asyncio.Redis.from_url(
            cache["LOCATION"], socket_connect_timeout=limit_s, socket_timeout=limit_s
        )
        try:
            self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
            await self._pubsub.subscribe(self._name)
        except (redis.RedisError, OSError):
            self._pubsub = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def wait(self, limit_s: float) -> bool:
        """Until the bell rings, True, or `limit_s` seconds are over, False."""
        give_up = asyncio.get_running_loop().time() + limit_s
        try:
            while self._pubsub and (left_s := give_up - asyncio.get_running_loop().time()) > 0:
                if await self._pubsub.get_message(timeout=left_s):
                    return True
        except (redis.RedisError, OSError):
            self._pubsub = None
        await asyncio.sleep(max(0.0, give_up - asyncio.get_running_loop().time()))
        return False


def _name(subject: str) -> str:
    return full_name(f"bell:{subject}")
