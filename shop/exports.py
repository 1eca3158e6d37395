"""Rows as a CSV file, for a person's spreadsheet and for programs: streamed, whatever its length.

Rows are read a page at a time, each page found by the key of the last row: a slow download holds neither a transaction nor
a connection, and needs the memory of one page. Nothing here knows what is exported, or who may.
"""

import csv
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from shop.money import to_decimal_string
from shop.transactions import give_back_connections

# A page of orders is about half a megabyte.
PAGE_ROWS = 2000
# Without it spreadsheets take UTF-8 for the code page of their machine.
BOM = "\ufeff"
# What a spreadsheet takes for a formula, or for the end of a cell that hides one; also in the wide forms of Chinese input.
FORMULA = re.compile(r"\s*[=+\-@\t\r\n＝＋－＠]")


@dataclass(frozen=True, slots=True)
class Column:
    """`read` takes the value from a row: a text, a number, a moment, a day or None."""

    title: str
    read: Callable[[Any], object]


def answer_csv(
    request: HttpRequest, rows: QuerySet[Any], columns: Sequence[Column], *, name: str
) -> StreamingHttpResponse:
    """A download of `rows`, the newest first, called `name` and today's date in the zone of the shop."""
    pages = iter_pages(rows, columns)
    # Django would read a plain iterator to its end before it sends the first byte over ASGI, and the other way round.
    content = _iter_async(pages) if isinstance(request, ASGIRequest) else pages
    today = timezone.now().astimezone(ZoneInfo(settings.DISPLAY_TIME_ZONE)).date()
    headers = {"Content-Disposition": f'attachment; filename="{name}-{today}.csv"'}
    return StreamingHttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


def iter_pages(rows: QuerySet[Any], columns: Sequence[Column]) -> Iterator[bytes]:
    """The file in parts: its head, then a page of rows at a time. Each page is one short statement."""
    yield (BOM + _write([[column.title for column in columns]])).encode()
    rows, last = rows.order_by("-pk"), None
    while page := list((rows if last is None else rows.filter(pk__lt=last))[:PAGE_ROWS]):
        give_back_connections()
        yield _write([[cell(column.read(row)) for column in columns] for row in page]).encode()
        last = page[-1].pk


async def _iter_async(pages: Iterator[bytes]) -> AsyncIterator[bytes]:
    read_next = sync_to_async(lambda: next(pages, None))
    while (page := await read_next()) is not None:
        yield page


def _write(rows: Sequence[Sequence[str]]) -> str:
    text = StringIO()
    # All in quotes: where a semicolon parts cells, none in a text may begin one.
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def cell(value: object) -> str:
    """The text of one cell. Times are UTC in ISO 8601; a text that a spreadsheet would calculate begins with an apostrophe.

    Only what comes as a number may look like one that begins with a sign.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    text = str(value)
    return f"'{text}" if FORMULA.match(text) else text


def amount(amount_minor: int | None, currency: str) -> object:
    """An amount in major units: 12900, "CNY" → 129.00. One without a currency says that it is in minor units."""
    if amount_minor is None:
        return None
    if not currency:
        return f"{amount_minor} minor units"
    return Decimal(to_decimal_string(amount_minor, currency))
