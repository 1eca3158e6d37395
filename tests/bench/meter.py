"""How much CPU the parts of a measurement use: on a machine that others use too, that is steadier than the clock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LOOK_S = 0.5


class Meter:
    """Sums the CPU seconds of the web's processes, of PostgreSQL's when it is our own, and of the client that loads them."""

    def __init__(self, web_pid: int, data_dir: Path) -> None:
        self.heads = {"web": psutil.Process(web_pid)}
        pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
        if pid_file.exists():
            self.heads["postgres"] = psutil.Process(int(pid_file.read_text().split()[0]))
        self.used_s: dict[str, float] = {}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """What each part uses during the block is in `used_s` afterwards."""
        before = self._look()
        yield
        self.used_s = {name: used_s - before[name] for name, used_s in self._look().items()}

    def _look(self) -> dict[str, float]:
        ended = os.times()  # a client is a child that has ended when we look again
        client_s = ended.children_user + ended.children_system
        return {"client": client_s} | {name: _cpu_s(head) for name, head in self.heads.items()}


def others_percent() -> float:
    """How much of all cores is in use now, while we do nothing."""
    return psutil.cpu_percent(interval=LOOK_S)


def _cpu_s(head: psutil.Process) -> float:
    """Of a process and of its children, those that have ended too."""
    times = head.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in head.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            total += own.user + own.system
    return float(total)
