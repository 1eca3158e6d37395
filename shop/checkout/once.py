"""A checkout form places one order, however often and however fast it is sent.

The form carries a token, and the session remembers which order each token became. The session's row is the lock: a
second press waits for the first one and then finds its order.
"""

import secrets
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest

from orders.access import remember
from orders.models import Order

PLACED_KEY = "placed"
# A session remembers the tokens of this many forms.
REMEMBERED = 20
TOKEN_BYTES = 16


def new_form_token() -> str:
    """For one showing of the form."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def placed_by(request: HttpRequest, form_token: str) -> str | None:
    """The number of the order that this form has become already."""
    number: str | None = request.session.get(PLACED_KEY, {}).get(form_token)
    return number


def place_once(request: HttpRequest, form_token: str, place: Callable[[], Order]) -> str:
    """The number of the order that the form becomes: `place()` is called unless that happened before.

    Locks the session's row, before any row of an order. Passes on what `place` raises, with nothing changed.
    """
    with transaction.atomic():
        _lock_session(request)
        known = placed_by(request, form_token)
        if known:
            return known
        order = place()
        remember(request.session, order)
        placed = request.session.get(PLACED_KEY, {}) | {form_token: order.number}
        request.session[PLACED_KEY] = dict(list(placed.items())[-REMEMBERED:])
        request.session.save()  # now, so that it commits together with the order
    return order.number


def _lock_session(request: HttpRequest) -> None:
    """Hold the row and read the session again: a rival may have written it since this request began."""
    key = request.session.session_key
    Session.objects.select_for_update().filter(session_key=key).first()
    request.session = type(request.session)(key)
