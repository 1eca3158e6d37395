"""A CSV that a spreadsheet and a program can both read: streamed, exact, and harmless to who opens it."""

import asyncio
import csv
import io
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection, connections
from django.test import RequestFactory

from shop.exports import PAGE_ROWS, Column, amount, answer_csv, cell, iter_pages
from shop.models import Event

COLUMNS = (
    Column("subject", lambda event: event.subject),
    Column("at", lambda event: event.at),
)


def make_events(count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into shop_event (order_number, subject_kind, subject, from_status, to_status, source, actor, note)"
            " select '', 'order', 'N' || n, '', 'UNPAID', 'SYSTEM', '', '{}' from generate_series(1, %s) n",
            [count],
        )


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+8613800000000", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1+1", "＝1+1", "-1.00"],
)
def test_text_that_a_spreadsheet_would_calculate_is_only_text(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Anna Lin", "a=1", "N0123", "13800000000", "an@example.com", "张三"])
def test_other_text_stays_as_it_is(text):
    assert cell(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (-5, "-5"),
        (Decimal("-1.00"), "-1.00"),
        (date(2026, 11, 21), "2026-11-21"),
        (datetime(2026, 11, 21, 18, tzinfo=timezone(timedelta(hours=8))), "2026-11-21T10:00:00+00:00"),
    ],
)
def test_what_is_no_text_has_one_form(value, shown):
    assert cell(value) == shown


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (12900, "CNY", "129.00"),
        (-5, "USD", "-0.05"),
        (None, "CNY", ""),
        (7, "EUR", "0.07"),
        (7, "", "7 minor units"),
    ],
)
def test_amount_is_in_major_units_to_the_cent(minor, currency, shown):
    assert cell(amount(minor, currency)) == shown


@pytest.mark.django_db
def test_file_has_a_mark_for_spreadsheets_a_head_and_the_newest_row_first():
    make_events(2)
    content = b"".join(iter_pages(Event.objects.all(), COLUMNS))
    assert content.startswith(b"\xef\xbb\xbf")
    head, *rows = read(content)
    assert head == ["subject", "at"]
    assert [row[0] for row in rows] == ["N2", "N1"]


@pytest.mark.django_db
def test_semicolon_comma_quote_and_line_end_stay_in_their_cell():
    make_events(1)
    told = 'a;=1+1,"b"\nc'
    columns = (Column("told", lambda _: told), Column("other", lambda _: "x"))
    content = b"".join(iter_pages(Event.objects.all(), columns))
    assert read(content)[1] == [told, "x"]
    assert b'"a;=1+1,""b""' in content


@pytest.mark.django_db
def test_rows_of_many_pages_are_all_there_once():
    make_events(PAGE_ROWS + 3)
    rows = read(b"".join(iter_pages(Event.objects.all(), COLUMNS)))[1:]
    assert len({row[0] for row in rows}) == len(rows) == PAGE_ROWS + 3


@pytest.mark.django_db
def test_fifty_thousand_rows_need_the_memory_of_a_page():
    """Of a file of some megabytes no more than a page of rows is ever held."""
    make_events(50_000)
    tracemalloc.start()
    size = sum(len(part) for part in iter_pages(Event.objects.all(), COLUMNS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 2_000_000
    assert peak < 12_000_000


@pytest.mark.django_db
def test_first_bytes_come_before_a_row_is_read(rf, django_assert_num_queries):
    make_events(3)
    answer = answer_csv(rf.get("/"), Event.objects.all(), COLUMNS, name="events")
    with django_assert_num_queries(0):
        assert b"subject" in next(iter(answer.streaming_content))


@pytest.mark.django_db(transaction=True)
def test_over_asgi_it_is_streamed_too(rf):
    """Django would read a plain iterator to its end first."""
    make_events(3)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    answer = answer_csv(ASGIRequest(scope, BytesIO()), Event.objects.all(), COLUMNS, name="events")
    assert answer.is_async

    async def read_all() -> list[bytes]:
        parts = [part async for part in answer]
        await sync_to_async(connections.close_all)()  # that of the thread which has read
        return parts

    assert len(read(b"".join(asyncio.run(read_all())))) == 4


@pytest.mark.django_db
def test_file_is_named_by_what_it_is_and_the_shops_day(settings):
    settings.DISPLAY_TIME_ZONE = "Pacific/Kiritimati"
    answer = answer_csv(RequestFactory().get("/"), Event.objects.none(), COLUMNS, name="events")
    day = datetime.now(UTC) + timedelta(hours=14)
    assert answer["Content-Disposition"] == f'attachment; filename="events-{day:%Y-%m-%d}.csv"'
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
