"""Strict reading of a channel's JSON: one meaning per document, and typed fields that are safe to store and to log.

A field that is missing or not as documented raises `BadField` with its name; nothing is repaired or guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeGuard

WORD_LIMIT = 64  # characters; what our columns for a channel's numbers and words hold
MOST_LEVELS = 50  # of arrays and objects; the deepest document of any channel has about ten
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class BadField(ValueError):
    """A document or a field of it is not as it must be. The message names it and holds nothing of it."""


def parse_json(raw: bytes) -> dict[str, Any]:
    """Read one JSON object in UTF-8: no name twice, no NaN, and nested no deeper than what reads it later can follow."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_name_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadField("not strict JSON") from error
    if not isinstance(value, dict):
        raise BadField("not a JSON object")
    if _is_deep(value):
        raise BadField("nested too deeply")
    return value


def is_word(value: object, *, limit: int = WORD_LIMIT) -> TypeGuard[str]:
    """Whether it is a text of 1 to `limit` visible ASCII characters: no blank, no control character."""
    return isinstance(value, str) and len(value) <= limit and _VISIBLE.fullmatch(value) is not None


def read_word(data: Mapping[str, Any], name: str, *, limit: int = WORD_LIMIT) -> str:
    """A text of visible ASCII, as identifiers and words of a protocol are."""
    value = data.get(name)
    if not is_word(value, limit=limit):
        raise BadField(name)
    return value


def read_object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise BadField(name)
    return value


def read_minor(data: Mapping[str, Any], name: str) -> int:
    """A positive amount in the minor unit that fits the database. true is an int and 12900.0 equals one: neither is."""
    value = data.get(name)
    if type(value) is not int or not 1 <= value < 2**63:
        raise BadField(name)
    return value


def read_moment(data: Mapping[str, Any], name: str) -> datetime:
    """An ISO 8601 time with offset, in UTC."""
    try:
        moment = datetime.fromisoformat(read_word(data, name))
        is_aware = moment.tzinfo is not None
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadField(name) from error
    if not is_aware:
        raise BadField(name)
    return moment


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two equal names one reader checks the first and another uses the last.
    names = dict(pairs)
    if len(names) != len(pairs):
        raise BadField("a name stands twice")
    return names


def _is_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        inside = (
            inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)
        )
        level = [inner for inner in inside if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise BadField(f"{name} is not JSON")
