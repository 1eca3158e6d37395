"""The checkout form, which becomes one order however often it is sent.

The form's token, together with the session, is an idempotency key: the order is placed by that key alone. What the
session then learns about it is a second step, which a crash may skip and the next press makes good.
"""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from orders.access import SESSION_KEY, remember, token_of
from orders.models import Order
from shop.checkout.cart import take_out
from shop.checkout.forms import ContactForm
from shop.idempotency import Key, find_made, key_of
from shop.models import IdempotencyKey
from shop.sessions import held_session

TOKEN_BYTES = 16
FORM_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
# What the form says; pressing another of its buttons does not make it another form.
CONTENT = ("currency", "seen", *ContactForm.base_fields)


def new_form_token() -> str:
    """For one showing of the form."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def form_key(request: HttpRequest) -> Key:
    """The key of the form that was sent; a new one for a token that is not ours. Makes the session if there is none."""
    token = request.POST.get("form_token", "")
    content = json.dumps([request.POST.get(name, "") for name in CONTENT])
    return key_of(_scope(request), token if FORM_TOKEN.fullmatch(token) else new_form_token(), content)


def find_placed(key: Key) -> Order | None:
    """The order that this form has become already, if any. Raises KeyMismatch when the form said something else then."""
    made = find_made(key)
    return Order.objects.get(number=made.subject) if made else None


def keep_order(request: HttpRequest, order: Order) -> None:
    """The second step: the session remembers the order, and its goods leave the cart. Once, and both together."""
    if order.number in request.session.get(SESSION_KEY, []):
        return
    with held_session(request) as session:
        if order.number not in session.get(SESSION_KEY, []):
            remember(session, order)
            take_out(session, dict(order.lines.values_list("product__sku", "quantity")))


def newest_number(request: HttpRequest) -> str:
    """The order that this browser placed last; "" when it knows of none. Reads the session only."""
    placed: list[str] = request.session.get(SESSION_KEY, [])
    return placed[-1] if placed else ""


@dataclass(frozen=True, slots=True)
class Way:
    """An order that a form has met, and the address of its pay page; None for whoever did not place it."""

    number: str
    address: str | None


def find_way(request: HttpRequest, number: str) -> Way:
    """The way to an order that was placed before, if this browser placed it.

    The session may not know it yet, or after a crash never; its forms do.
    """
    address = reverse("pay", kwargs={"number": number})
    if number in request.session.get(SESSION_KEY, []):
        return Way(number, address)
    if not _keys(request).filter(subject=number).exists():
        return Way(number, None)
    return Way(number, f"{address}?token={token_of(Order.objects.get(number=number))}")


def number_of(request: HttpRequest, key: Key) -> str:
    """The number of the order that the form has become, whatever it said then."""
    return _keys(request).values_list("subject", flat=True).get(key=key.key)


def _scope(request: HttpRequest) -> str:
    request.session.keys()  # reads it: until then a cookie whose session is gone looks like a session
    if request.session.session_key is None:
        request.session.create()
    # A digest: whoever reads the table of keys must not be able to take over the session.
    return f"form:{hashlib.sha256(str(request.session.session_key).encode()).hexdigest()[:32]}"


def _keys(request: HttpRequest) -> QuerySet[IdempotencyKey]:
    return IdempotencyKey.objects.filter(scope=_scope(request))
