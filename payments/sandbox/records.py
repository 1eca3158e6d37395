"""The ledger's rows as plain values, and what can be said of them without the database."""

from dataclasses import dataclass
from typing import Any

from payments.sandbox.clock import to_iso


class NotPayable(Exception):
    """The shopper cannot do this now; `reason` is `paid`, `closed`, `expired` or a side's own word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this trade is {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Trade:
    """One row of the merchant's number. Amounts in minor units, times in microseconds."""

    id: int
    channel: str
    out_trade_no: str
    part: int
    channel_number: str | None
    amount: int
    currency: str
    status: str
    description: str
    notify_url: str
    request: dict[str, Any]
    notes: dict[str, Any]
    created_at: int
    expires_at: int
    paid_at: int | None
    declined_at: int | None


@dataclass(frozen=True)
class Refund:
    """One refund, whole or part, of one trade."""

    id: int
    trade_id: int
    channel: str
    out_refund_no: str
    channel_number: str
    amount: int
    status: str
    ends_as: str
    notify_url: str
    request: dict[str, Any]
    created_at: int
    due_at: int
    done_at: int | None


@dataclass(frozen=True)
class Notice:
    """One notification; its `id` stays the same over all tries. `refund_id` None: it is about the payment."""

    id: str
    trade_id: int
    refund_id: int | None
    url: str
    event: str
    created_at: int
    tries: int
    due_at: int | None


@dataclass(frozen=True)
class Booking:
    """One line of a statement: a payment, or a refund of it."""

    trade: Trade
    refund: Refund | None
    at: int


@dataclass(frozen=True)
class Try:
    """One sending of a notification and what came back."""

    at: int
    status: int | None
    error: str | None
    is_acknowledged: bool


def find_hindrance(trade: Trade, at: int) -> str | None:
    """Why a shopper cannot pay a trade at a moment; None when nothing hinders."""
    if trade.status != "OPEN":
        return trade.status.lower()
    return "expired" if at >= trade.expires_at else None


def describe_try(notice_id: str, refund_id: int | None, made: Try) -> dict[str, Any]:
    """One try as JSON can carry it; `about` tells a payment's notification from a refund's."""
    return {
        "id": notice_id,
        "about": "payment" if refund_id is None else "refund",
        "at": to_iso(made.at),
        "status": made.status,
        "error": made.error,
        "acknowledged": made.is_acknowledged,
    }
