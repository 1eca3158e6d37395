"""What was answered about an order a moment ago: the status that pages ask for, and the code that a second press shows.

Kept in Redis for two seconds at most, under the order's version. It only ever repeats an answer; no move is decided by
it, and whatever is not there, or makes no sense, is read from PostgreSQL.
"""

import time
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from orders.models import Order
from orders.statuses import OrderStatus
from payments.cases import has_open_mismatch
from payments.models import Payment
from payments.showing import OrderState, current_payment
from payments.statuses import PaymentStatus
from shop import hints
from shop.bell import ring

FRESH_S = 2.0
# Who may see an order is asked again after so long.
ADMITTED_S = 10.0
# An action that ends within this time is not worth showing; a new attempt is.
WORTH_SHOWING = timedelta(seconds=15)
# What a value in Redis that is not ours may raise.
NONSENSE = (KeyError, TypeError, ValueError, OverflowError)
OFFERED = ("number", "channel", "scene", "amount", "currency", "action")


def start_clock() -> float:
    """To be taken before the rows are read: what is kept counts from here."""
    return time.monotonic()


def keep_state(order: Order, payment: Payment | None, *, since: float, may_offer: bool) -> OrderState:
    """Keep what was read of `order` and its current payment after `since`, see `start_clock`. Returns it.

    `may_offer`: nothing is known that forbids to pay it, as money of a wrong amount would.
    """
    state = OrderState(
        number=order.number,
        status=order.status,
        payment_status=payment.status if payment else None,
        version=order.version,
    )
    value = asdict(state) | {"offer": _offer(order, payment) if may_offer else None}
    fresh_s = FRESH_S - (time.monotonic() - since)
    hints.keep(_of_order(order.number), value, version=order.version, for_s=fresh_s)
    return state


def renew_state(number: str) -> None:
    """Something has happened to the order: whoever waits, or asks next, is told so. Never inside a transaction."""
    since = start_clock()
    read_state(Order.objects.get(number=number), since=since)
    ring(number)


def read_state(order: Order, *, since: float) -> OrderState:
    """The state of an order that was read after `since`; kept for who asks next."""
    payment = current_payment(order)
    order = (
        payment.order if payment else order
    )  # of one moment: since it was read, the money may have arrived
    return keep_state(order, payment, since=since, may_offer=not has_open_mismatch(order))


def admit(asker: str, state: OrderState) -> None:
    """`asker`, a digest of a token or a session, may see the order as it is now: it need not be looked up for some seconds.

    A new link, which may shut it out, makes another version.
    """
    hints.keep(
        _of_asker(state.number, asker), {"version": state.version}, version=state.version, for_s=ADMITTED_S
    )


def recall_state(number: str, asker: str) -> OrderState | None:
    """The order's state, if it and the asker are known; no statement."""
    value, admitted = hints.recall(_of_order(number), _of_asker(number, asker))
    if value is None or admitted is None:
        return None
    try:
        state = _parse_state(value, number)
        return state if admitted["version"] == state.version else None
    except NONSENSE:
        return None


def recall_offer(number: str, *, channel: str, scene: str, version: int) -> Payment | None:
    """The live payment of this kind, to be shown again and nothing else; no statement.

    `version` is the order's as the asker has just read it: what was kept of an earlier one is not shown any more.
    """
    value = hints.recall(_of_order(number))[0] or {}
    try:
        state, offer = _parse_state(value, number), value["offer"]
        if offer is None or (offer["channel"], offer["scene"]) != (channel, scene) or state.version < version:
            return None
        return Payment(
            order=Order(number=number, status=state.status),
            status=PaymentStatus.PAYING,
            expires_at=datetime.fromisoformat(offer["expires_at"]),
            **{name: offer[name] for name in OFFERED},
        )
    except NONSENSE:
        return None


def _offer(order: Order, payment: Payment | None) -> dict[str, Any] | None:
    if (
        payment is None
        or order.status != OrderStatus.UNPAID
        or not payment.is_payable
        or payment.action is None
    ):
        return None
    if payment.expires_at - payment.now < WORTH_SHOWING + timedelta(seconds=FRESH_S):
        return None
    return {name: getattr(payment, name) for name in OFFERED} | {"expires_at": payment.expires_at.isoformat()}


def _parse_state(value: dict[str, Any], number: str) -> OrderState:
    if value["number"] != number:
        raise ValueError(number)
    payment_status = value["payment_status"]
    return OrderState(
        number=number,
        status=OrderStatus(value["status"]),
        payment_status=None if payment_status is None else PaymentStatus(payment_status),
        version=int(value["version"]),
    )


def _of_order(number: str) -> str:
    return f"order:{number}"


def _of_asker(number: str, asker: str) -> str:
    return f"asker:{number}:{asker}"
