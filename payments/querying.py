"""Asking a channel about a payment, and asking it to close one: network first, then settle by its answer.

Never inside a transaction. No answer changes nothing; the alarm asks again.
"""

from datetime import timedelta

import structlog
from django.db.models import Q
from django.db.models.functions import Now

from orders.models import Order
from orders.moves import LockedOrder
from orders.statuses import OrderStatus
from payments.attempts import attempt_of
from payments.calls import heard
from payments.capturing import capture_payment
from payments.cases import DAILY_S, open_case
from payments.channels.base import Outcome, PaymentReport
from payments.channels.registry import UnknownChannel, class_of, get_channel
from payments.errors import AskedTooOften, PaymentNotFound
from payments.models import Case, Payment
from payments.moves import QUERY_PAYMENT, RECHECK_PAYMENT, lock_payment, mark_unsure
from payments.settling import expire_payment, settle_payment
from payments.statuses import PaymentStatus, Settled
from shop.alarms import Claim, finish, handle_overdue, hasten, keep_pace, postpone, remove_alarms, slow_down
from shop.clock import WITH_NOW
from shop.models import Source
from shop.transactions import transactional

log = structlog.get_logger("nodrop.querying")

# People may ask for one payment this often; the alarms ask on their own.
ASK_AGAIN_AFTER_S = 3
# While a page of the order is open.
WATCHED_EVERY_S = 10
# `watch` comes twice a second: an alarm that is overdue by more has nobody to handle it.
NOBODY_CAME_S = 2
# While somebody waits for the outcome of an earlier attempt, it is asked this soon.
SOON_S = 3
# Verified, and no money has moved.
UNPAID_YET = frozenset({Outcome.OPEN, Outcome.APPROVED, Outcome.NOT_FOUND})


def query_payment(number: str, *, source: Source = Source.QUERY) -> tuple[Outcome, Settled]:
    """Ask the channel about one payment and settle by its answer; where the shopper has agreed, take the money.

    A verified word that it is unpaid, asked for after `dead_at`, ends the attempt. While the money is being taken such a
    word decides nothing: UNKNOWN. Raises PaymentNotFound.
    """
    payment = _read(number)
    report = _ask(payment, source=source)
    settled = settle_payment(report, channel=payment.channel, source=source)
    outcome = report.outcome
    if settled is Settled.CAPTURE:
        outcome, settled = capture_payment(number)
    elif outcome in UNPAID_YET:
        is_dead = payment.now > payment.dead_at  # as it was when the channel was asked
        if is_dead and not _may_be_taken(payment, outcome):
            is_open = outcome is Outcome.OPEN and not class_of(payment.channel).can_close
            settled = expire_payment(payment, source=source, is_open=is_open)
        elif payment.capture_asked_at is not None:
            outcome = Outcome.UNKNOWN
    log.info(
        "queried",
        payment=number,
        order=payment.order.number,
        channel=payment.channel,
        outcome=str(outcome),
        settled=str(settled),
    )
    return outcome, settled


def _may_be_taken(payment: Payment, outcome: Outcome) -> bool:
    """Whether money that we have asked for may be ours in spite of such a word: it is reviewed, or asked for again."""
    if payment.capture_asked_at is None or outcome is Outcome.NOT_FOUND:
        return False
    is_wanted = payment.order.status == OrderStatus.UNPAID and payment.superseded_at is None
    return outcome is Outcome.OPEN or is_wanted


def query_by_person(number: str) -> Settled:
    """As a shopper or staff asks: at most once every few seconds. Raises AskedTooOften, PaymentNotFound."""
    if _may_ask(number):
        return query_payment(number)[1]
    if not Payment.objects.filter(number=number).exists():
        raise PaymentNotFound(number)
    raise AskedTooOften(ASK_AGAIN_AFTER_S)


def query_order_by_person(order_number: str) -> dict[str, Outcome]:
    """Ask about every attempt of the order that is not paid: what its channel said, by the payment's number.

    Of those only for which it is not too early. Raises AskedTooOften when it is so for all.
    """
    attempts = Payment.objects.filter(order__number=order_number).exclude(status=PaymentStatus.PAID)
    numbers = list(attempts.values_list("number", flat=True))
    allowed = [number for number in numbers if _may_ask(number)]
    if numbers and not allowed:
        raise AskedTooOften(ASK_AGAIN_AFTER_S)
    return {number: query_payment(number)[0] for number in allowed}


def _may_ask(number: str) -> bool:
    """Take the right to ask now; in PostgreSQL, so that the limit holds without Redis."""
    long_ago = Q(queried_at__isnull=True) | Q(queried_at__lt=Now() - timedelta(seconds=ASK_AGAIN_AFTER_S))
    return bool(Payment.objects.filter(long_ago, number=number).update(queried_at=Now()))


