"""What pages that end with a secret have in common: it is shown in the answer to their form and nowhere else; no message, no
session, no history keeps it.
"""

from collections.abc import Sequence

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from payments.deeds.base import MAX_REASON
from shop.sentences import Words, say

WIDE = {"class": "vTextField", "autocomplete": "off"}


class WithReason(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=MAX_REASON, widget=forms.TextInput(attrs=WIDE))
    field_order: list[str] | None = None


def hours_field(usual: int, most: int) -> forms.IntegerField:
    """How long the present secret still counts."""
    return forms.IntegerField(
        label=_("Hours that the old secret counts"),
        initial=usual,
        min_value=0,
        max_value=most,
        help_text=_(
            "0 ends every secret that was given out before, at once: when one is known to others, or a new one was lost"
            " before it was in use."
        ),
    )


def tell_former(hours: int) -> str:
    """What becomes of the secret that was there, as a sentence of the history."""
    if hours:
        return say(_("The former secret counts for %(hours)d hours more."), hours=hours)
    return say(_("No former secret counts any more."))


def show_form(
    request: HttpRequest,
    title: str,
    sentences: Sequence[str],
    form: forms.Form,
    *,
    model: type[Model],
    row: Model | None = None,
) -> HttpResponse:
    """The form, below what it says will happen; the way back leads to the row, else to the list."""
    meta = model._meta
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": meta,
        "has_list": request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}"),
        "sentences": [*sentences, *form.non_field_errors()],
        "form": form,
        "back_url": page_of(row) if row else reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
        "row": row,
    }
    return render(request, "admin/books/act.html", context)


def show_secret(
    request: HttpRequest, title: str, sentence: Words, *, secret: str, advice: str, row: Model
) -> HttpResponse:
    """The secret of the row, this once, with what to do with it."""
    context = {
        **admin.site.each_context(request),
        "title": title,
        "opts": row._meta,
        "sentence": sentence,
        "advice": advice,
        "secret": secret,
        "page_url": page_of(row),
    }
    return render(request, "admin/secret.html", context)


def page_of(row: Model) -> str:
    """The admin's page of the row."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
