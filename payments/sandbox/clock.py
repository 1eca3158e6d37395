"""The gateway's time: whole microseconds since 1970, UTC, so that the ledger compares it exactly."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo

SECOND_US = 1_000_000
BEIJING = timezone(timedelta(hours=8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The present moment in microseconds since 1970."""
    return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """An aware datetime in microseconds since 1970, without the rounding of a float."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(moment_us: int, zone: tzinfo = UTC) -> datetime:
    """A stored moment as an aware datetime in `zone`."""
    return (_EPOCH + timedelta(microseconds=moment_us)).astimezone(zone)


def to_iso(moment_us: int | None) -> str | None:
    """A stored moment as ISO 8601 in UTC, always with six digits of microseconds; None stays None."""
    return None if moment_us is None else to_datetime(moment_us).isoformat(timespec="microseconds")
