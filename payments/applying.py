"""Applying for payment: one live attempt per order, the earlier one reused, closed or superseded first.

Transaction, network, transaction: what the create call carries is committed under a number of ours before the channel
hears of it, so whatever dies in between, the same request can be sent again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from orders.models import Order
from orders.moves import LockedOrder, extend_if_ending, lock_order
from orders.statuses import OrderStatus
from payments.attempts import attempt_of, new_request
from payments.cached import WORTH_SHOWING, keep_state, recall_offer, start_clock
from payments.calls import heard
from payments.cases import has_open_mismatch
from payments.channels.base import (
    Channel,
    Created,
    Outcome,
    PaymentReport,
    Refused,
    Repeat,
    Unanswered,
    Unreachable,
)
from payments.channels.registry import UnknownChannel, class_of, get_channel
from payments.errors import ChannelUnavailable, NotOffered, OrderIsClosed, OrderIsPaid, PaymentConfirming
from payments.keeping import check_patience, keep_for
from payments.models import Payment
from payments.moves import (
    QUERY_PAYMENT,
    end_create_lease,
    lock_payment,
    mark_unsure,
    restore_payment,
    start_payment,
    store_action,
    supersede_payment,
    take_create_lease,
)
from payments.querying import SOON_S, close_payment, query_payment
from payments.settling import settle_payment
from payments.statuses import PaymentStatus
from shop import idempotency
from shop.alarms import hasten
from shop.bell import ring
from shop.clock import WITH_NOW
from shop.idempotency import Key, Lease, Made, let_go, name_subject, read_subject, take_lease
from shop.locks import pause, stand_in_line
from shop.models import Source
from shop.sentences import money, say
from shop.transactions import transactional
from shop.vault import seal

log = structlog.get_logger("nodrop.applying")

# Another request is making the create call: wait this long for its answer.
WAIT_FOR_ACTION_S = 3.0
WAIT_STEP_S = 0.1
# How often one request looks again after it has made room.
ROUNDS = 3
# The status codes of the first answer, kept with its Idempotency-Key.
CREATED, SHOWN, UNAVAILABLE = 201, 200, 503
RETRY_SOON_S = 1
RETRY_WHILE_UNSURE_S = 5
RETRY_WHILE_REVIEWED_S = 60


@dataclass(frozen=True, slots=True)
class Applied:
    """`payment` has an action for the shopper. `is_new`: this request has made it, and answers 201.

    `is_replay`: the request came before, and the payment is shown as it is by now, whatever became of it.
    """

    payment: Payment
    is_new: bool
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the shopper asked for."""

    order_number: str
    adapter: Channel
    scene: str
    payer: Mapping[str, Any]
    may_supersede: bool
    version: int | None
    source: Source
    actor: str


class Next(Enum):
    """What to do about the order's live payment."""

    STARTED = auto()  # there was none, and now there is
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
    key: Key | None = None,
    version: int | None = None,
    source: Source = Source.SHOPPER,
    actor: str = "",
) -> Applied:
    """Get the order one payment that the shopper can pay now through `channel` in `scene`, one for each `key`.

    `may_supersede`: the shopper chose to go on though an earlier attempt is undecided. `version`: the order's, if it has just
    been read; what was shown of it since may then be shown again without looking. `source` and `actor`: who stands in the
    history, where it is not the shopper. `payer` may hold `ip`, `tax_id` and `address`; name and email are the order's.
    Never inside a transaction.

    Raises OrderNotFound, NotOffered, BadPayer, OrderIsPaid, OrderIsClosed, PaymentConfirming, ChannelUnavailable; with a key
    also KeyMismatch, InProgress.
    """
    adapter, payer = find_channel(channel, scene), payer or {}
    if any(path.partition(".")[0] in payer for path in adapter.payer_fields):
        adapter.check_payer(payer)  # also where the payment that there is needs no other
    wish = Wish(
        order_number=order_number,
        adapter=adapter,
        scene=scene,
        payer=payer,
        may_supersede=may_supersede,
        version=version,
        source=source,
        actor=actor,
    )
    return _apply_once(wish, key) if key else _apply(wish)


