"""The forms of the pages: their fields, limits and words. What an order may be is decided by `orders.placing`."""

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from orders.placing import CONTACT_LIMITS, MAX_QUANTITY, Contact
from payments.channels.base import BadPayer
from payments.channels.brazil import STATES

# Takes every address that Django's own check takes.
EMAIL_PATTERN = r"@(localhost|\[.+\]|[^@\s]+\.[^@\s.]{2,})$"


class TypedField(forms.BoundField):
    """Brings its rule and its words to the page, where `form.js` tells at once what the server would."""

    def build_widget_attrs(self, attrs: dict[str, Any], widget: forms.Widget | None = None) -> dict[str, Any]:
        built = super().build_widget_attrs(attrs, widget)
        return built if self.is_hidden else built | self._rule()

    def _rule(self) -> dict[str, Any]:
        words = self.field.error_messages
        rule = {"data-missing": words["required"]}
        if isinstance(self.field, forms.EmailField):
            return rule | {"data-pattern": EMAIL_PATTERN, "data-mistaken": words["invalid"]}
        for validator in self.field.validators:
            if isinstance(validator, RegexValidator):
                rule |= {"data-pattern": _for_browser(validator), "data-mistaken": validator.message}
        return rule


def _for_browser(validator: RegexValidator) -> str:
    """Its pattern for JavaScript, whose digits are those of ASCII only."""
    return re.compile(validator.regex).pattern.replace(r"\d", r"\p{Nd}").replace(r"\D", r"\P{Nd}")


class TypedForm(forms.Form):
    """A form that people type into."""

    bound_field_class = TypedField

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")

    @property
    def wrong_fields(self) -> list[forms.BoundField]:
        """Those with an error, for the list on top."""
        return [field for field in self if field.errors]


class ContactForm(TypedForm):
    """Four fields: where the goods go and whom to tell."""

    name = forms.CharField(
        label=_("Name"),
        max_length=CONTACT_LIMITS["name"],
        error_messages={"required": _("Please tell us your name.")},
        widget=forms.TextInput({"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label=_("Email"),
        max_length=CONTACT_LIMITS["email"],
        error_messages={
            "required": _("Please tell us your email address."),
            "invalid": _("This does not look like an email address. Example: li@example.com"),
        },
        widget=forms.EmailInput({"autocomplete": "email", "spellcheck": "false"}),
    )
    phone = forms.CharField(
        label=_("Phone"),
        max_length=CONTACT_LIMITS["phone"],
        validators=[
            RegexValidator(r"(\D*\d){5}", _("This does not look like a phone number. Example: 138 0013 8000"))
        ],
        error_messages={"required": _("Please tell us your phone number, for the courier.")},
        widget=forms.TextInput({"type": "tel", "autocomplete": "tel"}),
    )
    address = forms.CharField(
        label=_("Address"),
        max_length=CONTACT_LIMITS["address"],
        error_messages={"required": _("Please tell us where the goods should go.")},
        widget=forms.Textarea({"rows": 3, "autocomplete": "street-address"}),
    )

    @property
    def contact(self) -> Contact:
        """What `place_order` wants; only of a valid form."""
        return Contact(**{field: self.cleaned_data[field] for field in CONTACT_LIMITS})


class EmailForm(TypedForm):
    """The address that an order was placed with."""

    email = deepcopy(ContactForm.base_fields["email"])


def _text(label: Any, *, missing: Any, most: int = 100, **attrs: str) -> forms.CharField:
    errors = {"required": missing}
    return forms.CharField(label=label, max_length=most, error_messages=errors, widget=forms.TextInput(attrs))


# What channels ask about the shopper, by its path in `Channel.payer_fields`. Whether it can be, the channel says.
ASKED: dict[str, forms.Field] = {
    "tax_id": _text(
        _("CPF or CNPJ"),
        missing=_("Please tell us your tax number."),
        most=18,
        inputmode="numeric",
        autocomplete="off",
    ),
    "address.line1": _text(
        _("Street and number"),
        missing=_("Please tell us your street."),
        most=200,
        autocomplete="address-line1",
    ),
    "address.city": _text(_("City"), missing=_("Please tell us your city."), autocomplete="address-level2"),
    "address.state": forms.ChoiceField(
        label=pgettext_lazy("address", "State"),
        choices=[("", ""), *((state, state) for state in sorted(STATES))],
        error_messages={"required": _("Please choose your state.")},
        widget=forms.Select({"autocomplete": "address-level1"}),
    ),
    "address.postal_code": _text(
        _("Postal code"),
        missing=_("Please tell us your postal code."),
        most=20,
        inputmode="numeric",
        autocomplete="postal-code",
    ),
    # Whoever names one of these states lives there.
    "address.country": forms.CharField(initial="BR", disabled=True, widget=forms.HiddenInput()),
}


class PayerForm(TypedForm):
    """What a channel asks about the shopper: a field for each of its paths, none for most channels."""

    def __init__(self, paths: Sequence[str], data: QueryDict | None = None) -> None:
        super().__init__(data)
        for path in paths:
            self.fields[path] = (
                deepcopy(ASKED[path]) if path in ASKED else _text(path, missing=_("This is needed."))
            )

    @property
    def payer(self) -> dict[str, Any]:
        """What `apply_for_payment` wants; only of a valid form."""
        payer: dict[str, Any] = {}
        for path, value in self.cleaned_data.items():
            *parents, name = path.split(".")
            place = payer
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return payer

    def blame(self, error: BadPayer) -> bool:
        """Put what the channel found wrong beside its field; False when there is no such field here."""
        if error.field in self.fields:
            self.add_error(error.field, str(error))
        return error.field in self.fields


class CartForm(forms.Form):
    """One line of the cart: how many of what. 0 takes it out."""

    sku = forms.SlugField(max_length=40)
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class MethodForm(forms.Form):
    """How to pay. `supersede`: the shopper goes on though an earlier attempt is undecided."""

    channel = forms.CharField(max_length=10)
    scene = forms.CharField(max_length=10)
    supersede = forms.BooleanField(required=False)
