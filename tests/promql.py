"""As much of Prometheus' language as the alert rules use, so that a test can see them fire.

An instant vector is a dict from labels to a value. `increase` compares two moments; a series that was not there before has not
increased, as in Prometheus.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Found = Any  # a vector, or a number that stands in the expression
Samples = Mapping[str, Vector]

TOKEN = re.compile(r'\s*("[^"]*"|\[\w+\]|=~|!~|!=|==|>=|<=|[a-z_A-Z]\w*|\d+(?:\.\d+)?|[(){},=<>+/-])')
COMPARE: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "<": operator.lt, "==": operator.eq}
REDUCE: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}
MATCH: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: bool(re.fullmatch(pattern, value)),
    "!~": lambda value, pattern: not re.fullmatch(pattern, value),
}


def evaluate(text: str, now: Samples, before: Samples) -> Vector:
    """What the expression is now. Raises ValueError for what is not in the language."""
    reader = Reader(text, now, before)
    found = reader.read_set()
    if reader.tokens:
        raise ValueError(f"left over: {reader.tokens}")
    return found if isinstance(found, dict) else {frozenset(): found}


class Reader:
    """Reads and computes at once. `seen` are the selectors that it met: the metric and the labels that are named."""

    def __init__(self, text: str, now: Samples, before: Samples) -> None:
        self.tokens = TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s+", "", text):
            raise ValueError(text)
        self.now, self.before = now, before
        self.seen: list[tuple[str, set[str]]] = []

    def take(self, *wanted: str) -> str:
        if not self.tokens or (wanted and self.tokens[0] not in wanted):
            raise ValueError(f"{wanted} wanted at {self.tokens}")
        return self.tokens.pop(0)

    def at(self, *wanted: str) -> bool:
        return bool(self.tokens) and self.tokens[0] in wanted

    def read_set(self) -> Found:
        left = self.read_comparison()
        while self.at("and", "unless"):
            word, right = self.take(), self.read_comparison()
            left = {key: value for key, value in left.items() if (key in right) == (word == "and")}
        return left

    def read_comparison(self) -> Found:
        left = self.read_sum()
        if self.at(*COMPARE):
            holds, right = COMPARE[self.take()], self.read_sum()
            left = {key: value for key, value in left.items() if holds(value, right)}
        return left

    def read_sum(self) -> Found:
        left = self.read_value()
        while self.at("+", "/"):
            sign, right = self.take(), self.read_value()
            both = [key for key in left if key in right]
            if sign == "+":
                left = {key: left[key] + right[key] for key in both}
            else:
                left = {key: left[key] / right[key] for key in both if right[key]}
        return left

    def read_value(self) -> Found:
        word = self.take()
        if word[0].isdigit():
            return float(word)
        if word == "(":
            return self.close(self.read_set())
        if word in REDUCE:
            return self.read_aggregate(REDUCE[word])
        if word == "absent":
            self.take("(")
            return {} if self.close(self.read_set()) else {frozenset(): 1.0}
        if word == "increase":
            self.take("(")
            return self.close(self.read_increase())
        return self.select(word, self.now)[0]

    def close(self, found: Found) -> Found:
        self.take(")")
        return found

    def read_aggregate(self, reduce: Callable[[list[float]], float]) -> Vector:
        kept: set[str] = set()
        if self.at("by"):
            self.take("by")
            self.take("(")
            while not self.at(")"):
                kept.add(self.take())
                if self.at(","):
                    self.take()
            self.take(")")
        self.take("(")
        groups: dict[Labels, list[float]] = {}
        for labels, value in self.close(self.read_set()).items():
            groups.setdefault(frozenset(pair for pair in labels if pair[0] in kept), []).append(value)
        if kept:
            self.seen.append((self.seen[-1][0], kept))
        return {labels: reduce(values) for labels, values in groups.items()}

    def read_increase(self) -> Vector:
        name = self.take()
        now, matches = self.select(name, self.now)
        if not re.fullmatch(r"\[\d+[smhd]\]", self.take()):
            raise ValueError("a range is wanted")
        earlier = {labels: value for labels, value in self.before.get(name, {}).items() if matches(labels)}
        return {labels: value - earlier[labels] for labels, value in now.items() if labels in earlier}

    def select(self, name: str, samples: Samples) -> tuple[Vector, Callable[[Labels], bool]]:
        wanted: list[tuple[str, str, str]] = []
        if self.at("{"):
            self.take()
            while not self.at("}"):
                wanted.append((self.take(), self.take(*MATCH), self.take().strip('"')))
                if self.at(","):
                    self.take()
            self.take("}")
        self.seen.append((name, {label for label, _, _ in wanted}))

        def matches(labels: Labels) -> bool:
            return all(MATCH[how](dict(labels).get(label, ""), value) for label, how, value in wanted)

        found = {labels: value for labels, value in samples.get(name, {}).items() if matches(labels)}
        return found, matches
