"""Specification of WeChat's other scenes: the H5 page of a phone's browser, and the parameters of an app."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payments.channels.base import Impossible, Refused, Unanswered
from payments.channels.seals import verify_rsa_sha256

from .party import ScriptedWire
from .wechat_party import (
    APPID,
    EXPIRES_AT,
    MCHID,
    MERCHANT_KEY,
    NOW,
    NUMBER,
    ORDER,
    VECTORS,
    error,
    make_wechat,
    reply,
    sign,
)

H5_URL = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx21&package=1"
WAP = replace(
    ORDER, scene="wap", payer={"ip": "203.0.113.9"}, return_url="https://shop.example/orders/1/?a=1&b=二"
)
APP = replace(ORDER, scene="app")
ANSWERS = {"qr": {"code_url": "weixin://x"}, "wap": {"h5_url": H5_URL}, "app": {"prepay_id": "wx21"}}
ATTEMPTS = {"qr": ORDER, "wap": WAP, "app": APP}


def create(attempt, answer, **changes):
    return make_wechat(reply(200, answer), **changes).create(attempt)


# ---- where and what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scene", "product"), [("qr", "native"), ("wap", "h5"), ("app", "app")])
def test_each_scene_creates_its_own_kind_of_order(scene, product):
    wire = ScriptedWire(reply(200, ANSWERS[scene]))
    make_wechat(wire=wire).create(ATTEMPTS[scene])
    assert wire.sent[0]["url"] == f"https://api.example/v3/pay/transactions/{product}"
    sent = json.loads(wire.sent[0]["body"])
    scene_info = sent.pop("scene_info", None)
    assert sent == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "两件T恤 x2",
        "out_trade_no": NUMBER,
        "time_expire": "2026-11-21T18:30:00+08:00",
        "notify_url": "https://shop.example/notify/wechat/",
        "amount": {"total": 12900, "currency": "CNY"},
    }
    expected = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
    assert scene_info == (expected if scene == "wap" else None)


@pytest.mark.parametrize("scene", ATTEMPTS)
def test_repeated_create_of_any_scene_sends_the_very_same_content(scene):
    sent = []
    for then in (NOW, NOW + timedelta(minutes=3)):
        body = json.dumps(ANSWERS[scene]).encode()
        wire = ScriptedWire(reply(200, body, headers=sign(body, now=then)))
        make_wechat(wire=wire, now=then).create(ATTEMPTS[scene])
        sent.append(wire.sent[0]["body"])
    assert sent[0] == sent[1]


@pytest.mark.parametrize("scene", ATTEMPTS)
@pytest.mark.parametrize("other", ANSWERS)
def test_answer_is_usable_only_for_its_own_scene(scene, other):
    if scene == other:
        create(ATTEMPTS[scene], ANSWERS[other])
        return
    with pytest.raises(Unanswered) as unanswered:
        create(ATTEMPTS[scene], ANSWERS[other])
    assert unanswered.value.code == "malformed"


# ---- H5 ----------------------------------------------------------------------------------------------------------


def test_h5_order_leads_to_wechats_page_and_from_there_back_to_the_order():
    action = create(WAP, {"h5_url": H5_URL}).action
    back = "https%3A%2F%2Fshop.example%2Forders%2F1%2F%3Fa%3D1%26b%3D%E4%BA%8C"
    assert action == {"type": "redirect", "url": f"{H5_URL}&redirect_url={back}"}


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        7,
        "wx.tenpay.com/?prepay_id=1",
        "http://wx.tenpay.com/?prepay_id=1",
        "javascript:alert(1)?a=1",
        "weixin://wxpay/?a=1",
        "https://me:secret@wx.tenpay.com/?a=1",
        "https://wx.tenpay.com/page",
        "https://wx.tenpay.com/page?prepay_id=1#part",
        "https://wx.tenpay.com/?a=1 2",
        "https://wx.tenpay.com/?" + "a" * 2048,
    ],
)
def test_h5_address_that_no_browser_should_follow_is_no_answer(url):
    with pytest.raises(Unanswered) as unanswered:
        create(WAP, {"h5_url": url})
    assert unanswered.value.code == "malformed"


@pytest.mark.parametrize("ip", ["203.0.113.9", "2001:db8::1"])
def test_h5_takes_either_kind_of_address(ip):
    wire = ScriptedWire(reply(200, ANSWERS["wap"]))
    make_wechat(wire=wire).create(replace(WAP, payer={"ip": ip}))
    assert json.loads(wire.sent[0]["body"])["scene_info"]["payer_client_ip"] == ip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"payer": {}}, "payer_ip"),
        ({"payer": {"ip": ""}}, "payer_ip"),
        ({"payer": {"ip": None}}, "payer_ip"),
        ({"payer": {"ip": 1}}, "payer_ip"),
        ({"payer": {"ip": "203.0.113.9:80"}}, "payer_ip"),
        ({"payer": {"ip": "203.0.113"}}, "payer_ip"),
        ({"return_url": ""}, "return_url"),
        ({"return_url": "/orders/1/"}, "return_url"),
        ({"return_url": "http://shop.example/orders/1/"}, "return_url"),
    ],
    ids=str,
)
def test_h5_order_without_the_shoppers_address_or_a_way_back_is_refused_before_sending(change, field):
    wire = ScriptedWire()
    with pytest.raises(Impossible) as impossible:
        make_wechat(wire=wire).create(replace(WAP, **change))
    assert (impossible.value.code, wire.sent) == (f"invalid_{field}", [])


def test_other_scenes_need_no_address_of_the_shopper():
    for scene in ("qr", "app"):
        create(replace(ATTEMPTS[scene], payer={}, return_url=""), ANSWERS[scene])
    assert make_wechat().payer_keys == ("ip",)
    assert make_wechat().payer_fields == ()  # nothing that the shopper has to type


def test_h5_that_the_merchant_may_not_use_is_refused():
    with pytest.raises(Refused):
        make_wechat(error(403, "NO_AUTH")).create(WAP)


# ---- the app -----------------------------------------------------------------------------------------------------


def test_app_order_becomes_the_published_parameters():
    published = VECTORS["app_sdk_params"]["params"]
    body = json.dumps({"prepay_id": published["prepayid"]}).encode()
    then = datetime.fromtimestamp(int(published["timestamp"]), UTC)
    wechat = make_wechat(
        reply(200, body, headers=sign(body, now=then)), now=then, make_nonce=lambda: published["noncestr"]
    )
    assert wechat.create(APP).action == {"type": "sdk", "params": published}


def test_parameters_are_signed_by_the_merchant_over_four_lines():
    params = create(APP, {"prepay_id": "wx21"}).action["params"]
    text = f"{params['appid']}\n{params['timestamp']}\n{params['noncestr']}\n{params['prepayid']}\n".encode()
    assert verify_rsa_sha256(MERCHANT_KEY.public_key(), params["sign"], text)
    assert params["timestamp"] == str(int(NOW.timestamp()))


@pytest.mark.parametrize("prepay_id", [None, "", 7, "wx 21", "wx21\n", "w" * 65])
def test_app_answer_without_a_usable_prepay_id_is_unanswered(prepay_id):
    with pytest.raises(Unanswered) as unanswered:
        create(APP, {"prepay_id": prepay_id})
    assert unanswered.value.code == "malformed"


# ---- how long ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "order_lives_s", "attempt_lives_s"),
    [
        ("qr", 1800, 1800),
        ("qr", 7200, 7200),
        ("qr", 7201, 7200),
        ("app", 7201, 7200),
        ("wap", 1800, 300),
        ("wap", 300, 300),
        ("wap", 120, 120),
    ],
)
def test_attempt_ends_with_what_it_is_paid_by_and_no_later_than_its_order(
    scene, order_lives_s, attempt_lives_s
):
    ends = make_wechat().expires_at(
        scene=scene, order_expires_at=NOW + timedelta(seconds=order_lives_s), now=NOW
    )
    assert ends == NOW + timedelta(seconds=attempt_lives_s)


@pytest.mark.parametrize("scene", ATTEMPTS)
def test_every_scene_is_dead_a_margin_after_its_expiry(scene):
    assert make_wechat().dead_at(scene=scene, expires_at=EXPIRES_AT, now=NOW) == EXPIRES_AT + timedelta(
        seconds=60
    )
