"""Each part of a call to UnionPay damaged in turn: the right code, and nothing kept."""

from datetime import timedelta

import pytest

from tests.sandbox.unionpay_merchant import (
    APP,
    BACK,
    FRONT,
    QUERY,
    UnionPayMerchant,
    read_answer,
)


@pytest.fixture
def merchant(sandbox):
    return UnionPayMerchant(sandbox)


def assert_refused(merchant, order, code, path=BACK, **damage):
    told = merchant.call(path, order, **damage)
    assert told["respCode"] == code, told
    assert merchant.sandbox.trades(order["orderId"], "unionpay") == []
    return told


# Who is calling


@pytest.mark.parametrize(
    "damage",
    [
        {"signature": ""},
        {"signature": "not base64!"},
        {"signature": "AAAA"},
        {"txnAmt": "1"},
        {"backUrl": "http://127.0.0.1:9/other/"},
        {"certId": "1"},
        {"extra": "parameter"},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_call_that_was_changed_after_signing_is_refused_without_a_signature(merchant, damage):
    told = assert_refused(merchant, merchant.order(), "11", **damage)

    assert "signature" not in told
    assert "signPubKeyCert" not in told


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": "5.0.0"}, "10"),
        ({"version": None}, "10"),
        ({"signMethod": "11"}, "10"),
        ({"merId": "777290000012345"}, "31"),
        ({"merId": None}, "31"),
        ({"certId": None}, "11"),
        ({"encoding": "GBK"}, "10"),
        ({"encoding": None}, "13"),
        ({"accessType": "1"}, "10"),
        ({"accessType": None}, "13"),
    ],
    ids=str,
)
def test_envelope_must_be_that_of_this_merchant(merchant, change, code):
    assert_refused(merchant, merchant.order(**change), code)


def test_empty_parameters_are_not_signed_and_not_there(merchant):
    order = merchant.order()
    assert merchant.call(BACK, order, reserved="")["respCode"] == "00"
    assert_refused(merchant, merchant.order(backUrl=""), "13")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"no form", {}),
        (b"\xff", {}),
        (b"a=%ff", {}),
        (b"a=1&a=1", {}),
        (b'{"txnType":"01"}', {"Content-Type": "application/json"}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", [BACK, QUERY, APP])
def test_body_that_is_no_form_is_refused(merchant, path, body, headers):
    answer = merchant.post(path, body, headers=headers)

    assert answer.status_code == 200
    assert read_answer(answer.text)["respCode"] == "10"


# A payment


@pytest.mark.parametrize("scene", ["qr", "app"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"txnSubType": "02"}, "10"),
        ({"txnSubType": None}, "13"),
        ({"bizType": "000301"}, "10"),
        ({"bizType": None}, "13"),
        ({"channelType": "09"}, "10"),
        ({"channelType": None}, "13"),
        ({"txnAmt": "0"}, "10"),
        ({"txnAmt": "012900"}, "10"),
        ({"txnAmt": "129.00"}, "10"),
        ({"txnAmt": "-1"}, "10"),
        ({"txnAmt": "1" * 13}, "10"),
        ({"txnAmt": None}, "13"),
        ({"currencyCode": "840"}, "10"),
        ({"currencyCode": "CNY"}, "10"),
        ({"currencyCode": None}, "13"),
        ({"backUrl": "ftp://shop.example/"}, "10"),
        ({"backUrl": "http://shop.example/notify/"}, "10"),
        ({"backUrl": None}, "13"),
        ({"txnTime": None}, "13"),
        ({"txnTime": "20261321181005"}, "10"),
        ({"txnTime": "2026-11-21"}, "10"),
        ({"txnTime": timedelta(seconds=-7300)}, "10"),
        ({"txnTime": timedelta(seconds=7300)}, "10"),
        ({"payTimeout": "soon"}, "10"),
        ({"payTimeout": timedelta(seconds=-1)}, "39"),
        ({"reqReserved": "a&b"}, "10"),
        ({"reqReserved": "{a}"}, "10"),
        ({"reqReserved": "x" * 1025}, "10"),
        ({"orderDesc": "x" * 33}, "10"),
    ],
    ids=str,
)
def test_parameter_that_breaks_its_rule_is_refused(merchant, scene, change, code):
    path = {"qr": BACK, "app": APP}[scene]
    assert_refused(merchant, merchant.order(scene, **change), code, path)


