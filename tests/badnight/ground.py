"""Where the bad night takes place: a database, a Redis and a sandbox of its own, in a folder that is removed."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

from shop import embedded
from tests.sandbox_process import SandboxProcess, start_sandbox


@contextmanager
def prepared() -> Iterator[SandboxProcess]:
    """A migrated database, and the sandbox that this process's settings know as all five channels."""
    folder = Path(tempfile.mkdtemp(prefix="nodrop-badnight-"))
    folder.chmod(0o755)  # the servers' unprivileged account must be able to pass
    data_dir = folder / "data"
    sandbox = start_sandbox(folder / "sandbox", refund_delay=0)
    try:
        embedded.ensure_started(data_dir)
        os.environ.update(sandbox.env | _environment(data_dir))
        django.setup()
        _hurry()
        call_command("migrate", verbosity=0)
        yield sandbox
    finally:
        sandbox.stop()
        embedded.stop(data_dir)
        shutil.rmtree(folder)


def _hurry() -> None:
    """What is tried is what the shop does: neither whether a commit outlives a power cut, nor Django's list of queries."""
    settings.DATABASES["default"]["OPTIONS"]["options"] += " -c synchronous_commit=off"
    settings.DEBUG = False


def _environment(data_dir: Path) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DEBUG": "1",
        "SECRET_KEY": secrets.token_hex(32),
        "PUBLIC_URL": "http://127.0.0.1:9",  # where all notifications are lost
        "LOG_LEVEL": "ERROR",
        "NODROP_DATA_DIR": str(data_dir),
        "DATABASE_URL": embedded.postgres_url(data_dir),
        "REDIS_URL": embedded.redis_url(data_dir),
    }
