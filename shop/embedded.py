"""PostgreSQL and Redis that nodrop brings along, for whoever has set no `DATABASE_URL` and `REDIS_URL`.

All processes of one data folder share its two servers; the last one out stops them. Who uses them is known by locks
that the kernel drops with a killed process, never by lists of process numbers. Where and how they run: `shop.servers`.
"""

import atexit
import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Protocol

from shop.servers import EmbeddedError as EmbeddedError
from shop.servers import FrozenError
from shop.servers import postgres as postgres_server
from shop.servers import redis as redis_server

# Data folder → descriptor of the shared lock that says: this process uses the servers.
_joined: dict[Path, int] = {}
# The locks of the child that this thread is forking.
_forking = threading.local()


class Settings(Protocol):
    """What `ensure_started_for` reads of the settings."""

    DATA_DIR: Path
    EMBEDDED_POSTGRES: bool
    EMBEDDED_REDIS: bool


def postgres_url(data_dir: Path) -> str:
    """The address of the data folder's PostgreSQL, running or not. Computed only, nothing is touched."""
    return postgres_server.url(data_dir)


def redis_url(data_dir: Path) -> str:
    """The address of the data folder's Redis, running or not. Computed only, nothing is touched."""
    return redis_server.url(data_dir)


def ensure_started_for(settings: Settings) -> None:
    """Start what these settings leave to us; nothing at all when both addresses are given. Raises EmbeddedError."""
    if settings.EMBEDDED_POSTGRES or settings.EMBEDDED_REDIS:
        ensure_started(settings.DATA_DIR, postgres=settings.EMBEDDED_POSTGRES, redis=settings.EMBEDDED_REDIS)


def ensure_started(data_dir: Path, *, postgres: bool = True, redis: bool = True) -> None:
    """Start what does not run, wait until it answers, and count this process among its users until it exits.

    Any number of processes may call it at once and again; a few milliseconds when all is up. Raises EmbeddedError.
    """
    data_dir = data_dir.resolve()
    prepare(data_dir)
    _join(data_dir)  # first, so that nobody's exit stops what we find running
    for server, wanted in ((postgres_server, postgres), (redis_server, redis)):
        if wanted and not server.answers(data_dir):
            _start_or_warn(server, data_dir)


def is_running(data_dir: Path) -> bool:
    """Whether both servers of the data folder answer."""
    data_dir = data_dir.resolve()
    return postgres_server.answers(data_dir) and redis_server.answers(data_dir)


def stop(data_dir: Path) -> None:
    """Stop both servers now, whoever uses them; nothing to do when they do not run. Raises EmbeddedError."""
    data_dir = data_dir.resolve()
    if not data_dir.is_dir():
        return
    with _locked(data_dir / "start.lock"):
        redis_server.stop(data_dir)
        postgres_server.stop(data_dir)


def prepare(data_dir: Path) -> None:
    """Make the data folder, closed to others and ignored by git.

    Raises EmbeddedError when it cannot be made or belongs to another account, whose servers we could not share.
    """
    try:
        with suppress(FileExistsError):
            data_dir.mkdir(parents=True)
            # Root's servers run under another account, which must be able to pass.
            data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        if data_dir.stat().st_uid != os.geteuid():
            raise EmbeddedError(
                f"{data_dir} belongs to another account; use that one or set NODROP_DATA_DIR."
            )
        # Never into a folder of somebody's own things: git would stop to see them.
        if data_dir.name == ".nodrop" or not any(data_dir.iterdir()):
            _write_once(data_dir / ".gitignore", "*\n")
    except OSError as error:
        raise EmbeddedError(f"{data_dir} cannot be used: {error.strerror}.") from error


def _write_once(path: Path, text: str) -> None:
    with suppress(FileExistsError), path.open("x") as file:
        file.write(text)


def _start(server: ModuleType, data_dir: Path) -> None:
    with _locked(data_dir / "start.lock"):
        if server.answers(data_dir):
            return
        try:
            server.start(data_dir)
        except OSError as error:
            raise EmbeddedError(f"An embedded server could not be started: {error}.") from error


def _start_or_warn(server: ModuleType, data_dir: Path) -> None:
    """A frozen Redis holds nobody up: it keeps only what may be lost."""
    try:
        _start(server, data_dir)
    except FrozenError as error:
        sys.stderr.write(f"nodrop: {error} Going on without it.\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# ---- Who uses the servers ---------------------------------------------------------------------------------------
def _join(data_dir: Path) -> None:
    if data_dir in _joined and not _is_current(data_dir):
        os.close(_joined.pop(data_dir))
    if data_dir not in _joined:
        _joined[data_dir] = _lock_as_user(data_dir)


def _is_current(data_dir: Path) -> bool:
    """Whether our lock is that of the data folder, and not of one that was deleted and made again."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(_joined[data_dir]), (data_dir / "users.lock").stat())
    return False


def _lock_as_user(data_dir: Path) -> int:
    descriptor = os.open(data_dir / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while a last one is on its way out
    return descriptor


def _before_fork() -> None:
    """Take the child's own locks: a descriptor that two processes share is one lock, which either could give up.

    Before the fork, so that a parent that exits at once never sees itself as the last one.
    """
    _forking.locks = {}
    for data_dir in _joined:
        with suppress(OSError):  # the data folder was deleted
            _forking.locks[data_dir] = _lock_as_user(data_dir)


def _after_fork_in_parent() -> None:
    for descriptor in _forking.locks.values():
        os.close(descriptor)


def _after_fork_in_child() -> None:
    for inherited in _joined.values():
        os.close(inherited)
    _joined.clear()
    _joined.update(_forking.locks)


def _leave() -> None:
    """At exit: whoever can turn the shared lock into an exclusive one is the last user, and stops the servers."""
    for data_dir, descriptor in _joined.items():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(data_dir):
                stop(data_dir)
        except BlockingIOError:
            pass  # others use them
        except (EmbeddedError, OSError) as error:
            sys.stderr.write(f"nodrop: {error}\n")


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
atexit.register(_leave)
