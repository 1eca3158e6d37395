"""Checks of single fields in what a caller sent, shared by the channels and the control API.

A field is named by its path, `amount.total`, and a wrong one raises `BadField` with that name; nothing is
repaired.
"""

import re
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from payments.sandbox.clock import to_us

INT32_MAX = 2**31 - 1
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")


class BadField(Exception):
    """A field breaks its rule. `field` is its path, `problem` the rule in words."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


def read_text(
    document: dict[str, Any], field: str, *, longest: int, pattern: str | None = None, required: bool = True
) -> str | None:
    """A non-empty string of at most `longest` characters; None when absent and not required."""
    value = _find(document, field, is_required=required)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise BadField(field, f"must be a string of 1 to {longest} characters")
    if pattern is not None and not re.fullmatch(pattern, value):
        raise BadField(field, f"must match {pattern}")
    return value


def read_integer(document: dict[str, Any], field: str, *, least: int, most: int = INT32_MAX) -> int:
    """A required whole number; true, false and 1.0 are not numbers here."""
    value = _find(document, field, is_required=True)
    if type(value) is not int or not least <= value <= most:
        raise BadField(field, f"must be a whole number from {least} to {most}")
    return value


def read_moment(document: dict[str, Any], field: str) -> int | None:
    """An RFC 3339 time with seconds and offset, in microseconds since 1970; None when absent."""
    value = _find(document, field, is_required=False)
    if value is None:
        return None
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        raise BadField(field, "must be like 2026-11-21T18:30:00+08:00")
    try:
        return to_us(datetime.fromisoformat(value))
    except (ValueError, OverflowError) as error:
        raise BadField(field, "is not a moment that exists") from error


def read_notify_url(
    document: dict[str, Any], field: str, *, longest: int, required: bool = True
) -> str | None:
    """An https address without query or fragment; plain http is accepted for loopback only."""
    value = read_text(document, field, longest=longest, required=required)
    if value is None:
        return None
    url = split_url(value)
    if url is None or url.scheme not in ("https", "http"):
        raise BadField(field, "must be an absolute https address")
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise BadField(field, "must be https; plain http is for loopback only")
    if "?" in value or "#" in value or not value.isascii() or not value.isprintable() or " " in value:
        raise BadField(field, "must be plain ASCII without a query string or fragment")
    return value


def split_url(value: str) -> SplitResult | None:
    """The parts of an absolute address with a host and a possible port; None when it is not one."""
    try:
        url = urlsplit(value)
        is_whole = bool(url.hostname) and url.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return url if is_whole else None


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine. Names are not looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _find(document: dict[str, Any], field: str, *, is_required: bool) -> Any:
    *parents, name = field.split(".")
    for parent in parents:
        document = document.get(parent, {})
        if not isinstance(document, dict):
            raise BadField(parent, "must be an object")
    value = document.get(name)
    if value is None and is_required:
        raise BadField(field, "is required")
    return value
