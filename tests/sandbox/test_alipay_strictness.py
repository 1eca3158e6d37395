"""Each part of a call to Alipay damaged in turn: the right code, no signature where the caller had none, and nothing kept."""

import json
import socket
from urllib.parse import urlencode, urlsplit

import pytest

from tests.sandbox.alipay_merchant import PRECREATE, QUERY, AlipayMerchant
from tests.sandbox.merchant import make_number


@pytest.fixture
def merchant(sandbox):
    return AlipayMerchant(sandbox)


def refusal_of(merchant, fields, **how):
    """The code of an answer of the gateway itself, which is not signed."""
    answer = merchant.send(fields, **how)
    assert (answer.status_code, set(answer.json())) == (200, {"error_response"})
    return answer.json()["error_response"]["sub_code"]


def test_call_without_damage_is_accepted(merchant):
    content = merchant.order()
    assert merchant.call(PRECREATE, content)["code"] == "10000"
    assert len(merchant.sandbox.trades(content["out_trade_no"])) == 1


@pytest.mark.parametrize(
    ("change", "sub_code"),
    [
        ({"app_id": None}, "isv.missing-app-id"),
        ({"app_id": "2021009876543210"}, "isv.invalid-app-id"),
        ({"method": None}, "isv.missing-method"),
        ({"method": "alipay.trade.steal"}, "isv.invalid-method"),
        ({"sign_type": None}, "isv.missing-signature-type"),
        ({"sign_type": "RSA"}, "isv.invalid-signature-type"),
        ({"sign_type": "rsa2"}, "isv.invalid-signature-type"),
        ({"charset": "GBK"}, "isv.invalid-charset"),
        ({"timestamp": None}, "isv.missing-timestamp"),
        ({"timestamp": "2026-11-21T18:10:05"}, "isv.invalid-timestamp"),
        ({"timestamp": "1795255805"}, "isv.invalid-timestamp"),
        ({"version": None}, "isv.missing-version"),
        ({"version": "2.0"}, "isv.invalid-version"),
    ],
    ids=str,
)
def test_common_parameter_that_is_missing_or_wrong_is_refused(merchant, change, sub_code):
    content = merchant.order()
    assert refusal_of(merchant, merchant.fields(PRECREATE, content, **change)) == sub_code
    assert merchant.sandbox.trades(content["out_trade_no"]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", QUERY),
        ("timestamp", "2026-11-21 18:10:05"),
        ("biz_content", '{"out_trade_no":"ND1","total_amount":"0.01","subject":"x"}'),
        ("notify_url", "http://127.0.0.1:9/other/"),
        ("charset", "UTF-8"),
    ],
)
def test_parameter_that_was_changed_after_signing_is_refused(merchant, name, value):
    content = merchant.order()
    fields = merchant.fields(PRECREATE, content, notify_url="http://127.0.0.1:9/notify/")
    assert refusal_of(merchant, fields | {name: value}) == "isv.invalid-signature"
    assert merchant.sandbox.trades(content["out_trade_no"]) == []


@pytest.mark.parametrize("sign", ["", "AAAA", "not base64!"])
def test_signature_of_another_shape_is_refused(merchant, sign):
    fields = merchant.fields(PRECREATE, merchant.order())
    expected = "isv.invalid-signature" if sign else "isv.missing-signature"
    assert refusal_of(merchant, fields | {"sign": sign}) == expected


def test_sign_type_is_part_of_what_is_signed(merchant):
    fields = merchant.fields(PRECREATE, merchant.order())
    del fields["sign"]
    without = merchant.sign({name: value for name, value in fields.items() if name != "sign_type"})
    assert refusal_of(merchant, without | {"sign_type": "RSA2"}) == "isv.invalid-signature"


def test_parameter_that_is_added_after_signing_is_refused(merchant):
    fields = merchant.fields(PRECREATE, merchant.order())
    assert refusal_of(merchant, fields | {"return_url": "https://evil.example/"}) == "isv.invalid-signature"


def test_parameter_that_is_there_twice_is_refused(merchant):
    fields = merchant.fields(PRECREATE, merchant.order())
    answer = merchant.http.post(merchant.url, params={"method": fields["method"]}, data=fields, timeout=20)
    assert answer.json()["error_response"]["sub_code"] == "isv.invalid-parameter"


@pytest.mark.parametrize(
    "in_query",
    [
        (),
        ("app_id", "method", "charset", "sign_type", "timestamp", "version", "sign"),
        ("app_id", "method", "charset", "sign_type", "timestamp", "version", "sign", "biz_content"),
        ("sign",),
    ],
    ids=len,
)
def test_parameters_may_be_split_between_query_and_body(merchant, in_query):
    answer = merchant.send(merchant.fields(PRECREATE, merchant.order()), in_query=in_query)
    assert merchant.open(answer.text, PRECREATE)["code"] == "10000"


def test_call_may_come_by_get(merchant):
    link = f"{merchant.url}?{urlencode(merchant.fields(PRECREATE, merchant.order()))}"
    assert merchant.open(merchant.http.get(link, timeout=20).text, PRECREATE)["code"] == "10000"


