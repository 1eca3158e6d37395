"""The audit against a channel's own list of trades, as the sandbox gives it: what is planted on either side is found."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments.audit import OF_TRADES, BadTrades, audit_trades, title_of
from payments.channels.base import Outcome
from payments.models import Case, Receipt, Refund
from tests.factories import make_order, make_payment
from tests.payments.audit_world import (
    NOON,
    PRICE,
    World,
    ask,
    build_world,
    change,
    copy,
    finish,
    order_of,
    pay,
    unguarded,
)

pytestmark = pytest.mark.django_db

Trade = dict[str, Any]
PLANTS: list[Any] = []
STATES = {"REFUNDED": "SUCCESS", "REFUNDING": "PROCESSING", "FAILED": "CLOSED"}


def plant(*invariants: str, words: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register a hand that spoils the world or its channel's list; it returns whom the audit must name."""

    def register(spoil: Callable[..., str]) -> Callable[..., str]:
        PLANTS.append(pytest.param(spoil, set(invariants), words, id=f"{invariants[0]}-{spoil.__name__}"))
        return spoil

    return register


@pytest.fixture
def world() -> World:
    world = build_world()
    unguarded()
    return world


@pytest.fixture
def trades(world) -> list[Trade]:
    """What the channel of this world would list, with two trades that nobody paid, one of them not ours."""
    unpaid = [tell_unpaid(number, "OPEN") for number in (world.paying.number, "SOMEBODYELSES")]
    trades = [tell_trade(receipt) for receipt in Receipt.objects.all()] + unpaid
    find(trades, world.mismatch)["amount"] = PRICE  # it once reported less
    return trades


def tell_trade(receipt: Receipt) -> Trade:
    return {
        "channel": receipt.channel,
        "out_trade_no": receipt.number,
        "channel_number": receipt.channel_number,
        "amount": receipt.amount,
        "currency": receipt.currency,
        "status": "PAID",
        "created_at": NOON.isoformat(timespec="microseconds"),
        "paid_at": NOON.isoformat(timespec="microseconds"),
        "refunds": [tell_refund(refund) for refund in receipt.refunds.all() if refund.status in STATES],
        "notifications": [],
    }


def tell_refund(refund: Refund) -> dict[str, Any]:
    return {"out_refund_no": refund.number, "amount": refund.amount, "status": STATES[refund.status]}


def tell_unpaid(number: str, status: str) -> Trade:
    nothing: Trade = {"channel_number": None, "paid_at": None, "refunds": []}
    return {
        "channel": "wechat",
        "out_trade_no": number,
        "amount": PRICE,
        "currency": "CNY",
        "status": status,
    } | nothing


def find(trades: list[Trade], receipt: Receipt) -> Trade:
    return next(trade for trade in trades if trade["channel_number"] == receipt.channel_number)


def refund_there(trades: list[Trade], refund: Refund) -> dict[str, Any]:
    refunds = find(trades, refund.receipt)["refunds"]
    return next(made for made in refunds if made["out_refund_no"] == refund.number)


# ---- I10, and with it the totals of I16 --------------------------------------------------------------------------


@plant("I10", "I16", words=f", {PRICE} CNY, but has no receipt")
def paid_order_is_lost(world: World, trades: list[Trade]) -> str:
    lost = find(trades, world.settled) | {
        "out_trade_no": world.paying.number,
        "channel_number": "4200L",
        "refunds": [],
    }
    trades.append(lost)
    return "4200L"


@plant("I10", "I16", words="was paid at wechat for SOMEBODYELSES, ")
def money_of_an_unknown_number_has_no_receipt(world: World, trades: list[Trade]) -> str:
    trades[-1] |= {"status": "PAID", "channel_number": "4200S", "paid_at": NOON.isoformat()}
    return "4200S"


@plant("I10", "I16", words="but was not paid at wechat")
def receipt_has_no_trade(world: World, trades: list[Trade]) -> str:
    trades.remove(find(trades, world.unmatched))
    return world.unmatched.channel_number


