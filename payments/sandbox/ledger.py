"""The truth of the money: trades, refunds and notifications of every channel, in one SQLite file.

Each write happens inside `transaction()`, which also keeps the threads apart; what a caller refuses is rolled
back. The ledger knows no protocol and sends nothing: a notification is a row with the time of its next try.
"""

import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from payments.sandbox.clock import now_us, to_iso
from payments.sandbox.records import (
    Booking,
    Notice,
    NotPayable,
    Refund,
    Trade,
    Try,
    describe_try,
    find_hindrance,
)

_SCHEMA = Path(__file__).with_name("schema.sql")
_MOMENTS = {
    "trades": ("created_at", "expires_at", "paid_at", "declined_at"),
    "refunds": ("created_at", "due_at", "done_at"),
    "handles": ("valid_until",),
}


class Ledger:
    """All tables behind one connection and one lock; safe to share between threads."""

    def __init__(self, file: Path | str) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # WAL with NORMAL survives a killed process; only a power cut may lose the last rows.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
        self._db.executescript(_SCHEMA.read_text())
        self._add_columns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the file; waits for the thread that is in a transaction."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self, *, is_kept: bool = True) -> Iterator[None]:
        """Everything inside commits together, or not at all on an exception or when not `is_kept`."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT" if is_kept else "ROLLBACK")

    def age(self, by_us: int) -> None:
        """Let every trade and refund be older by so much."""
        for table, columns in _MOMENTS.items():
            changes = ", ".join(f"{column} = {column} - {int(by_us)}" for column in columns)
            self._db.execute(f"UPDATE {table} SET {changes}")  # noqa: S608 - our own constants

    # Trades

    def open_trade(
        self,
        *,
        channel: str,
        out_trade_no: str,
        amount: int,
        currency: str,
        description: str,
        notify_url: str,
        request: dict[str, Any],
        expires_at: int,
    ) -> Trade:
        """Keep a new unpaid trade under a number that the channel has not seen."""
        self._insert(
            "trades",
            channel=channel,
            out_trade_no=out_trade_no,
            part=1,
            amount=amount,
            currency=currency,
            status="OPEN",
            description=description,
            notify_url=notify_url,
            request=json.dumps(request),
            created_at=now_us(),
            expires_at=expires_at,
        )
        return self._require_trade(channel, out_trade_no)

    def find_trade(self, channel: str, out_trade_no: str) -> Trade | None:
        """The order under a merchant's number; what was paid again is found by its channel number."""
        return _as_trade(
            self._one(
                "SELECT * FROM trades WHERE channel = ? AND out_trade_no = ? AND part = 1",
                channel,
                out_trade_no,
            )
        )

    def find_paid_trade(self, channel: str, channel_number: str) -> Trade | None:
        """The trade under the channel's own number."""
        return _as_trade(
            self._one(
                "SELECT * FROM trades WHERE channel = ? AND channel_number = ?", channel, channel_number
            )
        )

    def get_trade(self, trade_id: int) -> Trade:
        """A trade that exists."""
        trade = _as_trade(self._one("SELECT * FROM trades WHERE id = ?", trade_id))
        if trade is None:
            raise LookupError(trade_id)
        return trade

    def note(self, trade: Trade, **facts: Any) -> Trade:
        """Keep more about a trade, beside what is noted already. Returns it as it is now."""
        notes = self.get_trade(trade.id).notes | facts
        self._db.execute("UPDATE trades SET notes = ? WHERE id = ?", (json.dumps(notes), trade.id))
        return self.get_trade(trade.id)

    def find_noted(self, channel: str, name: str, value: str) -> Trade | None:
        """The oldest trade of a channel of which this was noted."""
        return _as_trade(
            self._one(
                "SELECT * FROM trades WHERE channel = ? AND json_extract(notes, '$.' || ?) = ? ORDER BY id LIMIT 1",
                channel,
                name,
                value,
            )
        )

    def set_expiry(self, trade: Trade, expires_at: int) -> Trade:
        """Let a trade be paid until another moment. Returns it as it is now."""
        self._db.execute("UPDATE trades SET expires_at = ? WHERE id = ?", (expires_at, trade.id))
        return self.get_trade(trade.id)

    def close_trade(self, trade: Trade) -> None:
        """Take no more money for an open trade."""
        self._db.execute("UPDATE trades SET status = 'CLOSED' WHERE id = ? AND status = 'OPEN'", (trade.id,))

    def pay_trade(
        self,
        trade: Trade,
        make_number: Callable[[], str],
        *,
        copies: int = 1,
        is_forced: bool = False,
        event: str = "",
    ) -> None:
        """Book the shopper's money, `copies` times by the channel's own fault, and what must be notified, as `event`.

        Forced money comes although the trade is closed, expired or paid already. Raises NotPayable.
        """
        reason = find_hindrance(trade, now_us())
        if reason is not None and not is_forced:
            raise NotPayable(reason)
        for _ in range(copies):
            self._book_payment(trade, make_number(), event)

    def decline_trade(self, trade: Trade) -> None:
        """Remember that the shopper declined; the trade can still be paid. Raises NotPayable."""
        reason = find_hindrance(trade, now_us())
        if reason is not None:
            raise NotPayable(reason)
        self._db.execute("UPDATE trades SET declined_at = ? WHERE id = ?", (now_us(), trade.id))

    def _book_payment(self, trade: Trade, channel_number: str, event: str) -> None:
        paid_at = now_us()
        updated = self._db.execute(
            "UPDATE trades SET status = 'PAID', channel_number = ?, paid_at = ?, declined_at = NULL"
            " WHERE id = ? AND status <> 'PAID'",
            (channel_number, paid_at, trade.id),
        )
        trade_id = trade.id
        if updated.rowcount == 0:
            self._db.execute(
                "INSERT INTO trades (channel, out_trade_no, part, channel_number, amount, currency, status,"
                " description, notify_url, request, notes, created_at, expires_at, paid_at)"
                " SELECT channel, out_trade_no, max(part) + 1, ?, amount, currency, 'PAID', description,"
                " notify_url, request, notes, created_at, expires_at, ? FROM trades"
                " WHERE channel = ? AND out_trade_no = ?",
                (channel_number, paid_at, trade.channel, trade.out_trade_no),
            )
            trade_id = self._one("SELECT last_insert_rowid() AS id")["id"]
        self._announce(trade_id, None, trade.notify_url, paid_at, event)

    # Handles: what a QR code says

    def add_handle(self, trade: Trade, content: str, valid_until: int) -> None:
        """Let a QR code lead to a trade until a moment."""
        self._insert("handles", content=content, trade_id=trade.id, valid_until=valid_until)

    def find_by_handle(self, content: str) -> tuple[Trade, int] | None:
        """The trade that a QR code leads to and the moment until which the code is good."""
        row = self._one("SELECT trade_id, valid_until FROM handles WHERE content = ?", content)
        return None if row is None else (self.get_trade(row["trade_id"]), row["valid_until"])

    def find_newest_handle(self, trade: Trade) -> str | None:
        """What the latest QR code of a trade says."""
        row = self._one(
            "SELECT content FROM handles WHERE trade_id = ? ORDER BY rowid DESC LIMIT 1", trade.id
        )
        return None if row is None else row["content"]

    # Refunds

    def open_refund(
        self,
        trade: Trade,
        *,
        out_refund_no: str,
        channel_number: str,
        amount: int,
        notify_url: str,
        request: dict[str, Any],
        due_at: int,
        ends_as: str,
    ) -> Refund:
        """Accept a refund, which ends by itself at `due_at`."""
        self._insert(
            "refunds",
            trade_id=trade.id,
            channel=trade.channel,
            out_refund_no=out_refund_no,
            channel_number=channel_number,
            amount=amount,
            status="PROCESSING",
            ends_as=ends_as,
            notify_url=notify_url,
            request=json.dumps(request),
            created_at=now_us(),
            due_at=due_at,
        )
        refund = self.find_refund(trade.channel, out_refund_no)
        if refund is None:
            raise LookupError(out_refund_no)
        return refund

    def find_refund(self, channel: str, out_refund_no: str) -> Refund | None:
        """The refund under a merchant's number."""
        return _as_refund(
            self._one("SELECT * FROM refunds WHERE channel = ? AND out_refund_no = ?", channel, out_refund_no)
        )

    def get_refund(self, refund_id: int) -> Refund:
        """A refund that exists."""
        refund = _as_refund(self._one("SELECT * FROM refunds WHERE id = ?", refund_id))
        if refund is None:
            raise LookupError(refund_id)
        return refund

    def list_refunds(self, trade: Trade) -> list[Refund]:
        """The refunds of one trade, oldest first."""
        rows = self._all("SELECT * FROM refunds WHERE trade_id = ? ORDER BY id", trade.id)
        return [refund for refund in map(_as_refund, rows) if refund]

    def finish_refunds(self, at: int) -> None:
        """End every refund that is due and announce it."""
        for row in self._all("SELECT * FROM refunds WHERE status = 'PROCESSING' AND due_at <= ?", at):
            self._db.execute("UPDATE refunds SET status = ends_as, done_at = ? WHERE id = ?", (at, row["id"]))
            if row["notify_url"] or self.find_webhook(row["channel"]):
                self._announce(row["trade_id"], row["id"], row["notify_url"], at)

    # Notifications

    def announce(self, trade: Trade, event: str, refund: Refund | None = None) -> None:
        """Notify something else than a payment or the end of a refund, which are notified by themselves."""
        self._announce(trade.id, refund.id if refund else None, trade.notify_url, now_us(), event)

    def _announce(self, trade_id: int, refund_id: int | None, url: str, at: int, event: str = "") -> None:
        url = url or self.find_webhook(self.get_trade(trade_id).channel)
        if not url:
            return
        self._insert(
            "notices",
            id=str(uuid.uuid4()),
            trade_id=trade_id,
            refund_id=refund_id,
            url=url,
            event=event,
            created_at=at,
            due_at=at,
        )

    def find_webhook(self, channel: str) -> str:
        """Where a channel sends what no request names an address for; empty: nowhere."""
        row = self._one("SELECT url FROM webhooks WHERE channel = ?", channel)
        return "" if row is None else str(row["url"])

    def set_webhook(self, channel: str, url: str) -> None:
        """Send from now on what no request names an address for to `url`."""
        self._db.execute(
            "INSERT INTO webhooks VALUES (?, ?) ON CONFLICT DO UPDATE SET url = excluded.url", (channel, url)
        )

    def list_due_notices(self, at: int) -> list[Notice]:
        """The notifications whose next try is due, oldest first."""
        rows = self._all("SELECT * FROM notices WHERE due_at <= ? ORDER BY due_at, rowid", at)
        return [Notice(**row) for row in rows]

    def list_notices(self, channel: str, out_trade_no: str) -> list[Notice]:
        """All notifications about a merchant's number, oldest first."""
        rows = self._all(
            "SELECT notices.* FROM notices JOIN trades ON trades.id = trade_id"
            " WHERE channel = ? AND out_trade_no = ? ORDER BY notices.rowid",
            channel,
            out_trade_no,
        )
        return [Notice(**row) for row in rows]

    def find_next_due(self, after: int) -> int | None:
        """The earliest moment after `after` at which a refund ends or a notification is tried."""
        row = self._one(
            "SELECT min(due_at) AS due_at FROM (SELECT due_at FROM notices WHERE due_at > ?"
            " UNION ALL SELECT due_at FROM refunds WHERE status = 'PROCESSING' AND due_at > ?)",
            after,
            after,
        )
        earliest: int | None = row["due_at"]
        return earliest

    def postpone_notice(self, notice_id: str, due_at: int) -> None:
        """Move the next try of a notification without counting one."""
        self._db.execute(
            "UPDATE notices SET due_at = ? WHERE id = ? AND due_at IS NOT NULL", (due_at, notice_id)
        )

    def record_tries(self, notice: Notice, tries: list[Try]) -> None:
        """Write down what a sending brought."""
        for made in tries:
            self._insert(
                "tries",
                notice_id=notice.id,
                at=made.at,
                status=made.status,
                error=made.error,
                acknowledged=made.is_acknowledged,
            )

    def plan_notice(self, notice: Notice, due_at: int | None) -> None:
        """Count one try of the schedule and set the next; None when it was the last or was acknowledged."""
        self._db.execute(
            "UPDATE notices SET tries = tries + 1, due_at = ? WHERE id = ? AND due_at IS NOT NULL",
            (due_at, notice.id),
        )

    def end_notice(self, notice: Notice) -> None:
        """Try a notification no more."""
        self._db.execute("UPDATE notices SET due_at = NULL WHERE id = ?", (notice.id,))

    def end_all_notices(self) -> None:
        """Try nothing more of what has been announced until now."""
        self._db.execute("UPDATE notices SET due_at = NULL WHERE due_at IS NOT NULL")

    # Statements

    def list_booked(self, channel: str, start_us: int, end_us: int) -> list[Booking]:
        """The payments and the successful refunds of a channel from `start_us` to before `end_us`, oldest first."""
        paid = self._all(
            "SELECT * FROM trades WHERE channel = ? AND paid_at >= ? AND paid_at < ? ORDER BY id",
            channel,
            start_us,
            end_us,
        )
        back = self._all(
            "SELECT * FROM refunds WHERE channel = ? AND status = 'SUCCESS' AND done_at >= ? AND done_at < ?"
            " ORDER BY id",
            channel,
            start_us,
            end_us,
        )
        lines = [Booking(trade, None, row["paid_at"]) for row in paid if (trade := _as_trade(row))]
        lines += [
            Booking(self.get_trade(refund.trade_id), refund, row["done_at"])
            for row in back
            if (refund := _as_refund(row))
        ]
        return sorted(lines, key=lambda line: line.at)

    # Reading for people and tests

    def list_trades(
        self, *, channel: str | None = None, out_trade_no: str | None = None, newest: int = -1
    ) -> list[Trade]:
        """Trades, newest first, at most `newest` of them (-1: all), of one channel or number when given."""
        rows = self._all(
            "SELECT * FROM trades WHERE channel = coalesce(?, channel)"
            " AND out_trade_no = coalesce(?, out_trade_no) ORDER BY id DESC LIMIT ?",
            channel,
            out_trade_no,
            newest,
        )
        return [trade for trade in map(_as_trade, rows) if trade]

    def describe_trade(self, trade: Trade) -> dict[str, Any]:
        """One trade with its refunds and every try of its notifications, as JSON can carry it."""
        tries = self._all(
            "SELECT tries.*, refund_id FROM tries JOIN notices ON notices.id = notice_id"
            " WHERE trade_id = ? ORDER BY tries.id",
            trade.id,
        )
        return {
            "channel": trade.channel,
            "out_trade_no": trade.out_trade_no,
            "channel_number": trade.channel_number,
            "amount": trade.amount,
            "currency": trade.currency,
            "status": trade.status,
            "created_at": to_iso(trade.created_at),
            "paid_at": to_iso(trade.paid_at),
            "refunds": [
                {"out_refund_no": refund.out_refund_no, "amount": refund.amount, "status": refund.status}
                for refund in self.list_refunds(trade)
            ],
            "notifications": [
                describe_try(row["notice_id"], row["refund_id"], _as_try(row)) for row in tries
            ],
        }

    def _require_trade(self, channel: str, out_trade_no: str) -> Trade:
        trade = self.find_trade(channel, out_trade_no)
        if trade is None:
            raise LookupError(out_trade_no)
        return trade

    def _add_columns(self) -> None:
        """What a ledger of an earlier version lacks."""
        for table, column, kind in (("trades", "notes", "'{}'"), ("notices", "event", "''")):
            if column not in {row["name"] for row in self._all(f"PRAGMA table_info({table})")}:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT {kind}")

    def _insert(self, table: str, **values: Any) -> None:
        marks = ", ".join("?" * len(values))
        self._db.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  our own names
            tuple(values.values()),
        )

    def _one(self, query: str, *values: Any) -> Any:
        with self._lock:
            return self._db.execute(query, values).fetchone()

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()


def _as_trade(row: sqlite3.Row | None) -> Trade | None:
    if row is None:
        return None
    return Trade(**{**dict(row), "request": json.loads(row["request"]), "notes": json.loads(row["notes"])})


def _as_refund(row: sqlite3.Row | None) -> Refund | None:
    return None if row is None else Refund(**{**dict(row), "request": json.loads(row["request"])})


def _as_try(row: sqlite3.Row) -> Try:
    return Try(row["at"], row["status"], row["error"], bool(row["acknowledged"]))
