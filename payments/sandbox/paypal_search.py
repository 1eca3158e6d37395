"""PayPal's transaction search: one page of what was booked in a time, in the order of the booking.

Source: PayPal's REST reference of Transaction Search v1. New entries appear there up to 3 h late; the sandbox's at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField, read_moment
from payments.sandbox.paypal_documents import describe_booking, write_time
from payments.sandbox.records import Booking

_DAY_US = 24 * 3600 * SECOND_US
_LONGEST_US = 31 * _DAY_US
_PAGE_MAX = 500


def describe_search(
    asked: Mapping[str, str], list_lines: Callable[[int, int], Sequence[Booking]], *, account: str
) -> dict[str, Any]:
    """The page that is asked for. Raises BadField."""
    start, end = _read_time(asked, "start_date"), _read_time(asked, "end_date")
    if not start <= end <= start + _LONGEST_US:
        raise BadField("end_date", "must be at most 31 days after start_date")
    size = _read_count(asked, "page_size", usual=100, most=_PAGE_MAX)
    page = _read_count(asked, "page", usual=1, most=10**6)
    lines = list_lines(start, end + SECOND_US)  # the last second is inside
    return {
        "transaction_details": [describe_booking(line) for line in lines[(page - 1) * size : page * size]],
        "account_number": account,
        "start_date": write_time(start),
        "end_date": write_time(end),
        "last_refreshed_datetime": write_time(_find_refreshed(end)),
        "page": page,
        "total_items": len(lines),
        "total_pages": -(-len(lines) // size),
        "links": [],
    }


def _find_refreshed(end: int) -> int:
    """Now. The present day counts as over, so that what was paid just now can be reconciled in a demonstration."""
    now = now_us()
    return max(now, end + SECOND_US) if end < now - now % _DAY_US + _DAY_US else now


def _read_time(asked: Mapping[str, str], name: str) -> int:
    spelled = re.sub(r"([+-][0-9]{2})([0-9]{2})$", r"\1:\2", asked.get(name, ""))  # +0000 is usual here
    moment = read_moment({name: spelled or None}, name)
    if moment is None:
        raise BadField(name, "is required")
    return moment


def _read_count(asked: Mapping[str, str], name: str, *, usual: int, most: int) -> int:
    text = asked.get(name, str(usual))
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise BadField(name, f"must be a whole number from 1 to {most}")
    return int(text)
