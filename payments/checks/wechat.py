"""WeChat Pay's configuration. Ids 002 to 006 and 010 to 029."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate, load_pem_x509_certificate
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice

from payments.channels.seals import BadKey, read_private_key, read_public_key
from payments.channels.wechat import list_platform_keys
from payments.checks.parts import check_host, check_permissions

# So begins the serial of every certificate that the sandbox makes for a merchant.
SANDBOX_SERIAL_PREFIX = "5A4DB0C5"
PUBLIC_KEY_ID_PREFIX = "PUB_KEY_ID_"
RENEW_BEFORE = timedelta(days=30)


def check(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Its identities, its keys and its address."""
    yield from check_identities(wechat)
    yield from check_merchant_key(wechat)
    yield from check_merchant_certificate(wechat)
    yield from check_platform_keys(wechat)
    yield from check_host(
        "WECHAT_BASE_URL", wechat["BASE_URL"], "https://api.mch.weixin.qq.com", code="payments.E002"
    )
    if not settings.DEBUG and wechat["MERCHANT_SERIAL"].upper().startswith(SANDBOX_SERIAL_PREFIX):
        yield Error(
            "WeChat Pay is configured with keys of the sandbox while DEBUG is off.",
            hint="Put the merchant's own credentials into the WECHAT_ variables: the sandbox pays with no money.",
            id="payments.E003",
        )


def check_identities(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    """What is copied by hand from the merchant site, by its shape."""
    if len(wechat["APIV3_KEY"].encode()) != 32:
        yield Error(
            "WECHAT_APIV3_KEY does not have 32 characters.",
            hint="Copy the APIv3 key from the merchant site (account centre, API security).",
            id="payments.E004",
        )
    shapes = (
        ("MCHID", r"[0-9]{8,10}", "It has 8 to 10 digits.", "payments.E010"),
        ("APPID", r"wx[0-9a-z]{16}", "It is wx and 16 characters, bound to the merchant.", "payments.E011"),
        (
            "MERCHANT_SERIAL",
            r"[0-9A-Fa-f]{40}",
            "It is 40 hex digits of apiclient_cert.pem.",
            "payments.E012",
        ),
    )
    for name, shape, hint, code in shapes:
        if not re.fullmatch(shape, wechat[name]):
            yield Error(
                f"WECHAT_{name} cannot be one.", hint=f"{hint} Copy it from the merchant site.", id=code
            )


def check_merchant_key(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    """The key that signs what we send."""
    try:
        read_private_key(wechat["MERCHANT_KEY_FILE"])
    except BadKey as error:
        yield Error(
            f"WECHAT_MERCHANT_KEY_FILE cannot be used: {error}.",
            hint="It is the apiclient_key.pem that came with the merchant certificate.",
            id="payments.E005",
        )
    yield from check_permissions("WECHAT_MERCHANT_KEY_FILE", wechat["MERCHANT_KEY_FILE"])


def check_merchant_certificate(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Only where the certificate is there: that it, the key and the serial belong together, and its last day."""
    path = wechat.get("MERCHANT_CERT_FILE", "")
    if not path:
        return
    certificate = _read_certificate(path)
    if certificate is None:
        yield Error(
            f"WECHAT_MERCHANT_CERT_FILE cannot be used: {path} is not a certificate in PEM.",
            hint="It is the apiclient_cert.pem that came with the key. Without it nothing but this check is lost.",
            id="payments.E013",
        )
        return
    if _merchant_public_key(wechat) not in (None, certificate.public_key()):
        yield Error(
            "WECHAT_MERCHANT_KEY_FILE and WECHAT_MERCHANT_CERT_FILE do not belong together.",
            hint="Take apiclient_key.pem and apiclient_cert.pem of the same certificate.",
            id="payments.E014",
        )
    if not _has_serial(certificate, wechat["MERCHANT_SERIAL"]):
        yield Error(
            "WECHAT_MERCHANT_SERIAL is not the serial of WECHAT_MERCHANT_CERT_FILE.",
            hint=f"The certificate's is {certificate.serial_number:X}.",
            id="payments.E015",
        )
    yield from _check_last_day(certificate)


def check_platform_keys(wechat: Mapping[str, str]) -> Iterator[CheckMessage]:
    """The keys that tell WeChat's messages from anybody's."""
    try:
        keys = {key_id: (path, read_public_key(path)) for key_id, path in list_platform_keys(wechat).items()}
    except BadKey as error:
        yield Error(
            f"WECHAT_PLATFORM_KEY_FILE cannot be used: {error}.",
            hint="It is WeChat Pay's public key (or platform certificate), its id in WECHAT_PLATFORM_KEY_ID; "
            "while keys change, two of each by comma.",
            id="payments.E006",
        )
        return
    key_ids = [part.strip() for part in wechat["PLATFORM_KEY_ID"].split(",")]
    if len(keys) < len(key_ids):
        yield Error(
            f"WECHAT_PLATFORM_KEY_ID names one id twice: of {', '.join(key_ids)} only the last file of it would count.",
            hint="Each file has an id of its own, in the same order: take out the one that is there twice, or correct it.",
            id="payments.E020",
        )
    ours = _merchant_public_key(wechat)
    for key_id, (path, key) in keys.items():
        certificate = _read_certificate(path)
        fits = _has_serial(certificate, key_id) if certificate else key_id.startswith(PUBLIC_KEY_ID_PREFIX)
        if not fits:
            yield Error(
                f"WECHAT_PLATFORM_KEY_ID and WECHAT_PLATFORM_KEY_FILE do not belong together: {key_id}.",
                hint="A public key has the id PUB_KEY_ID_…, a platform certificate its serial in hex.",
                id="payments.E016",
            )
        if key == ours:
            yield Error(
                f"WECHAT_PLATFORM_KEY_FILE holds the merchant's own key: {path}.",
                hint="Download WeChat Pay's public key from the merchant site: apiclient_cert.pem is ours.",
                id="payments.E017",
            )


def _check_last_day(certificate: Certificate) -> Iterator[CheckMessage]:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left > RENEW_BEFORE:
        return
    finding = Error if left < timedelta(0) else Advice
    yield finding(
        f"The merchant certificate is valid until {certificate.not_valid_after_utc:%Y-%m-%d}.",
        hint="Renew it on the merchant site: without a valid one every call is refused.",
        id="payments.E018" if finding is Error else "payments.W003",
    )


def _read_certificate(path: str) -> Certificate | None:
    try:
        return load_pem_x509_certificate(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def _merchant_public_key(wechat: Mapping[str, str]) -> RSAPublicKey | None:
    try:
        return read_private_key(wechat["MERCHANT_KEY_FILE"]).public_key()
    except BadKey:
        return None  # found already


def _has_serial(certificate: Certificate, serial: str) -> bool:
    try:
        return certificate.serial_number == int(serial, 16)
    except ValueError:
        return False
