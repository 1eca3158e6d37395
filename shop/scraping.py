"""/metrics for Prometheus: facts of the database, read when somebody asks, and what the processes of this machine have counted.

An answer is kept for some seconds, so that several scrapers cost as much as one. When PostgreSQL does not answer, the rest is
told all the same, with `nodrop_up 0`: an alarm about the database must not depend on the database.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from shop import counting, tallies
from shop.gauges import Reading
from shop.metrics import Metric, Sample, Values
from shop.models import Tally
from shop.tallies import Tallied
from shop.visitors import is_this_machine

log = structlog.get_logger("nodrop.scraping")

KEPT_FOR_S = 5.0
# One statement; and after so long no other is begun.
STATEMENT_MS = 2000
TOTAL_S = 5.0

UP = Metric(name="nodrop_up", help="1 when PostgreSQL answered, else 0 and its facts are missing.")
FAILED = Metric(name="nodrop_scrape_readings_failed", help="Facts that could not be read in time.")
TOOK = Metric(name="nodrop_scrape_seconds", help="How long it took to read the facts.")
UNREADABLE = Metric(
    name="nodrop_scrape_unreadable_files", help="Files of processes' counts that nobody can read."
)
OURS = (UP, FAILED, TOOK, UNREADABLE)

Facts = Iterable[tuple[Metric, list[Sample]]]


def all_readings() -> tuple[Reading, ...]:
    """Of every floor."""
    return tuple(chain.from_iterable(import_string(name) for name in settings.METRICS["readings"]))


def all_tallies() -> tuple[Tallied, ...]:
    """Of every floor."""
    return tuple(chain.from_iterable(import_string(name) for name in settings.METRICS["tallies"]))


def counted() -> tuple[Metric, ...]:
    """What processes count by themselves."""
    return tuple(import_string(name) for name in settings.METRICS["counted"])


def derived() -> tuple[Metric, ...]:
    """What is computed from tallies."""
    return tuple(import_string(name) for name in settings.METRICS["derived"])


def all_metrics() -> tuple[Metric, ...]:
    """Every metric that there is, whether it has a series now or not."""
    read = chain.from_iterable(reading.metrics for reading in all_readings())
    tallied = (each.metric for each in all_tallies())
    return (*OURS, *counted(), *read, *tallied, *derived())


def keep_tallies() -> None:
    """Add up what has settled since the last time; a few rows each, once a minute."""
    for tallied in all_tallies():
        tallies.keep(tallied)


# ---- reading -----------------------------------------------------------------------------------------------------


def scrape() -> bytes:
    """Everything in Prometheus' text format. Never raises for a database that is away."""
    began = time.monotonic()
    facts: list[tuple[Metric, list[Sample]]] = []
    failed, is_up = 0, True
    try:
        failed = _read_facts(facts, until=began + TOTAL_S)
    except (DatabaseError, InterfaceError) as error:
        log.warning("metrics without the database", error=type(error).__name__)
        is_up = False
    counts, unreadable = _read_counts()
    facts += [(metric, counting.samples_of(counts, metric)) for metric in counted()]
    figures = (int(is_up), failed, time.monotonic() - began, unreadable)
    facts += [(metric, [((), [value])]) for metric, value in zip(OURS, figures, strict=True)]
    return generate_latest(_Given(to_family(*fact) for fact in facts))


def _read_facts(facts: list[tuple[Metric, list[Sample]]], *, until: float) -> int:
    """Add what the database knows to `facts`; how many facts could not be read. Raises when it is away."""
    failed = 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"set local statement_timeout = {STATEMENT_MS}")
        kept = tallies.read_kept(all_tallies())
        for read in chain(
            map(_reader_of, all_readings()), (_counter_of(each, kept) for each in all_tallies())
        ):
            if time.monotonic() > until:
                failed += 1
                continue
            try:
                with transaction.atomic():
                    facts += read()
            except (DatabaseError, InterfaceError) as error:
                if not connection.is_usable():
                    raise
                failed += 1
                log.warning("metric not read", error=type(error).__name__)
    return failed


def _reader_of(reading: Reading) -> Callable[[], Facts]:
    return lambda: read_gauges(reading)


def _counter_of(tallied: Tallied, kept: Mapping[str, Tally]) -> Callable[[], Facts]:
    return lambda: read_counter(tallied, kept.get(tallied.metric.name))


def read_gauges(reading: Reading) -> Facts:
    """The gauges of one reading as they are now."""
    rows = list(_select(reading.rows) if isinstance(reading.rows, str) else reading.rows())
    width = len(reading.metrics[0].labels)
    for place, metric in enumerate(reading.metrics):
        told = [(row[:width], row[width + place]) for row in rows if row[width + place] is not None]
        yield metric, [(tuple(map(str, labels)), [float(value)]) for labels, value in told]


def read_counter(tallied: Tallied, kept: Tally | None) -> Facts:
    """One tally as it is now, and what is computed from it."""
    samples = tallies.read(tallied, kept)
    yield tallied.metric, samples
    if compute := settings.METRICS["computed"].get(tallied.metric.name):
        yield from import_string(compute)(samples)


def _select(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def to_family(metric: Metric, samples: Iterable[Sample]) -> Family:
    """The metric as the Prometheus client writes it."""
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, values in samples:
            histogram.add_metric(labels, buckets=_cumulate(metric, values), sum_value=values[-1])
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, values in samples:
        family.add_metric(labels, values[0])
    return family


def _cumulate(metric: Metric, values: Values) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip((*(str(float(b)) for b in metric.buckets), "+Inf"), values[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _read_counts() -> tuple[counting.Counts, int]:
    """A folder that is not to be had is one more file that nobody can read."""
    try:
        return counting.BOOK.read()
    except OSError as error:
        log.warning("metrics of other processes cannot be read", error=type(error).__name__)
        return counting.BOOK.own, 1


class _Given:
    """A registry of what has been read already."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families


# ---- the door ----------------------------------------------------------------------------------------------------


class _Kept:
    """The last answer of this process; whoever comes while it is made waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._body, self._until = b"", 0.0

    def body(self) -> bytes:
        with self._lock:
            if time.monotonic() >= self._until:
                self._body = scrape()
                self._until = time.monotonic() + KEPT_FOR_S
            return self._body

    def forget(self) -> None:
        """The next answer is a new one."""
        self._until = 0.0


KEPT = _Kept()


@csrf_exempt  # it changes nothing, whatever the method
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics; 404 for whoever may not see them."""
    if not may_scrape(request):
        raise Http404
    return HttpResponse(
        KEPT.body(), content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"}
    )


def may_scrape(request: HttpRequest) -> bool:
    """Whoever knows METRICS_TOKEN; without one, this very machine. And staff who are logged in."""
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").encode()
        may = secrets.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())
    else:
        may = is_this_machine(request)
    return may or _is_staff(request)


def _is_staff(request: HttpRequest) -> bool:
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    try:
        return request.user.is_active and request.user.is_staff
    except (DatabaseError, InterfaceError):
        return False
