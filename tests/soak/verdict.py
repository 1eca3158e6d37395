"""What came of a run: promises to clients that were broken, the audit's findings, and the figures to print."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from tests.soak.client import Deed, Ending
from tests.soak.installation import Installation

QUICK_S = 30.0
# Words for requests that no shopper of ours should ever send.
WRONG_CALL = ("invalid", "idempotency_mismatch", "not_found", "mixed_currency")
PASSED, VIOLATED, UNKNOWN = 0, 1, 2

# Cases that no fault explains: an alarm that was lost, an order that disagrees, work that still fails when all is well.
BUGS = """
select kind, subject from payments_case
 where kind in ('no_alarm', 'disagrees') or kind = 'failing' and resolved_at is null
"""
# A boleto has no way back for money: what came twice or late is a person's, and nobody may even try.
BOLETO_REFUNDS = "select number from payments_refund where channel = 'boleto'"
SETTLED = "select channel, count(*) from payments_receipt where receipt_class = 'settled' group by 1"
PAYOUTS = "select count(*) from payments_case where kind = 'payout' and resolved_at is null"
# What became of the orders of the payments that move no money by the shopper's consent alone.
CONSENTS = """
select p.number, case when o.status = 'CLOSED' then o.close_reason when o.status = 'UNPAID' then 'waiting'
                      else 'paid otherwise' end
  from payments_payment p join orders_order o on o.id = p.order_id where p.channel = 'paypal'
"""
# PayPal's messages are only believed when they are confirmed, so the news is brought by an answer.
DETECTED = """
select p.number, r.channel, r.channel_number, p.created_at, e.at,
       e.source = 'CALLBACK' or exists (
           select from payments_callback c
            where c.channel = p.channel and c.number = p.number and c.received_at <= e.at) as is_told
  from payments_receipt r join payments_payment p on p.id = r.payment_id join orders_order o on o.id = r.order_id
  join lateral (select at, source from shop_event
                 where subject_kind = 'order' and subject = o.number and to_status = 'READY_FOR_SHIPMENT'
                 order by id limit 1) e on true
 where r.receipt_class = 'settled'
"""


@dataclass(frozen=True, slots=True)
class Detection:
    """One settled payment. Seconds from applying to paying, and from there to READY_FOR_SHIPMENT.

    `is_told`: a callback had come before that.
    """

    payment: str
    paid_after_s: float
    took_s: float
    is_told: bool


@dataclass
class Outcome:
    """A run in figures. `settled` by channel; `untaken`: of agreements whose money nobody wanted any more, what became of the orders.

    `missing` are the kinds of faults that never struck, and the channels that nobody paid by.
    """

    orders: int
    statuses: Counter[str]
    receipts: Counter[str]
    endings: Counter[Ending]
    detections: list[Detection]
    violations: list[str]
    faults: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    settled: Counter[str] = field(default_factory=Counter)
    payouts: int = 0
    untaken: Counter[str] = field(default_factory=Counter)

    @property
    def paid(self) -> int:
        """Orders that were settled, whatever became of them afterwards."""
        return self.receipts["settled"]

    @property
    def recovered(self) -> int:
        """Orders whose payment no callback told us of."""
        return sum(not found.is_told for found in self.detections)

    @property
    def exit_status(self) -> int:
        """A run that tried too little is *unknown*, not passed."""
        if self.violations:
            return VIOLATED
        return UNKNOWN if self.missing or self.paid * 2 < self.orders else PASSED


def judge(
    installation: Installation,
    deeds: Sequence[Deed],
    *,
    faults: Counter[str],
    wanted: Iterable[str],
    channels: Iterable[str],
) -> Outcome:
    """Look at everything after a run has come to rest."""
    trades = installation.trades()
    [(orders,)] = installation.ask("select count(*) from orders_order")
    [(payouts,)] = installation.ask(PAYOUTS)
    settled = Counter(dict(installation.ask(SETTLED)))
    untaken = find_agreed(deeds).keys() - _numbers_paid(trades)
    return Outcome(
        orders=orders,
        statuses=Counter(dict(installation.ask("select status, count(*) from orders_order group by 1"))),
        receipts=Counter(
            dict(installation.ask("select receipt_class, count(*) from payments_receipt group by 1"))
        ),
        endings=Counter(deed.ending for deed in deeds),
        detections=read_detections(installation, trades, deeds),
        violations=[
            *installation.audit(),
            *find_broken_promises(installation, deeds, trades),
            *(f"case {kind} about {subject}" for kind, subject in installation.ask(BUGS)),
            *(f"refund {number} of a boleto" for (number,) in installation.ask(BOLETO_REFUNDS)),
        ],
        faults=faults,
        missing=[kind for kind in wanted if not faults[kind]]
        + [f"paid by {channel}" for channel in channels if not settled[channel]],
        settled=settled,
        payouts=payouts,
        untaken=Counter(end for number, end in installation.ask(CONSENTS) if number in untaken),
    )


def find_agreed(deeds: Iterable[Deed]) -> dict[str, datetime]:
    """The payments that a shopper surely agreed to, and when first."""
    agreed: dict[str, datetime] = {}
    for deed in deeds:
        if deed.what == "agree" and deed.ending is Ending.OK:
            agreed.setdefault(deed.subject, deed.at)
    return agreed


def _numbers_paid(trades: Iterable[Mapping[str, Any]]) -> set[str]:
    return {trade["out_trade_no"] for trade in trades if trade["status"] == "PAID"}


# ---- what clients were told ------------------------------------------------------------------------------------------


def find_broken_promises(
    installation: Installation, deeds: Sequence[Deed], trades: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What a client was told exists, exists; what was refused does not; an unknown ending may go either way."""
    placed = defaultdict(list)
    for number, email in installation.ask("select number, email from orders_order"):
        placed[email].append(number)
    payments = {number for (number,) in installation.ask("select number from payments_payment")}
    reached = set(installation.ask("select subject, to_status from shop_event where subject_kind = 'order'"))
    paid = _numbers_paid(trades)
    return [
        f"client {deed.who} {deed.what} {deed.ending} {deed.code}: {broken}"
        for deed in deeds
        if (broken := _find_broken(deed, placed[deed.who], payments, reached, paid))
    ]


