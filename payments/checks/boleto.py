"""Boleto's configuration: a Stripe account. Ids 401 to 499."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice

from payments.channels.boleto import MAX_DAYS, is_live_key, read_days
from payments.channels.boleto_webhooks import is_secret, split_secrets
from payments.channels.seals import BadKey
from payments.checks.parts import check_host

USUAL_ADDRESS = "https://api.stripe.com"
# So begins the secret key that the sandbox makes for a merchant.
SANDBOX_KEY_PREFIX = "sk_test_nodropSandbox"


def check(boleto: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Its key, its webhook's secret, its address and its days."""
    yield from check_key(boleto["SECRET_KEY"])
    yield from check_host("BOLETO_BASE_URL", boleto["BASE_URL"], USUAL_ADDRESS, code="payments.E402")
    if not all(map(is_secret, split_secrets(boleto["WEBHOOK_SECRET"]))):
        yield Error(
            "BOLETO_WEBHOOK_SECRET is not whsec_ with more behind it.",
            hint="It is the signing secret of the webhook endpoint (Stripe's Workbench, Webhooks); two by comma while "
            "it is rolled.",
            id="payments.E404",
        )
    if not is_number_of_days(boleto["EXPIRES_AFTER_DAYS"]):
        yield Error(
            f"BOLETO_EXPIRES_AFTER_DAYS is not a whole number from 0 to {MAX_DAYS}.",
            hint="Set the calendar days that a shopper has to pay a slip, such as 3.",
            id="payments.E405",
        )


def check_key(secret_key: str) -> Iterator[CheckMessage]:
    try:
        is_live = is_live_key(secret_key)
    except BadKey as error:
        yield Error(
            f"BOLETO_SECRET_KEY cannot be used: {error}.",
            hint="Copy a secret or restricted key from Stripe's Dashboard (Developers, API keys).",
            id="payments.E401",
        )
        return
    if settings.DEBUG or is_live:
        return
    if secret_key.startswith(SANDBOX_KEY_PREFIX):
        yield Error(
            "Boleto is configured with keys of the sandbox while DEBUG is off.",
            hint="Put the account's own credentials into the BOLETO_ variables: the sandbox pays with no money.",
            id="payments.E403",
        )
        return
    yield Advice(
        "BOLETO_SECRET_KEY is a test key while DEBUG is off: no bank takes its slips.",
        hint="Use a key that begins with sk_live_ or rk_live_ where customers pay.",
        id="payments.W401",
    )


def is_number_of_days(text: str) -> bool:
    try:
        return read_days(text) <= MAX_DAYS
    except BadKey:
        return False
