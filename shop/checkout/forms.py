"""The forms of the pages: their fields, limits and words. What an order may be is decided by `orders.placing`."""

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from orders.placing import CONTACT_LIMITS, MAX_QUANTITY, Contact


class ContactForm(forms.Form):
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

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")

    @property
    def contact(self) -> Contact:
        """What `place_order` wants; only of a valid form."""
        return Contact(**{field: self.cleaned_data[field] for field in CONTACT_LIMITS})

    @property
    def wrong_fields(self) -> list[forms.BoundField]:
        """Those with an error, for the list on top."""
        return [field for field in self if field.errors]


class CartForm(forms.Form):
    """One line of the cart: how many of what. 0 takes it out."""

    sku = forms.SlugField(max_length=40)
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class MethodForm(forms.Form):
    """How to pay. `supersede`: the shopper goes on though an earlier attempt is undecided."""

    channel = forms.CharField(max_length=10)
    scene = forms.CharField(max_length=10)
    supersede = forms.BooleanField(required=False)