@plant("I10", "I16", words="but was not paid at wechat")
def receipt_has_a_trade_that_was_not_paid(world: World, trades: list[Trade]) -> str:
    find(trades, world.unmatched)["status"] = "CLOSED"
    return world.unmatched.channel_number


@plant("I10", "I16", words="was paid at wechat with 499 CNY, but its receipt is of 500 CNY")
def receipt_is_of_another_amount(world: World, trades: list[Trade]) -> str:
    find(trades, world.unmatched)["amount"] = 499
    return world.unmatched.channel_number


@plant("I10", "I16", words="was paid at wechat with 500 USD, but its receipt is of 500 CNY")
def receipt_is_of_another_currency(world: World, trades: list[Trade]) -> str:
    find(trades, world.unmatched)["currency"] = "USD"
    return world.unmatched.channel_number


@plant("I10", words=", but its receipt is for ")
def money_is_booked_on_another_payment(world: World, trades: list[Trade]) -> str:
    find(trades, world.settled)["out_trade_no"] = world.surplus.number
    return world.settled.channel_number


@plant("I10", "I16", words="is listed twice by wechat")
def trade_is_listed_twice(world: World, trades: list[Trade]) -> str:
    trades.append(find(trades, world.unmatched))
    return world.unmatched.channel_number


# ---- I11 ---------------------------------------------------------------------------------------------------------


def keep(receipt: Receipt, trades: list[Trade]) -> str:
    trades.append(tell_trade(copy(receipt, channel_number="4200KEPT")))
    return order_of(receipt).number


@plant("I11", words=f"is CLOSED, so the channels should keep 0 of its money, but keep {PRICE}")
def closed_order_keeps_late_money(world: World, trades: list[Trade]) -> str:
    return keep(world.late, trades)


@plant("I11", words=f"is REFUNDED, so the channels should keep 0 of its money, but keep {PRICE}")
def refunded_order_keeps_money(world: World, trades: list[Trade]) -> str:
    return keep(world.refunded, trades)


@plant(
    "I11",
    words=f"is READY_FOR_SHIPMENT, so the channels should keep {PRICE - 400} of its money, but keep {PRICE * 3 - 400}",
)
def paid_order_keeps_surplus_money(world: World, trades: list[Trade]) -> str:
    return keep(world.surplus, trades)


@plant("I11", words=f"should keep {PRICE + 1} of its money, but keep {PRICE}")
def order_is_to_be_delivered_for_less_than_its_price(world: World, trades: list[Trade]) -> str:
    receipt = pay(make_payment(make_order()))
    trades.append(tell_trade(receipt))
    change(order_of(receipt), amount=PRICE + 1)
    return order_of(receipt).number


@plant("I11", words=f"is UNPAID, so the channels should keep 0 of its money, but keep {PRICE}")
def unpaid_order_keeps_money(world: World, trades: list[Trade]) -> str:
    trades.append(tell_trade(copy(world.late, channel_number="4200KEPT", order=world.unpaid)))
    return world.unpaid.number


# ---- I12, and with it the totals of I16 --------------------------------------------------------------------------


def refund_unmatched(world: World, trades: list[Trade]) -> Refund:
    """Unmatched money that went back in full, on both sides."""
    refund = finish(ask(world.unmatched, 500))
    find(trades, world.unmatched)["refunds"].append(tell_refund(refund))
    return refund


@plant("I12", "I16", words="of 1 was made at wechat from trade 4200NOBODY, but is no refund of ours")
def channel_gave_back_what_we_do_not_know(world: World, trades: list[Trade]) -> str:
    made = {"out_refund_no": "RSTRANGE", "amount": 1, "status": "SUCCESS"}
    find(trades, world.unmatched)["refunds"].append(made)
    return "RSTRANGE"


@plant("I12", words="of 1 was made at wechat from trade 4200NOBODY, but is no refund of ours")
def money_that_we_do_not_know_of_is_stuck_at_the_channel(world: World, trades: list[Trade]) -> str:
    made = {"out_refund_no": "RSTUCK", "amount": 1, "status": "ABNORMAL"}
    find(trades, world.unmatched)["refunds"].append(made)
    return "RSTUCK"


