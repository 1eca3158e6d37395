"""`payments/…`, and applying for payment of an order."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from orders.api import find_own_order
from payments.api.fields import listed_payment_fields, payment_fields, read_fields
from payments.api.finding import find_own_payment, find_payment_for
from payments.applying import apply_for_payment
from payments.channels.base import Scene
from payments.channels.registry import list_choices, payer_at
from payments.models import Payment
from payments.querying import query_by_person
from payments.statuses import PaymentStatus
from shop.api import Flag, StrictSerializer, Text, answer_once, read_key, read_nothing
from shop.doors import Door
from shop.etags import answer_tagged
from shop.keyring import Scope
from shop.keys import asker_of, require
from shop.lists import CREATED, answer_page, by
from shop.queries import number, one_of
from shop.visitors import read_address

FILTERS = {
    "status": by("status", one_of(PaymentStatus.values[1:])),
    "channel": by("channel", one_of([name for name, _title in list_choices()])),
    "order": by("order__number", number),
    **CREATED,
}


class AddressSerializer(StrictSerializer):
    line1 = Text(max_length=200)
    city = Text(max_length=100)
    state = Text(max_length=100)
    postal_code = Text(max_length=20)
    country = Text(max_length=2)


class PayerSerializer(StrictSerializer):
    ip = serializers.IPAddressField(
        required=False, help_text=gettext_lazy("where the shopper is; only a system tells it")
    )
    tax_id = Text(max_length=20, required=False)
    address = AddressSerializer(required=False)


class ApplySerializer(StrictSerializer):
    said = {
        "channel": {"enum": [name for name, _title in list_choices()]},
        "scene": {"enum": [scene.value for scene in Scene]},
    }

    channel = Text(max_length=10)
    scene = Text(max_length=10)
    payer = PayerSerializer(
        required=False, help_text=gettext_lazy("what a channel wants to know of the shopper")
    )
    supersede = Flag(
        default=False, help_text=gettext_lazy("go on where the channel of an earlier attempt does not answer")
    )


class PaymentsView(Door):
    """`GET payments`: all of them, for systems and staff."""

    permission_classes = (require(Scope.PAYMENTS_READ),)
    query = None

    def get(self, request: Request) -> Response:
        payments = Payment.objects.select_related("order")
        return answer_page(request._request, payments, listed_payment_fields, FILTERS)


class ApplyView(Door):
    """`POST orders/{number}/payments`: apply for payment. 201 new, 200 the live one again."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_own_order(asker, number, Scope.PAYMENTS_WRITE)
        wanted = ApplySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        data = wanted.validated_data
        applied = apply_for_payment(
            order.number,
            channel=data["channel"],
            scene=data["scene"],
            payer=_payer_of(request, data),
            may_supersede=data["supersede"],
            version=order.version,
            key=read_key(request, asker.scope_of_keys(f"payments:{order.number}")),
            source=asker.source,
            actor=asker.actor,
        )
        return answer_once(
            payment_fields(applied.payment),
            status=201 if applied.is_new else 200,
            is_replay=applied.is_replay,
        )


def _payer_of(request: Request, data: dict[str, Any]) -> dict[str, Any]:
    """What is known of the shopper. Where they are is seen here; a system is somewhere else, and tells it."""
    told = dict(data.get("payer", {}))
    ip = told.pop("ip", "")
    if asker_of(request).key is None:
        if ip:
            raise serializers.ValidationError(
                {"payer": {"ip": [_("Only a system with an API key tells this.")]}}
            )
        ip = read_address(request._request)
    return payer_at(data["channel"], data["scene"], ip) | told


class PaymentView(Door):
    """`GET payments/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        payment = find_payment_for(asker_of(request), number)
        return answer_tagged(request._request, read_fields(payment), version=payment.order.version)


class QueryView(Door):
    """`POST payments/{number}/query`: ask the channel now."""

    def post(self, request: Request, number: str) -> Response:
        payment = find_own_payment(asker_of(request), number)
        read_nothing(request)
        query_by_person(payment.number)
        # With its order by one statement: read one by one, an attempt might be open whose order is paid.
        return Response(read_fields(Payment.objects.select_related("order").get(pk=payment.pk)))
