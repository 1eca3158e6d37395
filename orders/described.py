"""The doors of the goods as the API's description tells of them: see `shop.openapi`."""

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from orders import api
from orders.statuses import OrderStatus
from shop.money import CURRENCIES
from shop.openapi import IDEMPOTENCY_KEY, LINK, REPLAYED, Answer, describe, in_query

TAG = "orders"
ITEM = {"sku": "longjing-tea", "name": "Longjing tea", "quantity": 1, "unit_price": 12900}
ORDER = {
    "number": "N7Q2M4X8K1V0R5TB",
    "status": "UNPAID",
    "amount": 12900,
    "currency": "CNY",
    "items": [ITEM],
    "expires_at": "2026-11-22T12:30:00.000000+00:00",
    "pay_url": "https://shop.example/orders/N7Q2M4X8K1V0R5TB/pay/",
}


@extend_schema_serializer(component_name="Product")
class ProductShape(serializers.Serializer):
    sku = serializers.CharField()
    name = serializers.CharField()
    price = serializers.IntegerField(help_text=_("minor units"))
    currency = serializers.ChoiceField(CURRENCIES)
    stock = serializers.IntegerField(help_text=_("how many may still be ordered"))


@extend_schema_serializer(component_name="OrderedItem")
class ItemShape(serializers.Serializer):
    sku = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.IntegerField(help_text=_("minor units"))


@extend_schema_serializer(component_name="Order")
class OrderShape(serializers.Serializer):
    number = serializers.CharField()
    status = serializers.ChoiceField(OrderStatus.values)
    amount = serializers.IntegerField(help_text=_("minor units"))
    currency = serializers.ChoiceField(CURRENCIES)
    items = ItemShape(many=True)
    expires_at = serializers.DateTimeField(help_text=_("until when it waits for its money"))
    pay_url = serializers.URLField(help_text=_("the page where it is paid, for whoever may see it"))


@extend_schema_serializer(component_name="PlacedOrder")
class PlacedShape(OrderShape):
    token = serializers.CharField(
        required=False,
        help_text=_("the shopper's; missing from a replay after the order's link was made anew"),
    )


def describe_doors() -> None:
    """Called once the doors are all there."""
    describe(
        api.ProductsView,
        "get",
        name="listProducts",
        tag="products",
        summary=_("What is sold"),
        text=_("50 a page, in an order that stays."),
        who=("anybody",),
        takes=[in_query("page", {"type": "integer", "minimum": 1, "maximum": 99999}, _("From 1."), 1)],
        answers={
            200: Answer(
                shape=ProductShape(many=True),
                means=_("The products."),
                example={
                    **{k: ITEM[k] for k in ("sku", "name")},
                    "price": 12900,
                    "currency": "CNY",
                    "stock": 10,
                },
                headers=[LINK],
            )
        },
    )
    describe(
        api.OrdersView,
        "post",
        name="placeOrder",
        tag=TAG,
        summary=_("Place an order"),
        text=_("Its goods are kept until `expires_at`. Products of one currency only."),
        who=("anybody", "session", "orders:write"),
        body=api.PlaceOrderSerializer,
        body_example={
            "items": [{"sku": "longjing-tea", "quantity": 1}],
            "contact": {
                "name": "Anna Lin",
                "email": "anna@example.com",
                "phone": "13800000000",
                "address": "1 Garden Road, Hangzhou",
            },
        },
        takes=[IDEMPOTENCY_KEY],
        answers={
            201: Answer(
                shape=PlacedShape,
                means=_("Placed, now or by an earlier request with this key."),
                example=ORDER | {"token": "5f0c1d…"},
                headers=[REPLAYED],
            )
        },
        problems=("mixed_currency", "duplicate_order", "out_of_stock", "in_progress", "idempotency_mismatch"),
    )
