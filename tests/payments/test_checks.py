"""What is checked whatever the channel; each channel's own checks have a file of their own."""

from __future__ import annotations

import pytest
from django.test import override_settings

from payments.checks import check_channels, check_links, check_mail, check_proxy

BOLETO = {
    "BASE_URL": "https://api.stripe.com",
    "SECRET_KEY": "sk_live_1",
    "WEBHOOK_SECRET": "whsec_1",
    "EXPIRES_AFTER_DAYS": "3",
}


@pytest.fixture(autouse=True)
def _configured(settings) -> None:
    """One channel, in production, without a finding of its own."""
    settings.CHANNELS = {"boleto": BOLETO, "wechat": None}
    settings.PUBLIC_URL = "https://shop.example"
    settings.DEBUG = False


def found() -> list[str]:
    return [finding.id or "" for finding in check_channels()]


def test_right_configuration_has_no_finding():
    assert check_channels() == []


def test_channel_that_is_not_configured_has_no_finding(settings):
    settings.CHANNELS, settings.PUBLIC_URL = {"wechat": None}, "http://shop.example"
    assert check_channels() == []


def test_every_channel_that_is_configured_is_checked(settings):
    settings.CHANNELS = {"boleto": BOLETO | {"SECRET_KEY": "x"}, "wechat": None}
    assert found() == ["payments.E401"]


@pytest.mark.parametrize(
    ("url", "findings"),
    [
        ("http://shop.example", ["payments.E001"]),
        ("ftp://shop.example", ["payments.E001"]),
        ("shop.example", ["payments.E008", "payments.E001"]),
        ("", ["payments.E008", "payments.E001"]),
        ("https://", ["payments.E008", "payments.E001"]),
        ("https://127.0.0.1", ["payments.E008"]),
        ("https://192.168.1.4:8443", ["payments.E008"]),
        ("https://shop.local", ["payments.E008"]),
        ("https://shop.lan", ["payments.E008"]),
        ("https://shop.home.arpa", ["payments.E008"]),
        ("https://shop.local.", ["payments.E008"]),
        ("https://shop", ["payments.E008"]),
        ("https://10.1", ["payments.E008"]),
        ("https://2130706433", ["payments.E008"]),
        ("https://0x7f.1", ["payments.E008"]),
        ("https://127.0.0.1.", ["payments.E008"]),
        ("https://[x", ["payments.E008", "payments.E001"]),
        ("https://shop.example/shop", ["payments.E019"]),
        ("https://shop.example?x=1", ["payments.E019"]),
        ("https://shop.example#x", ["payments.E019"]),
        ("https://shop.example:8443", []),
        ("https://1st.shop.example", []),
        ("https://xn--hgi.example", []),
        ("https://商店.example", []),
        ("http://127.0.0.1:8000", ["payments.E008"]),
    ],
)
def test_public_url_that_channels_cannot_call_is_found(settings, url, findings):
    settings.PUBLIC_URL = url
    assert found() == findings


def test_channel_that_cannot_be_built_is_found_though_its_own_checks_say_nothing(monkeypatch):
    monkeypatch.setattr("payments.checks.boleto.check", lambda _: iter(()))
    assert found() == []
    with override_settings(CHANNELS={"boleto": BOLETO | {"SECRET_KEY": "s3cret"}}):
        [finding] = check_channels()
    assert finding.id == "payments.E009"
    assert finding.msg.startswith("Boleto cannot be used")
    assert finding.hint
    assert "s3cret" not in finding.msg


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000"])
def test_plain_http_on_this_machine_is_right_while_debugging(settings, url):
    settings.PUBLIC_URL, settings.DEBUG = url, True
    assert found() == []


@pytest.mark.parametrize(("host", "findings"), [("", ["payments.W002"]), ("mail.example", [])])
def test_missing_mail_server_is_found(settings, host, findings):
    settings.EMAIL_HOST = host
    assert [finding.id for finding in check_mail()] == findings


@pytest.mark.parametrize(
    ("url", "behind", "findings"),
    [
        ("https://shop.example", False, ["payments.W004"]),
        ("https://shop.example", True, []),
        ("http://127.0.0.1:8000", False, []),
    ],
)
def test_https_shop_that_does_not_say_what_speaks_https_for_it_is_warned(settings, url, behind, findings):
    settings.PUBLIC_URL, settings.BEHIND_PROXY = url, behind
    assert [finding.id for finding in check_proxy()] == findings


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_links_to_orders_that_end_at_once_or_never_are_found(settings, days):
    assert check_links() == []
    settings.ORDER_LINK_DAYS = days
    assert [finding.id for finding in check_links()] == ["payments.E021"]
