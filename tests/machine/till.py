"""Three channels that live in this process. Their ledger is the truth of the money, and their calls fail when told to.

They speak the words of `payments.channels.base` and meet neither our database nor the model: what arrived here is kept
in `Ledger.words`, so that the model hears exactly what we heard.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO, NoReturn

from payments.channels.base import (
    Attempt,
    CallbackMessage,
    CallbackReply,
    Channel,
    Created,
    Limits,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Repeat,
    Report,
    StatementLine,
    Unanswered,
    Unreachable,
    report_from_json,
    report_to_json,
)
from shop.transactions import in_transaction

MARGIN_S = 100
# When a trade was paid matters to nobody but the books of its day.
PAID_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
OUTCOMES = {"OPEN": Outcome.OPEN, "PAID": Outcome.SUCCEEDED, "CLOSED": Outcome.CLOSED}
REFUND_OUTCOMES = {
    "PROCESSING": Outcome.OPEN,
    "SUCCESS": Outcome.SUCCEEDED,
    "CLOSED": Outcome.CLOSED,
    "ABNORMAL": Outcome.OPEN,
}
# How long the shopper's consent can be used, by which time the attempt itself is long dead.
CONSENT_S = 3 * 3600
# Refunds that were made in a console have numbers that begin so.
CONSOLE = "C"
# The adapters' registry takes these in place of the real ones.
CLASSES = {
    "wechat": "tests.machine.till.Wallet",
    "unionpay": "tests.machine.till.Bank",
    "paypal": "tests.machine.till.Purse",
}


class Fault(StrEnum):
    """What happens to one call. *Lost* is an answer that never comes, a crash is our own death."""

    NONE = "none"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    LOST_BEFORE = "lost_before"
    LOST_AFTER = "lost_after"
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"


class Crash(BaseException):
    """Our process died here: no handler runs, what is in memory is gone."""


@dataclass
class Back:
    """One refund at the channel."""

    out_refund_no: str
    amount: int
    status: str
    channel_number: str


@dataclass
class Trade:
    """One trade; a number that was paid twice has two."""

    channel: str
    out_trade_no: str
    amount: int
    currency: str = "CNY"
    status: str = "OPEN"
    channel_number: str = ""
    agreed_at: int | None = None
    refunds: list[Back] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.amount - sum(back.amount for back in self.refunds if back.status != "CLOSED")

    @property
    def kept(self) -> int:
        return self.amount - sum(back.amount for back in self.refunds if back.status == "SUCCESS")


@dataclass(frozen=True)
class Word:
    """What one call or message said, as it reached us. `trade` names the trade of a refund.

    One with the operation "begin" comes before every capture, however that ends: nothing has been said yet.
    """

    channel: str
    operation: str
    report: Report
    trade: str = ""


@dataclass(frozen=True)
class Try:
    """One create call: how it ended for us, and whether it may have arrived."""

    channel: str
    number: str
    fault: Fault


@dataclass(frozen=True)
class Message:
    """A notification that may be delivered any number of times, at any time."""

    id: str
    word: Word

    def seal(self, *, is_genuine: bool = True) -> RawCallback:
        content = {"id": self.id, "report": report_to_json(self.word.report)}
        return RawCallback(
            headers={"seal": "good" if is_genuine else "bad"}, body=json.dumps(content).encode()
        )


class Ledger:
    """All that the channels know, what they told us, and what they will do wrong. `now` is in seconds."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.trades: list[Trade] = []
        self.messages: list[Message] = []
        self.words: list[Word] = []
        self.tries: list[Try] = []
        self.faults: list[Fault] = []
        self.refunds_end_at_once = True
        self.now = 0
        self._count = 0

    def begin(self, faults: Sequence[Fault] = ()) -> None:
        """A new step: its first calls meet `faults`, the others go well."""
        self.faults, self.words, self.tries = list(faults), [], []

    def next_fault(self) -> Fault:
        return self.faults.pop(0) if self.faults else Fault.NONE

    def find(self, channel: str, number: str) -> Trade | None:
        """What a query sees of a number: the trade that was paid first, else the only one."""
        found = [trade for trade in self.trades if (trade.channel, trade.out_trade_no) == (channel, number)]
        return next((trade for trade in found if trade.status == "PAID"), found[0] if found else None)

    def open(self, channel: str, number: str, amount: int) -> Trade:
        self.trades.append(Trade(channel, number, amount))
        return self.trades[-1]

    def pay(self, trade: Trade, *, amount: int | None = None) -> None:
        """The shopper's money arrives, whatever the trade's status; a paid one is paid once more."""
        if trade.status == "PAID":
            trade = self.open(trade.channel, trade.out_trade_no, trade.amount)
        trade.status, trade.channel_number = "PAID", self._new_number("T")
        trade.amount = trade.amount if amount is None else amount
        self.send(Word(trade.channel, "callback", report_of(trade)))

    def agree(self, trade: Trade) -> None:
        """The shopper lets us take the money. A trade that has ended needs no consent."""
        if trade.status == "OPEN":
            trade.agreed_at = self.now
            self.send(Word(trade.channel, "callback", report_of(trade, self.now)))

    def give_back(self, trade: Trade, number: str, amount: int, *, status: str) -> Back:
        back = Back(number, amount, status, self._new_number("B"))
        trade.refunds.append(back)
        return back

    def end_refund(self, trade: Trade, back: Back, status: str) -> None:
        back.status = status
        self.send(Word(trade.channel, "callback", refund_report_of(trade, back), trade.channel_number))

    def send(self, word: Word) -> None:
        self.messages.append(Message(self._new_number("M"), word))

    def as_json(self) -> list[dict[str, Any]]:
        """The truth in the shape of the sandbox's list of trades."""
        times = {"created_at": PAID_AT.isoformat(), "paid_at": PAID_AT.isoformat()}
        return [asdict(trade) | times | {"notifications": []} for trade in self.trades]

    def _new_number(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count:04}"


