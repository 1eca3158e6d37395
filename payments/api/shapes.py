"""The shapes of what the money's doors answer, for the API's description. The answers are made by `fields`."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from orders.described import OrderShape
from orders.statuses import OrderStatus
from payments.channels.base import Scene
from payments.models import Refund
from payments.statuses import PaymentStatus, RefundStatus
from shop.money import CURRENCIES

TEXT = {"type": "string"}


def _action(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", *fields],
        "properties": {"type": {"const": kind}, **fields},
    }


ACTION = {
    "oneOf": [
        _action("qr", content=TEXT),
        _action("redirect", url=TEXT),
        _action("form", url=TEXT, fields={"type": "object", "additionalProperties": TEXT}),
        _action("sdk", params={"type": "object"}),
        _action("voucher", barcode=TEXT, digitable_line=TEXT, pdf_url=TEXT, expires_at=TEXT),
        {"type": "null"},
    ]
}


@extend_schema_field(ACTION)
class ActionField(serializers.JSONField):
    """What the shopper does next."""


@extend_schema_serializer(component_name="ListedPayment")
class ListedPaymentShape(serializers.Serializer):
    number = serializers.CharField()
    order = serializers.CharField(help_text=_("the order's number"))
    channel = serializers.CharField()
    scene = serializers.ChoiceField([scene.value for scene in Scene])
    status = serializers.ChoiceField(PaymentStatus.values)
    amount = serializers.IntegerField(help_text=_("minor units"))
    currency = serializers.ChoiceField(CURRENCIES)
    expires_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="Payment")
class PaymentShape(serializers.Serializer):
    number = serializers.CharField()
    order = serializers.CharField(help_text=_("the order's number"))
    channel = serializers.CharField()
    scene = serializers.ChoiceField([scene.value for scene in Scene])
    status = serializers.ChoiceField(PaymentStatus.values)
    amount = serializers.IntegerField(help_text=_("minor units"))
    currency = serializers.ChoiceField(CURRENCIES)
    action = ActionField(help_text=_("what the shopper does next; null when there is nothing to do"))
    expires_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="Refund")
class RefundShape(serializers.Serializer):
    number = serializers.CharField()
    payment = serializers.CharField(allow_null=True, help_text=_("the payment's number"))
    status = serializers.ChoiceField(RefundStatus.values)
    amount = serializers.IntegerField(help_text=_("minor units"))
    currency = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)


@extend_schema_serializer(component_name="ListedRefund")
class ListedRefundShape(RefundShape):
    kind = serializers.ChoiceField(Refund.Kind.values)
    created_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="OrderContact")
class ContactShape(serializers.Serializer):
    name = serializers.CharField()
    email = serializers.CharField()
    phone = serializers.CharField()
    address = serializers.CharField()


@extend_schema_serializer(component_name="ListedOrder")
class ListedOrderShape(OrderShape):
    version = serializers.IntegerField(help_text=_("raised by every change of the order or its payments"))
    created_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="WholeOrder")
class WholeOrderShape(ListedOrderShape):
    contact = ContactShape(
        required=False, help_text=_("for a key with orders:read and for staff: whom it is for")
    )
    payments = PaymentShape(many=True, required=False, help_text=_("for whoever may see them"))
    refunds = RefundShape(many=True, required=False, help_text=_("for whoever may see them"))


@extend_schema_serializer(component_name="Status")
class StatusShape(serializers.Serializer):
    number = serializers.CharField()
    status = serializers.ChoiceField(OrderStatus.values)
    payment_status = serializers.ChoiceField(PaymentStatus.values, allow_null=True)
    version = serializers.IntegerField()


def page_of(shape: type[serializers.Serializer]) -> Any:
    """A page of a list."""

    class Page(serializers.Serializer):
        results = shape(many=True)
        next = serializers.URLField(allow_null=True, help_text=_("the next page"))

    return extend_schema_serializer(component_name=f"PageOf{shape.__name__.removesuffix('Shape')}")(Page)
