"""The tools that keep the tree in order, as tests, so that one command shows everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "ruff", "check", "--no-cache", "."],
        ["-m", "ruff", "format", "--no-cache", "--check", "."],
        ["-m", "mypy", "--no-error-summary", "."],
        ["manage.py", "makemigrations", "--check", "--dry-run"],
        ["manage.py", "check"],
    ],
    ids=["ruff check", "ruff format", "mypy", "no migration missing", "django's checks"],
)
def test_tool_finds_nothing(command):
    found = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_top_level_is_the_promised_one():
    allowed = {"manage.py", "pyproject.toml", "shop", "payments", "orders", "templates", "static", "tests"}
    allowed |= {"README.md", "LICENSE", "CHANGELOG.md", "requirements.lock"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {line.split("/")[0] for line in listed.splitlines()}
    assert {entry for entry in entries if not entry.startswith(".")} <= allowed
