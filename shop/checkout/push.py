"""The WebSocket of the pages about one order: `/ws/orders/<number>/` says when there is news, and nothing else.

A message is a hint, `{"version": 7}`: who gets it reads the page again. It comes on connecting, on every bell and as a
heartbeat. What a client sends is not read; and who may not see the order learns nothing, not even whether there is one.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from itertools import count
from random import uniform
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

from orders.errors import OrderNotFound
from payments.api.status import read_now, recall_now
from payments.showing import OrderState
from shop.bell import Listening
from shop.keyring import BadKey
from shop.keys import MissingScope
from shop.middleware import BUSY, OddCookieMiddleware
from shop.throttles import TooManyRequests

log = structlog.get_logger("nodrop.push")

# How often, at the latest, the state is read without any bell, which has the channel asked; and every how many times a client hears of it.
LOOK_S = 10.0
BEAT = 2
# Then it is to come again: its right is asked for anew, and sockets spread over the processes that are there now.
LIFE_S = 3600.0
# Codes of RFC 6455, 7.4; from 4000 on they are ours.
COME_AGAIN, SAID_SOMETHING, BROKEN, NOT_FOUND = 1012, 1008, 1011, 4404

# Who may not see the order, or shows what lets nobody in.
SHUT_OUT = (OrderNotFound, BadKey, MissingScope, TooManyRequests)

# Threads that look without any bell, however many sockets there are: who comes, and who is rung for, stands in no line with
# them.
_lookers = ThreadPoolExecutor(2, thread_name_prefix="push")
Read = Callable[[HttpRequest, str], OrderState]


class OrderSocket(AsyncWebsocketConsumer):
    """One open page. While it waits it holds a socket and a place at the bell: no thread, no connection of a server."""

    # The layer's channel of a consumer would need Redis to connect; the bell needs it for nothing.
    channel_layer_alias = "none"

    async def connect(self) -> None:
        """Before anything is accepted: 403 for another origin, a stranger, a missing order, a busy database."""
        self._telling: asyncio.Task[None] | None = None
        try:
            self._known = await self._look(read_now)
        except (*SHUT_OUT, SuspiciousOperation, *BUSY):
            await self.close()
            return
        await self.accept()
        self._telling = asyncio.create_task(self._tell())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Our pages say nothing."""
        await self._end(SAID_SOMETHING)

    async def disconnect(self, code: int) -> None:
        """The page has gone, or this server goes."""
        if self._telling:
            self._telling.cancel()

    async def _end(self, code: int) -> None:
        """Closed once, whoever is the first to want it."""
        if self._telling:
            telling, self._telling = self._telling, None
            await self.close(code)
            telling.cancel()

    async def _tell(self) -> None:
        with suppress(OSError):  # the client has gone meanwhile
            try:
                async with asyncio.timeout(LIFE_S), Listening(self._number) as bell:
                    await self._follow(bell)
            except TimeoutError:
                await self._end(COME_AGAIN)
            except SHUT_OUT:
                await self._end(NOT_FOUND)
            except Exception as error:
                if isinstance(error, OSError):
                    raise
                log.exception("push broken", order=self._number)
                await self._end(BROKEN)

    async def _follow(self, bell: Listening) -> None:
        version, is_rung = self._known, True  # for what changed before anybody listened
        for nth in count():
            with suppress(*BUSY):
                latest = await (self._look(recall_now) if is_rung else self._look(read_now, _lookers))
                if is_rung and latest <= version:  # kept from before it rang
                    latest = await self._look(read_now)
                if latest != version or nth % BEAT == 0:
                    await self.send(json.dumps({"version": latest}))
                version = latest
            is_rung = await bell.wait(LOOK_S * uniform(0.6, 1))  # noqa: S311 - those who came together part

    async def _look(self, read: Read, executor: ThreadPoolExecutor | None = None) -> int:
        """The order's version, as it is or was a moment ago. Raises OrderNotFound."""
        look = sync_to_async(_look, thread_sensitive=False, executor=executor)
        return (await look(read, self.scope, self._number)).version

    @property
    def _number(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["number"])


def _look(read: Read, scope: dict[str, Any], number: str) -> OrderState:
    try:
        return read(_request_of(scope), number)
    finally:
        connection.close()  # to the pool


def _request_of(scope: dict[str, Any]) -> HttpRequest:
    """The handshake as our views know a request, with its session and its user as they are now. Raises SuspiciousOperation."""
    request = ASGIRequest({**scope, "method": "GET"}, BytesIO())
    for middleware in (OddCookieMiddleware, SessionMiddleware, AuthenticationMiddleware):
        middleware(lambda _: HttpResponse()).process_request(request)
    ours = f"{'https' if settings.HTTPS else 'http'}://{request.get_host()}"
    if request.headers.get("Origin") not in (settings.PUBLIC_URL, ours):
        raise SuspiciousOperation("another origin")
    return request


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.close"})


# The router takes what Django's own routes take, and applications instead of views.
sockets: Any = URLRouter(
    [
        path("ws/orders/<str:number>/", OrderSocket.as_asgi()),
        re_path("", _refuse),  # type: ignore[arg-type]
    ]
)
