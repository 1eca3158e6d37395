"""Connections whose every wait ends at the deadline of the call they serve: name, TCP, TLS, headers and body alike.

The timeouts of requests start anew with every byte, so a peer that drips one a second would hold a thread for hours.
Only `wire` uses this room.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, cast

import urllib3
from requests.adapters import HTTPAdapter


class Call(threading.local):
    """What the connections of this thread must know about the present call; times are of `time.monotonic`.

    `sent` tells whether any of the request left: the fact that parts Unreachable from Unanswered.
    """

    connect_by = 0.0
    read_s = 0.0
    deadline = 0.0
    sent = False

    def begin(self, connect_by: float, read_s: float, deadline: float) -> None:
        self.connect_by, self.read_s, self.deadline = min(connect_by, deadline), read_s, deadline
        self.sent = False


call = Call()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call's time is over")
    return left


def _resolve(host: str, port: int) -> list[Any]:
    # getaddrinfo knows no timeout and may take half a minute; a thread that is left behind does no harm.
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, daemon=True, name="wire-resolve").start()
    try:
        answer = answers.get(timeout=_left(call.connect_by))
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return cast("list[Any]", answer)


def _connect(host: str, port: int, options: Iterable[Any]) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    addresses = _resolve(host, port)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            # A dead address leaves time for the next one; what is left after the last is the TLS handshake's.
            sock.settimeout(_left(call.connect_by) / (len(addresses) - tried))
            sock.connect(address)
            sock.settimeout(_left(call.connect_by))
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


class _TimedReader(io.RawIOBase):
    """The answer's bytes, each wait for them ended by the read timeout or the call's deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(call.read_s, _left(call.deadline)))
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))


class _TimedConnection(urllib3.connection.HTTPConnection):
    response_class = _TimedResponse

    def _new_conn(self) -> socket.socket:
        return _connect(self._dns_host, self.port, self.socket_options or ())

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_left(call.deadline))
        call.sent = True
        super().send(data)


class _TimedTLSConnection(_TimedConnection, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


class TimedAdapter(HTTPAdapter):
    """requests' way to a host, by connections that know the present call."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
