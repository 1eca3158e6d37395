"""WeChat Pay's trade bill: the CSV of one Beijing day, read a line at a time, and the digest that it is announced with.

Source: WeChat Pay's merchant documentation of API v3, "apply for the trade bill" and "download the bill" (bill_type ALL).
It leaves open how a comma within a product's name is written; as every value begins with a backtick, values are parted
where a comma is followed by one. Which sign a refund's fee has is open as well: it is passed on as it stands.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say

from .base import BadStatement, LineKind, StatementLine
from .fields import BadField, is_word, read_word

BEIJING = timezone(timedelta(hours=8))
MAX_LINE = 65_536  # bytes; a line has some hundred
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)

# Columns are found by name: bills of other types, and of other years, have others.
AT, MCHID, CURRENCY, STATE = "交易时间", "商户号", "货币种类", "交易状态"
TRADE, NUMBER = "微信订单号", "商户订单号"
REFUND_TRADE, REFUND_NUMBER, REFUND_STATUS = "微信退款单号", "商户退款单号", "退款状态"
# What was asked of the payer and what was asked back, coupons of WeChat's included, as in amount.total and amount.refund.
AMOUNT, REFUND_AMOUNT, FEE = "订单金额", "申请退款金额", "手续费"
GOODS, ATTACHED = "商品名称", "商户数据包"  # free text, one beside the other
COUNT, AMOUNTS, REFUND_AMOUNTS = "总交易单数", "订单总金额", "申请退款总金额"
COLUMNS = {AT, MCHID, CURRENCY, STATE, TRADE, NUMBER, REFUND_TRADE, REFUND_NUMBER, REFUND_STATUS}
COLUMNS |= {AMOUNT, REFUND_AMOUNT, FEE, GOODS, ATTACHED}

YUAN = re.compile(r"[0-9]{1,12}\.[0-9]{2}")
FEE_YUAN = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,5})?")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
KINDS = {"SUCCESS": LineKind.PAYMENT, "REFUND": LineKind.REFUND, "REVOKED": LineKind.REFUND}


def read_place(data: Mapping[str, Any]) -> tuple[str, str]:
    """Where a bill is, an address with a query, and the digest of its text. Raises BadField."""
    url, announced = read_word(data, "download_url", limit=2048), read_word(data, "hash_value").lower()
    if not urlsplit(url).query:
        raise BadField("download_url")
    if data.get("hash_type") != "SHA1" or not re.fullmatch(r"[0-9a-f]{40}", announced):
        raise BadField("hash_value")
    return url, announced


def digest(file: BinaryIO) -> str:
    """The SHA-1 of a bill's text, in hex, from where the file stands; "" when it is packed and does not unpack."""
    try:
        return hashlib.file_digest(_unpacked(file), "sha1").hexdigest()  # WeChat knows no other
    except DAMAGED:
        return ""


def read_bill(file: BinaryIO, *, mchid: str) -> Iterator[StatementLine]:
    """The payments and refunds of a bill, packed or not, one at a time; after the last its totals are checked.

    Raises BadStatement: also when rows were read already, so whoever believes them reads to the end first.
    """
    lines = _read_lines(file)
    names = _read_names(next(lines, (1, "")), COLUMNS)
    totals = _Totals()
    for place, text in lines:
        if not text.startswith("`"):
            _check_totals(totals, _read_names((place, text), {COUNT, AMOUNTS, REFUND_AMOUNTS}), lines)
            return
        row = _Row(place, _read_cells(place, text, names))
        totals.add(row)
        yield row.read(mchid)
    raise BadStatement(_("the totals are missing: the bill is cut short"))


def _check_totals(totals: _Totals, names: list[str], lines: Iterator[tuple[int, str]]) -> None:
    place, text = next(lines, (0, ""))
    row = _Row(place, _read_cells(place, text, names))
    if row.cells[COUNT] != str(totals.count):
        raise row.bad(COUNT)
    for name, total in ((AMOUNTS, totals.amount), (REFUND_AMOUNTS, totals.refunded)):
        if row.read_fen(name) != total:
            raise row.bad(name)
    for place, text in lines:
        if text:
            raise BadStatement.in_line(place, _("there is more after the totals"))


