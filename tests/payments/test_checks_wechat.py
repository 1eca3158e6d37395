from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from payments.checks import check_channels

from .channels.wechat_party import APIV3_KEY, APPID, MCHID, MERCHANT, MERCHANT_KEY, PLATFORM


@pytest.fixture
def wechat(settings, tmp_path) -> dict[str, str]:
    """A right configuration, in force; a test changes it in place."""
    (tmp_path / "merchant.pem").write_text(MERCHANT["private_key_pkcs8_pem"])
    (tmp_path / "merchant.pem").chmod(0o600)
    (tmp_path / "merchant_cert.pem").write_text(MERCHANT["cert_pem"])
    (tmp_path / "platform.pem").write_text(PLATFORM["public_key_pem"])
    (tmp_path / "platform_cert.pem").write_text(PLATFORM["cert_pem"])
    configured = {
        "BASE_URL": "https://api.example",
        "MCHID": MCHID,
        "APPID": APPID,
        "MERCHANT_SERIAL": MERCHANT["serial_no"],
        "MERCHANT_KEY_FILE": str(tmp_path / "merchant.pem"),
        "MERCHANT_CERT_FILE": str(tmp_path / "merchant_cert.pem"),
        "APIV3_KEY": APIV3_KEY,
        "PLATFORM_KEY_ID": PLATFORM["public_key_id"],
        "PLATFORM_KEY_FILE": str(tmp_path / "platform.pem"),
    }
    settings.CHANNELS = {"wechat": configured}
    settings.PUBLIC_URL = "https://shop.example"
    settings.DEBUG = False
    return configured


def found() -> list[str]:
    return [finding.id or "" for finding in check_channels()]


def test_right_configuration_has_no_finding(wechat):
    assert check_channels() == []


def test_certificate_of_the_merchant_may_be_left_out(wechat):
    wechat["MERCHANT_CERT_FILE"] = ""
    assert found() == []


def test_base_url_by_plain_http_is_found(wechat):
    wechat["BASE_URL"] = "http://api.example"
    assert found() == ["payments.E002"]


@pytest.mark.parametrize("url", ["https://api.example/v3", "https://api.example?x=1"])
def test_base_url_with_a_path_is_found(wechat, url):
    wechat["BASE_URL"] = url
    assert found() == ["payments.E002"]


def test_base_url_on_this_machine_is_right(wechat):
    wechat["BASE_URL"] = "http://127.0.0.1:9000"
    assert found() == []


@pytest.mark.parametrize(("debug", "expected"), [(False, ["payments.E003"]), (True, [])])
def test_keys_of_the_sandbox_are_found_in_production(wechat, settings, debug, expected):
    settings.DEBUG = debug
    wechat |= {"MERCHANT_SERIAL": "5a4db0c5" + "0" * 32, "MERCHANT_CERT_FILE": ""}
    assert found() == expected


def test_configuration_of_the_sandbox_has_no_finding_while_debugging(shared_sandbox, settings):
    env = shared_sandbox.env
    names = (*settings.CHANNEL_KEYS["wechat"], *settings.CHANNEL_OPTIONS["wechat"])
    settings.CHANNELS = {"wechat": {name: env[f"WECHAT_{name}"] for name in names}}
    settings.PUBLIC_URL, settings.DEBUG = "http://127.0.0.1:8000", True
    assert found() == []


@pytest.mark.parametrize("key", ["k" * 31, "k" * 33, "é" * 32])
def test_apiv3_key_of_another_length_is_found(wechat, key):
    wechat["APIV3_KEY"] = key
    assert found() == ["payments.E004"]


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        ("MCHID", "", "payments.E010"),
        ("MCHID", "19000060", None),
        ("MCHID", "19000060111", "payments.E010"),
        ("MCHID", APPID, "payments.E010"),
        ("APPID", MCHID, "payments.E011"),
        ("APPID", APPID[:-1], "payments.E011"),
        ("APPID", APPID.upper(), "payments.E011"),
        ("MERCHANT_SERIAL", MERCHANT["serial_no"].lower(), None),
        ("MERCHANT_SERIAL", MERCHANT["serial_no"][1:], "payments.E012"),
        ("MERCHANT_SERIAL", PLATFORM["public_key_id"], "payments.E012"),
    ],
)
def test_identity_of_another_shape_is_found(wechat, name, value, finding):
    wechat |= {name: value}
    if finding == "payments.E012":
        wechat["MERCHANT_CERT_FILE"] = ""
    assert found() == [finding] * bool(finding)


