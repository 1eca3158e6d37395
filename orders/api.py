"""API doors of the goods: the catalogue and placing an order."""

from typing import Any

from django.conf import settings
from django.db.models import Prefetch, prefetch_related_objects
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from orders.access import check_shopper, find_order, remember, token_of
from orders.errors import (
    DuplicateOrder,
    InvalidOrder,
    MixedCurrency,
    NotTheShopper,
    OrderNotFound,
    OutOfStock,
)
from orders.models import Order, OrderLine, Product
from orders.placing import MAX_LINES, MAX_QUANTITY, Contact, Item, Placed, place_once, place_order
from orders.statuses import OrderStatus
from shop.api import (
    Flag,
    StrictSerializer,
    Text,
    Whole,
    answer_once,
    describe_error,
    read_key,
)
from shop.doors import Door
from shop.keyring import Scope
from shop.keys import Asker, MissingScope, asker_of, digest, require
from shop.lists import CREATED, answer_page, by, page_url
from shop.money import CURRENCIES
from shop.problems import Problem, answer
from shop.queries import one_of, read_query, whole
from shop.sessions import held_session

PAGE_SIZE = 50
LINES = Prefetch("lines", OrderLine.objects.select_related("product"))
FILTERS = {
    "status": by("status", one_of(OrderStatus.values)),
    "currency": by("currency", one_of(CURRENCIES)),
    **CREATED,
}

describe_error(
    InvalidOrder,
    lambda e: Problem(
        status=400, code="invalid", detail=str(e), errors=[{"field": e.field, "detail": str(e)}]
    ),
)
describe_error(MixedCurrency, lambda e: Problem(status=400, code="mixed_currency", detail=str(e)))
describe_error(
    OutOfStock,
    lambda e: Problem(status=409, code="out_of_stock", detail=str(e), extra={"sku": e.sku, "left": e.left}),
)
describe_error(
    OrderNotFound, lambda e: Problem(status=404, code="not_found", detail=_("There is no such order."))
)
describe_error(NotTheShopper, lambda e: Problem(status=403, code="forbidden", detail=str(e)))


class ItemSerializer(StrictSerializer):
    said = {"quantity": {"minimum": 1, "maximum": MAX_QUANTITY}}

    sku = Text(max_length=40)
    quantity = Whole()


class ContactSerializer(StrictSerializer):
    name = Text(max_length=100)
    email = Text(max_length=254)
    phone = Text(max_length=30)
    address = Text(max_length=300)


class PlaceOrderSerializer(StrictSerializer):
    said = {"items": {"minItems": 1, "maxItems": MAX_LINES}}

    items = ItemSerializer(many=True)
    contact = ContactSerializer()
    again = Flag(default=False, help_text=gettext_lazy("what was ordered a moment ago is wanted once more"))


class ProductSerializer(serializers.ModelSerializer):
    name = serializers.CharField(source="local_name")

    class Meta:
        model = Product
        fields = ("sku", "name", "price", "currency", "stock")


class ProductsView(Door):
    """`GET products`: what is sold, 50 a page; the `Link` header names the next page. Open to everybody, whatever they show."""

    authentication_classes = ()
    query = {"page": whole(least=1, most=99_999)}

    def get(self, request: Request) -> Response:
        page = self.asked.get("page", 1)
        sold = Product.objects.filter(is_sold=True)[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1]
        products = list(sold)
        response = Response(ProductSerializer(products[:PAGE_SIZE], many=True).data)
        if len(products) > PAGE_SIZE:
            following = page_url(request._request, {"page": page + 1})
            response.headers["Link"] = f'<{following}>; rel="next"'
        return response


