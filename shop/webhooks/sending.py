"""One message to one endpoint, by the Standard Webhooks convention: signed, sent once, bounded in time and memory.

Of the answer only the status counts. A redirect is not followed, no proxy of the environment is used, and the connection
goes to the very address that was checked.
"""

import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import structlog
from standardwebhooks import Webhook

from shop.transactions import give_back_connections, in_transaction
from shop.webhooks.addresses import AddressRefused, BadAddress, Target, find_addresses, read_url, seconds_left

CONNECT_S = 3.0  # name, TCP and TLS together
TOTAL_S = 8.0  # the whole message, however slowly the answer drips
# A receiver that is still talking when its answer is known is listened to for so long, so that it sees no broken line.
LISTEN_S = 0.2
MOST_ANSWER_BYTES = 4096
OK, REDIRECT, END = range(200, 300), range(300, 400), range(200, 600)
GONE = 410

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")

log = structlog.get_logger("nodrop.webhooks")


class SentInsideTransaction(RuntimeError):
    """A bug of the caller: rows would stay locked while a stranger thinks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try: an HTTP status, or 0 and a word of `WORDS` for why there was none."""

    status: int
    word: str = ""

    @property
    def is_taken(self) -> bool:
        return self.status in OK

    @property
    def is_gone(self) -> bool:
        """The receiver says that it wants nothing any more."""
        return self.status == GONE

    def __str__(self) -> str:
        return self.word or str(self.status)


# Why there was no answer that counts.
WORDS = ("address", "refused address", "no connection", "tls", "timeout", "broken", "no secret")


def send(
    url: str, *, message_id: str, body: bytes, secrets: Sequence[str], at: datetime, total_s: float = TOTAL_S
) -> Answer:
    """POST one message, once. `at` is the moment that is signed. Never raises for what the network or a receiver does.

    Without `secrets` nothing is sent: no receiver could tell whom it is from. Raises SentInsideTransaction.
    """
    if in_transaction():
        raise SentInsideTransaction(message_id)
    if not secrets:
        log.warning("webhook cannot be signed", message=message_id)
        return Answer(0, "no secret")
    give_back_connections()
    began = time.monotonic()
    answer = _try(url, _headers(message_id, body, secrets, at), body, began + total_s)
    took_ms = round((time.monotonic() - began) * 1000)
    log.info("webhook sent", message=message_id, answer=str(answer), milliseconds=took_ms)
    return answer


def sign(message_id: str, at: datetime, body: str, secrets: Sequence[str]) -> str:
    """The header `webhook-signature`: one signature for each secret that counts."""
    return " ".join(Webhook(secret).sign(msg_id=message_id, timestamp=at, data=body) for secret in secrets)


def _headers(message_id: str, body: bytes, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "nodrop-webhooks/1",
        "Accept": "*/*",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": sign(message_id, at, body.decode(), secrets),
    }


def _try(url: str, headers: dict[str, str], body: bytes, until: float) -> Answer:
    sent = False
    try:
        target = read_url(url)
        with _connect(target, min(until, time.monotonic() + CONNECT_S)) as line:
            sent = True
            line.settimeout(seconds_left(until))
            line.sendall(_request(target, headers) + body)
            return _read(line, until)
    except BadAddress:
        return Answer(0, "address")
    except AddressRefused:
        return Answer(0, "refused address")
    except TimeoutError:
        return Answer(0, "timeout")
    except ssl.SSLError:
        return Answer(0, "broken" if sent else "tls")
    except (OSError, ValueError):
        return Answer(0, "broken" if sent else "no connection")


def _request(target: Target, headers: dict[str, str]) -> bytes:
    lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


# ---- the line ----------------------------------------------------------------------------------------------------


def _connect(target: Target, until: float) -> socket.socket:
    """A connection to an address that was checked. Raises OSError, of which ssl.SSLError and AddressRefused are some."""
    addresses = find_addresses(target, within_s=seconds_left(until))
    failure: OSError = OSError("no address answers")
    for tried, address in enumerate(addresses):
        # A dead address leaves time for the next one.
        share_s = seconds_left(until) / (len(addresses) - tried)
        try:
            line = socket.create_connection((str(address), target.port), timeout=share_s)
        except OSError as error:
            failure = error
        else:
            return _secure(line, target, until)
    raise failure


def _secure(line: socket.socket, target: Target, until: float) -> socket.socket:
    """The line under TLS in the name of the host, whatever address it has; plain where http is allowed."""
    try:
        line.settimeout(seconds_left(until))
        if target.scheme == "http":
            return line
        return tls_context().wrap_socket(line, server_hostname=target.host)
    except BaseException:
        line.close()
        raise


@cache
def tls_context() -> ssl.SSLContext:
    """Certificates and names are verified. A seam for tests, which bring an authority of their own."""
    return ssl.create_default_context()


def _read(line: socket.socket, until: float) -> Answer:
    """The status, read of at most 4 KiB; then a moment of patience with the rest."""
    said = bytearray()
    while (status := _find_status(said)) is None:
        if len(said) >= MOST_ANSWER_BYTES or not _hear(line, said, until):
            return Answer(0, "broken")
    if status in END:
        _listen(line, said)
        return Answer(status)
    return Answer(0, "broken")


def _find_status(said: bytearray) -> int | None:
    """The final status; None while more has to be heard. What is no HTTP is 0."""
    begin = 0
    while found := _STATUS.match(said, begin):
        status = int(found[1])
        if status >= 200 or status == 101:
            return status
        end = _END_OF_HEAD.search(said, begin)  # one that only says that another will come
        if end is None:
            return None
        begin = end.end()
    is_line = b"\n" in said[begin:] or (len(said) - begin >= 5 and said[begin : begin + 5] != b"HTTP/")
    return 0 if is_line else None


def _hear(line: socket.socket, said: bytearray, until: float) -> bool:
    line.settimeout(seconds_left(until))
    chunk = line.recv(MOST_ANSWER_BYTES - len(said))
    said += chunk
    return bool(chunk)


def _listen(line: socket.socket, said: bytearray) -> None:
    until = time.monotonic() + LISTEN_S
    try:
        while len(said) < MOST_ANSWER_BYTES and _hear(line, said, until):
            pass
    except OSError:
        return