@plant("I12", words="was made from trade 4200NOBODY, but is ours from another")
def refund_is_booked_on_another_receipt(world: World, trades: list[Trade]) -> str:
    refund = refund_unmatched(world, trades)
    change(refund, receipt=world.mismatch)
    return refund.number


@plant("I12", "I16", words="was made at wechat of 499, but is ours of 500")
def channel_gave_back_another_amount(world: World, trades: list[Trade]) -> str:
    refund = refund_unmatched(world, trades)
    refund_there(trades, refund)["amount"] = 499
    return refund.number


@plant("I12", "I16", words="was made at wechat, but is REJECTED")
def channel_gave_back_what_we_rejected(world: World, trades: list[Trade]) -> str:
    made = {"out_refund_no": world.rejected.number, "amount": 300, "status": "SUCCESS"}
    find(trades, world.settled)["refunds"].append(made)
    return world.rejected.number


@plant("I12", "I16", words="is REFUNDED with 500, but wechat has not made it")
def refund_of_ours_is_not_done_at_the_channel(world: World, trades: list[Trade]) -> str:
    refund = refund_unmatched(world, trades)
    refund_there(trades, refund)["status"] = "PROCESSING"
    return refund.number


@plant("I12", "I16", words="is REFUNDED with 500, but wechat has not made it")
def refund_of_ours_never_reached_the_channel(world: World, trades: list[Trade]) -> str:
    refund = refund_unmatched(world, trades)
    find(trades, world.unmatched)["refunds"].clear()
    return refund.number


@plant("I12", words="was made in the console of the channel, but is no case")
def refund_in_the_console_is_no_case(world: World, trades: list[Trade]) -> str:
    Case.objects.filter(subject=world.console.number).delete()
    return world.console.number


# ---- I16 alone ---------------------------------------------------------------------------------------------------


@plant("I16", words="keeps 0 at the channel, but 500 here")
def money_is_booked_on_another_day(world: World, trades: list[Trade]) -> str:
    change(world.unmatched, paid_at=NOON - timedelta(days=1))
    return "wechat 2026-11-20 CNY"


# ---- the tests ---------------------------------------------------------------------------------------------------


def test_list_of_a_right_world_agrees(trades):
    assert audit_trades(trades) == []


@pytest.mark.parametrize(("spoil", "invariants", "words"), PLANTS)
def test_planted_difference_is_found_and_named(world, trades, spoil, invariants, words):
    subject = spoil(world, trades)
    found = audit_trades(trades)
    assert {violation.invariant for violation in found} == invariants
    assert [found for found in found if found.subject == subject and words in found.detail]


def test_every_invariant_against_the_channel_has_a_planted_difference_and_a_title():
    assert set().union(*(plant.values[1] for plant in PLANTS)) == set(OF_TRADES)
    assert all(len(title_of(invariant)) > 20 for invariant in OF_TRADES)


def end_there(trades: list[Trade], refund: Refund) -> None:
    find(trades, refund.receipt)["refunds"] = [
        {"out_refund_no": refund.number, "amount": refund.amount, "status": "SUCCESS"}
    ]


def fail_surplus(world: World, trades: list[Trade]) -> None:
    """It stays at the channel: a person has it."""
    refund = finish(world.surplus.refunds.get(), Outcome.REFUSED)
    refund_there(trades, refund)["status"] = "CLOSED"


def begin_in_the_console(world: World, trades: list[Trade]) -> None:
    begun = {"out_refund_no": "19", "amount": 1, "status": "PROCESSING"}
    find(trades, world.unmatched)["refunds"].append(begun)


def wait_for_approval(world: World, trades: list[Trade]) -> None:
    ask(world.unmatched, 500, waits=True)


