"""The same order twice: a double click, a form sent again, an impatient client. Known by its content, not by its number.

Redis says so at once and keeps a crowd away from the database; PostgreSQL says so for certain, under a lock of the
content, and all the same when Redis is gone, frozen or has forgotten.
"""

import hashlib
import json
import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from orders.models import Order
from orders.statuses import OrderStatus
from shop import hints
from shop.locks import pause
from shop.numbers import is_number

if TYPE_CHECKING:
    from orders.placing import Contact

# A rival with the same content is placing it at this moment: wait this long for its order to appear.
WAIT_S = 2.0
STEP_S = 0.03


def content_hash(wanted: dict[str, int], contact: "Contact") -> str:
    """What makes two orders the same by content: lines and buyer, whatever the order of lines, case and blanks of the form."""
    buyer = {name: " ".join(text.split()).casefold() for name, text in asdict(contact).items()}
    content = {"lines": sorted(wanted.items()), "contact": buyer}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def orders_like(order: Order) -> QuerySet[Order]:
    """Orders of the same content within the window, the newest first. One that was closed is nobody's duplicate."""
    since = Now() - timedelta(seconds=settings.DUPLICATE_WINDOW_S)
    same = Order.objects.filter(content_hash=order.content_hash, created_at__gt=since)
    return same.exclude(status=OrderStatus.CLOSED).order_by("-pk")


def find_first(order: Order) -> str | None:
    """Take the content for `order`, which is about to be placed: None. Or the number of the order that has it.

    By Redis, so None proves nothing; a number is of an order that is there. Waits two seconds at most for a rival's order to
    appear; one that does not, or was closed, gives its place up.
    """
    give_up = time.monotonic() + WAIT_S
    while first := hints.claim(_name(order), order.number, for_s=settings.DUPLICATE_WINDOW_S):
        if not is_number(first):  # nothing that we have put there
            hints.overwrite(_name(order), order.number, for_s=settings.DUPLICATE_WINDOW_S)
            return None
        found = Order.objects.filter(number=first).values_list("status", "content_hash").first()
        if found == (OrderStatus.CLOSED, order.content_hash) or (
            found is None and time.monotonic() > give_up
        ):
            hints.replace(_name(order), first, order.number, for_s=settings.DUPLICATE_WINDOW_S)
            return None
        if found is not None:
            return first if orders_like(order).filter(number=first).exists() else None
        pause(STEP_S)
    return None


def forget(order: Order) -> None:
    """It was not placed after all."""
    hints.release(_name(order), order.number)


def lock_content(order: Order) -> None:
    """From here to the end of the transaction nobody else places the same. Waits as long as for any lock."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", [int(order.content_hash[:15], 16)])


def _name(order: Order) -> str:
    return f"content:{order.content_hash}"
