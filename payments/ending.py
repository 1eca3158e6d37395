"""Ending without money: the shopper gives up an order, its time is over, or a person closes a single attempt.

Close at the channel, ask, then decide; never by the clock alone. What cannot be closed stays watched, and the order's
goods go back on the shelf all the same: money that still comes is late and goes back.
"""

import structlog

from orders.moves import EXPIRE_ORDER, LockedOrder, close_order, lock_order
from orders.statuses import CloseReason, OrderStatus
from payments.cached import renew_state
from payments.cases import close_cases, has_open_mismatch, list_irregular, open_case
from payments.channels.base import Outcome
from payments.channels.registry import class_of, title_of
from payments.errors import CannotClose, OrderIsPaid, PaymentConfirming, PaymentIsDecided, PaymentNotFound
from payments.keeping import keep_for, needs_patience
from payments.models import Case, Payment
from payments.moves import lock_payment, supersede_payment
from payments.querying import close_payment, query_payment
from payments.statuses import PaymentStatus
from shop.alarms import Claim, remove_alarms, set_alarm
from shop.events import record
from shop.locks import stand_in_line
from shop.models import Source
from shop.transactions import transactional

log = structlog.get_logger("nodrop.ending")

RETRY_AFTER_S = 5
# A rival who applies again and again does not keep us here.
ROUNDS = 4
# After so many tries without an answer a person should know that goods are held; that is about ten minutes.
CASE_AFTER_TRIES = 5


def cancel_order(number: str, *, source: Source = Source.SHOPPER, actor: str = "") -> None:
    """Close an unpaid order because its shopper gave it up. A closed one stays as it is.

    Raises OrderNotFound, OrderIsPaid, PaymentConfirming. Never inside a transaction.
    """
    with stand_in_line(f"order:{number}"):
        _end(number, CloseReason.CANCELLED, source=source, actor=actor)
        renew_state(number)


def close_by_person(payment_number: str, *, actor: str) -> Outcome:
    """Close one attempt that is open, also a superseded one, at its channel; its order stays as it is.

    What the outcomes mean says `close_payment`. Raises PaymentNotFound, PaymentIsDecided, CannotClose. Never inside a
    transaction.
    """
    order_number = _find_payment(payment_number).order.number
    with stand_in_line(f"order:{order_number}"):
        payment = _find_payment(payment_number)
        if payment.status != PaymentStatus.PAYING:
            raise PaymentIsDecided(payment_number, payment.status)
        if not class_of(payment.channel).can_close:
            raise CannotClose(title_of(payment.channel))
        outcome = close_payment(payment, actor=actor)
        renew_state(order_number)
    return outcome


def _find_payment(number: str) -> Payment:
    payment = Payment.objects.select_related("order").filter(number=number).first()
    if payment is None:
        raise PaymentNotFound(number)
    return payment


def expire_by_alarm(claim: Claim) -> None:
    """Close an order whose time is over. While a channel does not answer, the alarm comes again."""
    if not _is_due(claim.subject):
        return
    try:
        _end(claim.subject, CloseReason.EXPIRED, source=Source.SYSTEM, actor="")
    except OrderIsPaid:
        remove_alarms([EXPIRE_ORDER], claim.subject)
    except PaymentConfirming:
        log.info("expiry waits for the channel", order=claim.subject)
        if claim.attempt >= CASE_AFTER_TRIES:
            _tell_people(claim)


@transactional
def _tell_people(claim: Claim) -> None:
    """Goods are held by an order that cannot be ended, if it still cannot."""
    order = lock_order(claim.subject)
    if order.status == OrderStatus.UNPAID:
        evidence = {"expired_at": order.expires_at.isoformat(), "tries": claim.attempt}
        open_case(Case.Kind.UNANSWERED, order.number, order=order, evidence=evidence)


@transactional
def _is_due(number: str) -> bool:
    order = lock_order(number)
    if order.status != OrderStatus.UNPAID:
        remove_alarms([EXPIRE_ORDER], number)
        return False
    if order.expires_at > order.now:
        set_alarm(EXPIRE_ORDER, number, at=order.expires_at)
        return False
    return not has_open_mismatch(order)  # a person decides first; the alarm comes again


