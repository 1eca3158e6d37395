"""What the rounds say: medians with their spread, the ratio, and whether that is enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from payments.audit import Violation
from tests.bench.rounds import Part, Round

FLOOR, AIM = 0.10, 0.25
PASSED, TOO_SLOW, WRONG = 0, 1, 2
# So many faults are enough for a person; the document has them all.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Result:
    """All that a run has found."""

    rounds: Sequence[Round]
    violations: Sequence[Violation]

    @property
    def ratio(self) -> float:
        """The median of the rounds' own ratios."""
        return median(each.ratio for each in self.rounds)

    @property
    def faults(self) -> list[str]:
        """Why the figures mean nothing: a part that did not settle all it was asked to, an invariant that is broken."""
        parts = [(name, nth, part) for nth, each in enumerate(self.rounds, 1)
                 for name, part in (("pgbench", each.plain), ("http", each.http))]  # fmt: skip
        return [
            f"{name}, round {nth}: asked for {part.asked}, {part.counted}"
            for name, nth, part in parts
            if not part.is_complete
        ] + [f"audit {found.invariant}: {found.subject} {found.detail}" for found in self.violations]

    @property
    def exit_status(self) -> int:
        """0 at the floor or above it, 1 below, 2 when what was measured was not right."""
        if self.faults:
            return WRONG
        return PASSED if self.ratio >= FLOOR else TOO_SLOW


def to_document(result: Result, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The result for programs: rates a second, CPU in microseconds of one settle."""
    return {
        "ratio": result.ratio,
        "floor": FLOOR,
        "aim": AIM,
        "exit_status": result.exit_status,
        "faults": result.faults,
        "rounds": [
            {
                "ratio": each.ratio,
                "ratio_of_cpu": each.ratio_of_cpu,
                "others_percent": each.others_percent,
                "pgbench": _part(each.plain),
                "http": _part(each.http),
            }
            for each in result.rounds
        ],
        "setting": dict(setting),
    }


def describe(result: Result, setting: Mapping[str, Any]) -> str:
    """The result for people, in a few lines."""
    by_cpu = [each.ratio_of_cpu for each in result.rounds if each.ratio_of_cpu is not None]
    rows = {
        "pgbench, settles/s": _spread([each.plain.per_second for each in result.rounds], ",.0f"),
        "HTTP, callbacks/s": _spread([each.http.per_second for each in result.rounds], ",.0f"),
        "ratio": _spread([each.ratio for each in result.rounds], ".3f")
        + f"   floor {FLOOR:.2f}, aim {AIM:.2f}",
        "ratio by CPU used": _spread(by_cpu, ".3f") if by_cpu else "not known: PostgreSQL is not ours",
        "CPU of a settle": _cpu([each.plain for each in result.rounds]),
        "CPU of a callback": _cpu([each.http for each in result.rounds]),
        "CPU used by others": _spread([each.others_percent for each in result.rounds], ".0f") + " %",
        **setting,
    }
    return "\n".join([*(f"{name:<20}{told}" for name, told in rows.items()), *result.faults[:SHOWN]])


def _cpu(parts: Sequence[Part]) -> str:
    used_us = {name: median(part.cpu_us[name] for part in parts) for name in parts[0].cpu_us}
    return ", ".join(f"{name} {us:,.0f} µs" for name, us in used_us.items() if us >= 1)


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _part(part: Part) -> dict[str, Any]:
    counted = part.counted
    return {
        "asked": part.asked,
        "paid": counted.paid,
        "settled": counted.settled,
        "ready": counted.ready,
        "taken": counted.taken,
        "seconds": part.seconds,
        "per_second": part.per_second,
        "cpu_us": part.cpu_us,
    }