def _apply_once(wish: Wish, key: Key) -> Applied:
    """The key's row has a lease while we work: a repeat after a crash takes over what was begun."""
    lease = take_lease(key, status=CREATED)
    if isinstance(lease, Made) and lease.status == UNAVAILABLE:
        raise ChannelUnavailable(wish.adapter.name)
    if isinstance(lease, Made):
        return _replay(lease.subject, lease.status)
    try:
        if lease.subject and not _is_begun(lease.subject):
            applied = _replay(lease.subject, lease.status)
        else:
            applied = _apply(wish, lease)
            if not applied.is_new and not lease.subject:
                name_subject(lease, applied.payment.number, status=SHOWN)
    except ChannelUnavailable:
        if _has_failed(lease):
            idempotency.end_lease(lease, status=UNAVAILABLE)  # for good: that is the answer of this key
        else:
            let_go(lease)
        raise
    except Exception:
        let_go(lease)
        raise
    idempotency.end_lease(lease)
    if lease.subject:
        return Applied(applied.payment, is_new=lease.status == CREATED, is_replay=True)
    return applied


def _replay(number: str, status: int) -> Applied:
    payment = Payment.objects.select_related("order").get(number=number)
    return Applied(payment, is_new=status == CREATED, is_replay=True)


def _has_failed(lease: Lease) -> bool:
    return Payment.objects.filter(number=read_subject(lease), status=PaymentStatus.FAILED).exists()


def _is_begun(number: str) -> bool:
    """Whether the attempt waits for its action still, so that there is something to go on with."""
    payment = Payment.objects.get(number=number)
    return payment.is_payable and payment.action is None


def _apply(wish: Wish, lease: Lease | None = None) -> Applied:
    if lease is not None or wish.may_supersede or wish.version is None:
        with stand_in_line(f"order:{wish.order_number}"):
            return _go_on(wish, lease)
    shown = _recall(wish, wish.version)
    if shown is not None:
        return shown
    with stand_in_line(f"order:{wish.order_number}") as has_waited:
        return (_recall(wish, _read_version(wish)) if has_waited else None) or _go_on(wish, lease)


def _recall(wish: Wish, version: int) -> Applied | None:
    """The same code again, as it was shown a moment ago of the order's present version; nothing is read or written."""
    payment = recall_offer(wish.order_number, channel=wish.adapter.name, scene=wish.scene, version=version)
    return Applied(payment, is_new=False) if payment else None


def _read_version(wish: Wish) -> int:
    """The order's by now: whoever was before us may have changed it."""
    found: int = Order.objects.values_list("version", flat=True).get(number=wish.order_number)
    return found


def _go_on(wish: Wish, lease: Lease | None) -> Applied:
    for _round in range(ROUNDS):
        since = start_clock()
        todo, live = _look(wish, lease)
        if todo is Next.REPLACE:
            _make_room(live, may_supersede=wish.may_supersede)
            continue  # and look again: whatever has happened meanwhile counts
        if todo is Next.SHOW:
            keep_state(live.order, live, since=since, may_offer=True)
            return Applied(live, is_new=False)
        if todo is Next.WAIT:
            return Applied(_wait_for_action(live), is_new=False)
        is_new = todo is Next.STARTED
        return Applied(_create(live, wish.adapter, is_first=is_new or live.nothing_sent), is_new=is_new)
    raise PaymentConfirming(wish.order_number, retry_after_s=RETRY_SOON_S)


def find_channel(channel: str, scene: str) -> Channel:
    """The adapter, if it is configured and offers the scene. Raises NotOffered."""
    try:
        adapter = get_channel(channel)
    except UnknownChannel as error:
        raise NotOffered(say(_("'%(name)s' is not offered here."), name=channel), field="channel") from error
    if scene not in adapter.scenes():
        words = _("%(channel)s is not offered as '%(scene)s'.")
        raise NotOffered(say(words, channel=channel, scene=scene), field="scene")
    return adapter


# ---- T1: look, and write the intent ------------------------------------------------------------------------------


