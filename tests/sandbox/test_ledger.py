"""The ledger by itself: what may be kept about a trade, what is booked when, and a file of an earlier version."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from payments.sandbox.clock import now_us
from payments.sandbox.ledger import Ledger

HOUR_US = 3600 * 1_000_000
NUMBERS = count()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger(":memory:") as ledger:
        yield ledger


def open_trade(ledger: Ledger, number: str = "ND1", channel: str = "toy", **changes):
    facts: dict[str, Any] = {
        "amount": 500,
        "currency": "USD",
        "description": "x",
        "notify_url": "",
        "request": {},
    }
    return ledger.open_trade(
        channel=channel, out_trade_no=number, expires_at=now_us() + HOUR_US, **(facts | changes)
    )


def pay(ledger: Ledger, number: str = "ND1", **changes):
    trade = open_trade(ledger, number, **changes)
    ledger.pay_trade(trade, lambda: f"C{next(NUMBERS)}")
    return ledger.get_trade(trade.id)


def refund(ledger: Ledger, trade, number: str, ends_as: str = "SUCCESS"):
    return ledger.open_refund(
        trade,
        out_refund_no=number,
        channel_number=f"C{next(NUMBERS)}",
        amount=100,
        notify_url="",
        request={},
        due_at=now_us(),
        ends_as=ends_as,
    )


# Notes


def test_new_trade_has_no_notes(ledger):
    assert open_trade(ledger).notes == {}


def test_notes_are_kept_beside_each_other_and_the_newest_of_a_name_counts(ledger):
    trade = open_trade(ledger)

    ledger.note(trade, token="T1", state={"agreed": False})
    told = ledger.note(trade, state={"agreed": True})

    assert told.notes == ledger.get_trade(trade.id).notes == {"token": "T1", "state": {"agreed": True}}


def test_trade_is_found_by_what_was_noted_in_its_own_channel(ledger):
    trade = ledger.note(open_trade(ledger), token="T1")
    ledger.note(open_trade(ledger, channel="other"), token="T1")

    assert ledger.find_noted("toy", "token", "T1") == trade
    assert ledger.find_noted("toy", "token", "T2") is None
    assert ledger.find_noted("toy", "name", "T1") is None


def test_payment_by_the_channels_own_fault_keeps_the_notes(ledger):
    trade = ledger.note(open_trade(ledger), token="T1")

    ledger.pay_trade(trade, lambda: f"C{next(NUMBERS)}", copies=2)

    assert [part.notes for part in ledger.list_trades()] == [{"token": "T1"}] * 2


# Events and webhooks


def test_payment_is_announced_as_its_event_to_the_address_of_the_request(ledger):
    trade = open_trade(ledger, notify_url="http://127.0.0.1:1/a")
    ledger.set_webhook("toy", "http://127.0.0.1:1/b")

    ledger.pay_trade(trade, lambda: "C", event="CAPTURED")

    [notice] = ledger.list_notices("toy", "ND1")
    assert (notice.url, notice.event, notice.refund_id) == ("http://127.0.0.1:1/a", "CAPTURED", None)


def test_webhook_takes_what_names_no_address_and_the_newest_one_counts(ledger):
    trade = open_trade(ledger)
    ledger.announce(trade, "LOST")
    ledger.set_webhook("toy", "http://127.0.0.1:1/a")
    ledger.set_webhook("toy", "http://127.0.0.1:1/b")

    ledger.announce(trade, "AGREED")

    [notice] = ledger.list_notices("toy", "ND1")
    assert (notice.url, notice.event) == ("http://127.0.0.1:1/b", "AGREED")


def test_end_of_a_refund_goes_to_the_webhook(ledger):
    ledger.set_webhook("toy", "http://127.0.0.1:1/")
    given = refund(ledger, pay(ledger), "R1")

    ledger.finish_refunds(now_us())

    assert [notice.refund_id for notice in ledger.list_notices("toy", "ND1")] == [None, given.id]


# Statements


def test_payments_and_successful_refunds_are_booked_in_order(ledger):
    first, second = pay(ledger, "ND1"), pay(ledger, "ND2")
    open_trade(ledger, "ND3")
    pay(ledger, "ND4", channel="other")
    for number, end in (("R1", "SUCCESS"), ("R2", "CLOSED"), ("R3", "ABNORMAL")):
        refund(ledger, first, number, end)
    ledger.finish_refunds(now_us())
    refund(ledger, second, "R4")

    booked = ledger.list_booked("toy", 0, now_us() + 1)

    assert [(line.trade.out_trade_no, line.refund and line.refund.out_refund_no) for line in booked] == [
        ("ND1", None),
        ("ND2", None),
        ("ND1", "R1"),
    ]
    assert [line.at for line in booked] == sorted(line.at for line in booked)


def test_refund_is_booked_when_it_ended_not_when_its_trade_was_paid(ledger):
    trade = pay(ledger)
    refund(ledger, trade, "R1")
    ledger.finish_refunds(trade.paid_at + HOUR_US)

    assert [line.refund for line in ledger.list_booked("toy", trade.paid_at, trade.paid_at + 1)] == [None]
    [late] = ledger.list_booked("toy", trade.paid_at + 1, trade.paid_at + HOUR_US + 1)
    assert late.refund.out_refund_no == "R1"


def test_moment_of_the_end_belongs_to_the_next_statement(ledger):
    trade = pay(ledger)

    assert ledger.list_booked("toy", trade.paid_at - 10, trade.paid_at) == []
    assert len(ledger.list_booked("toy", trade.paid_at, trade.paid_at + 1)) == 1


# Earlier versions


def test_ledger_of_an_earlier_version_gets_its_columns_and_keeps_its_rows(tmp_path):
    file = tmp_path / "ledger.sqlite3"
    with Ledger(file) as ledger:
        pay(ledger, notify_url="http://127.0.0.1:1/")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("ALTER TABLE trades DROP COLUMN notes")
        db.execute("ALTER TABLE notices DROP COLUMN event")
        db.execute("DROP TABLE webhooks")

    with Ledger(file) as ledger:
        [trade] = ledger.list_trades()
        assert (trade.status, trade.notes) == ("PAID", {})
        assert [notice.event for notice in ledger.list_notices("toy", "ND1")] == [""]
        assert ledger.note(trade, token="T1").notes == {"token": "T1"}
        assert ledger.find_webhook("toy") == ""
