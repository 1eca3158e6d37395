"""Where the embedded servers keep their things, and under which account they run.

An ordinary user's servers run as that user, inside the data folder. PostgreSQL refuses root, so root's servers run
under an unprivileged account, and what that account cannot reach is put outside the data folder. No permission of a
folder that is not ours is ever changed.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shop.servers import EmbeddedError

# sun_path holds 108 bytes on Linux and 104 on macOS.
SOCKET_PATH_LIMIT_BYTES = 100
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
# Short, and never TMPDIR: every process of one data folder must compute the same address.
SHORT_BASE = Path("/tmp")  # noqa: S108
# Survives a reboot, and every account can enter it.
OUTSIDE_BASE = Path("/var/lib")
UNPRIVILEGED_ACCOUNTS = ("postgres", "nobody")
# A server gets none of our variables: they hold the channels' secrets, and PG* would bend it.
SERVER_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Account:
    """Whom root lets the servers run as."""

    name: str
    uid: int
    gid: int


def server_account(data_dir: Path) -> Account | None:
    """The account for the servers, or None: as ourselves. Raises EmbeddedError when root finds no account to use."""
    if os.geteuid() != 0:
        return None
    accounts = list(_unprivileged_accounts())
    if not accounts:
        names = "` or `".join(UNPRIVILEGED_ACCOUNTS)
        raise EmbeddedError(f"PostgreSQL does not run as root and there is no account `{names}` to run it.")
    # Data stays with the account it was made under, though a better one may have come since.
    owners = {folder.stat().st_uid for name in ("postgres", "redis") if (folder := data_dir / name).exists()}
    return next((account for account in accounts if account.uid in owners), accounts[0])


def _unprivileged_accounts() -> Iterator[Account]:
    for name in UNPRIVILEGED_ACCOUNTS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            yield Account(name, entry.pw_uid, entry.pw_gid)


# ---- Addresses --------------------------------------------------------------------------------------------------
def socket_dir(data_dir: Path) -> Path:
    """The folder of this data folder's sockets. Computed only; `make_own_dir` makes it.

    Inside the data folder, unless the path would be too long for a socket or the servers run under another account.
    """
    data_dir = data_dir.resolve()
    inside = data_dir / "run"
    fits = len(os.fsencode(inside / LONGEST_SOCKET_NAME)) < SOCKET_PATH_LIMIT_BYTES
    if fits and os.geteuid() != 0:
        return inside
    return SHORT_BASE / f"nodrop-{os.geteuid()}-{_digest(data_dir)}"


def outside_dir(data_dir: Path) -> Path:
    """Where root keeps what the servers' account cannot reach inside the data folder."""
    return OUTSIDE_BASE / f"nodrop-{_digest(data_dir.resolve())}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


# ---- Folders ----------------------------------------------------------------------------------------------------
def make_own_dir(path: Path, account: Account | None, *, mode: int = 0o700) -> None:
    """Make `path` a folder that belongs to the servers' account, closed to others unless `mode` says otherwise.

    Raises EmbeddedError when it is a link or somebody else's: anybody may write beside it, in /tmp.
    """
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise EmbeddedError(f"{path} must be a folder of our own, not a link: {error.strerror}.") from error
    try:
        # Through the descriptor: the name could be exchanged between the look and the change.
        if os.fstat(folder).st_uid not in {os.geteuid(), account.uid if account else os.geteuid()}:
            raise EmbeddedError(
                f"{path} belongs to another account; remove it or choose another data folder."
            )
        if account:
            os.fchown(folder, account.uid, account.gid)
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def server_dir(data_dir: Path, name: str, account: Account | None) -> Path:
    """The folder in which server `name` keeps its data, made when it is not there.

    It is `data_dir/name`. Where root's account cannot reach that, it is a link to a folder outside.
    Raises EmbeddedError for a link that leads to another clone's data and for data that went out of reach.
    """
    inside = data_dir / name
    outside = outside_dir(data_dir) / name
    if inside.is_symlink():
        _refuse_foreign_link(inside, outside)
        make_own_dir(inside.resolve(), account)
        return inside.resolve()
    with suppress(OSError):  # A file system that cannot change owners is out of reach too.
        make_own_dir(inside, account)
    if account is None or _can_write(account, inside):
        return inside
    if any(inside.iterdir()):
        raise EmbeddedError(
            f"The account {account.name} can no longer reach {inside}, which holds data: "
            f"open the folders above it, or move it to {outside} and leave a link."
        )
    inside.rmdir()
    _make_outside_dir(data_dir)
    # What an earlier data folder of this very path left there: whoever deleted that one wanted it gone.
    shutil.rmtree(outside, ignore_errors=True)
    make_own_dir(outside, account)
    inside.symlink_to(outside)
    return outside


