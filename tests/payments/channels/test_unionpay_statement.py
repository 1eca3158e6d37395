"""Specification of UnionPay's statement: the published file, its fixed widths, and everything that may be wrong with one."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest

from payments.channels.base import BadStatement, LineKind, NotReady, Refused, StatementLine, Unanswered
from payments.channels.unionpay_statement import WIDTHS, clearing_day, place_in_year, unpack

from .party import ScriptedWire
from .unionpay_party import BEIJING, MER_ID, STATEMENT, make_unionpay, reply

DAY = date(2026, 11, 21)
BOOK = base64.b64decode(STATEMENT["zm_text_gbk_base64"])
PAID_LINE, REFUND_LINE = BOOK.splitlines(keepends=True)
NAME = STATEMENT["zm_file_name"]
LINES = [
    StatementLine(
        kind=LineKind.PAYMENT,
        number="ND20261121A0000003",
        channel_number="202611211810050000018",
        amount_minor=12900,
        currency="CNY",
        fee_minor=77,
        at=datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC),
        code="S22",
    ),
    StatementLine(
        kind=LineKind.REFUND,
        number="NDR20261121A0000003",
        channel_number="202611212101030000028",
        amount_minor=2900,
        currency="CNY",
        fee_minor=-17,
        payment_number="ND20261121A0000003",
        trade_number="202611211810050000018",
        at=datetime(2026, 11, 21, 13, 1, 3, tzinfo=UTC),
        code="S30",
    ),
]


def pack(content: bytes = BOOK, name: str = NAME, **more: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, held in {name: content, **more}.items():
            archive.writestr(each, held)
    file.seek(0)
    return file


def pack_content(file: io.BytesIO) -> str:
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def answer(code: str = "00", **changes: str) -> dict[str, str]:
    return {"respCode": code, "settleDate": "1121", "fileContent": STATEMENT["fileContent"], **changes}


def change(field: int, text: str, line: bytes = PAID_LINE) -> bytes:
    """A line with another text in one field, by the documentation's numbers."""
    start = sum(WIDTHS[: field - 1]) + field - 1
    return line[:start] + text.encode("gbk").ljust(WIDTHS[field - 1]) + line[start + WIDTHS[field - 1] :]


def read(file: io.BytesIO) -> list[StatementLine]:
    return list(make_unionpay().read_statement(file))


def fetch(*replies) -> io.BytesIO:
    into = io.BytesIO()
    make_unionpay(*replies).fetch_statement(DAY, into)
    into.seek(0)
    return into


# ---- reading -----------------------------------------------------------------------------------------------------


def test_published_widths_are_ours():
    assert list(WIDTHS) == STATEMENT["field_widths"]


def test_published_file_is_read():
    assert read(io.BytesIO(base64.b64decode(STATEMENT["zip_base64"]))) == LINES


def test_adjustments_have_another_layout_and_are_left_alone():
    assert read(pack(**{NAME.replace("ZM_", "ZME_"): b"anything"})) == LINES


def test_last_field_may_be_divided_anew():
    assert read(pack(REFUND_LINE.rstrip() + b" " * 200 + b"C000000002883 more\r\n"))[0] == LINES[1]


def test_chinese_in_a_field_that_is_not_ours_moves_nothing():
    assert read(pack(change(19, "银联商户")))[0] == LINES[0]


def test_undo_is_a_refund():
    assert read(pack(change(20, "31", REFUND_LINE)))[0].kind is LineKind.REFUND


def test_trade_without_a_fee_has_none():
    assert read(pack(change(16, "")))[0].fee_minor == 0


@pytest.mark.parametrize(
    ("field", "text", "named"),
    [
        (7, "", "txnAmt"),
        (7, "000000000000", "txnAmt"),
        (7, "00000012900 ", "txnAmt"),
        (7, "-00000012900", "txnAmt"),
        (5, "1321181034", "traceTime"),
        (5, "", "traceTime"),
        (10, "", "queryId"),
        (12, "", "orderId"),
        (16, "X000000000077", "fee"),
        (16, "D77", "fee"),
        (20, "02", "txnType"),
        (20, "", "txnType"),
        (28, "777290000012346", "merId"),
    ],
)
def test_line_that_is_not_as_documented_is_named(field, text, named):
    with pytest.raises(BadStatement, match=f"line 2: {named}"):
        read(pack(REFUND_LINE + change(field, text)))


@pytest.mark.parametrize(
    "line",
    [
        PAID_LINE[:300] + b"\r\n",
        PAID_LINE.rstrip(b"\r\n"),
        PAID_LINE[1:],
        b"x" * 5000 + b"\r\n",
        PAID_LINE.replace(b" 01 ", b" 01x"),
    ],
    ids=["short", "cut", "moved", "endless", "no blank between"],
)
def test_line_of_another_shape_is_named(line):
    with pytest.raises(BadStatement, match="line 1"):
        read(pack(line))


