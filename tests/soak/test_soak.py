"""A small soak in every test run, the long one on request (`pytest -m soak`), and the soak's own judgement tested: what
never finds anything proves nothing.
"""

import os
from collections import Counter
from typing import Any

import pytest

from payments.sandbox.faults import Faults
from tests.soak import habits
from tests.soak.client import Deed, Ending
from tests.soak.detecting import Measured, gap_at
from tests.soak.nemesis import KILLS_ONLY
from tests.soak.runs import Run, soak
from tests.soak.verdict import (
    PASSED,
    UNKNOWN,
    VIOLATED,
    Outcome,
    describe,
    find_agreed,
    find_broken_promises,
    percentile,
)
from tests.soak.ways import CHANNELS, WAYS, choose_ways
from tests.soak.weather import WEATHERS, count_struck

ORDERS, SEED = int(os.environ.get("SOAK_ORDERS", "20000")), int(os.environ.get("SOAK_SEED", "1"))

FAULTS_OF_SAMPLE = (
    "notify silence", "notify duplicate", "notify tamper", "api error_after", "api garbage",
    "kill web", "kill watch", "kill cluster member", "redis emptied", "postgres restarted", "connections cut",
)  # fmt: skip
HABITS_OF_SAMPLE = {
    habits.pays_at_once: 44,
    habits.pays_twice: 10,
    habits.cancels: 4,
    habits.pays_what_it_cancelled: 4,
    habits.cancels_while_paying: 4,
    habits.cancels_what_it_paid: 4,
    habits.double_clicks: 8,
    habits.applies_again: 4,
    habits.switches: 10,
    habits.asks: 8,
}


@pytest.mark.demo
@pytest.mark.xdist_group("demo")
def test_small_soak_finds_no_violation():
    run = Run(60, seed=7, every_s=1.5, kinds=FAULTS_OF_SAMPLE, habits=HABITS_OF_SAMPLE, arrive_every_s=0.25)
    outcome = soak(run)
    told = describe(outcome, title="small soak")
    assert outcome.violations == [], told
    assert outcome.orders >= 60, told
    assert outcome.paid * 2 >= outcome.orders, told
    assert outcome.faults.keys() & set(KILLS_ONLY), told
    assert outcome.faults.keys() & set(WEATHERS), told
    assert outcome.settled.keys() == set(CHANNELS), told


@pytest.mark.soak
def test_long_soak_passes():
    """Orders and seed by the variables SOAK_ORDERS and SOAK_SEED; `python -m tests.soak` says more."""
    outcome = soak(Run(ORDERS, seed=SEED))
    told = describe(outcome, title=f"soak  seed {SEED}")
    print(told)
    assert outcome.exit_status == PASSED, told


# ---- the judgement -----------------------------------------------------------------------------------------------


class Books:
    """What `find_broken_promises` asks an installation: one order, one payment of it."""

    def ask(self, query: str) -> list[tuple[str, ...]]:
        if "orders_order" in query:
            return [("O1", "anna")]
        if "payments_payment" in query:
            return [("P1",)]
        return [("O1", "UNPAID"), ("O1", "READY_FOR_SHIPMENT")]


@pytest.mark.parametrize(
    ("deed", "is_true"),
    [
        (Deed("anna", "place", Ending.OK, "O1"), True),
        (Deed("anna", "place", Ending.UNKNOWN, ""), True),
        (Deed("anna", "place", Ending.REFUSED, ""), False),
        (Deed("anna", "place", Ending.OK, "O2"), False),
        (Deed("bert", "place", Ending.OK, "O1"), False),
        (Deed("bert", "place", Ending.REFUSED, ""), True),
        (Deed("bert", "place", Ending.UNKNOWN, ""), True),
        (Deed("anna", "apply", Ending.OK, "P1"), True),
        (Deed("anna", "apply", Ending.OK, "P2"), False),
        (Deed("anna", "apply", Ending.UNKNOWN, "P2"), True),
        (Deed("anna", "apply", Ending.REFUSED, "O1", "order_paid"), True),
        (Deed("anna", "apply", Ending.REFUSED, "O2", "order_paid"), False),
        (Deed("anna", "cancel", Ending.OK, "O1"), False),
        (Deed("anna", "cancel", Ending.REFUSED, "O1", "order_paid"), True),
        (Deed("anna", "pay", Ending.OK, "P1"), True),
        (Deed("anna", "pay", Ending.OK, "P2"), False),
        (Deed("anna", "pay", Ending.UNKNOWN, "P2"), True),
        (Deed("anna", "agree", Ending.OK, "P1"), True),
        (Deed("anna", "agree", Ending.OK, "P2"), False),
        (Deed("anna", "apply", Ending.REFUSED, "O1", "invalid"), False),
        (Deed("anna", "told READY_FOR_SHIPMENT", Ending.OK, "O1"), True),
        (Deed("anna", "told CLOSED", Ending.OK, "O1"), False),
        (Deed("anna", "look", Ending.UNKNOWN, "O1"), True),
    ],
)
def test_promise_to_a_client_is_kept_or_named(deed, is_true):
    trades = [{"out_trade_no": "P1", "status": "PAID"}, {"out_trade_no": "P2", "status": "OPEN"}]
    broken = find_broken_promises(Books(), [deed], trades)
    assert (broken == []) is is_true