class OrdersView(Door):
    """`GET orders`: all of them, for systems and staff. `POST orders` items, contact, again: place one, once for each
    Idempotency-Key.
    """

    query = None

    def get_permissions(self) -> list[BasePermission]:
        return [] if self.request.method == "POST" else [require(Scope.ORDERS_READ)()]

    def get(self, request: Request) -> Response:
        orders = Order.objects.prefetch_related(LINES)
        return answer_page(request._request, orders, listed_fields, FILTERS)

    def post(self, request: Request) -> HttpResponse:
        asker = asker_of(request)
        asker.check_scope(Scope.ORDERS_WRITE)
        read_query(request._request)
        wanted = PlaceOrderSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            placed = _place(request, **wanted.validated_data)
        except DuplicateOrder as error:
            return answer(_duplicate(asker, error))
        if _session_of(request):  # a browser that is known; others come back by the token
            with held_session(request._request) as held:
                remember(held, placed.order)
        return answer_once(_placed_fields(placed), status=201, is_replay=placed.is_replay)


def _place(request: Request, items: list[Any], contact: dict[str, str], *, again: bool) -> Placed:
    asker, session = asker_of(request), _session_of(request)
    # Two clients may use the same key; where nobody is known by a key or a session, the body tells them apart.
    key = read_key(request, f"orders:{digest(session)}" if session else asker.scope_of_keys("orders"))
    wanted = [Item(**item) for item in items], Contact(**contact)
    by: dict[str, Any] = {"source": asker.source, "actor": asker.actor}
    if key is None:
        return Placed(place_order(*wanted, again=again, **by), is_replay=False)
    # A system that names its requests places two alike orders only if it means to.
    return place_once(key, *wanted, again=again or asker.key is not None, **by)


def _session_of(request: Request) -> str:
    """The key of the browser's session; empty where nobody is known by one, or something else was shown."""
    session = asker_of(request).session
    return "" if session is None else session.session_key or ""


def _placed_fields(placed: Placed) -> dict[str, Any]:
    """The order with its token; a repeat does not give out the token of a link that was made anew since."""
    order = placed.order
    is_renewed = placed.is_replay and order.link_since != order.created_at
    return order_fields(order) if is_renewed else placed_fields(order)


def find_order_for(asker: Asker, number: str, scope: Scope = Scope.ORDERS_READ) -> Order:
    """The order, for its shopper, and for who may do `scope` to every order. Raises MissingScope, OrderNotFound."""
    asker.check_scope(scope)
    return find_order(number, token=asker.token, session=asker.session, sees_all=asker.may(scope))


def find_own_order(asker: Asker, number: str, scope: Scope) -> Order:
    """The order, for its shopper or a system in the shopper's place, to do something with it.

    Raises MissingScope, OrderNotFound; NotTheShopper for staff, who see it and do nothing.
    """
    if asker.key is not None:
        return find_order_for(asker, number, scope)
    order = find_order_for(asker, number)
    check_shopper(order, token=asker.token, session=asker.session)
    return order


def _duplicate(asker: Asker, error: DuplicateOrder) -> Problem:
    """The refusal, which names the first order to whoever may see it and to nobody else."""
    try:
        first = find_order_for(asker, error.number)
    except (OrderNotFound, MissingScope):
        extra = {}
    else:
        extra = {"order": first.number, "pay_url": pay_url(first)}
    return Problem(status=409, code="duplicate_order", detail=str(error), extra=extra)


def order_fields(order: Order) -> dict[str, Any]:
    """The order as the API shows it: amount in minor units, times with offset."""
    prefetch_related_objects([order], LINES)
    return {
        "number": order.number,
        "status": order.status,
        "amount": order.amount,
        "currency": order.currency,
        "items": [
            {
                "sku": line.product.sku,
                "name": line.local_name,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
            }
            for line in order.lines.all()
        ],
        "expires_at": order.expires_at.isoformat(),
        "pay_url": pay_url(order),
    }


def listed_fields(order: Order) -> dict[str, Any]:
    """The order as it is read later, with what lists ask for and what tells whether it has changed."""
    return order_fields(order) | {"version": order.version, "created_at": order.created_at.isoformat()}


def pay_url(order: Order) -> str:
    """The page where the order is paid, for whoever may see it."""
    return f"{settings.PUBLIC_URL}/orders/{order.number}/pay/"


def placed_fields(order: Order) -> dict[str, Any]:
    """The same with the token, which only who placed the order gets."""
    return {**order_fields(order), "token": token_of(order)}
