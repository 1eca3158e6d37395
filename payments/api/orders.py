"""`orders/{number}`: the order with what was paid for it, and giving it up."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from orders.access import is_shopper
from orders.api import find_order_for, find_own_order, listed_fields, order_fields
from orders.models import Order
from payments.api.fields import read_fields, refund_fields
from payments.ending import cancel_order
from payments.models import Refund
from shop.api import read_nothing
from shop.doors import Door
from shop.etags import answer_tagged
from shop.keyring import Scope
from shop.keys import Asker, asker_of


class OrderView(Door):
    """`GET orders/{number}`: the order; its payments and refunds for whoever may see those, too."""

    def get(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_order_for(asker, number)
        fields = _whole_fields(order, asker)
        return answer_tagged(request._request, fields, version=fields["version"])


def _whole_fields(order: Order, asker: Asker) -> dict[str, Any]:
    """The order as the statement that reads its payments sees it: since it was found its money may have arrived."""
    is_own = is_shopper(order, token=asker.token, session=asker.session)
    sees_payments = is_own or asker.may(Scope.PAYMENTS_READ)
    payments = list(order.payments.select_related("order")) if sees_payments else []
    order = payments[0].order if payments else order
    fields = listed_fields(order)
    if asker.may(Scope.ORDERS_READ):
        fields["contact"] = {name: getattr(order, name) for name in ("name", "email", "phone", "address")}
    if sees_payments:
        fields["payments"] = [read_fields(payment) for payment in payments]
    if is_own or asker.may(Scope.REFUNDS_READ):
        refunds = Refund.objects.filter(receipt__order=order).select_related("receipt__payment")
        fields["refunds"] = [refund_fields(refund) for refund in refunds]
    return fields


class CancelView(Door):
    """`POST orders/{number}/cancel`: the shopper gives up."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_own_order(asker, number, Scope.ORDERS_WRITE)
        read_nothing(request)
        cancel_order(order.number, source=asker.source, actor=asker.actor)
        order.refresh_from_db()
        return Response(order_fields(order))
