"""PayPal's configuration. Ids 301 to 399."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.core.checks import CheckMessage, Error

from payments.channels.paypal import WEBHOOK_CHECKS
from payments.checks.parts import check_host, host_of

USUAL_ADDRESS = "https://api-m.paypal.com"
# PayPal's own sandbox, and the client id of every app of ours.
SANDBOX_HOST_SUFFIX = ".sandbox.paypal.com"
SANDBOX_CLIENT_PREFIX = "AnodropSandbox"
_MERCHANT_ID = re.compile(r"[0-9A-Z]{13}")
_CREDENTIAL = re.compile(r"[!-~]{32,128}")
_WEBHOOK_ID = re.compile(r"[0-9A-Za-z]{1,50}")


def check(paypal: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Its address, its credentials and how its webhooks are verified."""
    yield from check_host("PAYPAL_BASE_URL", paypal["BASE_URL"], USUAL_ADDRESS, code="payments.E301")
    if not settings.DEBUG and is_of_a_sandbox(paypal):
        yield Error(
            "PayPal is configured with a sandbox while DEBUG is off.",
            hint="Put the live app's credentials and address into the PAYPAL_ variables: a sandbox pays with no money.",
            id="payments.E302",
        )
    yield from check_ids(paypal)
    if paypal["VERIFY_WEBHOOKS"] not in WEBHOOK_CHECKS:
        yield Error(
            "PAYPAL_VERIFY_WEBHOOKS is neither certificate nor postback.",
            hint="certificate verifies each webhook here; postback asks PayPal about each.",
            id="payments.E303",
        )


def is_of_a_sandbox(paypal: Mapping[str, str]) -> bool:
    """Whether money that is paid here is none. PayPal's own client ids do not tell it, but the host does."""
    host = host_of(paypal["BASE_URL"])
    return paypal["CLIENT_ID"].startswith(SANDBOX_CLIENT_PREFIX) or host.endswith(SANDBOX_HOST_SUFFIX)


def check_ids(paypal: Mapping[str, str]) -> Iterator[CheckMessage]:
    if not _MERCHANT_ID.fullmatch(paypal["MERCHANT_ID"]):
        yield Error(
            "PAYPAL_MERCHANT_ID does not have 13 capital letters and digits.",
            hint="Copy the merchant id from PayPal's business settings, not the account's email address.",
            id="payments.E304",
        )
    if not all(map(_WEBHOOK_ID.fullmatch, re.split(r"\s*,\s*", paypal["WEBHOOK_ID"]))):
        yield Error(
            "PAYPAL_WEBHOOK_ID is no id of a webhook.",
            hint="Copy it from the app's webhooks in PayPal's developer dashboard; two by comma while one replaces the other.",
            id="payments.E305",
        )
    if not all(_CREDENTIAL.fullmatch(paypal[name]) for name in ("CLIENT_ID", "CLIENT_SECRET")):
        yield Error(
            "PAYPAL_CLIENT_ID or PAYPAL_CLIENT_SECRET is cut off or is not one.",
            hint="Copy both from the live app in PayPal's developer dashboard.",
            id="payments.E306",
        )
