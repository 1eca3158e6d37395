"""Other systems: their endpoints, how each fares, and what was sent to it. To be read, with what may be done about each."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.deeds import Links, WithDeeds
from payments.admin.endpoint_pages import add_page, may_manage, rotate_page
from payments.admin.lists import BigListAdmin
from payments.admin.tables import NOTHING, actions_on, link_to, moment, table
from shop.admin import mood_word
from shop.models import Delivery, Endpoint
from shop.webhooks.addresses import host_of

# Of what was sent last.
SHOWN = 20


class Presence(admin.SimpleListFilter):
    """Endpoints that were removed are history: shown to who asks for them."""

    title = _("removed")
    parameter_name = "removed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("Removed")), ("all", gettext("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        choices = super().choices(changelist)
        yield {**next(choices), "display": gettext("Living")}
        yield from choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
        match self.value():
            case "all":
                return queryset
            case "yes":
                return queryset.filter(removed_at__isnull=False)
        return queryset.filter(removed_at__isnull=True)


@admin.register(Endpoint)
class EndpointAdmin(WithDeeds, BigListAdmin):
    list_display = ("number", "note", "host", "state", "waiting", "oldest", "given_up")
    list_filter = (Presence,)
    found_by = ("number", "note")
    fields = (
        "number",
        "note",
        "address",
        "wanted",
        "state",
        "failing",
        "waiting",
        "oldest",
        "given_up",
        "former_secret",
        "created",
        "answers",
        "actions_done",
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Behind the host there may be a secret of the receiver's."""
        shown = "address" if may_manage(request) else "host"
        return [shown if name == "address" else name for name in self.fields]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("new/", view(add_page), name="shop_endpoint_new"),
            path("<int:pk>/secret/", view(rotate_page), name="shop_endpoint_secret"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        new = [(gettext("Add an endpoint"), reverse("admin:shop_endpoint_new"))]
        context = {**(extra_context or {}), "tools": new if may_manage(request) else []}
        return super().changelist_view(request, context)

    def list_deeds(self, request: HttpRequest, row: Any) -> Links:
        found = super().list_deeds(request, row)
        if may_manage(request) and not row.removed_at:
            url = reverse("admin:shop_endpoint_secret", args=[row.pk])
            found.append((gettext("Change the secret"), url))
        return found

    @admin.display(description=_("host"))
    def host(self, endpoint: Endpoint) -> str:
        return host_of(endpoint.url)

    @admin.display(description=_("address"))
    def address(self, endpoint: Endpoint) -> str:
        return endpoint.url

    @admin.display(description=_("wants"))
    def wanted(self, endpoint: Endpoint) -> str:
        return ", ".join(endpoint.types) or gettext("everything")

    @admin.display(description=_("state"))
    def state(self, endpoint: Endpoint) -> SafeString:
        if endpoint.removed_at:
            return mood_word("", gettext("Removed"))
        if endpoint.off_at:
            why = Endpoint.OffWhy(endpoint.off_why).label if endpoint.off_why else ""
            return mood_word("FAILED", gettext("Switched off: %(why)s") % {"why": why})
        if endpoint.failing_since:
            return mood_word("WAITING", gettext("Failing"))
        return mood_word("PAID", gettext("Well"))

    @admin.display(description=_("waiting"))
    def waiting(self, endpoint: Endpoint) -> int:
        return _of(endpoint, Delivery.Status.WAITING).count()

    @admin.display(description=_("oldest waiting"))
    def oldest(self, endpoint: Endpoint) -> str | SafeString:
        oldest: datetime | None = _of(endpoint, Delivery.Status.WAITING).aggregate(at=Min("created_at"))["at"]
        return moment(oldest) or NOTHING

    @admin.display(description=_("given up"))
    def given_up(self, endpoint: Endpoint) -> int | SafeString:
        if endpoint.removed_at:
            return NOTHING
        return _of(endpoint, Delivery.Status.DEAD).count()

    @admin.display(description=_("failing since"))
    def failing(self, endpoint: Endpoint) -> str | SafeString:
        return moment(endpoint.failing_since) or NOTHING

    @admin.display(description=_("created at"))
    def created(self, endpoint: Endpoint) -> str:
        return moment(endpoint.created_at)

    @admin.display(description=_("former secret counts until"))
    def former_secret(self, endpoint: Endpoint) -> str | SafeString:
        return moment(endpoint.old_until) or NOTHING

    @admin.display(description=_("last answers"))
    def answers(self, endpoint: Endpoint) -> SafeString:
        last = endpoint.deliveries.filter(tries__gt=0).select_related("event").order_by("-tried_at")[:SHOWN]
        return table(
            (gettext("when"), gettext("event"), gettext("type"), gettext("status"), gettext("answer")),
            (
                (
                    moment(delivery.tried_at),
                    link_to_delivery(delivery),
                    delivery.event.type,
                    _status(delivery),
                    gettext(delivery.answer),
                )
                for delivery in last
            ),
        )

    @admin.display(description=_("done by staff"))
    def actions_done(self, endpoint: Endpoint) -> SafeString:
        return actions_on("", endpoint.number)


@admin.register(Delivery)
class DeliveryAdmin(WithDeeds, BigListAdmin):
    list_display = (
        "event_number",
        "type",
        "stream",
        "sequence",
        "endpoint",
        "status_word",
        "tries",
        "word",
        "tried",
    )
    list_filter = ("status",)
    found_by = ("event__number", "event__stream", "event__subject", "endpoint__number")
    list_select_related = ("event", "endpoint")
    fields = (
        "event_number",
        "type",
        "stream",
        "sequence",
        "to",
        "status_word",
        "tries",
        "word",
        "first_tried",
        "tried",
        "ended",
        "created",
        "actions_done",
    )

    @admin.display(description=_("event"))
    def event_number(self, delivery: Delivery) -> str:
        return delivery.event.number

    @admin.display(description=_("type"))
    def type(self, delivery: Delivery) -> str:
        return delivery.event.type

    @admin.display(description=_("order"))
    def stream(self, delivery: Delivery) -> str:
        return delivery.event.stream

    @admin.display(description=_("sequence"))
    def sequence(self, delivery: Delivery) -> int:
        return delivery.event.sequence

    @admin.display(description=_("endpoint"))
    def to(self, delivery: Delivery) -> SafeString | str:
        return link_to(delivery.endpoint)

    @admin.display(description=_("status"))
    def status_word(self, delivery: Delivery) -> SafeString:
        return _status(delivery)

    @admin.display(description=_("answer"))
    def word(self, delivery: Delivery) -> str | SafeString:
        return gettext(delivery.answer) if delivery.answer else NOTHING

    @admin.display(description=_("first tried at"))
    def first_tried(self, delivery: Delivery) -> str | SafeString:
        return moment(delivery.first_tried_at) or NOTHING

    @admin.display(description=_("tried at"))
    def tried(self, delivery: Delivery) -> str | SafeString:
        return moment(delivery.tried_at) or NOTHING

    @admin.display(description=_("ended at"))
    def ended(self, delivery: Delivery) -> str | SafeString:
        return moment(delivery.ended_at) or NOTHING

    @admin.display(description=_("created at"))
    def created(self, delivery: Delivery) -> str:
        return moment(delivery.created_at)

    @admin.display(description=_("done by staff"))
    def actions_done(self, delivery: Delivery) -> SafeString:
        return actions_on("", delivery.event.number)


def link_to_delivery(delivery: Delivery) -> SafeString | str:
    """Its page, under the number of its event."""
    url = reverse("admin:shop_delivery_change", args=[delivery.pk])
    return format_html('<a href="{}">{}</a>', url, delivery.event.number)


def _of(endpoint: Endpoint, status: Delivery.Status) -> Any:
    return endpoint.deliveries.filter(status=status)


def _status(delivery: Delivery) -> SafeString:
    return mood_word(delivery.status, Delivery.Status(delivery.status).label)
