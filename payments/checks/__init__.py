"""Checks of the channels' configuration: each finding has an id and says what to change. `manage.py check` shows them, the web
and `watch` log them when they start, and an error stops no command that guards money. Nothing is called or written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.db import DatabaseError
from django.utils.module_loading import import_string

from payments.channels.registry import BrokenChannel, UnknownChannel, get_channel, title_of
from payments.channels.wire import is_safe_url
from payments.checks.parts import host_of, is_host_only
from shop.clock import read_now

# Signatures are good for some minutes; a clock that is off by more than this is on its way there.
MOST_SKEW_S = 30
MOST_LINK_DAYS = 3650
# Names that only a network of one's own knows.
PRIVATE_ENDINGS = (
    ".localhost",
    ".local",
    ".localdomain",
    ".internal",
    ".intranet",
    ".lan",
    ".home",
    ".corp",
    ".home.arpa",
)


@register("channels")
def check_channels(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """The configuration of every channel that is configured."""
    configured = {name: values for name, values in settings.CHANNELS.items() if values is not None}
    found: list[CheckMessage] = [*check_public_url()] if configured else []
    for name, values in configured.items():
        own: list[CheckMessage] = []
        if find_spec(f"payments.checks.{name}"):
            own += import_string(f"payments.checks.{name}.check")(values)
        found += own if any(message.is_serious() for message in own) else [*own, *check_usable(name)]
    return found


def check_usable(name: str) -> Iterator[CheckMessage]:
    """Whatever else is wrong with a channel, so that it could not be built and would not be offered."""
    try:
        get_channel(name)
    except BrokenChannel as broken:
        yield Error(
            f"{title_of(name)} cannot be used and is not offered: {broken.reason}.",
            hint=f"Correct its {name.upper()}_ variables, or take all of them out.",
            id="payments.E009",
        )
    except UnknownChannel:
        return  # settings of a channel that does not exist


@register("clock", deploy=True)
def check_clock(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Channels refuse signatures by their age: this machine's clock and the database's must agree."""
    try:
        skew = abs((read_now() - datetime.now(UTC)).total_seconds())
    except DatabaseError:
        return []  # that it does not answer is another matter
    if skew <= MOST_SKEW_S:
        return []
    return [
        Error(
            f"The clocks of this machine and of PostgreSQL differ by {skew:.0f} seconds.",
            hint="Run a time service on both: channels refuse signatures by their age, and orders expire by the clock.",
            id="payments.E007",
        )
    ]


@register("proxy", deploy=True)
def check_proxy(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Where a proxy speaks https for us, every shopper would seem to have its address."""
    if not settings.PUBLIC_URL.startswith("https://") or settings.BEHIND_PROXY:
        return []
    return [
        checks.Warning(
            "PUBLIC_URL is https, and BEHIND_PROXY is not set: behind a proxy, no shopper's own address is known.",
            hint="Set BEHIND_PROXY=1 if a proxy speaks https for us, with TRUSTED_PROXIES if there are several.",
            id="payments.W004",
        )
    ]


@register("mail", deploy=True)
def check_mail(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Shoppers get a receipt."""
    if settings.EMAIL_HOST:
        return []
    return [
        checks.Warning(
            "EMAIL_HOST is not set: receipts are written into the data folder and reach nobody.",
            hint="Set EMAIL_HOST and, where needed, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, MAIL_FROM.",
            id="payments.W002",
        )
    ]


@register("links")
def check_links(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Shoppers come back to their orders by the link of their mail, but not for ever."""
    if 1 <= settings.ORDER_LINK_DAYS <= MOST_LINK_DAYS:
        return []
    return [
        Error(
            f"ORDER_LINK_DAYS is {settings.ORDER_LINK_DAYS}: links to orders would end at once, or never.",
            hint=f"Set ORDER_LINK_DAYS to a number of days from 1 to {MOST_LINK_DAYS}.",
            id="payments.E021",
        )
    ]


def check_public_url() -> Iterator[CheckMessage]:
    host = host_of(settings.PUBLIC_URL)
    if not settings.DEBUG and is_private(host):
        yield Error(
            f"PUBLIC_URL names {host}, which no channel can reach.",
            hint="Set PUBLIC_URL to the shop's https address as the world sees it: channels call back to it.",
            id="payments.E008",
        )
    if not is_safe_url(settings.PUBLIC_URL):
        yield Error(
            "PUBLIC_URL is not an https address, and channels call back to it.",
            hint="Set PUBLIC_URL to the shop's https address; http is for this machine only.",
            id="payments.E001",
        )
    elif not is_host_only(settings.PUBLIC_URL):
        yield Error(
            "PUBLIC_URL holds more than a host: links and callbacks would lead to other paths.",
            hint="Set PUBLIC_URL to https:// and the host, with nothing behind it but a port.",
            id="payments.E019",
        )


def is_private(host: str) -> bool:
    """Whether the name or address means this machine or a network without a way in from outside."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        name = host.removesuffix(".")
    # Old ways to write an IPv4 address, as 10.1 or 2130706433 or 0x7f.1, end in a number; no name of the world does.
    is_number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]) is not None
    return "." not in name or is_number or name.endswith(PRIVATE_ENDINGS)
