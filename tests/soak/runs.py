"""The run of a soak: shoppers against the nemesis, healing, and a look at everything that came of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.soak.client import Client, History
from tests.soak.crowd import Crowd
from tests.soak.installation import Installation, installed
from tests.soak.nemesis import EVERYTHING, KILLS_ONLY, Nemesis
from tests.soak.shoppers import HABITS, Habit, Pauses, Shopper, choose_habit
from tests.soak.verdict import Outcome, judge

# A little above the two minutes before its end in which applying extends an order, so that expiry comes soon.
ORDER_LIFETIME_S = 150
UNITS = 10**7
SETTLED_WITHIN_S = 480
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Run:
    """What to run. `kinds` of faults, one about every `every_s` seconds; those in `always` all the time."""

    orders: int
    seed: int
    every_s: float = 4.0
    kinds: Sequence[str] = EVERYTHING
    always: Sequence[str] = ()
    habits: Mapping[Habit, int] = field(default_factory=lambda: HABITS)
    threads: int = 20
    at_once: int = 600
    arrive_every_s: float = 0.0
    folder: Path | None = None
    quiet: bool = True


def kills_only(orders: int, *, seed: int, every_s: float, **more: object) -> Run:
    """Random kills while no notification arrives: how soon is money found that only we can look for?"""
    return Run(orders, seed, every_s, KILLS_ONLY, always=["notify silence"], **more)  # type: ignore[arg-type]


def soak(run: Run) -> Outcome:
    """Shoppers against the nemesis; then healing; then everything is looked at."""
    with installed(run.folder, order_lifetime_s=ORDER_LIFETIME_S) as installation:
        installation.wait_until_whole()
        skus = installation.stock_up(UNITS)
        history = History()
        nemesis = Nemesis(
            installation, kinds=run.kinds, every_s=run.every_s, seed=run.seed, always=run.always
        )
        crowd = Crowd(
            _arrivals(run, installation, history, skus), threads=run.threads, at_once=run.at_once,
            every_s=run.arrive_every_s, quiet=run.quiet,
        )  # fmt: skip
        nemesis.start()
        try:
            crowd.run()
        finally:
            nemesis.stop()
        installation.wait_until_whole()
        is_settled = wait_until_settled(installation)
        outcome = judge(installation, history.deeds, faults=nemesis.counts, wanted=[*run.kinds, *run.always])
        if not is_settled:
            outcome.violations.append(f"healing: not at rest {SETTLED_WITHIN_S} s after the last fault")
        return outcome


def _arrivals(run: Run, installation: Installation, history: History, skus: list[str]) -> Iterator[Pauses]:
    client = Client(installation.shop, installation.sandbox, connections=run.threads)
    for number in range(run.orders):
        shopper = Shopper(number, client, history, seed=run.seed, skus=skus, lifetime_s=ORDER_LIFETIME_S)
        yield choose_habit(number, seed=run.seed, habits=run.habits)(shopper)


# ---- healing -----------------------------------------------------------------------------------------------------

UNSETTLED = """
select count(*) from shop_alarm
 where due_at < now() - interval '3 seconds' or kind in ('take_callback', 'follow_up', 'send_refund')
"""
RECEIPTS = "select channel_number from payments_receipt"


def wait_until_settled(installation: Installation, *, within_s: float = SETTLED_WITHIN_S) -> bool:
    """Wait until all money has a home and nothing is due. False when that did not come true."""
    paid = {trade["channel_number"] for trade in installation.trades() if trade["status"] == "PAID"}
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        try:
            [(waiting,)] = installation.ask(UNSETTLED)
            if not waiting and not paid - {number for (number,) in installation.ask(RECEIPTS)}:
                return True
        except psycopg.Error:
            pass  # not back yet
        time.sleep(LOOK_EVERY_S)
    return False
