"""Whether a webhook is PayPal's: its transmission, its signature, and the certificate that the signature names.

What is signed holds only a CRC-32 of the body, so whoever has seen one message can write another that the same signature
fits: this room proves a sender, never a content, and nothing is believed before PayPal was asked. Source: "Integrate
webhooks" and "Verify webhook signature" of PayPal's REST documentation (developer.paypal.com, read November 2026).
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import (
    Certificate,
    DNSName,
    InvalidVersion,
    load_pem_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from .base import ChannelError, NotGenuine
from .fields import BadField, is_word, parse_json
from .seals import verify_rsa_sha256
from .wire import Wire

ALGORITHM = "SHA256withRSA"
# No window is documented. PayPal tries a message up to 25 times in 3 days, and whether a later try has a time of its own is
# not said: a day more than that refuses no genuine one. A replay inside it repeats what is known, by the event's id.
OLDEST = timedelta(days=4)
AHEAD = timedelta(minutes=5)  # clocks differ
# Anybody may name an address, so only PayPal's own hosts are asked: no user name, port, query or escape in it.
CERT_URL = re.compile(r"https://(?:[a-z0-9-]+\.)*paypal\.com/[A-Za-z0-9/._-]+")
CERT_HOST_SUFFIX = ".paypal.com"
CERT_KEPT_FOR = timedelta(days=1)  # then fetched and verified anew: an expired or replaced one is noticed
CERTS_KEPT = 8
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ID = re.compile(r"[0-9A-Za-z-]{1,50}")
# What is kept of an event, at whatever depth. What a name that is not here holds is cut with it: payer, payment_source,
# shipping, buyer, note_to_payer, and links, whose capture is in the report.
KEPT = frozenset(
    {
        *("id", "event_type", "event_version", "resource_type", "resource_version", "create_time"),
        *("update_time", "resource", "intent", "status", "reference_id", "custom_id", "invoice_id"),
        *("order_id", "final_capture", "purchase_units", "payments", "captures", "refunds"),
        *("supplementary_data", "related_ids", "seller_receivable_breakdown", "gross_amount", "paypal_fee"),
        *("net_amount", "seller_payable_breakdown", "total_refunded_amount", "amount", "currency_code"),
        *("value", "dispute_id", "dispute_state", "dispute_amount", "disputed_transactions"),
        *("seller_transaction_id", "reason"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """The headers of one message: all that PayPal says beside the body. `time` is as it was signed."""

    id: str
    time: str
    signature: str
    cert_url: str


def read_transmission(headers: Mapping[str, str], now: datetime) -> Transmission:
    """The headers, as far as they can be judged without a key. Raises NotGenuine."""
    transmission = Transmission(
        id=headers.get("paypal-transmission-id", ""),
        time=headers.get("paypal-transmission-time", ""),
        signature=headers.get("paypal-transmission-sig", ""),
        cert_url=headers.get("paypal-cert-url", ""),
    )
    if headers.get("paypal-auth-algo") != ALGORITHM:
        raise NotGenuine("algorithm")
    # A "|" in the id would move text between it and the time under one signature.
    if not _ID.fullmatch(transmission.id):
        raise NotGenuine("transmission_id")
    if not -AHEAD <= now - _read_time(transmission.time) <= OLDEST:
        raise NotGenuine("transmission_time")
    if len(transmission.cert_url) > 500 or not CERT_URL.fullmatch(transmission.cert_url):
        raise NotGenuine("cert_url")
    if not is_word(transmission.signature, limit=1000):
        raise NotGenuine("signature")
    return transmission


def _read_time(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}(Z|[+-][0-9]{2}:?[0-9]{2})", text):
        raise NotGenuine("transmission_time")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotGenuine("transmission_time") from error


def verify_signature(
    transmission: Transmission, body: bytes, *, webhook_ids: Sequence[str], key: RSAPublicKey
) -> None:
    """Raises NotGenuine unless the key signed this body for one of our webhooks."""
    for webhook_id in webhook_ids:
        text = f"{transmission.id}|{transmission.time}|{webhook_id}|{zlib.crc32(body)}"
        if verify_rsa_sha256(key, transmission.signature, text.encode()):
            return
    raise NotGenuine("signature")


def write_postback(transmission: Transmission, body: bytes, webhook_id: str) -> bytes:
    """The question to PayPal whether a message is its own, with the event byte for byte as it came. Raises NotGenuine.

    The body is looked at before anything is verified, but only to see that it is one JSON object: anything else would
    write other fields into our question.
    """
    try:
        parse_json(body)
    except BadField as error:
        raise NotGenuine("body") from error
    asked = {
        "auth_algo": ALGORITHM,
        "cert_url": transmission.cert_url,
        "transmission_id": transmission.id,
        "transmission_sig": transmission.signature,
        "transmission_time": transmission.time,
        "webhook_id": webhook_id,
    }
    return json.dumps(asked).encode()[:-1] + b', "webhook_event": ' + body + b"}"


def cut_event(body: bytes) -> bytes:
    """What is kept of a genuine event: nothing about the payer, so its signature fits it no more."""
    return json.dumps(_cut(parse_json(body))).encode()


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(inner) for name, inner in value.items() if name in KEPT}
    return [_cut(inner) for inner in value] if isinstance(value, list) else value


# ---- certificates ------------------------------------------------------------------------------------------------


@cache
def load_public_roots() -> Store:
    """The public authorities that PayPal's own hosts are trusted by; one that cannot be read is trusted for nothing."""
    roots = []
    for pem in _PEM.findall(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes()):
        with contextlib.suppress(ValueError, InvalidVersion), warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # an old root's serial number
            roots.append(load_pem_x509_certificate(pem))
    return Store(roots)


