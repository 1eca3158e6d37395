"""The sandbox's faults of a while: put in force, kept in force when the sandbox is killed, and counted afterwards.

The sandbox does not count what it does wrong, but its dice depend on the seed and the number of calls alone. An entry
of the script that never strikes counts the calls, and the sandbox's own dice, thrown again here, tell what came of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import requests

from payments.sandbox.faults import CallFaults, Faults, NoticeFaults
from payments.sandbox.plans import API
from tests.soak.ways import CHANNELS

Calls = Mapping[tuple[str, str], int]  # of each channel's operation
NEVER = 10**9
TIMEOUT_S = 5
SLOW_FROM_S = 0.2

# Kind → the rates that make it. Timeouts hold a caller for the 8 s of a whole call each, so they are rare.
WEATHERS: dict[str, Mapping[str, Mapping[str, float]]] = {
    "notify drop": {"notify": {"drop": 0.5}},
    "notify duplicate": {"notify": {"duplicate": 0.5}},
    "notify reorder": {"notify": {"reorder": 0.4}},
    "notify tamper": {"notify": {"tamper": 0.3}},
    "notify forge": {"notify": {"forge": 0.3}},
    "notify delay": {"notify": {"delay_s": 6.0}},
    "notify silence": {"notify": {"drop": 1.0}},
    "api error_before": {"api": {"error_before": 0.3}},
    "api error_after": {"api": {"error_after": 0.3}},
    "api timeout_before": {"api": {"timeout_before": 0.03}},
    "api timeout_after": {"api": {"timeout_after": 0.03}},
    "api garbage": {"api": {"garbage": 0.3}},
    "api slow": {"api": {"slow_s": 1.5}},
}
_API_KINDS = {
    ("syserr", "before"): "api error_before",
    ("syserr", "after"): "api error_after",
    ("hang", "before"): "api timeout_before",
    ("hang", "after"): "api timeout_after",
    ("garbage", "after"): "api garbage",
}


class Weather:
    """The faults in force at one sandbox. Only one thread may use it."""

    def __init__(self, sandbox: str) -> None:
        self.url = f"{sandbox}/_sandbox/faults"
        self.struck: Counter[str] = Counter()
        self._plan: dict[str, Any] | None = None
        self._calls: Calls = {}

    def change(self, kinds: Sequence[str], *, seed: int, channels: Sequence[str] = ()) -> None:
        """From now on these kinds of faults, and no others; none: everything goes well. Waits for no sandbox.

        `channels`: those that have them; empty means all.
        """
        self.keep()
        self._count()
        rates: dict[str, dict[str, float]] = {"notify": {}, "api": {}}
        for kind in kinds:
            for side, named in WEATHERS[kind].items():
                rates[side].update(named)
        self._plan = {"seed": seed, "channels": [*channels], **rates, "script": _counters()}
        self._put()

    def keep(self) -> None:
        """Note what has come so far; a sandbox that was started again gets its faults again."""
        with suppress(requests.RequestException, KeyError, ValueError):
            present = requests.get(self.url, timeout=TIMEOUT_S).json()
            if self._plan is None or present["seed"] != self._plan["seed"]:
                self._count()
                self._put()
                return
            self._calls = {
                (entry["channel"], entry["operation"]): entry["seen"] for entry in present["script"]
            }

    def end(self) -> bool:
        """Nothing goes wrong any more. False when the sandbox could not be told."""
        self.keep()
        self._count()
        self._plan = None
        try:
            return requests.delete(self.url, timeout=TIMEOUT_S).ok
        except requests.RequestException:
            return False

    def _put(self) -> None:
        if self._plan is not None:
            with suppress(requests.RequestException):
                requests.put(self.url, json=self._plan, timeout=TIMEOUT_S)

    def _count(self) -> None:
        """Throw the dice of the calls seen under the present plan once more."""
        if self._plan is not None:
            self.struck += count_struck(self._plan, self._calls)
        self._calls = {}


def count_struck(plan: Mapping[str, Any], calls: Calls) -> Counter[str]:
    """What the plan did in so many calls of each operation."""
    faults = Faults(CHANNELS)
    faults.set({**plan, "script": []})
    struck: Counter[str] = Counter()
    for (channel, operation), seen in calls.items():
        for _ in range(seen):
            if operation == "notify":
                struck.update(_kinds_of_notice(faults.draw_notice(channel), plan))
            else:
                struck.update(_kinds_of_call(faults.draw_call(channel, operation)))
    return struck


def _kinds_of_call(drawn: CallFaults) -> list[str]:
    kinds = [_API_KINDS[drawn.fault.what, drawn.fault.when]] if drawn.fault else []
    return [*kinds, "api slow"] if drawn.slow_s >= SLOW_FROM_S else kinds


def _kinds_of_notice(drawn: NoticeFaults, plan: Mapping[str, Any]) -> list[str]:
    dropped = "notify silence" if plan["notify"].get("drop") == 1.0 else "notify drop"
    signs = {
        dropped: drawn.is_dropped,
        "notify duplicate": drawn.copies > 1,
        "notify reorder": drawn.is_reordered,
        "notify tamper": drawn.is_tampered,
        "notify forge": drawn.is_forged,
        "notify delay": drawn.delay_s > 0,
    }
    return [kind for kind, is_so in signs.items() if is_so]


def _counters() -> list[dict[str, Any]]:
    """For each operation of each channel an entry that only counts."""
    whats = dict.fromkeys(API, "syserr") | {"notify": "drop"}
    return [
        {"channel": channel, "operation": operation, "what": what, "when": "before", "nth": NEVER}
        for channel in CHANNELS
        for operation, what in whats.items()
    ]
