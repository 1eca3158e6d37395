"""Products, which staff may edit. Orders have their page on the floor of payments: their story is about money."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from orders.models import Product
from shop.admin import money_cell


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Stock is typed once, for a new product: a later whole-row save would overwrite what was sold meanwhile."""

    list_display = ("sku", "name", "money", "stock", "is_sold")
    list_filter = ("currency", "is_sold")
    search_fields = ("=sku", "name")

    @admin.display(description=_("price"), ordering="price")
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
