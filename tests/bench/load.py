"""`python -m tests.bench.load PORT CONNECTIONS < requests`: send prepared requests over connections that stay open.

A process of its own that does as little as possible for each request, since it shares the cores with what it measures.
Prints the seconds from the first byte sent to the last answer. What the answers say is not its business: the database is
asked what was settled.
"""

import gc
import select
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import BinaryIO

PATIENCE_S = 30
LENGTH = struct.Struct("!I")


def pack(requests: Iterable[bytes]) -> bytes:
    """What `main` reads: each request behind its length."""
    return b"".join(LENGTH.pack(len(request)) + request for request in requests)


def main(port: int, connections: int) -> None:
    """Read all requests, connect, send, print the seconds."""
    requests = list(_unpack(sys.stdin.buffer))
    sockets = [_connect(port) for _ in requests[:connections]]
    gc.disable()
    began = perf_counter()
    _send(requests, sockets)
    print(perf_counter() - began)


def _unpack(stream: BinaryIO) -> Iterator[bytes]:
    while header := stream.read(LENGTH.size):
        yield stream.read(LENGTH.unpack(header)[0])


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _send(requests: list[bytes], connections: list[socket.socket]) -> None:
    """Keep one request under way on each connection until all are answered. Raises TimeoutError, ConnectionError."""
    poll = select.epoll()
    waiting = {connection.fileno(): connection for connection in connections}
    for descriptor, connection in waiting.items():
        poll.register(descriptor, select.EPOLLIN)
        connection.sendall(requests.pop())
    while waiting:
        ready = poll.poll(PATIENCE_S)
        if not ready:
            raise TimeoutError(f"no answer within {PATIENCE_S} s")
        for descriptor, _ in ready:
            _read_answer(waiting[descriptor])
            if requests:
                waiting[descriptor].sendall(requests.pop())
            else:
                poll.unregister(descriptor)
                del waiting[descriptor]


def _read_answer(connection: socket.socket) -> None:
    """One whole answer; the shop's have a Content-Length, or no body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"\r\ncontent-length:")
    missing = int(length.partition(b"\r\n")[0] or 0) - len(body)
    while missing > 0:
        missing -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError("the server hung up")
    return part


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
