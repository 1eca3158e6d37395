"""Counters over tables that only grow: what is older than a moment is added up once and kept, the rest is counted when asked.

So no process can lose a count by dying, nothing is written on the way of the money, and a million rows cost their last few.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection, transaction

from shop.metrics import Labels, Metric, Sample, add
from shop.models import Tally

# A row may be committed after one with a higher id. No transaction of ours that writes them lives for so long.
SETTLED_AFTER_S = 60
# How many ids one look counts: some minutes of a busy shop. After an upgrade the counters catch up by so many a minute.
WINDOW = 100_000
MAX_ID = 2**62

Counts = dict[Labels, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """A counter or histogram over the rows of `table`, called `one` in every expression; `at` is when a row was made.

    `labels` are the expressions of the metric's labels. `value` is what a counter sums (else it counts) and a histogram
    observes. `joined` and `where` follow the table's name.
    """

    metric: Metric
    table: str
    at: str
    labels: tuple[str, ...] = ()
    value: str = "1"
    joined: str = ""
    where: str = "true"

    @property
    def sql(self) -> str:
        """One row for each series and bucket after %(after)s, up to %(to)s, or to the end of the window."""
        # A value on a bound belongs below it, where width_bucket() would put it above.
        bounds = ", ".join(f"{bound}::float8" for bound in self.metric.buckets)
        bucket = f"width_bucket(({self.value})::float8 - 1e-9, array[{bounds}])" if bounds else "0"
        columns = ", ".join((*(f"({label})::text" for label in self.labels), bucket))
        groups = ", ".join(str(place + 1) for place in range(len(self.labels) + 1))
        return f"""
            select {columns}, count(*)::float8, sum({self.value})::float8 from {self.table} one {self.joined}
             where one.id > %(after)s and one.id <= {self._end} and {self.where} group by {groups}
        """  # noqa: S608 - our own constants

    @property
    def settled(self) -> str:
        """The last row of the window that is old enough, and every one before it; null where there is none.

        Not simply the id before the first young row: that may belong to a row that is not committed yet.
        """
        return f"""
            with seen as (select one.id, one.{self.at} < statement_timestamp() - %(settled)s * interval '1 second' as is_old
                            from {self.table} one where one.id > %(after)s and one.id <= {self._end})
            select max(id) from seen where id < coalesce((select min(id) from seen where not is_old), {MAX_ID})
        """  # noqa: S608

    @property
    def _end(self) -> str:
        first = f"select min(id) from {self.table} where id > %(after)s"  # noqa: S608
        return f"least(%(to)s, coalesce(({first}), 0) + {WINDOW})"


def read(tallied: Tallied, kept: Tally | None) -> list[Sample]:
    """Every series as it is now. One statement; what is beyond a window that has not been kept yet comes later."""
    after = kept.up_to if kept else 0
    return list(_merge(_load(tallied, kept), _count(tallied, after=after)).items())


def read_kept(tallies: Iterable[Tallied]) -> dict[str, Tally]:
    """What has been kept so far, by the metric's name. One statement."""
    names = [tallied.metric.name for tallied in tallies]
    return {tally.name: tally for tally in Tally.objects.filter(name__in=names)}


def keep(tallied: Tallied, *, settled_after_s: float = SETTLED_AFTER_S) -> int:
    """Add up what is settled and not kept yet, at most one window of it. Returns the id up to which it is now.

    Its own transaction. While another process does the same, this one leaves it alone.
    """
    with transaction.atomic():
        Tally.objects.get_or_create(name=tallied.metric.name)
        kept = Tally.objects.select_for_update(skip_locked=True).filter(name=tallied.metric.name).first()
        if kept is None:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(tallied.settled, {"after": kept.up_to, "to": MAX_ID, "settled": settled_after_s})
            to = cursor.fetchone()[0]
        if to is not None and to > kept.up_to:
            counts = _merge(_load(tallied, kept), _count(tallied, after=kept.up_to, to=to))
            kept.up_to, kept.counts = to, [[list(labels), values] for labels, values in counts.items()]
            kept.save(update_fields=["up_to", "counts"])
        return kept.up_to


def _count(tallied: Tallied, *, after: int, to: int = MAX_ID) -> Counts:
    with connection.cursor() as cursor:
        cursor.execute(tallied.sql, {"after": after, "to": to})
        rows = cursor.fetchall()
    counts: Counts = {}
    for *labels, bucket, count, total in rows:
        series = tuple(label or "" for label in labels)
        values = counts.setdefault(series, [0.0] * tallied.metric.width)
        if tallied.metric.kind == "histogram":
            values[bucket] += count
        values[-1] += total
    return counts


def _load(tallied: Tallied, kept: Tally | None) -> Counts:
    """A series that has another number of values than it had, since a release changed its buckets, begins anew."""
    found = kept.counts if kept else []
    return {tuple(labels): values for labels, values in found if len(values) == tallied.metric.width}


def _merge(one: Counts, other: Counts) -> Counts:
    merged = dict(one)
    for labels, values in other.items():
        merged[labels] = add(merged[labels], values) if labels in merged else values
    return merged
