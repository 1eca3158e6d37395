"""UnionPay's envelope: parameters as text, the digest that is signed, and the certificates that say who signed.

Every message carries its signer's certificate, so a signature alone proves nothing: the certificate must lead to
UnionPay's root and name UnionPay. Nothing here knows what a parameter means. Source: the technical documentation of
UnionPay's online gateway 5.1.0 (open.unionpay.com), its sections on signing and verification, and its demo packages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509 import Certificate, InvalidVersion, load_pem_x509_certificate
from cryptography.x509.oid import NameOID

from .base import NotGenuine
from .fields import BadField
from .seals import MIN_RSA_BITS, BadKey, read_file, sign_rsa_sha256, verify_rsa_sha256

SIGN_METHOD = "01"  # RSA with SHA-256; the others are shared secrets
VERSION = "5.1.0"  # 5.0.0 signs SHA-1
MAX_FIELDS = 100
MAX_CERTIFICATE = 8_000  # characters of PEM; UnionPay's has some 1,400
_NAME = re.compile(r"[0-9A-Za-z_]{1,64}")
_MARK = re.compile(r"[&{}\[\]]")


# ---- parameters as text ------------------------------------------------------------------------------------------


def parse_answer(raw: bytes) -> dict[str, str]:
    """The parameters of an answer: `k=v&k=v`, not url-encoded, where `&` inside brackets is part of a value.

    Values keep `+`, `=`, blanks and line ends as they came: the signature covers them. Raises BadField.
    """
    return _collect(part.partition("=")[::2] for part in _split(_decode(raw)))


def parse_form(raw: bytes) -> dict[str, str]:
    """The parameters of a notification, an ordinary url-encoded form. Raises BadField."""
    try:
        pairs = parse_qsl(
            _decode(raw),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise BadField("not a form") from error
    return _collect(iter(pairs))


def write_text(params: Mapping[str, str]) -> str:
    """What is signed: all parameters but `signature` and the empty ones, by name. `certId` and `signMethod` are in it."""
    return "&".join(f"{name}={value}" for name, value in sorted(signed_part(params).items()))


def signed_part(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters that a signature covers: an empty one can be added or taken away by anybody."""
    return {name: value for name, value in params.items() if name != "signature" and value}


def _split(text: str) -> Iterator[str]:
    depth = start = 0
    for mark in _MARK.finditer(text):
        if mark[0] != "&":
            depth += 1 if mark[0] in "{[" else -1
        elif depth == 0:
            yield text[start : mark.start()]
            start = mark.end()
    yield text[start:]


def _collect(pairs: Iterator[tuple[str, ...]]) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, value in pairs:
        if name in params or not _NAME.fullmatch(name) or len(params) >= MAX_FIELDS:
            raise BadField("parameters")
        params[name] = value
    return params


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadField("not UTF-8") from error


# ---- signatures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe: UnionPay's root and intermediate certificates, and the name its signer's certificate must bear.

    There may be two of each while UnionPay changes them.
    """

    roots: tuple[Certificate, ...]
    middles: tuple[Certificate, ...]
    signer: str

    def __post_init__(self) -> None:
        if not self.signer:
            raise BadKey("UnionPay's signer has a name")


def sign(key: RSAPrivateKey, params: Mapping[str, str]) -> str:
    """The signature over parameters that hold their `signMethod` and `certId` already, in Base64."""
    return sign_rsa_sha256(key, _digest(params))


def verify(params: Mapping[str, str], trust: Trust, now: datetime) -> dict[str, str]:
    """The parameters that UnionPay signed, without the ones that it did not. Raises NotGenuine."""
    if params.get("signMethod") != SIGN_METHOD or params.get("version") != VERSION:
        raise NotGenuine("method")
    signed = signed_part(params)
    # The same text could be cut into other parameters: only the cut that reading it gives is believed.
    if _reread(signed) != signed:
        raise NotGenuine("ambiguous")
    key = _find_key(params.get("signPubKeyCert", ""), trust, now)
    if not verify_rsa_sha256(key, params.get("signature", ""), _digest(params)):
        raise NotGenuine("signature")
    return signed


def _reread(signed: Mapping[str, str]) -> dict[str, str] | None:
    try:
        return parse_answer(write_text(signed).encode())
    except (BadField, UnicodeEncodeError):
        return None


def _digest(params: Mapping[str, str]) -> bytes:
    # Hashed twice: RSA signs the lower-case hexadecimal text of this hash, not the text itself.
    return hashlib.sha256(write_text(params).encode()).hexdigest().encode()


# ---- certificates ------------------------------------------------------------------------------------------------


def _find_key(pem: str, trust: Trust, now: datetime) -> RSAPublicKey:
    """The key of a certificate that leads to a root and names UnionPay. Raises NotGenuine."""
    try:
        certificate = load_certificate(pem if len(pem) <= MAX_CERTIFICATE else "")
    except BadKey as error:
        raise NotGenuine("certificate") from error
    chain = find_chain(certificate, trust)
    if chain is None:
        raise NotGenuine("chain")
    if not all(is_valid_at(link, now) for link in chain):
        raise NotGenuine("validity")
    # The authority that certifies UnionPay certifies its merchants too: without the name each of them could sign.
    if name_signer(certificate) != trust.signer:
        raise NotGenuine("signer")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise NotGenuine("certificate")
    return key


def find_chain(certificate: Certificate, trust: Trust) -> tuple[Certificate, ...] | None:
    """The certificate, the intermediate one that issued it and the root above; None when it leads to no root."""
    for middle in trust.middles:
        for root in trust.roots:
            if is_issued_by(certificate, middle) and is_issued_by(middle, root):
                return certificate, middle, root
    return None


def is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_valid_at(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def name_signer(certificate: Certificate) -> str:
    """The third of the four parts of the common name, `041@8310000000083040@中国银联股份有限公司@00016493`; else empty."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    parts = str(names[0].value).split("@") if len(names) == 1 else []
    return parts[2] if len(parts) == 4 else ""


def load_certificate(pem: str) -> Certificate:
    """Read one X.509 certificate in PEM. Raises BadKey."""
    try:
        certificate = load_pem_x509_certificate(pem.encode())
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidVersion) as error:
        raise BadKey("not a certificate in PEM") from error
    return certificate


def read_certificate(path: str) -> Certificate:
    """Load a certificate from a PEM file. Raises BadKey, naming the file."""
    return read_file(path, load_certificate)


def read_certificates(paths: str) -> tuple[Certificate, ...]:
    """Load one certificate, or two with a comma between the files. Raises BadKey, naming the file."""
    return tuple(read_certificate(path.strip()) for path in paths.split(","))
