"""The plan of faults as a JSON document: what can be asked for, and the strict reading of it.

A wrong plan is refused with the path of its first wrong field; carrying a plan out is the business of
`faults.py`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from payments.sandbox.fields import BadField, split_url

API = ("create", "query", "capture", "close", "refund", "query_refund", "statement")
OPERATIONS = (*API, "notify", "pay")
_WHENS = ("before", "after")

HANG_S = 30.0
_HANG_MAX_S = 120.0
_DELAY_MAX_S = 3600.0
_FLOOD_MAX = 2**30

NOTIFY_RATES = ("drop", "duplicate", "reorder", "tamper", "forge")
API_RATES = ("error_before", "timeout_before", "error_after", "timeout_after", "garbage")

LIES: dict[str, type] = {
    "amount": int,
    "currency": str,
    "status": str,
    "out_trade_no": str,
    "channel_number": str,
    "merchant": str,
    "app": str,
}


@dataclass
class ScriptEntry:
    """One exact fault: from the `nth` matching call on, `times` calls in a row."""

    channel: str
    operation: str
    when: str
    what: str
    value: Any
    nth: int
    times: int
    seen: int = 0

    def matches(self, channel: str, operation: str) -> bool:
        """Count a call; whether the fault strikes it."""
        if (self.channel, self.operation) != (channel, operation):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times

    def describe(self) -> dict[str, Any]:
        """The entry as JSON, with the number of matching calls seen."""
        return dict(vars(self))


@dataclass
class Plan:
    """All faults in force. Empty `channels` or `operations` mean all of them."""

    seed: int = 0
    channels: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    notify: dict[str, float] = field(default_factory=dict)
    api: dict[str, float] = field(default_factory=dict)
    script: list[ScriptEntry] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """The plan as JSON, as it was asked for."""
        return {**vars(self), "script": [entry.describe() for entry in self.script]}


def parse_plan(document: Any, channels: Collection[str]) -> Plan:
    """The plan that a JSON document asks for. Raises BadField with the path of the first wrong field."""
    known = ("seed", "channels", "operations", "notify", "api", "script")
    document = _read_object(document, "", known)
    script = document.get("script", [])
    if not isinstance(script, list):
        raise BadField("script", "must be a list")
    return Plan(
        seed=_read_number(document.get("seed", 0), "seed", whole=True, least=-(2**63), most=2**63),
        channels=_read_words(document.get("channels", []), "channels", channels),
        operations=_read_words(document.get("operations", []), "operations", (*API, "notify")),
        notify=_read_rates(document.get("notify", {}), "notify", NOTIFY_RATES, "delay_s"),
        api=_read_rates(document.get("api", {}), "api", API_RATES, "slow_s"),
        script=[_read_entry(entry, f"script[{place}]", channels) for place, entry in enumerate(script)],
    )


def _read_entry(entry: Any, place: str, channels: Collection[str]) -> ScriptEntry:
    known = ("channel", "operation", "when", "what", "value", "nth", "times")
    entry = _read_object(entry, place, known)
    what = entry.get("what")
    what = _read_word(what, f"{place}.what", _WHATS)
    operations, read_value = _WHATS[what]
    operation = _read_word(entry.get("operation"), f"{place}.operation", OPERATIONS)
    if operation not in operations:
        raise BadField(f"{place}.what", f"{what} applies to {', '.join(operations)}, not to {operation}")
    return ScriptEntry(
        channel=_read_word(entry.get("channel"), f"{place}.channel", channels),
        operation=operation,
        when=_read_word(entry.get("when", _find_default_when(operation, what)), f"{place}.when", _WHENS),
        what=what,
        value=read_value(entry.get("value"), f"{place}.value"),
        nth=_read_number(entry.get("nth", 1), f"{place}.nth", whole=True, least=1, most=10**9),
        times=_read_number(entry.get("times", 1), f"{place}.times", whole=True, least=1, most=10**9),
    )


_OF_CONTENT = ("refund_abnormal", "statement_omit", "statement_double", "statement_lie")


def _find_default_when(operation: str, what: str) -> str | None:
    """A script says when; only where it would make no difference it may be silent."""
    return "before" if operation not in API or what in _OF_CONTENT else None


def _read_object(value: Any, place: str, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadField(place or "body", "must be an object")
    for name in value:
        if name not in known:
            raise BadField(f"{place}.{name}".lstrip("."), f"is unknown; known are {', '.join(known)}")
    return value


def _read_word(value: Any, place: str, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise BadField(place, f"must be one of {', '.join(known)}")
    return value


def _read_words(value: Any, place: str, known: Collection[str]) -> list[str]:
    if not isinstance(value, list):
        raise BadField(place, "must be a list")
    return [_read_word(word, f"{place}[{number}]", known) for number, word in enumerate(value)]


def _read_number(value: Any, place: str, *, least: float, most: float, whole: bool = False) -> Any:
    fits = type(value) is int or (not whole and type(value) is float)
    if not fits or not least <= value <= most:
        raise BadField(place, f"must be a {'whole ' if whole else ''}number from {least} to {most}")
    return value


def _read_rates(value: Any, place: str, rates: tuple[str, ...], seconds: str) -> dict[str, float]:
    value = _read_object(value, place, (*rates, seconds))
    limits = dict.fromkeys(rates, 1.0) | {seconds: _DELAY_MAX_S}
    return {name: _read_number(value[name], f"{place}.{name}", least=0, most=limits[name]) for name in value}


def _read_nothing(value: Any, place: str) -> None:
    if value is not None:
        raise BadField(place, "is not used by this fault")


def _read_seconds(default: float, most: float) -> Callable[[Any, str], float]:
    return lambda value, place: _read_number(
        default if value is None else value, place, least=0.001, most=most
    )


def _read_count(default: int, least: int, most: int) -> Callable[[Any, str], int]:
    return lambda value, place: _read_number(
        default if value is None else value, place, whole=True, least=least, most=most
    )


def _read_every(value: Any, place: str) -> int:
    """Of how many lines one is spoilt; 0: the first alone."""
    every: int = _read_number(0 if value is None else value, place, whole=True, least=0, most=10**6)
    return every


def _read_status(value: Any, place: str) -> dict[str, Any]:
    """An HTTP status alone is a proxy's error page; with a code it is the channel's own, signed error."""
    if isinstance(value, dict):
        value = _read_object(value, place, ("status", "code"))
        code = value.get("code")
        if not isinstance(code, str) or not code:
            raise BadField(f"{place}.code", "must be a code of the channel")
        return {
            "status": _read_number(value.get("status"), f"{place}.status", whole=True, least=400, most=599),
            "code": code,
        }
    status = _read_number(502 if value is None else value, place, whole=True, least=400, most=599)
    return {"status": status, "code": None}


def _read_address(value: Any, place: str) -> str:
    if value is None:
        return "/_sandbox/"
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or not (value.startswith("/") or split_url(value))
    ):
        raise BadField(place, "must be a path or an absolute address")
    return value


def _read_lie(value: Any, place: str) -> dict[str, Any]:
    lie = _read_object(value, place, LIES)
    if not lie:
        raise BadField(place, f"must name what is false: {', '.join(LIES)}")
    for name, told in lie.items():
        if type(told) is not LIES[name]:
            raise BadField(f"{place}.{name}", f"must be of type {LIES[name].__name__}")
    return lie


def _read_end(value: Any, place: str) -> str:
    return _read_word("ABNORMAL" if value is None else value, place, ("ABNORMAL", "CLOSED"))


_WHATS: dict[str, tuple[tuple[str, ...], Callable[[Any, str], Any]]] = {
    "refuse": (API, _read_nothing),
    "hang": (API, _read_seconds(HANG_S, _HANG_MAX_S)),
    "reset": (API, _read_nothing),
    "status": (API, _read_status),
    "garbage": ((*API, "notify"), _read_nothing),
    "truncate": (API, _read_nothing),
    "badsign": ((*API, "notify"), _read_nothing),
    "drip": (API, _read_seconds(1.0, 10.0)),
    "redirect": (API, _read_address),
    "flood": (API, _read_count(100 * 2**20, 1, _FLOOD_MAX)),
    "notfound": (("query", "close", "refund", "query_refund"), _read_nothing),
    "syserr": (API, _read_nothing),
    "lie": (("query", "query_refund", "notify"), _read_lie),
    "drop": (("notify",), _read_nothing),
    "dup": (("notify",), _read_count(2, 2, 50)),
    "delay": (("notify",), _read_seconds(3.0, _DELAY_MAX_S)),
    "reorder": (("notify",), _read_nothing),
    "two_trades": (("pay",), _read_nothing),
    "paid_meanwhile": (("close",), _read_nothing),
    "refund_abnormal": (("refund",), _read_end),
    "statement_omit": (("statement",), _read_every),
    "statement_double": (("statement",), _read_every),
    "statement_lie": (("statement",), _read_every),
}
