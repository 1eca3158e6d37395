"""Staff read payments, receipts, refunds, callbacks and cases here, and decide about refunds and cases. Nothing can be
edited.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments.cases import MAX_RESOLUTION, resolve_case, take_case
from payments.errors import CaseIsResolved, CaseIsTaken, CaseStaysOpen, OwnApproval, RefundIsDecided
from payments.models import Callback, Case, Payment, Receipt, Refund
from payments.refunding import approve_refund, reject_refund
from shop.admin import ReadOnlyAdmin, ReadOnlyInline, money_cell, mood_word


class MoneyAdmin(ReadOnlyAdmin):
    """Rows with a status word and an amount."""

    class Media:
        css = {"all": ("admin.css",)}

    @admin.display(description="status", ordering="status")
    def status_word(self, row: Any) -> SafeString:
        return mood_word(row.status, row.get_status_display())


class ReceiptInline(ReadOnlyInline):
    model = Receipt
    fields = ("channel_number", "receipt_class", "amount", "currency", "source", "paid_at")


class CallbackInline(ReadOnlyInline):
    model = Callback
    fields = ("kind", "message_id", "received_at", "taken_at")


@admin.register(Payment)
class PaymentAdmin(MoneyAdmin):
    list_display = (
        "number",
        "order",
        "channel",
        "scene",
        "status_word",
        "money",
        "superseded_at",
        "created_at",
    )
    list_filter = ("status", "channel", "created_at")
    search_fields = ("=number", "=channel_number", "=order__number")
    list_select_related = ("order",)
    inlines = (ReceiptInline, CallbackInline)

    @admin.display(description="amount", ordering="amount")
    def money(self, payment: Payment) -> SafeString:
        return money_cell(payment.amount, payment.currency)


@admin.register(Receipt)
class ReceiptAdmin(MoneyAdmin):
    list_display = (
        "channel",
        "channel_number",
        "class_word",
        "money",
        "order",
        "payment",
        "source",
        "paid_at",
    )
    list_filter = ("receipt_class", "channel", "source")
    search_fields = ("=channel_number", "=number")
    list_select_related = ("order", "payment")

    @admin.display(description="class", ordering="receipt_class")
    def class_word(self, receipt: Receipt) -> SafeString:
        return mood_word(receipt.receipt_class, receipt.receipt_class)

    @admin.display(description="amount", ordering="amount")
    def money(self, receipt: Receipt) -> SafeString:
        return money_cell(receipt.amount, receipt.currency)


@admin.register(Refund)
class RefundAdmin(MoneyAdmin):
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
    search_fields = ("=number", "=channel_number")
    list_select_related = ("receipt",)
    actions = ("approve", "reject")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_refund")

    @admin.action(permissions=["decide"], description="Approve: send the money back")
    def approve(self, request: HttpRequest, refunds: QuerySet[Refund]) -> None:
        self._decide(request, refunds, lambda number, actor: approve_refund(number, actor=actor))

    @admin.action(permissions=["decide"], description="Reject: keep the money")
    def reject(self, request: HttpRequest, refunds: QuerySet[Refund]) -> None:
        self._decide(
            request, refunds, lambda number, actor: reject_refund(number, actor=actor, reason="in the admin")
        )

    def _decide(
        self, request: HttpRequest, refunds: QuerySet[Refund], decide: Callable[[str, str], Refund]
    ) -> None:
        for number in refunds.values_list("number", flat=True):
            try:
                refund = decide(number, request.user.get_username())
            except (OwnApproval, RefundIsDecided) as error:
                self.message_user(request, f"{number}: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{number} is {refund.status}.", messages.SUCCESS)

    @admin.display(description="amount", ordering="amount")
    def money(self, refund: Refund) -> SafeString:
        return money_cell(refund.amount, refund.receipt.currency)


@admin.register(Callback)
class CallbackAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "channel", "kind", "number", "taken_at")
    list_filter = ("channel", "kind")
    search_fields = ("=number", "=message_id")
    fields = (
        "channel",
        "message_id",
        "kind",
        "number",
        "payment",
        "received_at",
        "taken_at",
        "raw",
        "headers",
    )

    @admin.display(description="body, as it came")
    def raw(self, callback: Callback) -> SafeString:
        return format_html("<pre>{}</pre>", bytes(callback.body).decode("utf-8", "replace"))


class CaseActionForm(ActionForm):
    """What is to be done with the chosen cases, and how they were resolved."""

    resolution = forms.CharField(
        required=False,
        label="How:",
        widget=forms.TextInput(attrs={"maxlength": MAX_RESOLUTION, "placeholder": "needed to resolve"}),
    )


@admin.register(Case)
class CaseAdmin(ReadOnlyAdmin):
    list_display = ("kind", "subject", "order", "owner", "opened_at", "deadline", "resolved_at", "resolution")
    list_filter = ("kind", "resolved_at", "owner")
    search_fields = ("=subject", "=order__number")
    list_select_related = ("order", "owner")
    action_form = CaseActionForm
    actions = ("take", "resolve")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_case")

    @admin.action(permissions=["decide"], description="Take: I look after it")
    def take(self, request: HttpRequest, cases: QuerySet[Case]) -> None:
        self._decide(request, cases, take_case, "is yours.")

    @admin.action(permissions=["decide"], description="Resolve: it is answered")
    def resolve(self, request: HttpRequest, cases: QuerySet[Case]) -> None:
        resolve = partial(resolve_case, resolution=request.POST.get("resolution", ""))
        self._decide(request, cases, resolve, "is resolved.")

    def _decide(
        self, request: HttpRequest, cases: QuerySet[Case], decide: Callable[..., Case], done: str
    ) -> None:
        for case in cases:
            try:
                decide(case.pk, actor=cast("User", request.user))
            except (CaseIsTaken, CaseIsResolved, CaseStaysOpen, ValueError) as error:
                self.message_user(request, f"{case}: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{case} {done}", messages.SUCCESS)
