"""What a metric is, and what its values are. Names begin with nodrop_, units are base units and stand in the name.

No label may hold what an outsider or a shopper can choose: each metric has as many series as its labels have known values.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]
# A counter or gauge has one value. A histogram has how many fell into each bucket and above the last, then their sum.
Values = Sequence[float]
Sample = tuple[Labels, Values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. `buckets` are the upper bounds of a histogram's."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"] = "gauge"
    labels: Labels = ()
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many values a sample of it has."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1

    def values_of(self, observed: float) -> list[float]:
        """One observation as a sample's values."""
        if self.kind != "histogram":
            return [observed]
        values = [0.0] * self.width
        values[bisect_left(self.buckets, observed)] = 1
        values[-1] = observed
        return values


def add(one: Iterable[float], other: Iterable[float]) -> list[float]:
    """Two samples of the same labels as one."""
    return [a + b for a, b in zip(one, other, strict=True)]
