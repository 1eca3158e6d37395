"""The pages that end with an API key: a new one, or another secret of one."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from payments.admin.once import WIDE, WithReason, hours_field, show_form, show_secret, tell_former
from payments.deeds.base import DeedRefused
from payments.deeds.keys import MANAGE, check_giver, check_steward, scope_field
from payments.deeds.records import record_action
from shop.keyring import MAX_NAME, MOST_OLD_FOR_H, OLD_FOR_H, Issued, KeyRefused, make_key, rotate_key
from shop.models import ApiKey
from shop.sentences import Words, say


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

    old_for_h = hours_field(OLD_FOR_H, MOST_OLD_FOR_H)
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
    return show_form(request, gettext("Make a key"), sentences, form, model=ApiKey)


@never_cache
def rotate_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a key another secret, and show it once."""
    user, key = _check(request), get_object_or_404(ApiKey, pk=pk)
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        issued = _try(form, lambda: _rotate(user, key, given["old_for_h"]))
        if issued is not None:
            result = tell_former(given["old_for_h"])
            _record(user, "rotate_key", issued.key, result, given["reason"])
            return _show_key(request, issued, result)
    sentences = [
        gettext("Its system is let in by both secrets for so long, then by the new one only."),
        gettext("The new one is shown once, on the next page."),
    ]
    return show_form(request, gettext("Change the secret"), sentences, form, model=ApiKey, row=key)


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


def _record(user: User, action: str, key: ApiKey, result: Words, reason: str) -> None:
    record_action(user, action, key, subject=key.number, result=result, reason=reason)


def _show_key(request: HttpRequest, issued: Issued, sentence: Words) -> HttpResponse:
    title = gettext("The key %(name)s") % {"name": issued.key.name}
    advice = gettext("Copy this now and give it to the system: it is shown only here and only once.")
    secret = f"Authorization: Api-Key {issued.shown}"
    return show_secret(request, title, sentence, secret=secret, advice=advice, row=issued.key)
