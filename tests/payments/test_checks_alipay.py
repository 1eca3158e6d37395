"""What the checks find in Alipay's configuration."""

from __future__ import annotations

import pytest

from payments.checks import check_channels

from .channels.alipay_party import APP_ID, GATEWAY, SELLER_ID, VECTORS

APP, ALIPAY = VECTORS["app"], VECTORS["alipay"]


@pytest.fixture
def alipay(settings, tmp_path) -> dict[str, str]:
    """A right configuration, in force; a test changes it in place."""
    (tmp_path / "app.pem").write_text(APP["private_key_pkcs8_pem"])
    (tmp_path / "app.pem").chmod(0o600)
    (tmp_path / "alipay.pem").write_text(ALIPAY["public_key_pem"])
    configured = {
        "GATEWAY_URL": GATEWAY,
        "APP_ID": APP_ID,
        "SELLER_ID": SELLER_ID,
        "APP_KEY_FILE": str(tmp_path / "app.pem"),
        "ALIPAY_KEY_FILE": str(tmp_path / "alipay.pem"),
    }
    settings.CHANNELS = {"alipay": configured}
    settings.PUBLIC_URL = "https://shop.example"
    settings.DEBUG = False
    return configured


def found() -> list[str]:
    return [finding.id or "" for finding in check_channels()]


def test_right_configuration_has_no_finding(alipay):
    assert check_channels() == []


def test_private_key_in_the_older_container_is_right(alipay, tmp_path):
    (tmp_path / "app.pem").write_text(APP["private_key_pkcs1_pem"])
    assert found() == []


@pytest.mark.parametrize(
    "content", [None, "", "text", ALIPAY["public_key_pem"]], ids=["missing", "empty", "text", "public"]
)
def test_unusable_app_key_is_found(alipay, tmp_path, content):
    path = tmp_path / "other.pem"
    alipay["APP_KEY_FILE"] = str(path)
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    assert found() == ["payments.E101"]


@pytest.mark.parametrize("path", ["/nowhere/alipay.pem", "", "{right},/nowhere/second.pem", "{right},"])
def test_unusable_key_of_alipay_is_found(alipay, path):
    alipay["ALIPAY_KEY_FILE"] = path.format(right=alipay["ALIPAY_KEY_FILE"])
    assert found() == ["payments.E102"]


def test_own_public_key_in_place_of_alipays_is_found(alipay, tmp_path):
    (tmp_path / "own.pem").write_text(APP["public_key_pem"])
    alipay["ALIPAY_KEY_FILE"] = f"{alipay['ALIPAY_KEY_FILE']},{tmp_path / 'own.pem'}"
    assert found() == ["payments.E105"]


@pytest.mark.parametrize("url", ["http://gateway.example/gateway.do", "gateway.do", ""])
def test_gateway_by_plain_http_is_found(alipay, url):
    alipay["GATEWAY_URL"] = url
    assert found() == ["payments.E103"]


@pytest.mark.parametrize("path", ["", "/", "/gateway", "/gateway.do/", "/gateway.do?x=1"])
def test_gateway_at_another_path_than_alipays_is_told(alipay, path):
    alipay["GATEWAY_URL"] = f"https://gateway.example{path}"
    assert found() == ["payments.W101"]


def test_gateway_that_is_no_address_is_found(alipay):
    alipay["GATEWAY_URL"] = "https://[x"
    assert found() == ["payments.E103"]


def test_plain_http_to_this_machine_is_right(alipay):
    alipay["GATEWAY_URL"] = "http://127.0.0.1:9000/gateway.do"
    assert found() == []


@pytest.mark.parametrize(("debug", "expected"), [(False, ["payments.E104"]), (True, [])])
@pytest.mark.parametrize(
    "change",
    [
        {"APP_ID": "9021000000000001"},
        {"GATEWAY_URL": "https://openapi-sandbox.dl.alipaydev.com/gateway.do"},
    ],
    ids=str,
)
def test_sandbox_is_found_in_production(alipay, settings, change, debug, expected):
    settings.DEBUG = debug
    alipay.update(change)
    assert found() == expected


@pytest.mark.parametrize("app_id", ["", "2021", "20210098765432101", "202100987654321x"])
def test_app_id_of_another_shape_is_found(alipay, app_id):
    alipay["APP_ID"] = app_id
    assert found() == ["payments.E106"]


@pytest.mark.parametrize("seller_id", ["", "2088", "1088009876543210", "shop@example.com"])
def test_seller_id_of_another_shape_is_found(alipay, seller_id):
    alipay["SELLER_ID"] = seller_id
    assert found() == ["payments.E107"]


@pytest.mark.parametrize(("mode", "expected"), [(0o600, []), (0o440, []), (0o644, ["payments.W001"])])
def test_app_key_open_to_others_is_found(alipay, tmp_path, mode, expected):
    (tmp_path / "app.pem").chmod(mode)
    assert found() == expected


def test_findings_say_what_to_do(alipay):
    alipay.update(GATEWAY_URL="http://x", APP_ID="x", SELLER_ID="x", APP_KEY_FILE="/a", ALIPAY_KEY_FILE="/b")
    findings = check_channels()
    assert len(findings) == 5
    assert all(finding.hint for finding in findings)
