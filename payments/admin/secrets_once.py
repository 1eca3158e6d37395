"""The pages that end with a secret: an endpoint is added, or gets another one. It is shown in the answer to the form and
nowhere else: no message, no session, no history keeps it.
"""

from typing import cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from payments.deeds.endpoints import MANAGE
from payments.deeds.records import record_action
from shop.business import TYPES
from shop.models import Endpoint
from shop.sentences import say
from shop.webhooks.addresses import MOST_LETTERS, BadAddress, host_of
from shop.webhooks.endpoints import Made, add_endpoint, rotate_secret
from shop.webhooks.errors import EndpointError
from shop.webhooks.signing import MOST_OLD_FOR_H, OLD_FOR_H

WIDE = {"class": "vTextField", "autocomplete": "off"}


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.TextInput(attrs=WIDE))


class RotateForm(ReasonForm):
    """How long the present secret still signs."""

    old_for_h = forms.IntegerField(
        label=_("Hours that the old secret counts"),
        initial=OLD_FOR_H,
        min_value=0,
        max_value=MOST_OLD_FOR_H,
        help_text=_(
            "0 ends every secret that was given out before, at once: when one is known to others, or a new one was lost"
            " before its receiver had it."
        ),
    )
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
    return _show_form(request, gettext("Add an endpoint"), sentences, form, back=_list_url())


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
            result = _tell_former(hours)
            _record(request, "rotate_secret", endpoint, result, reason=form.cleaned_data["reason"])
            return _show_secret(request, made, result)
    sentences = [
        gettext("Messages are signed with both secrets for so long, then with the new one only."),
        gettext("The new one is shown once, on the next page."),
    ]
    back = reverse("admin:shop_endpoint_change", args=[endpoint.pk])
    return _show_form(request, gettext("Change the secret"), sentences, form, back=back, row=endpoint)


def _tell_former(hours: int) -> str:
    if hours:
        return say(_("The former secret counts for %(hours)d hours more."), hours=hours)
    return say(_("No former secret counts any more."))


def may_manage(request: HttpRequest) -> bool:
    return request.user.has_perm(MANAGE)


def _check(request: HttpRequest) -> None:
    if not may_manage(request):
        raise PermissionDenied(gettext("You may not do this: it needs the permission to manage endpoints."))


def _list_url() -> str:
    return reverse("admin:shop_endpoint_changelist")


def _record(request: HttpRequest, action: str, endpoint: Endpoint, result: str, *, reason: str = "") -> None:
    user = cast("User", request.user)
    record_action(user, action, endpoint, subject=endpoint.number, result=result, reason=reason)


def _show_form(
    request: HttpRequest,
    title: str,
    sentences: list[str],
    form: forms.Form,
    *,
    back: str,
    row: Endpoint | None = None,
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": Endpoint._meta,
        "has_list": request.user.has_perm("shop.view_endpoint"),
        "sentences": sentences,
        "form": form,
        "back_url": back,
        "row": row,
    }
    return render(request, "admin/books/act.html", context)


def _show_secret(request: HttpRequest, made: Made, sentence: str) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": gettext("The secret of %(endpoint)s") % {"endpoint": made.endpoint},
        "opts": Endpoint._meta,
        "sentence": sentence,
        "secret": made.secret,
        "page_url": reverse("admin:shop_endpoint_change", args=[made.endpoint.pk]),
    }
    return render(request, "admin/secret.html", context)
