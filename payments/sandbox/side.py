"""What a channel's side of the sandbox is: its routes, its seal, its notifications.

A new channel is one file with one subclass of `Side` and one line in `server.SIDES`. A side translates
between its protocol and the ledger; it never opens a transaction, sends anything or plays a fault: those are
the gateway's.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from werkzeug import Request, Response

from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, Refund, Trade


@dataclass(frozen=True)
class Route:
    """One path of the protocol. `operation` is the word that faults use for it, empty where none apply."""

    method: str
    path: str
    operation: str
    handler: str


@dataclass(frozen=True)
class Call:
    """One verified request. A refund accepted now will end as `refund_end`: SUCCESS, ABNORMAL, CLOSED."""

    request: Request
    refund_end: str = "SUCCESS"


@dataclass(frozen=True)
class Reply:
    """What a side answers, before it is sealed; bytes are sent as they are, None is an empty body."""

    status: int
    document: dict[str, Any] | bytes | None
    is_sealed: bool = True


class Refused(Exception):
    """The call breaks a rule and nothing of it is kept; `reply` tells the caller."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply

    @property
    def reason(self) -> str:
        """The refusal in words, for people."""
        document = self.reply.document
        return str(document.get("message", "refused")) if isinstance(document, dict) else "refused"


@dataclass(frozen=True)
class Message:
    """One notification, ready to be sent by POST."""

    url: str
    headers: dict[str, str]
    body: bytes


class Side(ABC):
    """One channel's protocol. `gaps_s` are the seconds between the tries of a notification."""

    name: ClassVar[str]
    title: ClassVar[str]
    routes: ClassVar[tuple[Route, ...]]
    gaps_s: ClassVar[tuple[int, ...]]
    answer_limit_s: ClassVar[float]

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

    @abstractmethod
    def describe_notice(self, trade: Trade, refund: Refund | None) -> dict[str, Any]:
        """What a notification says, before it is encrypted and signed."""

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
