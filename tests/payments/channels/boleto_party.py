"""The other side of the boleto adapter in these tests: vectors of webhooks, and what Stripe answers."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from payments.channels.base import ChannelError, RawCallback
from payments.channels.boleto import Boleto
from payments.channels.wire import Reply
from tests.people import MARIA

from . import party
from .party import load_vectors, make_attempt, make_refund

VECTORS = load_vectors("boleto")
SECRET_KEY, WEBHOOK_SECRET = VECTORS["secret_key"], VECTORS["webhook_secret"]
OWN_SLIP = VECTORS["boleto_line"]["own_sample"]

NUMBER = "NDP20261121A0000005"
INTENT = "pi_3ThrowawayNodrop0001"
CREATED_AT = datetime.fromtimestamp(1795255805, UTC)  # Saturday 2026-11-21 in São Paulo
NOTIFIED_AT = datetime.fromtimestamp(1795514405, UTC)
EXPIRES_AT = datetime(2026, 11, 25, 2, 59, 59, tzinfo=UTC)  # the end of the 24th there
PAYER = {"name": "Maria Silva", "email": "maria@shop.example", **MARIA}
ATTEMPT = make_attempt(
    "boleto",
    NUMBER,
    scene="voucher",
    currency="BRL",
    description="2 shirts & [socks]",
    started_at=CREATED_AT,
    expires_at=EXPIRES_AT,
    payer=PAYER,
    handle=INTENT,
)
REFUND = make_refund(ATTEMPT, "NDR20261122A0000001", channel_number=INTENT, started_at=NOTIFIED_AT)


class ScriptedWire(party.ScriptedWire):
    """As of every channel, and reads what was sent."""

    @property
    def form(self) -> dict[str, str]:
        """The parameters of the first body."""
        return dict(parse_qsl(self.sent[0]["body"].decode(), strict_parsing=True))

    def words(self, place: int = 0) -> dict[str, str]:
        """The parameters of an address."""
        return dict(parse_qsl(urlsplit(self.sent[place]["url"]).query))


def make_boleto(
    *replies: Reply | ChannelError, wire: Any = None, now: datetime = CREATED_AT, **changes: Any
) -> Boleto:
    given: dict[str, Any] = {
        "base_url": "https://api.example",
        "secret_key": SECRET_KEY,
        "webhook_secrets": (WEBHOOK_SECRET,),
        "wire": wire or ScriptedWire(*replies),
        "clock": lambda: now,
    }
    return Boleto(**given | changes)


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    """As of every channel; Stripe's JSON is spread over lines."""
    return party.reply(
        status, body if isinstance(body, bytes) else json.dumps(body, indent=2).encode(), **headers
    )


def error(status: int, code: str | None, *, kind: str = "invalid_request_error", **more: Any) -> Reply:
    told = {"type": kind, "message": "no", **({"code": code} if code else {}), **more}
    return reply(status, {"error": told})


def intent(status: str = "requires_action", **changes: Any) -> dict[str, Any]:
    """An intent as Stripe answers it; a change to ... takes the field out."""
    names = {
        "requires_payment_method": "payment_failed",
        "succeeded": "succeeded",
        "canceled": "canceled",
    }
    vector = json.loads(VECTORS["webhooks"][names.get(status, "requires_action")]["body"])
    whole = vector["data"]["object"] | {"status": status} | changes
    return {name: value for name, value in whole.items() if value is not ...}


def asked(status: str = "requires_action", **changes: Any) -> dict[str, Any]:
    """An intent whose charge was asked for with it."""
    charge = {"id": "py_3ThrowawayNodrop0001", "object": "charge", "created": 1795514404}
    return intent(status, **{"latest_charge": charge if status == "succeeded" else None} | changes)


def found(*intents: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer of a search."""
    return {
        "object": "search_result",
        "data": list(intents),
        "has_more": False,
        "next_page": None,
        "url": "/v1/payment_intents/search",
    } | changes


def booking(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A balance transaction with its charge."""
    return {
        "id": f"txn_3ThrowawayNodrop{number:04}",
        "object": "balance_transaction",
        "type": "payment",
        "reporting_category": "charge",
        "amount": 12900,
        "fee": 345,
        "net": 12555,
        "currency": "brl",
        "created": 1795514404,
        "source": {
            "id": f"py_3ThrowawayNodrop{number:04}",
            "object": "charge",
            "payment_intent": f"pi_3ThrowawayNodrop{number:04}",
            "metadata": {"payment_number": f"NDP20261121A{number:07}"},
            "billing_details": {"name": "Maria Silva", "email": "maria@shop.example"},
            "payment_method_details": {"boleto": {"tax_id": "00000000000"}, "type": "boleto"},
        },
    } | changes


def page(*bookings: Mapping[str, Any], has_more: Any = False) -> Reply:
    listed = {
        "object": "list",
        "url": "/v1/balance_transactions",
        "data": list(bookings),
        "has_more": has_more,
    }
    return reply(200, listed)


def vector_callback(name: str = "succeeded") -> RawCallback:
    recorded = VECTORS["webhooks"][name]
    headers = {"stripe-signature": recorded["stripe_signature_header"]}
    return RawCallback(headers=headers, body=recorded["body"].encode())


def callback(kind: str, content: Any, **event: Any) -> RawCallback:
    """A genuine event."""
    whole = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": 1795514405,
        "livemode": False,
        "data": {"object": content},
    } | event
    return sign(json.dumps({name: value for name, value in whole.items() if value is not ...}).encode())


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, at: int = 1795514405) -> RawCallback:
    seal = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return RawCallback(headers={"stripe-signature": f"t={at},v1={seal}"}, body=body)
