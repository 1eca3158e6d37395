"""Limits in front of everything: a body that no page, API call or callback of ours is as large as is not even read, and one
that takes its time is not waited for.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.utils.translation import get_language_from_request
from django.utils.translation import gettext as _

from shop.languages import speaking, tag_of
from shop.problems import Problem, answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
MostBytes = Callable[[Scope], Awaitable[int | None]]

# The API and the callbacks take 64 KiB and say so in their own words; forms of the admin may be a little larger.
MAX_BODY_BYTES = 128 * 1024
# For the whole of a body. 64 KiB take a phone at the edge of its network a few seconds.
BODY_WITHIN_S = 20.0


class LimitBody:
    """An ASGI application around another one: 413 for a body over the limit, announced or not, 408 for one that does not come.

    Django would write such a body to a file before a view could refuse it. That is right only for what `larger` allows:
    a body that announces its length is then handed on as it comes.
    """

    def __init__(
        self,
        app: App,
        *,
        most: int = MAX_BODY_BYTES,
        within_s: float = BODY_WITHIN_S,
        larger: MostBytes | None = None,
    ) -> None:
        self.app = app
        self.most = most
        self.within_s = within_s
        self.larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (announced := _announced(scope)) > self.most:
            may_be = await self.larger(scope) if self.larger else None
            if may_be is not None and announced <= may_be:
                await self.app(scope, receive, send)
            else:
                await _refuse(scope, send, _too_large)
            return
        try:
            async with asyncio.timeout(self.within_s):
                body = await self._read(receive)
        except TimeoutError:
            await _refuse(scope, send, _too_slow)
        except _Gone:
            return
        except _TooMuch:
            await _refuse(scope, send, _too_large)
        else:
            await self.app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.most:
                raise _TooMuch
        return body


class _Gone(Exception):
    """Nobody is there any more."""


class _TooMuch(Exception):
    """The body is over the limit."""


def _too_large() -> Problem:
    return Problem(status=413, code="too_large", detail=_("The body is too large."))


def _too_slow() -> Problem:
    return Problem(status=408, code="too_slow", detail=_("The body did not come in time."))


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def _replay(body: bytes, receive: Receive) -> Receive:
    """The whole body as one message, then whatever the server says, which is that the client has gone."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _allowed_origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What lets a page of a named origin read the refusal; Django's middleware does it for all other answers."""
    origin = dict(scope["headers"]).get(b"origin", b"")
    is_named = origin.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS
    if not (is_named and re.match(settings.CORS_URLS_REGEX, scope["path"])):
        return []
    return [(b"access-control-allow-origin", origin), (b"vary", b"origin")]


async def _refuse(scope: Scope, send: Send, problem: Callable[[], Problem]) -> None:
    """In the sender's language, as any other answer."""
    code = get_language_from_request(ASGIRequest(dict(scope), BytesIO()))
    with speaking(code):
        refusal = answer(problem())
    headers = [
        (b"content-type", refusal.headers["Content-Type"].encode()),
        (b"content-length", str(len(refusal.content)).encode()),
        (b"content-language", tag_of(code).encode()),
        (b"connection", b"close"),  # what is still to come is not read
        *_allowed_origin(scope),
    ]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.content})
