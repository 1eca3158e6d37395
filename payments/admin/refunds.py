"""Refunds: read by staff, decided by a second person."""

from django.contrib import admin
from django.utils.safestring import SafeString

from payments.admin.exports import ExportedAdmin
from payments.admin.money import MoneyAdmin
from payments.admin.tables import actions_on, calls_about, link_to
from payments.models import Refund
from shop.admin import money_cell


@admin.register(Refund)
class RefundAdmin(ExportedAdmin, MoneyAdmin):
    list_display = (
        "number",
        "status_word",
        "money",
        "kind",
        "reason",
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
                    "reason",
                    "asked_by",
                    "approved_by",
                )
            },
        ),
        ("At the channel", {"fields": ("channel_number", "created_at", "sent_at", "ended_at", "calls")}),
        ("Done by staff", {"fields": ("actions_done",)}),
    )

    @admin.display(description="amount")
    def money(self, refund: Refund) -> SafeString:
        return money_cell(refund.amount, refund.receipt.currency)

    @admin.display(description="order")
    def order(self, refund: Refund) -> SafeString | str:
        return link_to(refund.receipt.order)

    @admin.display(description="calls")
    def calls(self, refund: Refund) -> SafeString:
        return calls_about(_order_number(refund), refund.number)

    @admin.display(description="actions")
    def actions_done(self, refund: Refund) -> SafeString:
        return actions_on(_order_number(refund), refund.number)


def _order_number(refund: Refund) -> str:
    return refund.receipt.order.number if refund.receipt.order else ""