def test_request_line_may_hold_the_whole_address(merchant):
    url, body = urlsplit(merchant.url), urlencode(merchant.fields(PRECREATE, merchant.order()))
    request = (
        f"POST {merchant.url} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded;charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert merchant.open(answer.partition("\r\n\r\n")[2], PRECREATE)["code"] == "10000"


@pytest.mark.parametrize(
    "change",
    [
        {"out_trade_no": None},
        {"out_trade_no": ""},
        {"out_trade_no": "N" * 65},
        {"out_trade_no": "ND-1"},
        {"out_trade_no": 7},
        {"subject": None},
        {"subject": ""},
        {"subject": "恤" * 257},
        {"total_amount": None},
        {"total_amount": ""},
        {"total_amount": "0.00"},
        {"total_amount": 0},
        {"total_amount": "-1.00"},
        {"total_amount": "1.001"},
        {"total_amount": 1.001},
        {"total_amount": "1e2"},
        {"total_amount": "100000000.01"},
        {"total_amount": True},
        {"total_amount": [1]},
        {"time_expire": "2026-11-21"},
        {"time_expire": "2020-01-01 00:00:00"},
        {"time_expire": "2099-02-30 00:00:00"},
        {"timeout_express": "30"},
        {"timeout_express": "0m"},
        {"timeout_express": "16d"},
        {"timeout_express": "1.5h"},
        {"qr_code_timeout_express": "30s"},
    ],
    ids=str,
)
def test_content_that_breaks_a_rule_is_refused_and_nothing_is_kept(merchant, change):
    content = merchant.order(**change)
    said = merchant.call(PRECREATE, content)
    assert (said["code"], said["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")
    if isinstance(content.get("out_trade_no"), str) and content["out_trade_no"]:
        assert merchant.sandbox.trades(content["out_trade_no"]) == []


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "null", '{"a":NaN}', '{"total_amount":"1.00","total_amount":"2.00"}', "[" * 5000],
)
def test_content_that_is_no_strict_object_is_refused(merchant, content):
    assert merchant.call(PRECREATE, content)["sub_code"] == "ACQ.INVALID_PARAMETER"


@pytest.mark.parametrize("url", ["http://shop.example/notify", "ftp://shop.example/", "notify"])
def test_notify_url_that_cannot_be_called_is_refused(merchant, url):
    said = merchant.call(PRECREATE, merchant.order(), notify_url=url)
    assert said["sub_code"] == "ACQ.INVALID_PARAMETER"


@pytest.mark.parametrize("life", ["1m", "90m", "2h", "15d", "1c"])
def test_life_of_a_code_is_told_in_minutes_hours_and_days(merchant, life):
    number = merchant.create(qr_code_timeout_express=life, timeout_express=life)
    merchant.scan(number)
    assert merchant.query(number)["trade_status"] == "WAIT_BUYER_PAY"


def test_slashes_of_an_answer_are_escaped_and_its_signature_stands_last(merchant):
    text = merchant.send(merchant.fields(PRECREATE, merchant.order())).text
    assert '"qr_code":"https:\\/\\/qr.alipay.com\\/bax' in text
    assert text.index('},"sign":"') > text.index('"qr_code"')
    assert list(json.loads(text)) == ["alipay_trade_precreate_response", "sign"]


def test_subject_with_braces_and_quotes_is_signed_as_it_is_sent(merchant, sandbox):
    number = make_number()
    merchant.create(out_trade_no=number, subject='a } "tricky" {/name')
    sandbox.pay(number, channel="alipay")
    assert merchant.query(number)["trade_status"] == "TRADE_SUCCESS"


def ask_under(merchant, **fault):
    """The number of a paid trade, and the answer to its query under one fault."""
    number = merchant.pay()
    script = [{"channel": "alipay", "operation": "query", "when": "after", **fault}]
    merchant.sandbox.set_faults({"script": script})
    return number, merchant.send(merchant.fields(QUERY, {"out_trade_no": number}))


@pytest.mark.parametrize(
    ("what", "sub_code"), [("syserr", "ACQ.SYSTEM_ERROR"), ("notfound", "ACQ.TRADE_NOT_EXIST")]
)
def test_error_of_a_fault_is_signed_and_in_alipays_own_words(merchant, what, sub_code):
    number, answer = ask_under(merchant, what=what)
    said = merchant.open(answer.text, QUERY)
    assert (said["code"], said["sub_code"]) == ("40004", sub_code)
    assert said.get("out_trade_no") == (number if what == "notfound" else None)


def test_lie_about_a_trade_is_signed(merchant):
    _, answer = ask_under(merchant, what="lie", value={"amount": 1, "currency": "USD", "status": "NEW"})
    said = merchant.open(answer.text, QUERY)
    assert (said["total_amount"], said["trans_currency"], said["trade_status"]) == ("0.01", "USD", "NEW")


def test_forged_answer_is_signed_by_a_stranger(merchant):
    _, answer = ask_under(merchant, what="badsign")
    inner, _, rest = answer.text.removeprefix('{"alipay_trade_query_response":').rpartition(',"sign":"')
    assert not merchant.is_sealed(inner, rest.removesuffix('"}'))


def test_garbage_is_no_answer(merchant):
    assert ask_under(merchant, what="garbage")[1].content == b"<<<\xff\xfe{]"


@pytest.mark.parametrize(
    "code", ["ACQ.SELLER_BALANCE_NOT_ENOUGH", "isv.app-call-limited", "isp.unknow-error"]
)
def test_any_code_can_be_asked_for(merchant, code):
    number = merchant.pay()
    fault = {
        "channel": "alipay",
        "operation": "refund",
        "when": "before",
        "what": "status",
        "value": {"status": 400, "code": code},
    }
    merchant.sandbox.set_faults({"script": [fault]})
    answer = merchant.send(
        merchant.fields(
            "alipay.trade.refund", {"out_trade_no": number, "refund_amount": "1", "out_request_no": "R1"}
        )
    )
    assert answer.json()["alipay_trade_refund_response"]["sub_code"] == code
