"""What a channel is: pure translation between our words and one provider's protocol.

An adapter turns frozen requests into remote calls and remote answers into typed outcomes. It never meets a model, the
database or a money rule; keys, host, clock and the way out come through its constructor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any, BinaryIO, ClassVar, Self

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say


class Scene(StrEnum):
    """Where the shopper stands when paying."""

    QR = "qr"
    PAGE = "page"
    WAP = "wap"
    APP = "app"
    VOUCHER = "voucher"


class Outcome(StrEnum):
    """What a channel says about one payment or refund, in our words."""

    SUCCEEDED = "succeeded"
    APPROVED = "approved"  # the shopper agreed; the money moves only when we capture
    OPEN = "open"
    CLOSED = "closed"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"  # no answer, or one that does not verify: never the same as failed


class Repeat(StrEnum):
    """How a create without an answer is tried again."""

    SAME_NUMBER = "same_number"  # the channel makes it once per number: send the same request again
    ASK_THEN_NEW = "ask_then_new"  # it does not: query, supersede, and start a new number


# ---- the three ways a remote call fails -------------------------------------------------------------------------
#   ChannelError
#   ├── Unreachable   nothing was sent: try again whenever
#   ├── Unanswered    something may have happened: keep the status, ask later, repeat only under the same number
#   └── Refused       the channel's final no, verified as far as its protocol allows
#       └── Impossible  our own: the channel could not take it


class ChannelError(Exception):
    """A remote call did not give what was asked. `code` is the channel's own word or our short one, free of secrets."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Unreachable(ChannelError):
    """No connection was made, so nothing was sent."""


class Unanswered(ChannelError):
    """The request may have arrived; no answer came that can be believed."""


class Refused(ChannelError):
    """The channel refused, finally. Only this may end an attempt as FAILED."""


class Impossible(Refused):
    """Refused by our own check of the protocol's limits: nothing was sent by this try."""


