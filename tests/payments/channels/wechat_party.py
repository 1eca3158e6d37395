"""The other side of the WeChat adapter in these tests: published vectors, and what the platform seals."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payments.channels.base import ChannelError, RawCallback
from payments.channels.seals import load_private_key, load_public_key, sign_rsa_sha256
from payments.channels.wechat import WeChat
from payments.channels.wire import Reply

from . import party
from .party import ScriptedWire, load_vectors, lower, make_attempt, make_refund, without_none

VECTORS = load_vectors("wechat")
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

ORDER = make_attempt("wechat", NUMBER, started_at=NOW, expires_at=EXPIRES_AT)
REFUND = make_refund(ORDER, REFUND_NUMBER, channel_number=TRANSACTION)
CALLBACK = {"create_time": "2026-11-21T18:10:35+08:00", "resource_type": "encrypt-resource", "summary": "x"}


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
    plain = party.reply(status, body)
    return replace(plain, headers=sign(plain.body) if headers is None else headers)


def error(status: int, code: str, *, signed: bool = True) -> Reply:
    return reply(status, {"code": code, "message": "no"}, headers=None if signed else {})


def vector_reply(status: int, name: str) -> Reply:
    found = VECTORS["responses"][name]
    return reply(status, found["body"].encode(), headers=lower(found["headers"]))


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
    return without_none(whole)


def refund(status: str | None = "PROCESSING", **changes: Any) -> dict[str, Any]:
    """A refund object as answered to a refund call or its query."""
    whole = {
        "refund_id": "50300909876202611220123456789",
        "out_refund_no": REFUND_NUMBER,
        "out_trade_no": NUMBER,
        "status": status,
        "amount": {"total": 12900, "refund": 2900, "currency": "CNY"},
    } | changes
    return without_none(whole)


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