@pytest.mark.parametrize(
    "number", ["ND20261", "N" * 33, "ND-20261121", "ND_20261121", "ND 20261121", "订单订单订单订单"]
)
def test_order_id_is_8_to_32_letters_and_digits(merchant, number):
    told = merchant.call(BACK, merchant.order(orderId=number))

    assert told["respCode"] == "10"
    assert merchant.sandbox.trades(number, "unionpay") == []


@pytest.mark.parametrize(
    "change",
    [
        {"txnAmt": "0"},
        {"frontUrl": None},
        {"frontUrl": "orders"},
        {"txnSubType": "07"},
        {"bizType": "000000"},
    ],
    ids=str,
)
def test_form_that_breaks_a_rule_is_refused_on_a_page(merchant, change):
    order = merchant.order("wap", **change)

    answer = merchant.post(FRONT, merchant.sign(order))

    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert merchant.sandbox.trades(order["orderId"], "unionpay") == []


def test_form_that_was_changed_is_refused_on_a_page(merchant):
    order = merchant.order("wap")

    answer = merchant.post(FRONT, merchant.sign(order) | {"txnAmt": "1"})

    assert answer.status_code == 400
    assert "验证签名失败" in answer.content.decode()
    assert merchant.sandbox.trades(order["orderId"], "unionpay") == []


@pytest.mark.parametrize(("scene", "path"), [("qr", APP), ("app", BACK), ("wap", BACK)])
def test_product_belongs_to_its_path(merchant, scene, path):
    assert_refused(merchant, merchant.order(scene), "10", path)


def test_trade_of_a_type_that_is_not_taken_is_refused(merchant):
    assert_refused(merchant, merchant.order(txnType="11"), "32")


# A query


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"txnAmt": "12900"}, "10"),
        ({"currencyCode": "156"}, "10"),
        ({"backUrl": "http://127.0.0.1:9/"}, "10"),
        ({"channelType": "08"}, "10"),
        ({"txnType": "01"}, "10"),
        ({"txnSubType": "01"}, "10"),
        ({"orderId": None}, "13"),
        ({"txnTime": None}, "13"),
        ({"txnTime": "1"}, "10"),
    ],
    ids=str,
)
def test_query_holds_the_identity_and_nothing_of_the_trade(merchant, change, code):
    order, _ = merchant.paid()

    assert merchant.query(order, **change)["respCode"] == code


# A refund


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"orderId": "R-12345678"}, "10"),
        ({"orderId": None}, "13"),
        ({"txnAmt": "0"}, "10"),
        ({"txnAmt": "12901"}, "36"),
        ({"txnAmt": None}, "13"),
        ({"currencyCode": "840"}, "10"),
        ({"backUrl": None}, "13"),
        ({"txnTime": timedelta(seconds=-7300)}, "10"),
        ({"bizType": "000201"}, "36"),
        ({"origQryId": "2" * 21}, "35"),
        ({"origQryId": None}, "13"),
        ({"txnSubType": "01"}, "10"),
    ],
    ids=str,
)
def test_refund_that_breaks_a_rule_is_refused(merchant, change, code):
    order, query_id = merchant.paid()

    assert merchant.refund(order, query_id, 100, **change)["respCode"] == code
    assert merchant.sandbox.trades(order["orderId"], "unionpay")[0]["refunds"] == []


def test_refund_needs_a_number_of_its_own(merchant):
    order, query_id = merchant.paid()

    assert merchant.refund(order, query_id, 100, orderId=order["orderId"])["respCode"] == "12"


# A statement


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"settleDate": "1321"}, "10"),
        ({"settleDate": "0230"}, "10"),
        ({"settleDate": "20261121"}, "10"),
        ({"settleDate": None}, "13"),
        ({"fileType": "01"}, "10"),
        ({"fileType": None}, "13"),
        ({"orderId": "ND20261121"}, "10"),
        ({"txnAmt": "1"}, "10"),
        ({"txnSubType": "02"}, "10"),
        ({"txnTime": timedelta(seconds=-7300)}, "10"),
    ],
    ids=str,
)
def test_statement_request_that_breaks_a_rule_is_refused(merchant, change, code):
    assert merchant.statement("0101", **change)["respCode"] == code
