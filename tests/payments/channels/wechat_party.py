"""The other side of the WeChat adapter in these tests: published vectors, and a wire that answers as scripted."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payments.channels.base import Attempt, ChannelError, RawCallback, RefundRequest
from payments.channels.seals import load_private_key, load_public_key, sign_rsa_sha256
from payments.channels.wechat import WeChat
from payments.channels.wire import Reply

VECTORS = json.loads((Path(__file__).parent / "vectors" / "wechat.json").read_text(encoding="utf-8"))
MERCHANT, PLATFORM = VECTORS["merchant"], VECTORS["platform"]
MERCHANT_KEY = load_private_key(MERCHANT["private_key_pkcs8_pem"])
PLATFORM_KEY = load_private_key(PLATFORM["private_key_pkcs8_pem"])
PLATFORM_PUBLIC = load_public_key(PLATFORM["public_key_pem"])
SERIAL = PLATFORM["serial_no"]
MCHID, APPID, APIV3_KEY = VECTORS["mchid"], VECTORS["appid"], VECTORS["apiv3_key"]

NUMBER = "ND20261121A0000001"
REFUND_NUMBER = "NDR20261122A0000001"
NONCE = "5F0C6A1E2B9D4C7784A3D1E9F6B20C58"
TRANSACTION = "4200009876202611210123456789"
NOW = datetime.fromtimestamp(1795255835, UTC)
EXPIRES_AT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)

ORDER = Attempt(
    number=NUMBER,
    scene="qr",
    amount_minor=12900,
    currency="CNY",
    description="两件T恤 x2",
    started_at=NOW,
    expires_at=EXPIRES_AT,
    notify_url="https://shop.example/notify/wechat/",
    return_url="https://shop.example/orders/1/",
)
REFUND = RefundRequest(
    number=REFUND_NUMBER,
    payment_number=NUMBER,
    channel_number=TRANSACTION,
    amount_minor=2900,
    paid_minor=12900,
    currency="CNY",
    reason="size",
    notify_url="https://shop.example/notify/wechat/",
    scene="qr",
    started_at=NOW,
)
CALLBACK = {"create_time": "2026-11-21T18:10:35+08:00", "resource_type": "encrypt-resource", "summary": "x"}


class ScriptedWire:
    """A wire that keeps what is sent and answers with the next reply, or raises the next error."""

    def __init__(self, *replies: Reply | ChannelError) -> None:
        self.replies = list(replies)
        self.sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, **rest: Any) -> Reply:
        self.sent.append({"method": method, "url": url, **rest})
        reply = self.replies.pop(0)
        if isinstance(reply, ChannelError):
            raise reply
        return reply

    def download(self, method: str, url: str, *, into: BinaryIO, **rest: Any) -> Reply:
        reply = self.send(method, url, **rest)
        if reply.status != 200:
            return reply
        into.write(reply.body)
        return replace(reply, body=b"")

    @property
    def operations(self) -> list[str]:
        return [sent["operation"] for sent in self.sent]


def make_wechat(
    *replies: Reply | ChannelError, wire: Any = None, now: datetime = NOW, **changes: Any
) -> WeChat:
    given: dict[str, Any] = {
        "base_url": "https://api.example",
        "mchid": MCHID,
        "appid": APPID,
        "merchant_serial": MERCHANT["serial_no"],
        "merchant_key": MERCHANT_KEY,
        "apiv3_key": APIV3_KEY,
        "platform_keys": {SERIAL: PLATFORM_PUBLIC, PLATFORM["public_key_id"]: PLATFORM_PUBLIC},
        "wire": wire or ScriptedWire(*replies),
        "clock": lambda: now,
        "make_nonce": lambda: NONCE,
    }
    return WeChat(**given | changes)


def sign(
    body: bytes, *, now: datetime = NOW, key: Any = PLATFORM_KEY, serial: str = SERIAL
) -> dict[str, str]:
    timestamp = str(int(now.timestamp()))
    return {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": "c5e1f0a92b7d4836",
        "wechatpay-serial": serial,
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        "wechatpay-signature": sign_rsa_sha256(
            key, f"{timestamp}\nc5e1f0a92b7d4836\n".encode() + body + b"\n"
        ),
    }


def reply(status: int, body: Any = b"", *, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply that is rightly signed unless `headers` are given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers=sign(raw) if headers is None else headers, body=raw, elapsed_ms=1)


def error(status: int, code: str, *, signed: bool = True) -> Reply:
    return reply(status, {"code": code, "message": "no"}, headers=None if signed else {})


def vector_reply(status: int, name: str) -> Reply:
    found = VECTORS["responses"][name]
    return reply(status, found["body"].encode(), headers=lower(found["headers"]))


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def trade(state: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    """A payment object of a query or a notification; a change to None takes the field out."""
    whole = {
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": NUMBER,
        "transaction_id": TRANSACTION,
        "trade_state": state,
        "success_time": "2026-11-21T18:10:34+08:00",
        "amount": {"total": 12900, "payer_total": 12000, "currency": "CNY"},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def refund(status: str | None = "PROCESSING", **changes: Any) -> dict[str, Any]:
    """A refund object as answered to a refund call or its query."""
    whole = {
        "refund_id": "50300909876202611220123456789",
        "out_refund_no": REFUND_NUMBER,
        "out_trade_no": NUMBER,
        "status": status,
        "amount": {"total": 12900, "refund": 2900, "currency": "CNY"},
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def vector_callback(name: str = "payment_success") -> RawCallback:
    found = VECTORS["notifications"][name]
    return RawCallback(headers=lower(found["headers"]), body=found["body"].encode())


def callback(
    kind: str, content: Any, *, resource: Mapping[str, Any] | None = None, **envelope: Any
) -> RawCallback:
    """A genuine notification: encrypted and signed by the platform."""
    plain = content if isinstance(content, bytes) else json.dumps(content).encode()
    sealed = AESGCM(APIV3_KEY.encode()).encrypt(b"Zx3TQ9aLmP0k", plain, b"aad")
    inner: dict[str, Any] = {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": "aad",
        "nonce": "Zx3TQ9aLmP0k",
    }
    whole = {
        "id": "ev-1",
        "event_type": kind,
        "resource": inner | dict(resource or {}),
        **CALLBACK,
        **envelope,
    }
    return sealed_callback(json.dumps(whole).encode())


def sealed_callback(body: bytes) -> RawCallback:
    return RawCallback(headers=sign(body), body=body)
