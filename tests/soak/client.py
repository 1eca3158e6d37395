"""How a shopper's program, browser and wallet talk to the shop and to the channels, over HTTP, and what it remembers.

Every deed ends in one of three ways: *ok*, *refused*, or *unknown*, when no answer came or one that promises nothing.
"""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import urllib3

CONNECT_S = 2.0
READ_S = 25.0  # above what the shop may take for two calls to a channel
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# PayPal's page says the second until the shop has taken the money.
PAID = (b"<strong>Paid</strong>", b"<strong>You agreed</strong>")


class Ending(StrEnum):
    """How a deed ended, as far as its client can know."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status 0: there was none. `place` is where a browser is sent to."""

    status: int
    body: Any = None
    place: str = ""

    @property
    def ending(self) -> Ending:
        # "Busy" says that nothing was changed, but a lost COMMIT may have been one.
        if 200 <= self.status < 400:
            return Ending.OK
        return Ending.REFUSED if 400 <= self.status < 500 else Ending.UNKNOWN

    @property
    def code(self) -> str:
        """The stable word of a problem."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""

    @property
    def may_supersede(self) -> bool:
        """Whether a problem says that one may go on although an earlier attempt is undecided."""
        return isinstance(self.body, dict) and self.body.get("may_supersede") is True


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the history. `subject` is the number that it was about, or that the client was told; `at` when."""

    who: str
    what: str
    ending: Ending
    subject: str
    code: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


class History:
    """What all clients did and were told; safe to share between threads."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        self._lock = threading.Lock()

    def add(self, deed: Deed) -> None:
        with self._lock:
            self.deeds.append(deed)

    def count(self) -> Counter[Ending]:
        with self._lock:
            return Counter(deed.ending for deed in self.deeds)


class Client:
    """Connections to one shop and one sandbox; safe to share between threads. It never tries again by itself."""

    def __init__(self, shop: str, sandbox: str, *, connections: int) -> None:
        self.shop, self.sandbox = shop, sandbox
        limits = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
        self._pool = urllib3.PoolManager(maxsize=connections, timeout=limits, retries=False)

    def api(self, method: str, path: str, *, body: Any = None, token: str = "", key: str = "") -> Answer:
        """One call of the shop's API, with a token and an Idempotency-Key where they are given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        return self._send(method, f"{self.shop}/api/v1/{path}", headers, body)

    def arrive(self, action: dict[str, Any]) -> Answer:
        """Go where an action leads. The body is what the wallet is to be shown: code, number of the slip, or page."""
        if action["type"] in ("qr", "voucher"):
            return Answer(200, action.get("content") or action["digitable_line"])
        method, form = "GET", None
        if action["type"] == "form":
            method, form = "POST", urlencode(action["fields"]).encode()
        sent = self._exchange(method, action["url"], FORM | {"Referer": f"{self.shop}/"}, form)
        content = parse_qs(urlsplit(sent.place).query).get("content", [""])[0]
        return Answer(200, content) if content else Answer(0)

    def scan_and_pay(self, content: str) -> Answer:
        """Pay in the wallet, and look whether it shows that it is paid or agreed to; 409 when it does not."""
        form = urlencode({"content": content, "deed": "pay"}).encode()
        sent = self._exchange("POST", f"{self.sandbox}/_sandbox/wallet", FORM, form)
        if not 300 <= sent.status < 400:
            return Answer(0)
        seen = self._exchange(
            "GET", f"{self.sandbox}/_sandbox/wallet?{urlencode({'content': content})}", {}, None
        )
        if seen.status != 200:
            return Answer(0)
        return Answer(200 if any(words in seen.body for words in PAID) else 409)

    def decline(self, channel: str, payment: str) -> Answer:
        """Say no in the wallet."""
        return self._deed(channel, payment, "decline", {})

    def force_payment(self, channel: str, payment: str) -> Answer:
        """Money comes although the channel closed the trade, or was paid before."""
        return self._deed(channel, payment, "pay", {"force": True})

    def _deed(self, channel: str, payment: str, deed: str, wish: dict[str, Any]) -> Answer:
        return self._send("POST", f"{self.sandbox}/_sandbox/trades/{channel}/{payment}/{deed}", {}, wish)

    def _send(self, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        answer = self._exchange(method, url, headers | {"Content-Type": "application/json"}, content)
        try:
            return Answer(answer.status, json.loads(answer.body) if answer.body else None)
        except ValueError:
            return Answer(answer.status if answer.status >= 400 else 0)

    def _exchange(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> Answer:
        try:
            answer = self._pool.request(method, url, headers=headers, body=content, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return Answer(0)
        return Answer(answer.status, answer.data, answer.headers.get("Location", ""))
