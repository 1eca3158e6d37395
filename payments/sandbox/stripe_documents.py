"""What Stripe says about an intent, its charge and its booking, and the envelope of an event: JSON, not yet written.

Pure functions of the ledger's rows. Source: Stripe's API reference. Times are Unix seconds, amounts centavos.
"""

import json
import re
from typing import Any

from payments.sandbox.records import Notice, Trade
from payments.sandbox.stripe_forms import Form, has_method
from payments.sandbox.stripe_slips import to_seconds

API_VERSION = "2026-10-28.endive"
FEE = 345  # what Stripe keeps of a boleto, in centavos
_DAY_S = 24 * 3600

REQUIRES_ACTION, SUCCEEDED, CANCELED = "requires_action", "succeeded", "canceled"
REQUIRES_CONFIRMATION = "requires_confirmation"
REQUIRES_METHOD = "requires_payment_method"  # not given yet, or its slip has expired
# The state that an intent is in when an event of it happens.
STATE_OF_EVENT = {
    "payment_intent.requires_action": REQUIRES_ACTION,
    "payment_intent.succeeded": SUCCEEDED,
    "payment_intent.payment_failed": REQUIRES_METHOD,
    "payment_intent.canceled": CANCELED,
}


def find_state(trade: Trade) -> str:
    """The status of an intent as it is now."""
    if trade.status == "PAID":
        return SUCCEEDED
    if "canceled_at" in trade.notes:
        return CANCELED
    if not is_confirmed(trade):
        return REQUIRES_CONFIRMATION if has_method(trade.request) else REQUIRES_METHOD
    return REQUIRES_ACTION if trade.status == "OPEN" else REQUIRES_METHOD


def is_confirmed(trade: Trade) -> bool:
    """Whether a slip was issued."""
    return "line" in trade.notes


def get_intent_id(trade: Trade) -> str:
    """The id of an intent; one that a number was paid by again has its own."""
    return trade.channel_number or str(trade.notes["intent"])


def get_form(trade: Trade) -> Form:
    """What the merchant has said, with the confirmation's own words."""
    form: Form = trade.notes.get("form", trade.request)
    return form


def get_metadata(trade: Trade) -> dict[str, str]:
    """What the merchant has noted."""
    named = [(re.fullmatch(r"metadata\[(.*)\]", name), value) for name, value in trade.request.items()]
    return {match[1]: value for match, value in named if match}


def describe_intent(trade: Trade, state: str, *, is_expanded: bool = False) -> dict[str, Any]:
    """A PaymentIntent in a state; its charge whole where it is asked for."""
    intent = get_intent_id(trade)
    charge: Any = _derive("py", intent) if state == SUCCEEDED else None
    form = get_form(trade)
    has_failed = state == REQUIRES_METHOD and is_confirmed(trade)
    return {
        "id": intent,
        "object": "payment_intent",
        "amount": trade.amount,
        "amount_capturable": 0,
        "amount_received": trade.amount if state == SUCCEEDED else 0,
        "application": None,
        "canceled_at": trade.notes.get("canceled_at") if state == CANCELED else None,
        "cancellation_reason": trade.notes.get("cancellation_reason") if state == CANCELED else None,
        "capture_method": "automatic",
        "client_secret": f"{intent}_secret_sandbox",
        "confirmation_method": "automatic",
        "created": to_seconds(trade.created_at),
        "currency": trade.currency.lower(),
        "customer": None,
        "description": trade.request.get("description"),
        "last_payment_error": _LAST_ERROR if has_failed else None,
        "latest_charge": describe_charge(trade) if charge and is_expanded else charge,
        "livemode": False,
        "metadata": get_metadata(trade),
        "next_action": _describe_action(trade) if state == REQUIRES_ACTION else None,
        "payment_method": _derive("pm", intent) if has_method(form) and state != REQUIRES_METHOD else None,
        "payment_method_options": {"boleto": {"expires_after_days": trade.notes["days"]}},
        "payment_method_types": ["boleto"],
        "processing": None,
        "receipt_email": form.get("receipt_email"),
        "status": state,
    }


