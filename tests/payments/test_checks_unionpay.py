"""UnionPay's configuration: each mistake has its id, and a right one has no finding."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from payments.checks.unionpay import check

from .channels.unionpay_party import (
    CERTIFICATE,
    MER_ID,
    MERCHANT,
    MERCHANT_KEY,
    MIDDLE,
    MIDDLE_KEY,
    SIGNER,
    SIGNER_KEY,
    THEIRS,
    of_no_version,
)

LONG = timedelta(days=3650)


def certify(
    key=MERCHANT_KEY,
    *,
    begins: timedelta = -LONG,
    ends: timedelta = LONG,
    issuer=MIDDLE,
    issuer_key=MIDDLE_KEY,
):
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def unionpay(settings, tmp_path) -> dict[str, str]:
    """A right configuration; a test changes it in place."""
    settings.DEBUG = False
    files = {
        "KEY_FILE": MERCHANT["private_key_pkcs8_pem"],
        "CERT_FILE": MERCHANT["cert_pem"],
        "ROOT_CERT_FILE": THEIRS["root_ca_pem"],
        "MIDDLE_CERT_FILE": THEIRS["intermediate_ca_pem"],
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    return {
        "BASE_URL": "https://gateway.example",
        "STATEMENT_URL": "https://files.example/",
        "MER_ID": MER_ID,
        "SIGNER": SIGNER,
        **{name: str(tmp_path / name) for name in files},
    }


def found(unionpay: dict[str, str]) -> list[str]:
    return [finding.id or "" for finding in check(unionpay)]


def test_right_configuration_has_no_finding(unionpay):
    assert found(unionpay) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"BASE_URL": "http://gateway.example"}, ["payments.E201"]),
        ({"BASE_URL": "https://gateway.example/gateway/api"}, ["payments.E201"]),
        ({"SIGNER": ""}, ["payments.E213"]),
        ({"SIGNER": " "}, ["payments.E213"]),
        ({"SIGNER": "中国银联"}, ["payments.W202"]),
        ({"STATEMENT_URL": "http://files.example/"}, ["payments.E202"]),
        ({"BASE_URL": "http://127.0.0.1:9000"}, []),
        ({"MER_ID": "77729000001234"}, ["payments.E204"]),
        ({"KEY_FILE": "/nowhere/key.pem"}, ["payments.E205"]),
        ({"CERT_FILE": "/nowhere/cert.pem"}, ["payments.E206"]),
        ({"ROOT_CERT_FILE": "/nowhere/root.pem"}, ["payments.E209"]),
        ({"MIDDLE_CERT_FILE": "/nowhere/middle.pem"}, ["payments.E210"]),
    ],
    ids=str,
)
def test_each_mistake_is_found(unionpay, change, expected):
    assert found(unionpay | change) == expected


@pytest.mark.parametrize(("debug", "expected"), [(False, ["payments.E203"]), (True, [])])
@pytest.mark.parametrize("change", [{"MER_ID": "999999000000001"}, {"SIGNER": "00040000:SIGN"}], ids=str)
def test_credentials_of_a_test_system_are_found_in_production(unionpay, settings, debug, expected, change):
    settings.DEBUG = debug
    assert found(unionpay | change) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("CERT_FILE", "payments.E206"), ("ROOT_CERT_FILE", "payments.E209")]
)
def test_certificate_of_no_version_is_found(unionpay, tmp_path, name, expected):
    (tmp_path / name).write_text(of_no_version(CERTIFICATE))
    assert found(unionpay) == [expected]


def test_key_of_another_certificate_is_found(unionpay, tmp_path):
    (tmp_path / "CERT_FILE").write_text(THEIRS["sign_cert_pem"])
    assert found(unionpay) == ["payments.E207"]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({"ends": timedelta(days=-1)}, ["payments.E208"]),
        ({"begins": timedelta(days=1)}, ["payments.E208"]),
        ({"ends": timedelta(days=20)}, ["payments.W201"]),
        ({"ends": timedelta(days=40)}, []),
    ],
    ids=str,
)
def test_certificate_that_is_not_valid_now_or_soon_is_found(unionpay, tmp_path, days, expected):
    (tmp_path / "CERT_FILE").write_text(certify(**days))
    assert found(unionpay) == expected


def test_authority_that_is_not_valid_now_is_found(unionpay, tmp_path):
    root_key = serialization.load_pem_private_key(THEIRS["root_ca_private_key_pkcs8_pem"].encode(), None)
    root = x509.load_pem_x509_certificate(THEIRS["root_ca_pem"].encode())
    old = certify(MIDDLE_KEY, ends=timedelta(days=-1), issuer=root, issuer_key=root_key)
    (tmp_path / "old").write_text(old)
    assert found(unionpay | {"MIDDLE_CERT_FILE": str(tmp_path / "old")}) == ["payments.E211"]
    assert found(unionpay | {"MIDDLE_CERT_FILE": f"{tmp_path / 'old'}, {unionpay['MIDDLE_CERT_FILE']}"}) == []


def test_broken_chain_is_found(unionpay, tmp_path):
    (tmp_path / "ROOT_CERT_FILE").write_text(certify(SIGNER_KEY))
    assert found(unionpay) == ["payments.E212"]


def test_either_of_two_roots_will_do(unionpay, tmp_path):
    (tmp_path / "next").write_text(certify(SIGNER_KEY))
    assert found(unionpay | {"ROOT_CERT_FILE": f"{tmp_path / 'next'},{unionpay['ROOT_CERT_FILE']}"}) == []


def test_key_that_others_can_read_is_found(unionpay, tmp_path):
    (tmp_path / "KEY_FILE").chmod(0o644)
    assert found(unionpay) == ["payments.W001"]


def test_findings_say_what_to_do(unionpay):
    wrong = unionpay | {"BASE_URL": "x", "STATEMENT_URL": "y", "MER_ID": "", "KEY_FILE": "/nowhere"}
    findings = list(check(wrong))
    assert len(findings) == 4
    assert all(finding.hint for finding in findings)
