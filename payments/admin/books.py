"""The channels' statements, and where they differ from our books: to be read, with the buttons of `bookkeeping`."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.bookkeeping import act_page, may_reconcile, tools_for
from payments.admin.exports import ExportedAdmin
from payments.admin.handing import fetch_page, take_page
from payments.deeds.base import channel
from payments.models import Difference, Entry, Payment, Receipt, Refund, Statement
from payments.reconciling import OPEN
from payments.repairing import words_for
from shop.admin import ReadOnlyAdmin, money_cell

ENTRIES_PER_PAGE = 100
MOST_PAGES = 1_000_000
# What explains the cents between both sums of a day, in words.
BRIDGE = {
    "not_here": _("In their books, not in ours"),
    "not_there": _("In our books, not in theirs"),
    "amount": _("Of another amount there"),
    "doubled": _("More than once in their books"),
    "other_day_here": _("In their books on this day, in ours on another"),
    "other_day_there": _("In our books on this day, in theirs on another"),
    "other_currency": _("Of another currency there"),
}
SEVERITY_MOODS = {
    Difference.Severity.NOTE: "quiet",
    Difference.Severity.LOOK: "waiting",
    Difference.Severity.MONEY: "wrong",
}
STATE_MOODS = {
    Difference.State.OPEN: "wrong",
    Difference.State.CASE: "waiting",
    Difference.State.REPAIRED: "done",
}


class BooksAdmin(ReadOnlyAdmin):
    """A page with the buttons of what may be done about its row."""

    change_form_template = "admin/books/page.html"

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        act = path("<int:pk>/do/<slug:name>/", self.admin_site.admin_view(act_page), name=name)
        return [act, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        row = options["obj"]  # never None: nobody adds one here
        context |= {"deeds": tools_for(request, row), **self.more_of(request, row)}
        return super().render_change_form(request, context, *args, **options)

    def more_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What else the page of this row needs."""
        return {}


# ---- statements --------------------------------------------------------------------------------------------------


