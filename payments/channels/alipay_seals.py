"""Alipay's envelope: the text that is signed, an answer's members as they were sent, and the form of a notification.

Nothing here holds a key or knows what a field means. Source: the open platform's documentation, its sections on signing
requests and on verifying answers and asynchronous notifications.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from .base import NotGenuine
from .fields import BadField

# The signed text joins raw values: one that holds "&name=" would be two fields under the same signature.
AMBIGUOUS = re.compile(r"&\w+=")
_NAME = re.compile(r"[0-9A-Za-z_]+")
_JSON = json.JSONDecoder()


def text_to_sign(fields: Mapping[str, str]) -> bytes:
    """Raw values, sorted by name, without empty ones. Of a request with sign_type, of a notification without."""
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value).encode()


def split_members(body: bytes) -> dict[str, str]:
    """The members of a JSON object, each value's text exactly as it was sent: that is what a signature covers.

    Found by a scanner that knows strings: counting braces fails on one inside a subject. Raises BadField.
    """
    members: dict[str, str] = {}
    try:
        text = body.decode("utf-8")
        place = _pass(text, 0, "{")
        while not members or text[place] == ",":
            name, place = _JSON.raw_decode(text, _pass(text, place, ",") if members else place)
            start = _pass(text, place, ":")
            _, end = _JSON.raw_decode(text, start)
            if not isinstance(name, str) or name in members:
                raise BadField("a name stands twice")
            members[name], place = text[start:end], _pass(text, end)
        is_whole = _pass(text, place, "}") == len(text)
    except (ValueError, IndexError, RecursionError) as error:
        raise BadField("not a JSON object") from error
    if not is_whole:
        raise BadField("more than a JSON object")
    return members


def _pass(text: str, place: int, mark: str = "") -> int:
    """The place behind blanks, `mark` and blanks again. Raises ValueError when the mark is not there."""
    while text[place : place + 1] in {" ", "\t", "\r", "\n"}:
        place += 1
    if not text.startswith(mark, place):
        raise ValueError(mark)
    return _pass(text, place + len(mark)) if mark else place


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form, without empty ones, which no signature covers. Raises NotGenuine."""
    fields: dict[str, str] = {}
    try:
        for pair in body.decode("ascii").split("&"):
            name, mark, value = pair.partition("=")
            name = unquote_plus(name, errors="strict")
            if not mark or name in fields or not _NAME.fullmatch(name):
                raise NotGenuine("form")
            fields[name] = unquote_plus(value, errors="strict")
    except UnicodeDecodeError as error:
        raise NotGenuine("form") from error
    return {name: value for name, value in fields.items() if value}
