"""What machines noted, in words for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from payments.admin.tables import moment
from shop.money import for_people

# What a case or a message carries, and how a person calls it. What is not here is shown under its own name.
LABELS = {
    "source": "told by",
    "number": "our number, as named",
    "payment": "payment",
    "channel_number": "the channel's number",
    "trade_number": "the channel's number of the trade",
    "payment_number": "our number of the payment",
    "amount": "amount",
    "amount_minor": "amount",
    "reported_amount": "amount, as the channel says",
    "reported_payment": "payment, as the channel says",
    "left": "what was left to give back",
    "theirs": "amount in the channel's books",
    "ours": "amount in ours",
    "code": "the channel's word",
    "by": "asked by",
    "alarm": "what is tried",
    "attempt": "tries",
    "attempts": "tries",
    "tries": "tries",
    "error": "how it fails",
    "expired_at": "the order's time was over at",
    "why": "why",
    "capture": "try to take the money",
    "callback": "kept message",
    "about": "about a",
    "needs_person": "a person should look",
}
AMOUNTS = {"amount", "amount_minor", "reported_amount", "left", "theirs", "ours"}
TIMES = {"expired_at", "paid_at"}


def in_words(evidence: Mapping[str, Any], *, currency: str) -> dict[str, str]:
    """What was noted, for people: amounts as amounts, times as times, in the shop's words."""
    currency = str(evidence.get("currency") or currency)
    shown = {
        name: value for name, value in evidence.items() if value not in (None, "", []) and value is not False
    }
    return {
        LABELS.get(name, name.replace("_", " ")): _say(name, value, currency) for name, value in shown.items()
    }


def _say(name: str, value: Any, currency: str) -> str:
    if name in AMOUNTS and isinstance(value, int) and currency:
        return for_people(value, currency)
    if name in TIMES and isinstance(value, str):
        return moment(datetime.fromisoformat(value))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is True:
        return "yes"
    return str(value).replace("_", " ") if name in ("alarm", "why") else str(value)
