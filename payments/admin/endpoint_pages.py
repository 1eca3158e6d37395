"""The pages that end with an endpoint's secret: one is added, or gets another secret."""

from typing import cast

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from payments.admin.once import WIDE, WithReason, hours_field, show_form, show_secret, tell_former
from payments.deeds.endpoints import MANAGE
from payments.deeds.records import record_action
from shop.business import TYPES
from shop.models import Endpoint
from shop.webhooks.addresses import MOST_LETTERS, BadAddress, host_of
from shop.webhooks.endpoints import Made, add_endpoint, rotate_secret
from shop.webhooks.errors import EndpointError
from shop.webhooks.signing import MOST_OLD_FOR_H, OLD_FOR_H


class RotateForm(WithReason):
    """How long the present secret still signs."""

    old_for_h = hours_field(OLD_FOR_H, MOST_OLD_FOR_H)
    field_order = ["old_for_h", "reason"]


class EndpointForm(forms.Form):
    """Where another system wants to be told, and of what."""

    url = forms.CharField(
        label=_("Address"),
        max_length=MOST_LETTERS,
        widget=forms.TextInput(attrs={**WIDE, "inputmode": "url", "placeholder": "https://"}),
    )
    note = forms.CharField(
        label=_("Note"),
        max_length=100,
        help_text=_("Which system it is, for colleagues."),
        widget=forms.TextInput(attrs=WIDE),
    )
    types = forms.MultipleChoiceField(
        label=_("Events"),
        required=False,
        choices=[(each, each) for each in TYPES],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None for all of them, also for those that are yet to come."),
    )


@never_cache
def add_page(request: HttpRequest) -> HttpResponse:
    """Add an endpoint, and show its secret once."""
    _check(request)
    form = EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = add_endpoint(given["url"], note=given["note"], types=given["types"])
        except (BadAddress, EndpointError) as error:
            form.add_error("url", str(error))
        else:
            _record(request, "add_endpoint", made.endpoint, host_of(given["url"]))
            return _show_secret(request, made, gettext("The endpoint is added."))
    sentences = [
        gettext("What happens from now on is sent there as it happens, signed, and again until it is taken."),
        gettext("Its secret is shown once, on the next page."),
    ]
    return show_form(request, gettext("Add an endpoint"), sentences, form, model=Endpoint)


@never_cache
def rotate_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Give an endpoint another secret, and show it once."""
    _check(request)
    endpoint = get_object_or_404(Endpoint, pk=pk, removed_at__isnull=True)
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            hours = form.cleaned_data["old_for_h"]
            made = rotate_secret(endpoint.number, old_for_h=hours)
        except EndpointError as error:
            form.add_error("old_for_h", str(error))
        else:
            result = tell_former(hours)
            _record(request, "rotate_secret", endpoint, result, reason=form.cleaned_data["reason"])
            return _show_secret(request, made, result)
    sentences = [
        gettext("Messages are signed with both secrets for so long, then with the new one only."),
        gettext("The new one is shown once, on the next page."),
    ]
    return show_form(request, gettext("Change the secret"), sentences, form, model=Endpoint, row=endpoint)


def may_manage(request: HttpRequest) -> bool:
    return request.user.has_perm(MANAGE)


def _check(request: HttpRequest) -> None:
    if not may_manage(request):
        raise PermissionDenied(gettext("You may not do this: it needs the permission to manage endpoints."))


def _record(request: HttpRequest, action: str, endpoint: Endpoint, result: str, *, reason: str = "") -> None:
    user = cast("User", request.user)
    record_action(user, action, endpoint, subject=endpoint.number, result=result, reason=reason)


def _show_secret(request: HttpRequest, made: Made, sentence: str) -> HttpResponse:
    title = gettext("The secret of %(endpoint)s") % {"endpoint": made.endpoint}
    advice = gettext(
        "This is the secret with which its receiver verifies what comes. It is shown this once: hand it over now."
    )
    return show_secret(request, title, sentence, secret=made.secret, advice=advice, row=made.endpoint)
