"""Each part of a call damaged in turn: the right status and code, and nothing kept."""

import json
from typing import Any

import pytest

from tests.sandbox.merchant import NATIVE, Merchant, make_number


def test_call_without_damage_is_accepted(merchant):
    answer = merchant.call("POST", NATIVE, merchant.order())

    assert answer.status_code == 200
    assert answer.json()["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")


@pytest.mark.parametrize(
    "damage",
    [
        {"mchid": "9900000000"},
        {"serial_no": "5A4DB0C500000000000000000000000000000000"},
        {"serial_no": ""},
        {"timestamp": "1"},
        {"timestamp": "now"},
        {"nonce_str": ""},
        {"nonce_str": "0" * 33},
        {"nonce_str": "other"},
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": "AAAA"},
        {"extra": "pair"},
    ],
    ids=lambda damage: "-".join(f"{name}={value[:8]}" for name, value in damage.items()),
)
def test_damaged_authorization_is_refused(merchant, damage):
    document = merchant.order()

    answer = merchant.call("POST", NATIVE, document, **damage)

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
    assert "Wechatpay-Signature" not in answer.headers
    assert merchant.sandbox.trades(document["out_trade_no"]) == []


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic dXNlcjpwYXNz",
        "WECHATPAY2-SHA256-RSA2048",
        'WECHATPAY2-SM2-WITH-SM3 mchid="1"',
        'WECHATPAY2-SHA256-RSA2048 mchid="1",mchid="1",nonce_str="1",signature="1",timestamp="1"',
    ],
)
def test_authorization_of_another_shape_is_refused(merchant, header):
    answer = merchant.call("POST", NATIVE, merchant.order(), headers={"Authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("age_s", [-400, 310, 3600])
def test_rightly_signed_call_outside_the_time_window_is_refused(merchant, age_s):
    body = json.dumps(merchant.order()).encode()

    answer = merchant.call("POST", NATIVE, raw=body, **merchant.sign("POST", NATIVE, body, age_s=age_s))

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


def test_time_is_covered_by_the_signature(merchant):
    body = json.dumps(merchant.order()).encode()
    timestamp = merchant.sign("POST", NATIVE, body, age_s=1)["timestamp"]

    answer = merchant.call("POST", NATIVE, raw=body, timestamp=timestamp)

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("age_s", [-240, 240])
def test_clock_may_be_some_minutes_off(merchant, age_s):
    body = json.dumps(merchant.order()).encode()

    answer = merchant.call("POST", NATIVE, raw=body, **merchant.sign("POST", NATIVE, body, age_s=age_s))

    assert answer.status_code == 200


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_pairs_of_the_authorization_come_in_any_order(merchant, order):
    body = json.dumps(merchant.order()).encode()
    pairs = list(merchant.sign("POST", NATIVE, body).items())
    text = ",".join(f'{name}="{value}"' for name, value in (pairs[place] for place in order))

    answer = merchant.call(
        "POST", NATIVE, raw=body, headers={"Authorization": f"WECHATPAY2-SHA256-RSA2048 {text}"}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "wire", [b'{"a" : 1}', b'{"a":"\\u4e24"}', '{"a":"两"}'.encode(), b' {"a":1}\n'], ids=repr
)
def test_signature_is_verified_over_the_bytes_as_sent(merchant, wire):
    right = merchant.call("POST", NATIVE, raw=wire)
    wrong = merchant.call(
        "POST", NATIVE, raw=wire, **merchant.sign("POST", NATIVE, wire.replace(b" ", b"") + b" ")
    )

    assert (right.status_code, right.json()["code"]) == (400, "PARAM_ERROR")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "SIGN_ERROR")


def test_signature_covers_the_query_string(merchant):
    number = merchant.create()
    path = f"/v3/pay/transactions/out-trade-no/{number}?mchid={merchant.env['WECHAT_MCHID']}"

    answer = merchant.call("GET", f"{path}&x=1", **merchant.sign("GET", path, b""))

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("name", ["Accept", "User-Agent"])
def test_missing_header_is_refused(merchant, name):
    answer = merchant.call("POST", NATIVE, merchant.order(), headers={name: ""})

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


WRONG_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"appid": None}, "PARAM_ERROR", "/appid"),
    ({"appid": "wx0000000000000000"}, "APPID_MCHID_NOT_MATCH", ""),
    ({"mchid": None}, "PARAM_ERROR", "/mchid"),
    ({"mchid": "1900006011"}, "PARAM_ERROR", "/mchid"),
    ({"description": None}, "PARAM_ERROR", "/description"),
    ({"description": ""}, "PARAM_ERROR", "/description"),
    ({"description": "x" * 128}, "PARAM_ERROR", "/description"),
    ({"description": 7}, "PARAM_ERROR", "/description"),
    ({"out_trade_no": "ND123"}, "PARAM_ERROR", "/out_trade_no"),
    ({"out_trade_no": "N" * 33}, "PARAM_ERROR", "/out_trade_no"),
    ({"out_trade_no": "ND 2026 11"}, "PARAM_ERROR", "/out_trade_no"),
    ({"out_trade_no": "ND2026/11"}, "PARAM_ERROR", "/out_trade_no"),
    ({"out_trade_no": "订单号订单号"}, "PARAM_ERROR", "/out_trade_no"),
    ({"notify_url": None}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "/notify/wechat/"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "http://shop.example/notify/"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "http://127.0.0.1.shop.example/"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "ftp://127.0.0.1/"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "https://shop.example/notify?a=1"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "https://shop.example/notify?"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "https://shop.example/a b"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "https://shop.example:99999/"}, "PARAM_ERROR", "/notify_url"),
    ({"notify_url": "https://shop.example/" + "x" * 235}, "PARAM_ERROR", "/notify_url"),
    ({"amount": None}, "PARAM_ERROR", "/amount/total"),
    ({"amount": 12900}, "PARAM_ERROR", "/amount"),
    ({"amount": {"currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": 0, "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": -1, "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": 1.0, "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": True, "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": "129.00", "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": 2**31, "currency": "CNY"}}, "PARAM_ERROR", "/amount/total"),
    ({"amount": {"total": 1, "currency": "USD"}}, "PARAM_ERROR", "/amount/currency"),
    ({"time_expire": "2026-11-21 18:30:00"}, "PARAM_ERROR", "/time_expire"),
    ({"time_expire": "2026-11-21T18:30:00"}, "PARAM_ERROR", "/time_expire"),
    ({"time_expire": "2026-11-21T18:30:00.5+08:00"}, "PARAM_ERROR", "/time_expire"),
    ({"time_expire": "2026-02-30T18:30:00+08:00"}, "PARAM_ERROR", "/time_expire"),
    ({"time_expire": 1795255805}, "PARAM_ERROR", "/time_expire"),
    ({"attach": "x" * 129}, "PARAM_ERROR", "/attach"),
]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    WRONG_FIELDS,
    ids=[json.dumps(row[0], ensure_ascii=False)[:60] for row in WRONG_FIELDS],
)
def test_wrong_field_is_named_and_nothing_is_kept(merchant, change, code, field):
    document = merchant.order(**change)

    answer = merchant.call("POST", NATIVE, document)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json().get("detail", {}).get("field", "") == field
    assert merchant.is_sealed(answer.headers, answer.content)
    assert merchant.sandbox.trades(document["out_trade_no"]) == []


