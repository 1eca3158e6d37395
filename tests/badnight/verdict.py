"""What a night came to, in words and for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shop.money import for_people
from tests.badnight.books import EVERY
from tests.badnight.night import Night

SHOWN = 30


def to_document(night: Night) -> dict[str, Any]:
    """The night for programs; amounts in minor units."""
    return asdict(night)


def describe(night: Night, *, took_s: float) -> str:
    """One block for people."""
    minutes, seconds = divmod(round(took_s), 60)
    lines = [
        f"bad night  seed {night.seed}  took {minutes} min {seconds} s",
        f"trades     {night.trades} over five channels, no notification arrived: {_list(night.plays)}",
        f"books      one line of {EVERY} spoilt: {_list(night.spoilt)}",
        f"fix        {night.repaired} put right, {night.given_to_people} given to people, by what differed then: {_list(night.found)}",
        f"left       {sum(night.left.values())} cases: {_list(night.left)}",
        f"hidden     {night.hidden} lines that nobody could know of until the channels restated their books",
        f"restated   {sum(night.left_restated.values())} cases: {_list(night.left_restated)}",
        f"receipts   {_list(night.receipts)}; written down by a false line: {night.false}",
        *(_describe_total(name, total) for name, total in sorted(night.totals.items())),
        "took       " + ", ".join(f"{what} {took:.0f} s" for what, took in night.took_s.items()),
        f"violations {len(night.violations)}",
        *(f"  {violation}" for violation in night.violations[:SHOWN]),
        "VIOLATED" if night.violations else "passed",
    ]
    return "\n".join(lines)


def _describe_total(name: str, total: Mapping[str, int]) -> str:
    currency = name.split()[1]
    sums = ", ".join(f"{what} {for_people(amount, currency)}" for what, amount in total.items())
    return f"  {name:<14}{sums}"


def _list(counts: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda each: -each[1]))
        or "none"
    )
