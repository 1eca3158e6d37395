"""A server on loopback that answers with exactly the bytes it is told, or misbehaves as told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType


class Peer:
    """One accepted connection, from the server's side."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self.sock, self._stopped = sock, stopped

    def read_request(self) -> bytes:
        """Head and body of the next request; b"" when the caller has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65_536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += self.sock.recv(65_536)
        return head + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, *, gap_s: float) -> None:
        """Send `data` for ever, a byte at a time, until the caller has gone."""
        while not self._stopped.is_set():
            for byte in data:
                self.send(bytes([byte]))
                if self._stopped.wait(gap_s):
                    return

    def flood(self, data: bytes, *, limit: int) -> int:
        """Send `data` again and again until the caller has gone or `limit` bytes are sent; returns the bytes sent."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < limit and not self._stopped.is_set():
                self.send(data)
                sent += len(data)
        return sent

    def wait_until_gone(self) -> None:
        with contextlib.suppress(OSError):
            while self.sock.recv(65_536):
                pass


class RawServer:
    """Runs `behave` for each connection in a thread of its own, until the block is left."""

    def __init__(self, behave: Callable[[Peer], object], *, tls: ssl.SSLContext | None = None) -> None:
        self._behave, self._tls = behave, tls
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.handshake_failed = threading.Event()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self._tls is not None:
                try:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                except OSError:
                    self.handshake_failed.set()
                    raise
            with sock:
                self._behave(Peer(sock, self._stopped))
