"""UnionPay's configuration. Ids 201 to 299."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from cryptography.x509 import Certificate
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Advice

from payments.channels.seals import BadKey, read_private_key
from payments.channels.unionpay_seals import is_issued_by, is_valid_at, read_certificate, read_certificates
from payments.checks.parts import check_address, check_host, check_permissions

# So begin the merchants of the sandbox; and so UnionPay's test system signs.
SANDBOX_MER_ID_PREFIX = "999999"
TEST_SIGNER = "00040000:SIGN"
SIGNERS = ("中国银联股份有限公司", TEST_SIGNER)
RENEW_BEFORE = timedelta(days=30)

_T = TypeVar("_T")


def check(unionpay: Mapping[str, str]) -> Iterator[CheckMessage]:
    """Its key and certificates, its addresses and its merchant number."""
    yield from check_merchant(unionpay)
    yield from check_authority(unionpay)
    yield from check_host(
        "UNIONPAY_BASE_URL", unionpay["BASE_URL"], "https://gateway.95516.com", code="payments.E201"
    )
    yield from check_address(
        "UNIONPAY_STATEMENT_URL",
        unionpay["STATEMENT_URL"],
        "https://filedownload.95516.com/",
        code="payments.E202",
    )
    yield from check_signer(unionpay["SIGNER"])
    is_for_tests = unionpay["MER_ID"].startswith(SANDBOX_MER_ID_PREFIX) or unionpay["SIGNER"] == TEST_SIGNER
    if not settings.DEBUG and is_for_tests:
        yield Error(
            "UnionPay is configured with credentials of a test system while DEBUG is off.",
            hint="Put the merchant's own credentials into the UNIONPAY_ variables: tests pay with no money.",
            id="payments.E203",
        )
    if not re.fullmatch(r"[0-9A-Za-z]{15}", unionpay["MER_ID"]):
        yield Error(
            "UNIONPAY_MER_ID does not have 15 characters.",
            hint="Copy the merchant number (商户号) from UnionPay's merchant site.",
            id="payments.E204",
        )


def check_signer(signer: str) -> Iterator[CheckMessage]:
    """Whose certificate signs: with another name nothing that UnionPay says would verify."""
    hint = f"Take UNIONPAY_SIGNER out: production signs as {SIGNERS[0]}."
    if not signer.strip():
        yield Error("UNIONPAY_SIGNER is set and empty.", hint=hint, id="payments.E213")
    elif signer not in SIGNERS:
        yield Advice(f"UNIONPAY_SIGNER is unusual: {signer}.", hint=hint, id="payments.W202")


def check_merchant(unionpay: Mapping[str, str]) -> Iterator[CheckMessage]:
    """The key that signs what we send, and the certificate that UnionPay knows it by."""
    key, problems = _load(
        "UNIONPAY_KEY_FILE",
        lambda: read_private_key(unionpay["KEY_FILE"]),
        hint="It is the private key of the merchant's .pfx: openssl pkcs12 -nocerts -nodes.",
        code="payments.E205",
    )
    yield from problems
    yield from check_permissions("UNIONPAY_KEY_FILE", unionpay["KEY_FILE"])
    certificate, problems = _load(
        "UNIONPAY_CERT_FILE",
        lambda: read_certificate(unionpay["CERT_FILE"]),
        hint="It is the certificate of the merchant's .pfx: openssl pkcs12 -clcerts -nokeys.",
        code="payments.E206",
    )
    yield from problems
    if key and certificate and key.public_key() != certificate.public_key():
        yield Error(
            "UNIONPAY_KEY_FILE and UNIONPAY_CERT_FILE do not belong together.",
            hint="Take both from the same .pfx file.",
            id="payments.E207",
        )
    if certificate:
        yield from _check_validity("UNIONPAY_CERT_FILE", [certificate], code="payments.E208")


def check_authority(unionpay: Mapping[str, str]) -> Iterator[CheckMessage]:
    """The certificates that tell UnionPay's messages from anybody's."""
    found: dict[str, tuple[Certificate, ...]] = {}
    for name, code in (("ROOT_CERT_FILE", "payments.E209"), ("MIDDLE_CERT_FILE", "payments.E210")):
        certificates, problems = _load(
            f"UNIONPAY_{name}",
            partial(read_certificates, unionpay[name]),
            hint="They come with UnionPay's kit, acp_prod_root.cer and acp_prod_middle.cer; two by comma while they change.",
            code=code,
        )
        yield from problems
        found[name] = certificates or ()
        if certificates:
            yield from _check_validity(f"UNIONPAY_{name}", certificates, code="payments.E211")
    roots, middles = found["ROOT_CERT_FILE"], found["MIDDLE_CERT_FILE"]
    if roots and not all(any(is_issued_by(middle, root) for root in roots) for middle in middles):
        yield Error(
            "UNIONPAY_MIDDLE_CERT_FILE was not issued by UNIONPAY_ROOT_CERT_FILE: no message would verify.",
            hint="Take both from the same kit, of production or of the test system.",
            id="payments.E212",
        )


def _check_validity(name: str, certificates: Sequence[Certificate], *, code: str) -> Iterator[CheckMessage]:
    """Of two, one may be over already or not begin yet."""
    now = datetime.now(UTC)
    if not any(is_valid_at(certificate, now) for certificate in certificates):
        yield Error(
            f"No certificate of {name} is valid today: {', '.join(map(_name_days, certificates))}.",
            hint="Renew it, or set this machine's clock.",
            id=code,
        )
    elif not any(is_valid_at(certificate, now + RENEW_BEFORE) for certificate in certificates):
        yield Advice(
            f"{name} expires soon: {', '.join(map(_name_days, certificates))}.",
            hint="Renew it before that: from then on every call would fail.",
            id="payments.W201",
        )


def _name_days(certificate: Certificate) -> str:
    return f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"


def _load(name: str, read: Callable[[], _T], *, hint: str, code: str) -> tuple[_T | None, list[CheckMessage]]:
    try:
        return read(), []
    except BadKey as error:
        return None, [Error(f"{name} cannot be used: {error}.", hint=hint, id=code)]
