"""What the money's floor knows, for whoever watches it: moves, receipts, calls, cases, what is late. See `shop.gauges`.

A status is never counted in its table of millions: every step leaves an event, so what came in less what went out is there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from payments.home import read_books
from shop.clock import read_now
from shop.gauges import SECONDS_SINCE, Reading, gauges
from shop.metrics import Metric, Sample
from shop.tallies import Tallied

SETTLE_BUCKETS_S = (5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
NEWS_BUCKETS_S = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)
CALL_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 4, 8)

MOVES = Metric(
    name="nodrop_moves_total",
    help="Steps of orders, payments and refunds; `from` is empty where something begins, `source` is who told or wanted it.",
    kind="counter",
    labels=("kind", "channel", "from", "to", "source"),
)
ORDERS, PAYMENTS, REFUNDS = (
    *gauges(("status",), orders="Orders of each status."),
    *gauges(("channel", "status"), payments="Payments of each channel and status."),
    *gauges(("channel", "status"), refunds="Refunds of each channel and status."),
)

TALLIES = (
    Tallied(
        metric=MOVES,
        table="shop_event",
        at="at",
        labels=(
            "one.subject_kind",
            "coalesce(payment.channel, refund.channel)",
            "one.from_status",
            "one.to_status",
            "one.source",
        ),
        joined="""
            left join payments_payment payment on one.subject_kind = 'payment' and payment.number = one.subject
            left join payments_refund refund on one.subject_kind = 'refund' and refund.number = one.subject""",
        where="one.subject_kind in ('order', 'payment', 'refund')",
    ),
    Tallied(
        metric=Metric(
            name="nodrop_receipts_total",
            help="Trades that channels called paid, as they were classed at first, by who told us.",
            kind="counter",
            labels=("channel", "class", "source"),
        ),
        table="payments_receipt",
        at="created_at",
        labels=("one.channel", "one.receipt_class", "one.source"),
    ),
    Tallied(
        metric=Metric(
            name="nodrop_received_minor_units_total",
            help="The amounts of these trades, in minor units of their currency.",
            kind="counter",
            labels=("channel", "class", "currency"),
        ),
        table="payments_receipt",
        at="created_at",
        # Of money for no payment of ours the currency is the channel's word.
        labels=(
            "one.channel",
            "one.receipt_class",
            "case when one.currency ~ '^[A-Z]{3}$' then one.currency end",
        ),
        value="one.amount",
    ),
    Tallied(
        metric=Metric(
            name="nodrop_settle_seconds",
            help="From the beginning of a payment until its money was settled, by who told us.",
            kind="histogram",
            labels=("channel", "source"),
            buckets=SETTLE_BUCKETS_S,
        ),
        table="payments_receipt",
        at="created_at",
        labels=("one.channel", "one.source"),
        value="extract(epoch from one.created_at - payment.created_at)",
        joined="join payments_payment payment on payment.id = one.payment_id",
        where="one.receipt_class = 'settled'",
    ),
    Tallied(
        metric=Metric(
            name="nodrop_news_delay_seconds",
            help="From the moment at which the channel says that it was paid until we had settled it, by who told us.",
            kind="histogram",
            labels=("channel", "source"),
            buckets=NEWS_BUCKETS_S,
        ),
        table="payments_receipt",
        at="created_at",
        labels=("one.channel", "one.source"),
        # Their clock may be ahead of ours by a little.
        value="greatest(extract(epoch from one.created_at - one.paid_at), 0)",
        where="one.paid_at is not null",
    ),
    Tallied(
        metric=Metric(
            name="nodrop_channel_call_seconds",
            help="Calls to channels and what they came to; create calls that went well are not among them.",
            kind="histogram",
            labels=("channel", "operation", "outcome"),
            buckets=CALL_BUCKETS_S,
        ),
        table="payments_call",
        at="at",
        labels=("one.channel", "one.operation", "one.outcome"),
        value="one.took_ms / 1000.0",
    ),
    Tallied(
        metric=Metric(
            name="nodrop_callbacks_kept_total",
            help="Verified messages of channels, each counted once however often it came.",
            kind="counter",
            labels=("channel",),
        ),
        table="payments_callback",
        at="received_at",
        labels=("one.channel",),
    ),
    Tallied(
        metric=Metric(
            name="nodrop_cases_opened_total",
            help="Cases that were opened for people.",
            kind="counter",
            labels=("kind",),
        ),
        table="payments_case",
        at="opened_at",
        labels=("one.kind",),
    ),
)


def _read_late_books() -> Iterator[tuple[Any, ...]]:
    for books in read_books(read_now()):
        yield books.channel, int(books.is_late), books.differences


READINGS = (
    Reading(
        metrics=gauges(
            ("channel",),
            paying="Payments that may still take money.",
            paying_oldest_seconds="The age of the oldest of them.",
            paying_past_end="Those whose end has passed by more than five minutes and that nobody could decide.",
        ),
        rows=f"""select channel, count(*), {SECONDS_SINCE.format("min(created_at)")},
                        count(*) filter (where dead_at < statement_timestamp() - interval '5 minutes')
                   from payments_payment where status = 'PAYING' group by channel""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("channel",),
            refunding="Refunds that are on their way.",
            refunding_oldest_seconds="The age of the oldest of them.",
        ),
        rows=f"""select channel, count(*), {SECONDS_SINCE.format("min(created_at)")}
                   from payments_refund where status = 'REFUNDING' group by channel""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("channel",),
            callbacks_waiting="Messages that were verified and whose news is not settled yet.",
            callbacks_waiting_oldest_seconds="How long the oldest of them has been waiting.",
        ),
        rows=f"""select channel, count(*), {SECONDS_SINCE.format("min(received_at)")}
                   from payments_callback where taken_at is null group by channel""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("kind",),
            cases_open="Cases that wait for people.",
            cases_overdue="Those whose deadline has passed.",
            cases_oldest_seconds="The age of the oldest of them.",
        ),
        rows=f"""select kind, count(*), count(*) filter (where deadline < statement_timestamp()),
                        {SECONDS_SINCE.format("min(opened_at)")}
                   from payments_case where resolved_at is null group by kind""",  # noqa: S608
    ),
    Reading(
        metrics=gauges(
            ("class", "currency"),
            astray_minor_units="Money that pays no order and has not gone back, in minor units of its currency.",
            astray_receipts="The trades that brought it.",
        ),
        rows="""
            select receipt_class, case when currency ~ '^[A-Z]{3}$' then currency else '' end, sum(left_over), count(*)
              from (select receipt_class, currency, amount - coalesce((
                           select sum(amount) from payments_refund refund
                            where refund.receipt_id = receipt.id and refund.status = 'REFUNDED'), 0) as left_over
                      from payments_receipt receipt
                     where receipt_class in ('surplus', 'late', 'mismatch', 'unmatched')) astray
             where left_over > 0 group by 1, 2""",
    ),
    Reading(
        metrics=gauges(
            ("channel",),
            books_late="1 while a channel's statement is later than it should be, else 0.",
            books_differences="Open differences between a channel's books and ours.",
        ),
        rows=_read_late_books,
    ),
)


def count_statuses(moves: Iterable[Sample]) -> Iterator[tuple[Metric, list[Sample]]]:
    """How many of each status there are, by every step that was taken into it and out of it."""
    counts: dict[str, Counter[tuple[str, ...]]] = {
        "order": Counter(),
        "payment": Counter(),
        "refund": Counter(),
    }
    for (kind, channel, before, after, _), values in moves:
        place = () if kind == "order" else (channel,)
        counts[kind][*place, after] += int(values[0])
        if before:
            counts[kind][*place, before] -= int(values[0])
    for metric, kind in ((ORDERS, "order"), (PAYMENTS, "payment"), (REFUNDS, "refund")):
        yield metric, [(labels, [count]) for labels, count in sorted(counts[kind].items())]
