"""Applying for payment: one live attempt per order, the earlier one reused, closed or superseded first.

Transaction, network, transaction: what the create call carries is committed under a number of ours before the channel
hears of it, so whatever dies in between, the same request can be sent again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

import structlog
from django.conf import settings

from orders.models import Order
from orders.moves import LockedOrder, extend_if_ending, lock_order
from orders.statuses import OrderStatus
from payments.cases import has_open_mismatch
from payments.channels.base import (
    Channel,
    Created,
    CreateRequest,
    Outcome,
    PaymentReport,
    Refused,
    Repeat,
    Unanswered,
    Unreachable,
)
from payments.channels.registry import UnknownChannel, get_channel
from payments.errors import ChannelUnavailable, NotOffered, OrderIsClosed, OrderIsPaid, PaymentConfirming
from payments.models import Payment
from payments.moves import (
    QUERY_PAYMENT,
    end_lease,
    lock_payment,
    start_payment,
    store_action,
    supersede_payment,
    take_lease,
)
from payments.querying import SOON_S, close_payment, query_payment
from payments.settling import settle_payment
from payments.statuses import PaymentStatus
from shop.alarms import hasten
from shop.clock import WITH_NOW
from shop.models import Source
from shop.transactions import transactional

log = structlog.get_logger("nodrop.applying")

# Another request is making the create call: wait this long for its answer.
WAIT_FOR_ACTION_S = 3.0
WAIT_STEP_S = 0.1
# An action that ends within this time is not worth showing; a new attempt is.
WORTH_SHOWING = timedelta(seconds=15)
RETRY_SOON_S = 1
RETRY_WHILE_UNSURE_S = 5
RETRY_WHILE_REVIEWED_S = 60


@dataclass(frozen=True, slots=True)
class Applied:
    """`payment` has an action for the shopper. `is_new` is False when it was there already."""

    payment: Payment
    is_new: bool


class Next(Enum):
    """What to do about the order's live payment."""

    START = auto()  # there is none
    SHOW = auto()  # the same again
    WAIT = auto()  # somebody is creating it
    CREATE = auto()  # nobody is any more, and the lease is ours now
    REPLACE = auto()  # it is of another kind, or cannot be repeated


def apply_for_payment(
    order_number: str,
    *,
    channel: str,
    scene: str,
    payer: Mapping[str, Any] | None = None,
    may_supersede: bool = False,
) -> Applied:
    """Get the order one payment that the shopper can pay now through `channel` in `scene`.

    `may_supersede`: the shopper chose to go on though an earlier attempt is undecided. Never inside a transaction.
    Raises OrderNotFound, NotOffered, OrderIsPaid, OrderIsClosed, PaymentConfirming, ChannelUnavailable.
    """
    adapter = find_channel(channel, scene)
    for _ in range(2):  # once more when something changed between the two transactions
        todo, live = _look(order_number, adapter, scene, may_supersede=may_supersede)
        if todo is Next.SHOW and live:
            return Applied(live, is_new=False)
        if todo is Next.WAIT and live:
            return Applied(_wait_for_action(live), is_new=False)
        if todo is Next.CREATE and live:
            return Applied(_create(live, adapter, is_first=live.nothing_sent), is_new=False)
        if todo is Next.REPLACE and live:
            _make_room(live, may_supersede=may_supersede)
        started = _start(order_number, adapter, scene, payer or {})
        if started is not None:
            return Applied(_create(started, adapter, is_first=True), is_new=True)
    raise PaymentConfirming(order_number, retry_after_s=RETRY_SOON_S)


def find_channel(channel: str, scene: str) -> Channel:
    """The adapter, if it is configured and offers the scene. Raises NotOffered."""
    try:
        adapter = get_channel(channel)
    except UnknownChannel as error:
        raise NotOffered(f"{channel!r} is not offered here.", field="channel") from error
    if scene not in adapter.scenes():
        raise NotOffered(f"{channel} is not offered as {scene!r}.", field="scene")
    return adapter


# ---- T1: look ----------------------------------------------------------------------------------------------------


@transactional
def _look(
    order_number: str, adapter: Channel, scene: str, *, may_supersede: bool
) -> tuple[Next, Payment | None]:
    order = lock_order(order_number)
    _check_payable(order, adapter)
    live = _live_payment(order)
    if live is None:
        return Next.START, None
    if (live.channel, live.scene) != (adapter.name, scene) or _is_worth_renewing(order, live):
        return Next.REPLACE, live
    if may_supersede and live.is_undecided_for_long(order.now):
        return Next.REPLACE, live
    if live.action is not None:
        return Next.SHOW, live
    if live.lease_until > order.now:
        return Next.WAIT, live
    if adapter.repeat is Repeat.ASK_THEN_NEW:
        return Next.REPLACE, live
    is_first = live.nothing_sent
    take_lease(order, live)
    live.nothing_sent = is_first  # of the tries before this one
    return Next.CREATE, live


def _is_worth_renewing(order: LockedOrder, live: Payment) -> bool:
    """Whether the attempt is about to end and a new one would live longer."""
    if live.expires_at - order.now >= WORTH_SHOWING:
        return False
    return not order.was_extended or order.expires_at > live.expires_at


def _check_payable(order: LockedOrder, adapter: Channel) -> None:
    if order.status == OrderStatus.CLOSED:
        raise OrderIsClosed(order.number)
    if order.status != OrderStatus.UNPAID:
        raise OrderIsPaid(order.number)
    if order.was_extended and order.expires_at <= order.now:
        raise OrderIsClosed(order.number)  # its alarm will say so in a moment
    if order.currency not in adapter.currencies:
        raise NotOffered(f"{adapter.name} does not take {order.currency}.", field="channel")
    if has_open_mismatch(order):
        raise PaymentConfirming(order.number, retry_after_s=RETRY_WHILE_REVIEWED_S)


