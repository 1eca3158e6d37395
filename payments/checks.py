"""Checks of the channels' configuration: each finding has an id and says what to change. `manage.py check` shows them,
and an error stops every command but the few that need none. Nothing is called and nothing is written.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from payments.channels.seals import BadKey, read_private_key, read_public_key
from payments.channels.wechat import list_platform_keys
from payments.channels.wire import is_safe_url

# So begins the serial of every certificate that the sandbox makes for a merchant.
SANDBOX_SERIAL_PREFIX = "5A4DB0C5"


@register("channels")
def check_channels(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """The configuration of every channel that is configured."""
    wechat = settings.CHANNELS.get("wechat")
    found: list[CheckMessage] = []
    if any(configured is not None for configured in settings.CHANNELS.values()):
        found += check_public_url()
    if wechat is not None:
        found += [*check_wechat_keys(wechat), *check_wechat_address(wechat)]
    return found


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


def check_public_url() -> Iterator[CheckMessage]:
    if not is_safe_url(settings.PUBLIC_URL):
        yield Error(
            "PUBLIC_URL is not an https address, and channels call back to it.",
            hint="Set PUBLIC_URL to the shop's https address; http is for this machine only.",
            id="payments.E001",
        )


def check_wechat_address(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    if not is_safe_url(wechat["BASE_URL"]):
        yield Error(
            "WECHAT_BASE_URL is not an https address.",
            hint="Use https://api.mch.weixin.qq.com; http is for a sandbox on this machine only.",
            id="payments.E002",
        )
    if not settings.DEBUG and wechat["MERCHANT_SERIAL"].upper().startswith(SANDBOX_SERIAL_PREFIX):
        yield Error(
            "WeChat Pay is configured with keys of the sandbox while DEBUG is off.",
            hint="Put the merchant's own credentials into the WECHAT_ variables: the sandbox pays with no money.",
            id="payments.E003",
        )


def check_wechat_keys(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    if len(wechat["APIV3_KEY"].encode()) != 32:
        yield Error(
            "WECHAT_APIV3_KEY does not have 32 characters.",
            hint="Copy the APIv3 key from the merchant site (account centre, API security).",
            id="payments.E004",
        )
    try:
        read_private_key(wechat["MERCHANT_KEY_FILE"])
    except BadKey as error:
        yield Error(
            f"WECHAT_MERCHANT_KEY_FILE cannot be used: {error}.",
            hint="It is the apiclient_key.pem that came with the merchant certificate.",
            id="payments.E005",
        )
    yield from check_permissions("WECHAT_MERCHANT_KEY_FILE", wechat["MERCHANT_KEY_FILE"])
    try:
        for path in list_platform_keys(wechat).values():
            read_public_key(path)
    except BadKey as error:
        yield Error(
            f"WECHAT_PLATFORM_KEY_FILE cannot be used: {error}.",
            hint="It is WeChat Pay's public key (or platform certificate), its id in WECHAT_PLATFORM_KEY_ID; "
            "while keys change, two of each by comma.",
            id="payments.E006",
        )


def check_permissions(name: str, path: str) -> Iterator[CheckMessage]:
    """A private key that any user of the machine may read. A group may: secrets are often mounted for one."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return  # already found as a key that cannot be read
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield checks.Warning(
            f"{name} can be read or changed by other users of this machine.",
            hint="Let only its owner read it: chmod 600.",
            id="payments.W001",
        )
