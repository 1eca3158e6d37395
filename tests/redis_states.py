"""Redis as tests of flows and races must bear it: up, frozen (it takes connections and answers nothing) and absent.

A test, or a whole module by its `pytestmark`, runs in the three of them with the mark `whatever_redis_does`.
"""

import socket
from collections.abc import Iterator
from contextlib import closing, nullcontext
from typing import Any

import pytest

STATES = ("up", "frozen", "absent")
whatever_redis_does = pytest.mark.usefixtures("redis_state")


def listen_and_be_silent() -> socket.socket:
    """Connections are taken by the kernel, as those of a stopped process are, and nobody reads from them."""
    silent = socket.create_server(("127.0.0.1", 0))
    silent.listen(1024)
    return silent


def refuse_connections() -> socket.socket:
    """The port is ours, so that nobody else listens there, and it is not open."""
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    return closed


@pytest.fixture(params=STATES)
def redis_state(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """The test once with each state of Redis; everything of ours that asks the settings for its address meets it."""
    state: str = request.param
    party = {"frozen": listen_and_be_silent, "absent": refuse_connections}.get(state)
    with closing(party()) if party else nullcontext() as sock:
        if sock is not None:
            address = f"redis://127.0.0.1:{sock.getsockname()[1]}/0"
            cache = settings.CACHES["default"] | {"LOCATION": address}
            settings.CACHES = settings.CACHES | {"default": cache}
        yield state
