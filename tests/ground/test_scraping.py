"""Being scraped: who may, what it costs, and what is told when parts are away."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from django.test import Client

from shop import counting, scraping
from shop.counting import ENDED, Book, fold, samples_of
from shop.gauges import Reading, gauges
from shop.metrics import Metric
from tests.scraped import Scraped

DOORS = Metric(name="nodrop_doors_total", help="Doors.", kind="counter", labels=("door",))
TIMES = Metric(name="nodrop_times_seconds", help="Times.", kind="histogram", buckets=(1, 10))
TOKEN = "a-long-random-text"


@pytest.fixture(autouse=True)
def _nothing_kept(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(counting.BOOK, "_given", tmp_path / "own")
    counting.BOOK.begin()
    scraping.KEPT.forget()
    yield
    scraping.KEPT.forget()


# ---- who may -----------------------------------------------------------------------------------------------------

PROXIED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("token", "address", "headers", "status"),
    [
        ("", "127.0.0.1", {}, 200),
        ("", "::1", {}, 200),
        ("", "::ffff:127.0.0.1", {}, 200),
        ("", "10.0.0.7", {}, 404),
        ("", "203.0.113.9", {}, 404),
        ("", "", {}, 404),
        *(("", "127.0.0.1", {name: "203.0.113.9"}, 404) for name in PROXIED),
        ("", "203.0.113.9", {"Authorization": "Bearer "}, 404),
        (TOKEN, "203.0.113.9", {"Authorization": f"Bearer {TOKEN}"}, 200),
        (TOKEN, "127.0.0.1", {"X-Forwarded-For": "1.1.1.1", "Authorization": f"Bearer {TOKEN}"}, 200),
        (TOKEN, "127.0.0.1", {}, 404),
        (TOKEN, "203.0.113.9", {"Authorization": f"Bearer {TOKEN}x"}, 404),
        (TOKEN, "203.0.113.9", {"Authorization": TOKEN}, 404),
        (TOKEN, "203.0.113.9", {"Authorization": "Bearer \xe9"}, 404),
    ],
)
def test_only_the_token_or_without_one_this_machine_may_scrape(client, settings, token, address, headers, status):  # fmt: skip
    settings.METRICS_TOKEN = token
    assert client.get("/metrics", REMOTE_ADDR=address, headers=headers).status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize(("is_staff", "status"), [(True, 200), (False, 404)])
def test_staff_who_are_logged_in_may_look(client, settings, django_user_model, is_staff, status):
    settings.METRICS_TOKEN = TOKEN
    client.force_login(django_user_model.objects.create_user("clerk", is_staff=is_staff))
    assert client.get("/metrics").status_code == status


@pytest.mark.django_db
def test_nothing_is_changed_by_scraping_and_no_form_is_asked_for():
    answer = Client(enforce_csrf_checks=True).post("/metrics")
    assert (answer.status_code, answer["Allow"], answer.content) == (405, "GET, HEAD", b"")


@pytest.mark.django_db
def test_answer_is_prometheus_text_that_no_cache_keeps(client):
    answer = client.get("/metrics")
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer["Cache-Control"] == "no-store"
    assert Scraped(answer.content.decode())("up") == 1


# ---- what it costs, and what may fail ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_second_scraper_within_seconds_costs_nothing(client, django_assert_num_queries):
    first = client.get("/metrics").content
    with django_assert_num_queries(0):
        assert client.get("/metrics").content == first


@pytest.mark.django_db
def test_every_scrape_reads_anew_after_some_seconds(client, monkeypatch):
    monkeypatch.setattr(scraping, "KEPT_FOR_S", 0)
    first = client.get("/metrics").content
    assert client.get("/metrics").content != first


def broken(*_: object, **__: object) -> None:
    raise OperationalError("the server is away")


def test_database_that_is_away_is_told_with_all_that_is_known_without_it(monkeypatch):
    monkeypatch.setattr(scraping, "_read_facts", broken)
    counting.count(scraping.counted()[0], "page", "5xx", observed=3)
    answer = Client().get("/metrics")
    scraped = Scraped(answer.content.decode())
    assert (answer.status_code, scraped("up")) == (200, 0)
    assert scraped("http_request_seconds_sum", route="page", status="5xx") == 3
    assert scraped("queue_messages") is None


@pytest.fixture
def readings(monkeypatch):
    """Makes these the only ones."""

    def only(*given: Reading) -> None:
        monkeypatch.setattr(scraping, "all_readings", lambda: given)

    return only


BROKEN = Reading(metrics=gauges((), broken="Never."), rows="select 1 / 0")
SLOW = Reading(metrics=gauges((), slow="Late."), rows="select 1 from pg_sleep(30)")
GOOD = Reading(metrics=gauges((), good="Good."), rows="select 7")


@pytest.mark.django_db
def test_fact_that_cannot_be_read_takes_no_other_with_it(readings):
    readings(BROKEN, GOOD)
    scraped = Scraped()
    assert (scraped("good"), scraped("up"), scraped("scrape_readings_failed")) == (7, 1, 1)


@pytest.mark.django_db
def test_slow_fact_is_given_up(readings, monkeypatch):
    monkeypatch.setattr(scraping, "STATEMENT_MS", 50)
    readings(SLOW, GOOD)
    scraped = Scraped()
    assert (scraped("good"), scraped("scrape_readings_failed")) == (7, 1)


@pytest.mark.django_db
def test_after_the_whole_time_nothing_more_is_read(readings, monkeypatch):
    monkeypatch.setattr(scraping, "TOTAL_S", -1.0)
    readings(GOOD)
    scraped = Scraped()
    assert scraped("good") is None
    assert scraped("scrape_readings_failed") == 1 + len(scraping.all_tallies())


@pytest.mark.django_db(transaction=True)
def test_time_limit_of_scraping_ends_with_it():
    Scraped()
    with connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone()[0] == "15s"


# ---- what processes count ----------------------------------------------------------------------------------------


def counted_in(folder: Path, metric: Metric = DOORS) -> dict[tuple[str, ...], list[float]]:
    return {labels: list(values) for labels, values in samples_of(Book(folder).read()[0], metric)}


def elsewhere(folder: Path, times: int) -> None:
    """Another process counts, and ends without a word."""
    code = (
        "import os, sys; from pathlib import Path; from shop.counting import Book; from shop.metrics import Metric\n"
        "book = Book(Path(sys.argv[1]))\n"
        "doors = Metric(name='nodrop_doors_total', help='', kind='counter', labels=('door',))\n"
        "for _ in range(int(sys.argv[2])): book.count(doors, 'front')\n"
        "book.write(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(times)], check=False)


def test_what_a_killed_process_had_written_stays_counted_in_one_file(tmp_path):
    elsewhere(tmp_path, 3)
    elsewhere(tmp_path, 4)
    assert counted_in(tmp_path) == {("front",): [7]}
    assert counted_in(tmp_path) == {("front",): [7]}
    assert [path.name for path in tmp_path.glob("*.json") if f".{os.getpid()}." not in path.name] == [ENDED]


def test_fold_that_was_cut_short_counts_nothing_twice(tmp_path, monkeypatch):
    elsewhere(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", broken)
        with pytest.raises(OperationalError):
            fold(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert counted_in(tmp_path) == {("front",): [3]}
    elsewhere(tmp_path, 1)
    assert counted_in(tmp_path) == {("front",): [4]}


def test_process_that_was_taken_for_ended_counts_on_from_where_it_was(tmp_path):
    book = Book(tmp_path, write_after_s=60)
    book.count(DOORS, "front")
    book.write()
    fold(tmp_path, old_s=-1)
    book.count(DOORS, "front")
    book.write()
    book.write()
    assert counted_in(tmp_path) == {("front",): [2]}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"counts": [["nodrop_doors_total"]]}', '{"counts": 7}', '{"counts": [[1, [], ["x"]]]}']
)  # fmt: skip
def test_file_that_nobody_can_read_is_skipped_and_told(tmp_path, text):
    book = Book(tmp_path, write_after_s=60)
    book.count(DOORS, "front")
    book.write()
    (tmp_path / f"host.{os.getpid()}.0.json").write_text(text)
    counts, unreadable = Book(tmp_path).read()
    assert unreadable == 1
    assert samples_of(counts, DOORS) == [(("front",), [1])]


def test_file_that_nobody_can_read_is_a_metric_too(tmp_path, monkeypatch):
    monkeypatch.setattr(scraping, "_read_facts", lambda *_, **__: 0)
    counting.BOOK.read()
    (tmp_path / "own" / "host.1.0.json").write_text("{")
    assert Scraped()("scrape_unreadable_files") == 1


def test_folder_that_is_not_to_be_had_costs_only_the_others_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(scraping, "_read_facts", lambda *_, **__: 0)
    (tmp_path / "file").touch()
    monkeypatch.setattr(counting.BOOK, "_given", tmp_path / "file" / "metrics")
    counting.count(scraping.counted()[0], "page", "2xx", observed=1)
    scraped = Scraped()
    assert scraped("http_request_seconds_count", route="page", status="2xx") == 1
    assert scraped("scrape_unreadable_files") == 1


def test_counts_are_written_by_themselves_a_moment_later(tmp_path):
    from tests.waiting import wait_until

    book = Book(tmp_path, write_after_s=0.01)
    book.count(DOORS, "front")
    wait_until(lambda: (tmp_path / book.name).exists())
    assert json.loads((tmp_path / book.name).read_text())["counts"] == [[DOORS.name, ["front"], [1]]]


def test_histogram_counts_each_observation_in_its_bucket(tmp_path):
    book = Book(tmp_path, write_after_s=60)
    for seconds in (0.5, 1, 1.5, 100):
        book.count(TIMES, observed=seconds)
    book.write()
    assert counted_in(tmp_path, TIMES) == {(): [2, 1, 1, 103]}


def test_child_begins_an_empty_book_of_its_own():
    counting.count(DOORS, "front")
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(write, str(len(counting.BOOK.own)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"0"
    assert len(counting.BOOK.own) == 1
