"""`python -m tests.bench`: callbacks settled a second over HTTP, as a ratio to pgbench in the same rounds.

Prints one block; exit 0 at the floor or above it, 1 below, 2 when what was settled is not right.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from tests.bench.ground import prepared
from tests.programs import ROOT


def main() -> int:
    """Run what the options say."""
    options = _read_options()
    with prepared() as keys:
        # Only now do the settings know the database.
        from payments.audit import audit
        from tests.bench.meter import Meter
        from tests.bench.rounds import Bench
        from tests.bench.verdict import Result, describe, to_document
        from tests.bench.web import serving

        folder = Path(os.environ["NODROP_DATA_DIR"])
        with serving(folder / "web.log") as web:
            bench = Bench(keys, web.port, Meter(web.pid, folder), folder)
            bench.warm_up(options.callbacks)
            rounds = list(bench.rounds(options.callbacks, options.rounds))
        sys.stderr.write((folder / "web.log").read_text())
        result, setting = Result(rounds, audit()), _describe_setting(options)
    print(json.dumps(to_document(result, setting)) if options.json else describe(result, setting))
    return result.exit_status


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--callbacks", type=_positive, default=2000, help="in each round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _describe_setting(options: argparse.Namespace) -> dict[str, str]:
    """What was measured, and with what."""
    from django.db import connection

    from tests.bench import plain, rounds, web

    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    pgbench = subprocess.run([plain.find_pgbench(), "--version"], capture_output=True, text=True, check=True)
    with connection.cursor() as cursor:
        cursor.execute("show server_version")
        server = cursor.fetchone()[0]
    return {
        "rounds": f"{options.rounds} of {options.callbacks * rounds.PLAIN_PER_CALLBACK} settles, "
        f"then {options.callbacks} signed and encrypted callbacks; no watch and no cluster runs",
        "pgbench": f"{plain.CLIENTS} clients, plain statements; {pgbench.stdout.strip()}",
        "web": f"{web.WORKERS} WSGI processes of {web.THREADS} threads, {rounds.CONNECTIONS} connections; "
        f"granian {version('granian')}",
        "machine": f"{os.cpu_count()} CPUs, PostgreSQL {server}, Python {python_version()}, "
        f"Django {version('django')}, psycopg {version('psycopg')}",
        "commit": asked.stdout.strip() or "unknown",
    }


if __name__ == "__main__":
    sys.exit(main())