def describe_charge(trade: Trade) -> dict[str, Any]:
    """The charge of a paid intent, with the person who was to pay."""
    intent, form = get_intent_id(trade), get_form(trade)
    person = "payment_method_data[billing_details]"
    address = ("line1", "line2", "city", "state", "postal_code", "country")
    return {
        "id": _derive("py", intent),
        "object": "charge",
        "amount": trade.amount,
        "amount_captured": trade.amount,
        "amount_refunded": 0,
        "balance_transaction": _derive("txn", intent),
        "billing_details": {
            "name": form[f"{person}[name]"],
            "email": form[f"{person}[email]"],
            "phone": form.get(f"{person}[phone]"),
            "address": {name: form.get(f"{person}[address][{name}]") for name in address},
        },
        "captured": True,
        "created": to_seconds(trade.paid_at or 0),
        "currency": trade.currency.lower(),
        "livemode": False,
        "metadata": get_metadata(trade),
        "paid": True,
        "payment_intent": intent,
        "payment_method": _derive("pm", intent),
        "payment_method_details": {
            "type": "boleto",
            "boleto": {"tax_id": form["payment_method_data[boleto][tax_id]"]},
        },
        "refunded": False,
        "status": "succeeded",
    }


def describe_booking(trade: Trade, *, is_expanded: bool = False) -> dict[str, Any]:
    """The balance transaction of a paid intent."""
    intent, created = get_intent_id(trade), to_seconds(trade.paid_at or 0)
    fee = {"amount": FEE, "currency": "brl", "type": "stripe_fee", "application": None}
    return {
        "id": _derive("txn", intent),
        "object": "balance_transaction",
        "amount": trade.amount,
        "available_on": created + 2 * _DAY_S,
        "created": created,
        "currency": trade.currency.lower(),
        "description": trade.request.get("description"),
        "exchange_rate": None,
        "fee": FEE,
        "fee_details": [{**fee, "description": "Stripe processing fees"}],
        "net": trade.amount - FEE,
        "reporting_category": "charge",
        "source": describe_charge(trade) if is_expanded else _derive("py", intent),
        "status": "pending",
        "type": "payment",
    }


def wrap_event(notice: Notice, intent: dict[str, Any]) -> dict[str, Any]:
    """An event; its id stays the same over all tries."""
    return {
        "id": "evt_3" + notice.id.replace("-", "")[:24],
        "object": "event",
        "api_version": API_VERSION,
        "created": to_seconds(notice.created_at),
        "data": {"object": intent},
        "livemode": False,
        "pending_webhooks": 0 if notice.due_at is None else 1,
        "request": {"id": None, "idempotency_key": None},
        "type": notice.event or "payment_intent.succeeded",
    }


def bend_intent(intent: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    """A copy of an intent with the fields of a lie (see `plans.LIES`) in place of the true ones.

    An intent names no merchant: that of another one is of the other mode.
    """
    bent = dict(intent)
    if "amount" in lie:
        bent |= {"amount": lie["amount"], "amount_received": lie["amount"]}
    if "out_trade_no" in lie:
        bent["metadata"] = intent["metadata"] | {"payment_number": lie["out_trade_no"]}
    if "merchant" in lie:
        bent["livemode"] = True
    names = {"currency": "currency", "status": "status", "channel_number": "id", "app": "application"}
    return bent | {names[word]: told for word, told in lie.items() if word in names}


def describe_error(status: int, code: str, message: str, param: str = "") -> dict[str, Any]:
    """The `error` envelope. Some words are types of error, not codes."""
    kind = "api_error" if status >= 500 else "card_error" if status == 402 else "invalid_request_error"
    if code in ("idempotency_error", "api_error"):
        kind, code = code, ""
    error = {"code": code, "message": message, "param": param, "type": kind}
    return {"error": {name: value for name, value in error.items() if value}}


def to_json(document: Any) -> bytes:
    """JSON in UTF-8 over several lines, as Stripe writes it."""
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


_LAST_ERROR = {
    "code": "payment_intent_payment_attempt_expired",
    "message": "The payment attempt has expired.",
    "type": "invalid_request_error",
}


def _describe_action(trade: Trade) -> dict[str, Any]:
    page = f"{trade.notes['host']}boleto/voucher/{trade.notes['slug']}"
    return {
        "type": "boleto_display_details",
        "boleto_display_details": {
            "expires_at": to_seconds(trade.expires_at),
            "hosted_voucher_url": page,
            "number": trade.notes["line"],
            "pdf": f"{page}/pdf",
        },
    }


def _derive(kind: str, intent: str) -> str:
    return f"{kind}_{intent.removeprefix('pi_')}"
