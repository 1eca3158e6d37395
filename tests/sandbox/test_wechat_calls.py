"""The life of an order and of its refunds, as a merchant sees it through the calls."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.sandbox.merchant import NATIVE, REFUNDS, make_number
from tests.waiting import wait_until

BEIJING = timezone(timedelta(hours=8))


def in_minutes(minutes: float) -> str:
    return (datetime.now(BEIJING) + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def paid_number(merchant, **changes):
    number = merchant.create(**changes)
    merchant.sandbox.pay(number)
    return number


def code_of(answer):
    return answer.status_code, answer.json()["code"]


# Create


def test_same_order_again_gets_a_fresh_code_of_the_same_order(merchant):
    document = merchant.order(time_expire=in_minutes(30))

    codes = [merchant.call("POST", NATIVE, document).json()["code_url"] for _ in range(2)]

    assert codes[0] != codes[1]
    assert len(merchant.sandbox.trades(document["out_trade_no"])) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"amount": {"total": 12901, "currency": "CNY"}},
        {"time_expire": in_minutes(50)},
        {"time_expire": None},
        {"description": "other"},
        {"notify_url": "http://127.0.0.1:9/other/"},
        {"attach": "new"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_same_number_with_other_content_is_refused_and_the_first_order_stands(merchant, change):
    document = merchant.order(time_expire=in_minutes(30))
    merchant.call("POST", NATIVE, document)

    answer = merchant.call(
        "POST",
        NATIVE,
        merchant.order(document["out_trade_no"], **{"time_expire": document["time_expire"], **change}),
    )

    assert code_of(answer) == (400, "INVALID_REQUEST")
    assert [trade["amount"] for trade in merchant.sandbox.trades(document["out_trade_no"])] == [12900]


def test_paid_order_is_not_created_again(merchant):
    document = merchant.order()
    merchant.call("POST", NATIVE, document)
    merchant.sandbox.pay(document["out_trade_no"])

    assert code_of(merchant.call("POST", NATIVE, document)) == (400, "ORDERPAID")


def test_closed_order_is_not_created_again(merchant):
    document = merchant.order()
    merchant.call("POST", NATIVE, document)
    merchant.close(document["out_trade_no"])

    assert code_of(merchant.call("POST", NATIVE, document)) == (400, "ORDERCLOSED")


@pytest.mark.parametrize("minutes", [-10, 0.2])
def test_expiry_less_than_a_minute_ahead_is_lifted_to_a_minute(merchant, minutes):
    number = merchant.create(time_expire=in_minutes(minutes))

    assert merchant.sandbox.pay(number)[0]["status"] == "PAID"


# Query


def test_unpaid_order_has_no_fields_of_a_payment(merchant):
    number = merchant.create(attach="cart 7")

    document = merchant.query(number).json()

    assert document == {
        "appid": merchant.env["WECHAT_APPID"],
        "mchid": merchant.env["WECHAT_MCHID"],
        "out_trade_no": number,
        "trade_type": "NATIVE",
        "trade_state": "NOTPAY",
        "trade_state_desc": "订单未支付",
        "attach": "cart 7",
        "amount": {"total": 12900, "currency": "CNY"},
    }


def test_paid_order_tells_amount_time_and_transaction(merchant):
    number = paid_number(merchant)

    document = merchant.query(number).json()

    assert document["trade_state"] == "SUCCESS"
    assert re.fullmatch(r"4200\d{24}", document["transaction_id"])
    assert document["amount"] == {
        "total": 12900,
        "payer_total": 12900,
        "currency": "CNY",
        "payer_currency": "CNY",
    }
    paid_at = datetime.fromisoformat(document["success_time"])
    assert paid_at.utcoffset() == timedelta(hours=8)
    assert abs(datetime.now(UTC) - paid_at) < timedelta(minutes=1)


def test_paid_order_is_found_by_transaction_id(merchant):
    transaction_id = merchant.query(paid_number(merchant)).json()["transaction_id"]

    answer = merchant.call(
        "GET", f"/v3/pay/transactions/id/{transaction_id}?mchid={merchant.env['WECHAT_MCHID']}"
    )

    assert answer.json()["transaction_id"] == transaction_id


def test_unknown_order_does_not_exist(merchant):
    assert code_of(merchant.query(make_number())) == (404, "ORDERNOTEXIST")
    assert code_of(merchant.close(make_number())) == (404, "ORDERNOTEXIST")
    by_id = merchant.call("GET", f"/v3/pay/transactions/id/42000?mchid={merchant.env['WECHAT_MCHID']}")
    assert code_of(by_id) == (404, "ORDERNOTEXIST")


# Close


def test_closed_order_says_closed_and_takes_no_money(merchant):
    number = merchant.create()

    answer = merchant.close(number)

    assert (answer.status_code, answer.content) == (204, b"")
    assert merchant.is_sealed(answer.headers, b"")
    assert merchant.query(number).json()["trade_state"] == "CLOSED"
    refused = merchant.http.post(f"{merchant.sandbox.url}/_sandbox/trades/wechat/{number}/pay")
    assert (refused.status_code, refused.json()["error"]) == (409, "closed")


def test_closing_again_is_no_error(merchant):
    number = merchant.create()

    assert [merchant.close(number).status_code for _ in range(2)] == [204, 204]


def test_paid_order_is_not_closed(merchant):
    number = paid_number(merchant)

    assert code_of(merchant.close(number)) == (400, "ORDERPAID")
    assert merchant.query(number).json()["trade_state"] == "SUCCESS"


# Refund


def test_refund_is_accepted_first_and_done_later(merchant):
    number = paid_number(merchant)

    accepted = merchant.refund(number, 2900, "R1" + number)

    assert accepted.status_code == 200
    assert accepted.json()["status"] == "PROCESSING"
    assert "success_time" not in accepted.json()
    done = wait_until(lambda: find_done(merchant, "R1" + number))
    assert done["success_time"]
    assert (done["amount"]["refund"], done["amount"]["total"]) == (2900, 12900)
    assert done["refund_id"] == accepted.json()["refund_id"]


def find_done(merchant, refund_number, status="SUCCESS"):
    document = merchant.query_refund(refund_number).json()
    return document if document["status"] == status else None


def test_refunded_order_says_so_but_stays_paid_in_the_ledger(merchant):
    number = paid_number(merchant)
    merchant.refund(number, 100)

    assert merchant.query(number).json()["trade_state"] == "REFUND"
    assert merchant.sandbox.trades(number)[0]["status"] == "PAID"


def test_same_refund_number_refunds_once(merchant):
    number = paid_number(merchant)

    answers = [merchant.refund(number, 2900, "R1" + number) for _ in range(3)]

    assert len({answer.json()["refund_id"] for answer in answers}) == 1
    assert [refund["amount"] for refund in merchant.sandbox.trades(number)[0]["refunds"]] == [2900]


def test_same_refund_number_with_other_content_is_refused(merchant):
    number = paid_number(merchant)
    merchant.refund(number, 2900, "R1" + number)

    assert code_of(merchant.refund(number, 3000, "R1" + number)) == (400, "INVALID_REQUEST")
    assert code_of(merchant.refund(paid_number(merchant), 2900, "R1" + number)) == (400, "INVALID_REQUEST")


def test_partial_refunds_never_exceed_what_was_paid(merchant):
    number = paid_number(merchant)

    statuses = [merchant.refund(number, amount).status_code for amount in (12000, 901, 900, 1)]

    assert statuses == [200, 400, 200, 400]
    assert [refund["amount"] for refund in merchant.sandbox.trades(number)[0]["refunds"]] == [12000, 900]


def test_order_may_be_named_by_transaction_id(merchant):
    number = paid_number(merchant)
    transaction_id = merchant.query(number).json()["transaction_id"]

    answer = merchant.refund(number, 1, out_trade_no=None, transaction_id=transaction_id)

    assert answer.json()["out_trade_no"] == number


def test_unpaid_order_is_not_refunded(merchant):
    assert code_of(merchant.refund(merchant.create(), 1)) == (403, "TRADE_ERROR")


def test_unknown_order_or_refund_does_not_exist(merchant):
    number = paid_number(merchant)

    assert code_of(merchant.refund(make_number(), 1)) == (404, "RESOURCE_NOT_EXISTS")
    assert code_of(merchant.refund(number, 1, out_trade_no=None, transaction_id="42")) == (
        404,
        "RESOURCE_NOT_EXISTS",
    )
    assert code_of(merchant.query_refund(make_number())) == (404, "RESOURCE_NOT_EXISTS")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"out_refund_no": None}, "PARAM_ERROR"),
        ({"out_refund_no": "R 1"}, "PARAM_ERROR"),
        ({"out_refund_no": "R" * 65}, "PARAM_ERROR"),
        ({"out_trade_no": None}, "PARAM_ERROR"),
        ({"reason": "x" * 81}, "PARAM_ERROR"),
        ({"notify_url": "https://shop.example/?a=1"}, "PARAM_ERROR"),
        ({"amount": {"refund": 0, "total": 12900, "currency": "CNY"}}, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "currency": "CNY"}}, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 12900}}, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 12900, "currency": "USD"}}, "PARAM_ERROR"),
        ({"amount": {"refund": 1, "total": 1, "currency": "CNY"}}, "INVALID_REQUEST"),
    ],
    ids=repr,
)
def test_wrong_field_of_a_refund_is_refused_and_nothing_is_kept(merchant, change, code):
    number = paid_number(merchant)

    answer = merchant.call("POST", REFUNDS, merchant.refund_wish(number, 1) | change)

    assert code_of(answer) == (400, code)
    assert merchant.sandbox.trades(number)[0]["refunds"] == []


def test_order_takes_fifty_refunds_and_no_more(merchant):
    number = paid_number(merchant)

    answers = [merchant.refund(number, 1) for _ in range(51)]

    assert [answer.status_code for answer in answers] == [200] * 50 + [403]
    assert answers[-1].json()["code"] == "RULE_LIMIT"


# Seals


def test_answers_to_rightly_signed_calls_are_sealed_errors_too(merchant):
    for answer in (merchant.query(merchant.create()), merchant.query(make_number())):
        assert merchant.is_sealed(answer.headers, answer.content)
        assert answer.headers["Wechatpay-Signature-Type"] == "WECHATPAY2-SHA256-RSA2048"
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Request-ID"]