@pytest.mark.parametrize(
    "name",
    [NAME[:-1] + "6", "ZM", NAME.replace("ZM_", "ZME_"), NAME + ".txt"],
    ids=["other merchant", "other name", "adjustments only", "suffix"],
)
def test_zip_without_our_trades_is_refused(name):
    with pytest.raises(BadStatement):
        read(pack(name=name))


@pytest.mark.parametrize("place", [0, 40, 70, 150, -10])
def test_damaged_zip_gives_no_line(place):
    damaged = bytearray(pack().getvalue())
    damaged[place] ^= 0xFF
    with pytest.raises(BadStatement):
        next(iter(make_unionpay().read_statement(io.BytesIO(bytes(damaged)))))


def test_no_damage_of_any_byte_is_another_error_than_a_bad_statement():
    whole = pack().getvalue()
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        with suppress(BadStatement):
            read(io.BytesIO(damaged))


@pytest.mark.parametrize("content", [b"", b"no zip", pack().getvalue()[:200]])
def test_file_that_is_no_zip_is_refused(content):
    with pytest.raises(BadStatement):
        read(io.BytesIO(content))


def test_empty_book_has_no_lines():
    assert read(pack(b"")) == []


# ---- fetching ----------------------------------------------------------------------------------------------------


def test_published_answer_is_fetched_and_read():
    body = STATEMENT["response"]["raw_body_not_urlencoded"].encode()
    assert read(fetch(reply(body))) == LINES


def test_day_without_a_file_is_not_ready():
    with pytest.raises(NotReady):
        fetch(reply(answer("98")))


def test_request_that_is_wrong_is_refused():
    with pytest.raises(Refused):
        fetch(reply(answer("10")))


@pytest.mark.parametrize(
    "given",
    [
        reply(answer("99")),
        reply(answer("02")),
        reply(answer(), status=500),
        reply(answer(settleDate="1120")),
        reply(answer(merId="777290000012346")),
        reply(answer(fileContent="")),
        reply(answer(fileContent="AAAA")),
        reply(answer(fileContent=STATEMENT["fileContent"][:-8])),
        reply(answer(fileContent=pack_content(pack(name=NAME.replace("261121", "251121"))))),
        reply(answer(fileContent=pack_content(pack(name=NAME[:-1] + "6")))),
        reply(answer(fileContent=base64.b64encode(zlib.compress(b"no zip")).decode())),
        reply(b"settleDate=1121&respCode=00"),
    ],
)
def test_answer_that_is_not_the_days_file_writes_nothing(given):
    into = io.BytesIO()
    with pytest.raises(Unanswered):
        make_unionpay(given).fetch_statement(DAY, into)
    assert into.getvalue() == b""


def test_file_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("payments.channels.unionpay_statement.MOST_BYTES", 100_000)
    with pytest.raises(BadStatement, match="too large"):
        unpack(base64.b64encode(zlib.compress(bytes(1_000_000))).decode(), io.BytesIO())


def test_anything_behind_the_file_is_refused():
    with pytest.raises(BadStatement):
        unpack(base64.b64encode(zlib.compress(b"x") + b"y").decode(), io.BytesIO())


def test_request_names_the_day_and_the_merchant_only():
    wire = ScriptedWire(reply(answer()))
    make_unionpay(wire=wire).fetch_statement(DAY, io.BytesIO())
    assert wire.sent[0]["operation"] == "statement"
    assert MER_ID.encode() in wire.sent[0]["body"]


# ---- days --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 21, 22, 59, 59, tzinfo=BEIJING), date(2026, 11, 21)),
        (datetime(2026, 11, 21, 23, 0, 0, tzinfo=BEIJING), date(2026, 11, 22)),
        (datetime(2026, 11, 21, 0, 0, 0, tzinfo=BEIJING), date(2026, 11, 21)),
        (datetime(2026, 12, 31, 15, 0, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_clearing_day_begins_at_eleven_in_the_evening(moment, day):
    start, end = make_unionpay().statement_span(day)
    assert clearing_day(moment) == day
    assert start <= moment < end


def test_statement_is_ready_the_next_morning():
    assert make_unionpay().statement_ready_at(DAY) == datetime(2026, 11, 22, 10, tzinfo=BEIJING)


def test_trade_after_eleven_of_the_last_day_of_a_year_keeps_its_year():
    name = NAME.replace("261121", "270101")
    [line] = read(pack(change(5, "1231233000"), name=name))
    assert line.at == datetime(2026, 12, 31, 15, 30, tzinfo=UTC)


def test_leap_day_is_placed_in_the_last_year_that_has_one():
    latest = datetime(2027, 3, 1, tzinfo=BEIJING)
    assert place_in_year("0229120000", latest=latest) == datetime(2024, 2, 29, 4, tzinfo=UTC)
    assert latest - place_in_year("0228120000", latest=latest) < timedelta(days=2)
