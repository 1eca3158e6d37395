"""What the tests of every adapter share: a wire that answers as scripted, and what is asked and answered over it.

What one channel says and how it signs is in that channel's `<name>_party.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from payments.channels.base import Attempt, ChannelError, RefundRequest
from payments.channels.wire import Reply


def load_vectors(channel: str) -> dict[str, Any]:
    """The throwaway keys and the recorded messages of a channel."""
    path = Path(__file__).parent / "vectors" / f"{channel}.json"
    vectors: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return vectors


def make_attempt(channel: str, number: str, **said: Any) -> Attempt:
    """¥129.00 by a code, where nothing else is said."""
    usual: dict[str, Any] = {
        "scene": "qr",
        "amount_minor": 12900,
        "currency": "CNY",
        "description": "两件T恤 x2",
        "notify_url": f"https://shop.example/notify/{channel}/",
        "return_url": f"https://shop.example/orders/{number}/",
    }
    return Attempt(number=number, **usual | said)


def make_refund(attempt: Attempt, number: str, *, channel_number: str, **said: Any) -> RefundRequest:
    """29.00 of what was paid by `attempt` goes back, where nothing else is said."""
    usual: dict[str, Any] = {
        "payment_number": attempt.number,
        "amount_minor": 2900,
        "paid_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "reason": "size",
        "notify_url": attempt.notify_url,
        "scene": attempt.scene,
        "started_at": attempt.started_at,
    }
    return RefundRequest(number=number, channel_number=channel_number, **usual | said)


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    """An answer of these bytes, or of this document as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers=headers, body=raw, elapsed_ms=1)


def give(answer: Reply | ChannelError) -> Reply:
    """The answer; an error is raised, as by the wire."""
    if isinstance(answer, ChannelError):
        raise answer
    return answer


class ScriptedWire:
    """A wire that keeps what is sent and answers with the next reply, or raises the next error."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, **rest: Any) -> Reply:
        self.sent.append({"method": method, "url": url, **rest})
        return give(self.replies.pop(0))

    def download(self, method: str, url: str, *, into: BinaryIO, **rest: Any) -> Reply:
        found = self.send(method, url, **rest)
        if found.status != 200:
            return found
        into.write(found.body)
        return replace(found, body=b"")

    @property
    def operations(self) -> list[str]:
        return [sent["operation"] for sent in self.sent]


def without_none(document: Mapping[str, Any]) -> dict[str, Any]:
    """A change to None takes a field out."""
    return {name: value for name, value in document.items() if value is not None}


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Names as a callback and a reply hold them."""
    return {name.lower(): value for name, value in headers.items()}