def _end(number: str, reason: CloseReason, *, source: Source, actor: str) -> None:
    for _ in range(ROUNDS):
        live = _live_payment(number)
        if live is None:
            if _close_order(number, reason, source=source, actor=actor):
                return
        elif reason is CloseReason.EXPIRED and not _is_due(number):
            return
        elif (outcome := _close(live, reason)) is Outcome.UNKNOWN and not _is_lost(live, reason):
            break
        elif outcome is Outcome.OPEN and reason is CloseReason.EXPIRED and _wait_for(live):
            return
        else:
            _stop_waiting_for(live)
    raise PaymentConfirming(number, retry_after_s=RETRY_AFTER_S)


def _live_payment(number: str) -> Payment | None:
    live = Payment.objects.filter(
        order__number=number,
        order__status=OrderStatus.UNPAID,
        status=PaymentStatus.PAYING,
        superseded_at__isnull=True,
    )
    return live.select_related("order").first()


def _close(live: Payment, reason: CloseReason) -> Outcome:
    """Close, and where that has no answer ask: a verified *open* cannot be closed, but neither was it paid.

    Who has agreed to pay in time has what was ordered: before an order expires such money is taken.
    """
    channel, outcome = class_of(live.channel), Outcome.UNKNOWN
    if channel.needs_capture and reason is CloseReason.EXPIRED:
        outcome = query_payment(live.number)[0]
        if outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
            return outcome
    if channel.can_close:
        outcome = close_payment(live)
    return query_payment(live.number)[0] if outcome is Outcome.UNKNOWN else outcome


def _is_lost(live: Payment, reason: CloseReason) -> bool:
    """Whether no goods are held for it any more: its channel says that the money was taken and that we do not get it.

    A person looks after that. What still comes is late; what we have asked for ourselves is not given up.
    """
    return (
        reason is CloseReason.EXPIRED and live.capture_asked_at is None and live in list_irregular(live.order)
    )


@transactional
def _wait_for(live: Payment) -> bool:
    """Whether the order waits on, for a slip that its channel has made though the answer to us was lost: it may be paid."""
    order, payment = lock_payment(live.number, channel=live.channel)
    is_wanted = order.status == OrderStatus.UNPAID and payment.is_payable
    if not is_wanted or not needs_patience(order, payment) or order.usual_expires_at is not None:
        return False
    keep_for(order, payment)
    return True


@transactional
def _stop_waiting_for(live: Payment) -> None:
    """What the channel could not close is superseded by nothing: it no longer holds the order up.

    Raises PaymentConfirming while money of the wrong amount waits for a person.
    """
    order = lock_order(live.order.number)
    _check_reviewed(order)
    payment = Payment.objects.select_for_update().get(pk=live.pk)
    if live.action is None and payment.action is not None:
        return  # the channel did not know it yet; by now its code is made, and can be closed
    if payment.captures != live.captures:
        return  # the shopper has agreed meanwhile, and the money is being taken
    if payment.status == PaymentStatus.PAYING and payment.superseded_at is None:
        supersede_payment(order, payment)


@transactional
def _close_order(number: str, reason: CloseReason, *, source: Source, actor: str) -> bool:
    """Close the order; False when a new attempt has begun meanwhile. Raises OrderIsPaid, PaymentConfirming."""
    order: LockedOrder = lock_order(number)
    if order.status == OrderStatus.CLOSED:
        return True
    if order.status != OrderStatus.UNPAID:
        raise OrderIsPaid(number)
    if reason is CloseReason.EXPIRED and order.expires_at > order.now:
        set_alarm(EXPIRE_ORDER, number, at=order.expires_at)  # extended by a shopper who applied meanwhile
        return True
    _check_reviewed(order)
    if _live_payment(number) is not None:
        return False
    close_cases(Case.Kind.UNANSWERED, number, resolution="the order could be closed")
    record([close_order(order, reason, source=source, actor=actor)])
    return True


def _check_reviewed(order: LockedOrder) -> None:
    """Money of the wrong amount keeps the order open until a person has decided."""
    if has_open_mismatch(order):
        raise PaymentConfirming(order.number, retry_after_s=RETRY_AFTER_S)