class Certificates:
    """PayPal's signing certificates by address: fetched once, verified, kept for a day. `load_roots` is a seam for tests."""

    def __init__(self, wire: Wire, load_roots: Callable[[], Store] = load_public_roots) -> None:
        self._wire, self._load_roots = wire, load_roots
        self._kept: dict[str, tuple[RSAPublicKey, datetime]] = {}

    def find_key(self, url: str, now: datetime) -> RSAPublicKey:
        """The key of the certificate at an address that was read as PayPal's, fetched where it is not kept. Raises NotGenuine.

        That it cannot be had at this moment is told likewise: PayPal sends the message again.
        """
        return self.kept_key(url, now) or self._fetch_key(url, now)

    def kept_key(self, url: str, now: datetime) -> RSAPublicKey | None:
        """The key of a certificate that need not be fetched."""
        key, until = self._kept.get(url, (None, now))
        return key if now < until else None

    def _fetch_key(self, url: str, now: datetime) -> RSAPublicKey:
        key = read_certificate(self._fetch(url), roots=self._load_roots(), now=now)
        kept = {known: value for known, value in self._kept.items() if now < value[1] and known != url}
        self._kept = dict(list(kept.items())[-CERTS_KEPT + 1 :]) | {url: (key, now + CERT_KEPT_FOR)}
        return key

    def _fetch(self, url: str) -> bytes:
        try:
            reply = self._wire.send("GET", url, headers={"User-Agent": "nodrop"}, operation="certificate")
        except ChannelError as error:
            raise NotGenuine("certificate_unavailable") from error
        if reply.status != 200:
            raise NotGenuine("certificate_unavailable")
        return reply.body


def read_certificate(pem: bytes, *, roots: Store, now: datetime) -> RSAPublicKey:
    """The key of the first certificate of a file, those after it leading to a public root. Raises NotGenuine."""
    try:
        leaf, *others = load_pem_x509_certificates(pem)
        policy = PolicyBuilder().store(roots).time(now.astimezone(UTC).replace(tzinfo=None))
        policy.build_server_verifier(DNSName(_read_name(leaf))).verify(leaf, others)
    except (ValueError, InvalidVersion, VerificationError) as error:
        raise NotGenuine("certificate") from error
    key = leaf.public_key()
    if not isinstance(key, RSAPublicKey):
        raise NotGenuine("certificate")
    return key


def _read_name(leaf: Certificate) -> str:
    """Its common name, which must be a host of PayPal's."""
    names = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1 or not names[0].endswith(CERT_HOST_SUFFIX):
        raise NotGenuine("certificate")
    return names[0]
