"""What machines noted, in words for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.tables import moment
from shop.models import Endpoint
from shop.money import for_people

# What a case or a message carries, and how a person calls it. What is not here is shown under its own name.
LABELS = {
    "source": _("told by"),
    "number": _("our number, as named"),
    "payment": _("payment"),
    "channel_number": _("the channel's number"),
    "trade_number": _("the channel's number of the trade"),
    "payment_number": _("our number of the payment"),
    "amount": _("amount"),
    "amount_minor": _("amount"),
    "reported_amount": _("amount, as the channel says"),
    "reported_payment": _("payment, as the channel says"),
    "left": _("what was left to give back"),
    "theirs": _("amount in the channel's books"),
    "ours": _("amount in ours"),
    "code": _("the channel's word"),
    "by": _("asked by"),
    "alarm": _("what is tried"),
    "attempt": _("tries"),
    "attempts": _("tries"),
    "tries": _("tries"),
    "error": _("how it fails"),
    "expired_at": _("the order's time was over at"),
    "why": _("why"),
    "capture": _("try to take the money"),
    "callback": _("kept message"),
    "about": _("about a"),
    "endpoint": _("endpoint"),
    "off": _("switched off"),
    "given_up": _("given up"),
    "failing_since": _("has taken nothing since"),
    "needs_person": _("a person should look"),
}
AMOUNTS = {"amount", "amount_minor", "reported_amount", "left", "theirs", "ours"}
TIMES = {"expired_at", "failing_since", "paid_at"}
# Whose values are words of ours; what a channel says is shown as it said it.
OURS = {"about", "alarm", "capture", "kind", "outcome", "source", "status", "why"}


def in_words(evidence: Mapping[str, Any], *, currency: str) -> dict[str, str]:
    """What was noted, for people: amounts as amounts, times as times, in the shop's words."""
    currency = str(evidence.get("currency") or currency)
    shown = {
        name: value for name, value in evidence.items() if value not in (None, "", []) and value is not False
    }
    return {
        str(LABELS.get(name) or gettext(name.replace("_", " "))): _say(name, value, currency)
        for name, value in shown.items()
    }


def _say(name: str, value: Any, currency: str) -> str:
    if name in AMOUNTS and isinstance(value, int) and currency:
        return for_people(value, currency)
    if name in TIMES and isinstance(value, str):
        return moment(datetime.fromisoformat(value))
    if name == "off" and value in Endpoint.OffWhy:
        return str(Endpoint.OffWhy(value).label)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is True:
        return gettext("yes")
    return gettext(str(value).replace("_", " ")) if name in OURS else str(value)
