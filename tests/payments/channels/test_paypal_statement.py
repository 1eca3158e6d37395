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


def file_of(*pages: Any, end: Any = ...) -> bytes:
    """A statement of these pages; `end` is its last line, and None leaves it out."""
    last = {"pages": len(pages)} if end is ... else end
    whole = [*pages, *([last] if last is not None else [])]
    return b"".join(json.dumps(one).encode() + b"\n" for one in whole)


def read(raw: bytes) -> list[StatementLine]:
    return list(make_paypal().read_statement(BytesIO(raw)))


def lines_of(*pages: Any) -> list[StatementLine]:
    return read(file_of(*pages))


def three(number: int, **changes: Any) -> dict[str, Any]:
    """One of three pages with one payment on each."""
    found = info(transaction_id=f"T{number}")
    return page(found, **{"number": number, "pages": 3, "items": 3} | changes)


def asked(wire: ScriptedWire, place: int) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(wire.sent[place]["url"]).query).items()}


def test_day_is_searched_page_by_page_and_read_back():
    file, wire = fetch(
        reply(200, page(info(), pages=2, items=2)),
        reply(200, page(refund_info(), number=2, pages=2, items=2)),
    )
    assert file.getvalue().count(b"\n") == 3
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


@pytest.mark.parametrize(
    "second",
    [three(2, pages=4), three(2, items=4), three(1), three(3), three(2, transaction_details=[])],
    ids=["more pages", "more items", "the same", "another", "fewer"],
)
def test_pages_that_change_while_they_are_read_are_unanswered(second):
    with pytest.raises(Unanswered) as unanswered:
        fetch(reply(200, three(1)), reply(200, second), reply(200, three(3)))
    assert unanswered.value.code == "changed"


# ---- a statement that is not whole -------------------------------------------------------------------------------


def test_pages_of_a_whole_statement_are_read_in_their_order():
    assert [line.channel_number for line in lines_of(three(1), three(2), three(3))] == ["T1", "T2", "T3"]


def test_total_may_count_from_each_page_on():
    """PayPal's reference: "the total number of transactions beginning with the specified page"."""
    assert len(lines_of(three(1), three(2, items=2), three(3, items=1))) == 3


@pytest.mark.parametrize(
    "pages",
    [
        [],
        [three(1)],
        [three(1), three(3)],
        [three(2), three(3)],
        [three(1), three(1), three(2), three(3)],
        [three(1), three(2), three(2), three(3)],
        [three(2), three(1), three(3)],
        [three(1), three(2), three(3), three(3)],
        [three(1), three(2), three(3, transaction_details=[])],
        [three(1, items=4), three(2, items=4), three(3, items=4)],
        [three(1), three(2), three(3, items=2)],
        [three(1), three(2, pages=2)],
        [three(1), three(2), three(3), three(1)],
        [page(info(), items=0, pages=0)],
        [page(items=2, pages=0)],
    ],
    ids=lambda pages: ",".join(f"{one['page']}/{one['total_pages']}" for one in pages) or "none",
)
def test_statement_with_a_page_missing_doubled_or_misplaced_is_refused(pages):
    with pytest.raises(BadStatement):
        lines_of(*pages)


@pytest.mark.parametrize("name", ["page", "total_pages", "total_items"])
@pytest.mark.parametrize("value", [None, "1", True, -1, 1.0])
def test_page_that_does_not_say_its_place_is_refused(name, value):
    whole = page(info()) | {name: value}
    with pytest.raises(BadStatement, match=name):
        lines_of({key: told for key, told in whole.items() if told is not None})


def test_empty_file_is_no_statement_of_a_day_without_trades():
    with pytest.raises(BadStatement, match="end"):
        read(b"")


def test_statement_cut_between_two_searches_of_its_day_is_refused():
    halves = file_of(page(info(transaction_id="A")), page(info(transaction_id="B")))
    assert len(read(halves)) == 2
    for cut in (halves.splitlines(keepends=True)[:1], halves.splitlines(keepends=True)[:2]):
        with pytest.raises(BadStatement, match="end"):
            read(b"".join(cut))


@pytest.mark.parametrize("end", [{"pages": 0}, {"pages": 2}, {"pages": "1"}, {"pages": 1, "more": 1}])
def test_statement_whose_end_counts_other_pages_is_refused(end):
    with pytest.raises(BadStatement, match="pages"):
        read(file_of(page(info()), end=end))


def test_statement_that_goes_on_behind_its_end_is_refused():
    whole = file_of(page(info()))
    with pytest.raises(BadStatement, match="after the end"):
        read(whole + whole)


def test_every_cut_of_a_statement_is_refused():
    whole = file_of(three(1), three(2), three(3))
    for length in range(len(whole) - 1):  # but the last line end
        with pytest.raises(BadStatement):
            read(whole[:length])


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
        file_of(page(transaction_details={})),
        file_of(page(transaction_details=[{}], items=1)),
        file_of(page(info(transaction_event_code=None))),
        file_of(page(info(transaction_amount=None))),
        file_of(page(info(transaction_amount=USD | {"value": "19.905"}))),
        file_of(page(info(transaction_id=None))),
        file_of(page(info(transaction_status=7))),
        file_of(page(info(transaction_status="X"))),
        file_of(page(info(transaction_status="s"))),
        file_of(page(info(transaction_initiation_date="yesterday"))),
        file_of(page(info(fee_amount="1.08"))),
        file_of(page(info(), account_number="SOMEBODYELSE1")),
    ],
    ids=lambda raw: repr(raw[-60:]),
)
def test_damaged_or_foreign_statement_is_refused(raw):
    with pytest.raises(BadStatement, match="page 1"):
        read(raw)
