"""The one way out: every call to a channel leaves through here, bounded in time and memory, and is logged once.

A call ends in a reply or in one of two failures: nothing was sent (`Unreachable`), or something may have happened
(`Unanswered`). This room never reads a body, follows a redirect, decodes, retries, or calls inside a transaction.
"""

from __future__ import annotations

import functools
import http.client
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shop.transactions import give_back_connections, in_transaction

from .base import ChannelError, Unanswered, Unreachable
from .timed import TimedAdapter, call

CONNECT_S = 3.0  # name, TCP and TLS together
READ_S = 5.0  # between two bytes of the answer
TOTAL_S = 8.0  # the whole call, however slowly it drips; below the 10 s of a creation lease
MAX_BODY_BYTES = 1_000_000  # an answer of a payment API is a few kilobytes
DOWNLOAD_S = 600.0  # a statement of some million lines; no wait for a byte is longer than READ_S all the same
DOWNLOAD_BYTES = 2_000_000_000
POOL_SIZE = 32  # connections kept open to one host, above the threads of one process

log = logging.getLogger("nodrop.wire")


class CallInsideTransaction(RuntimeError):
    """A channel was called while a transaction was open: a bug of the caller, never a channel's failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer as it came: header names in lower case, the body as raw bytes, never decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int


def is_safe_url(url: str) -> bool:
    """https to any host, http to this machine only, and no user name inside."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Wire:
    """The way out to one channel. Safe to share between threads, and after a fork.

    Times are seconds. `in_transaction` and `adapter` (anything with requests' `HTTPAdapter.send`) are seams for tests.
    """

    def __init__(
        self,
        *,
        channel: str,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
        total_s: float = TOTAL_S,
        max_body_bytes: int = MAX_BODY_BYTES,
        in_transaction: Callable[[], bool] = in_transaction,
        adapter: Any = None,
    ) -> None:
        self._channel = channel
        self._connect_s, self._read_s, self._total_s = connect_s, read_s, total_s
        self._max_body_bytes = max_body_bytes
        self._in_transaction = in_transaction
        self._given_adapter = adapter
        self._own_adapter: tuple[int, HTTPAdapter] | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        operation: str,
        number: str = "",
        code_of: Callable[[Reply], str] | None = None,
    ) -> Reply:
        """Send one request, once, and return the answer whatever its status, redirects excepted.

        `operation`, `number` and what `code_of` reads from the answer are for the log line only.
        Raises Unreachable, Unanswered, CallInsideTransaction, and ValueError for an address that must not be called.
        """
        return self._call(
            _prepare(method, url, headers, body),
            self._total_s,
            lambda _, raw: self._read_body(raw),
            operation=operation,
            number=number,
            code_of=code_of,
        )

    def download(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        into: BinaryIO,
        operation: str,
        limit_bytes: int = DOWNLOAD_BYTES,
        total_s: float = DOWNLOAD_S,
    ) -> Reply:
        """Send one request, once, and write the body of a 200 answer to a file as it comes, not decoded.

        That reply has no body; any other answer comes back with its own, as from `send`, and writes nothing. After a
        failure the file may hold a part. Raises what `send` raises, and OSError when the file takes no more.
        """

        def take_body(status: int, raw: Any) -> bytes:
            return _pour(raw, into, limit_bytes) if status == 200 else self._read_body(raw)

        try:
            return self._call(_prepare(method, url, headers, body), total_s, take_body, operation=operation)
        except _NotWritten as failure:
            raise failure.error from failure

    def _call(
        self,
        request: requests.PreparedRequest,
        total_s: float,
        take_body: Callable[[int, Any], bytes],
        *,
        operation: str,
        number: str = "",
        code_of: Callable[[Reply], str] | None = None,
    ) -> Reply:
        if self._in_transaction():
            raise CallInsideTransaction(f"{self._channel} {operation} inside a database transaction")
        give_back_connections()
        tell = functools.partial(self._tell, operation=operation, number=number, started=time.monotonic())
        try:
            reply = self._exchange(request, total_s, take_body)
        except ChannelError as failure:
            tell(logging.WARNING, status=0, code=failure.code)
            raise
        tell(logging.INFO, status=reply.status, code=code_of(reply) if code_of else "")
        return reply

    def _tell(
        self, level: int, *, operation: str, number: str, status: int, code: str, started: float
    ) -> None:
        subject = {"channel": self._channel, "operation": operation, "number": number}
        result = {"status": status, "code": code, "milliseconds": _ms_since(started)}
        log.log(level, "channel call", extra={**subject, **result})

    def _exchange(
        self, request: requests.PreparedRequest, total_s: float, take_body: Callable[[int, Any], bytes]
    ) -> Reply:
        started = time.monotonic()
        call.begin(started + self._connect_s, self._read_s, started + total_s)
        try:
            response = self._adapter().send(
                request, stream=True, timeout=(self._connect_s, self._read_s), verify=True
            )
            try:
                return _take(response, started, take_body)
            finally:
                response.close()  # keeps a connection that was read to its end, drops any other
        except _FAILURES as error:
            raise _failure(error) from error

    def _read_body(self, raw: Any) -> bytes:
        return b"".join(_chunks(raw, self._max_body_bytes))

    def _adapter(self) -> HTTPAdapter:
        # requests' adapter without its Session: a Session keeps cookies, reads proxies and .netrc from the environment,
        # and reads a redirect's whole body even when told not to follow. A pool inherited by a fork would share
        # sockets with the parent, so each process makes its own.
        if self._given_adapter is not None:
            return cast("HTTPAdapter", self._given_adapter)
        if self._own_adapter is None or self._own_adapter[0] != os.getpid():
            self._own_adapter = (os.getpid(), TimedAdapter(pool_maxsize=POOL_SIZE))
        return self._own_adapter[1]