def report_of(trade: Trade, now: int = 0) -> PaymentReport:
    if trade.status == "OPEN" and trade.agreed_at is not None:
        outcome = Outcome.APPROVED if now < trade.agreed_at + CONSENT_S else Outcome.NOT_FOUND
        return PaymentReport(outcome=outcome, number=trade.out_trade_no)
    if trade.status != "PAID":
        return PaymentReport(outcome=OUTCOMES[trade.status], number=trade.out_trade_no, code=trade.status)
    return PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number=trade.out_trade_no,
        channel_number=trade.channel_number,
        amount_minor=trade.amount,
        currency=trade.currency,
        paid_at=PAID_AT,
    )


def refund_report_of(trade: Trade, back: Back) -> RefundReport:
    return RefundReport(
        outcome=REFUND_OUTCOMES[back.status],
        number=back.out_refund_no,
        channel_number=back.channel_number,
        payment_number=trade.out_trade_no,
        trade_number=trade.channel_number,
        amount_minor=back.amount,
        code=back.status,
        needs_person=back.status == "ABNORMAL",
    )


class Till(Channel):
    """One channel over the shared ledger."""

    limits = {"CNY": Limits(1, 10**10)}
    has_statement = False

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Till":
        return cls(settings["LEDGER"])

    def scenes(self) -> frozenset[str]:
        return frozenset({"qr"})

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        return expires_at + timedelta(seconds=MARGIN_S)

    def create(self, attempt: Attempt) -> Created:
        fault = self.ledger.next_fault()
        self.ledger.tries.append(Try(self.name, attempt.number, fault))
        if fault is Fault.REFUSED:
            self._open(attempt)  # some proxy says no, and the channel made it all the same
        self._call(fault, lambda: self._open(attempt))
        return Created(action={"type": "qr", "content": f"till://{attempt.number}"})

    def _open(self, attempt: Attempt) -> Word:
        trade = self.ledger.find(self.name, attempt.number)
        assert trade is None or self.repeat is Repeat.SAME_NUMBER, "this channel makes a number twice"
        trade = trade or self.ledger.open(self.name, attempt.number, attempt.amount_minor)
        if trade.status != "OPEN":
            raise Unanswered("there is such a trade, and it has ended")
        return Word(self.name, "create", report_of(trade))

    def query(self, attempt: Attempt) -> PaymentReport:
        return self._ask("query", attempt.number, lambda: self._state_of(attempt.number))

    def close(self, attempt: Attempt) -> PaymentReport:
        assert self.can_close, "this channel cannot close"
        return self._ask("close", attempt.number, lambda: self._close(attempt.number))

    def _close(self, number: str) -> PaymentReport:
        trade = self.ledger.find(self.name, number)
        if trade is not None and trade.status == "OPEN":
            trade.status = "CLOSED"
        return self._state_of(number)

    def _state_of(self, number: str) -> PaymentReport:
        trade = self.ledger.find(self.name, number)
        if trade is None:
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=number)
        return report_of(trade, self.ledger.now)

    def refund(self, request: RefundRequest) -> RefundReport:
        trade = next(one for one in self.ledger.trades if one.channel_number == request.channel_number)

        def give_back() -> Word:
            return Word(self.name, "refund", self._give_back(trade, request), trade.channel_number)

        try:
            report = self._call(self.ledger.next_fault(), give_back)
        except Unanswered:
            report = RefundReport(outcome=Outcome.UNKNOWN, number=request.number)
        except Refused:
            refusal = RefundReport(outcome=Outcome.REFUSED, number=request.number)
            self.ledger.words.append(Word(self.name, "refund", refusal, trade.channel_number))
            raise
        assert isinstance(report, RefundReport)
        return report

    def _give_back(self, trade: Trade, request: RefundRequest) -> RefundReport:
        back = self._find_back(request.number)[1]
        if back is None:
            if request.amount_minor > trade.left:
                raise Refused("more than what is left of the trade")
            status = "SUCCESS" if self.ledger.refunds_end_at_once else "PROCESSING"
            back = self.ledger.give_back(trade, request.number, request.amount_minor, status=status)
        assert back.amount == request.amount_minor, "the same number with another amount"
        return refund_report_of(trade, back)

    def query_refund(self, request: RefundRequest) -> RefundReport:
        number = request.number
        trade, back = self._find_back(number)
        report = (
            refund_report_of(trade, back)
            if trade and back
            else RefundReport(outcome=Outcome.NOT_FOUND, number=number)
        )
        named = trade.channel_number if trade else ""
        try:
            self._call(self.ledger.next_fault(), lambda: Word(self.name, "query_refund", report, named))
        except (Unreachable, Unanswered, Refused):
            return RefundReport(outcome=Outcome.UNKNOWN, number=number)
        return report

    def _find_back(self, number: str) -> tuple[Trade, Back] | tuple[None, None]:
        mine = ((trade, back) for trade in self.ledger.trades for back in trade.refunds)
        return next((found for found in mine if found[1].out_refund_no == number), (None, None))

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        if raw.headers.get("seal") != "good":
            raise NotGenuine("seal")
        content = json.loads(raw.body)
        report = report_from_json(content["report"])
        return CallbackMessage(message_id=content["id"], kind=type(report).__name__, report=report)

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=204)

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=401)

    def statement_ready_at(self, day: date) -> datetime:
        raise AssertionError("nobody asks this channel for its books")

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        raise AssertionError("nobody asks this channel for its books")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        raise AssertionError("nobody asks this channel for its books")

    def _ask(self, operation: str, number: str, act: Callable[[], PaymentReport]) -> PaymentReport:
        return self._ask_with(self.ledger.next_fault(), operation, number, act)

    def _ask_with(
        self, fault: Fault, operation: str, number: str, act: Callable[[], PaymentReport]
    ) -> PaymentReport:
        try:
            report = self._call(fault, lambda: Word(self.name, operation, act()))
        except (Unreachable, Unanswered, Refused):
            report = PaymentReport(outcome=Outcome.UNKNOWN, number=number)
            self.ledger.words.append(Word(self.name, operation, report))
        assert isinstance(report, PaymentReport)
        return report

    def _call(self, fault: Fault, act: Callable[[], Word]) -> Report:
        assert not in_transaction(), "a channel is never called inside a transaction"
        if fault in BEFORE:
            _fail(fault)
        word = act()
        if fault is not Fault.NONE:
            _fail(fault)
        self.ledger.words.append(word)
        return word.report


