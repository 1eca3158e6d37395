"""What the channels' books would say, read from the sandbox's ledger itself, and what of it they spoil.

From that and from the plays follows what a person must be asked about after the night. Nothing of ours is read here, so that
the two check each other; only the names of the days are the shop's.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from payments.channels.registry import class_of
from tests.badnight.plays import WAYS, Kind, Play

# What each channel does to its statements, to one line of so many. A lie is a minor unit more; refunds are spared from it.
SPOILS = {
    "wechat": "statement_omit",
    "alipay": "statement_double",
    "unionpay": "statement_lie",
    "paypal": "statement_omit",
    "boleto": "statement_lie",
}
EVERY = 7
LIE_MINOR = 1
# Without the statement of the day beside nothing is called missing so near to midnight.
MIDNIGHT = timedelta(hours=1)
# It names its refunds by the merchant's number alone.
NAMES_REFUNDS_BY_OURS = ("alipay",)
# Asked about a payment that was taken twice it names both, and calls that irregular itself.
SHOWS_BOTH = ("paypal",)

BOOKED = """
select channel, out_trade_no, part, channel_number, channel_number, '' as refund_no, amount, currency,
       paid_at as at, 0 as is_back, id as nth
  from trades where paid_at is not null
union all
select trade.channel, trade.out_trade_no, trade.part, trade.channel_number, refund.channel_number, refund.out_refund_no,
       -refund.amount, trade.currency, refund.done_at, 1, refund.id
  from refunds refund join trades trade on trade.id = refund.trade_id where refund.status = 'SUCCESS'
 order by at, is_back, nth
"""
Asked = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a channel's books. `amount` in minor units, below 0 what went back; `part` 2 is what was paid again."""

    at: datetime
    channel: str
    number: str
    part: int
    trade_number: str
    channel_number: str
    refund_no: str
    amount: int
    currency: str

    @property
    def day(self) -> date:
        """The statement in which it stands."""
        channel = class_of(self.channel)
        day = self.at.astimezone(channel.calendar).date()
        start, end = channel.statement_span(day)
        return day + timedelta(days=(self.at >= end) - (self.at < start))

    @property
    def subject(self) -> str:
        """By what people are asked about it."""
        is_ours = self.refund_no and self.channel in NAMES_REFUNDS_BY_OURS
        return f"{self.trade_number}/{self.refund_no}"[:64] if is_ours else self.channel_number


def read_lines(folder: Path) -> list[Line]:
    """All that the channels have booked, oldest first."""
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite3'}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute(BOOKED).fetchall()
    return [Line(datetime.fromtimestamp(row[8] / 1e6, UTC), *row[:8]) for row in rows]


class Books:
    """The true lines of every statement, and those among them that are spoilt."""

    def __init__(self, lines: Sequence[Line], plays: Sequence[Play]) -> None:
        self.statements: dict[tuple[str, date], list[Line]] = {}
        for line in lines:
            self.statements.setdefault((line.channel, line.day), []).append(line)
        self.kinds: Mapping[str, Kind] = {play.number: play.kind for play in plays}
        self.spoilt = {
            line for of_day in self.statements.values() for line in of_day[::EVERY] if _is_hit(line)
        }

    @property
    def lines(self) -> Iterator[Line]:
        """All of them."""
        return (line for of_day in self.statements.values() for line in of_day)

    def is_hidden(self, line: Line) -> bool:
        """Whether no statement has shown it and nobody can ask for it."""
        return self._is_spoilt(line, "statement_omit") and not self._can_be_asked(line)

    def list_false(self) -> list[Line]:
        """What nobody could be asked about and a statement named a false amount for."""
        return [
            line
            for line in self.spoilt
            if SPOILS[line.channel] == "statement_lie" and not self._can_be_asked(line)
        ]

    def questions(self, *, restated: bool = False) -> list[Asked]:
        """Kind and subject of every case that is a person's; `restated`: once the channels have put their books right."""
        asked = (
            [("books", line.subject) for line in self.list_false()] if restated else list(self._of_spoilt())
        )
        return sorted(
            asked + [each for line in self.lines for each in self._of_truth(line, restated=restated)]
        )

    def _of_truth(self, line: Line, *, restated: bool) -> Iterator[Asked]:
        kind = self.kinds[line.number]
        if not restated and self.is_hidden(line):
            return
        if line.refund_no:
            if kind is Kind.CONSOLE:
                yield "console_refund", line.refund_no
        elif kind is Kind.STRANGER:
            yield "unmatched", line.channel_number
        elif line in self.spoilt and line in self.list_false():
            yield "mismatch", line.channel_number
        elif kind is Kind.TWICE and line.channel in SHOWS_BOTH and line.part == 1:
            yield "irregular", line.number
        elif not class_of(line.channel).can_refund and (kind is Kind.LATE or line.part > 1):
            yield "payout", line.channel_number

    def _of_spoilt(self) -> Iterator[Asked]:
        """What a wrong line makes people look at while it stands."""
        for line in self.spoilt:
            what = SPOILS[line.channel]
            is_seen = {
                "statement_omit": self._is_missed(line),
                "statement_double": True,
                "statement_lie": self._can_be_asked(line),
            }[what]
            if is_seen:
                yield "books", line.subject

    def _is_missed(self, line: Line) -> bool:
        """Whether we have it, of that day, and may say by now that it is not there."""
        has_next = (line.channel, line.day + timedelta(days=1)) in self.statements
        if line.refund_no:
            return has_next and self.kinds[line.number] is Kind.RETURNED
        has_former = (line.channel, line.day - timedelta(days=1)) in self.statements
        start, end = class_of(line.channel).statement_span(line.day)
        begins, ends = start + MIDNIGHT * (not has_former), end - MIDNIGHT * (not has_next)
        return self._can_be_asked(line) and begins <= line.at < ends

    def _can_be_asked(self, line: Line) -> bool:
        """Whether the shop hears of it by asking about what it knows."""
        kind = self.kinds[line.number]
        if line.refund_no:
            return kind is not Kind.CONSOLE
        return kind is not Kind.STRANGER and line.part == 1

    def _is_spoilt(self, line: Line, what: str) -> bool:
        return line in self.spoilt and SPOILS[line.channel] == what


def _is_hit(line: Line) -> bool:
    return SPOILS[line.channel] != "statement_lie" or not line.refund_no


def spoiling() -> list[dict[str, object]]:
    """The faults that spoil the statements, as long as they are in force."""
    return [
        {
            "channel": way.channel,
            "operation": "statement",
            "what": SPOILS[way.channel],
            "value": EVERY,
            "times": 10**9,
        }
        for way in WAYS
    ]