@pytest.mark.parametrize(
    "content", [None, "", "text", PLATFORM["public_key_pem"]], ids=["missing", "empty", "text", "public"]
)
def test_unusable_merchant_key_is_found(wechat, tmp_path, content):
    path = tmp_path / "other.pem"
    wechat["MERCHANT_KEY_FILE"] = str(path)
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    assert found() == ["payments.E005"]


@pytest.mark.parametrize("content", [None, "", "text", MERCHANT["public_key_pem"]])
def test_unusable_merchant_certificate_is_found(wechat, tmp_path, content):
    wechat["MERCHANT_CERT_FILE"] = str(tmp_path / "other.pem")
    if content is not None:
        (tmp_path / "other.pem").write_text(content)
    assert found() == ["payments.E013"]


def test_certificate_of_another_key_is_found(wechat, tmp_path):
    wechat |= {
        "MERCHANT_CERT_FILE": str(tmp_path / "platform_cert.pem"),
        "MERCHANT_SERIAL": PLATFORM["serial_no"],
    }
    assert found() == ["payments.E014"]


def test_serial_of_another_certificate_is_found(wechat):
    wechat["MERCHANT_SERIAL"] = "0" * 39 + "1"
    assert found() == ["payments.E015"]


@pytest.mark.parametrize(
    ("days", "expected"), [(-1, ["payments.E018"]), (29, ["payments.W003"]), (31, [])], ids=str
)
def test_certificate_that_is_over_or_soon_will_be_is_found(wechat, tmp_path, days, expected):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MCHID)])
    now = datetime.now(UTC)
    begin, end = now - timedelta(days=365), now + timedelta(days=days)
    serial = int(MERCHANT["serial_no"], 16)
    certificate = x509.CertificateBuilder(name, name, MERCHANT_KEY.public_key(), serial, begin, end)
    pem = certificate.sign(MERCHANT_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "merchant_cert.pem").write_bytes(pem)
    assert found() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"PLATFORM_KEY_FILE": "/nowhere/platform.pem"},
        {"PLATFORM_KEY_ID": "a,b"},
        {"PLATFORM_KEY_ID": ""},
    ],
    ids=str,
)
def test_unusable_platform_keys_are_found(wechat, change):
    wechat.update(change)
    assert found() == ["payments.E006"]


def test_public_key_and_certificate_of_the_platform_may_stand_beside_each_other(wechat, tmp_path):
    wechat["PLATFORM_KEY_ID"] += f", {PLATFORM['serial_no']}"
    wechat["PLATFORM_KEY_FILE"] += f",{tmp_path / 'platform_cert.pem'}"
    assert found() == []


@pytest.mark.parametrize(
    ("key_id", "file"),
    [
        (PLATFORM["serial_no"], "platform.pem"),
        (PLATFORM["public_key_id"], "platform_cert.pem"),
        (MERCHANT["serial_no"], "platform_cert.pem"),
    ],
)
def test_id_of_another_platform_key_is_found(wechat, tmp_path, key_id, file):
    wechat |= {"PLATFORM_KEY_ID": key_id, "PLATFORM_KEY_FILE": str(tmp_path / file)}
    assert found() == ["payments.E016"]


def test_merchants_own_certificate_in_place_of_the_platforms_is_found(wechat, tmp_path):
    wechat |= {
        "PLATFORM_KEY_ID": MERCHANT["serial_no"],
        "PLATFORM_KEY_FILE": str(tmp_path / "merchant_cert.pem"),
    }
    assert found() == ["payments.E017"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, []),
        (0o400, []),
        (0o440, []),
        (0o640, []),
        (0o644, ["payments.W001"]),
        (0o660, ["payments.W001"]),
    ],
    ids=lambda value: oct(value) if isinstance(value, int) else None,
)
def test_merchant_key_open_to_others_is_found(wechat, tmp_path, mode, expected):
    (tmp_path / "merchant.pem").chmod(mode)
    assert found() == expected


def test_findings_say_what_to_do_and_hold_no_secret(wechat):
    wechat.update(BASE_URL="http://x", APIV3_KEY="s3cret", MERCHANT_KEY_FILE="/nowhere", PLATFORM_KEY_ID="")
    findings = check_channels()
    assert len(findings) == 4
    assert all(finding.hint for finding in findings)
    assert "s3cret" not in repr(findings)


def test_two_files_under_one_platform_key_id_are_found(wechat, tmp_path):
    (tmp_path / "next.pem").write_text(PLATFORM["public_key_pem"])
    one = PLATFORM["public_key_id"]
    wechat |= {
        "PLATFORM_KEY_ID": f"{one}, {one}",
        "PLATFORM_KEY_FILE": f"{tmp_path / 'next.pem'}, {tmp_path / 'platform.pem'}",
    }
    [finding] = check_channels()
    assert (finding.id, one in finding.msg) == ("payments.E020", True)
