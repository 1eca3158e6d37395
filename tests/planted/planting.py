"""Puts one bug into a copy of the product and runs the tests that should catch it there, in a pytest of its own."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.planted.bugs import Bug

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "staticfiles")
# How pytest says that a test failed, as opposed to its own troubles.
TESTS_FAILED = 1
LIMIT_S = 900


class DoesNotApply(Exception):
    """The product does not hold the text that the bug changes, or holds it more than once."""


def change(bug: Bug, tree: Path) -> None:
    """Write the bug into a tree. Raises DoesNotApply."""
    path = tree / bug.file
    text = path.read_text() if path.is_file() else ""
    found = text.count(bug.before)
    if found != 1 or bug.before == bug.after:
        raise DoesNotApply(f"{bug.name!r}: its text is found {found} times in {bug.file}")
    path.write_text(text.replace(bug.before, bug.after))


def copy_product(tree: Path) -> None:
    """A working copy without data, caches and history."""
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT, dirs_exist_ok=True)


def run_tests(tree: Path, tests: tuple[str, ...], *, database_url: str, redis_url: str) -> tuple[str, ...]:
    """Run tests of a tree up to the first failure, on a database of their own. Returns the tests that failed.

    Raises RuntimeError when pytest, its fixtures or its servers had troubles of their own: that catches no bug.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += ["--numprocesses=0", *tests]
    # What this very run of pytest tells its workers by the environment is not for others.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables = inherited | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with subprocess.Popen(
        command,
        cwd=tree,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            said, _ = run.communicate(timeout=LIMIT_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # its sandbox too, whatever became of pytest
    failed = tuple(line.split()[1] for line in said.splitlines() if line.startswith("FAILED "))
    if run.returncode != (TESTS_FAILED if failed else 0):
        raise RuntimeError(f"pytest could not run: {said[-3000:]}")
    return failed
