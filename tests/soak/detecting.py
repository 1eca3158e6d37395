"""How soon a payment is found when no notification of any ever arrives: the queries' own tempo, measured.

Groups of shoppers pay at chosen moments after applying, so that nobody waits for hours: soon; later with the page of the
order open; later with nobody looking.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from payments.apps import QUERY_GAPS_S
from tests.soak.client import Client, History
from tests.soak.crowd import Crowd
from tests.soak.habits import apply_for_new_order
from tests.soak.installation import installed
from tests.soak.runs import UNITS, wait_until_settled
from tests.soak.shoppers import LOOK_EVERY_S, Pauses, Shopper
from tests.soak.verdict import QUICK_S, describe_times, percentile, read_detections
from tests.soak.ways import CHANNELS
from tests.soak.weather import Weather

PROMISED_S = 13.0
MARGIN_S = 3.0
# Moments after applying at which the gap to the next query is 30 s, 30 s and 180 s.
LATE_S = (35.0, 50.0, 70.0)
FIRST_QUERY_S = 10
# Slow enough that nothing waits for the machine.
ARRIVE_EVERY_S = 0.2
ORDER_LIFETIME_S = 1800
THREADS = 16
SOON, OPEN_PAGE = "soon", "open page"


@dataclass
class Measured:
    """Seconds to detect, by group. `late` by the moment of paying, in seconds after applying."""

    quick: list[float]
    open_page: list[float]
    late: dict[float, list[float]]
    violations: Sequence[str]

    @property
    def failures(self) -> list[str]:
        """What was promised and did not hold."""
        found = [*self.violations]
        found += [
            f"{what}: p99 {percentile(took_s, 0.99):.2f} s instead of {PROMISED_S:.0f} s"
            for what, took_s in (("paid soon", self.quick), ("page open", self.open_page))
            if not percentile(took_s, 0.99) <= PROMISED_S
        ]
        return found + [
            f"paid after {moment:.0f} s: {max(took_s, default=float('inf')):.2f} s, the gap is {gap_at(moment)} s"
            for moment, took_s in self.late.items()
            if not max(took_s, default=float("inf")) <= gap_at(moment) + MARGIN_S
        ]

    def describe(self) -> str:
        """One block for people."""
        lines = [
            "detected   every notification lost; seconds from paid or agreed at the channel to READY_FOR_SHIPMENT",
            describe_times(f"paid within {QUICK_S:.0f} s of applying", self.quick),
            describe_times("paid later, page open", self.open_page),
            *(
                describe_times(f"paid after {moment:.0f} s, gap {gap_at(moment)} s", took_s)
                for moment, took_s in self.late.items()
            ),
            *(f"BROKEN {failure}" for failure in self.failures),
        ]
        return "\n".join(lines)


def gap_at(moment_s: float) -> int:
    """The gap of the schedule of queries in which a moment after applying lies, in seconds."""
    due_s = FIRST_QUERY_S
    for gap_s in QUERY_GAPS_S:
        if moment_s < due_s + gap_s:
            return gap_s
        due_s += gap_s
    raise ValueError(moment_s)


def measure(
    orders: int,
    *,
    seed: int,
    channels: Sequence[str] = CHANNELS,
    folder: Path | None = None,
    quiet: bool = True,
) -> Measured:
    """A third of the orders is paid soon, a third with the page open, a third at one of the moments of `LATE_S`."""
    with installed(folder, order_lifetime_s=ORDER_LIFETIME_S) as installation:
        installation.wait_until_whole()
        Weather(installation.sandbox).change(["notify silence"], seed=seed)
        skus = installation.stock_up(UNITS)
        client, history = Client(installation.shop, installation.sandbox, connections=THREADS), History()
        shoppers = [
            Shopper(
                number, client, history, seed=seed, skus=skus, lifetime_s=ORDER_LIFETIME_S, channels=channels
            )
            for number in range(orders)
        ]
        thirds: Sequence[str | float] = [each for moment in LATE_S for each in (SOON, OPEN_PAGE, moment)]
        groups = dict(zip(shoppers, itertools.cycle(thirds), strict=False))
        Crowd(
            (_shop(shopper, group) for shopper, group in groups.items()),
            threads=THREADS, at_once=orders, every_s=ARRIVE_EVERY_S, quiet=quiet,
        ).run()  # fmt: skip
        wait_until_settled(installation, history, within_s=max(map(gap_at, LATE_S)) + 30)
        took_s = defaultdict(list)
        by_payment = {shopper.payment: group for shopper, group in groups.items()}
        for found in read_detections(installation, installation.trades(), history.deeds):
            took_s[by_payment[found.payment]].append(found.took_s)
        return Measured(
            took_s[SOON],
            took_s[OPEN_PAGE],
            {moment: took_s[moment] for moment in LATE_S},
            installation.audit(),
        )


def _shop(shopper: Shopper, group: str | float) -> Pauses:
    if not (yield from apply_for_new_order(shopper)):
        return
    if group == SOON:
        yield shopper.random.uniform(0.5, QUICK_S - 1)
    elif group == OPEN_PAGE:
        yield from _look_for(shopper, shopper.random.uniform(QUICK_S + 1, LATE_S[-1]))
    else:
        yield float(group)
    yield from shopper.pay()
    if group == OPEN_PAGE:
        yield from shopper.watch()


def _look_for(shopper: Shopper, seconds: float) -> Pauses:
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        shopper.look()
        yield min(LOOK_EVERY_S, left_s)
