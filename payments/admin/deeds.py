"""The door to the table of deeds: a page that says what will happen and asks why, and the buttons that lead to it.

Looking changes nothing, only the form's button does. What a person reads here comes from the table and its flows.
"""

from typing import Any, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from orders.models import Order
from payments.deeds import (
    Deed,
    DeedRefused,
    NotPermitted,
    carry_out,
    find_deed,
    offered_to,
    order_of,
    say_missing,
)

Links = list[tuple[str, str]]
# One request of a person may take so long as it takes to do this many.
MOST_AT_ONCE = 200


def links_for(user: Any, row: Model, *, is_one_of_many: bool = False) -> Links:
    """The buttons for what this person may do to the row now: title and address of each confirmation page."""
    deeds = offered_to(user, row, is_one_of_many=is_one_of_many)
    return [(str(deed.title), address_of(deed, row)) for deed in deeds]


def address_of(deed: Deed, row: Model) -> str:
    """Where the deed is confirmed."""
    return reverse("deeds:deed", args=[deed.name, row._meta.label_lower, row.pk])


class ReasonForm(forms.Form):
    """What the deed wants to know, and why it is done."""

    def __init__(self, deed: Deed, row: Model | None, data: Any = None, *, initial: Any = None) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        self.fields.update(deed.fields(row) if row is not None else {})
        if deed.max_reason:
            self.fields["reason"] = forms.CharField(
                max_length=deed.max_reason,
                label=str(deed.reason_label),
                widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
            )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if not reason.isprintable():
            raise forms.ValidationError(gettext("Only printable characters, please."))
        return reason


def deed_page(request: HttpRequest, name: str, label: str, pk: int) -> HttpResponse:
    """Ask what the deed wants to know, say what will happen; and do it, when the form is sent."""
    deed, row = _find(name, label, pk)
    user = cast("User", request.user)
    form = ReasonForm(deed, row, request.POST if request.method == "POST" else None)
    if request.method != "POST":
        refusal = "" if user.has_perm(deed.permission) else say_missing(deed)
        return _show(request, deed, row, form, refusal=refusal, status=403 if refusal else 200)
    # Who may not do it, and what cannot be done any more, is refused by the table: also with an empty form.
    is_futile = not user.has_perm(deed.permission) or not deed.is_offered(row)
    if not form.is_valid() and not is_futile:
        return _show(request, deed, row, form)
    reason = form.cleaned_data.get("reason") or request.POST.get("reason", "")
    try:
        result = carry_out(deed, row, user=user, reason=reason, data=form.cleaned_data)
    except DeedRefused as error:
        status = 403 if isinstance(error, NotPermitted) else 409
        row = _find(name, label, pk)[1]
        again = ReasonForm(deed, row, initial=_typed(form))
        return _show(request, deed, row, again, refusal=str(error), status=status)
    messages.success(request, result)
    return HttpResponseRedirect(home_of(row, user))


def _typed(form: ReasonForm) -> dict[str, Any]:
    """What a person has filled in; what the page carries with it is renewed."""
    return {field.name: field.data for field in form.visible_fields()}


def _find(name: str, label: str, pk: int) -> tuple[Deed, Any]:
    """The deed and the row as it is now, each as it stands in the address. Raises Http404."""
    try:
        model = apps.get_model(label)
        deed = find_deed(name, model)
        return deed, model._default_manager.get(pk=pk)
    except (LookupError, ValueError, ObjectDoesNotExist) as error:
        raise Http404(name) from error


def home_of(row: Model, user: User) -> str:
    """The story in which the row stands, for who may read it; else the row's own page."""
    order = order_of(row)
    target = order if order is not None and user.has_perm("orders.view_order") else row
    return page_of(target)


def page_of(row: Model) -> str:
    """The row's own page."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def _show(
    request: HttpRequest, deed: Deed, row: Any, form: ReasonForm, *, refusal: str = "", status: int = 200
) -> HttpResponse:
    user = cast("User", request.user)
    hindrance = deed.hinders(row)
    if hindrance and not refusal:
        refusal, status = hindrance, 409
    is_possible = user.has_perm(deed.permission) and not hindrance
    context = {
        **admin.site.each_context(request),
        "title": deed.title,
        "deed": deed,
        "row": row,
        "opts": row._meta,
        "order": order_of(row),
        "page_url": page_of(row),
        "back_url": home_of(row, user),
        "refusal": refusal,
        "sentences": deed.foretells(row) if is_possible else [],
        "form": form if is_possible else None,
    }
    return render(request, "admin/deed.html", context, status=status)


class WithDeeds(admin.ModelAdmin):
    """Pages with the buttons of what may be done to their row."""

    change_form_template = "admin/deeds_page.html"

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        context["deeds"] = self.list_deeds(request, options["obj"])  # never None: nobody adds a row here
        return super().render_change_form(request, context, *args, **options)

    def list_deeds(self, request: HttpRequest, row: Any) -> Links:
        """The buttons of the row's page."""
        return links_for(request.user, row)


# ---- many orders at once -----------------------------------------------------------------------------------------


class ShipsInBulk(admin.ModelAdmin):
    """The list of orders with what may be done to many of them at once."""

    actions = ("bulk_ship", "bulk_complete")

    def has_ship_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.ship_order")

    @admin.action(permissions=["ship"], description=_("Mark as shipped"))
    def bulk_ship(self, request: HttpRequest, orders: QuerySet[Order]) -> HttpResponse | None:
        return _do_to_many(request, "ship_order", orders)

    @admin.action(permissions=["ship"], description=_("Mark as completed"))
    def bulk_complete(self, request: HttpRequest, orders: QuerySet[Order]) -> HttpResponse | None:
        return _do_to_many(request, "complete_order", orders)


def _do_to_many(request: HttpRequest, name: str, orders: QuerySet[Order]) -> HttpResponse | None:
    """Ask why, with the orders in sight; then do each, and say what became of each."""
    deed = find_deed(name, Order)
    chosen = list(orders.order_by("pk")[: MOST_AT_ONCE + 1])
    if len(chosen) > MOST_AT_ONCE:
        messages.error(request, gettext("Choose at most %(most)d orders at once.") % {"most": MOST_AT_ONCE})
        return None
    form = ReasonForm(deed, None, request.POST if "reason" in request.POST else None)
    if form.is_valid():
        results = [(order, *_do(deed, order, request.user, form.cleaned_data["reason"])) for order in chosen]
        return _show_many(request, deed, results=results)
    return _show_many(
        request, deed, results=[(order, True, deed.hinders(order)) for order in chosen], form=form
    )


def _do(deed: Deed, order: Order, user: Any, reason: str) -> tuple[bool, str]:
    try:
        return True, carry_out(deed, order, user=user, reason=reason, data={})
    except DeedRefused as error:
        return False, str(error)


def _show_many(
    request: HttpRequest,
    deed: Deed,
    *,
    results: list[tuple[Order, bool, str]],
    form: ReasonForm | None = None,
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _title_of_many(deed, len(results)),
        "deed": deed,
        "opts": Order._meta,
        "list_url": reverse("admin:orders_order_changelist"),
        "results": results,
        "form": form,
        "action": request.POST.get("action", ""),
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return render(request, "admin/deed_many.html", context)


def _title_of_many(deed: Deed, count: int) -> str:
    words = ngettext("%(title)s: %(count)d order", "%(title)s: %(count)d orders", count)
    return words % {"title": deed.title, "count": count}