@transactional
def _look(wish: Wish, lease: Lease | None) -> tuple[Next, Payment]:
    order = lock_order(wish.order_number)
    _check_payable(order, wish.adapter)
    live = _live_payment(order)
    is_same_kind = live is not None and (live.channel, live.scene) == (wish.adapter.name, wish.scene)
    if not is_same_kind:
        wish.adapter.check_payer(_payer_of(order, wish))  # before anything is closed for its sake
    if live is None and (earlier := _earlier_action(order, wish)) is not None:
        return Next.SHOW, earlier
    if live is None:
        return Next.STARTED, _start(order, wish, lease)
    if is_same_kind and not wish.adapter.can_refund and live.expires_at <= order.now:
        # It may have been paid on its last day, and a second one could not be given back.
        raise PaymentConfirming(order.number, retry_after_s=RETRY_WHILE_REVIEWED_S)
    if not is_same_kind or _is_worth_renewing(order, live):
        return Next.REPLACE, live
    if live.capture_asked_at is not None:
        raise PaymentConfirming(order.number, retry_after_s=RETRY_SOON_S)
    if wish.may_supersede and wish.adapter.can_refund and live.is_undecided_for_long(order.now):
        return Next.REPLACE, live
    if live.action is not None:
        return Next.SHOW, live
    if live.lease_until > order.now:
        return Next.WAIT, live
    if wish.adapter.repeat is Repeat.ASK_THEN_NEW or order.now - live.created_at > wish.adapter.repeats_for:
        return Next.REPLACE, live
    is_first = live.nothing_sent
    take_create_lease(order, live)
    live.nothing_sent = is_first  # of the tries before this one
    return Next.CREATE, live


def _earlier_action(order: LockedOrder, wish: Wish) -> Payment | None:
    """What could not be closed when another way was chosen can be paid still: it is shown again, and no second one made."""
    if wish.adapter.can_close:
        return None
    superseded = Payment.objects.select_for_update().filter(
        order=order,
        channel=wish.adapter.name,
        scene=wish.scene,
        status=PaymentStatus.PAYING,
        superseded_at__isnull=False,
        action__isnull=False,
        expires_at__gt=order.now + WORTH_SHOWING,
    )
    earlier = superseded.last()
    if earlier is not None:
        earlier.order, earlier.now = order, order.now
        restore_payment(order, earlier)
    return earlier


def _start(order: LockedOrder, wish: Wish, lease: Lease | None) -> Payment:
    """Write down the intent: everything that the create call will send, its alarm, and whose request it is."""
    extend_if_ending(order)
    adapter, payer = wish.adapter, _payer_of(order, wish)
    expires_at = adapter.expires_at(scene=wish.scene, order_expires_at=order.expires_at, now=order.now)
    payment = Payment(
        channel=adapter.name,
        scene=wish.scene,
        amount=order.amount,
        currency=order.currency,
        request=new_request(channel=adapter.name, description=describe(order), order_number=order.number),
        payer=seal(payer) if payer else "",
        created_at=order.now,
        expires_at=expires_at,
        dead_at=adapter.dead_at(scene=wish.scene, expires_at=expires_at, now=order.now),
    )
    check_patience(order, payment)
    start_payment(order, payment, source=wish.source, actor=wish.actor)
    if lease is not None:
        name_subject(lease, payment.number, status=CREATED)
    return payment


def _payer_of(order: LockedOrder, wish: Wish) -> dict[str, Any]:
    """What this channel must know of the person, and nothing else."""
    known = {"name": order.name, "email": order.email} | dict(wish.payer)
    return {key: known[key] for key in wish.adapter.payer_keys if key in known}


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
    limits = adapter.limits.get(order.currency)
    if limits is None:
        words = _("%(channel)s does not take %(currency)s.")
        raise NotOffered(say(words, channel=_(adapter.title), currency=order.currency), field="channel")
    if not limits.least <= order.amount <= limits.most:
        least, most = (money(limit, order.currency) for limit in (limits.least, limits.most))
        words = _("%(title)s takes from %(least)s to %(most)s at once.")
        raise NotOffered(say(words, title=_(adapter.title), least=least, most=most), field="channel")
    if has_open_mismatch(order):
        raise PaymentConfirming(order.number, retry_after_s=RETRY_WHILE_REVIEWED_S)


def _live_payment(order: LockedOrder) -> Payment | None:
    live = Payment.objects.filter(order=order, status=PaymentStatus.PAYING, superseded_at__isnull=True)
    payment = live.select_for_update().first()
    if payment is not None:
        payment.order, payment.now = order, order.now
    return payment


def _wait_for_action(live: Payment) -> Payment:
    """Somebody else is creating it: its action within some seconds, or PaymentConfirming."""
    give_up = time.monotonic() + WAIT_FOR_ACTION_S
    while time.monotonic() < give_up:
        pause(WAIT_STEP_S)
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
    adapter = class_of(live.channel)
    outcome = close_payment(live) if adapter.can_close else query_payment(live.number)[0]
    if outcome in (Outcome.CLOSED, Outcome.REFUSED, Outcome.SUCCEEDED):
        return
    if outcome is Outcome.UNKNOWN:
        if not adapter.can_close:
            mark_unsure(
                live
            )  # the time to wait counts from the first such moment, also where nothing can be closed
        _insist_on_choice(live, adapter, may_supersede=may_supersede)
    _supersede(live)


