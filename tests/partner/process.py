"""Starting, killing and asking the partner's receiver, from a test of ours."""

import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.programs import ROOT
from tests.waiting import wait_until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Partner:
    """One receiver with a ledger that outlives its process."""

    folder: Path
    shop: str
    secret: str = ""
    key: str = "none"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def start(self) -> None:
        """Let it run, if it does not, and wait until it listens."""
        if self.is_up():
            return
        options = {"port": self.port, "secret": self.secret, "shop": self.shop, "key": self.key}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "tests.partner", "--ledger", str(self.folder / "ledger.db"), *words]
        with (self.folder / "partner.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_until(self._answers, within_s=20)

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait_until_dead(self) -> None:
        wait_until(lambda: not self.is_up())

    def plan(self, *deeds: str) -> None:
        """What it does next, in this order: "before", "after" (it dies then), "500", "slow"."""
        (self.folder / "ledger.plan").write_text(" ".join(deeds))

    def ledger(self) -> list[tuple[str, str, int, str]]:
        """Id, stream, sequence and type of what it applied, in the order in which it did."""
        found = requests.get(f"http://127.0.0.1:{self.port}/ledger", timeout=10).json()
        return [tuple(row) for row in found]

    def catch_up(self) -> None:
        requests.get(f"http://127.0.0.1:{self.port}/catch-up", timeout=30).raise_for_status()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
