"""The shop as its web process serves it, over uvicorn, in a thread of the test: with its settings and its database."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from django.conf import settings

from shop.demo import WEB_SOCKETS
from tests.waiting import wait_until


class AsgiServer:
    """Listens at `port` from `start` to `stop`, as often as one likes."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        before = dict(os.environ)
        from shop.asgi import application

        os.environ.clear()
        os.environ.update(before)  # it says how its own process is to behave, not those that a test starts
        config = uvicorn.Config(
            application,
            host="127.0.0.1",
            port=self.port,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            **WEB_SOCKETS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started

    def stop(self) -> None:
        """As on a signal: open sockets are told."""
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def asgi_server(transactional_db, monkeypatch: pytest.MonkeyPatch) -> Iterator[AsgiServer]:
    """A running server at an address of its own."""
    monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", 0)
    server = AsgiServer()
    monkeypatch.setattr(settings, "PUBLIC_URL", server.url)
    server.start()
    yield server
    server.stop()