@admin.register(Statement)
class StatementAdmin(BooksAdmin):
    list_display = ("channel", "day", "current", "entries", "open_word", "read_at")
    list_display_links = ("channel", "day")
    list_filter = ("channel", "is_current", "origin", "day")
    search_fields = ("=digest", "=given_by")
    fields = ("current", "entries", "origin", "given_by", "read_at", "compared_at", "digest")
    readonly_fields = ("current",)
    change_form_template = "admin/books/statement.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Statement]:
        open_ones = Difference.objects.filter(
            channel=OuterRef("channel"), day=OuterRef("day"), state__in=OPEN
        )
        count = open_ones.order_by().values("channel").annotate(count=Count("pk")).values("count")
        is_open = Coalesce(Subquery(count, output_field=IntegerField()), 0)
        return super().get_queryset(request).annotate(open_count=is_open)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        take = path("take/", view(take_page), name="payments_statement_take")
        return [take, path("fetch/", view(fetch_page), name="payments_statement_fetch"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        names = (
            [(gettext("Take in a file"), "take"), (gettext("Fetch now"), "fetch")]
            if may_reconcile(request)
            else []
        )
        tools = [(title, reverse(f"admin:payments_statement_{name}")) for title, name in names]
        return super().changelist_view(request, {**(extra_context or {}), "tools": tools})

    @admin.display(description=_("counts"), boolean=True, ordering="is_current")
    def current(self, statement: Statement) -> bool:
        return statement.is_current

    @admin.display(description=_("open differences"))
    def open_word(self, statement: Any) -> SafeString:
        if not statement.is_current or statement.compared_at is None:
            return format_html('<span class="quiet">{}</span>', "-")
        mood = "wrong" if statement.open_count else "done"
        return format_html('<span class="mood mood-{}">{}</span>', mood, statement.open_count)

    def more_of(self, request: HttpRequest, row: Statement) -> dict[str, Any]:
        query = request.GET.get("q", "").replace("\0", "").strip()[:64]
        page = _page_number(request.GET.get("p", ""))
        last = max(1, -(-row.entries // ENTRIES_PER_PAGE))
        page = min(page, last)
        return {
            "channel": channel(row.channel),
            "sums": list(_sum_up(row.totals)),
            "lines": list(_read_entries(row, query, page)),
            "query": query,
            "page": page,
            "last_page": last,
            "differences_url": self._differences_url(request, row),
        }

    def _differences_url(self, request: HttpRequest, row: Statement) -> str:
        if not request.user.has_perm("payments.view_difference"):
            return ""
        url = reverse("admin:payments_difference_changelist")
        return f"{url}?channel__exact={row.channel}&day__gte={row.day}&day__lte={row.day}"


def _page_number(text: str) -> int:
    return min(int(text), MOST_PAGES) if text.isascii() and text.isdigit() and int(text[:8]) else 1


def _read_entries(statement: Statement, query: str, page: int) -> Iterator[dict[str, Any]]:
    """One page, found by the places of its lines: no count, no offset."""
    entries = Entry.objects.filter(statement=statement).order_by("place")
    if query:
        entries = entries.filter(
            Q(channel_number=query) | Q(number=query) | Q(payment_number=query) | Q(trade_number=query)
        )[:ENTRIES_PER_PAGE]
    else:
        first = (page - 1) * ENTRIES_PER_PAGE
        entries = entries.filter(place__gt=first, place__lte=first + ENTRIES_PER_PAGE)
    for entry in entries:
        yield {
            "entry": entry,
            "kind": gettext(entry.kind),
            "amount": money_cell(entry.amount, entry.currency),
            "fee": money_cell(entry.fee, entry.currency),
        }


def _sum_up(totals: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """For each currency a table of both sides, and what leads from ours to theirs."""
    for currency, total in sorted(totals.items()):
        theirs, ours, rest = total["theirs"], total["ours"], total["rest"]
        money = partial(money_cell, currency=currency)
        yield {
            "currency": currency,
            "theirs": [money(theirs[name]) for name in ("sales", "refunds", "fees", "net")],
            "ours": [money(ours[name]) for name in ("sales", "refunds")],
            "bridge": [
                {**line, "words": BRIDGE.get(line["kind"], line["kind"]), "amount": money(line["amount"])}
                for line in total["bridge"]
            ],
            "rest": [money(rest[name]) for name in ("sales", "refunds")],
            "is_balanced": not any(rest.values()),
        }


# ---- differences -------------------------------------------------------------------------------------------------


@admin.register(Difference)
class DifferenceAdmin(ExportedAdmin, BooksAdmin):
    list_display = (
        "subject",
        "kind",
        "severity_word",
        "state_word",
        "theirs_money",
        "ours_money",
        "channel",
        "day",
    )
    list_filter = ("channel", "kind", "severity", "state", "day")
    search_fields = ("=subject", "=number")
    fields = (
        "kind",
        "severity_word",
        "state_word",
        "channel",
        "day",
        "subject",
        "ours_link",
        "theirs_money",
        "ours_money",
        "repair_words",
        "note_words",
        "found_at",
        "ended_at",
    )
    readonly_fields = (
        "severity_word",
        "state_word",
        "theirs_money",
        "ours_money",
        "repair_words",
        "note_words",
        "ours_link",
    )

    @admin.display(description=_("severity"), ordering="severity")
    def severity_word(self, found: Difference) -> SafeString:
        severity = Difference.Severity(found.severity)
        return format_html(
            '<span class="mood mood-{}">{}</span>', SEVERITY_MOODS[severity], capfirst(severity.label)
        )

    @admin.display(description=_("state"), ordering="state")
    def state_word(self, found: Difference) -> SafeString:
        state = Difference.State(found.state)
        return format_html(
            '<span class="mood mood-{}">{}</span>', STATE_MOODS.get(state, "quiet"), state.label
        )

    @admin.display(description=_("in their books"), ordering="theirs")
    def theirs_money(self, found: Difference) -> SafeString:
        return _side(found.theirs, found.currency)

    @admin.display(description=_("in ours"), ordering="ours")
    def ours_money(self, found: Difference) -> SafeString:
        return _side(found.ours, found.currency)

    @admin.display(description=_("what is to be done"))
    def repair_words(self, found: Difference) -> str:
        return words_for(found) if found.state in OPEN else gettext("Nothing any more.")

    @admin.display(description=_("note"))
    def note_words(self, found: Difference) -> str:
        """As machines noted it, in English; what is a sentence of ours is told in the reader's language."""
        return gettext(found.note) or "-"

    @admin.display(description=_("ours"))
    def ours_link(self, found: Difference) -> SafeString | str:
        """The row of ours that it is about, as far as it is known."""
        row = _find_ours(found)
        if row is None:
            return found.number or gettext("not known here")
        url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
        return format_html('{} <a href="{}">{}</a>', row._meta.verbose_name, url, row)


def _side(amount_minor: int | None, currency: str) -> SafeString:
    if amount_minor is None:
        return format_html('<span class="money quiet">{}</span>', gettext("not there"))
    return money_cell(amount_minor, currency)


def _find_ours(found: Difference) -> Payment | Refund | Receipt | None:
    if found.number:
        payment = Payment.objects.filter(number=found.number).first()
        if payment is not None:
            return payment
        return Refund.objects.filter(number=found.number).first()
    return Receipt.objects.filter(channel=found.channel, channel_number=found.subject).first()
