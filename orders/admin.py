"""Staff read orders here, their story first. What is done about them goes through the flows."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from orders.models import Order, OrderLine, Product
from shop.admin import ReadOnlyAdmin, ReadOnlyInline, money_cell, mood_word
from shop.models import Event


class OrderLineInline(ReadOnlyInline):
    model = OrderLine
    fields = ("name", "quantity", "price", "total")
    readonly_fields = fields
    show_change_link = False

    @admin.display(description="price")
    def price(self, line: OrderLine) -> SafeString:
        return money_cell(line.unit_price, line.order.currency)

    @admin.display(description="amount")
    def total(self, line: OrderLine) -> SafeString:
        return money_cell(line.amount, line.order.currency)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ("number", "status_word", "money", "name", "created_at", "expires_at")
    list_filter = ("status", "currency", "created_at")
    search_fields = ("=number", "=email", "=phone")
    fieldsets = (
        (None, {"fields": ("story",)}),
        ("Order", {"fields": ("number", "status_word", "money", "expires_at", "close_reason", "closed_at")}),
        ("For", {"fields": ("name", "email", "phone", "address")}),
    )
    inlines = (OrderLineInline,)

    class Media:
        css = {"all": ("admin.css",)}

    @admin.display(description="status", ordering="status")
    def status_word(self, order: Order) -> SafeString:
        return mood_word(order.status, order.get_status_display())

    @admin.display(description="amount", ordering="amount")
    def money(self, order: Order) -> SafeString:
        return money_cell(order.amount, order.currency)

    @admin.display(description="story")
    def story(self, order: Order) -> SafeString:
        steps = format_html_join(
            "",
            '<li><time>{}</time> <b>{}</b> {} <span class="quiet">{} {}</span></li>',
            (
                (
                    f"{event.at:%Y-%m-%d %H:%M:%S}",
                    event.subject_kind,
                    mood_word(event.to_status, event.to_status),
                    f"told by {event.source.lower()}" if event.source else "",
                    event.subject if event.subject_kind != "order" else "",
                )
                for event in Event.objects.filter(order_number=order.number).order_by("id")
            ),
        )
        return format_html('<ol class="story">{}</ol>', steps)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Stock is typed once, for a new product: a later whole-row save would overwrite what was sold meanwhile."""

    list_display = ("sku", "name", "money", "stock", "is_sold")
    list_filter = ("currency", "is_sold")
    search_fields = ("=sku", "name")

    class Media:
        css = {"all": ("admin.css",)}

    @admin.display(description="price", ordering="price")
    def money(self, product: Product) -> SafeString:
        return money_cell(product.price, product.currency)

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        return ("stock", "supplied") if obj else ("supplied",)

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:  # noqa: FBT001
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            obj.supplied = obj.stock
            super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
