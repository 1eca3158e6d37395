"""Where the benchmark runs: a database of its own, shipped defaults, and the environment of a shop in production.

Nothing here touches an installation: the servers live in a folder that is removed, or, where DATABASE_URL names a
server, in a new database there that is dropped.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from django.core.management import call_command

from payments.sandbox.keys import Keyring
from payments.sandbox.wechat_seals import WeChatKeys
from shop import embedded
from tests.bench.bodies import HOST


@contextmanager
def prepared() -> Iterator[WeChatKeys]:
    """A migrated database and the keys of one merchant, named in this process's environment for it and its children."""
    folder = Path(tempfile.mkdtemp(prefix="nodrop-bench-"))
    folder.chmod(0o755)  # the servers' unprivileged account must be able to pass
    data_dir = folder / "data"
    try:
        with _database(data_dir) as database_url:
            keys = WeChatKeys(Keyring(folder / "keys"))
            os.environ.update(_production(data_dir, database_url, keys))
            django.setup()
            call_command("migrate", verbosity=0)
            yield keys
    finally:
        embedded.stop(data_dir)
        shutil.rmtree(folder)


@contextmanager
def _database(data_dir: Path) -> Iterator[str]:
    """The address of an empty database, which is dropped in the end."""
    given = os.environ.get("DATABASE_URL")
    embedded.ensure_started(data_dir, postgres=not given, redis=not os.environ.get("REDIS_URL"))
    if not given:
        yield embedded.postgres_url(data_dir)
        return
    name = f"nodrop_bench_{secrets.token_hex(4)}"
    with psycopg.connect(given, autocommit=True) as server:
        server.execute(f"create database {name}")
        try:
            yield urlunsplit(urlsplit(given)._replace(path=f"/{name}"))
        finally:
            server.execute(f"drop database {name} with (force)")


def _production(data_dir: Path, database_url: str, keys: WeChatKeys) -> Mapping[str, str]:
    static = data_dir / "static"
    static.mkdir()
    return {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_hex(32),
        "PUBLIC_URL": f"https://{HOST}",
        "BEHIND_PROXY": "1",
        "LOG_LEVEL": "WARNING",
        "STATIC_ROOT": str(static),
        "NODROP_DATA_DIR": str(data_dir),
        "DATABASE_URL": database_url,
        "REDIS_URL": os.environ.get("REDIS_URL") or embedded.redis_url(data_dir),
        "WECHAT_BASE_URL": "https://127.0.0.1:9",  # nobody calls it
        **keys.read_environment(),
    }
