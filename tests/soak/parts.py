"""The processes of a running demo, found from outside: by its process tree, by what the kernel says of them, by the
servers' own files. Nothing of the product is imported or patched.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil


class Gone(Exception):
    """The process is not there just now."""


class Parts:
    """The processes of one demo. All looks are fresh: whatever is killed comes back under another number."""

    def __init__(self, demo_pid: int, data_dir: Path) -> None:
        self.demo_pid, self.data_dir = demo_pid, data_dir

    def find(self, name: str) -> psutil.Process:
        """The process that plays this part now. Raises Gone."""
        try:
            return _FINDERS[name](self)
        except (psutil.Error, LookupError, OSError, ValueError) as error:
            raise Gone(name) from error

    def lives(self, name: str) -> psutil.Process | None:
        """The process that plays this part, or None; for a wait."""
        with suppress(Gone):
            return self.find(name)
        return None

    def all(self) -> list[psutil.Process]:
        """Every process of the demo, its parents before their children, and the servers with theirs."""
        found = [psutil.Process(self.demo_pid)]
        found += [process for name in ("postgres", "redis") if (process := self.lives(name))]
        return [each for root in found for each in (root, *root.children(recursive=True))]

    def cluster_members(self) -> list[psutil.Process]:
        """What the cluster's sentinel guards, oldest first: workers, monitor, pusher while none was replaced."""
        return sorted(self.find("sentinel").children(), key=lambda member: (member.create_time(), member.pid))

    def _child(self, is_it: Callable[[list[str]], bool]) -> psutil.Process:
        [child] = [each for each in psutil.Process(self.demo_pid).children() if is_it(each.cmdline())]
        return child

    def _only_child_of(self, name: str) -> psutil.Process:
        [child] = self.find(name).children()
        return child

    def _idle_member(self, place: int) -> psutil.Process:
        """Of the members that hold the lock of a queue while they wait for its next word, oldest first.

        The kernel tells them apart: they read from a pipe, the others wait for a lock or a clock. Where it does not say
        what a process waits for, the first worker and the monitor stand for them.
        """
        members = self.cluster_members()
        waits = {member.pid: what_it_waits_for(member.pid) for member in members}
        if not any(waits.values()):
            return [members[0], members[2]][place]
        return [member for member in members if "pipe" in waits[member.pid]][place]

    def _server(self, file: str) -> psutil.Process:
        return psutil.Process(int((self.data_dir / file).read_text().split()[0]))


def what_it_waits_for(pid: int) -> str:
    """The kernel function that a process sleeps in; empty where the kernel keeps it to itself."""
    return Path(f"/proc/{pid}/wchan").read_text().removeprefix("0")


_FINDERS: dict[str, Callable[[Parts], psutil.Process]] = {
    "web": lambda parts: parts._child(lambda words: "uvicorn" in words),
    "watch": lambda parts: parts._child(lambda words: words[-1:] == ["watch"]),
    "sandbox": lambda parts: parts._child(lambda words: "sandbox" in words),
    "cluster": lambda parts: parts._only_child_of("watch"),
    "sentinel": lambda parts: parts._only_child_of("cluster"),
    "idle worker": lambda parts: parts._idle_member(0),
    "monitor": lambda parts: parts._idle_member(-1),
    "redis": lambda parts: parts._server("redis/pid"),
    "postgres": lambda parts: parts._server("postgres/data/postmaster.pid"),
}
