"""What a deed is: one thing that staff may do to one kind of row, in words, with its permission and its flow.

Nothing here decides about money: a deed asks for what it needs, calls one flow, and says what came of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders.models import Order
from payments.channels.registry import title_of
from payments.models import Callback, Case, Payment, Proposal, Receipt, Refund
from shop.keyring import is_of
from shop.models import ApiKey, Delivery, Endpoint
from shop.money import SYMBOLS, from_decimal_string, places_of, symbol_of, to_decimal_string
from shop.sentences import Words

REASON = gettext_lazy("Reason")
MAX_REASON = 300
# What the channel is told, and some show to the shopper.
MAX_REFUND_REASON = 80
MAX_MINOR = 10**12

Fields = dict[str, forms.Field]


class DeedRefused(Exception):
    """It was not done, and nothing is half done. The message is for the person who wanted it, in their language."""


class NotPermitted(DeedRefused):
    """Their groups do not give them the permission."""


def no_fields(_row: Any) -> Fields:
    return {}


def channel(name: str) -> str:
    """What people call the channel, as a fact of a sentence."""
    return cast("str", gettext_lazy(title_of(name)))


@dataclass(frozen=True, kw_only=True)
class Deed:
    """One line of the table. What is kept is a lazy sentence: read in the person's language, and kept in English.

    `hinders`: why the row is not in the state for it now; empty: it is offered. `foretells`: what will happen to the money,
    as sentences. `run` gets the row, the person, the reason and what `fields` asked for, and returns what came of it;
    it raises what its flow raises. `own`: True for what only who asked for the row may do, False for all others only.
    """

    name: str
    title: Words
    permission: str
    model: type[Model]
    hinders: Callable[[Any], str]
    foretells: Callable[[Any], list[str]]
    run: Callable[[Any, User, str, Mapping[str, Any]], str]
    fields: Callable[[Any], Fields] = no_fields
    reason_label: Words = REASON
    max_reason: int = MAX_REASON  # 0: none is asked for
    own: bool | None = None
    # Its hinders ask the database: a page of many rows leaves it to the row's own page.
    asks: bool = False

    def is_offered(self, row: Any) -> bool:
        """Whether the present state of the row is one for it."""
        return not self.hinders(row)

    def is_for(self, user: User, row: Any) -> bool:
        """Whether this person may ever do it to the row."""
        return user.has_perm(self.permission) and self.own in (None, row_is_of(row, user))


def row_is_of(row: Any, user: User) -> bool:
    """Whether it was this person who asked for it, or a system whose key is theirs."""
    return is_of(getattr(row, "asked_by", ""), user.get_username())


def order_of(row: Model) -> Order | None:
    """The order in whose story the row stands."""
    match row:
        case Order():
            return row
        case Payment() | Receipt() | Case():
            return row.order
        case Refund():
            return row.receipt.order
        case Callback() | Proposal():
            return row.payment.order if row.payment else None
        case ApiKey() | Endpoint() | Delivery():
            return None
    raise TypeError(type(row))


def subject_of(row: Model) -> str:
    """The public number of the row."""
    match row:
        case Receipt():
            return row.channel_number
        case Case():
            return row.subject
        case Callback():
            return row.number or row.message_id[:64]
        case Delivery():
            return row.event.number
        case Order() | Payment() | Refund() | Proposal() | ApiKey() | Endpoint():
            return row.number
    raise TypeError(type(row))


class AmountField(forms.CharField):
    """An amount as people write it, in the currency's own decimals; cleaned to minor units, exactly."""

    def __init__(self, *, currency: str, **options: Any) -> None:
        self.currency = currency
        places = places_of(currency)
        self.example = to_decimal_string(1234 * 10**places // 100, currency)
        self.pattern = re.compile(r"[0-9]{1,10}" + (rf"(\.[0-9]{{1,{places}}})?" if places else ""))
        options.setdefault("label", _("Amount, %(currency)s") % {"currency": currency})
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "amount"})
        super().__init__(max_length=20, widget=widget, **options)

    def clean(self, value: Any) -> int | None:
        """Minor units, None for nothing where nothing is needed. Raises ValidationError."""
        text = (
            super()
            .clean(value)
            .removeprefix(symbol_of(self.currency))
            .removeprefix(SYMBOLS.get(self.currency, ""))
        )
        if not text and not self.required:
            return None
        if not self.pattern.fullmatch(text):
            example = {"currency": self.currency, "example": self.example}
            raise ValidationError(_("Write the amount in %(currency)s like %(example)s.") % example)
        amount = from_decimal_string(text, self.currency)
        if not 1 <= amount <= MAX_MINOR:
            raise ValidationError(_("The amount must be more than nothing."))
        return amount
