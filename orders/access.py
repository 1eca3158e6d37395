"""Who may see an order: its shopper, which is whoever holds its token or the browser session that placed it, and staff with
the permission. Staff only look: what a shopper does, nobody does in their place. Asked in one place, here.

The number alone gives nothing; a foreign order and a missing one look the same.
"""

import base64
import hashlib
import hmac
from typing import Any

from django.conf import settings

from orders.errors import NotTheShopper, OrderNotFound
from orders.models import Order
from shop.numbers import is_number

SESSION_KEY = "orders"
SEE_EVERY_ORDER = "orders.view_order"
# A session remembers this many of its newest orders; older ones are reached by their link.
REMEMBERED = 50


def token_of(order: Order) -> str:
    """The order's bearer token: 160 bits, derived and not stored, so a stolen table gives none away."""
    key = hashlib.sha256(b"order-token:" + settings.SECRET_KEY.encode()).digest()
    seal = hmac.digest(key, f"{order.number}:{order.token_salt}".encode(), "sha256")
    return base64.urlsafe_b64encode(seal[:20]).decode().rstrip("=")


def is_token_of(order: Order, token: str) -> bool:
    """Whether this text is the order's token."""
    return hmac.compare_digest(token.encode(), token_of(order).encode())


def find_order(number: str, *, token: str = "", session: Any = None, user: Any = None) -> Order:
    """The order, for somebody who may see it. Raises OrderNotFound for everybody else.

    Before anything is done with it, see `check_shopper`.
    """
    if not is_number(number):
        raise OrderNotFound(number)
    order = Order.objects.filter(number=number).first()
    if order is None or not (is_shopper(order, token=token, session=session) or _sees_every_order(user)):
        raise OrderNotFound(number)
    return order


def is_shopper(order: Order, *, token: str = "", session: Any = None) -> bool:
    """Whether this is the order's shopper, who may be a member of the staff as well: by the session or by the token."""
    owns_by_session = session is not None and order.number in session.get(SESSION_KEY, [])
    return owns_by_session or (bool(token) and is_token_of(order, token))


def check_shopper(order: Order, *, token: str = "", session: Any = None) -> None:
    """Raises NotTheShopper for whoever may see the order by a permission only."""
    if not is_shopper(order, token=token, session=session):
        raise NotTheShopper(order.number)


def _sees_every_order(user: Any) -> bool:
    """Whether `user`, who may be nobody, is an active member of the staff with the permission."""
    return bool(user and user.is_staff and user.has_perm(SEE_EVERY_ORDER))


def remember(session: Any, order: Order) -> None:
    """Let this browser come back to the order without its token."""
    others = [number for number in session.get(SESSION_KEY, []) if number != order.number]
    session[SESSION_KEY] = [*others, order.number][-REMEMBERED:]
