"""`python-alipay-sdk` as an independent party: what our adapter signs it would have signed, what it signs we read alike."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

import pytest
from alipay import AliPay
from alipay.exceptions import AliPayValidationError

from payments.channels.base import NotGenuine, Outcome

from .alipay_party import (
    APP_ID,
    APP_KEY,
    NOW,
    NUMBER,
    ORDER,
    REFUND,
    VECTORS,
    ScriptedWire,
    callback,
    closed,
    code,
    known,
    make_alipay,
    refunded,
    reply,
    sign_form,
    trade,
    vector_callback,
    vector_fields,
)

CALLS: dict[str, Any] = {
    "create": (lambda alipay: alipay.create(ORDER), code()),
    "query": (lambda alipay: alipay.query(ORDER), trade()),
    "close": (lambda alipay: alipay.close(ORDER), closed()),
    "refund": (lambda alipay: alipay.refund(REFUND), refunded()),
    "query_refund": (lambda alipay: alipay.query_refund(REFUND), known()),
}


def make_sdk(app_key: str = "app") -> AliPay:
    """The package with the app's key and Alipay's, or with the keys changed about: then it is Alipay that signs."""
    other = {"app": "alipay", "alipay": "app"}[app_key]
    return AliPay(
        appid=APP_ID,
        app_private_key_string=VECTORS[app_key]["private_key_pkcs8_pem"],
        alipay_public_key_string=VECTORS[other]["public_key_pem"],
    )


@pytest.fixture
def sdk() -> AliPay:
    return make_sdk()


@pytest.fixture
def alipays_sdk() -> AliPay:
    """The same package in Alipay's place."""
    return make_sdk("alipay")


def send(operation: str) -> dict[str, str]:
    call, answer = CALLS[operation]
    wire = ScriptedWire(answer)
    call(make_alipay(wire=wire))
    return wire.fields()


@pytest.mark.parametrize("operation", CALLS)
def test_signature_of_a_call_equals_that_of_the_package(operation, sdk):
    sent = send(operation)
    signature = sent.pop("sign")
    assert dict(parse_qsl(sdk.sign_data(sent)))["sign"] == signature


@pytest.mark.parametrize("operation", CALLS)
def test_call_is_genuine_to_the_package_in_alipays_place(operation, alipays_sdk):
    sent = send(operation)
    # verify() takes sign_type out, as of a notification; in a request it is part of what is signed.
    text = "&".join(f"{name}={value}" for name, value in sorted(sent.items()) if name != "sign")
    assert alipays_sdk._verify(text, sent["sign"])
    assert not alipays_sdk._verify(text.replace("RSA2", "RSA"), sent["sign"])


@pytest.mark.parametrize(
    ("scene", "call"), [("wap", "api_alipay_trade_wap_pay"), ("app", "api_alipay_trade_app_pay")]
)
def test_order_string_equals_that_of_the_package_with_the_same_content(scene, call, sdk, monkeypatch):
    action = make_alipay().create(type(ORDER)(**{**as_dict(ORDER), "scene": scene})).action
    ours = urlsplit(action["url"]).query if scene == "wap" else action["params"]["orderString"]
    fields = dict(parse_qsl(ours))
    # The package asks the clock itself and writes biz_content in its own way; the signing is what is compared.
    now = SimpleNamespace(now=lambda: SimpleNamespace(strftime=lambda _: fields["timestamp"]))
    monkeypatch.setattr("alipay.datetime", now)
    monkeypatch.setattr("alipay.json.dumps", lambda value, **_: fields["biz_content"])
    urls = {"return_url": ORDER.return_url} if scene == "wap" else {}
    theirs = getattr(sdk, call)("x", NUMBER, 129.0, notify_url=ORDER.notify_url, **urls)
    assert dict(parse_qsl(theirs)) == fields
    assert all(quote_plus(value) in theirs and quote_plus(value) in ours for value in fields.values())


def as_dict(attempt: Any) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in attempt.__slots__}


@pytest.mark.parametrize("name", ["trade_success", "partial_refund", "full_refund_trade_closed"])
def test_published_notification_is_genuine_to_both_and_read_alike(name, sdk):
    raw = vector_callback(name)
    fields = dict(parse_qsl(raw.body.decode()))
    assert sdk.verify(fields, fields.pop("sign"))
    report = make_alipay().read_callback(raw).report
    assert report.outcome is Outcome.SUCCEEDED
    assert report.code == fields["trade_status"]
    assert report.number == fields.get("out_biz_no", fields["out_trade_no"])


def test_notification_that_the_package_signs_is_read(alipays_sdk):
    fields = vector_fields()
    signature = alipays_sdk._sign("&".join(f"{name}={value}" for name, value in sorted(fields.items())))
    raw = sign_form(fields)
    assert dict(parse_qsl(raw.body.decode()))["sign"] == signature
    assert make_alipay().read_callback(raw).report.number == NUMBER


def test_notification_of_a_stranger_is_refused_by_both(sdk):
    raw = callback(key=APP_KEY)
    fields = dict(parse_qsl(raw.body.decode()))
    assert not sdk.verify(fields, fields.pop("sign"))
    with pytest.raises(NotGenuine):
        make_alipay().read_callback(raw)


@pytest.mark.parametrize("operation", ["query", "close", "refund"])
def test_answer_of_our_test_party_is_genuine_to_the_package(operation, sdk):
    document = CALLS[operation][1]
    raw = reply(document, operation=operation).body.decode()
    wrapper = f"alipay_trade_{operation}_response"
    assert sdk._verify_and_return_sync_response(raw, wrapper) == document
    forged = reply(document, operation=operation, key=APP_KEY).body.decode()
    with pytest.raises(AliPayValidationError):
        sdk._verify_and_return_sync_response(forged, wrapper)


def test_brace_inside_a_string_fails_the_package_and_not_us(sdk):
    raw = VECTORS["responses"]["query_braces_in_string"]["raw"]
    with pytest.raises((AliPayValidationError, json.JSONDecodeError)):
        sdk._verify_and_return_sync_response(raw, "alipay_trade_query_response")
    answer = reply(VECTORS["responses"]["query_braces_in_string"]["inner_signed_text"])
    assert make_alipay(answer, now=NOW).query(ORDER).outcome is Outcome.OPEN
