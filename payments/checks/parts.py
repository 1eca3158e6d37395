"""What the checks of several channels share: addresses, files, keys that fit each other."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice

from payments.channels.wire import is_safe_url

_HOST = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?/?", re.IGNORECASE)


def check_address(name: str, url: str, usual: str, *, code: str) -> Iterator[CheckMessage]:
    """An address that a channel is called at."""
    if not is_safe_url(url):
        yield Error(
            f"{name} is not an https address.",
            hint=f"Use {usual}; http is for a sandbox on this machine only.",
            id=code,
        )


def check_host(name: str, url: str, usual: str, *, code: str) -> Iterator[CheckMessage]:
    """As `check_address`, where the channel's own paths are put behind the address."""
    yield from check_address(name, url, usual, code=code)
    if is_safe_url(url) and not is_host_only(url):
        yield Error(
            f"{name} holds more than a host: every call would go to another path.",
            hint=f"Use {usual}, with nothing behind the host but a port.",
            id=code,
        )


def is_host_only(url: str) -> bool:
    """Whether nothing but a port stands behind the address's host."""
    return bool(_HOST.fullmatch(url))


def host_of(url: str) -> str:
    """The host of an address, in small letters; "" of what is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def check_permissions(name: str, path: str) -> Iterator[CheckMessage]:
    """A private key that any user of the machine may read. A group may: secrets are often mounted for one."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return  # already found as a key that cannot be read
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield Advice(
            f"{name} can be read or changed by other users of this machine.",
            hint="Let only its owner read it: chmod 600.",
            id="payments.W001",
        )
