"""The worker's sandbox without our shop, a merchant that signs by hand, and a shop that takes notifications."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.merchant import Merchant, Shop
from tests.sandbox.stripe_account import Account
from tests.sandbox_process import SandboxProcess, start_sandbox


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The worker's sandbox, without faults and without a database of ours."""
    yield shared_sandbox
    shared_sandbox.end_notifications()
    shared_sandbox.clear_faults()


@pytest.fixture
def merchant(sandbox: SandboxProcess) -> Merchant:
    return Merchant(sandbox)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def account(sandbox: SandboxProcess) -> Account:
    """The merchant's account at Stripe."""
    return Account(sandbox)


@pytest.fixture
def webhook(sandbox: SandboxProcess, shop: Shop) -> Callable[[], dict[str, Any]]:
    """Enters the shop's address at Stripe; returns what takes the next event."""
    sandbox.set_webhooks(boleto=shop.url)
    return lambda: json.loads(shop.take().body)


@pytest.fixture
def own_sandbox(tmp_path: Path, key_dir: Path) -> Iterator[Callable[..., SandboxProcess]]:
    """Starts sandboxes of the test's own, all on one data folder, and ends those that still run."""
    started: list[SandboxProcess] = []

    def start(**options: Any) -> SandboxProcess:
        started.append(start_sandbox(tmp_path / "sandbox", key_dir=key_dir, **options))
        return started[-1]

    yield start
    for sandbox in started:
        if sandbox.process.poll() is None:
            sandbox.kill()
