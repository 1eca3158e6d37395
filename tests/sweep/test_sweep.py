"""The crash and pause sweep: wherever a flow is killed, paused or cut off, the money ends where it belongs.

The normal run visits a sample of every flow and deed, the same in every run. `pytest -m sweep` visits every point of
every flow; with `SWEEP_PAIRS=1` it also kills the healing after each kill, at every point of it.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from django.db import transaction

from orders.models import Order
from payments import callbacks, moves
from payments.channels.base import RefundRequest
from payments.channels.registry import get_channel
from payments.models import Payment, Receipt, Refund
from payments.moves import lock_receipt, record_foreign_refund
from shop import transactions
from shop.alarms import hasten
from shop.models import Source
from shop.numbers import new_refund_number
from shop.reads import Joined
from tests.sweep.catalogue import FLOWS
from tests.sweep.channel import Callback, TwoAttemptsPaid
from tests.sweep.flows import PRICE, given_back
from tests.sweep.seams import Deed, Point
from tests.sweep.shopper import Place
from tests.sweep.staff import PART, AskRefund
from tests.sweep.summary import PROPERTY, count
from tests.sweep.sweeping import MapMoved, Sweep, Visit
from tests.sweep.world import World

# How many visits of each deed the normal run makes in every flow, and in one that is there by another channel already.
SAMPLE = {Deed.KILL: 2, Deed.PAUSE: 2, Deed.LOSE: 1, Deed.RAISE: 1}
FEW = {Deed.KILL: 1, Deed.PAUSE: 1}

of_every_flow = pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)


@of_every_flow
def test_flow_survives_a_sample_of_what_can_befall_it(parts, flow, record_property):
    sweep = Sweep(flow, *parts)
    survive(sweep, draw(sweep), record_property)


@pytest.mark.sweep
@of_every_flow
def test_flow_survives_whatever_befalls_it_wherever(parts, flow, record_property):
    sweep = Sweep(flow, *parts)
    visits = sweep.pairs() if os.environ.get("SWEEP_PAIRS") else sweep.visits()
    survive(sweep, visits, record_property)


def draw(sweep: Sweep) -> Iterator[Visit]:
    """Some visits of each deed, the same in every run; of the pauses rather those between two transactions."""
    dice = random.Random(sweep.flow.name)
    visits = list(sweep.visits())
    dice.shuffle(visits)
    visits.sort(key=lambda visit: "commit done" not in visit.point.label)
    for deed, most in (FEW if sweep.flow.is_repeated else SAMPLE).items():
        of_this_deed = [visit for visit in visits if visit.deed is deed]
        few = of_this_deed if deed is Deed.PAUSE else dice.sample(of_this_deed, len(of_this_deed))
        yield from few[:most]


def survive(sweep: Sweep, visits: Iterable[Visit], record_property) -> None:
    """Make all the visits, count them, and fail with every one that ended wrong."""
    visited: Counter[str] = Counter()
    wrong = {}
    for visit in visits:
        visited[str(visit.deed)] += 1
        if found := sweep.make(visit):
            wrong[str(visit)] = found
    record_property(PROPERTY, count(sweep.flow.name, len(sweep.points), visited, len(wrong)))
    assert not wrong, "\n".join(f"{visit}: {line}" for visit, found in wrong.items() for line in found)


# ---- the harness itself ------------------------------------------------------------------------------------------


class CallThenRecord(AskRefund):
    """A part goes back in one refund. (It does not: the call is made before anything is written down.)"""

    ends = [given_back("READY_FOR_SHIPMENT", "settled", kept_by_channel=PRICE - PART)]

    def run(self, world: World) -> None:
        receipt, number = Receipt.objects.get(), new_refund_number()
        wish = RefundRequest(
            number=number,
            payment_number=receipt.number,
            channel_number=receipt.channel_number,
            amount_minor=PART,
            paid_minor=PRICE,
            currency="CNY",
            reason="wrong size",
            notify_url=f"{world.mailbox.url}/notify/wechat/",
            scene="qr",
            started_at=receipt.created_at,
        )
        get_channel("wechat").refund(wish)
        with transaction.atomic():
            _, locked = lock_receipt(receipt.pk)
            record_foreign_refund(
                locked, number=number, channel_number=number, amount=PART, source=Source.STAFF
            )
            Refund.objects.update(kind=Refund.Kind.ASKED)

    def again(self, world: World) -> None:
        if not Refund.objects.exists():
            self.run(world)


class OneMore(Callback):
    """The same flow with one more statement of its own."""

    def run(self, world: World) -> None:
        super().run(world)
        hasten("query_payment", "nobody")


def ends_of(sweep: Sweep, deed: Deed, moment: str) -> list[str]:
    """All that is wrong after this deed at this moment of the flow."""
    visits = [visit for visit in sweep.visits() if visit.deed is deed and visit.point.label.endswith(moment)]
    assert visits
    return [line for visit in visits for line in sweep.make(visit)]


def test_sweep_catches_a_flow_that_calls_before_it_records(parts):
    sweep = Sweep(CallThenRecord(), *parts)
    for moment in ("call done #1", "call known #1", "commit before #1"):
        assert any(
            f"'kept_by_channel': {PRICE - 2 * PART}" in line for line in ends_of(sweep, Deed.KILL, moment)
        )


def test_sweep_catches_an_answer_that_leaves_before_the_commit(parts, monkeypatch):
    monkeypatch.setattr(callbacks, "_take", lambda *_: None)
    sweep = Sweep(Callback(), *parts)
    assert any("not kept" in line for line in ends_of(sweep, Deed.KILL, "answer out #1"))


def test_sweep_catches_a_lock_that_is_not_taken(parts, monkeypatch):
    unlocked = """
        from payments_payment payment join orders_order placed on placed.id = payment.order_id
        where payment.number = %s and payment.channel = %s
    """
    monkeypatch.setattr(moves, "WITH_ITS_ORDER", Joined(unlocked, placed=Order, payment=Payment))
    # A constraint refuses what the lock would have prevented, and who tries again finds it: not here.
    monkeypatch.setattr(transactions, "REPEATABLE", frozenset())
    found = ends_of(Sweep(TwoAttemptsPaid(), *parts), Deed.PAUSE, "payments.callbacks:_take write decided #1")
    assert any("one_receipt_per_trade" in line for line in found)


def test_sweep_fails_at_a_point_that_is_never_reached(parts):
    sweep = Sweep(Place(), *parts)
    with pytest.raises(MapMoved):
        sweep.make(Visit(Point(len(sweep.points), "nowhere", "before"), Deed.KILL))


def test_sweep_fails_at_a_point_that_is_another_one_than_recorded(parts):
    sweep = Sweep(Place(), *parts)
    with pytest.raises(MapMoved):
        sweep.make(Visit(Point(0, "elsewhere", "before"), Deed.KILL))


def test_statement_more_in_a_flow_is_a_point_more_of_its_map(parts):
    before, after = (
        [point.label for point in Sweep(flow, *parts).points] for flow in (Callback(), OneMore())
    )
    assert [label for label in after if label not in before] == [
        "shop.alarms:hasten write before #1",
        "shop.alarms:hasten write done #1",
    ]
