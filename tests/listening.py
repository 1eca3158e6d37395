"""A receiver of webhooks inside the test's own process: it keeps what comes and answers what it is told to."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Talk = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Letter:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """`answers`: what it says next, and `usual` when nothing is left; bytes, or what it does with the connection."""

    port: int
    letters: list[Letter] = field(default_factory=list)
    answers: list[bytes | Talk] = field(default_factory=list)
    usual: bytes | Talk = OK

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def ids(self) -> list[str]:
        return [letter.headers["webhook-id"] for letter in self.letters]


def status(code: int, *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {code} Word", "Content-Length: 0", *more, "", ""]).encode()


def hang(line: socket.socket) -> None:
    """Say nothing until the other side has gone."""
    with suppress(OSError):
        while line.recv(1024):
            pass


@contextmanager
def listening(*, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """A listener on this machine, each of its connections in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1])
        threading.Thread(target=_serve, args=(server, listener, tls), daemon=True).start()
        yield listener
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, listener: Listener, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError):
        while True:
            line, _ = server.accept()
            threading.Thread(target=_talk, args=(line, listener, tls), daemon=True).start()


def _talk(line: socket.socket, listener: Listener, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError), line:
        secured = tls.wrap_socket(line, server_side=True) if tls else line
        with secured:
            secured.settimeout(30)
            letter = _read(secured)
            if letter is None:
                return
            listener.letters.append(letter)
            answer = listener.answers.pop(0) if listener.answers else listener.usual
            if callable(answer):
                answer(secured)
            else:
                secured.sendall(answer)


def _read(line: socket.socket) -> Letter | None:
    reader = line.makefile("rb")
    first = reader.readline().decode().strip()
    headers: dict[str, str] = {}
    while said := reader.readline().decode().strip():
        name, _, value = said.partition(":")
        headers[name.lower()] = value.strip()
    return Letter(first, headers, reader.read(int(headers.get("content-length", 0)))) if first else None
