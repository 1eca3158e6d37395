from __future__ import annotations

import pytest

from payments.checks import check_channels

RIGHT = {
    "BASE_URL": "https://api-m.paypal.com",
    "CLIENT_ID": "A" * 80,
    "CLIENT_SECRET": "E" * 80,
    "MERCHANT_ID": "XYZTHROWAWAY1",
    "WEBHOOK_ID": "8PT597110X687430LKGECATA",
    "VERIFY_WEBHOOKS": "certificate",
}


@pytest.fixture
def paypal(settings) -> dict[str, str]:
    """A right configuration, in force; a test changes it in place."""
    settings.CHANNELS = {"paypal": dict(RIGHT)}
    settings.PUBLIC_URL = "https://shop.example"
    settings.DEBUG = False
    return settings.CHANNELS["paypal"]


def found() -> list[str]:
    return [finding.id or "" for finding in check_channels()]


@pytest.mark.parametrize(
    "change",
    [{}, {"VERIFY_WEBHOOKS": "postback"}, {"WEBHOOK_ID": "8PT597110X687430L, 0AB12345CD678901E"}],
    ids=str,
)
def test_right_configuration_has_no_finding(paypal, change):
    paypal.update(change)
    assert found() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"BASE_URL": "http://api-m.paypal.com"}, "payments.E301"),
        ({"BASE_URL": "api-m.paypal.com"}, "payments.E301"),
        ({"BASE_URL": "https://api-m.paypal.com/v2"}, "payments.E301"),
        ({"BASE_URL": "https://api-m.paypal.com?v=2"}, "payments.E301"),
        ({"BASE_URL": "https://api-m.paypal.com v2"}, "payments.E301"),
        ({"BASE_URL": "https://api-m.sandbox.paypal.com"}, "payments.E302"),
        ({"CLIENT_ID": "AnodropSandbox" + "x" * 66}, "payments.E302"),
        ({"VERIFY_WEBHOOKS": "never"}, "payments.E303"),
        ({"MERCHANT_ID": "shop@shop.example"}, "payments.E304"),
        ({"WEBHOOK_ID": "https://shop.example/notify/"}, "payments.E305"),
        ({"WEBHOOK_ID": "WEBHOOK_ID"}, "payments.E305"),  # the simulator's, under which nothing verifies
        ({"WEBHOOK_ID": "8PT597110X687430L,"}, "payments.E305"),
        ({"WEBHOOK_ID": ""}, "payments.E305"),
        ({"CLIENT_ID": "A1"}, "payments.E306"),
        ({"CLIENT_SECRET": ""}, "payments.E306"),
        ({"CLIENT_SECRET": " " * 40}, "payments.E306"),
        ({"CLIENT_ID": "A" * 40 + " "}, "payments.E306"),
        ({"BASE_URL": "https://[x"}, "payments.E301"),
    ],
    ids=str,
)
def test_wrong_value_is_found(paypal, change, expected):
    paypal.update(change)
    assert found() == [expected]


@pytest.mark.parametrize(
    "change",
    [{"BASE_URL": "https://api-m.sandbox.paypal.com"}, {"CLIENT_ID": "AnodropSandbox" + "x" * 66}],
    ids=str,
)
def test_sandbox_is_right_while_debug_is_on(paypal, settings, change):
    settings.DEBUG = True
    paypal.update(change)
    assert found() == []


def test_findings_say_what_to_do_and_hold_no_secret(paypal):
    paypal.update(
        BASE_URL="http://x", CLIENT_SECRET="s3cret", MERCHANT_ID="x", WEBHOOK_ID="-", VERIFY_WEBHOOKS=""
    )
    findings = check_channels()
    assert len(findings) == 5
    assert all(finding.hint for finding in findings)
    assert "s3cret" not in repr(findings)