BEFORE = {Fault.UNREACHABLE, Fault.REFUSED, Fault.LOST_BEFORE, Fault.CRASH_BEFORE}


def _fail(fault: Fault) -> NoReturn:
    if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER):
        raise Crash
    if fault is Fault.UNREACHABLE:
        raise Unreachable("no connection")
    if fault is Fault.REFUSED:
        raise Refused("not for this merchant")
    raise Unanswered("silence")


class Wallet(Till):
    """It closes what is not paid, makes a number once, and its messages are believed."""

    name = "wechat"
    title = "Wallet"
    repeat = Repeat.SAME_NUMBER


class Bank(Till):
    """It cannot close, cannot repeat a create, and its messages only say where to ask."""

    name = "unionpay"
    title = "Bank"
    repeat = Repeat.ASK_THEN_NEW
    can_close = False
    confirms_callbacks_by_query = True


class Purse(Till):
    """Its shopper agrees and we take the money; its messages only say where to ask, and it is closed by never taking any."""

    name = "paypal"
    title = "Purse"
    repeat = Repeat.SAME_NUMBER
    needs_capture = True
    confirms_callbacks_by_query = True

    def _close(self, number: str) -> PaymentReport:
        report = self._state_of(number)
        is_paid = report.outcome is Outcome.SUCCEEDED
        return report if is_paid else PaymentReport(outcome=Outcome.CLOSED, number=number)

    def capture(self, attempt: Attempt) -> PaymentReport:
        assert attempt.capture_id, "without a fixed id a repeat would take the money again"
        number, fault = attempt.number, self.ledger.next_fault()
        begun = PaymentReport(outcome=Outcome.OPEN, number=number)
        self.ledger.words.append(Word(self.name, "begin", begun))
        trade = self.ledger.find(self.name, number)
        if fault is Fault.REFUSED and trade is not None and trade.status == "OPEN":
            trade.status, fault = "CLOSED", Fault.NONE  # for good
        return self._ask_with(fault, "capture", number, lambda: self._take(number))

    def _take(self, number: str) -> PaymentReport:
        report, trade = self._state_of(number), self.ledger.find(self.name, number)
        if trade is None or report.outcome is Outcome.OPEN:
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=number)  # nobody has agreed
        if report.outcome is Outcome.APPROVED:
            self.ledger.pay(trade)
            return report_of(trade)
        return replace(report, outcome=Outcome.REFUSED) if report.outcome is Outcome.CLOSED else report


# Whose messages only say where to ask.
MUST_ASK = frozenset(till.name for till in (Wallet, Bank, Purse) if till.confirms_callbacks_by_query)
