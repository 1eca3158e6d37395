"""What was said between us and the channels, and what staff did: to be read. Raw messages need a permission of their own."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.deeds import WithDeeds
from payments.admin.lists import BigListAdmin
from payments.admin.masking import mask_body, mask_headers
from payments.admin.tables import actions_on, facts, may_see_raw
from payments.admin.wording import in_words
from payments.models import Call, Callback, Payment, Refund, RefusedCallback, StaffAction
from payments.story.telling import CALLS
from payments.story.words import ANSWERS
from shop.admin import mood_word, one_of


class RawAdmin(BigListAdmin):
    """Rows with a body and headers as they came, for who may see them."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without what is long, which only a page needs, and not everybody may see."""
        return super().get_queryset(request).defer("body", "headers")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        raw = ("raw_body", "raw_headers") if may_see_raw(request.user) else ("not_shown",)
        return [*(self.fields or ()), *raw]

    @admin.display(description=_("body, as it is kept"))
    def raw_body(self, row: Any) -> SafeString:
        return format_html('<pre class="raw">{}</pre>', mask_body(bytes(row.body)))

    @admin.display(description=_("headers"))
    def raw_headers(self, row: Any) -> SafeString:
        return format_html('<pre class="raw">{}</pre>', mask_headers(row.headers))

    @admin.display(description=_("message"))
    def not_shown(self, row: Any) -> str:
        return gettext("The message itself is shown to who may see messages of channels as they came.")


@admin.register(Callback)
class CallbackAdmin(WithDeeds, RawAdmin):
    list_display = ("received_at", "channel", "kind", "number", "taken_at")
    list_filter = ("channel", "taken_at")
    found_by = ("number", "payment__order__number")
    fields = (
        "channel",
        "message_id",
        "kind",
        "number",
        "payment",
        "received_at",
        "taken_at",
        "said",
        "actions_done",
    )

    @admin.display(description=_("what it says"))
    def said(self, kept: Callback) -> SafeString:
        return facts(in_words(kept.report, currency=""))

    @admin.display(description=_("done by staff"))
    def actions_done(self, kept: Callback) -> SafeString:
        order = kept.payment.order.number if kept.payment else ""
        return actions_on(order, kept.number or kept.message_id[:64])


class OfOrderAdmin(BigListAdmin):
    """Rows that name their order: found by its number, or by that of one of its payments or refunds."""

    found_by = ("order_number",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip().upper()
        if not term:
            return queryset, False
        orders = {term}
        orders.update(Payment.objects.filter(number=term).values_list("order__number", flat=True))
        orders.update(
            Refund.objects.filter(number=term, receipt__order__isnull=False).values_list(
                "receipt__order__number", flat=True
            )
        )
        return queryset.filter(order_number__in=orders), False


@admin.register(RefusedCallback)
class RefusedCallbackAdmin(OfOrderAdmin, RawAdmin):
    list_display = ("at", "channel", "number", "reason", "order_number")
    list_filter = ("channel",)
    fields = ("at", "channel", "number", "order_number", "reason")


@admin.register(Call)
class CallAdmin(OfOrderAdmin):
    list_display = (
        "at",
        "operation_word",
        "subject",
        "channel",
        "outcome_word",
        "code",
        "took_ms",
        "source",
        "order_number",
    )
    list_filter = (
        "channel",
        one_of("operation", lambda: CALLS, title=_("operation")),
        one_of("outcome", lambda: ANSWERS, title=_("outcome")),
    )

    @admin.display(description=_("operation"))
    def operation_word(self, call: Call) -> str:
        return gettext(call.operation)

    @admin.display(description=_("outcome"))
    def outcome_word(self, call: Call) -> str:
        return gettext(call.outcome)


@admin.register(StaffAction)
class StaffActionAdmin(OfOrderAdmin):
    list_display = ("at", "actor", "action", "subject", "done_word", "result", "reason", "order_number")
    list_filter = ("is_done", "at")

    @admin.display(description=_("done"))
    def done_word(self, action: StaffAction) -> SafeString:
        return (
            mood_word("PAID", gettext("done")) if action.is_done else mood_word("FAILED", gettext("refused"))
        )