class NotGenuine(Exception):
    """A callback that does not verify: signature, time, merchant or app. `reason` names the check, not the data.

    `number` is the payment's or refund's that it names, where its signature was good and only its content is not for us.
    """

    def __init__(self, reason: str, *, number: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number


# ---- what goes in and out ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One payment as its channel knows it: everything the create call carries, the same at every repeat, and what has
    become of it since.

    `started_at` is the moment of the intent, by the database's clock; some protocols name a trade by it. `payer` holds
    what the channel asks for about the person: see `payer_fields`. `handle` is the channel's own name of the attempt, from
    the answer to create; empty while that is missing. `capture_id` is the fixed id of the present capture.
    """

    number: str
    scene: str
    amount_minor: int
    currency: str
    description: str
    started_at: datetime
    expires_at: datetime
    notify_url: str
    return_url: str
    payer: Mapping[str, Any] = field(default_factory=dict)
    handle: str = ""
    capture_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The channel took the payment. `action` is what the shopper does next, in the contract's shapes.

    `handle` is the channel's own name of the attempt, where it needs one to be asked about it.
    """

    action: dict[str, Any]
    handle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReport:
    """What a channel says about one payment: by answer, callback, query or statement.

    `amount_minor`, `currency` and `paid_at` are as reported and present when `outcome` is SUCCEEDED. `number` is the
    payment's as the channel names it; `code` is the channel's own status word, kept for people. `needs_person` marks what
    the channel itself calls irregular: a success with a flaw, money that it has taken back.
    """

    outcome: Outcome
    number: str
    channel_number: str = ""
    amount_minor: int | None = None
    currency: str = ""
    paid_at: datetime | None = None
    code: str = ""
    needs_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Everything a refund call carries. `number` is the refund's own; `paid_minor` is the whole paid amount.

    `payment_number` and `channel_number` name the trade that it is a part of, `scene` the way in which that was paid.
    `started_at` is the moment before the first call; some protocols name a refund by it. `handle` is the channel's own
    number of the refund; empty while no answer has told it.
    """

    number: str
    payment_number: str
    channel_number: str
    amount_minor: int
    paid_minor: int
    currency: str
    reason: str
    notify_url: str
    scene: str
    started_at: datetime
    handle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReport:
    """What a channel says about one refund. OPEN means that it is being processed.

    `payment_number` and `trade_number`, ours and the channel's, say of which payment it is a part, where it says so.
    `needs_person` marks money that left the merchant but did not arrive (WeChat's ABNORMAL).
    """

    outcome: Outcome
    number: str
    channel_number: str = ""
    payment_number: str = ""
    trade_number: str = ""
    amount_minor: int | None = None
    code: str = ""
    needs_person: bool = False


Report = PaymentReport | RefundReport


def report_to_json(report: Report) -> dict[str, Any]:
    """A report as JSON can hold it, for `report_from_json`."""
    fields = asdict(report) | {"about": "refund" if isinstance(report, RefundReport) else "payment"}
    paid_at = fields.get("paid_at")
    return fields | ({"paid_at": paid_at.isoformat()} if paid_at else {})


def report_from_json(fields: Mapping[str, Any]) -> Report:
    """The report that `report_to_json` was given."""
    values = dict(fields)
    kind = RefundReport if values.pop("about") == "refund" else PaymentReport
    values["outcome"] = Outcome(values["outcome"])
    if values.get("paid_at"):
        values["paid_at"] = datetime.fromisoformat(values["paid_at"])
    return kind(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMessage:
    """A verified callback: its own id at the channel (the same over retries) and what it reports."""

    message_id: str
    kind: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCallback:
    """A callback as it came: the raw bytes and the headers, names in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReply:
    """What we answer to a callback, in the channel's own protocol."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


# ---- statements -------------------------------------------------------------------------------------------------


class NotReady(ChannelError):
    """The statement of this day is not there yet, or the channel has none because nothing happened: ask again later."""


class BadStatement(ValueError):
    """A statement that is damaged, of another merchant or not as documented. The message names line and field, and is lazy."""

    @classmethod
    def in_line(cls, line: int, what: Words | Exception) -> Self:
        """What is wrong in one line of the file, from 1."""
        return cls(say(_("line %(line)d: %(what)s"), line=line, what=what))


class LineKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One trade or refund in a channel's books. Amounts are minor units; `amount_minor` is positive for both kinds.

    `number` is ours as the channel names it, the refund's own for a refund, whose payment `payment_number` and
    `trade_number` name where the channel says it. `fee_minor` is what the channel kept; below 0, what it gave back.
    """

    kind: LineKind
    number: str
    channel_number: str
    amount_minor: int
    currency: str
    fee_minor: int = 0
    payment_number: str = ""
    trade_number: str = ""
    at: datetime | None = None
    code: str = ""


# ---- the channel ------------------------------------------------------------------------------------------------


class BadPayer(ValueError):
    """What the shopper told about themselves is missing or cannot be. `field` is the path of the first such thing."""

    def __init__(self, field: str, message: Words) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and the largest amount that a channel takes at once, in minor units."""

    least: int
    most: int


class Channel(ABC):
    """One payment provider. Subclasses translate; they keep no state about any payment."""

    name: ClassVar[str]
    title: ClassVar[str]
    # What is taken, by currency.
    limits: ClassVar[Mapping[str, Limits]]
    repeat: ClassVar[Repeat]
    # For so long the channel answers a repeated create under one number with the same payment.
    repeats_for: ClassVar[timedelta] = timedelta(days=7)
    # The longest that the action of one attempt can be used.
    action_life: ClassVar[timedelta] = timedelta(hours=2)
    # What it shows is paid days later, whatever the order's own end: the order waits, with its goods, until `dead_at`.
    outlives_order: ClassVar[bool] = False
    can_close: ClassVar[bool] = True
    # Money that a channel cannot give back must not come twice: its undecided attempt is never superseded.
    can_refund: ClassVar[bool] = True
    has_statement: ClassVar[bool] = True
    # With these words a line about a refund says that it has ended well; None: only such refunds have a line.
    refunded_codes: ClassVar[frozenset[str] | None] = None
    # The time zone of the days of its statements.
    calendar: ClassVar[tzinfo] = UTC
    # The shopper's consent moves no money: we capture. Until then an attempt is closed by never capturing it.
    needs_capture: ClassVar[bool] = False
    confirms_callbacks_by_query: ClassVar[bool] = False
    # Seconds between two queries at least, where the usual schedule (10, 20, 30 s, then n² minutes) would ask more often.
    query_every_s: ClassVar[int] = 0
    # What the shopper must tell us: paths like "address.city".
    payer_fields: ClassVar[tuple[str, ...]] = ()
    # What of the payer is handed on, and kept encrypted until the attempt is final: of name, email, ip, tax_id, address.
    payer_keys: ClassVar[tuple[str, ...]] = ()

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies that it takes."""
        return frozenset(self.limits)

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Channel:
        """Build it from the settings of its variables, all of them there. Raises BadKey for a key that cannot be used."""

    @abstractmethod
    def scenes(self) -> frozenset[str]:
        """The scenes offered with the present configuration."""

    def expires_at(self, *, scene: str, order_expires_at: datetime, now: datetime) -> datetime:
        """Until when an attempt that is started now can be paid: no longer than its order, where the channel lets us choose."""
        return min(order_expires_at, now + self.action_life)

    @abstractmethod
    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        """After this moment the channel takes no money for a payment created now, margin included."""

    def check_payer(self, payer: Mapping[str, Any]) -> None:
        """Refuse what is missing or cannot be, before anything is stored. Raises BadPayer."""
        for path in self.payer_fields:
            found: Any = payer
            for name in path.split("."):
                found = found.get(name) if isinstance(found, Mapping) else None
            if not isinstance(found, str) or not found.strip():
                raise BadPayer(path, _("This is needed."))

    @abstractmethod
    def create(self, attempt: Attempt) -> Created:
        """Start a payment. Raises Unreachable, Unanswered or Refused. Never inside a transaction."""

    @abstractmethod
    def query(self, attempt: Attempt) -> PaymentReport:
        """Ask about a payment, moving nothing. Does not raise for a missing or unbelievable answer: that is UNKNOWN."""

    @abstractmethod
    def close(self, attempt: Attempt) -> PaymentReport:
        """Ask the channel to take no money for this payment any more.

        CLOSED when it agreed, SUCCEEDED (then with all fields, from a query) when it is paid already, NOT_FOUND when
        the channel does not know it, OPEN when it can be paid still, UNKNOWN when no believable answer came. Of a channel
        that needs capture, CLOSED says: not paid; the caller sees to it that it is never captured.
        """

    def capture(self, attempt: Attempt) -> PaymentReport:
        """Take the money that the shopper has agreed to, once for each `capture_id`.

        SUCCEEDED; OPEN when it is being decided; APPROVED when nothing was done and the same may be tried again;
        NOT_FOUND when the consent is gone and the shopper must give it anew; REFUSED for good; UNKNOWN without an answer.
        """
        raise NotImplementedError(f"{self.name} needs no capture")

    @abstractmethod
    def refund(self, request: RefundRequest) -> RefundReport:
        """Ask for a refund under the refund's own number. Raises Unreachable or Refused; a missing answer is UNKNOWN."""

    @abstractmethod
    def query_refund(self, request: RefundRequest) -> RefundReport:
        """Ask about a refund. A missing or unbelievable answer is UNKNOWN; NOT_FOUND lets it be sent again, the same."""

    @abstractmethod
    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        """Verify the raw bytes, then parse. Raises NotGenuine; nothing of an unverified message is ever parsed."""

    def kept_body(self, raw: RawCallback) -> bytes:
        """What of a verified message is kept: all of it, unless it tells more about a person than anybody needs to know."""
        return raw.body

    @abstractmethod
    def acknowledge(self) -> CallbackReply:
        """The answer that ends the channel's retries."""

    @abstractmethod
    def refuse_callback(self, reason: str) -> CallbackReply:
        """The answer to a message that does not verify, in the channel's own protocol."""

    @classmethod
    def statement_span(cls, day: date) -> tuple[datetime, datetime]:
        """From when to before when the trades of a day's statement were paid: from midnight to midnight of `calendar`."""
        start = datetime.combine(day, time(), cls.calendar)
        return start, datetime.combine(day + timedelta(days=1), time(), cls.calendar)

    @abstractmethod
    def statement_ready_at(self, day: date) -> datetime:
        """When the statement of a day of the channel's own calendar should be there."""

    @abstractmethod
    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        """Write the statement of a day as it came, verified as far as the protocol allows; never whole in memory.

        Raises NotReady, Unreachable, Unanswered or Refused. Never inside a transaction.
        """

    @abstractmethod
    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        """The lines of a fetched statement, in its order, one at a time. Raises BadStatement."""


# Clocks differ and an answer travels: nothing is called dead before this has passed.
DEAD_MARGIN = timedelta(seconds=60)
