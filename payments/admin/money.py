"""Payments, receipts and what somebody proposes to settle: to be read, with what may be done about each."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.deeds import WithDeeds
from payments.admin.exports import ExportedAdmin
from payments.admin.lists import BigListAdmin
from payments.admin.tables import actions_on, calls_about, link_to, moment, table
from payments.models import Callback, Payment, Proposal, Receipt, Refund
from payments.moves import refundable_minor
from shop.admin import ReadOnlyInline, money_cell, mood_word
from shop.money import for_people


class MoneyAdmin(WithDeeds, BigListAdmin):
    """Rows with a status word and an amount."""

    @admin.display(description=_("status"))
    def status_word(self, row: Any) -> SafeString:
        return mood_word(row.status, row.get_status_display())

    @admin.display(description=_("amount"))
    def money(self, row: Any) -> SafeString:
        return money_cell(row.amount, row.currency)


class ReceiptInline(ReadOnlyInline):
    model = Receipt
    fields = ("channel_number", "receipt_class", "money", "source", "paid_at")
    readonly_fields = ("money",)

    @admin.display(description=_("amount"))
    def money(self, receipt: Receipt) -> SafeString:
        return money_cell(receipt.amount, receipt.currency)


class CallbackInline(ReadOnlyInline):
    model = Callback
    fields = ("kind", "message_id", "received_at", "taken_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Callback]:
        return super().get_queryset(request).defer("body", "headers", "report")


class ProposalInline(ReadOnlyInline):
    model = Proposal
    fields = ("number", "evidence", "channel_number", "asked_by", "decided_by", "status")


@admin.register(Payment)
class PaymentAdmin(ExportedAdmin, MoneyAdmin):
    list_display = (
        "number",
        "order",
        "channel",
        "status_word",
        "money",
        "created_at",
    )
    list_filter = ("status", "channel", "created_at")
    found_by = ("number", "channel_number", "order__number")
    list_select_related = ("order",)
    fieldsets = (
        (None, {"fields": ("number", "order", "channel", "scene", "status_word", "money")}),
        (
            _("At the channel"),
            {
                "fields": (
                    "channel_number",
                    "handle",
                    "created_at",
                    "expires_at",
                    "dead_at",
                    "superseded_at",
                    "queried_at",
                    "close_unanswered_since",
                    "capture_asked_at",
                )
            },
        ),
        (_("Refunds"), {"fields": ("refunds",)}),
        (_("Calls to the channel"), {"fields": ("calls",)}),
        (_("Done by staff"), {"fields": ("actions_done",)}),
    )
    inlines = (ReceiptInline, CallbackInline, ProposalInline)

    @admin.display(description=_("refunds"))
    def refunds(self, payment: Payment) -> SafeString:
        return _refunds(Refund.objects.filter(receipt__payment=payment))

    @admin.display(description=_("calls"))
    def calls(self, payment: Payment) -> SafeString:
        return calls_about(payment.order.number, payment.number)

    @admin.display(description=_("actions"))
    def actions_done(self, payment: Payment) -> SafeString:
        return actions_on(payment.order.number, payment.number)


@admin.register(Receipt)
class ReceiptAdmin(MoneyAdmin):
    list_display = (
        "channel_number",
        "channel",
        "class_word",
        "money",
        "order",
        "payment",
        "source",
        "paid_at",
    )
    list_filter = ("receipt_class", "channel", "source")
    found_by = ("channel_number", "payment__number", "order__number")
    list_select_related = ("order", "payment")
    fields = (
        "channel",
        "channel_number",
        "number",
        "class_word",
        "money",
        "left",
        "order",
        "payment",
        "source",
        "paid_at",
        "created_at",
        "mailed_at",
        "refunds",
        "actions_done",
    )

    @admin.display(description=_("class"))
    def class_word(self, receipt: Receipt) -> SafeString:
        return mood_word(receipt.receipt_class, receipt.get_receipt_class_display())

    @admin.display(description=_("may still go back"))
    def left(self, receipt: Receipt) -> SafeString:
        return money_cell(refundable_minor(receipt), receipt.currency)

    @admin.display(description=_("refunds"))
    def refunds(self, receipt: Receipt) -> SafeString:
        return _refunds(receipt.refunds.all())

    @admin.display(description=_("done by staff"))
    def actions_done(self, receipt: Receipt) -> SafeString:
        return actions_on(receipt.order.number if receipt.order else "", receipt.channel_number)


@admin.register(Proposal)
class ProposalAdmin(MoneyAdmin):
    list_display = (
        "number",
        "payment",
        "status_word",
        "money",
        "evidence",
        "asked_by",
        "decided_by",
        "asked_at",
    )
    list_filter = ("status", "evidence")
    found_by = ("number", "payment__number", "payment__order__number")
    list_select_related = ("payment",)
    fields = (
        "number",
        "order",
        "payment",
        "status_word",
        "money",
        "evidence",
        "source",
        "channel_number",
        "paid_at",
        "reason",
        "asked_by",
        "asked_at",
        "decided_by",
        "decided_at",
        "result",
        "actions_done",
    )

    @admin.display(description=_("order"))
    def order(self, proposal: Proposal) -> SafeString | str:
        return link_to(proposal.payment.order)

    @admin.display(description=_("done by staff"))
    def actions_done(self, proposal: Proposal) -> SafeString:
        return actions_on(proposal.payment.order.number, proposal.number)


def _refunds(refunds: QuerySet[Refund]) -> SafeString:
    return table(
        (
            gettext("refund"),
            gettext("status"),
            gettext("amount"),
            gettext("asked by"),
            gettext("approved by"),
            gettext("when"),
        ),
        (
            (
                link_to(refund),
                mood_word(refund.status, refund.get_status_display()),
                for_people(refund.amount, refund.receipt.currency),
                refund.asked_by,
                refund.approved_by,
                moment(refund.created_at),
            )
            for refund in refunds.select_related("receipt").order_by("-id")
        ),
    )
