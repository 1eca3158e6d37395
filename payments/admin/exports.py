"""Lists that can be taken away as CSV: what of a row is exported, and the button. Each export leaves its trace in both logs.

A page becomes exported by the base class `ExportedAdmin`, and its model by a line in `EXPORTS`.
"""

from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from orders.models import Order
from payments.deeds.records import record_action
from payments.models import Difference, Payment, Refund
from shop.exports import Column, amount, answer_csv


@dataclass(frozen=True, slots=True)
class Export:
    """The file's name, its columns, and what is read together with each row."""

    name: str
    columns: tuple[Column, ...]
    related: tuple[str, ...] = ()


EXPORTS: dict[type[Model], Export] = {
    Order: Export(
        "orders",
        (
            Column("number", lambda order: order.number),
            Column("status", lambda order: order.status),
            Column("amount", lambda order: amount(order.amount, order.currency)),
            Column("currency", lambda order: order.currency),
            Column("name", lambda order: order.name),
            Column("email", lambda order: order.email),
            Column("phone", lambda order: order.phone),
            Column("placed at", lambda order: order.created_at),
            Column("expires at", lambda order: order.expires_at),
            Column("closed at", lambda order: order.closed_at),
            Column("close reason", lambda order: order.close_reason),
        ),
    ),
    Payment: Export(
        "payments",
        (
            Column("number", lambda payment: payment.number),
            Column("order", lambda payment: payment.order.number),
            Column("channel", lambda payment: payment.channel),
            Column("scene", lambda payment: payment.scene),
            Column("status", lambda payment: payment.status),
            Column("amount", lambda payment: amount(payment.amount, payment.currency)),
            Column("currency", lambda payment: payment.currency),
            Column("channel number", lambda payment: payment.channel_number),
            Column("begun at", lambda payment: payment.created_at),
            Column("superseded at", lambda payment: payment.superseded_at),
        ),
        related=("order",),
    ),
    Refund: Export(
        "refunds",
        (
            Column("number", lambda refund: refund.number),
            Column("order", lambda refund: refund.receipt.order and refund.receipt.order.number),
            Column("payment", lambda refund: refund.receipt.payment and refund.receipt.payment.number),
            Column("channel", lambda refund: refund.channel),
            Column("trade", lambda refund: refund.receipt.channel_number),
            Column("kind", lambda refund: refund.kind),
            Column("status", lambda refund: refund.status),
            Column("amount", lambda refund: amount(refund.amount, refund.receipt.currency)),
            Column("currency", lambda refund: refund.receipt.currency),
            Column("reason", lambda refund: refund.reason),
            Column("asked by", lambda refund: refund.asked_by),
            Column("approved by", lambda refund: refund.approved_by),
            Column("channel number", lambda refund: refund.channel_number),
            Column("asked at", lambda refund: refund.created_at),
            Column("sent at", lambda refund: refund.sent_at),
            Column("ended at", lambda refund: refund.ended_at),
        ),
        related=("receipt__order", "receipt__payment"),
    ),
    Difference: Export(
        "differences",
        (
            Column("channel", lambda found: found.channel),
            Column("day", lambda found: found.day),
            Column("kind", lambda found: found.kind),
            Column("severity", lambda found: Difference.Severity(found.severity).name.lower()),
            Column("subject", lambda found: found.subject),
            Column("number", lambda found: found.number),
            Column("currency", lambda found: found.currency),
            Column("theirs", lambda found: amount(found.theirs, found.currency)),
            Column("ours", lambda found: amount(found.ours, found.currency)),
            Column("note", lambda found: found.note),
            Column("state", lambda found: found.state),
            Column("found at", lambda found: found.found_at),
            Column("ended at", lambda found: found.ended_at),
        ),
    ),
}


class ExportedAdmin(admin.ModelAdmin):
    """A list with the button "Export CSV", for who may see the list and export rows. The file is in English: programs read it."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("payments.export_rows")

    def get_urls(self) -> list[URLPattern]:
        url = path("export/", self.admin_site.admin_view(self.export), name=self._export_name)
        return [url, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if self.has_export_permission(request):
            query = request.GET.urlencode()
            context["export_url"] = reverse(f"admin:{self._export_name}") + (f"?{query}" if query else "")
        return super().changelist_view(request, context)

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """All rows that the list shows with these filters and this search, on however many pages."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        export = EXPORTS[self.model]
        # Before the first byte: an export that is broken off has taken rows away, too.
        user, result = cast("User", request.user), f"rows: {rows.count()}"
        record_action(user, "export", self.model, subject=self.opts.label_lower, result=result)
        return answer_csv(request, rows.select_related(*export.related), export.columns, name=export.name)

    @property
    def _export_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_export"
