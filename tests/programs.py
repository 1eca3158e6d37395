"""Starting the product's own programs on the test's database, as an operator would."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def environment() -> dict[str, str]:
    """The variables with which a program of ours uses the test's own database and channels."""
    database = connection.settings_dict
    host = quote(str(database["HOST"]), safe="")
    login = quote(str(database["USER"]), safe="") + (
        f":{quote(database['PASSWORD'])}" if database["PASSWORD"] else ""
    )
    channels = {
        f"{channel.upper()}_{name}": value
        for channel, configured in settings.CHANNELS.items()
        for name, value in (configured or {}).items()
    }
    variables: dict[str, str] = {
        **os.environ,
        **channels,
        "DATABASE_URL": f"postgresql://{login}@{host}:{database['PORT'] or 5432}/{database['NAME']}",
        "REDIS_URL": str(settings.CACHES["default"]["LOCATION"]),
        "PUBLIC_URL": settings.PUBLIC_URL,
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }
    return variables


@contextmanager
def running(*args: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py …` in a process group of its own; ended, with all that it started, at the end."""
    with log.open("ab") as out:
        program = subprocess.Popen(
            [*MANAGE, *args], env=environment(), stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
    try:
        yield program
    finally:
        if program.poll() is None:
            program.terminate()
            try:
                program.wait(timeout=20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def call(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py …` to its end."""
    return subprocess.run(
        [*MANAGE, *args], env=environment(), capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )


def is_alive(pid: int) -> bool:
    """A zombie is dead: nobody may have reaped it yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
