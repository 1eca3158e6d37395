"""The run of a soak: shoppers against the nemesis, healing, and a look at everything that came of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import requests

from tests.soak.client import Client, Ending, History
from tests.soak.crowd import Crowd
from tests.soak.habits import HABITS, Habit, choose_habit
from tests.soak.installation import Installation, installed
from tests.soak.nemesis import EVERYTHING, KILLS_ONLY, Nemesis
from tests.soak.shoppers import Pauses, Shopper
from tests.soak.told import Told
from tests.soak.verdict import Outcome, judge
from tests.soak.ways import CHANNELS

# A little above the two minutes before its end in which applying extends an order, so that expiry comes soon.
ORDER_LIFETIME_S = 150
UNITS = 10**7
SETTLED_WITHIN_S = 600
LOOK_EVERY_S = 1.0
TELL_AGAIN_EVERY_S = 5


@dataclass(frozen=True)
class Run:
    """What to run. `kinds` of faults, one about every `every_s` seconds; those in `always` all the time.

    Shoppers pay through `channels`.
    """

    orders: int
    seed: int
    every_s: float = 4.0
    kinds: Sequence[str] = EVERYTHING
    always: Sequence[str] = ()
    habits: Mapping[Habit, int] = field(default_factory=lambda: HABITS)
    channels: Sequence[str] = CHANNELS
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
            installation, kinds=run.kinds, every_s=run.every_s, seed=run.seed, always=run.always,
            channels=run.channels,
        )  # fmt: skip
        crowd = Crowd(
            _arrivals(run, installation, history, skus), threads=run.threads, at_once=run.at_once,
            every_s=run.arrive_every_s, quiet=run.quiet,
        )  # fmt: skip
        told = Told(installation, seed=run.seed)
        told.start()
        nemesis.start()
        try:
            crowd.run()
        finally:
            nemesis.stop()
            told.stop()
        installation.wait_until_whole()
        unrest = wait_until_settled(installation, history)
        outcome = judge(
            installation, history.deeds, faults=nemesis.counts, wanted=[*run.kinds, *run.always],
            channels=run.channels,
        )  # fmt: skip
        outcome.violations += [f"healing: after {SETTLED_WITHIN_S} s {what}" for what in unrest]
        outcome.violations += told.find_untold()
        return outcome


def _arrivals(
    run: Run, installation: Installation, history: History, skus: Mapping[str, Sequence[str]]
) -> Iterator[Pauses]:
    client = Client(installation.shop, installation.sandbox, connections=run.threads)
    for number in range(run.orders):
        shopper = Shopper(
            number, client, history, seed=run.seed, skus=skus, lifetime_s=ORDER_LIFETIME_S,
            channels=run.channels,
        )  # fmt: skip
        yield choose_habit(number, seed=run.seed, habits=run.habits)(shopper)


# ---- healing -----------------------------------------------------------------------------------------------------

UNSETTLED = """
select kind, subject from shop_alarm
 where due_at < now() - interval '3 seconds'
    or kind in ('take_callback', 'capture_payment', 'follow_up', 'send_refund')
"""
RECEIPTS = "select channel, channel_number from payments_receipt"
ASKED_ABOUT = "select number from payments_payment where status = 'PAYING'"
AWAITED = """
select payment.number from payments_payment payment join orders_order placed on placed.id = payment.order_id
 where payment.status = 'PAYING' and payment.superseded_at is null and placed.status = 'UNPAID'
"""


def wait_until_settled(
    installation: Installation, history: History, *, within_s: float = SETTLED_WITHIN_S
) -> list[str]:
    """Wait until all money has a home, what shoppers agreed to is taken or not wanted any more, and nothing is due.

    Returns what has not come to rest by then.
    """
    agreed = {
        deed.subject for deed in history.deeds if deed.what == "agree" and deed.ending is not Ending.REFUSED
    }
    began = told_at = time.monotonic()
    unrest = ["it does not answer"]
    while unrest and time.monotonic() < began + within_s:
        with suppress(psycopg.Error, requests.RequestException):  # not back yet
            homeless = _find_homeless(installation)
            unrest = [*_describe_unrest(installation, homeless, agreed)]
            if time.monotonic() > told_at + TELL_AGAIN_EVERY_S:
                told_at = time.monotonic()
                _tell_again(installation, homeless)
        time.sleep(LOOK_EVERY_S if unrest else 0)
    return unrest


def _describe_unrest(
    installation: Installation, homeless: list[dict[str, Any]], agreed: set[str]
) -> Iterator[str]:
    for trade in homeless:
        yield f"{trade['channel_number']}, paid at {trade['channel']} for {trade['out_trade_no']}, has no receipt"
    for (number,) in installation.ask(AWAITED):
        if number in agreed:
            yield f"{number} is wanted and was agreed to, but is not taken"
    for kind, subject in installation.ask(UNSETTLED):
        yield f"the alarm {kind} of {subject} waits"


def _find_homeless(installation: Installation) -> list[dict[str, Any]]:
    """The trades that were paid and have no receipt."""
    received = set(installation.ask(RECEIPTS))
    paid = [trade for trade in installation.trades() if trade["status"] == "PAID"]
    return [trade for trade in paid if (trade["channel"], trade["channel_number"]) not in received]


def _tell_again(installation: Installation, homeless: list[dict[str, Any]]) -> None:
    """Of money for an attempt that has ended we hear from the channel only. It tries for days, which nobody waits for.

    What is asked about still must be found by asking.
    """
    asked_about = {number for (number,) in installation.ask(ASKED_ABOUT)}
    for trade in homeless:
        if trade["out_trade_no"] not in asked_about:
            installation.tell_again(trade)
