"""Who may see an order: its shopper, which is whoever holds its token or the browser session that placed it, and staff with
the permission. Staff only look: what a shopper does, nobody does in their place. Asked in one place, here.

The number alone gives nothing; a foreign order and a missing one look the same, and take the same work. The order's link
carries the token. It ends by itself, and a new one revokes it, together with what it has opened; the session that placed the
order stays.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from orders.errors import NotTheShopper, OrderNotFound
from orders.models import Order
from orders.moves import lock_order
from shop.events import Change, record
from shop.models import Source
from shop.numbers import is_number
from shop.transactions import transactional
from shop.writes import update

SESSION_KEY = "orders"
# Orders that this browser has opened by a link: number → digest of its salt, so that they end with it.
OPENED_KEY = "opened"
SEE_EVERY_ORDER = "orders.view_order"
# A session remembers this many of its newest orders; older ones are reached by their link.
REMEMBERED = 50


def token_of(order: Order) -> str:
    """The order's bearer token: 160 bits, derived and not stored, so a stolen table gives none away."""
    return _derive_token(order, settings.SECRET_KEY)


def new_salt() -> str:
    """What makes an order's token another one."""
    return secrets.token_hex(16)


def _derive_token(order: Order, secret: str) -> str:
    key = hashlib.sha256(b"order-token:" + secret.encode()).digest()
    seal = hmac.digest(key, f"{order.number}:{order.token_salt}".encode(), "sha256")
    return base64.urlsafe_b64encode(seal[:20]).decode().rstrip("=")


def is_token_of(order: Order, token: str) -> bool:
    """Whether this text is the order's token, by this SECRET_KEY or one before it, and has not ended."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    same = [hmac.compare_digest(token.encode(), _derive_token(order, key).encode()) for key in keys]
    return any(same) and is_link_alive(order)


def link_ends_at(order: Order) -> datetime:
    """When the token stops to count."""
    return order.link_since + timedelta(days=settings.ORDER_LINK_DAYS)


def is_link_alive(order: Order) -> bool:
    """Whether the order's present token counts. It lives for months: any machine's clock will do."""
    return timezone.now() < link_ends_at(order)


def link_to(order: Order) -> str:
    """The address of the order's page for whoever is given it."""
    return f"{settings.PUBLIC_URL}/orders/{order.number}/?token={token_of(order)}"


@transactional
def renew_link(number: str, *, actor: str = "", source: Source = Source.SHOPPER) -> Order:
    """Make a new token: the links given out before, and what they have opened, count no more. Returns the order with it.

    Locks the order; joins an open transaction or makes its own. Raises OrderNotFound.
    """
    order = lock_order(number)
    update(order, counting="version", token_salt=new_salt(), link_since=order.now)
    record(
        [
            Change(
                subject_kind="link",
                subject=order.number,
                order_number=order.number,
                from_status="",
                to_status="RENEWED",
                source=source,
                actor=actor,
            )
        ]
    )
    return order


def find_order(
    number: str, *, token: str = "", session: Any = None, user: Any = None, sees_all: bool = False
) -> Order:
    """The order, for somebody who may see it. Raises OrderNotFound for everybody else.

    `sees_all`: whoever asks has been let in to every order. Before anything is done with it, see `check_shopper`.
    """
    if not is_number(number):
        raise OrderNotFound(number)
    found = Order.objects.filter(number=number).first()
    return check_seen(
        found, number, token=token, session=session, sees_all=sees_all or _sees_every_order(user)
    )


def check_seen(
    found: Order | None, number: str, *, token: str = "", session: Any = None, sees_all: bool = False
) -> Order:
    """The order that was found, if it is shown to this asker. Raises OrderNotFound; a missing one takes the same look, so
    that no clock tells which it is.
    """
    may_see = is_shopper(found or Order(number=number), token=token, session=session) or sees_all
    if found is None or not may_see:
        raise OrderNotFound(number)
    return found


def is_shopper(order: Order, *, token: str = "", session: Any = None) -> bool:
    """Whether this is the order's shopper, who may be a member of the staff as well: by the session or by the token."""
    return (session is not None and _is_known(session, order)) or (bool(token) and is_token_of(order, token))


def _is_known(session: Any, order: Order) -> bool:
    """Whether this browser has placed the order, or opened it by a link that still counts."""
    if order.number in session.get(SESSION_KEY, []):
        return True
    opened_by = session.get(OPENED_KEY, {}).get(order.number)
    return opened_by == _digest(order) and is_link_alive(order)


def check_shopper(order: Order, *, token: str = "", session: Any = None) -> None:
    """Raises NotTheShopper for whoever may see the order by a permission only."""
    if not is_shopper(order, token=token, session=session):
        raise NotTheShopper(order.number)


def _sees_every_order(user: Any) -> bool:
    """Whether `user`, who may be nobody, is an active member of the staff with the permission."""
    return bool(user and user.is_staff and user.has_perm(SEE_EVERY_ORDER))


def remember(session: Any, order: Order) -> None:
    """Let this browser, which placed the order, come back to it without its token."""
    others = [number for number in session.get(SESSION_KEY, []) if number != order.number]
    session[SESSION_KEY] = [*others, order.number][-REMEMBERED:]


def remember_link(session: Any, order: Order) -> None:
    """Let this browser, which holds the order's link, come back without it, for as long as the link counts."""
    others = {number: held for number, held in session.get(OPENED_KEY, {}).items() if number != order.number}
    opened = [*others.items(), (order.number, _digest(order))]
    session[OPENED_KEY] = dict(opened[-REMEMBERED:])


def _digest(order: Order) -> str:
    """Of what makes this token another one than the last."""
    return hashlib.sha256(f"{order.number}:{order.token_salt}".encode()).hexdigest()[:32]
