from __future__ import annotations

import pytest
from environs import Env

from payments.checks import check_channels
from payments.checks.boleto import SANDBOX_KEY_PREFIX
from shop.env import channel_settings


@pytest.fixture
def boleto(settings) -> dict[str, str]:
    """A right configuration, in force; a test changes it in place."""
    configured = {
        "BASE_URL": "https://api.stripe.com",
        "SECRET_KEY": "sk_live_1",
        "WEBHOOK_SECRET": "whsec_1",
        "EXPIRES_AFTER_DAYS": "3",
    }
    settings.CHANNELS = {"boleto": configured}
    settings.PUBLIC_URL = "https://shop.example"
    settings.DEBUG = False
    return configured


def found() -> list[str]:
    return [finding.id or "" for finding in check_channels()]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"SECRET_KEY": "rk_live_1"},
        {"WEBHOOK_SECRET": "whsec_1, whsec_2"},
        {"EXPIRES_AFTER_DAYS": "0"},
        {"EXPIRES_AFTER_DAYS": "60"},
        {"BASE_URL": "http://127.0.0.1:9000"},
        {"BASE_URL": "http://[::1]:9000"},
        {"BASE_URL": "https://api.stripe.com/"},
    ],
    ids=str,
)
def test_right_configuration_has_no_finding(boleto, change):
    boleto.update(change)
    assert found() == []


@pytest.mark.parametrize("key", ["pk_live_1", "whsec_1", "sk_live_", "sk_live_1 "])
def test_key_that_is_no_secret_key_is_found(boleto, key):
    boleto["SECRET_KEY"] = key
    assert found() == ["payments.E401"]


@pytest.mark.parametrize(
    "address",
    [
        "http://api.stripe.com",
        "https://api.stripe.com/v1",
        "https://api.stripe.com//",
        "https://api.stripe.com?v=1",
        "https://api.stripe.com/?",
        "https://api.stripe.com#v1",
        "https://api.stripe.com:port",
        "https://api.stripe.com ",
        "https://api.stripe.com,https://api.stripe.com",
    ],
)
def test_address_that_is_no_https_address_of_a_host_is_found(boleto, address):
    boleto["BASE_URL"] = address
    assert found() == ["payments.E402"]


@pytest.mark.parametrize(
    ("key", "finding"), [(f"{SANDBOX_KEY_PREFIX}1", "payments.E403"), ("sk_test_1", "payments.W401")]
)
def test_key_of_the_sandbox_or_the_test_mode_is_found_in_production(boleto, settings, key, finding):
    boleto["SECRET_KEY"] = key
    assert found() == [finding]
    settings.DEBUG = True
    assert found() == []


@pytest.mark.parametrize(
    "secret", ["sk_live_1", "whsec_1,", "whsec_1;whsec_2 ,x", "whsec_", "whsec_1, whsec_"]
)
def test_webhook_secret_of_another_form_is_found(boleto, secret):
    boleto["WEBHOOK_SECRET"] = secret
    assert found() == ["payments.E404"]


@pytest.mark.parametrize("days", ["", "61", "-1", "3.5", "three", "100"])
def test_days_that_a_slip_cannot_have_are_found(boleto, days):
    boleto["EXPIRES_AFTER_DAYS"] = days
    assert found() == ["payments.E405"]


def test_option_alone_configures_nothing(settings, monkeypatch):
    keys, options = settings.CHANNEL_KEYS["boleto"], settings.CHANNEL_OPTIONS["boleto"]
    monkeypatch.setenv("BOLETO_EXPIRES_AFTER_DAYS", "5")
    for key in keys:
        monkeypatch.delenv(f"BOLETO_{key}", raising=False)
    assert channel_settings(Env(), "BOLETO", keys, options) is None


def test_findings_say_what_to_do_and_hold_no_secret(boleto):
    boleto.update(SECRET_KEY="s3cret", WEBHOOK_SECRET="s3cret", BASE_URL="x", EXPIRES_AFTER_DAYS="x")
    findings = check_channels()
    assert len(findings) == 4
    assert all(finding.hint for finding in findings)
    assert "s3cret" not in repr(findings)


def test_prefix_is_that_of_the_sandbox(tmp_path):
    from payments.sandbox.keys import Keyring
    from payments.sandbox.ledger import Ledger
    from payments.sandbox.stripe import Stripe

    with Ledger(":memory:") as ledger:
        assert Stripe(Keyring(tmp_path), ledger, 0).key.startswith(SANDBOX_KEY_PREFIX)
