"""What a process counts by itself, because the database cannot know it: how long requests took, what was refused at a door.

Counting is an addition in memory. Some seconds later it is written to a file of the process's own, which whoever is scraped on
this machine reads; a process that is killed loses those seconds. Nothing here ever fails a request.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from shop.metrics import Labels, Metric, Sample, add

log = structlog.get_logger("nodrop.counting")

WRITE_AFTER_S = 2.0
# A process that has written nothing for so long has ended, or has nothing to say: its file is added to that of the ended.
OLD_S = 86_400
ENDED = "ended.json"


class Counts(dict[tuple[str, Labels], list[float]]):
    """What was counted, by a metric's name and its labels."""


class Book:
    """The counts of one process, and its file. Safe to share between threads; a forked child begins an empty one."""

    def __init__(self, folder: Path | None = None, *, write_after_s: float = WRITE_AFTER_S) -> None:
        self._given, self._write_after_s = folder, write_after_s
        self.begin()

    def begin(self) -> None:
        """Begin anew, in a new process."""
        self._lock = threading.Lock()
        self._counts = Counts()
        self._written = Counts()
        self._is_due = False
        self.name = _new_name()

    @property
    def folder(self) -> Path:
        return self._given or settings.DATA_DIR / "metrics"

    def count(self, metric: Metric, *labels: str, observed: float = 1) -> None:
        """Add one observation to a counter or histogram."""
        values, key = metric.values_of(observed), (metric.name, labels)
        with self._lock:
            self._counts[key] = add(self._counts[key], values) if key in self._counts else values
            is_first, self._is_due = not self._is_due, True
        if is_first:
            self._write_later()

    def write(self) -> None:
        """Write the file now. Raises OSError."""
        with self._lock:
            self._is_due = False
            if self._written and not (self.folder / self.name).exists():
                # Somebody took us for ended and has added what we had written to the others' counts.
                self._counts, self.name = _less(self._counts, self._written), _new_name()
            counts = Counts(self._counts)
        self.folder.mkdir(parents=True, exist_ok=True)
        _put(self.folder / self.name, {"counts": _to_list(counts)})
        self._written = counts

    def read(self) -> tuple[Counts, int]:
        """Everything that the processes of this folder have counted, ended ones too; and how many files nobody can read.

        Raises OSError when there is no folder to be had; `own` is what is known all the same.
        """
        with contextlib.suppress(OSError):
            self.write()
        with _alone(self.folder):
            _fold(self.folder, old_s=OLD_S)
            return _read_all(self.folder)

    @property
    def own(self) -> Counts:
        """What this process has counted."""
        with self._lock:
            return Counts(self._counts)

    def _write_later(self) -> None:
        timer = threading.Timer(self._write_after_s, self._try_to_write)
        timer.daemon = True
        # No thread to be had, as when the process ends: the next count tries again.
        try:
            timer.start()
        except RuntimeError:
            self._is_due = False

    def _try_to_write(self) -> None:
        try:
            self.write()
        except OSError as error:
            log.warning("metrics not written", error=type(error).__name__)


def samples_of(counts: Counts, metric: Metric) -> list[Sample]:
    """The series of one metric; those of a release with other buckets are left out."""
    return [
        (labels, values)
        for (name, labels), values in counts.items()
        if name == metric.name and len(values) == metric.width and len(labels) == len(metric.labels)
    ]


def fold(folder: Path, *, old_s: float = OLD_S) -> None:
    """Add the files of processes that have ended to one file, so that there are never many. Raises OSError."""
    with _alone(folder):
        _fold(folder, old_s=old_s)


def _fold(folder: Path, *, old_s: float) -> None:
    """What was added is named in the file until it is deleted: a crash in between counts nothing twice."""
    ended = [path for path in folder.glob("*.json") if _has_ended(path, old_s)]
    if not ended:
        return
    total, before, added = Counts(), folder / ENDED, _list_added(folder)
    if before.exists():
        _try_to_add(total, before)
    now_added = [path for path in ended if path.name not in added and _try_to_add(total, path)]
    _put(before, {"counts": _to_list(total), "added": [path.name for path in now_added]})
    for path in (*now_added, *(folder / name for name in added)):
        path.unlink(missing_ok=True)


def _read_all(folder: Path) -> tuple[Counts, int]:
    total, added = Counts(), _list_added(folder)
    paths = sorted(path for path in folder.glob("*.json") if path.name not in added)
    return total, sum(not _try_to_add(total, path) for path in paths)


def _try_to_add(total: Counts, path: Path) -> bool:
    """False for a file that nobody can read: it stays, to be looked at."""
    try:
        _add_all(total, _load(path)["counts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("metrics of a process cannot be read", file=path.name, error=type(error).__name__)
        return False
    return True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While others of this machine wait: a file that is read before and after it is folded would count twice."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _has_ended(path: Path, old_s: float) -> bool:
    """Of a process of another machine only its silence tells."""
    if path.name == ENDED:
        return False
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > old_s:
            return True
    host, _, rest = path.name.removesuffix(".json").rpartition(".")[0].rpartition(".")
    return host == _host() and rest.isdigit() and not _is_there(int(rest))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _new_name() -> str:
    return f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}.json"


def _host() -> str:
    return socket.gethostname().replace("/", "-")[:60]


def _list_added(folder: Path) -> list[str]:
    try:
        return list(_load(folder / ENDED)["added"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _load(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise TypeError(path.name)
    return found


def _put(path: Path, what: dict[str, Any]) -> None:
    """Whole or not at all. Not synced: it need not survive the machine."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(what))
    new.replace(path)


def _to_list(counts: Counts) -> list[Any]:
    return [[name, list(labels), values] for (name, labels), values in counts.items()]


def _add_all(total: Counts, found: list[Any]) -> None:
    """All of one file or nothing. Raises TypeError and ValueError for what is no file of counts."""
    rows = [((str(name), tuple(labels)), [float(v) for v in values]) for name, labels, values in found]
    for key, values in rows:
        before = total.get(key)
        total[key] = add(before, values) if before is not None and len(before) == len(values) else values


def _less(counts: Counts, taken: Counts) -> Counts:
    none = {key: [0.0] * len(values) for key, values in counts.items()}
    return Counts(
        (key, [a - b for a, b in zip(values, taken.get(key, none[key]), strict=True)])
        for key, values in counts.items()
    )


BOOK = Book()
os.register_at_fork(after_in_child=BOOK.begin)
count = BOOK.count