def _take(response: requests.Response, started: float, take_body: Callable[[int, Any], bytes]) -> Reply:
    status = response.status_code
    if 300 <= status < 400:
        raise Unanswered(f"answered with a redirect, {status}", code="redirect")
    if not 200 <= status < 600:
        raise Unanswered(f"answered with status {status}", code="broken")
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = take_body(status, response.raw)
    return Reply(status=status, headers=headers, body=body, elapsed_ms=_ms_since(started))


def _chunks(raw: Any, limit_bytes: int) -> Iterator[bytes]:
    left = limit_bytes
    # Not decoded: what a signature covers is what came, and a small answer cannot unpack into a huge one.
    while chunk := raw.read(65_536, decode_content=False):
        left -= len(chunk)
        if left < 0:
            raise Unanswered("the answer is too large", code="too_large")
        yield chunk


class _NotWritten(Exception):
    """Our own disk, which must not be taken for a failure of the network."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _pour(raw: Any, into: BinaryIO, limit_bytes: int) -> bytes:
    for chunk in _chunks(raw, limit_bytes):
        try:
            into.write(chunk)
        except OSError as error:
            raise _NotWritten(error) from error
    return b""


# Everything that requests, urllib3 and http.client raise for a call that went wrong.
_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


def _failure(error: BaseException) -> ChannelError:
    # By the fact, not by the class: libraries use one class (a TLS error, a reset) for before and after sending.
    name = type(error).__name__  # the text of these errors holds addresses, so only the class is told
    if not call.sent:
        return Unreachable(f"no connection: {name}", code="unreachable")
    timed_out = time.monotonic() >= call.deadline or isinstance(
        error, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    )
    return Unanswered(f"no believable answer: {name}", code="timeout" if timed_out else "broken")


def _prepare(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    if not is_safe_url(url):
        raise ValueError("a channel is called by https, or by http on this machine")
    request = requests.Request(
        method, url, headers={**headers, "Accept-Encoding": "identity"}, data=body
    ).prepare()
    if request.url != url:
        raise ValueError("the address would be rewritten, and a signature covers it as it is sent")
    return request


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
