"""UnionPay's statement: a ZIP of fixed-width GBK books, one of settled trades and one of adjustments for each clearing day.

Amounts are fen without a sign; letters say who paid whom. Nothing here calls anybody or verifies a signature. Source: the
file interface of UnionPay's online gateway 5.1.0 (open.unionpay.com, product file interface, ZM files). How empty fields
are padded is not documented, so every field is stripped.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import accumulate
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say

from .base import BadStatement, LineKind, StatementLine
from .fields import is_word
from .seals import BadSeal, decode_base64

BEIJING = timezone(timedelta(hours=8))
CLEARING_ENDS = time(23)  # a clearing day is the 24 hours before it
# In bytes, one blank between two. The last one has since been divided; its first 32 bytes stayed what they were.
WIDTHS: tuple[int, ...] = (3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2)
WIDTHS += (2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131)
STARTS = tuple(start + number for number, start in enumerate(accumulate(WIDTHS, initial=0)))[: len(WIDTHS)]
SHORTEST_LINE = STARTS[-1]
LONGEST_LINE = 4_000
MOST_BYTES = 200_000_000  # of the ZIP, unpacked from a signed answer
KINDS = {"01": LineKind.PAYMENT, "04": LineKind.REFUND, "31": LineKind.REFUND}
# INN, clearing day, two digits, ZM (trades; ZME holds adjustments, whose layout is another), merchant.
_BOOK = re.compile(r"INN(\d{6})\d{2}ZM_(\w{15})")


def clearing_day(moment: datetime) -> date:
    """The clearing day, in UnionPay's calendar, in which a trade of this moment stands: 23:00 begins the next one."""
    there = moment.astimezone(BEIJING)
    return there.date() + timedelta(days=there.time() >= CLEARING_ENDS)


def unpack(content: str, into: BinaryIO) -> None:
    """Write the ZIP of `fileContent`, which is Base64 of a zlib stream of it. Raises BadStatement."""
    try:
        packed = decode_base64(content)
        inflater = zlib.decompressobj()
        written = 0
        while chunk := inflater.decompress(packed, 65_536):
            packed = inflater.unconsumed_tail
            written += into.write(chunk)
            if written > MOST_BYTES:
                raise BadStatement(_("the file is too large"))
    except (BadSeal, zlib.error) as error:
        raise BadStatement(_("the file does not unpack")) from error
    if not inflater.eof or inflater.unused_data:
        raise BadStatement(_("the file does not end where it must"))


def has_book(file: BinaryIO, *, mer_id: str, day: date) -> bool:
    """Whether the ZIP holds the merchant's trades of this clearing day. Raises BadStatement."""
    try:
        with ZipFile(file) as archive:
            return any(found == day for _, found in _find_books(archive, mer_id))
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _unreadable(error) from error


def read_lines(file: BinaryIO, *, mer_id: str) -> Iterator[StatementLine]:
    """The trades of every clearing day in the ZIP, in its order. Raises BadStatement."""
    try:
        with ZipFile(file) as archive:
            for name, day in _list_whole_books(archive, mer_id):
                yield from _read_book(archive, name, day, mer_id)
    except BadStatement:
        raise
    except (BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> BadStatement:
    return BadStatement(say(_("not a readable ZIP: %(why)s"), why=error))


def _list_whole_books(archive: ZipFile, mer_id: str) -> list[tuple[str, date]]:
    if archive.testzip() is not None:
        raise BadStatement(_("the ZIP is damaged"))
    books = _find_books(archive, mer_id)
    if not books:
        raise BadStatement(_("the ZIP holds no trades of this merchant"))
    return books


def _find_books(archive: ZipFile, mer_id: str) -> list[tuple[str, date]]:
    found = [(name, _BOOK.fullmatch(name.rpartition("/")[2])) for name in sorted(archive.namelist())]
    return [
        (name, datetime.strptime(book[1], "%y%m%d").date())  # noqa: DTZ007  a day, not a moment
        for name, book in found
        if book and book[2] == mer_id
    ]


def _read_book(archive: ZipFile, name: str, day: date, mer_id: str) -> Iterator[StatementLine]:
    with archive.open(name) as book:
        for number, raw in enumerate(iter(lambda: book.readline(LONGEST_LINE), b""), start=1):
            if raw.strip():
                yield _Line(raw, number, day, mer_id).read()


class _Line:
    """One line of a book. Fields go by the numbers of the documentation, from 1."""

    def __init__(self, raw: bytes, number: int, day: date, mer_id: str) -> None:
        self._raw, self._number, self._day = raw.rstrip(b"\r\n"), number, day
        if len(self._raw) < SHORTEST_LINE or not raw.endswith(b"\n"):
            raise self._bad(_("length"))
        if any(self._raw[start - 1 : start] != b" " for start in STARTS[1:]):
            raise self._bad(_("columns"))
        if self._text(28) != mer_id:
            raise self._bad("merId")

    def read(self) -> StatementLine:
        kind = KINDS.get(self._text(20))
        if kind is None:
            raise self._bad("txnType")
        is_refund = kind is LineKind.REFUND
        return StatementLine(
            kind=kind,
            number=self._word(12, "orderId"),
            channel_number=self._word(10, "queryId"),
            amount_minor=self._amount(),
            currency="CNY",  # the books of inland trades name none
            fee_minor=self._fee(),
            payment_number=self._text(41)[:32].strip() if is_refund else "",
            trade_number=self._text(27) if is_refund else "",
            at=self._moment(),
            code=self._text(1),
        )

    def _text(self, field: int) -> str:
        start = STARTS[field - 1]
        try:
            return self._raw[start : start + WIDTHS[field - 1]].decode("gbk").strip()
        except UnicodeDecodeError as error:
            raise self._bad(say(_("field %(number)d"), number=field)) from error

    def _word(self, field: int, name: str) -> str:
        text = self._text(field)
        if not is_word(text):
            raise self._bad(name)
        return text

    def _amount(self) -> int:
        text = self._text(7)
        if not re.fullmatch(r"[0-9]{12}", text) or int(text) == 0:
            raise self._bad("txnAmt")
        return int(text)

    def _fee(self) -> int:
        """D was paid by us, C was given back to us."""
        text = self._text(16)
        if not text:
            return 0
        if not re.fullmatch(r"[DC][0-9]{12}", text):
            raise self._bad("fee")
        return int(text[1:]) * (1 if text[0] == "D" else -1)

    def _moment(self) -> datetime:
        """The trade's time has no year: the latest such time that is not after its clearing day."""
        try:
            return place_in_year(self._text(5), latest=datetime.combine(self._day, CLEARING_ENDS, BEIJING))
        except ValueError as error:
            raise self._bad("traceTime") from error

    def _bad(self, what: Words) -> BadStatement:
        return BadStatement.in_line(self._number, what)


def place_in_year(text: str, *, latest: datetime) -> datetime:
    """`MMDDhhmmss` in Beijing as its last moment that is not after `latest`, in UTC. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{10}", text):
        raise ValueError("not MMDDhhmmss")
    year = latest.astimezone(BEIJING).year
    for candidate in range(year, year - 9, -1):  # eight years may lie between two 29ths of February
        try:
            moment = datetime.strptime(f"{candidate:04d}{text}", "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        except ValueError:
            continue
        if moment <= latest:
            return moment.astimezone(UTC)
    raise ValueError("no such day")
