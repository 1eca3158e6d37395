"""What a channel's side of the sandbox is: its routes, its seal, its notifications.

A new channel is one file with one subclass of `Side` and one line in `server.SIDES`. A side translates
between its protocol and the ledger; it never opens a transaction, sends anything or plays a fault: those are
the gateway's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from werkzeug import Request, Response

from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Booking, Notice, Refund, Trade

# For a side that refuses in its own words what it has no route for.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Route:
    """One path of the protocol. `operation` is the word that faults use for it, empty where none apply."""

    method: str
    path: str
    operation: str
    handler: str


@dataclass(frozen=True)
class Call:
    """One verified request. A refund accepted now will end as `refund_end`: SUCCESS, ABNORMAL, CLOSED.

    `statement_fault` is statement_omit, statement_double or statement_lie where the statement asked for is to lack a line, to
    have one twice, or with another amount: each `statement_every`th, or the first alone; see `Side.list_booked`. `paid_meanwhile` is before or after where the shopper pays while the merchant closes: see
    `Side.close`.
    """

    request: Request
    refund_end: str = "SUCCESS"
    statement_fault: str = ""
    statement_every: int = 0
    paid_meanwhile: str = ""


def _add_one(line: Booking) -> list[Booking]:
    """A payment's amount is a minor unit more than was paid; a refund's stays."""
    if line.refund is not None:
        return [line]
    return [replace(line, trade=replace(line.trade, amount=line.trade.amount + 1))]


_SPOILT: Mapping[str, Callable[[Booking], list[Booking]]] = {
    "statement_omit": lambda _: [],
    "statement_double": lambda line: [line, line],
    "statement_lie": _add_one,
}


@dataclass(frozen=True)
class Reply:
    """What a side answers, before it is sealed; bytes are sent as they are, None is an empty body.

    `content_type` and `headers` are for what is no document of the protocol: a file, a page, a redirect of a browser.
    """

    status: int
    document: dict[str, Any] | bytes | None
    is_sealed: bool = True
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The call breaks a rule and nothing of it is kept; `reply` tells the caller."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply

    @property
    def reason(self) -> str:
        """The refusal in words, for people."""
        document = self.reply.document
        words = document if isinstance(document, dict) else {}
        return str(words.get("message") or words.get("respMsg") or words.get("sub_msg") or "refused")


@dataclass(frozen=True)
class Message:
    """One notification, ready to be sent by POST."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Wallet:
    """What the shopper's page says where a channel has words of its own. `pay` stands before the amount, on the button.

    `agreed` is headline and sentence once the shopper has agreed and the merchant has to take the money.
    """

    title: str = "Sandbox wallet"
    pay: str = "Pay"
    agreed: tuple[str, str] = ("You agreed", "The shop takes the money when you go back to it.")


def send_to_wallet(content: str) -> Reply:
    """Lead a browser that came to a page of the channel's own to the wallet, by a handle of the trade."""
    place = f"/_sandbox/wallet?{urlencode({'content': content})}"
    return Reply(303, None, is_sealed=False, headers={"Location": place})


class Side(ABC):
    """One channel's protocol. `gaps_s` are the seconds between the tries of a notification.

    `needs_webhook`: its requests name no address, so the merchant has to enter one: see `Ledger.set_webhook`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    routes: ClassVar[tuple[Route, ...]]
    gaps_s: ClassVar[tuple[int, ...]]
    answer_limit_s: ClassVar[float]
    wallet: ClassVar[Wallet] = Wallet()
    needs_webhook: ClassVar[bool] = False

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        self.ledger = ledger
        self.refund_delay_s = refund_delay_s

    @property
    @abstractmethod
    def payee(self) -> str:
        """Whom the wallet names as receiver of the money."""

    @abstractmethod
    def read_environment(self, base_url: str) -> dict[str, str]:
        """The variables that point a client at this side under `base_url`."""

    def read_route(self, route: Route, request: Request) -> tuple[str, str]:
        """The operation, in the words of faults, and the handler of a request: where one path carries several calls."""
        return route.operation, route.handler

    @abstractmethod
    def authenticate(self, request: Request) -> None:
        """Verify who sent the request, over its raw bytes. Raises Refused."""

    @abstractmethod
    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Do what an authenticated call asks, inside the gateway's transaction. Raises Refused."""

    @abstractmethod
    def refuse(self, status: int, code: str, message: str) -> Reply:
        """An error in the channel's own shape."""

    @abstractmethod
    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """Status and code with which the channel says `notfound` or `syserr` to an operation."""

    @abstractmethod
    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """A copy of an answer or notification that lies; the words of `lie` are those of `plans.LIES`."""

    @abstractmethod
    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """The reply as the channel signs and sends it; forged means signed with a stranger's key."""

    @abstractmethod
    def make_channel_number(self) -> str:
        """A new number of a trade, as the channel writes them."""

    @abstractmethod
    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """Accept a refund that the merchant's staff made in the channel's own console. Raises Refused."""

    def look(self, trade: Trade) -> Trade:
        """The shopper has scanned the code or opened the link; inside the ledger's transaction. Returns it as it is now."""
        return trade

    def pay(self, trade: Trade, *, copies: int = 1, is_forced: bool = False) -> None:
        """The shopper pays, or agrees to pay where the merchant has to capture; inside the ledger's transaction.

        Raises NotPayable.
        """
        trade = self.look(trade)
        self.ledger.pay_trade(trade, self.make_channel_number, copies=copies, is_forced=is_forced)

    def has_agreed(self, trade: Trade) -> bool:
        """Whether the shopper has agreed to an open trade already, and the merchant has to take the money."""
        return False

    def close(self, call: Call, trade: Trade) -> bool:
        """Take no more money for an open trade; whether it is closed, and not paid in this very moment.

        So the fault paid_meanwhile wants it: before, the money is first; after, it comes to a trade that is closed. What a
        call does after False must be answered, not raised: the payment would be rolled back with it.
        """
        if call.paid_meanwhile == "before":
            self.pay(trade)
            return False
        self.ledger.close_trade(trade)
        if call.paid_meanwhile == "after":
            self.pay(self.ledger.get_trade(trade.id), is_forced=True)
        return True

    def read_return(self, trade: Trade) -> str:
        """Where the shopper's browser goes from the channel's own page, paid or declined; empty: nowhere."""
        return ""

    def list_booked(self, call: Call, start_us: int, end_us: int) -> list[Booking]:
        """What a statement of this time holds, with the fault that the call is to have."""
        lines = self.ledger.list_booked(self.name, start_us, end_us)
        spoil = _SPOILT.get(call.statement_fault)
        if spoil is None:
            return lines
        last = len(lines) if call.statement_every else 1
        spoilt = set(range(0, last, call.statement_every or 1))
        parts = ((spoil(line) if place in spoilt else [line]) for place, line in enumerate(lines))
        return [line for part in parts for line in part]

    @abstractmethod
    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        """What a notification says, before it is encrypted and signed. `event` as it was announced, mostly empty."""

    @abstractmethod
    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """A notification signed at this moment; a document of bytes goes out as the body, rightly signed."""

    @abstractmethod
    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """Whether the merchant's answer ends the retries."""
