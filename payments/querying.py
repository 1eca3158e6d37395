"""Asking a channel about a payment, and asking it to close one: network first, then settle by its answer.

Never inside a transaction. No answer changes nothing; the alarm asks again.
"""

from datetime import timedelta

import structlog
from django.db.models import Q
from django.db.models.functions import Now

from orders.models import Order
from orders.statuses import OrderStatus
from payments.cases import DAILY_S, open_case
from payments.channels.base import Outcome
from payments.channels.registry import get_channel
from payments.errors import AskedTooOften, PaymentNotFound
from payments.models import Case, Payment
from payments.moves import QUERY_PAYMENT, lock_payment, mark_unsure
from payments.settling import Settled, expire_payment, settle_payment
from payments.statuses import PaymentStatus
from shop.alarms import Claim, handle_overdue, hasten, keep_pace, postpone, remove_alarms
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
UNPAID_YET = frozenset({Outcome.OPEN, Outcome.NOT_FOUND})


def query_payment(number: str, *, source: Source = Source.QUERY) -> tuple[Outcome, Settled]:
    """Ask the channel about one payment and settle by its answer. Raises PaymentNotFound.

    A verified *open* or *not found* that was asked for after `dead_at` ends the attempt.
    """
    payment = _read(number)
    was_dead = payment.now > payment.dead_at
    report = get_channel(payment.channel).query(number)
    settled = settle_payment(report, channel=payment.channel, source=source)
    if report.outcome in UNPAID_YET and was_dead:
        settled = expire_payment(number, channel=payment.channel, source=source)
    log.info(
        "queried",
        payment=number,
        order=payment.order.number,
        channel=payment.channel,
        outcome=str(report.outcome),
        settled=str(settled),
    )
    return report.outcome, settled


def query_by_person(number: str) -> Settled:
    """As a shopper or staff asks: at most once every few seconds. Raises AskedTooOften, PaymentNotFound."""
    if _may_ask(number):
        return query_payment(number)[1]
    if not Payment.objects.filter(number=number).exists():
        raise PaymentNotFound(number)
    raise AskedTooOften(ASK_AGAIN_AFTER_S)


def query_order_by_person(order_number: str) -> None:
    """Ask about every attempt of the order that is not paid. Raises AskedTooOften when it is too early for all."""
    attempts = Payment.objects.filter(order__number=order_number).exclude(status=PaymentStatus.PAID)
    numbers = list(attempts.values_list("number", flat=True))
    allowed = [number for number in numbers if _may_ask(number)]
    if numbers and not allowed:
        raise AskedTooOften(ASK_AGAIN_AFTER_S)
    for number in allowed:
        query_payment(number)


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
    numbers = list(open_ones.values_list("number", flat=True))
    if not numbers:
        return False
    keep_pace(QUERY_PAYMENT, numbers, every_s=WATCHED_EVERY_S)
    return handle_overdue(QUERY_PAYMENT, numbers, by_s=NOBODY_CAME_S) > 0


def query_by_alarm(claim: Claim) -> None:
    """One try of the query alarm. The last one that stays without an answer opens a case, then once a day."""
    payment = _read(claim.subject)
    if payment.status != PaymentStatus.PAYING:
        remove_alarms([QUERY_PAYMENT], claim.subject)
        return
    outcome, _ = query_payment(claim.subject)
    if not claim.is_last:
        return
    _go_on_daily(payment, outcome, claim)


@transactional
def _go_on_daily(payment: Payment, outcome: Outcome, claim: Claim) -> None:
    """The schedule has ended without an end of the attempt, unless one has come meanwhile."""
    order, locked = lock_payment(payment.number, channel=payment.channel)
    if locked.status != PaymentStatus.PAYING:
        return
    if outcome is Outcome.UNKNOWN:
        evidence = {"channel": locked.channel, "attempts": claim.attempt}
        open_case(Case.Kind.UNANSWERED, locked.number, order=order, evidence=evidence)
    postpone(QUERY_PAYMENT, locked.number, by_s=DAILY_S)


def close_payment(payment: Payment) -> Outcome:
    """Ask the channel to take no money for this payment any more and settle by its answer.

    CLOSED: done. SUCCEEDED: it was paid and is settled. NOT_FOUND: the channel cannot close what it does not know
    (yet). UNKNOWN: no believable answer; the payment is marked and asked about soon.
    """
    adapter = get_channel(payment.channel)
    report = adapter.close(payment.number)
    settle_payment(report, channel=payment.channel, source=Source.RESPONSE)
    if report.outcome is Outcome.UNKNOWN:
        mark_unsure(payment)
        hasten(QUERY_PAYMENT, payment.number, in_s=SOON_S)
    return report.outcome


def _read(number: str) -> Payment:
    found = Payment.objects.select_related("order").annotate(**WITH_NOW)
    payment = found.filter(number=number).first()
    if payment is None:
        raise PaymentNotFound(number)
    return payment
