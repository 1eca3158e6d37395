"""Parts of a race: the shop, and the starting line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payments.sandbox.keys import Keyring
from payments.sandbox.wechat_seals import WeChatKeys
from tests.races.racing import Race, quick_turns, without_deadlocks, without_failed_alarms
from tests.races.world import World
from tests.sandbox_process import SandboxProcess
from tests.sweep.world import Mailbox


@pytest.fixture
def world(sandbox: SandboxProcess, settings: Any, key_dir: Path) -> Iterator[World]:
    """A shop whose channel notifies a mailbox."""
    mailbox = Mailbox()
    settings.PUBLIC_URL = mailbox.url
    yield World(sandbox, mailbox, WeChatKeys(Keyring(key_dir)))
    mailbox.close()


@pytest.fixture
def race(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Race]:
    """The starting line, the same hesitations in every run of a test."""
    with without_failed_alarms(), without_deadlocks(), quick_turns():
        race = Race(request.node.name)
        try:
            yield race
        finally:
            race.close()