def _insist_on_choice(live: Payment, adapter: type[Channel], *, may_supersede: bool) -> None:
    """The outcome is unknown: nothing new on a guess, until some time has passed and the shopper chooses to go on."""
    fresh = Payment.objects.annotate(**WITH_NOW).get(pk=live.pk)
    has_waited = adapter.can_refund and fresh.is_undecided_for_long(fresh.now)
    if not (has_waited and may_supersede):
        raise PaymentConfirming(
            live.order.number, retry_after_s=RETRY_WHILE_UNSURE_S, may_supersede=has_waited
        )


@transactional
def _supersede(live: Payment) -> None:
    order = lock_order(live.order.number)
    still_live = _live_payment(order)
    if still_live is not None and live.action is None and still_live.action is not None:
        return  # the channel did not know it yet; by now its code is made, and can be closed
    if still_live is not None and still_live.captures != live.captures:
        return  # the shopper has agreed meanwhile, and the money is being taken
    if still_live is not None and still_live.pk == live.pk:
        supersede_payment(order, still_live)


# ---- N: create, T2: keep the action ------------------------------------------------------------------------------


def _create(payment: Payment, adapter: Channel, *, is_first: bool) -> Payment:
    """Make the create call. `is_first`: none was sent before, so the channel's refusal is about this one."""
    try:
        with heard("create", payment, source=Source.RESPONSE) as hearing:
            created = adapter.create(attempt_of(payment))
            hearing.is_told = True
    except Unreachable as error:
        end_create_lease(payment, nothing_sent=is_first)
        raise ChannelUnavailable(payment.channel) from error
    except Unanswered as error:
        raise _ask_soon(payment) from error
    except Refused as error:
        # Where another try was made, before or meanwhile, it may have been taken: only a query can tell.
        if not (is_first and _end_refused(payment, error.code)):
            raise _ask_soon(payment) from error
        raise ChannelUnavailable(payment.channel) from error
    return _keep_action(payment, created)


@transactional
def _end_refused(payment: Payment, code: str) -> bool:
    """Settle the refusal of our try, unless the lease, which is its fencing token, is another's by now."""
    _, locked = lock_payment(payment.number, channel=payment.channel)
    if locked.lease_until != payment.lease_until or locked.action is not None:
        return False
    report = PaymentReport(outcome=Outcome.REFUSED, number=payment.number, code=code)
    settle_payment(report, channel=payment.channel, source=Source.RESPONSE)
    return True


def _ask_soon(payment: Payment) -> PaymentConfirming:
    hasten(QUERY_PAYMENT, payment.number, in_s=SOON_S)
    return PaymentConfirming(payment.order.number, retry_after_s=RETRY_SOON_S)


def _keep_action(payment: Payment, created: Created) -> Payment:
    """Show the action, unless the order or the attempt was ended while the channel made it."""
    since = start_clock()
    order, kept, is_untouched = _store_action(payment, created)
    if kept.action is not None and kept.is_payable and order.status == OrderStatus.UNPAID:
        keep_state(order, kept, since=since, may_offer=is_untouched)
        ring(order.number)  # another page of it may still show what was closed for this one
        return kept
    if kept.is_live:
        close_payment(kept)  # nobody shall pay a code that nobody waits for
    if order.status == OrderStatus.CLOSED:
        raise OrderIsClosed(payment.order.number)
    if order.status != OrderStatus.UNPAID:
        raise OrderIsPaid(payment.order.number)
    raise PaymentConfirming(payment.order.number, retry_after_s=RETRY_SOON_S)


@transactional
def _store_action(payment: Payment, created: Created) -> tuple[Order, Payment, bool]:
    """Keep the action if it may be shown, and the order open as long as it can be paid. The last is whether nobody else has
    touched the order since we looked, so that no money of a wrong amount has come meanwhile.
    """
    order, locked = lock_payment(payment.number, channel=payment.channel)
    is_untouched = order.version == payment.order.version
    if locked.action is None and locked.is_payable and order.status == OrderStatus.UNPAID:
        keep_for(order, locked)
        store_action(order, locked, created.action, handle=created.handle)
    return order, locked, is_untouched


def describe(order: Order) -> str:
    """What the wallet shows: the shop and the order, short enough for every channel."""
    return f"{settings.SHOP_NAME} {order.number}"[:120]
