"""Refunds: read by staff, decided by a second person."""

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from payments.admin.exports import ExportedAdmin
from payments.admin.money import MoneyAdmin
from payments.admin.tables import actions_on, calls_about, link_to
from payments.models import Refund
from payments.story.words import tell_reason
from shop.admin import money_cell


@admin.register(Refund)
class RefundAdmin(ExportedAdmin, MoneyAdmin):
    list_display = (
        "number",
        "status_word",
        "money",
        "kind",
        "reason_word",
        "asked_by",
        "approved_by",
        "created_at",
    )
    list_filter = ("status", "kind", "channel")
    found_by = ("number", "channel_number", "receipt__order__number", "receipt__channel_number")
    list_select_related = ("receipt__order",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "number",
                    "order",
                    "receipt",
                    "channel",
                    "status_word",
                    "money",
                    "kind",
                    "reason_word",
                    "asked_by",
                    "approved_by",
                )
            },
        ),
        (_("At the channel"), {"fields": ("channel_number", "created_at", "sent_at", "ended_at", "calls")}),
        (_("Done by staff"), {"fields": ("actions_done",)}),
    )

    @admin.display(description=_("amount"))
    def money(self, refund: Refund) -> SafeString:
        return money_cell(refund.amount, refund.receipt.currency)

    @admin.display(description=_("reason"))
    def reason_word(self, refund: Refund) -> str:
        return tell_reason(refund.reason)

    @admin.display(description=_("order"))
    def order(self, refund: Refund) -> SafeString | str:
        return link_to(refund.receipt.order)

    @admin.display(description=_("calls"))
    def calls(self, refund: Refund) -> SafeString:
        return calls_about(_order_number(refund), refund.number)

    @admin.display(description=_("actions"))
    def actions_done(self, refund: Refund) -> SafeString:
        return actions_on(_order_number(refund), refund.number)


def _order_number(refund: Refund) -> str:
    return refund.receipt.order.number if refund.receipt.order else ""
