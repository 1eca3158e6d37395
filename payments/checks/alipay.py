"""Alipay's configuration. Ids 101 to 199."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice

from payments.channels.alipay import list_alipay_keys
from payments.channels.seals import BadKey, read_private_key, read_public_key
from payments.channels.wire import is_safe_url
from payments.checks.parts import check_address, check_permissions, host_of

USUAL_ADDRESS = "https://openapi.alipay.com/gateway.do"
# So begin the apps of Alipay's own sandbox, and that of ours.
SANDBOX_APP_PREFIX = "9021"
SANDBOX_HOSTS = ".alipaydev.com"


def check(alipay: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Its keys, its address, and who it says we are."""
    yield from check_keys(alipay)
    yield from check_gateway(alipay["GATEWAY_URL"])
    yield from check_identity(alipay)


def check_gateway(url: str) -> Iterator[CheckMessage]:
    yield from check_address("ALIPAY_GATEWAY_URL", url, USUAL_ADDRESS, code="payments.E103")
    if is_safe_url(url) and not url.endswith("/gateway.do"):
        yield Advice(
            "ALIPAY_GATEWAY_URL does not end in /gateway.do, where Alipay answers.",
            hint=f"Use {USUAL_ADDRESS}.",
            id="payments.W101",
        )


def check_keys(alipay: Mapping[str, str]) -> Iterator[CheckMessage]:
    own = None
    try:
        own = read_private_key(alipay["APP_KEY_FILE"]).public_key()
    except BadKey as error:
        yield Error(
            f"ALIPAY_APP_KEY_FILE cannot be used: {error}.",
            hint="It is the app's private key in PEM, whose public half was entered at the open platform.",
            id="payments.E101",
        )
    yield from check_permissions("ALIPAY_APP_KEY_FILE", alipay["APP_KEY_FILE"])
    try:
        theirs = [read_public_key(path) for path in list_alipay_keys(alipay)]
    except BadKey as error:
        yield Error(
            f"ALIPAY_ALIPAY_KEY_FILE cannot be used: {error}.",
            hint="It is Alipay's public key in PEM; while Alipay changes it, two files with a comma between.",
            id="payments.E102",
        )
        return
    if own is not None and own in theirs:
        yield Error(
            "ALIPAY_ALIPAY_KEY_FILE holds the app's own public key, with which no answer of Alipay's verifies.",
            hint="The open platform shows Alipay's public key beside the app's: put that into the file.",
            id="payments.E105",
        )


def check_identity(alipay: Mapping[str, str]) -> Iterator[CheckMessage]:
    host = host_of(alipay["GATEWAY_URL"])
    is_sandbox = alipay["APP_ID"].startswith(SANDBOX_APP_PREFIX) or host.endswith(SANDBOX_HOSTS)
    if is_sandbox and not settings.DEBUG:
        yield Error(
            "Alipay is configured for a sandbox while DEBUG is off.",
            hint="Put the merchant's own credentials into the ALIPAY_ variables: a sandbox pays with no money.",
            id="payments.E104",
        )
    if not re.fullmatch(r"[0-9]{16}", alipay["APP_ID"]):
        yield Error(
            "ALIPAY_APP_ID does not have 16 digits.",
            hint="Copy the APPID of the app at the open platform.",
            id="payments.E106",
        )
    if not re.fullmatch(r"2088[0-9]{12}", alipay["SELLER_ID"]):
        yield Error(
            "ALIPAY_SELLER_ID is not 2088 and 12 digits.",
            hint="It is the account's PID, which notifications name as seller_id; every other is refused.",
            id="payments.E107",
        )
