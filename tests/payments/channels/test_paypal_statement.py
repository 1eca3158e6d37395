"""Specification of PayPal's transaction search as a statement; no database and no network."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from payments.channels.base import (
    BadStatement,
    LineKind,
    NotReady,
    Refused,
    StatementLine,
    Unanswered,
)

from .party import reply
from .paypal_party import (
    CAPTURE_ID,
    NUMBER,
    REFUND_ID,
    REFUND_NUMBER,
    USD,
    ScriptedWire,
    error,
    info,
    make_paypal,
    page,
    refund_info,
)

# ---- statement ---------------------------------------------------------------------------------------------------

DAY = date(2026, 11, 20)


PAYMENT_LINE = StatementLine(
    kind=LineKind.PAYMENT,
    number=NUMBER,
    channel_number=CAPTURE_ID,
    amount_minor=1990,
    currency="USD",
    fee_minor=108,
    at=datetime(2026, 11, 20, 10, 10, 34, tzinfo=UTC),
    code="T0006",
)
REFUND_LINE = StatementLine(
    kind=LineKind.REFUND,
    number=REFUND_NUMBER,
    channel_number=REFUND_ID,
    amount_minor=500,
    currency="USD",
    trade_number=CAPTURE_ID,
    at=datetime(2026, 11, 20, 12, 1, 2, tzinfo=UTC),
    code="T1107",
)


def fetch(*replies: Any) -> tuple[BytesIO, ScriptedWire]:
    wire, file = ScriptedWire(*replies), BytesIO()
    make_paypal(wire=wire).fetch_statement(DAY, file)
    file.seek(0)
    return file, wire


def lines_of(*pages: Any) -> list[StatementLine]:
    file = BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in pages))
    return list(make_paypal().read_statement(file))


def asked(wire: ScriptedWire, place: int) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(wire.sent[place]["url"]).query).items()}


def test_day_is_searched_page_by_page_and_read_back():
    file, wire = fetch(reply(200, page(info(), pages=2)), reply(200, page(refund_info(), number=2, pages=2)))
    assert file.getvalue().count(b"\n") == 2
    assert list(make_paypal().read_statement(file)) == [PAYMENT_LINE, REFUND_LINE]
    assert asked(wire, 0) == {
        "start_date": "2026-11-20T00:00:00Z",
        "end_date": "2026-11-20T23:59:59Z",
        "fields": "transaction_info",
        "page_size": "500",
        "page": "1",
    }
    assert asked(wire, 1)["page"] == "2"


def test_day_on_which_nothing_happened_is_an_empty_statement():
    file, wire = fetch(reply(200, page(pages=0)))
    assert list(make_paypal().read_statement(file)) == []
    assert len(wire.sent) == 1


def test_day_of_too_many_transactions_is_searched_in_halves():
    many = [error(400, "RESULTSET_TOO_LARGE")]
    file, wire = fetch(
        *many, *many, *[reply(200, page(info(transaction_id=name))) for name in ("A", "B", "C")]
    )
    spans = [(asked(wire, place)["start_date"], asked(wire, place)["end_date"]) for place in (2, 3, 4)]
    assert spans == [
        ("2026-11-20T00:00:00Z", "2026-11-20T05:59:59Z"),
        ("2026-11-20T06:00:00Z", "2026-11-20T11:59:59Z"),
        ("2026-11-20T12:00:00Z", "2026-11-20T23:59:59Z"),
    ]
    assert [line.channel_number for line in make_paypal().read_statement(file)] == ["A", "B", "C"]


@pytest.mark.parametrize("refreshed", ["2026-11-20T23:59:59Z", "2026-11-20T00:00:00Z"])
def test_search_that_has_not_come_to_the_end_of_the_day_is_not_ready(refreshed):
    with pytest.raises(NotReady):
        fetch(reply(200, page(info(), last_refreshed_datetime=refreshed)))


def test_search_that_has_come_to_the_very_end_of_the_day_is_ready():
    fetch(reply(200, page(info(), last_refreshed_datetime="2026-11-21T00:00:00Z")))


def test_statement_is_not_expected_before_the_search_has_caught_up():
    assert make_paypal().statement_ready_at(DAY) == datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        reply(429),
        error(400, "OTHER"),
        reply(200, b"<<<"),
        reply(200, page(last_refreshed_datetime=None)),
        reply(200, page(last_refreshed_datetime="soon")),
        reply(200, page(number=2)),
        reply(200, page(pages="1")),
        reply(200, page(page=None)),
        Unanswered("x"),
    ],
)
def test_page_that_cannot_be_believed_is_unanswered(answer):
    with pytest.raises(Unanswered):
        fetch(answer)


def test_pages_that_change_while_they_are_read_are_unanswered():
    with pytest.raises(Unanswered) as unanswered:
        fetch(reply(200, page(info(), pages=2)), reply(200, page(info(), number=2, pages=3)))
    assert unanswered.value.code == "changed"


def test_app_without_the_permission_is_refused():
    with pytest.raises(Refused):
        fetch(error(403, "NOT_AUTHORIZED"))


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        (info(), [LineKind.PAYMENT]),
        (info(transaction_event_code="T0007"), [LineKind.PAYMENT]),
        (info(transaction_status="V"), [LineKind.PAYMENT]),
        (info(transaction_status="P"), []),
        (info(transaction_status="D"), []),
        (info(transaction_amount={"currency_code": "USD", "value": "-19.90"}), []),
        (refund_info(), [LineKind.REFUND]),
        (refund_info(transaction_event_code="T1106"), [LineKind.REFUND]),
        (refund_info(transaction_event_code="T1201"), [LineKind.REFUND]),
        (refund_info(transaction_status="P"), []),
        (refund_info(transaction_event_code="T1110"), []),
        (refund_info(transaction_amount={"currency_code": "USD", "value": "5.00"}), []),
        (
            info(
                transaction_event_code="T0400",
                transaction_amount={"currency_code": "USD", "value": "-900.00"},
            ),
            [],
        ),
    ],
)
def test_only_money_that_came_or_went_back_is_a_line(line, kinds):
    assert [found.kind for found in lines_of(page(line))] == kinds


def test_refund_made_in_paypals_site_names_its_payment():
    [line] = lines_of(page(refund_info(custom_field=f"payment:{NUMBER}", invoice_id=NUMBER)))
    assert (line.number, line.payment_number, line.trade_number) == (REFUND_ID, NUMBER, CAPTURE_ID)


def test_fee_that_came_back_is_below_zero():
    [line] = lines_of(page(refund_info(fee_amount={"currency_code": "USD", "value": "0.30"})))
    assert line.fee_minor == -30


def test_reference_that_is_no_transaction_names_no_trade():
    [line] = lines_of(page(refund_info(paypal_reference_id_type="ODR")))
    assert line.trade_number == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"<<<\n",
        b"[]\n",
        b'{"transaction_details":{}}\n',
        b'{"transaction_details":[{}]}\n',
        json.dumps(page(info(transaction_event_code=None))).encode(),
        json.dumps(page(info(transaction_amount=None))).encode(),
        json.dumps(page(info(transaction_amount=USD | {"value": "19.905"}))).encode(),
        json.dumps(page(info(transaction_id=None))).encode(),
        json.dumps(page(info(transaction_status=7))).encode(),
        json.dumps(page(info(transaction_initiation_date="yesterday"))).encode(),
        json.dumps(page(info(fee_amount="1.08"))).encode(),
        json.dumps(page(info())).encode()[:-9],
        json.dumps(page(info(), account_number="SOMEBODYELSE1")).encode(),
    ],
    ids=lambda raw: repr(raw[-60:]),
)
def test_damaged_or_foreign_statement_is_refused(raw):
    with pytest.raises(BadStatement):
        list(make_paypal().read_statement(BytesIO(raw)))