@dataclass(frozen=True, slots=True)
class _Row:
    """One row by the names of its columns. `place` is its line in the file, from 1."""

    place: int
    cells: Mapping[str, str]

    def read(self, mchid: str) -> StatementLine:
        kind = KINDS.get(self.cells[STATE])
        if kind is None:
            raise self.bad(STATE)
        if self.cells[MCHID] != mchid:
            raise self.bad(MCHID)
        number, trade = self.read_word(NUMBER), self.read_word(TRADE)
        is_refund = kind is LineKind.REFUND
        amount_name = REFUND_AMOUNT if is_refund else AMOUNT
        amount_minor = self.read_fen(amount_name)
        if amount_minor < 1:
            raise self.bad(amount_name)
        return StatementLine(
            kind=kind,
            number=self.read_word(REFUND_NUMBER) if is_refund else number,
            channel_number=self.read_word(REFUND_TRADE) if is_refund else trade,
            amount_minor=amount_minor,
            currency=self.read_word(CURRENCY),
            fee_minor=self.read_fee(),
            payment_number=number if is_refund else "",
            trade_number=trade if is_refund else "",
            at=self.read_moment(),
            code=self.cells[REFUND_STATUS] if is_refund else self.cells[STATE],
        )

    def read_word(self, name: str) -> str:
        value = self.cells[name]
        if not is_word(value):
            raise self.bad(name)
        return value

    def read_fen(self, name: str) -> int:
        """Yuan with two decimals as fen, 0 or more."""
        value = self.cells[name]
        if not YUAN.fullmatch(value):
            raise self.bad(name)
        return int(value.replace(".", ""))

    def read_fee(self) -> int:
        """Yuan with up to five decimals as fen, rounded: it is for people and moves no money."""
        value = self.cells[FEE]
        if not FEE_YUAN.fullmatch(value):
            raise self.bad(FEE)
        return int((Decimal(value) * 100).quantize(Decimal(1), ROUND_HALF_UP))

    def read_moment(self) -> datetime:
        value = self.cells[AT]
        if not MOMENT.fullmatch(value):
            raise self.bad(AT)
        try:
            return datetime.fromisoformat(value).replace(tzinfo=BEIJING).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.bad(AT) from error

    def bad(self, name: str) -> BadStatement:
        return BadStatement.in_line(self.place, name)


@dataclass(slots=True)
class _Totals:
    """What the rows come to, in fen."""

    count: int = 0
    amount: int = 0
    refunded: int = 0

    def add(self, row: _Row) -> None:
        self.count += 1
        self.amount += row.read_fen(AMOUNT)
        self.refunded += row.read_fen(REFUND_AMOUNT)


def _read_names(line: tuple[int, str], needed: set[str]) -> list[str]:
    place, text = line
    names = text.split(",")
    missing = sorted(needed - set(names))
    if missing or len(set(names)) != len(names):
        raise BadStatement.in_line(place, missing[0] if missing else _("a column stands twice"))
    return names


def _read_cells(place: int, text: str, names: list[str]) -> dict[str, str]:
    cells = text[1:].split(",`")
    if not text.startswith("`") or len(cells) < len(names):
        raise BadStatement.in_line(place, _other_length(cells, names))
    if len(cells) > len(names):
        cells = _without_surplus(place, cells, names)
    return dict(zip(names, cells, strict=True))


def _without_surplus(place: int, cells: list[str], names: list[str]) -> list[str]:
    """The free texts hold what parts values: count from both ends, and let those two be what is left in between."""
    if GOODS not in names:
        raise BadStatement.in_line(place, _other_length(cells, names))
    start = names.index(GOODS)
    after = len(names) - names.index(ATTACHED) - 1
    free = ",`".join(cells[start : len(cells) - after])
    return [*cells[:start], free, "", *cells[len(cells) - after :]]


def _other_length(cells: list[str], names: list[str]) -> Words:
    return say(_("%(count)d values in place of %(wanted)d"), count=len(cells), wanted=len(names))


def _read_lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    plain, place = _unpacked(file), 0
    try:
        while raw := plain.readline(MAX_LINE + 1):
            place += 1
            if len(raw) > MAX_LINE:
                raise BadStatement.in_line(place, _("too long"))
            text = raw.decode("utf-8").rstrip("\r\n")
            yield place, text.removeprefix("\ufeff") if place == 1 else text
    except UnicodeDecodeError as error:
        raise BadStatement.in_line(place, _("not UTF-8")) from error
    except DAMAGED as error:
        raise BadStatement.in_line(place + 1, _("the packed file is damaged")) from error


def _unpacked(file: BinaryIO) -> io.BufferedIOBase:
    start = file.tell()
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(start)
    return gzip.GzipFile(fileobj=file) if is_packed else cast("io.BufferedIOBase", file)