def _live_payment(order: Order) -> Payment | None:
    live = Payment.objects.filter(order=order, status=PaymentStatus.PAYING, superseded_at__isnull=True)
    return live.select_for_update().first()


def _wait_for_action(live: Payment) -> Payment:
    """Somebody else is creating it: its action within some seconds, or PaymentConfirming."""
    give_up = time.monotonic() + WAIT_FOR_ACTION_S
    while time.monotonic() < give_up:
        time.sleep(WAIT_STEP_S)
        live.refresh_from_db(fields=["status", "action"])
        if live.action is not None and live.status == PaymentStatus.PAYING:
            return live
        if live.status != PaymentStatus.PAYING:
            break
    raise PaymentConfirming(live.order.number, retry_after_s=RETRY_SOON_S)


# ---- N, T: make room for another kind ----------------------------------------------------------------------------


def _make_room(live: Payment, *, may_supersede: bool) -> None:
    """Have the earlier attempt closed, or supersede it. When it was paid, the next look at the order says so.

    Raises PaymentConfirming.
    """
    adapter = get_channel(live.channel)
    outcome = close_payment(live) if adapter.can_close else query_payment(live.number)[0]
    if outcome in (Outcome.CLOSED, Outcome.REFUSED, Outcome.SUCCEEDED):
        return
    if outcome is Outcome.UNKNOWN:
        _insist_on_choice(live, may_supersede=may_supersede)
    _supersede(live)


def _insist_on_choice(live: Payment, *, may_supersede: bool) -> None:
    """The outcome is unknown: nothing new on a guess, until some time has passed and the shopper chooses to go on."""
    fresh = Payment.objects.annotate(**WITH_NOW).get(pk=live.pk)
    has_waited = fresh.is_undecided_for_long(fresh.now)
    if not (has_waited and may_supersede):
        raise PaymentConfirming(
            live.order.number, retry_after_s=RETRY_WHILE_UNSURE_S, may_supersede=has_waited
        )


@transactional
def _supersede(live: Payment) -> None:
    order = lock_order(live.order.number)
    still_live = _live_payment(order)
    if still_live is not None and still_live.pk == live.pk:
        supersede_payment(order, still_live)


# ---- T2: start, N: create, T3: keep the action -------------------------------------------------------------------


@transactional
def _start(order_number: str, adapter: Channel, scene: str, payer: Mapping[str, Any]) -> Payment | None:
    """Write the intent. None when a rival has started one meanwhile."""
    order = lock_order(order_number)
    _check_payable(order, adapter)
    if _live_payment(order) is not None:
        return None
    extend_if_ending(order)
    payment = Payment(
        channel=adapter.name,
        scene=scene,
        amount=order.amount,
        currency=order.currency,
        request={
            "description": describe(order),
            "notify_url": f"{settings.PUBLIC_URL}/notify/{adapter.name}/",
            "return_url": f"{settings.PUBLIC_URL}/orders/{order.number}/",
            "payer": dict(payer),
        },
        expires_at=order.expires_at,
        dead_at=adapter.dead_at(scene=scene, expires_at=order.expires_at, now=order.now),
    )
    start_payment(order, payment)
    return payment


def _create(payment: Payment, adapter: Channel, *, is_first: bool) -> Payment:
    """Make the create call. `is_first`: none was sent before, so the channel's refusal is about this one."""
    try:
        created = adapter.create(request_of(payment))
    except Unreachable as error:
        end_lease(payment, nothing_sent=is_first)
        raise ChannelUnavailable(payment.channel) from error
    except Unanswered as error:
        raise _ask_soon(payment) from error
    except Refused as error:
        if not is_first:  # an earlier try may have been taken: only a query can tell
            raise _ask_soon(payment) from error
        report = PaymentReport(outcome=Outcome.REFUSED, number=payment.number, code=error.code)
        settle_payment(report, channel=payment.channel, source=Source.RESPONSE)
        raise ChannelUnavailable(payment.channel) from error
    return _keep_action(payment, created)


def _ask_soon(payment: Payment) -> PaymentConfirming:
    hasten(QUERY_PAYMENT, payment.number, in_s=SOON_S)
    return PaymentConfirming(payment.order.number, retry_after_s=RETRY_SOON_S)


def _keep_action(payment: Payment, created: Created) -> Payment:
    """Show the action, unless the order or the attempt was ended while the channel made it."""
    order_status, kept = _store_action(payment, created)
    if kept.action is not None and kept.is_payable and order_status == OrderStatus.UNPAID:
        return kept
    if kept.is_live:
        close_payment(kept)  # nobody shall pay a code that nobody waits for
    if order_status == OrderStatus.CLOSED:
        raise OrderIsClosed(payment.order.number)
    if order_status != OrderStatus.UNPAID:
        raise OrderIsPaid(payment.order.number)
    raise PaymentConfirming(payment.order.number, retry_after_s=RETRY_SOON_S)


@transactional
def _store_action(payment: Payment, created: Created) -> tuple[str, Payment]:
    order, locked = lock_payment(payment.number, channel=payment.channel)
    if locked.action is None and locked.is_payable and order.status == OrderStatus.UNPAID:
        store_action(order, locked, created.action)
    return order.status, locked


def request_of(payment: Payment) -> CreateRequest:
    """The create call of this payment: the same content every time it is made."""
    return CreateRequest(
        number=payment.number,
        scene=payment.scene,
        amount_minor=payment.amount,
        currency=payment.currency,
        expires_at=payment.expires_at,
        **payment.request,
    )


def describe(order: Order) -> str:
    """What the wallet shows: the shop and the order, short enough for every channel."""
    return f"{settings.SHOP_NAME} {order.number}"[:120]
