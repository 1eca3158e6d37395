"""Orders: found by whatever a person holds in hand, and told as one story. What is done about them goes through the flows."""

from collections.abc import Iterator
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from orders.models import Order
from payments.admin.deeds import ShipsInBulk
from payments.admin.exports import ExportedAdmin
from payments.admin.lists import BigListAdmin
from payments.admin.order_page import show_order
from payments.channels.registry import list_choices
from payments.models import Case, Payment, Receipt, Refund
from payments.story.words import tell_channel
from shop.admin import LEAFED_THROUGH, money_cell, mood_word


class ChannelFilter(admin.SimpleListFilter):
    """Orders with an attempt through one channel."""

    title = _("channel")
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, tell_channel(name)) for name, _name in list_choices()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        if self.value() is None:
            return queryset
        return queryset.filter(pk__in=Payment.objects.filter(channel=self.value()).values("order"))


class CaseFilter(admin.SimpleListFilter):
    """Orders that wait for a person."""

    title = _("open case")
    parameter_name = "case"
    ANY = "any"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.ANY, gettext("Any")), *((str(kind), str(label)) for kind, label in Case.Kind.choices)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        if self.value() is None:
            return queryset
        waiting = Case.objects.filter(resolved_at__isnull=True, order__isnull=False)
        if self.value() != self.ANY:
            waiting = waiting.filter(kind=self.value())
        return queryset.filter(pk__in=waiting.values("order"))


def _ways_to_find(term: str, *, typed: str) -> Iterator[QuerySet[Any, int]]:
    """Keys of orders, by each thing that the term may be. Ours are upper case; the channels' are as they wrote them."""
    ours = term.upper()
    yield Order.objects.order_by().filter(number=ours).values_list("pk", flat=True)
    yield Order.objects.order_by().filter(phone__in={term, typed}).values_list("pk", flat=True)
    yield _orders_of(Payment.objects.filter(number=ours))
    yield _orders_of(Payment.objects.filter(channel_number=term).exclude(channel_number=""))
    yield _orders_of(Receipt.objects.filter(channel_number=term, order__isnull=False))
    for refunds in (
        Refund.objects.filter(number__in={ours, term}),
        Refund.objects.filter(channel_number=term),
    ):
        known = refunds.exclude(channel_number="", number="").filter(receipt__order__isnull=False)
        yield known.order_by().values_list("receipt__order", flat=True)


def _orders_of(rows: QuerySet[Any]) -> QuerySet[Any, int]:
    return rows.order_by().values_list("order", flat=True)


class OrderList(ChangeList):
    """A page of orders, read together with what its columns say of each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.has_uncounted = self.result_count >= LEAFED_THROUGH
        self.result_list = list(self.result_list)
        open_ones = Case.objects.filter(resolved_at__isnull=True).order_by("deadline")
        prefetch_related_objects(
            self.result_list,
            Prefetch("payments", Payment.objects.only("order_id", "channel").order_by("pk")),
            Prefetch("cases", open_ones.only("order_id", "kind", "deadline"), to_attr="open_cases"),
        )


@admin.register(Order)
class OrderAdmin(ExportedAdmin, ShipsInBulk, BigListAdmin):  # type: ignore[misc]  # no actions there, two here
    list_display = ("number", "state", "money", "name", "channels", "placed")
    list_filter = ("status", ChannelFilter, CaseFilter, "created_at")
    list_per_page = 50
    search_help_text = _(
        "Number of an order, payment or refund, the channel's number, or the shopper's whole mail address or phone"
    )
    change_form_template = "admin/orders/order/change_form.html"
    fields = ("number",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("number",)  # that there is a search; what it finds by, `get_search_results` says

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Orders by one exact number, mail address or phone: each way is a read of its own, served by its index."""
        term = "".join(search_term.split())
        if not term:
            return queryset, False
        if "@" in term:
            return queryset.filter(email__iexact=term), False
        found: set[int] = set()
        for orders in _ways_to_find(term, typed=search_term.strip()):
            found.update(orders[:LEAFED_THROUGH])
        return queryset.filter(pk__in=found), False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return OrderList

    @admin.display(description=_("status"))
    def state(self, order: Order) -> SafeString:
        """Its status, and below for what a person is waited for."""
        cases: list[Case] = order.open_cases  # type: ignore[attr-defined]
        waits = [mood_word("mismatch", case.get_kind_display()) for case in cases]
        words = [mood_word(order.status, order.get_status_display()), *waits]
        return format_html_join(mark_safe("<br>"), "{}", ((word,) for word in words))

    @admin.display(description=_("amount"))
    def money(self, order: Order) -> SafeString:
        return money_cell(order.amount, order.currency)

    @admin.display(description=_("tried"))
    def channels(self, order: Order) -> str:
        return ", ".join(dict.fromkeys(tell_channel(each.channel) for each in order.payments.all())) or "–"

    @admin.display(description=_("placed"))
    def placed(self, order: Order) -> SafeString:
        at = timezone.localtime(order.created_at)
        day, clock = f"{at:%Y-%m-%d}", f"{at:%H:%M}"
        return format_html('<span class="placed"><span>{}</span> <span>{}</span></span>', day, clock)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        if options.get("obj") is not None:
            context |= show_order(cast("User", request.user), options["obj"])
        return super().render_change_form(request, context, *args, **options)
