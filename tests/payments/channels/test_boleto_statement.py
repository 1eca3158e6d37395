"""The statement of a Stripe account: fetched page by page, kept without the payer, read line by line."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime

import pytest

from payments.channels.base import (
    BadStatement,
    LineKind,
    NotReady,
    Refused,
    StatementLine,
    Unanswered,
    Unreachable,
)

from .boleto_party import ScriptedWire, booking, error, make_boleto, page, reply

DAY = date(2026, 11, 24)
AFTER = datetime(2026, 11, 25, tzinfo=UTC)
BACK = {"type": "payment_failure_refund", "amount": -12900, "fee": 0}


def fetch(*replies, wire=None, now=AFTER) -> bytes:
    into = io.BytesIO()
    make_boleto(*replies, wire=wire, now=now).fetch_statement(DAY, into)
    return into.getvalue()


def read(content: bytes) -> list[StatementLine]:
    return list(make_boleto().read_statement(io.BytesIO(content)))


def test_payment_becomes_a_line_with_fee_and_our_number():
    assert read(fetch(page(booking()))) == [
        StatementLine(
            kind=LineKind.PAYMENT,
            number="NDP20261121A0000001",
            channel_number="pi_3ThrowawayNodrop0001",
            amount_minor=12900,
            currency="BRL",
            fee_minor=345,
            at=datetime(2026, 11, 24, 10, 0, 4, tzinfo=UTC),
            code="payment",
        )
    ]


def test_money_that_was_taken_back_becomes_a_refund_of_its_payment():
    [line] = read(fetch(page(booking(**BACK))))
    assert (line.kind, line.amount_minor, line.fee_minor) == (LineKind.REFUND, 12900, 0)
    assert line.number == line.channel_number == "py_3ThrowawayNodrop0001"
    assert (line.payment_number, line.trade_number) == ("NDP20261121A0000001", "pi_3ThrowawayNodrop0001")


@pytest.mark.parametrize("kind", ["payout", "stripe_fee", "adjustment", "reserve_hold", "a_new_type"])
def test_booking_of_no_shoppers_money_is_no_line(kind):
    assert read(fetch(page(booking(type=kind, source=None), booking(2)))) == read(fetch(page(booking(2))))


@pytest.mark.parametrize("source", [{"id": "ch_1", "metadata": {}}, {"id": "ch_1"}, "ch_1"], ids=str)
def test_payment_of_another_system_is_a_line_without_our_number(source):
    [line] = read(fetch(page(booking(type="charge", source=source))))
    assert (line.number, line.channel_number) == ("", "ch_1")


def test_day_is_asked_for_in_utc_with_the_charges_inside():
    wire = ScriptedWire(page())
    fetch(wire=wire)
    assert wire.sent[0]["url"].startswith("https://api.example/v1/balance_transactions?created%5Bgte%5D=")
    assert wire.words() == {
        "created[gte]": str(int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())),
        "created[lt]": str(int(datetime(2026, 11, 25, tzinfo=UTC).timestamp())),
        "limit": "100",
        "expand[0]": "data.source",
    }


def test_pages_are_followed_to_the_end():
    wire = ScriptedWire(
        page(booking(1), booking(2), has_more=True), page(booking(3), has_more=True), page(booking(4))
    )
    lines = read(fetch(wire=wire))
    assert [line.number[-1] for line in lines] == ["1", "2", "3", "4"]
    cursors = [wire.words(place).get("starting_after") for place in range(3)]
    assert cursors == [None, "txn_3ThrowawayNodrop0002", "txn_3ThrowawayNodrop0003"]


def test_day_without_a_booking_is_a_statement_without_a_line():
    assert read(fetch(page())) == []


def test_statement_holds_nothing_of_the_payer():
    written = fetch(page(booking()))
    assert b"Maria" not in written
    assert b"00000000000" not in written


def test_statement_of_a_day_that_is_not_over_is_not_ready():
    wire = ScriptedWire()
    with pytest.raises(NotReady):
        fetch(wire=wire, now=datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC))
    assert wire.sent == []


def test_statement_is_ready_the_next_morning():
    assert make_boleto().statement_ready_at(DAY) == datetime(2026, 11, 25, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer",
    [
        Unanswered("x", code="timeout"),
        error(500, None, kind="api_error"),
        error(429, "rate_limit"),
        error(400, "a_new_code"),
        reply(200, b"<<<"),
        reply(200, {}),
        reply(200, {"object": "list", "data": []}),
        reply(200, {"object": "list", "data": [], "has_more": 0}),
        reply(200, {"object": "search_result", "data": [], "has_more": False}),
        reply(200, {"object": "list", "data": None, "has_more": False}),
        reply(200, {"object": "list", "data": ["txn_1"], "has_more": False}),
        reply(200, {"object": "list", "data": [{"id": 7}], "has_more": False}),
        page(has_more=True),
    ],
)
def test_page_that_is_no_list_ends_the_fetch(answer):
    with pytest.raises(Unanswered):
        fetch(page(booking(), has_more=True), answer)


def test_list_that_does_not_go_on_ends_the_fetch():
    with pytest.raises(Unanswered):
        fetch(page(booking(), has_more=True), page(booking(), has_more=True))


def test_refusal_and_a_missing_connection_are_told_as_such():
    with pytest.raises(Refused):
        fetch(error(401, None))
    with pytest.raises(Unreachable):
        fetch(Unreachable("x"))


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 129.0},
        {"amount": None},
        {"fee": "345"},
        {"fee": None},
        {"currency": "real"},
        {"created": None},
        {"type": None},
        {"source": None},
        {"source": {"id": None}},
        BACK | {"amount": 12900},
    ],
    ids=str,
)
def test_line_with_a_field_missing_or_wrong_is_refused_with_its_place(change):
    content = fetch(page(booking(), booking(**change)))
    lines = make_boleto().read_statement(io.BytesIO(content))
    assert next(lines).amount_minor == 12900
    with pytest.raises(BadStatement, match="line 2"):
        next(lines)


def test_statement_cut_at_any_line_is_refused():
    rows = fetch(page(booking(), booking(2))).splitlines(keepends=True)
    for count in range(len(rows)):
        with pytest.raises(BadStatement):
            read(b"".join(rows[:count]))


def test_statement_with_a_line_more_or_twice_is_refused():
    rows = fetch(page(booking(), booking(2))).splitlines(keepends=True)
    for rest in ([rows[0], *rows], [*rows, rows[0]], [*rows, b"\n"], [rows[0], rows[-1]]):
        with pytest.raises(BadStatement):
            read(b"".join(rest))


def test_statement_cut_inside_a_line_is_refused():
    content = fetch(page(booking()))
    for length in range(0, len(content) - 2, 7):
        with pytest.raises(BadStatement):
            read(content[:length])


def test_lines_of_json_that_are_no_statement_are_refused():
    with pytest.raises(BadStatement, match="line 1"):
        read(json.dumps([booking()]).encode())
