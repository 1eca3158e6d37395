"""The other side of the UnionPay adapter in these tests: published vectors, an authority, and what UnionPay signs."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID

from payments.channels.base import ChannelError, RawCallback
from payments.channels.seals import load_private_key
from payments.channels.unionpay import UnionPay
from payments.channels.unionpay_seals import Trust, load_certificate
from payments.channels.wire import Reply

from . import party
from .party import ScriptedWire, load_vectors, make_attempt, make_refund, without_none

VECTORS = load_vectors("unionpay")
MERCHANT, THEIRS, STATEMENT = VECTORS["merchant"], VECTORS["unionpay"], VECTORS["statement"]
MER_ID = VECTORS["merId"]
MERCHANT_KEY = load_private_key(MERCHANT["private_key_pkcs8_pem"])
SIGNER_KEY = load_private_key(THEIRS["sign_private_key_pkcs8_pem"])
MIDDLE_KEY = load_private_key(THEIRS["intermediate_ca_private_key_pkcs8_pem"])
ROOT, MIDDLE = load_certificate(THEIRS["root_ca_pem"]), load_certificate(THEIRS["intermediate_ca_pem"])
SIGNER = "中国银联股份有限公司"
TRUST = Trust(roots=(ROOT,), middles=(MIDDLE,), signer=SIGNER)

BEIJING = timezone(timedelta(hours=8))
NUMBER, REFUND_NUMBER = "ND20261121A0000003", "NDR20261122A0000003"
QUERY_ID, REFUND_QUERY_ID = "202611211810050000018", "202611220901020000028"
STARTED_AT = datetime(2026, 11, 21, 18, 10, 5, tzinfo=BEIJING)
REFUND_STARTED_AT = datetime(2026, 11, 22, 9, 1, 2, tzinfo=BEIJING)
EXPIRES_AT = datetime(2026, 11, 21, 18, 40, 5, tzinfo=BEIJING)
NOW = STARTED_AT.astimezone(UTC)
PAID_AT = datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)
LATER = EXPIRES_AT + timedelta(minutes=6)

ORDER = make_attempt("unionpay", NUMBER, started_at=STARTED_AT, expires_at=EXPIRES_AT)
REFUND = make_refund(ORDER, REFUND_NUMBER, channel_number=QUERY_ID, started_at=REFUND_STARTED_AT)


def make_unionpay(
    *replies: Reply | ChannelError, wire: Any = None, now: datetime = NOW, **changes: Any
) -> UnionPay:
    given: dict[str, Any] = {
        "base_url": "https://gateway.example",
        "statement_url": "https://files.example/",
        "mer_id": MER_ID,
        "key": MERCHANT_KEY,
        "cert_id": MERCHANT["certId_decimal"],
        "trust": TRUST,
        "wire": wire or ScriptedWire(*replies),
        "clock": lambda: now,
    }
    return UnionPay(**given | changes)


# ---- certificates and signatures, written a second time ----------------------------------------------------------


def certify(
    name: str, key: Any = SIGNER_KEY, *, issuer: Any = MIDDLE, issuer_key: Any = MIDDLE_KEY, **days: datetime
) -> str:
    """A certificate in PEM with CRLF and no line end behind it, as messages hold it."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(days.get("begins", datetime(2024, 1, 1, tzinfo=UTC)))
        .not_valid_after(days.get("ends", datetime(2044, 1, 1, tzinfo=UTC)))
        .sign(issuer_key, hashes.SHA256())
    )
    return with_crlf(certificate.public_bytes(serialization.Encoding.PEM).decode())


def with_crlf(pem: str) -> str:
    return "\r\n".join(pem.strip().splitlines())


CERTIFICATE = with_crlf(THEIRS["sign_cert_pem"])


def of_no_version(pem: str) -> str:
    """The certificate with one byte changed, so that it says to be of a version that there is not."""
    der = ssl.PEM_cert_to_DER_cert(pem.replace("\r\n", "\n") + "\n")
    version_3 = b"\xa0\x03\x02\x01\x02"
    assert version_3 in der
    return with_crlf(ssl.DER_cert_to_PEM_cert(der.replace(version_3, version_3[:-1] + b"\x12", 1)))


def sign(params: Mapping[str, str], key: Any = SIGNER_KEY) -> str:
    text = "&".join(
        f"{name}={params[name]}" for name in sorted(params) if params[name] and name != "signature"
    )
    digest = hashlib.sha256(text.encode()).hexdigest().encode()
    return base64.b64encode(key.sign(digest, padding.PKCS1v15(), hashes.SHA256())).decode()


def seal(
    params: Mapping[str, Any], *, key: Any = SIGNER_KEY, certificate: str = CERTIFICATE
) -> dict[str, str]:
    """A message of UnionPay's; a parameter of None is left out."""
    whole = without_none(
        {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "merId": MER_ID,
            "accessType": "0",
            "signPubKeyCert": certificate,
            **params,
        }
    )
    return whole | {"signature": sign(whole, key)}


def raw(params: Mapping[str, str]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in params.items()).encode()


def reply(params: Mapping[str, Any] | bytes, *, status: int = 200, **how: Any) -> Reply:
    """An answer that is rightly signed, unless it is bytes."""
    return party.reply(status, params if isinstance(params, bytes) else raw(seal(params, **how)))


def vector_reply(name: str) -> Reply:
    return reply(VECTORS["responses"][name]["raw_body_not_urlencoded"].encode())


# ---- what is answered --------------------------------------------------------------------------------------------

IDENTITY = {"orderId": NUMBER, "txnTime": "20261121181005"}
REFUND_IDENTITY = {"orderId": REFUND_NUMBER, "txnTime": "20261122090102"}


def created(code: str | None = "00", **changes: Any) -> dict[str, Any]:
    return {**IDENTITY, "respCode": code, "qrCode": "https://qr.95516.com/00010000/6200", **changes}


def trade(code: str | None = "00", **changes: Any) -> dict[str, Any]:
    """The answer to a query about a payment."""
    return {
        **IDENTITY,
        "respCode": "00",
        "origRespCode": code,
        "txnType": "01",
        "txnSubType": "07",
        "txnAmt": "12900",
        "currencyCode": "156",
        "queryId": QUERY_ID,
        "traceTime": "1121181034",
        **changes,
    }


def refund(code: str | None = "00", **changes: Any) -> dict[str, Any]:
    """The answer to a query about a refund."""
    return {
        **REFUND_IDENTITY,
        "respCode": "00",
        "origRespCode": code,
        "txnType": "04",
        "txnSubType": "00",
        "txnAmt": "2900",
        "currencyCode": "156",
        "queryId": REFUND_QUERY_ID,
        "origQryId": QUERY_ID,
        **changes,
    }


def refund_answer(code: str | None = "00", **changes: Any) -> dict[str, Any]:
    """The answer to a refund itself."""
    return {**REFUND_IDENTITY, "respCode": code, "queryId": REFUND_QUERY_ID, **changes}


def notice(**changes: Any) -> dict[str, Any]:
    """The parameters of a payment's notification: as of a query, but respCode is the trade's own."""
    return {**trade(), "origRespCode": None, "respCode": "00", **changes}


def callback(params: Mapping[str, Any], **how: Any) -> RawCallback:
    """A notification that is rightly signed."""
    return form(seal(params, **how))


def form(params: Mapping[str, str]) -> RawCallback:
    return RawCallback(headers={}, body=urlencode(params).encode())


def vector_callback(name: str) -> RawCallback:
    return RawCallback(headers={}, body=VECTORS["notifications"][name]["form_body_urlencoded"].encode())
