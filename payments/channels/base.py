"""What a channel is: pure translation between our words and one provider's protocol.

An adapter turns frozen requests into remote calls and remote answers into typed outcomes. It never meets a model, the
database or a money rule; keys, host, clock and the way out come through its constructor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar


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
class CreateRequest:
    """Everything a create call carries. Stored before the call, so that a repeat sends the very same content."""

    number: str
    scene: str
    amount_minor: int
    currency: str
    description: str
    expires_at: datetime
    notify_url: str
    return_url: str
    payer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The channel took the payment. `action` is what the shopper does next, in the contract's shapes."""

    action: dict[str, Any]
    channel_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentReport:
    """What a channel says about one payment: by answer, callback, query or statement.

    `amount_minor`, `currency` and `paid_at` are as reported and present when `outcome` is SUCCEEDED. `number` is the
    payment's as the channel names it; `code` is the channel's own status word, kept for people.
    """

    outcome: Outcome
    number: str
    channel_number: str = ""
    amount_minor: int | None = None
    currency: str = ""
    paid_at: datetime | None = None
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Everything a refund call carries. `number` is the refund's own; `paid_minor` is the whole paid amount."""

    number: str
    payment_number: str
    channel_number: str
    amount_minor: int
    paid_minor: int
    currency: str
    reason: str
    notify_url: str


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


class Channel(ABC):
    """One payment provider. Subclasses translate; they keep no state about any payment."""

    name: ClassVar[str]
    title: ClassVar[str]
    currencies: ClassVar[frozenset[str]]
    repeat: ClassVar[Repeat]
    can_close: ClassVar[bool] = True
    # Money that a channel cannot give back must not come twice: its undecided attempt is never superseded.
    can_refund: ClassVar[bool] = True
    confirms_callbacks_by_query: ClassVar[bool] = False

    @abstractmethod
    def scenes(self) -> frozenset[str]:
        """The scenes offered with the present configuration."""

    @abstractmethod
    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        """After this moment the channel takes no money for a payment created now, margin included."""

    @abstractmethod
    def create(self, request: CreateRequest) -> Created:
        """Start a payment. Raises Unreachable, Unanswered or Refused. Never inside a transaction."""

    @abstractmethod
    def query(self, number: str) -> PaymentReport:
        """Ask about a payment. Does not raise for a missing or unbelievable answer: that is UNKNOWN."""

    @abstractmethod
    def close(self, number: str) -> PaymentReport:
        """Ask the channel to take no money for this payment any more.

        CLOSED when it agreed, SUCCEEDED (then with all fields, from a query) when it is paid already, NOT_FOUND when
        the channel does not know it, UNKNOWN when no believable answer came.
        """

    @abstractmethod
    def refund(self, request: RefundRequest) -> RefundReport:
        """Ask for a refund under the refund's own number. Raises Unreachable or Refused; a missing answer is UNKNOWN."""

    @abstractmethod
    def query_refund(self, number: str) -> RefundReport:
        """Ask about a refund by its own number. A missing or unbelievable answer is UNKNOWN."""

    @abstractmethod
    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        """Verify the raw bytes, then parse. Raises NotGenuine; nothing of an unverified message is ever parsed."""

    @abstractmethod
    def acknowledge(self) -> CallbackReply:
        """The answer that ends the channel's retries."""

    @abstractmethod
    def refuse_callback(self, reason: str) -> CallbackReply:
        """The answer to a message that does not verify, in the channel's own protocol."""


# Clocks differ and an answer travels: nothing is called dead before this has passed.
DEAD_MARGIN = timedelta(seconds=60)
