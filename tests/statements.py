"""Books of a day, made line by line, and the payments that they are about."""

from datetime import date, datetime, time, timedelta, timezone
from uuid import uuid4

from payments.channels.base import Outcome, RefundReport
from payments.models import Entry, Payment, Refund, Statement
from payments.refunding import ask_refund
from payments.returning import settle_refund
from payments.settling import settle_payment
from shop.models import Source
from tests.factories import make_order, make_payment, report

BEIJING = timezone(timedelta(hours=8))
# UnionPay's day ends at eleven in the evening of Beijing.
CLEARING = timezone(timedelta(hours=9))
# A day that is over in every calendar, and recent.
DAY = date(2026, 11, 20)
NOON = datetime.combine(DAY, time(12), BEIJING)


def paid(trade: str, *, channel: str = "wechat", at: datetime = NOON) -> Payment:
    """A payment that its channel has told us of, as paid at that moment."""
    payment = make_payment(make_order(sku=f"tea-{uuid4().hex[:8]}"), channel=channel)
    settle_payment(report(payment, channel_number=trade, paid_at=at), channel=channel, source=Source.CALLBACK)
    return payment


def refunded(payment: Payment, amount: int, *, channel_number: str = "", at: datetime = NOON) -> Refund:
    """A refund of it that has arrived at that moment."""
    refund = ask_refund(payment.number, amount=amount, reason="asked for", actor="anna")
    told = RefundReport(
        outcome=Outcome.SUCCEEDED, number=refund.number, channel_number=channel_number, amount_minor=amount
    )
    settle_refund(told, channel=payment.channel, source=Source.CALLBACK)
    Refund.objects.filter(pk=refund.pk).update(ended_at=at)
    return refund


def sale(
    payment: Payment | str,
    trade: str,
    *,
    amount: int = 12900,
    currency: str = "CNY",
    fee: int = 0,
    at: datetime = NOON,
) -> Entry:
    """A line about a payment."""
    number = payment if isinstance(payment, str) else payment.number
    return Entry(
        kind="payment", number=number, channel_number=trade, amount=amount, currency=currency, fee=fee, at=at
    )


def refund_line(
    number: str, channel_number: str, amount: int, *, of: Payment, trade: str, at: datetime = NOON
) -> Entry:
    """A line about a refund."""
    return Entry(
        kind="refund", number=number, channel_number=channel_number, amount=amount, currency="CNY", fee=0, code="SUCCESS",
        payment_number=of.number, trade_number=trade, at=at,
    )  # fmt: skip


def make_statement(
    *lines: Entry, channel: str = "wechat", day: date = DAY, origin: str = Statement.Origin.FETCHED
) -> Statement:
    """The statement of a day, which counts from now on."""
    Statement.objects.filter(channel=channel, day=day).update(is_current=False)
    statement = Statement.objects.create(
        channel=channel, day=day, digest=uuid4().hex, origin=origin, entries=len(lines), is_current=True
    )
    for place, line in enumerate(lines, start=1):
        line.statement, line.place = statement, place
    Entry.objects.bulk_create(lines)
    return statement
