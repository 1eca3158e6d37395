"""The other side of the PayPal adapter in these tests: vectors, what PayPal answers, and signed webhooks."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import Store

from payments.channels.base import ChannelError, Outcome, PaymentReport, RawCallback, RefundReport
from payments.channels.paypal import PayPal
from payments.channels.paypal_webhooks import Certificates
from payments.channels.seals import load_private_key, sign_rsa_sha256
from payments.channels.wire import Reply

from . import party
from .party import give, load_vectors, lower, make_attempt, make_refund, reply, without_none

VECTORS = load_vectors("paypal")
SIGNING = VECTORS["signing"]
KEY = load_private_key(SIGNING["private_key_pkcs8_pem"])
ROOT_KEY = load_private_key(SIGNING["root_ca_private_key_pkcs8_pem"])
WEBHOOK_ID = VECTORS["webhook_id"]
MERCHANT_ID = "XYZTHROWAWAY1"
HOST = "messageverificationcerts.paypal.com"
CERT_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-throwaway"

NUMBER, REFUND_NUMBER = "NDP20261121A0000004", "NDR20261122A0000004"
ORDER_ID, CAPTURE_ID, REFUND_ID = "5O190127TN364715T", "3C679366HH908993F", "1JU08902781691411"
LINK = f"https://www.paypal.com/checkoutnow?token={ORDER_ID}"
NOW = datetime(2026, 11, 21, 10, 10, 40, tzinfo=UTC)
PAID_AT = datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)
USD: dict[str, Any] = {"currency_code": "USD", "value": "19.90"}

ATTEMPT = make_attempt(
    "paypal",
    NUMBER,
    scene="page",
    amount_minor=1990,
    currency="USD",
    description="2 x T-shirt",
    started_at=NOW,
    expires_at=NOW + timedelta(minutes=30),
    return_url="https://shop.example/orders/1/",
    handle=ORDER_ID,
    capture_id=f"{NUMBER}C1",
)
REFUND = make_refund(ATTEMPT, REFUND_NUMBER, channel_number=CAPTURE_ID, amount_minor=500, handle=REFUND_ID)


class ScriptedWire(party.ScriptedWire):
    """As of every channel, with a token given by itself, so that scripts hold only what is asked with it.

    `tokens` are other answers to that.
    """

    def __init__(
        self, *replies: Reply | ChannelError, tokens: list[Reply | ChannelError] | None = None
    ) -> None:
        super().__init__(*replies)
        self.tokens = tokens
        self.tokens_sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, **rest: Any) -> Reply:
        if not url.endswith("/v1/oauth2/token"):
            return super().send(method, url, **rest)
        self.tokens_sent.append({"method": method, "url": url, **rest})
        if self.tokens is None:
            return token(f"A21AA{len(self.tokens_sent)}")
        return give(self.tokens.pop(0))


def sent_body(wire: ScriptedWire, place: int = 0) -> Any:
    return json.loads(wire.sent[place]["body"])


def make_paypal(
    *replies: Reply | ChannelError, wire: Any = None, now: datetime = NOW, **changes: Any
) -> PayPal:
    """An adapter that verifies webhooks by the vectors' key, under a certificate of the vectors' root."""
    wire = wire or ScriptedWire(*replies)
    given: dict[str, Any] = {
        "base_url": "https://api.example",
        "client_id": VECTORS["client_id"],
        "client_secret": VECTORS["client_secret"],
        "merchant_id": MERCHANT_ID,
        "webhook_ids": [WEBHOOK_ID],
        "wire": wire,
        "certificates": Certificates(CertificateWire(), lambda: Store([ROOT])),  # type: ignore[arg-type]
        "clock": lambda: now,
    }
    return PayPal(**given | changes)


def token(text: str = "A21AAtoken", **changes: Any) -> Reply:
    whole = {"access_token": text, "token_type": "Bearer", "expires_in": 32400} | changes
    return reply(200, without_none(whole))


def error(status: int, issue: str, name: str = "") -> Reply:
    names = {
        400: "INVALID_REQUEST",
        403: "NOT_AUTHORIZED",
        404: "RESOURCE_NOT_FOUND",
        422: "UNPROCESSABLE_ENTITY",
    }
    details = [{"issue": issue, "description": "no"}]
    return reply(status, {"name": name or names.get(status, "OTHER"), "message": "no", "details": details})


def order(
    status: str = "COMPLETED", *captures: dict[str, Any], unit: Any = None, **changes: Any
) -> dict[str, Any]:
    """An order as a query answers it; a change to None takes the field out."""
    whole_unit = without_none(
        {
            "reference_id": "default",
            "custom_id": f"payment:{NUMBER}",
            "invoice_id": NUMBER,
            "amount": USD,
            "payee": {"merchant_id": MERCHANT_ID},
        }
        | ({"payments": {"captures": list(captures)}} if captures else {})
        | (unit or {})
    )
    whole = {"id": ORDER_ID, "intent": "CAPTURE", "status": status, "purchase_units": [whole_unit]}
    return without_none(whole | changes)


def capture(status: str | None = "COMPLETED", **changes: Any) -> dict[str, Any]:
    whole = {
        "id": CAPTURE_ID,
        "status": status,
        "amount": USD,
        "custom_id": f"payment:{NUMBER}",
        "invoice_id": NUMBER,
        "create_time": "2026-11-21T10:10:34Z",
    }
    return without_none(whole | changes)


def refund(status: str | None = "COMPLETED", **changes: Any) -> dict[str, Any]:
    whole = {
        "id": REFUND_ID,
        "status": status,
        "amount": {"currency_code": "USD", "value": "5.00"},
        "custom_id": REFUND_NUMBER,
        "invoice_id": REFUND_NUMBER,
        "links": [{"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{CAPTURE_ID}"}],
    }
    return without_none(whole | changes)


# ---- what is read from them ---

CREATED = {
    "id": ORDER_ID,
    "status": "PAYER_ACTION_REQUIRED",
    "links": [{"rel": "payer-action", "href": LINK}],
}
PAID = PaymentReport(
    outcome=Outcome.SUCCEEDED,
    number=NUMBER,
    channel_number=CAPTURE_ID,
    amount_minor=1990,
    currency="USD",
    paid_at=PAID_AT,
    code="COMPLETED",
)
REFUNDED = RefundReport(
    outcome=Outcome.SUCCEEDED,
    number=REFUND_NUMBER,
    channel_number=REFUND_ID,
    trade_number=CAPTURE_ID,
    amount_minor=500,
    code="COMPLETED",
)

# ---- transaction search ---


def info(**changes: Any) -> dict[str, Any]:
    whole = {
        "transaction_id": CAPTURE_ID,
        "transaction_event_code": "T0006",
        "transaction_initiation_date": "2026-11-20T10:10:34Z",
        "transaction_amount": USD,
        "fee_amount": {"currency_code": "USD", "value": "-1.08"},
        "transaction_status": "S",
        "invoice_id": NUMBER,
        "custom_field": f"payment:{NUMBER}",
    } | changes
    return without_none(whole)


def refund_info(**changes: Any) -> dict[str, Any]:
    return info(
        **{
            "transaction_id": REFUND_ID,
            "transaction_event_code": "T1107",
            "transaction_initiation_date": "2026-11-20T12:01:02+0000",
            "transaction_amount": {"currency_code": "USD", "value": "-5.00"},
            "fee_amount": None,
            "invoice_id": REFUND_NUMBER,
            "custom_field": None,
            "paypal_reference_id": CAPTURE_ID,
            "paypal_reference_id_type": "TXN",
        }
        | changes
    )


def page(
    *infos: Any, number: int = 1, pages: Any = 1, items: int | None = None, **changes: Any
) -> dict[str, Any]:
    """One page of a search that found `items` transactions, those of this page where nothing else is said."""
    whole = {
        "transaction_details": [{"transaction_info": one} for one in infos],
        "account_number": MERCHANT_ID,
        "last_refreshed_datetime": "2026-11-21T03:59:59Z",
        "page": number,
        "total_items": len(infos) if items is None else items,
        "total_pages": pages,
    } | changes
    return without_none(whole)


# ---- webhooks ----------------------------------------------------------------------------------------------------


def sign(
    body: bytes, *, at: datetime = NOW, key: RSAPrivateKey = KEY, webhook_id: str = WEBHOOK_ID
) -> dict[str, str]:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"69cd13f0-d67a-11e5-baa3-778b53f4ae55|{stamp}|{webhook_id}|{zlib.crc32(body)}"
    return {
        "paypal-transmission-id": "69cd13f0-d67a-11e5-baa3-778b53f4ae55",
        "paypal-transmission-time": stamp,
        "paypal-transmission-sig": sign_rsa_sha256(key, text.encode()),
        "paypal-cert-url": CERT_URL,
        "paypal-auth-algo": "SHA256withRSA",
    }


def event(kind: str, resource: Any, **envelope: Any) -> RawCallback:
    """A genuine webhook."""
    body = json.dumps(
        without_none({"id": "WH-1", "event_type": kind, "resource": resource} | envelope)
    ).encode()
    return sealed(body)


def sealed(body: bytes) -> RawCallback:
    return RawCallback(headers=sign(body), body=body)


def vector_callback(name: str = "capture_completed") -> RawCallback:
    found = VECTORS["webhooks"][name]
    return RawCallback(headers=lower(found["headers"]), body=found["body"].encode())


def forge_same_crc(body: bytes, crc: int) -> bytes:
    """The JSON object `body` with a field added so that its CRC-32 is `crc`: a CRC is linear, so this is no search."""
    room = b'"padding":"' + b"A" * 64 + b'",'
    base, start = body[:1] + room + body[1:], 1 + len(b'"padding":"')
    basis: dict[
        int, tuple[int, int]
    ] = {}  # by the highest bit: what toggling some letters does, and which letters
    for place in range(64):
        toggled = bytearray(base)
        toggled[start + place] ^= 0x20  # A to a
        change, letters = zlib.crc32(base) ^ zlib.crc32(bytes(toggled)), 1 << place
        while change and change.bit_length() in basis:
            other = basis[change.bit_length()]
            change, letters = change ^ other[0], letters ^ other[1]
        if change:
            basis[change.bit_length()] = (change, letters)
    wanted, letters = zlib.crc32(base) ^ crc, 0
    while wanted:
        change, which = basis[wanted.bit_length()]
        wanted, letters = wanted ^ change, letters ^ which
    forged = bytearray(base)
    for place in range(64):
        forged[start + place] ^= 0x20 if letters >> place & 1 else 0
    return bytes(forged)


# ---- certificates: a strict verifier wants more of them than the vectors' have --------------------------------------


def issue(
    name: str,
    key: RSAPrivateKey,
    *,
    issuer: str = "Test Root",
    issuer_key: RSAPrivateKey = ROOT_KEY,
    is_ca: bool = False,
    hosts: tuple[str, ...] = (),
    start: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=30),
) -> x509.Certificate:
    """A certificate as a public authority would issue it."""
    public, usage = (
        key.public_key(),
        dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        ),
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    if not is_ca:
        usages = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(usages, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


LONG = {"start": datetime(2024, 1, 1, tzinfo=UTC), "end": datetime(2044, 1, 1, tzinfo=UTC)}
ROOT = issue("Test Root", ROOT_KEY, is_ca=True, **LONG)  # type: ignore[arg-type]
LEAF = issue(HOST, KEY, hosts=(HOST,))


class CertificateWire:
    """Answers every address with one file."""

    def __init__(self, *answers: Reply | ChannelError) -> None:
        self.answers = list(answers)
        self.urls: list[str] = []

    def send(self, method: str, url: str, **rest: Any) -> Reply:
        assert (method, rest.get("body")) == ("GET", None)
        assert "Authorization" not in rest["headers"]
        self.urls.append(url)
        return give(self.answers.pop(0) if self.answers else reply(200, pem_of(LEAF)))
