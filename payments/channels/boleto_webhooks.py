"""Stripe's webhooks: who may have sent one, which are about our money, and what of them is kept.

Bytes are verified as they came, before anybody reads them. Facts are Stripe's page on webhook signatures (docs.stripe.com).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from datetime import datetime

from .base import NotGenuine
from .fields import parse_json, read_object

WINDOW_S = 300
INTENT_EVENTS = frozenset(
    f"payment_intent.{word}" for word in ("requires_action", "succeeded", "payment_failed", "canceled")
)
# What is kept of an event and of its object, none of which tells who the payer is.
KEPT_OF_EVENT = ("id", "object", "type", "created", "livemode", "api_version")
KEPT_OF_CONTENT = ("id", "object", "status", "amount", "amount_received", "currency", "metadata")


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets of the webhook endpoint: two with a comma between while one is rolled."""
    return tuple(part.strip() for part in text.split(","))


def is_secret(text: str) -> bool:
    """Whether it can be a webhook's secret. With nothing after the prefix anybody could sign."""
    return re.fullmatch(r"whsec_[!-~]+", text) is not None


def verify(header: str, body: bytes, *, secrets: Iterable[str], now: datetime) -> None:
    """Raises NotGenuine unless Stripe signed exactly these bytes in the last five minutes.

    Stripe's own package takes any time in the future. Ours takes as much as the clocks may differ: a message that is
    dated further ahead could be played again until then.
    """
    pairs = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,11}", times[0]):
        raise NotGenuine("timestamp")
    if abs(now.timestamp() - int(times[0])) > WINDOW_S:
        raise NotGenuine("timestamp")
    text = times[0].encode() + b"." + body
    wanted = [hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode() for secret in secrets]
    told = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
    if not any(hmac.compare_digest(one, other) for one in wanted for other in told):
        raise NotGenuine("signature")


def cut_event(body: bytes) -> bytes:
    """What is kept of a genuine event: not the payer's name, address and tax number, which stand in it too."""
    event = parse_json(body)
    content = read_object(read_object(event, "data"), "object")
    kept = {name: event[name] for name in KEPT_OF_EVENT if name in event}
    kept["data"] = {"object": {name: content[name] for name in KEPT_OF_CONTENT if name in content}}
    return json.dumps(kept).encode()
