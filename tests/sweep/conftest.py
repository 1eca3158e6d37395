"""Parts of the sweep: a sandbox of its own, whose refunds end at once and whose notifications wait to be fetched."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from payments.channels.registry import get_channel
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
    """Our WeChat channel talks to the sandbox, which notifies the mailbox; all is warm and ready to fork."""
    variables = {key: quick_sandbox.env[f"WECHAT_{key}"] for key in settings.WECHAT_KEYS}
    settings.CHANNELS = {"wechat": variables}
    settings.PUBLIC_URL = mailbox.url
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path
    get_channel("wechat")  # reads its keys now, not in every child
    options = connection.settings_dict["OPTIONS"]
    before = options["options"]
    connection.close()
    # Killing clients says nothing about the durability of the server: that is another test's business.
    options["options"] = f"{before} -c synchronous_commit=off"
    logging.disable(logging.WARNING)  # thousands of refusals and cut connections are what is wanted here
    yield quick_sandbox, mailbox
    logging.disable(logging.NOTSET)
    quick_sandbox.end_notifications()
    quick_sandbox.clear_faults()
    connection.close()
    options["options"] = before
