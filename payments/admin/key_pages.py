"""The pages that end with an API key: a new one, or another secret of one. It is shown in the answer to the form and nowhere
else: no message, no session, no history keeps it.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from payments.deeds.base import MAX_REASON, DeedRefused
from payments.deeds.keys import MANAGE, check_giver, check_steward, scope_field
from payments.deeds.records import record_action
from shop.keyring import MAX_NAME, MOST_OLD_FOR_H, OLD_FOR_H, Issued, KeyRefused, make_key, rotate_key
from shop.models import ApiKey
from shop.sentences import Words, say

WIDE = {"class": "vTextField", "autocomplete": "off"}


class WithReason(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=MAX_REASON, widget=forms.TextInput(attrs=WIDE))
    field_order: list[str] | None = None


class MakeForm(WithReason):
    """Which system gets a key, what it may, and until when."""

    name = forms.CharField(
        label=_("System"),
        max_length=MAX_NAME,
        help_text=_("Which system it is: the history calls it so."),
        widget=forms.TextInput(attrs=WIDE),
    )
    ends_on = forms.DateField(
        label=_("Last day"),
        required=False,
        help_text=_(
            "Like 2027-12-31; empty for no end. From two weeks before it the home page names the key."
        ),
    )
    field_order = ["name", "scopes", "ends_on", "reason"]

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.fields["scopes"] = scope_field()
        self.order_fields(self.field_order)


class RotateForm(WithReason):
    """How long the present secret may still be shown."""

    old_for_h = forms.IntegerField(
        label=_("Hours that the old secret counts"),
        initial=OLD_FOR_H,
        min_value=0,
        max_value=MOST_OLD_FOR_H,
        help_text=_("0 ends every secret that was given out before, at once."),
    )
    field_order = ["old_for_h", "reason"]


@never_cache
def make_page(request: HttpRequest) -> HttpResponse:
    """Make a key, and show it once. Its owner is who makes it."""
    user = _check(request)
    form = MakeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        issued = _try(form, lambda: _make(user, given))
        if issued is not None:
            result = say(_("The key may: %(scopes)s."), scopes=", ".join(issued.key.scopes))
            _record(user, "make_key", issued.key, result, given["reason"])
            return _show_key(request, issued, result)
    sentences = [
        gettext("Whoever holds the key may do what is ticked here, and nothing else."),
        gettext("You answer for it: money is given back only while you may do so yourself."),
        gettext("The key is shown once, on the next page."),
    ]
    return _show_form(request, gettext("Make a key"), sentences, form, back=_list_url())


@never_cache
def rotate_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a key another secret, and show it once."""
    user, key = _check(request), get_object_or_404(ApiKey, pk=pk)
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        issued = _try(form, lambda: _rotate(user, key, given["old_for_h"]))
        if issued is not None:
            result = say(_("The former secret counts for %(hours)d hours more."), hours=given["old_for_h"])
            _record(user, "rotate_key", issued.key, result, given["reason"])
            return _show_key(request, issued, result)
    sentences = [
        gettext("Its system is let in by both secrets for so long, then by the new one only."),
        gettext("The new one is shown once, on the next page."),
    ]
    return _show_form(request, gettext("Change the secret"), sentences, form, back=page_of(key), row=key)


def _make(user: User, given: Mapping[str, Any]) -> Issued:
    check_giver(user, given["scopes"])
    return make_key(given["name"], given["scopes"], owner=user, expires_at=_end_of(given["ends_on"]))


def _rotate(user: User, key: ApiKey, old_for_h: int) -> Issued:
    check_giver(user, key.scopes)  # a new secret is a key in the hand of who asks for it
    check_steward(user, key, key.scopes)
    return rotate_key(key.number, old_for_h=old_for_h)


def _try(form: forms.Form, deed: Callable[[], Issued]) -> Issued | None:
    """What came of it; None when it was refused, which the form then says."""
    try:
        return deed()
    except (KeyRefused, DeedRefused) as error:
        form.add_error(None, str(error))
        return None


def _end_of(day: date | None) -> datetime | None:
    """The end of that day in the shop's time."""
    return timezone.make_aware(datetime.combine(day + timedelta(days=1), time())) if day else None


def may_manage(request: HttpRequest) -> bool:
    return request.user.has_perm(MANAGE)


def _check(request: HttpRequest) -> User:
    if not may_manage(request):
        raise PermissionDenied(gettext("You may not do this: it needs the permission to manage keys."))
    return cast("User", request.user)


def page_of(key: ApiKey) -> str:
    return reverse("admin:shop_apikey_change", args=[key.pk])


def _list_url() -> str:
    return reverse("admin:shop_apikey_changelist")


def _record(user: User, action: str, key: ApiKey, result: Words, reason: str) -> None:
    record_action(user, action, key, subject=key.number, result=result, reason=reason)


def _show_form(
    request: HttpRequest,
    title: str,
    sentences: list[str],
    form: forms.Form,
    *,
    back: str,
    row: ApiKey | None = None,
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": ApiKey._meta,
        "has_list": request.user.has_perm("shop.view_apikey"),
        "sentences": [*sentences, *form.non_field_errors()],
        "form": form,
        "back_url": back,
        "row": row,
    }
    return render(request, "admin/books/act.html", context)


def _show_key(request: HttpRequest, issued: Issued, sentence: Words) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": gettext("The key %(name)s") % {"name": issued.key.name},
        "opts": ApiKey._meta,
        "sentence": sentence,
        "shown": issued.shown,
        "page_url": page_of(issued.key),
    }
    return render(request, "admin/key.html", context)