@pytest.mark.parametrize("number", ["ND1234", "N" * 32, "a-b_c|d*9"])
def test_every_letter_and_length_of_a_number_is_accepted(merchant, number):
    unique = number + make_number("")[: max(0, 32 - len(number))]

    assert merchant.call("POST", NATIVE, merchant.order(unique[:32])).status_code == 200


def test_number_with_reserved_letters_is_found_by_its_encoded_path(merchant):
    number = merchant.create(number=f"a-b_c|d*{make_number('')[:12]}")

    answer = merchant.query(number.replace("|", "%7C").replace("*", "%2A"))

    assert answer.json()["out_trade_no"] == number


@pytest.mark.parametrize(
    "url", ["https://shop.example/notify/wechat/", "http://localhost:8000/n", "http://[::1]:8000/n"]
)
def test_https_and_loopback_addresses_may_be_notified(merchant, url):
    assert merchant.call("POST", NATIVE, merchant.order(notify_url=url)).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"description": "\\ud800"}',
        b"[" * 20_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"a=1&b=2",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_body_that_is_no_json_object_is_refused(merchant, raw):
    answer = merchant.call("POST", NATIVE, raw=raw)

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


def test_body_of_another_media_type_is_refused(merchant):
    answer = merchant.call("POST", NATIVE, merchant.order(), headers={"Content-Type": "text/plain"})

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


@pytest.mark.parametrize("query", ["", "?mchid=", "?mchid=1900006011", "?mch_id=1900006011"])
def test_query_needs_the_mchid_of_its_signature(merchant, query):
    number = merchant.create()

    answer = merchant.call("GET", f"/v3/pay/transactions/out-trade-no/{number}{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


@pytest.mark.parametrize("body", [{}, {"mch_id": "1"}, {"mchid": "1900006011"}])
def test_close_needs_the_mchid_of_its_signature(merchant, body):
    number = merchant.create()

    answer = merchant.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/close", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")
    assert merchant.sandbox.trades(number)[0]["status"] == "OPEN"


@pytest.mark.parametrize(
    "path", ["/v3/pay/transactions/out-trade-no/ND404404", "/v3/refund/domestic/refunds/R404404"]
)
def test_call_without_signature_learns_nothing_about_numbers(merchant: Merchant, path):
    answer = merchant.http.get(merchant.sandbox.url + path, headers={"Accept": "*/*", "User-Agent": "test"})

    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")
