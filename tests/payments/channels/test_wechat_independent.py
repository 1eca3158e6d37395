"""`wechatpayv3` as an independent party: what our adapter signs it would have signed, what it reads we read alike."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from wechatpayv3 import WeChatPay, WeChatPayType
from wechatpayv3.utils import build_authorization, load_private_key

from payments.channels.base import NotGenuine, NotReady, RawCallback
from payments.channels.wechat import WeChat

from .party import ScriptedWire
from .wechat_party import (
    APIV3_KEY,
    APPID,
    MCHID,
    MERCHANT,
    NONCE,
    NOW,
    NUMBER,
    ORDER,
    PLATFORM,
    REFUND,
    callback,
    error,
    make_wechat,
    refund,
    reply,
    sign,
    trade,
    vector_callback,
)

WAP = replace(ORDER, scene="wap", payer={"ip": "203.0.113.9"})
APP = replace(ORDER, scene="app")
KEY_ID = PLATFORM["public_key_id"]


def ask_for_statement(wechat: WeChat) -> None:
    with suppress(NotReady):
        wechat.fetch_statement(date(2026, 11, 20), io.BytesIO())


CALLS: dict[str, Any] = {
    "create": (lambda wechat: wechat.create(ORDER), reply(200, {"code_url": "weixin://x"})),
    "create h5": (lambda wechat: wechat.create(WAP), reply(200, {"h5_url": "https://x.example/?a=1"})),
    "create app": (lambda wechat: wechat.create(APP), reply(200, {"prepay_id": "wx21"})),
    "statement": (ask_for_statement, error(400, "NO_STATEMENT_EXIST")),
    "query": (lambda wechat: wechat.query(ORDER), reply(200, trade())),
    "close": (lambda wechat: wechat.close(ORDER), reply(204)),
    "refund": (lambda wechat: wechat.refund(REFUND), reply(200, refund())),
    "query_refund": (lambda wechat: wechat.query_refund(REFUND), reply(200, refund())),
}


@pytest.fixture
def sdk() -> WeChatPay:
    """The package in public-key mode, in which its constructor calls nobody."""
    return WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=MCHID,
        private_key=MERCHANT["private_key_pkcs8_pem"],
        cert_serial_no=MERCHANT["serial_no"],
        apiv3_key=APIV3_KEY,
        appid=APPID,
        public_key=PLATFORM["public_key_pem"],
        public_key_id=KEY_ID,
    )


def send(operation: str) -> dict[str, Any]:
    call, answer = CALLS[operation]
    wire = ScriptedWire(answer)
    call(make_wechat(wire=wire))
    return wire.sent[0]


def path_of(sent: dict[str, Any]) -> str:
    return sent["url"].removeprefix("https://api.example")


@pytest.mark.parametrize("operation", CALLS)
def test_authorization_equals_that_of_the_package(operation, monkeypatch):
    sent = send(operation)
    # The package asks the clock itself; everything else it is given.
    monkeypatch.setattr("wechatpayv3.utils.time", SimpleNamespace(time=NOW.timestamp))
    theirs = build_authorization(
        path_of(sent),
        sent["method"],
        MCHID,
        MERCHANT["serial_no"],
        load_private_key(MERCHANT["private_key_pkcs8_pem"]),
        data=(sent["body"] or b"").decode(),
        nonce_str=NONCE,
    )
    assert sent["headers"]["Authorization"] == theirs


def test_parameters_of_an_app_are_signed_as_the_package_signs_them(sdk):
    params = make_wechat(reply(200, {"prepay_id": "wx21"})).create(APP).action["params"]
    assert params["sign"] == sdk.sign([APPID, params["timestamp"], params["noncestr"], "wx21"])


@pytest.mark.parametrize("name", ["payment_success", "refund_success"])
def test_published_notification_is_read_alike(sdk, name):
    raw = vector_callback(name)
    raw = RawCallback(headers={**raw.headers, "wechatpay-serial": KEY_ID}, body=raw.body)
    theirs = sdk.callback(dict(raw.headers), raw.body)
    then = datetime.fromtimestamp(int(raw.headers["wechatpay-timestamp"]), UTC)
    ours = make_wechat(now=then).read_callback(raw)
    inside = theirs["resource"]
    assert (ours.message_id, ours.kind) == (theirs["id"], theirs["event_type"])
    assert ours.report.number == inside.get("out_refund_no", inside["out_trade_no"])
    assert ours.report.channel_number == inside.get("refund_id", inside["transaction_id"])
    assert ours.report.amount_minor == inside["amount"].get("refund", inside["amount"]["total"])
    assert ours.report.code == inside.get("refund_status", inside.get("trade_state"))


def test_probe_is_refused_by_both(sdk):
    raw = vector_callback("signtest_probe_must_fail")
    headers = {**raw.headers, "wechatpay-serial": KEY_ID}
    assert sdk.callback(dict(headers), raw.body) is None
    with pytest.raises(NotGenuine):
        make_wechat().read_callback(RawCallback(headers=headers, body=raw.body))


def test_notification_of_our_test_party_is_genuine_to_the_package(sdk):
    raw = callback("TRANSACTION.SUCCESS", trade())
    headers = sign(raw.body, serial=KEY_ID)
    assert sdk.callback(headers, raw.body)["resource"] == trade()
    assert (
        make_wechat(now=NOW).read_callback(RawCallback(headers=headers, body=raw.body)).report.number
        == NUMBER
    )