def _refuse_foreign_link(link: Path, ours: Path) -> None:
    target = link.resolve()
    if target.parent.name.startswith("nodrop-") and target != ours.resolve():
        raise EmbeddedError(
            f"{link} leads to {target}, the data of another folder (was this one copied or moved?): "
            f"remove the link to begin empty, or move the data to {ours} and link to that."
        )


def _make_outside_dir(data_dir: Path) -> Path:
    outside = outside_dir(data_dir)
    make_own_dir(outside, None, mode=0o711)
    return outside


def _can_write(account: Account, folder: Path) -> bool:
    """Tried by the account itself: modes alone say little about ACLs, mounts and the folders above."""
    script = 'cd "$1" && : > .reachable && rm .reachable'
    return run(account, ["/bin/sh", "-c", script, "sh", str(folder)]).returncode == 0


# ---- Programs ---------------------------------------------------------------------------------------------------
def run(
    account: Account | None,
    args: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program as the servers' account, with `text` on its standard input. Raises EmbeddedError when it hangs.

    `cwd` is entered before the account changes, so it proves nothing about reach.
    """
    identity: dict[str, Any] = {}
    if account:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        return subprocess.run(
            args,
            cwd=cwd or Path("/"),
            env=SERVER_ENVIRONMENT | (env or {}),
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            **identity,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(f"{args[0]} did not end within {COMMAND_TIMEOUT_S:.0f} s.") from error


def is_runnable(account: Account | None, program: Path) -> bool:
    """Whether the account can execute it, shared libraries included."""
    try:
        return run(account, [program, "--version"]).returncode == 0
    except OSError:
        return False


def private_copy(data_dir: Path, key: str, sources: Sequence[Path]) -> Path:
    """A folder with copies of `sources` that the servers' account can read; made once for each key."""
    target = _make_outside_dir(data_dir) / key
    if target.is_dir():
        return target
    fresh = target.with_name(f"{key}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for source in sources:
        if source.is_dir():
            unneeded = shutil.ignore_patterns("pginstall", "include", "pgxs", "__pycache__", "*.a")
            shutil.copytree(source, fresh / source.name, symlinks=True, ignore=unneeded)
        elif source.exists():
            shutil.copy2(source, fresh / source.name)
    _open_for_reading(fresh)
    fresh.rename(target)
    return target


def _open_for_reading(folder: Path) -> None:
    """Our own copies only: an installation made under umask 077 is closed to the account."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


# ---- Processes --------------------------------------------------------------------------------------------------
def processes_in(folder: Path) -> list[int]:
    """The processes that work in `folder`, as both servers do in their data; empty where there is no /proc."""
    wanted = str(folder.resolve())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(entry / "cwd") == wanted:  # noqa: PTH115 - Path would lose " (deleted)"
                found.append(int(entry.name))
    return found


def wait_until(is_so: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
    """Raises EmbeddedError with `what` when it is not so in time."""
    give_up_at = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > give_up_at:
            raise EmbeddedError(f"{what} after {timeout_s:.0f} s.")
        time.sleep(0.01)


def last_line(log: Path) -> str:
    """What a server said last, for an error message."""
    with suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""
