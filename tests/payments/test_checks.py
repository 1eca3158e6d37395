from __future__ import annotations

import pytest

from payments.checks import check_channels

from .channels.wechat_party import APIV3_KEY, APPID, MCHID, MERCHANT, PLATFORM


@pytest.fixture
def wechat(settings, tmp_path) -> dict[str, str]:
    """A right configuration, in force; a test changes it in place."""
    (tmp_path / "merchant.pem").write_text(MERCHANT["private_key_pkcs8_pem"])
    (tmp_path / "merchant.pem").chmod(0o600)
    (tmp_path / "platform.pem").write_text(PLATFORM["public_key_pem"])
    configured = {
        "BASE_URL": "https://api.example",
        "MCHID": MCHID,
        "APPID": APPID,
        "MERCHANT_SERIAL": MERCHANT["serial_no"],
        "MERCHANT_KEY_FILE": str(tmp_path / "merchant.pem"),
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


def test_channel_that_is_not_configured_has_no_finding(settings):
    settings.CHANNELS, settings.PUBLIC_URL = {"wechat": None}, "http://shop.example"
    assert check_channels() == []


@pytest.mark.parametrize("url", ["http://shop.example", "shop.example", "", "https://"])
def test_public_url_that_channels_cannot_call_is_found(wechat, settings, url):
    settings.PUBLIC_URL = url
    assert found() == ["payments.E001"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000"])
def test_plain_http_on_this_machine_is_right(wechat, settings, url):
    settings.PUBLIC_URL = wechat["BASE_URL"] = url
    assert found() == []


def test_base_url_by_plain_http_is_found(wechat):
    wechat["BASE_URL"] = "http://api.example"
    assert found() == ["payments.E002"]


@pytest.mark.parametrize(("debug", "expected"), [(False, ["payments.E003"]), (True, [])])
def test_keys_of_the_sandbox_are_found_in_production(wechat, settings, debug, expected):
    settings.DEBUG = debug
    wechat["MERCHANT_SERIAL"] = "5a4db0c5" + "0" * 32
    assert found() == expected


@pytest.mark.parametrize("key", ["k" * 31, "k" * 33, "é" * 32])
def test_apiv3_key_of_another_length_is_found(wechat, key):
    wechat["APIV3_KEY"] = key
    assert found() == ["payments.E004"]


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


def test_findings_say_what_to_do_and_hold_no_secret(wechat, tmp_path):
    wechat.update(BASE_URL="http://x", APIV3_KEY="s3cret", MERCHANT_KEY_FILE="/nowhere", PLATFORM_KEY_ID="")
    findings = check_channels()
    assert len(findings) == 4
    assert all(finding.hint for finding in findings)
    assert "s3cret" not in repr(findings)
