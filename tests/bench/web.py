"""The shop's web as it runs in production: two WSGI worker processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.programs import ROOT
from tests.waiting import wait_until

WORKERS = 2
# While one thread of a worker waits for the disk, the others work: commits that wait together are flushed together.
THREADS = 4


@dataclass(frozen=True, slots=True)
class Web:
    """The running web: the port it listens on, and the process whose children its workers are."""

    port: int
    pid: int


@contextmanager
def serving(log: Path) -> Iterator[Web]:
    """Serve `shop.wsgi` in this process's environment until the block ends; what it has to say goes to `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--log-level", "warning",
        "--workers", str(WORKERS), "--blocking-threads", str(THREADS), "--port", str(port), "shop.wsgi:application",
    ]  # fmt: skip
    with log.open("ab") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=out, stderr=out)
    try:
        wait_until(lambda: _answers(port), within_s=30)
        yield Web(port, server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