def outcome_of(**changed: Any) -> Outcome:
    figures: dict[str, Any] = {
        "orders": 10,
        "statuses": Counter(),
        "receipts": Counter(settled=5),
        "endings": Counter(),
        "detections": [],
        "violations": [],
    }
    return Outcome(**figures | changed)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, PASSED),
        ({"violations": ["I1"]}, VIOLATED),
        ({"receipts": Counter(settled=4)}, UNKNOWN),
        ({"missing": ["kill web"]}, UNKNOWN),
        ({"missing": ["kill web"], "violations": ["I1"]}, VIOLATED),
    ],
)
def test_run_passes_only_when_it_tried_enough_and_found_nothing(changed, status):
    assert outcome_of(**changed).exit_status == status


def test_every_kind_of_weather_is_counted_as_often_as_the_sandbox_makes_it():
    plan = {
        "seed": 5,
        "notify": {
            "drop": 0.2,
            "duplicate": 0.2,
            "reorder": 0.2,
            "tamper": 0.2,
            "forge": 0.2,
            "delay_s": 3.0,
        },
        "api": dict.fromkeys(
            ("error_before", "error_after", "timeout_before", "timeout_after", "garbage"), 0.1
        )
        | {"slow_s": 1.0},
    }
    calls = {(channel, operation): 40 for channel in CHANNELS for operation in ("notify", "query")}
    struck = count_struck({**plan, "script": []}, calls)
    assert set(struck) == set(WEATHERS) - {"notify silence"}
    sandbox = Faults(CHANNELS)
    sandbox.set(plan)
    drawn = [sandbox.draw_notice(channel) for channel in CHANNELS for _ in range(40)]
    assert struck["notify drop"] == sum(notice.is_dropped for notice in drawn)
    assert struck["notify forge"] == sum(notice.is_forged for notice in drawn)


def test_weather_over_one_channel_spares_the_others():
    plan = {"seed": 5, "channels": ["paypal"], "notify": {"drop": 1.0}, "api": {"garbage": 1.0}}
    assert count_struck(plan, {("paypal", "notify"): 3, ("paypal", "capture"): 2}).total() == 5
    assert count_struck(plan, {("alipay", "notify"): 3, ("alipay", "create"): 2}).total() == 0


def test_shoppers_begin_in_every_way_and_change_to_another_channel_of_their_currency():
    chosen = [choose_ways(number, seed=5, channels=CHANNELS) for number in range(300)]
    assert {first for first, _ in chosen} == set(WAYS)
    assert all(first.currency == other.currency for first, other in chosen)
    assert all(first.channel != other.channel for first, other in chosen if first.currency != "USD")


def test_shoppers_pay_only_through_the_channels_of_the_run():
    chosen = [choose_ways(number, seed=5, channels=["wechat", "paypal"]) for number in range(100)]
    assert {way.channel for ways in chosen for way in ways} == {"wechat", "paypal"}


def test_consent_counts_from_when_the_shopper_first_surely_gave_it():
    lost, given, again = (
        Deed("anna", "agree", ending, "P1") for ending in (Ending.UNKNOWN, Ending.OK, Ending.OK)
    )
    assert find_agreed([lost, given, again]) == {"P1": given.at}


def test_percentile_is_a_value_that_was_seen():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([*range(1, 101)], 0.99) == 99
    assert percentile([4.0], 0.99) == 4.0


@pytest.mark.parametrize(
    ("moment_s", "gap_s"), [(0, 10), (15, 10), (29, 10), (35, 30), (50, 30), (70, 180), (241, 300)]
)
def test_gap_is_that_between_the_queries_around_a_moment(moment_s, gap_s):
    assert gap_at(moment_s) == gap_s


def test_detection_later_than_promised_is_a_failure():
    well = Measured([12.0], [13.0], {35.0: [32.9], 70.0: [182.0]}, [])
    assert well.failures == []
    assert len(Measured([13.1], [14.0], {35.0: [33.1], 70.0: []}, ["I10"]).failures) == 5
