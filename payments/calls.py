"""Keeping what our calls to channels came to, for people who read an order's story. Nothing decides by these rows.

Written after the answer and before it is used, never inside a transaction; a row that cannot be written is only a log line.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import TypeVar

import structlog
from django.db import DatabaseError, connection

from payments.channels.base import ChannelError, Refused, Report, Unreachable
from payments.models import Call, Payment, Refund
from shop.models import Source
from shop.writes import insert

log = structlog.get_logger("nodrop.calls")

MAX_CODE = 64
R = TypeVar("R", bound=Report)


class Hearing:
    """What one call has come to so far: without an answer, nothing is known."""

    outcome = "unknown"
    code = ""
    # Its success stands elsewhere: the action that a create call brings, and its events.
    is_told = False

    def take(self, report: R) -> R:
        """The channel's answer, handed on."""
        self.outcome, self.code = str(report.outcome), report.code
        return report


def heard(operation: str, about: Payment | Refund, *, source: Source) -> AbstractContextManager[Hearing]:
    """Around one call to its channel about a payment or refund: see `heard_as`."""
    order = about.order if isinstance(about, Payment) else about.receipt.order
    call = Call(operation=operation, subject=about.number, channel=about.channel, source=source)
    call.order_number = order.number if order else ""
    return heard_as(call)


@contextmanager
def heard_as(call: Call) -> Iterator[Hearing]:
    """Around one call to a channel: keep as `call` what it came to, and how long it took.

    An error of the channel is kept and goes on; one of our own rows never becomes one of the channel.
    """
    hearing, began = Hearing(), monotonic()
    try:
        yield hearing
    except Exception as error:
        hearing.outcome, hearing.code = _fate(error)
        raise
    finally:
        if not hearing.is_told:
            call.outcome, call.code = hearing.outcome, hearing.code[:MAX_CODE]
            call.took_ms = round((monotonic() - began) * 1000)
            _keep(call)


def _fate(error: Exception) -> tuple[str, str]:
    """The outcome and code of a call that raised."""
    if isinstance(error, Refused):
        return "refused", error.code
    if isinstance(error, Unreachable):
        return "unreachable", error.code
    if isinstance(error, ChannelError):
        return "unknown", error.code
    return "error", type(error).__name__


def _keep(call: Call) -> None:
    try:
        insert(call)
    except DatabaseError as error:
        log.warning(
            "call not kept", operation=call.operation, subject=call.subject, error=type(error).__name__
        )
        connection.close_if_unusable_or_obsolete()  # the next statement asks for a connection that works
