"""What every admin page of ours shares: rows about money can be read and acted upon, never edited."""

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop.alarms import kinds
from shop.models import Alarm, Event, Heartbeat, IdempotencyKey
from shop.money import for_people
from shop.sentences import Words

admin.site.site_header = admin.site.site_title = "nodrop"
admin.site.index_title = _("Back office")

# Status word → mood of the stylesheet: waiting, done, back, wrong.
MOODS = {
    "UNPAID": "waiting",
    "PAYING": "waiting",
    "PENDING_APPROVAL": "waiting",
    "WAITING": "waiting",
    "READY_FOR_SHIPMENT": "done",
    "SHIPPED": "done",
    "COMPLETED": "done",
    "PAID": "done",
    "TAKEN": "done",
    "APPROVED": "done",
    "settled": "done",
    "REFUNDING": "back",
    "REFUNDED": "back",
    "surplus": "back",
    "late": "back",
    "FAILED": "wrong",
    "DEAD": "wrong",
    "REJECTED": "wrong",
    "mismatch": "wrong",
    "unmatched": "wrong",
}


# Who has not found it among so many looks for a number.
LEAFED_THROUGH = 1000


class ShortCount(Paginator):
    """Pages of the first rows only: to count all of them would be to read all of them."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:LEAFED_THROUGH].count())


class ReadOnlyAdmin(admin.ModelAdmin):
    """Nobody adds, changes or deletes here, superusers neither."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = ShortCount
    actions: tuple[str, ...] | None = None

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Rows are chosen by the filters that the list shows: other columns could be guessed letter by letter."""
        filters: Any = self.get_list_filter(request) if request is not None else self.list_filter
        names = {getattr(each, "parameter_name", each) for each in filters}
        return lookup in names or lookup.partition("__")[0] in names

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Raises IncorrectLookupParameters also for what no text of the database holds."""
        if any("\0" in value for _, values in request.GET.lists() for value in values):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyInline(admin.TabularInline):
    """Rows of a parent, to be read."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def one_of(
    column: str, list_values: Callable[[], Iterable[str]], *, title: Words
) -> type[admin.SimpleListFilter]:
    """A filter by a column without choices of its own: Django would read all rows to find its values."""

    class OneOf(admin.SimpleListFilter):
        parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, gettext(value)) for value in list_values()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{column: self.value()}) if self.value() else queryset

    OneOf.title = title  # type: ignore[assignment]  # lazy, as Django's own are
    return OneOf


def _list_statuses() -> list[str]:
    """Of whatever has events."""
    models = (apps.get_model(name) for name in ("orders.Order", "payments.Payment", "payments.Refund"))
    choices = (value for model in models for value, _label in model._meta.get_field("status").choices or ())
    return sorted(set(map(str, choices)))


def mood_word(word: str, label: Words) -> SafeString:
    """A status word in the colour of its mood."""
    return format_html('<span class="mood mood-{}">{}</span>', MOODS.get(word, "quiet"), label)


def money_cell(amount_minor: int, currency: str) -> SafeString:
    """An amount, right-aligned in tabular numbers."""
    text = for_people(amount_minor, currency) if currency else str(amount_minor)
    return format_html('<span class="money">{}</span>', text)


def keep_from_hands(app_label: str) -> None:
    """Let the pages of another app be read only: one malformed schedule, say, would stop all of them."""
    for model, page in list(admin.site._registry.items()):
        if model._meta.app_label == app_label:
            admin.site.unregister(model)
            admin.site.register(model, type(f"ReadOnly{model.__name__}", (ReadOnlyAdmin, type(page)), {}))


keep_from_hands("django_q")


def _speak(shown: Any) -> Any:
    """A choice of permissions, by their names in the language of whoever looks."""
    if getattr(shown, "queryset", None) is not None and shown.queryset.model is Permission:
        shown.label_from_instance = lambda held: f"{held.content_type} | {gettext(held.name)}"
    return shown


class SpokenGroupAdmin(GroupAdmin):
    """Django's own, with permissions that can be read."""

    def formfield_for_manytomany(self, *args: Any, **options: Any) -> Any:
        return _speak(super().formfield_for_manytomany(*args, **options))


class SpokenUserAdmin(UserAdmin):
    """The same for people."""

    def formfield_for_manytomany(self, *args: Any, **options: Any) -> Any:
        return _speak(super().formfield_for_manytomany(*args, **options))


for person, page in ((Group, SpokenGroupAdmin), (User, SpokenUserAdmin)):
    admin.site.unregister(person)
    admin.site.register(person, page)


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    list_display = ("kind", "subject", "due_at", "attempts", "tried_at", "last_at")
    list_filter = (one_of("kind", kinds, title=_("kind")),)
    search_fields = ("=subject",)
    ordering = ("due_at",)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("at", "order_number", "subject_kind", "subject", "step", "source", "actor")
    list_filter = ("subject_kind", "source", one_of("to_status", _list_statuses, title=_("to status")))
    search_fields = ("order_number", "subject")
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """By the exact number, which both indexes serve: that of a subject begins with its kind."""
        number = search_term.strip().upper()
        if not number:
            return queryset, False
        of_subject = Q(subject_kind__in=["order", "payment", "refund"], subject=number)
        return queryset.filter(Q(order_number=number) | of_subject), False

    @admin.display(description=_("step"))
    def step(self, event: Event) -> str:
        return " → ".join(gettext(status or "·") for status in (event.from_status, event.to_status))


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "at", "note")
    ordering = ("-at",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "scope", "key", "subject", "status", "lease_until")
    search_fields = ("=key", "=subject")
    ordering = ("-id",)
