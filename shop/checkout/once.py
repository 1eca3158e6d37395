"""A browser's session under its row's lock; and the checkout form, which places one order however often it is sent.

The form carries a token, and the session remembers which order each token became. The session's row is the lock: a
second press waits for the first one and then finds its order.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.contrib.sessions.backends.base import SessionBase
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


def place_once(request: HttpRequest, form_token: str, place: Callable[[SessionBase], Order]) -> str:
    """The number of the order that the form becomes: `place(session)` is called unless that happened before.

    Locks the session's row, before any row of an order. Passes on what `place` raises, with nothing changed.
    """
    with held_session(request) as session:
        known = placed_by(request, form_token)
        if known:
            return known
        order = place(session)
        remember(session, order)
        placed = session.get(PLACED_KEY, {}) | {form_token: order.number}
        session[PLACED_KEY] = dict(list(placed.items())[-REMEMBERED:])
    return order.number


@contextmanager
def held_session(request: HttpRequest) -> Iterator[SessionBase]:
    """The browser's session, read again under the lock of its row and saved in the same transaction.

    Two requests of one browser that change it at once would otherwise each write the whole of it, and the later one
    would forget what the earlier one remembered.
    """
    key = request.session.session_key
    with transaction.atomic():
        Session.objects.select_for_update().filter(session_key=key).first()
        request.session = type(request.session)(key)
        yield request.session
        if request.session.modified:
            request.session.save()
    if key:
        request.session.modified = False  # or the middleware would write it once more, without the lock