def keep_asking(order: Order) -> bool:
    """Somebody looks at this order: its open attempts are asked about every ten seconds while that is so.

    By the alarm; and where nobody comes to handle it, here and now: a page that waits heals its own order. True then.
    """
    if order.status != OrderStatus.UNPAID:
        return False
    open_ones = Payment.objects.filter(order=order, status=PaymentStatus.PAYING)
    numbers = [
        number
        for number, channel in open_ones.values_list("number", "channel")
        if _changes_by_the_minute(channel)
    ]
    if not numbers:
        return False
    keep_pace(QUERY_PAYMENT, numbers, every_s=WATCHED_EVERY_S)
    return handle_overdue(QUERY_PAYMENT, numbers, by_s=NOBODY_CAME_S) > 0


def _changes_by_the_minute(channel: str) -> bool:
    return class_of(channel).query_every_s <= WATCHED_EVERY_S


def query_by_alarm(claim: Claim) -> None:
    """One try of the query alarm. The last one that stays without an answer opens a case, then once a day."""
    payment = _read(claim.subject)
    if payment.status != PaymentStatus.PAYING:
        remove_alarms([QUERY_PAYMENT], claim.subject)
        return
    outcome, _ = query_payment(claim.subject)
    if claim.is_last:
        _go_on_daily(payment, outcome, claim)
    elif every_s := class_of(payment.channel).query_every_s:
        slow_down(QUERY_PAYMENT, payment.number, to_s=every_s)


def recheck_by_alarm(claim: Claim) -> None:
    """One look at an attempt that ended before its time: its channel may have taken the money in that very moment.

    The last look that stays without an answer opens a case, then it looks once a day.
    """
    payment = _read(claim.subject)
    if payment.status == PaymentStatus.PAID:
        remove_alarms([RECHECK_PAYMENT], claim.subject)
        return
    outcome, _ = query_payment(claim.subject)
    if not claim.is_last:
        return
    if outcome is Outcome.UNKNOWN:
        _recheck_daily(payment, claim)
    else:
        finish(claim)


@transactional
def _recheck_daily(payment: Payment, claim: Claim) -> None:
    order, locked = lock_payment(payment.number, channel=payment.channel)
    if locked.status == PaymentStatus.PAID:
        return
    _ask_people(order, locked, claim)
    postpone(RECHECK_PAYMENT, locked.number, by_s=DAILY_S)


@transactional
def _go_on_daily(payment: Payment, outcome: Outcome, claim: Claim) -> None:
    """The schedule has ended without an end of the attempt, unless one has come meanwhile."""
    order, locked = lock_payment(payment.number, channel=payment.channel)
    if locked.status != PaymentStatus.PAYING:
        return
    if outcome is Outcome.UNKNOWN:
        _ask_people(order, locked, claim)
    postpone(QUERY_PAYMENT, locked.number, by_s=DAILY_S)


def _ask_people(order: LockedOrder, payment: Payment, claim: Claim) -> None:
    evidence = {"channel": payment.channel, "attempts": claim.attempt}
    open_case(Case.Kind.UNANSWERED, payment.number, order=order, evidence=evidence)


def close_payment(payment: Payment, *, actor: str = "") -> Outcome:
    """Ask the channel to take no money for this payment any more and settle by its answer. `actor`: the person who wants it.

    CLOSED: done. SUCCEEDED: it was paid and is settled. NOT_FOUND: the channel cannot close what it does not know
    (yet). OPEN: it can be paid still. UNKNOWN: no believable answer, or its money is being taken just now; the payment is
    marked and asked about soon.
    """
    report = _ask(payment, source=Source.RESPONSE, to_close=True)
    settled = settle_payment(report, channel=payment.channel, source=Source.RESPONSE, actor=actor)
    is_reviewed = class_of(payment.channel).needs_capture and report.outcome is Outcome.OPEN
    is_being_taken = is_reviewed or settled is Settled.UNDECIDED
    if report.outcome is Outcome.UNKNOWN or is_being_taken:
        mark_unsure(payment)
        hasten(QUERY_PAYMENT, payment.number, in_s=SOON_S)
        return Outcome.UNKNOWN
    return report.outcome


def _ask(payment: Payment, *, source: Source, to_close: bool = False) -> PaymentReport:
    """The channel's word. Of one that was taken out of the configuration nothing is known, and people are told by `doctor`."""
    try:
        channel = get_channel(payment.channel)
    except UnknownChannel:
        return PaymentReport(outcome=Outcome.UNKNOWN, number=payment.number, code="not_configured")
    attempt = attempt_of(payment)
    ask, operation = (channel.close, "close") if to_close else (channel.query, "query")
    with heard(operation, payment, source=source) as hearing:
        return hearing.take(ask(attempt))


def _read(number: str) -> Payment:
    found = Payment.objects.select_related("order").annotate(**WITH_NOW)
    payment = found.filter(number=number).first()
    if payment is None:
        raise PaymentNotFound(number)
    return payment
