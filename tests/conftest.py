"""Real parts for every test: PostgreSQL and Redis, embedded unless an address is given, and the sandbox gateway."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as shop_settings
from django.core.servers.basehttp import WSGIRequestHandler
from django.test import TransactionTestCase
from pytest_django.live_server_helper import LiveServer

from shop import embedded
from tests.browser.figures import tell_figures
from tests.emptying import empty_tables
from tests.redis_states import redis_state as redis_state
from tests.sandbox_process import SandboxProcess, start_sandbox
from tests.sweep import summary as sweep

NTH = count()

embedded.ensure_started_for(shop_settings)
# What is tested is what the shop does; whether PostgreSQL keeps a commit when the power fails is its own business.
DATABASE_OPTIONS = shop_settings.DATABASES["default"]["OPTIONS"]
DATABASE_OPTIONS["options"] += " -c synchronous_commit=off"
# Longer than a busy machine stands still. What the shop does without a database is tested on processes of its own.
DATABASE_OPTIONS["connect_timeout"] = 30
# A slow hash guards the passwords of people. That of a test's staff is made five hundred times.
shop_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TransactionTestCase._fixture_teardown = lambda _: empty_tables()  # type: ignore[attr-defined]
# An answer is written in two parts. Held back until the first is acknowledged, it would cost each kept connection 40 ms.
WSGIRequestHandler.disable_nagle_algorithm = True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the sweep and the browser tests have counted."""
    sweep.pytest_terminal_summary(terminalreporter)
    tell_figures(terminalreporter)


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: a good part of the time is waited for processes, pages and clocks."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in turn in one worker begins first, so that no other worker waits for its end."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(autouse=True)
def _redis_of_this_test(worker_id: str, testrun_uid: str) -> None:
    """Parallel workers share one Redis, and it outlives the tables of a test: each test has keys of its own."""
    shop_settings.CACHES["default"]["KEY_PREFIX"] = f"test-{testrun_uid}-{worker_id}-{next(NTH)}"


@pytest.fixture(scope="session")
def key_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Keys are slow to make and may be shared; the parent of a worker's folder is common to all workers."""
    folder = tmp_path_factory.getbasetemp()
    return (folder if worker_id == "master" else folder.parent) / "sandbox-keys"


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory, key_dir: Path) -> Iterator[SandboxProcess]:
    """One sandbox process per test worker."""
    sandbox = start_sandbox(tmp_path_factory.mktemp("sandbox"), notify_speed=50, key_dir=key_dir)
    yield sandbox
    assert sandbox.stop() == 0


def channel_variables(sandbox: SandboxProcess, channel: str) -> dict[str, str]:
    """What points the channel's adapter at the sandbox."""
    usual = dict(shop_settings.CHANNEL_OPTIONS.get(channel, {}))
    prefix = f"{channel.upper()}_"
    return usual | {
        name.removeprefix(prefix): value for name, value in sandbox.env.items() if name.startswith(prefix)
    }


@pytest.fixture
def sandbox(
    shared_sandbox: SandboxProcess, live_server: LiveServer, settings: Any
) -> Iterator[SandboxProcess]:
    """The worker's sandbox without faults; our WeChat channel talks to it, and it notifies our live server."""
    settings.CHANNELS = {"wechat": channel_variables(shared_sandbox, "wechat")}
    settings.PUBLIC_URL = live_server.url
    settings.SANDBOX_URL = shared_sandbox.url
    yield shared_sandbox
    shared_sandbox.end_notifications()  # none may reach the database of the next test
    shared_sandbox.clear_faults()


@pytest.fixture
def every_channel(sandbox: SandboxProcess, live_server: LiveServer, settings: Any) -> SandboxProcess:
    """The worker's sandbox with all five channels of ours talking to it."""
    settings.CHANNELS = {name: channel_variables(sandbox, name) for name in settings.CHANNEL_KEYS}
    sandbox.set_webhooks(**{name: f"{live_server.url}/notify/{name}/" for name in ("paypal", "boleto")})
    return sandbox
