"""What the gateway does wrong, decided call by call: rates drawn from a seed, and a script of exact faults.

Carrying it out is the business of `breaking.py` and `notifier.py`. Faults live in memory and end with the
process; the money in the ledger stays true whatever they do.
"""

import random
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from payments.sandbox.plans import API, API_RATES, HANG_S, NOTIFY_RATES, Plan, ScriptEntry, parse_plan


@dataclass(frozen=True)
class Fault:
    """One fault to carry out now. `when` is before or after the money operation took effect."""

    what: str
    when: str = "after"
    value: Any = None


@dataclass(frozen=True)
class CallFaults:
    """What happens to one API call: a fault or none, and an answer held back for some seconds."""

    fault: Fault | None
    slow_s: float = 0.0


@dataclass(frozen=True)
class NoticeFaults:
    """What happens to one try of a notification. `lie` is in the words of LIES."""

    is_dropped: bool = False
    is_answer_lost: bool = False
    copies: int = 1
    is_reordered: bool = False
    is_tampered: bool = False
    is_forged: bool = False
    is_garbage: bool = False
    delay_s: float = 0.0
    lie: dict[str, Any] | None = None


class Faults:
    """The plan in force and its dice; safe to share between threads."""

    def __init__(self, channels: Collection[str]) -> None:
        self._channels = channels
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """From now on everything goes well."""
        self._replace(Plan())

    def set(self, document: Any) -> None:
        """Put a new plan in force in place of the old one. Raises BadField, and then the old one stays."""
        self._replace(parse_plan(document, self._channels))

    def describe(self) -> dict[str, Any]:
        """The plan in force as JSON."""
        with self._lock:
            return self._plan.describe()

    def draw_call(self, channel: str, operation: str) -> CallFaults:
        """Decide one API call; what is no operation for faults goes well."""
        if operation not in API:
            return CallFaults(None)
        with self._lock:
            entry = self._strike(channel, operation)
            if entry is not None:
                return CallFaults(Fault(entry.what, entry.when, entry.value))
            if self._is_spared(channel, operation):
                return CallFaults(None)
            dice = self._roll(channel, operation)
            rates = self._plan.api
            # Every die is thrown at every call, so that one rate does not move another one's results.
            hits = [name for name in API_RATES if dice.random() < rates.get(name, 0)]
            return CallFaults(_API_FAULTS[hits[0]] if hits else None, dice.random() * rates.get("slow_s", 0))

    def draw_notice(self, channel: str, *, is_told: bool = False) -> NoticeFaults:
        """Decide one try of a notification. What a person told us to send meets scripts, but no rates."""
        with self._lock:
            entry = self._strike(channel, "notify")
            if entry is not None:
                return _NOTICE_FAULTS[entry.what](entry)
            if is_told or self._is_spared(channel, "notify"):
                return NoticeFaults()
            dice = self._roll(channel, "notify")
            rates = self._plan.notify
            hits = {name for name in NOTIFY_RATES if dice.random() < rates.get(name, 0)}
            return NoticeFaults(
                is_dropped="drop" in hits,
                copies=2 if "duplicate" in hits else 1,
                is_reordered="reorder" in hits,
                is_tampered="tamper" in hits,
                is_forged="forge" in hits,
                delay_s=dice.random() * rates.get("delay_s", 0),
            )

    def draw_exact(self, channel: str, operation: str) -> Fault | None:
        """The scripted fault of an operation that has no rates: a payment in the wallet."""
        with self._lock:
            entry = self._strike(channel, operation)
            return None if entry is None else Fault(entry.what, entry.when, entry.value)

    def _replace(self, plan: Plan) -> None:
        with self._lock:
            self._plan = plan
            self._dice: dict[tuple[str, str], random.Random] = {}

    def _strike(self, channel: str, operation: str) -> ScriptEntry | None:
        striking = [entry for entry in self._plan.script if entry.matches(channel, operation)]
        return striking[0] if striking else None

    def _is_spared(self, channel: str, operation: str) -> bool:
        plan = self._plan
        return (channel not in (plan.channels or [channel])) or (
            operation not in (plan.operations or [operation])
        )

    def _roll(self, channel: str, operation: str) -> random.Random:
        """The dice of one operation: they depend on the seed and its own calls, not on its neighbours'."""
        fresh = random.Random(f"{self._plan.seed}/{channel}/{operation}")  # noqa: S311  dice, no secrets
        return self._dice.setdefault((channel, operation), fresh)


_API_FAULTS = {
    "error_before": Fault("syserr", "before"),
    "timeout_before": Fault("hang", "before", HANG_S),
    "error_after": Fault("syserr", "after"),
    "timeout_after": Fault("hang", "after", HANG_S),
    "garbage": Fault("garbage", "after"),
}
_NOTICE_FAULTS: dict[str, Callable[[ScriptEntry], NoticeFaults]] = {
    "drop": lambda entry: NoticeFaults(
        is_dropped=entry.when == "before", is_answer_lost=entry.when == "after"
    ),
    "dup": lambda entry: NoticeFaults(copies=entry.value),
    "delay": lambda entry: NoticeFaults(delay_s=entry.value),
    "reorder": lambda entry: NoticeFaults(is_reordered=True),
    "badsign": lambda entry: NoticeFaults(is_forged=True),
    "garbage": lambda entry: NoticeFaults(is_garbage=True),
    "lie": lambda entry: NoticeFaults(lie=entry.value),
}