@pytest.mark.parametrize(
    "happen",
    [
        lambda world, trades: end_there(trades, world.surplus.refunds.get()),
        lambda world, trades: end_there(trades, world.shipped.refunds.get()),
        lambda world, trades: refund_there(trades, world.failed).update(status="SUCCESS"),
        lambda world, trades: change(world.unmatched, paid_at=None),
        lambda world, trades: change(world.unmatched, number="NUMBERTHATNOBODYHAS"),
        lambda world, trades: trades.append(tell_unpaid(world.ended.number, "CLOSED")),
        begin_in_the_console,
        fail_surplus,
        refund_unmatched,
        wait_for_approval,
    ],
)
def test_what_is_legitimate_at_a_channel_is_no_violation(world, trades, happen):
    happen(world, trades)
    assert audit_trades(trades) == []


def test_no_list_at_all_disagrees_with_every_receipt(world):
    found = audit_trades([])
    receipts = set(Receipt.objects.values_list("channel_number", flat=True))
    assert {violation.subject for violation in found if violation.invariant == "I10"} == receipts


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda trade: trade.update(status=None), "trades[0].status is not a text."),
        (lambda trade: trade.update(channel=7), "trades[0].channel is not a text."),
        (lambda trade: trade.pop("out_trade_no"), "trades[0].out_trade_no is not a text."),
        (lambda trade: trade.update(channel_number=None), "trades[0].channel_number is not a text."),
        (lambda trade: trade.update(currency="C\x00Y"), "trades[0].currency is not a text."),
        (lambda trade: trade.update(currency="\ud800"), "trades[0].currency is not a text."),
        (lambda trade: trade.update(amount="1"), "trades[0].amount is not a whole number of minor units."),
        (lambda trade: trade.update(amount=True), "trades[0].amount is not a whole number of minor units."),
        (lambda trade: trade.update(amount=-1), "trades[0].amount is not a whole number of minor units."),
        (lambda trade: trade.update(amount=2**63), "trades[0].amount is not a whole number of minor units."),
        (lambda trade: trade.update(paid_at=None), "trades[0].paid_at is not a time."),
        (lambda trade: trade.update(paid_at="noon"), "trades[0].paid_at is not a time."),
        (lambda trade: trade.update(paid_at="2026-11-21T12:00:00"), "trades[0].paid_at has no offset."),
        (lambda trade: trade.update(refunds=None), "trades[0].refunds is not a list."),
        (lambda trade: trade.update(refunds=[7]), "trades[0].refunds[0] is not an object."),
        (lambda trade: trade.update(refunds=[{}]), "trades[0].refunds[0].out_refund_no is not a text."),
    ],
)
def test_list_of_another_shape_is_refused_with_the_place(world, spoil, words):
    trade = tell_trade(world.late)
    spoil(trade)
    with pytest.raises(BadTrades) as refused:
        audit_trades([trade])
    assert str(refused.value) == words
    assert {violation.invariant for violation in audit_trades([])} >= {"I10"}  # nothing is broken


@pytest.mark.parametrize("trades", [{}, "PAID", 7, None, [7], [None]], ids=repr)
def test_what_is_no_list_of_trades_is_refused(trades):
    with pytest.raises(BadTrades):
        audit_trades(trades)


@pytest.mark.django_db(transaction=True)
def test_comparing_leaves_nothing_behind():
    with CaptureQueriesContext(connection) as seen:
        assert audit_trades([]) == []
    began = [query["sql"] for query in seen.captured_queries]
    assert began[1] == "set transaction isolation level repeatable read, read write"
    assert began[-1] == "ROLLBACK"
    with connection.cursor() as cursor:
        cursor.execute(
            "select to_regclass('told_trade'), to_regclass('told_refund'), to_regclass('open_refund')"
        )
        assert cursor.fetchone() == (None, None, None)


def test_number_of_statements_does_not_grow_with_the_trades(world, trades):
    with CaptureQueriesContext(connection) as of_none:
        audit_trades([])
    with CaptureQueriesContext(connection) as of_all:
        audit_trades(trades)
    assert len(of_none) == len(of_all) < len(OF_TRADES) + 9
