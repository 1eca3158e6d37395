"""Starting other programs so that none of them outlives us, and watching over several of them.

Knows nothing of what they do. The demo supervises its parts with it, `watch` its task cluster.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# The parent whose death ends us, as a forked child of ours will see it: this process.
_armed_pid: int | None = None


# ---- Dying with the parent --------------------------------------------------------------------------------------
def die_with_parent(parent_pid: int | None = None) -> None:
    """Have the kernel kill this process, and each one it forks from now on, when its parent dies, also by `kill -9`.

    A tree of forked processes falls together when any ancestor dies. `parent_pid` is who must still be our parent, by
    default whoever is now. Linux only, elsewhere nothing happens. To the kernel the parent is the *thread* that
    forked (prctl(2), read 2026-11-21), so fork from threads that live on.
    """
    if not sys.platform.startswith("linux"):
        return
    if _armed_pid is None:
        os.register_at_fork(after_in_child=_arm_forked)
    _arm(parent_pid or os.getppid())


def _arm(parent_pid: int) -> None:
    global _armed_pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the kernel knew our wish
        os.kill(os.getpid(), signal.SIGKILL)
    _armed_pid = os.getpid()


def _arm_forked() -> None:
    """The kernel forgets the wish in a forked child."""
    if _armed_pid is not None:
        _arm(_armed_pid)


# ---- Groups -----------------------------------------------------------------------------------------------------
def start_group(
    args: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as the leader of its own session, killed when we die. `stdout` takes both its outputs.

    A Ctrl-C of the terminal does not reach it: whoever started it ends it. Call from a thread that lives as long as
    it shall, see `die_with_parent`.
    """
    # This very file is the first program of the new process and becomes the wanted one: a preexec_fn may hang in a
    # process that has threads.
    starter = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return subprocess.Popen(
        [*starter, *(str(arg) for arg in args)],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=None if stdout is None else subprocess.STDOUT,
        start_new_session=True,
    )


def end_group(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """SIGTERM to the leader; when it has ended or the grace is over, SIGKILL to the whole group. Reaps the leader.

    The leader alone, for it knows in which order its members end: django-q2's cluster is down after 1 s this way,
    and hangs for more than 10 s when its members get the signal too (1.11.1, measured 2026-11-21).
    """
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    _kill_group(process)
    process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # macOS answers EPERM for a group of nothing but zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


# ---- Supervisor -------------------------------------------------------------------------------------------------
LOOK_EVERY_S = 0.1
TICK_EVERY_S = 1.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
# A child that lived so long was well; its next pause begins anew.
WELL_AFTER_S = 10.0
COLOURS = (36, 33, 35, 32, 34)  # cyan, yellow, magenta, green, blue


class Supervisor:
    """Named children, one merged output, and every child that dies is started again.

    honcho was considered: it takes all down when one child dies, and ours must come back, as in production.
    """

    def __init__(self, out: TextIO, *, grace_s: float) -> None:
        self._out = out
        self._write_lock = threading.Lock()
        self._stopping = threading.Event()
        self._children: list[_Child] = []
        self._grace_s = grace_s

    def add(
        self, name: str, args: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        """Name a child that `run` will start."""
        self._children.append(_Child(name, args, env, cwd))

    def run(self, tick: Callable[[], None] | None = None) -> None:
        """Keep all children alive until `stop`, then end them all. Call in the main thread, see `start_group`.

        `tick` is called about once a second, in this thread; what it raises ends all children and is passed on.
        """
        next_tick = 0.0
        try:
            while not self._stopping.is_set():
                for child in self._children:
                    self._look_after(child)
                if tick and time.monotonic() >= next_tick:
                    tick()
                    next_tick = time.monotonic() + TICK_EVERY_S
                self._stopping.wait(LOOK_EVERY_S)
        finally:
            self._end_all()

    def stop(self) -> None:
        """Have `run` end; to be called from another thread or a signal handler."""
        self._stopping.set()

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Inside, SIGINT, SIGTERM and a closed terminal mean `stop`. Main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = [signal.signal(number, lambda *_: self.stop()) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, former, strict=True):
                signal.signal(number, handler)

    def say(self, text: str) -> None:
        """Print lines of our own, never in the middle of a child's line."""
        # The reader may be gone (`demo | head`); that is no reason to stop the shop.
        with self._write_lock, suppress(OSError):
            self._out.write(f"{text}\n")
            self._out.flush()

    def _look_after(self, child: "_Child") -> None:
        if child.process is not None and child.process.poll() is not None:
            self._say_as(child, f"ended with status {child.process.returncode}, starting it again")
            _kill_group(child.process)
            child.process = None
            child.plan_restart()
        if child.process is None and time.monotonic() >= child.start_at:
            child.start()
            threading.Thread(target=self._forward, args=(child, child.process), daemon=True).start()

    def _forward(self, child: "_Child", process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            self._say_as(child, line.decode(errors="replace").rstrip("\r\n"))

    def _say_as(self, child: "_Child", line: str) -> None:
        width = max(len(each.name) for each in self._children)
        label = f"{child.name:<{width}} |"
        if self._out.isatty():
            colour = COLOURS[self._children.index(child) % len(COLOURS)]
            label = f"\033[{colour}m{label}\033[0m"
        self.say(f"{label} {line}")

    def _end_all(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        # At once, so that one stubborn child costs one grace and not each its own.
        with ThreadPoolExecutor(max_workers=len(running) or 1) as pool:
            list(pool.map(lambda process: end_group(process, grace_s=self._grace_s), running))


class _Child:
    def __init__(
        self, name: str, args: Sequence[str | Path], env: Mapping[str, str], cwd: Path | None
    ) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self._args, self._env, self._cwd = args, env, cwd
        self._started_at = 0.0
        self._pause_s = 0.0

    def start(self) -> None:
        self.process = start_group(self._args, env=self._env, cwd=self._cwd, stdout=subprocess.PIPE)
        self._started_at = time.monotonic()

    def plan_restart(self) -> None:
        was_well = time.monotonic() - self._started_at >= WELL_AFTER_S
        self._pause_s = (
            FIRST_PAUSE_S if was_well else min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        )
        self.start_at = time.monotonic() + self._pause_s


def _become(parent_pid: str, *args: str) -> None:
    """The first moment of a program of `start_group`."""
    die_with_parent(int(parent_pid))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
    try:
        os.execvp(args[0], args)  # noqa: S606 - no shell is what we want
    except OSError as error:
        sys.exit(f"{args[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(*sys.argv[1:])
