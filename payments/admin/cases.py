"""Cases: the queue of what only people can decide, in words, with what they may do about each."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.deeds import WithDeeds, links_for
from payments.admin.lists import BigListAdmin
from payments.admin.tables import actions_on, facts, link_to, moment
from payments.admin.wording import in_words
from payments.deeds.cases import what_holds
from payments.models import Case, Payment, Proposal, Receipt, Refund
from shop.admin import mood_word
from shop.models import Endpoint

NO_MATTER = _("Nothing holds it: whoever knows the answer resolves it, and says how.")


class State(admin.SimpleListFilter):
    """Open cases wait for somebody."""

    title = _("state")
    parameter_name = "resolved_at__isnull"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("True", gettext("Open")), ("False", gettext("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return (
            queryset
            if value not in ("True", "False")
            else queryset.filter(resolved_at__isnull=value == "True")
        )


class Owner(admin.SimpleListFilter):
    """Whose cases."""

    title = _("who has it")
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("mine", gettext("I")), ("nobody", gettext("Nobody")), ("others", gettext("Somebody else"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        user = cast("User", request.user)
        match self.value():
            case "mine":
                return queryset.filter(owner=user)
            case "nobody":
                return queryset.filter(owner__isnull=True)
            case "others":
                return queryset.filter(owner__isnull=False).exclude(owner=user)
        return queryset


@admin.register(Case)
class CaseAdmin(WithDeeds, BigListAdmin):
    list_display = ("subject", "kind", "order", "owner", "due", "resolved_at")
    list_filter = (State, Owner, "kind", "opened_at")
    found_by = ("subject", "order__number")
    list_select_related = ("order", "owner")
    ordering = ("deadline",)
    fields = (
        "kind",
        "subject",
        "matter",
        "order",
        "told",
        "instead",
        "owner",
        "opened_at",
        "due",
        "resolved_at",
        "resolution",
        "actions_done",
    )

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """With the buttons of the matter itself: what happens to it closes most cases."""
        matter = find_matter(options["obj"])
        if matter is not None:
            context |= {"matter": link_to(matter), "matter_deeds": links_for(request.user, matter)}
        return super().render_change_form(request, context, *args, **options)

    @admin.display(description=_("about"))
    def matter(self, case: Case) -> SafeString | str:
        matter = find_matter(case)
        return link_to(matter) if matter is not None else "–"

    @admin.display(description=_("what is known"))
    def told(self, case: Case) -> SafeString:
        return facts(in_words(case.evidence, currency=case.order.currency if case.order else ""))

    @admin.display(description=_("what to do"))
    def instead(self, case: Case) -> str:
        return "–" if case.resolved_at else str(what_holds(case) or NO_MATTER)

    @admin.display(description=_("deadline"))
    def due(self, case: Case) -> SafeString | str:
        is_late = not case.resolved_at and case.deadline < timezone.now()
        return mood_word("FAILED", moment(case.deadline)) if is_late else moment(case.deadline)

    @admin.display(description=_("done by staff"))
    def actions_done(self, case: Case) -> SafeString:
        return actions_on(case.order.number if case.order else "", case.subject)


def find_matter(case: Case) -> Model | None:
    """What the case is about, by its public number; an order stands beside it anyway."""
    ways: tuple[QuerySet[Any], ...] = (
        Payment.objects.filter(number=case.subject),
        Refund.objects.filter(number=case.subject).select_related("receipt__order"),
        Proposal.objects.filter(number=case.subject).select_related("payment__order"),
        Receipt.objects.filter(channel_number=case.subject).select_related("order"),
        Endpoint.objects.filter(number=case.subject),
    )
    return next((row for rows in ways if (row := rows.first()) is not None), None)
