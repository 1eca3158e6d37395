"""What staff may do about the channels' books that are there: compare and repair. Asked first, then done.

Nothing is decided here. What was done, or refused, stands in both logs. How a statement comes: see `handing`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from payments.channels.base import BadStatement
from payments.channels.registry import UnknownChannel
from payments.deeds.records import record_action
from payments.errors import CannotRepair
from payments.models import Difference, Payment, Refund, Statement
from payments.reconciling import OPEN, compare, open_differences
from payments.repairing import is_safe, repair, repair_safe, words_for
from payments.statements import ask_statement
from shop.sentences import Words, say, together

PERMISSION = "payments.reconcile_statement"
# What would keep a person waiting is left to the background, which fetches the statement once more.
MOST_LINES = 100_000
MOST_REPAIRS = 20
EXPECTED = (BadStatement, UnknownChannel, CannotRepair)
ON_ITS_WAY = _(
    "It is on its way: fetched, compared and safely repaired in the background. If it does not come, a case says so."
)


def may_reconcile(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


# ---- what is done about one that is there ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Act:
    """One button of a page. `is_offered`: now, for this row. `foretells`: what will happen. `run` gets the row and who wants
    it, and says what was done, a lazy sentence; it raises one of `EXPECTED`."""

    name: str
    title: Words
    model: type[Model]
    is_offered: Callable[[Any], bool]
    foretells: Callable[[Any], list[str]]
    run: Callable[[Any, str], Words]
    asks_why: bool = False


class WhyForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )


def act_page(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    """Say what will happen, ask why where money may move, and do it when the form is sent."""
    check_permission(request)
    act = ACTS.get(name)
    row = act.model._default_manager.filter(pk=pk).first() if act else None
    if act is None or row is None:
        raise Http404(name)
    back = page_of(row)
    if not act.is_offered(row):
        messages.error(request, gettext("%(title)s: there is nothing to do any more.") % {"title": act.title})
        return redirect(back)
    form: forms.Form = (WhyForm if act.asks_why else forms.Form)(
        request.POST if request.method == "POST" else None
    )
    if request.method != "POST" or not form.is_valid():
        return show_form(request, act.title, act.foretells(row), form, back=back, row=row)
    _carry_out(request, act, row, form.cleaned_data.get("reason", ""))
    return redirect(back)


def _carry_out(request: HttpRequest, act: Act, row: Any, reason: str) -> None:
    try:
        result, is_done = act.run(row, request.user.get_username()), True
    except EXPECTED as error:
        result, is_done = say("%(error)s", error=error), False
    is_difference = isinstance(row, Difference)
    subject = row.subject if is_difference else f"{row.channel}:{row.day}"
    order_number = _order_of(row) if is_difference else ""
    record_action(
        cast("User", request.user),
        act.name,
        row,
        subject=subject,
        result=result,
        reason=reason,
        order_number=order_number,
        is_done=is_done,
    )
    messages.add_message(request, messages.SUCCESS if is_done else messages.WARNING, str(result))


def _compare(statement: Statement, actor: str) -> str:
    if _is_large(statement):
        ask_statement(statement.channel, statement.day)
        lines = ngettext_lazy("It has %(count)d line.", "It has %(count)d lines.", statement.entries)
        return together(say(lines, count=statement.entries), ON_ITS_WAY)
    return say(_("Compared: %(differences)s."), differences=say_differences(compare(statement).count()))


def _repair_safe(statement: Statement, actor: str) -> str:
    waiting = open_differences(statement.channel, statement.day).filter(state=Difference.State.OPEN).count()
    if waiting > MOST_REPAIRS:
        ask_statement(statement.channel, statement.day)
        return together(say(_("There are %(count)d to look at."), count=waiting), ON_ITS_WAY)
    counts = repair_safe(statement.channel, statement.day, actor=actor)
    return say(_("%(repaired)d repaired, %(cases)d for a person to decide."), **counts)


def _is_large(statement: Statement) -> bool:
    return statement.origin == Statement.Origin.FETCHED and statement.entries > MOST_LINES


def _has_open(statement: Statement) -> bool:
    day = open_differences(statement.channel, statement.day)
    return statement.is_current and day.filter(state=Difference.State.OPEN).exists()


ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        Act(
            name="compare",
            title=_("Compare again"),
            model=Statement,
            is_offered=lambda statement: statement.is_current,
            foretells=lambda _: [
                gettext("Its lines are compared with what is written down here. Nothing about money changes.")
            ],
            run=_compare,
        ),
        Act(
            name="repair_safe",
            title=_("Run the safe repairs"),
            model=Statement,
            is_offered=_has_open,
            foretells=lambda _: [
                gettext(
                    "The channel is asked about each open difference, and what it confirms is settled or given back."
                ),
                gettext("What no machine may decide becomes a case."),
            ],
            run=_repair_safe,
            asks_why=True,
        ),
        Act(
            name="repair",
            title=_("Repair"),
            model=Difference,
            is_offered=lambda difference: difference.state in OPEN and is_safe(difference),
            foretells=lambda difference: [words_for(difference)],
            run=lambda difference, actor: repair(difference.pk, actor=actor),
            asks_why=True,
        ),
    )
}


def tools_for(request: HttpRequest, row: Model) -> list[tuple[str, str]]:
    """The buttons of the row's page: title and address."""
    if not may_reconcile(request):
        return []
    acts = [act for act in ACTS.values() if isinstance(row, act.model) and act.is_offered(row)]
    return [
        (
            str(act.title),
            reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_act", args=[row.pk, act.name]),
        )
        for act in acts
    ]


# ---- parts -------------------------------------------------------------------------------------------------------


def check_permission(request: HttpRequest) -> None:
    if not may_reconcile(request):
        raise PermissionDenied(
            gettext("You may not do this: it needs the permission to reconcile statements.")
        )


def _order_of(difference: Difference) -> str:
    """In whose story it belongs; "" where nobody knows."""
    number = difference.number or difference.subject
    payment = Payment.objects.select_related("order").filter(number=number).first()
    if payment is not None:
        return payment.order.number
    refund = Refund.objects.select_related("receipt__order").filter(number=number).first()
    return refund.receipt.order.number if refund is not None and refund.receipt.order else ""


def say_differences(count: int) -> str:
    """ "no difference", "1 difference", "2 differences"."""
    words = ngettext_lazy("%(count)d difference", "%(count)d differences", count)
    return say(words if count else _("no difference"), count=count)


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def list_url() -> str:
    return reverse("admin:payments_statement_changelist")


def show_form(
    request: HttpRequest,
    title: Words,
    sentences: list[str],
    form: forms.Form,
    *,
    back: str,
    row: Model | None = None,
) -> HttpResponse:
    user = cast("User", request.user)
    context = {
        **admin.site.each_context(request),
        "title": title,
        "sentences": sentences,
        "form": form,
        "back_url": back,
        "row": row,
        "opts": (row or Statement)._meta,
        "has_list": user.has_perm(f"payments.view_{(row or Statement)._meta.model_name}"),
    }
    return render(request, "admin/books/act.html", context)
