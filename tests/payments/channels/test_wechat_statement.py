"""Specification of WeChat's trade bill: how it is fetched and verified, and what its lines say."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

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
from payments.channels.wechat_statement import MAX_LINE
from payments.channels.wire import Reply

from .party import ScriptedWire
from .wechat_party import (
    MCHID,
    NUMBER,
    REFUND_NUMBER,
    TRANSACTION,
    VECTORS,
    error,
    make_wechat,
    reply,
)


def packed(content: bytes) -> bytes:
    """The same bytes in every process: no time in the head."""
    return gzip.compress(content, mtime=0)


DAY = date(2026, 11, 21)
BILL = base64.b64decode(VECTORS["bill"]["csv_utf8_base64"])
DIGEST = VECTORS["bill"]["sha1_hex_of_uncompressed"]
URL = (
    "https://api.mch.weixin.qq.com/v3/billdownload/file?token=6XIv5TUPto7pByrTQKhd6kwvyKLG2uY2wMMR8cNXqaA_Cv"
)
PLACE = {"hash_type": "SHA1", "hash_value": DIGEST, "download_url": URL}
PAYMENT = StatementLine(
    kind=LineKind.PAYMENT,
    number=NUMBER,
    channel_number=TRANSACTION,
    amount_minor=12900,
    currency="CNY",
    fee_minor=77,
    at=datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC),
    code="SUCCESS",
)
REFUND = StatementLine(
    kind=LineKind.REFUND,
    number=REFUND_NUMBER,
    channel_number="50300909876202611220123456789",
    amount_minor=2900,
    currency="CNY",
    fee_minor=-17,
    payment_number=NUMBER,
    trade_number=TRANSACTION,
    at=datetime(2026, 11, 22, 1, 1, 2, tzinfo=UTC),
    code="SUCCESS",
)


def plain_file(content: bytes, status: int = 200) -> Reply:
    """The file as it comes: without any signature."""
    return reply(status, content, headers={})


def fetch(*replies: Any) -> bytes:
    into = io.BytesIO()
    make_wechat(*replies).fetch_statement(DAY, into)
    return into.getvalue()


def read(content: bytes) -> list[StatementLine]:
    return list(make_wechat().read_statement(io.BytesIO(content)))


def lines() -> list[str]:
    """Header, payment, refund, header of the totals, totals."""
    return BILL.decode("utf-8-sig").splitlines()


def bill_of(*texts: str) -> bytes:
    return "".join(f"{text}\r\n" for text in texts).encode()


# ---- when and where ----------------------------------------------------------------------------------------------


def test_bill_is_ready_at_ten_in_beijing_the_day_after():
    assert make_wechat().statement_ready_at(DAY) == datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert make_wechat().statement_ready_at(date(2026, 12, 31)) == datetime(2027, 1, 1, 2, tzinfo=UTC)


def test_bill_is_asked_for_signed_and_fetched_at_once_signed_anew():
    wire = ScriptedWire(reply(200, PLACE), plain_file(BILL))
    make_wechat(wire=wire).fetch_statement(DAY, io.BytesIO())
    asked, fetched = wire.sent
    assert (asked["method"], fetched["method"]) == ("GET", "GET")
    path = "/v3/bill/tradebill?bill_date=2026-11-21&bill_type=ALL&tar_type=GZIP"
    assert asked["url"] == f"https://api.example{path}"
    assert fetched["url"] == URL
    assert asked["headers"]["Authorization"] != fetched["headers"]["Authorization"]
    assert wire.operations == ["statement", "statement"]


# ---- fetching ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [BILL, packed(BILL)], ids=["plain", "packed"])
def test_bill_is_kept_as_it_came(content):
    assert fetch(reply(200, PLACE), plain_file(content)) == content


def test_digest_may_be_written_in_capitals():
    assert fetch(reply(200, PLACE | {"hash_value": DIGEST.upper()}), plain_file(BILL)) == BILL


NOT_ANNOUNCED = {
    "nothing": b"",
    "one byte short": BILL[:-1],
    "one byte more": BILL + b"\n",
    "another amount": BILL.replace(b"129.00", b"128.00"),
    "packed, without its end": packed(BILL)[:-9],
    "packed, only its beginning": packed(BILL)[:20],
    "packed, one byte short": packed(BILL[:-1]),
    "packed, one byte more": packed(BILL) + b"x",
    "the mark of a packed file": b"\x1f\x8b",
    "a page of a proxy": b"<html>502</html>",
}


@pytest.mark.parametrize("content", NOT_ANNOUNCED.values(), ids=NOT_ANNOUNCED)
def test_bill_that_is_not_what_was_announced_is_not_written(content):
    into = io.BytesIO()
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(reply(200, PLACE), plain_file(content)).fetch_statement(DAY, into)
    assert (unanswered.value.code, into.getvalue()) == ("digest", b"")


@pytest.mark.parametrize(
    "change",
    [
        {"hash_type": "MD5"},
        {"hash_type": None},
        {"hash_value": None},
        {"hash_value": "0" * 39},
        {"hash_value": "g" * 40},
        {"download_url": None},
        {"download_url": ""},
        {"download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file"},
        {"download_url": 7},
    ],
    ids=repr,
)
def test_place_that_cannot_be_verified_or_asked_is_not_fetched(change):
    wire = ScriptedWire(reply(200, PLACE | change))
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(wire=wire).fetch_statement(DAY, io.BytesIO())
    assert (unanswered.value.code, len(wire.sent)) == ("malformed", 1)


def test_place_that_the_wire_would_not_call_is_unanswered():
    class StrictWire(ScriptedWire):
        def download(self, *_: Any, **__: Any) -> Reply:
            raise ValueError("a channel is called by https")

    wire = StrictWire(reply(200, PLACE | {"download_url": "ftp://127.0.0.1/?a=1"}))
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(wire=wire).fetch_statement(DAY, io.BytesIO())
    assert unanswered.value.code == "malformed"


@pytest.mark.parametrize("code", ["NO_STATEMENT_EXIST", "STATEMENT_CREATING", "NOSTATEMENTEXIST"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_day_without_a_bill_is_not_ready(code, signed):
    with pytest.raises(NotReady) as not_ready:
        fetch(error(400, code, signed=signed))
    assert not_ready.value.code == code.replace("_", "")


def test_bill_is_refused_only_by_a_signed_final_code():
    with pytest.raises(Refused):
        fetch(error(403, "NO_AUTH"))
    for answer in (error(403, "NO_AUTH", signed=False), error(500, "SYSTEM_ERROR"), error(429, "NO_AUTH")):
        with pytest.raises(Unanswered):
            fetch(answer)


@pytest.mark.parametrize(
    "answer", [reply(200, PLACE, headers={}), reply(204), reply(202, PLACE), reply(200, b"<<<")]
)
def test_unbelievable_answer_is_unanswered_and_nothing_is_fetched(answer):
    wire = ScriptedWire(answer)
    with pytest.raises(Unanswered):
        make_wechat(wire=wire).fetch_statement(DAY, io.BytesIO())
    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (plain_file(b"gone", 404), Unanswered),
        (plain_file(b"", 204), Unanswered),
        (error(400, "PARAM_ERROR", signed=False), Unanswered),
        (error(400, "STATEMENT_CREATING", signed=False), NotReady),
        (Unreachable("x", code="unreachable"), Unreachable),
        (Unanswered("x", code="too_large"), Unanswered),
    ],
    ids=str,
)
def test_file_that_does_not_come_is_not_written(answer, expected):
    into = io.BytesIO()
    with pytest.raises(expected) as caught:
        make_wechat(reply(200, PLACE), answer).fetch_statement(DAY, into)
    assert (type(caught.value), into.getvalue()) == (expected, b"")


# ---- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [BILL, packed(BILL), BILL[3:]], ids=["plain", "packed", "no mark"])
def test_published_bill_is_read(content):
    assert hashlib.sha1(BILL).hexdigest() == DIGEST
    assert read(content) == [PAYMENT, REFUND]


def test_lines_are_read_one_at_a_time():
    head, payment, _, totals, _ = lines()
    reading = make_wechat().read_statement(io.BytesIO(bill_of(head, payment, "`damaged", totals)))
    assert next(reading) == PAYMENT
    with pytest.raises(BadStatement, match="line 3"):
        next(reading)


def test_many_lines_are_read_and_add_up():
    head, payment, *_, totals, _ = lines()
    rows = [payment.replace(NUMBER, f"ND{n:018}") for n in range(3000)]
    content = bill_of(head, *rows, totals, "`3000,`0,`0,`0,`0,`387000.00,`0.00")
    assert [line.number for line in read(packed(content))] == [f"ND{n:018}" for n in range(3000)]


def test_day_without_trades_has_no_lines():
    head, *_, totals, _ = lines()
    assert read(bill_of(head, totals, "`0,`0.00,`0.00,`0.00,`0.00000,`0.00,`0.00")) == []


def test_columns_are_found_by_their_names():
    shuffled = random.Random(7).sample(range(27), 27)
    head, payment, refund, *end = lines()
    cells = [head.split(","), payment[1:].split(",`"), refund[1:].split(",`")]
    moved = [[row[n] for n in shuffled] for row in cells]
    content = bill_of(",".join(moved[0]), *("`" + ",`".join(row) for row in moved[1:]), *end)
    assert read(content) == [PAYMENT, REFUND]


@pytest.mark.parametrize("name", ["a, b,c", 'say "x", y', "a,`b", "`,`,`", "a`b", ""])
def test_free_text_may_hold_what_parts_the_values(name):
    assert read(BILL.replace("两件T恤 x2".encode(), name.encode())) == [PAYMENT, REFUND]


def test_attached_text_may_hold_it_as_well():
    assert read(BILL.replace("两件T恤 x2,`,".encode(), b"shirt,`cart,`7,")) == [PAYMENT, REFUND]


@pytest.mark.parametrize(
    ("yuan", "fen"),
    [("0.77000", 77), ("0.00500", 1), ("0.00499", 0), ("-0.17000", -17), ("0", 0), ("12.3", 1230)],
)
def test_fee_is_rounded_to_fen(yuan, fen):
    assert read(BILL.replace(b"`0.77000", b"`" + yuan.encode()))[0].fee_minor == fen


@pytest.mark.parametrize("status", ["SUCCESS", "PROCESSING", "CHANGE", ""])
def test_refund_keeps_its_status_for_the_reader_to_judge(status):
    content = BILL.replace(b"`ORIGINAL,`SUCCESS", b"`ORIGINAL,`" + status.encode())
    assert read(content)[1].code == status


def test_part_of_an_order_that_coupons_paid_counts_as_paid():
    content = BILL.replace(b"`CNY,`129.00,`0.00", b"`CNY,`119.00,`10.00")
    assert read(content)[0].amount_minor == 12900


DAMAGED = {
    "empty": b"",
    "page": b"<html>502</html>",
    "header only": bill_of(*lines()[:1]),
    "no totals": bill_of(*lines()[:3]),
    "totals without values": bill_of(*lines()[:4]),
    "cut in a row": BILL[:400],
    "more after the totals": BILL + b"`1\r\n",
    "packed and cut": packed(BILL)[:-9],
    "packed and damaged": packed(BILL)[:60] + b"\0\0\0\0" + packed(BILL)[64:],
    "a column missing": BILL.replace("退款状态,".encode(), b""),
    "a column twice": BILL.replace("设备号".encode(), "商户号".encode()),
    "a value missing": BILL.replace(b"`OTHERS,", b"", 1),
    "a surplus value in the totals": BILL.rstrip() + b",`1",
    "not UTF-8": BILL.replace(b"SUCCESS", b"\xff", 1),
    "an endless line": BILL + b"x" * (MAX_LINE + 1),
    "another merchant": BILL.replace(MCHID.encode(), b"1900006012", 1),
    "unknown state": BILL.replace(b"`SUCCESS", b"`PAID", 1),
    "state without a value": BILL.replace(b"`SUCCESS", b"`", 1),
    "number missing": BILL.replace(b"`" + NUMBER.encode(), b"`", 1),
    "number with a blank": BILL.replace(b"`" + NUMBER.encode(), b"`ND 1", 1),
    "no currency": BILL.replace(b"`CNY", b"`", 1),
    "amount with one decimal": BILL.replace(b"`129.00,`0.00,`\r", b"`129.0,`0.00,`\r"),
    "amount in fen": BILL.replace(b"`129.00,`0.00,`\r", b"`12900,`0.00,`\r"),
    "amount below 0": BILL.replace(b"`129.00,`0.00,`\r", b"`-129.00,`0.00,`\r"),
    "payment of nothing": BILL.replace(b"`129.00", b"`0.00"),
    "refund of nothing": BILL.replace(b"`29.00", b"`0.00"),
    "fee in words": BILL.replace(b"`0.77000", b"`none"),
    "fee without a number": BILL.replace(b"`0.77000", b"`NaN"),
    "no moment": BILL.replace(b"`2026-11-21 18:10:34", b"`2026-11-31 18:10:34"),
    "moment of another shape": BILL.replace(b"`2026-11-21 18:10:34", b"`2026-11-21T18:10:34"),
    "moment out of range": BILL.replace(b"`2026-11-21 18:10:34", b"`0001-01-01 00:00:00"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_bill_is_refused(name):
    with pytest.raises(BadStatement):
        read(DAMAGED[name])


@pytest.mark.parametrize("rows", [[1], [1, 1, 2], []], ids=["lost", "doubled", "all lost"])
def test_rows_lost_or_doubled_on_the_way_do_not_come_to_the_total(rows):
    texts = lines()
    with pytest.raises(BadStatement, match="总交易单数"):
        read(bill_of(texts[0], *(texts[row] for row in rows), *texts[3:]))


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (b"`0.60000,`129.00,", b"`0.60000,`129.01,", "订单总金额"),
        (b",`129.00,`29.00\r\n", b",`129.00,`28.99\r\n", "申请退款总金额"),
        (b"`2,`129.00", b"`3,`129.00", "总交易单数"),
    ],
)
def test_total_that_differs_is_named_with_its_line(before, after, name):
    assert BILL.count(before) == 1
    with pytest.raises(BadStatement, match=f"line 5: {name}"):
        read(BILL.replace(before, after))


def test_refusal_names_line_and_field_and_holds_nothing_of_the_content():
    with pytest.raises(BadStatement) as refused:
        read(BILL.replace(b"`129.00,`0.00,`\r", b"`s3cret,`0.00,`\r"))
    assert str(refused.value) == "line 2: 订单金额"


def test_no_damage_of_a_byte_moves_money_unnoticed():
    """The digest finds every damage; here it is left out, and the totals still hold the amounts."""
    dice = random.Random(20261121)
    for place in dice.sample(range(len(BILL)), 400):
        damaged = BILL[:place] + bytes([BILL[place] ^ (1 << dice.randrange(7))]) + BILL[place + 1 :]
        try:
            found = read(damaged)
        except BadStatement:
            continue
        assert [(line.kind, line.amount_minor) for line in found] == [
            (LineKind.PAYMENT, 12900),
            (LineKind.REFUND, 2900),
        ]


def test_time_of_the_days_end_is_beijings():
    at = read(BILL.replace(b"2026-11-21 18:10:34", b"2026-11-21 23:59:59"))[0].at
    assert at == datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC) - timedelta(hours=8)
