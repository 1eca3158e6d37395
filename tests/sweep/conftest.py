"""Parts of the sweep: a sandbox of its own, whose refunds end at once and whose notifications wait to be fetched."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payments.channels.registry import get_channel
from tests.conftest import channel_variables
from tests.sandbox_process import SandboxProcess, start_sandbox
from tests.sweep.world import Mailbox


@pytest.fixture(scope="session")
def quick_sandbox(tmp_path_factory: pytest.TempPathFactory, key_dir: Path) -> Iterator[SandboxProcess]:
    sandbox = start_sandbox(
        tmp_path_factory.mktemp("sweep"), refund_delay=0, notify_speed=0.001, key_dir=key_dir
    )
    yield sandbox
    assert sandbox.stop() == 0


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.close()


@pytest.fixture
def parts(
    transactional_db: None, quick_sandbox: SandboxProcess, mailbox: Mailbox, settings: Any, tmp_path: Path
) -> Iterator[tuple[SandboxProcess, Mailbox]]:
    """Our channels talk to the sandbox, which notifies the mailbox; all is warm and ready to fork."""
    settings.CHANNELS = {name: channel_variables(quick_sandbox, name) for name in settings.CHANNEL_KEYS}
    settings.PUBLIC_URL = mailbox.url
    quick_sandbox.set_webhooks(**{name: f"{mailbox.url}/notify/{name}/" for name in ("paypal", "boleto")})
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path
    for name in settings.CHANNELS:
        get_channel(name)  # reads its keys now, not in every child
    get_channel("paypal")._account._find_token()  # type: ignore[attr-defined]  # and has its token
    logging.disable(logging.WARNING)  # thousands of refusals and cut connections are what is wanted here
    yield quick_sandbox, mailbox
    logging.disable(logging.NOTSET)
    quick_sandbox.end_notifications()
    quick_sandbox.clear_faults()