def _find_broken(
    deed: Deed, placed: list[str], payments: set[str], reached: set[tuple[str, str]], paid: set[str]
) -> str:
    """Why the client was told something untrue; empty when it was not."""
    is_ok = deed.ending is Ending.OK
    if deed.code in WRONG_CALL:
        return "a mistake of the soak's own"
    if deed.what.startswith("place"):
        return _find_broken_order(deed, placed)
    if deed.what in ("apply", "agree") and is_ok and deed.subject not in payments:
        return f"there is no payment {deed.subject}"
    if deed.what == "cancel" and is_ok and (deed.subject, "CLOSED") not in reached:
        return f"{deed.subject} was never closed"
    if deed.what == "pay" and is_ok and deed.subject not in paid:
        return f"the channel does not know that {deed.subject} was paid"
    if deed.code == "order_paid" and (deed.subject, "READY_FOR_SHIPMENT") not in reached:
        return f"{deed.subject} was never paid"
    told = deed.what.removeprefix("told ")
    if told != deed.what and is_ok and (deed.subject, told) not in reached:
        return f"{deed.subject} was never {told}"
    return ""


def _find_broken_order(deed: Deed, placed: list[str]) -> str:
    if deed.ending is Ending.OK and placed != [deed.subject]:
        return f"told {deed.subject}, there are {placed}"
    # Under one key a later try may have succeeded, and all of them together make one order.
    most = 0 if deed.ending is Ending.REFUSED and deed.what == "place" else 1
    return f"there are {placed}" if len(placed) > most else ""


# ---- time to detect --------------------------------------------------------------------------------------------------


def read_detections(
    installation: Installation, trades: Iterable[Mapping[str, Any]], deeds: Iterable[Deed]
) -> list[Detection]:
    """One for each settled order, timed from the channel's own moment of payment; from the shopper's consent, where the
    payment waits for us to take it.
    """
    paid = {
        (trade["channel"], trade["channel_number"]): datetime.fromisoformat(trade["paid_at"])
        for trade in trades
        if trade["paid_at"] and trade["channel"] != "paypal"
    }
    agreed = find_agreed(deeds)
    found = []
    for number, channel, channel_number, applied_at, at, is_told in installation.ask(DETECTED):
        done_at = paid.get((channel, channel_number)) or agreed.get(number)
        if done_at:  # one that has none is the audit's to tell, or nobody knows when its shopper agreed
            after_s, took_s = (done_at - applied_at).total_seconds(), (at - done_at).total_seconds()
            found.append(Detection(number, after_s, took_s, is_told))
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed; nan of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)] if ordered else float("nan")


# ---- in words --------------------------------------------------------------------------------------------------------

SHOWN = 30


def describe(outcome: Outcome, *, title: str) -> str:
    """One block for people."""
    receipts, endings = outcome.receipts, outcome.endings
    struck = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items()))
    paid, statuses = f"paid {outcome.paid}", outcome.statuses
    lines = [
        title,
        f"orders     {outcome.orders}: {paid}, closed {statuses['CLOSED']}, waiting {statuses['UNPAID']}",
        f"paid by    {_list_counts(outcome.settled)}",
        f"besides    surplus {receipts['surplus']}, late {receipts['late']}, for a person to pay out {outcome.payouts}",
        f"agreed     {outcome.untaken.total()} that were not taken: {_list_counts(outcome.untaken)}",
        f"clients    {endings.total()} deeds: " + ", ".join(f"{end} {endings[end]}" for end in Ending),
        f"faults     {outcome.faults.total()}: {struck or 'none'}",
        f"recovered  {outcome.recovered} paid orders without a callback",
        *describe_detections(outcome.detections),
        f"violations {len(outcome.violations)}",
        *(f"  {violation}" for violation in outcome.violations[:SHOWN]),
    ]
    if outcome.missing:
        lines.append(f"never fired: {', '.join(outcome.missing)}")
    lines.append({PASSED: "passed", VIOLATED: "VIOLATED", UNKNOWN: "unknown"}[outcome.exit_status])
    return "\n".join(lines)


def _list_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.most_common()) or "none"


def describe_detections(detections: Sequence[Detection]) -> list[str]:
    """Seconds from paid, or agreed to, at the channel to READY_FOR_SHIPMENT."""
    quick = [found.took_s for found in detections if found.paid_after_s <= QUICK_S]
    later = [found.took_s for found in detections if found.paid_after_s > QUICK_S]
    return [
        "detected   seconds from paid or agreed at the channel to READY_FOR_SHIPMENT",
        describe_times(f"paid within {QUICK_S:.0f} s of applying", quick),
        describe_times("paid later", later),
    ]


def describe_times(what: str, took_s: Sequence[float]) -> str:
    median, p99, most = (percentile(took_s, share) for share in (0.5, 0.99, 1.0))
    return f"  {what:<32} n {len(took_s):>6}  median {median:7.2f}  p99 {p99:7.2f}  max {most:7.2f}"
