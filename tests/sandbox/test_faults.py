"""Each fault of a call as the merchant's side meets it, and what it left in the ledger."""

import socket
import threading
import time
from contextlib import suppress

import pytest
import requests

from tests.sandbox.merchant import NATIVE, make_number
from tests.waiting import wait_until


def script(sandbox, operation, what, when="after", **more):
    sandbox.set_faults(
        {"script": [{"channel": "wechat", "operation": operation, "what": what, "when": when, **more}]}
    )


def count_trades(sandbox, number):
    return len(sandbox.trades(number))


BROKEN = [
    "refuse",
    "reset",
    "hang",
    "status",
    "garbage",
    "truncate",
    "badsign",
    "drip",
    "redirect",
    "flood",
    "syserr",
]
VALUES = {"hang": 0.2, "drip": 0.001, "flood": 1000}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", BROKEN)
def test_operation_took_effect_only_where_the_fault_comes_after_it(sandbox, merchant, what, when):
    script(sandbox, "create", what, when, **({"value": VALUES[what]} if what in VALUES else {}))
    document = merchant.order()

    with suppress(requests.RequestException):
        merchant.call("POST", NATIVE, document)

    assert count_trades(sandbox, document["out_trade_no"]) == (when == "after")


@pytest.mark.parametrize("when", ["before", "after"])
def test_close_that_failed_closed_nothing_unless_after(sandbox, merchant, when):
    number = merchant.create()
    script(sandbox, "close", "syserr", when)

    assert merchant.close(number).status_code == 500
    assert sandbox.trades(number)[0]["status"] == ("OPEN" if when == "before" else "CLOSED")


@pytest.mark.parametrize("when", ["before", "after"])
def test_refund_without_answer_moved_money_only_where_after(sandbox, merchant, when):
    number = merchant.create()
    sandbox.pay(number)
    script(sandbox, "refund", "reset", when)

    with pytest.raises(requests.ConnectionError):
        merchant.refund(number, 2900)

    assert len(sandbox.trades(number)[0]["refunds"]) == (when == "after")


def test_scripted_fault_ends_after_its_times(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "syserr", times=2)

    assert [merchant.query(number).status_code for _ in range(3)] == [500, 500, 200]


def test_refuse_closes_without_a_byte(sandbox, merchant):
    script(sandbox, "query", "refuse")

    with pytest.raises(requests.ConnectionError, match="without response"):
        merchant.query(make_number())


def test_reset_is_a_reset(sandbox, merchant):
    script(sandbox, "query", "reset")

    with pytest.raises(requests.ConnectionError, match="reset"):
        merchant.query(make_number())


def test_hang_outlasts_a_clients_patience(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "hang", value=60)

    with pytest.raises(requests.ReadTimeout):
        merchant.query(number, timeout=0.3)


def test_hang_ends_when_the_client_goes(sandbox, merchant):
    script(sandbox, "create", "hang", value=60)
    document = merchant.order()

    with pytest.raises(requests.ReadTimeout):
        merchant.call("POST", NATIVE, document, timeout=0.2)
    merchant.http.close()

    wait_until(lambda: f"POST {NATIVE} abandoned" in sandbox.log_file.read_text(), within_s=5)


def test_late_answer_of_what_was_done_still_comes(sandbox, merchant):
    script(sandbox, "create", "hang", value=0.3)
    begun = time.monotonic()

    answer = merchant.call("POST", NATIVE, merchant.order())

    assert time.monotonic() - begun >= 0.3
    assert merchant.is_sealed(answer.headers, answer.content)


def test_order_can_be_paid_while_the_answer_to_its_create_hangs(sandbox, merchant):
    script(sandbox, "create", "hang", value=30)
    document = merchant.order()
    call = threading.Thread(target=try_call, args=(merchant, document), daemon=True)
    call.start()

    wait_until(lambda: sandbox.trades(document["out_trade_no"]))
    assert sandbox.pay(document["out_trade_no"])[0]["status"] == "PAID"
    merchant.http.close()


def try_call(merchant, document):
    with suppress(requests.RequestException):
        merchant.call("POST", NATIVE, document, timeout=2)


def test_bare_status_is_a_proxys_page(sandbox, merchant):
    script(sandbox, "query", "status", value=503)

    answer = merchant.query(make_number())

    assert answer.status_code == 503
    assert "<html>" in answer.text
    assert "Wechatpay-Signature" not in answer.headers


def test_status_with_a_code_is_the_channels_own_refusal(sandbox, merchant):
    script(sandbox, "create", "status", "before", value={"status": 403, "code": "NO_AUTH"})
    document = merchant.order()

    answer = merchant.call("POST", NATIVE, document)

    assert (answer.status_code, answer.json()["code"]) == (403, "NO_AUTH")
    assert merchant.is_sealed(answer.headers, answer.content)
    assert sandbox.trades(document["out_trade_no"]) == []


def test_garbage_is_rightly_signed_but_no_json(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "garbage")

    answer = merchant.query(number)

    assert answer.status_code == 200
    assert merchant.is_sealed(answer.headers, answer.content)
    with pytest.raises(ValueError):
        answer.json()


def test_truncated_answer_ends_in_the_middle(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "truncate")

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        merchant.query(number)


def test_bad_signature_is_well_formed_but_a_strangers(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "badsign")

    answer = merchant.query(number)

    assert answer.json()["out_trade_no"] == number
    assert answer.headers["Wechatpay-Serial"] == merchant.env["WECHAT_PLATFORM_KEY_ID"]
    assert not merchant.is_sealed(answer.headers, answer.content)


def test_drip_is_slower_than_any_read_timeout_notices(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "query", "drip", value=0.01)
    begun = time.monotonic()

    answer = merchant.query(number, timeout=2)

    assert time.monotonic() - begun > 0.01 * len(answer.content) * 0.9
    assert merchant.is_sealed(answer.headers, answer.content)


def test_redirect_leads_elsewhere(sandbox, merchant):
    script(sandbox, "query", "redirect", value="http://127.0.0.1:9/elsewhere")

    answer = merchant.query(make_number())

    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:9/elsewhere")


def test_flood_is_as_long_as_asked_for(sandbox, merchant):
    script(sandbox, "query", "flood", value=3_000_001)

    assert len(merchant.query(make_number()).content) == 3_000_001


@pytest.mark.parametrize("operation", ["query", "close", "query_refund"])
def test_notfound_denies_what_exists(sandbox, merchant, operation):
    number = merchant.create()
    sandbox.pay(number)
    merchant.refund(number, 1, "R" + number)
    script(sandbox, operation, "notfound", "before")
    calls = {
        "query": merchant.query,
        "close": merchant.close,
        "query_refund": lambda _: merchant.query_refund("R" + number),
    }

    answer = calls[operation](number)

    code = "RESOURCE_NOT_EXISTS" if operation == "query_refund" else "ORDERNOTEXIST"
    assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert merchant.is_sealed(answer.headers, answer.content)


@pytest.mark.parametrize(
    ("lie", "path", "told"),
    [
        ({"amount": 1}, ("amount", "total"), 1),
        ({"currency": "USD"}, ("amount", "currency"), "USD"),
        ({"merchant": "1900006011"}, ("mchid",), "1900006011"),
        ({"app": "wx0"}, ("appid",), "wx0"),
        ({"status": "PAYERROR"}, ("trade_state",), "PAYERROR"),
        ({"out_trade_no": "ND0000"}, ("out_trade_no",), "ND0000"),
        ({"channel_number": "42"}, ("transaction_id",), "42"),
    ],
    ids=repr,
)
def test_lie_of_a_query_is_rightly_signed_and_no_truth(sandbox, merchant, lie, path, told):
    number = merchant.create()
    sandbox.pay(number)
    script(sandbox, "query", "lie", value=lie)

    answer = merchant.query(number)

    document = answer.json()
    for name in path:
        document = document[name]
    assert document == told
    assert merchant.is_sealed(answer.headers, answer.content)
    assert sandbox.trades(number)[0]["amount"] == 12900


def test_lie_of_a_refund_query_is_about_the_refund(sandbox, merchant):
    number = merchant.create()
    sandbox.pay(number)
    merchant.refund(number, 2900, "R" + number)
    script(sandbox, "query_refund", "lie", value={"amount": 1, "status": "CLOSED"})

    document = merchant.query_refund("R" + number).json()

    assert (document["amount"]["refund"], document["amount"]["total"], document["status"]) == (
        1,
        12900,
        "CLOSED",
    )


@pytest.mark.parametrize("end", ["ABNORMAL", "CLOSED"])
def test_refund_can_end_without_reaching_the_payer(sandbox, merchant, shop, end):
    number = merchant.create()
    sandbox.pay(number)
    script(sandbox, "refund", "refund_abnormal", value=end)

    merchant.refund(number, 2900, "R" + number, notify_url=shop.url)

    assert b"REFUND." + end.encode() in shop.take().body
    assert merchant.query_refund("R" + number).json()["status"] == end
    assert sandbox.trades(number)[0]["refunds"][0]["status"] == end


def test_closed_refund_leaves_its_money_to_be_refunded(sandbox, merchant):
    number = merchant.create()
    sandbox.pay(number)
    script(sandbox, "refund", "refund_abnormal", value="CLOSED")
    merchant.refund(number, 12900, "R" + number)

    wait_until(lambda: sandbox.trades(number)[0]["refunds"][0]["status"] == "CLOSED")

    assert merchant.refund(number, 12900).status_code == 200


def test_two_trades_pays_one_number_twice(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "pay", "two_trades")

    trades = sandbox.pay(number)

    assert [trade["status"] for trade in trades] == ["PAID", "PAID"]
    assert len({trade["channel_number"] for trade in trades}) == 2
    assert {trade["out_trade_no"] for trade in trades} == {number}


def test_each_of_two_trades_is_refunded_by_its_own_number(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "pay", "two_trades")
    theirs = [trade["channel_number"] for trade in sandbox.pay(number)]

    for transaction_id in theirs:
        answer = merchant.refund(number, 12900, out_trade_no=None, transaction_id=transaction_id)
        assert answer.json()["transaction_id"] == transaction_id

    assert [len(trade["refunds"]) for trade in sandbox.trades(number)] == [1, 1]


@pytest.mark.parametrize("rate", ["error_before", "error_after"])
def test_error_rate_answers_with_the_channels_system_error(sandbox, merchant, rate):
    sandbox.set_faults({"api": {rate: 1}})
    document = merchant.order()

    answer = merchant.call("POST", NATIVE, document)

    assert (answer.status_code, answer.json()["code"]) == (500, "SYSTEM_ERROR")
    assert count_trades(sandbox, document["out_trade_no"]) == (rate == "error_after")


@pytest.mark.parametrize("rate", ["timeout_before", "timeout_after"])
def test_timeout_rate_lets_a_client_wait(sandbox, merchant, rate):
    sandbox.set_faults({"api": {rate: 1}})
    document = merchant.order()

    with pytest.raises(requests.ReadTimeout):
        merchant.call("POST", NATIVE, document, timeout=0.3)

    assert count_trades(sandbox, document["out_trade_no"]) == (rate == "timeout_after")


def test_slow_rate_holds_answers_back(sandbox, merchant):
    number = merchant.create()
    sandbox.set_faults({"seed": 1, "api": {"slow_s": 0.2}})
    begun = time.monotonic()

    statuses = [merchant.query(number).status_code for _ in range(5)]

    assert statuses == [200] * 5
    assert 0.1 < time.monotonic() - begun < 3


def test_other_calls_go_on_while_some_hang(sandbox, merchant):
    number = merchant.create()
    script(sandbox, "create", "hang", value=60, times=10)
    stuck = [socket.create_connection(("127.0.0.1", sandbox.port)) for _ in range(10)]
    request = merchant.http.prepare_request(requests.Request("POST", sandbox.url + NATIVE, data=b"{}"))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    for connection in stuck:
        connection.sendall(f"POST {NATIVE} HTTP/1.1\r\nHost: x\r\n{head}\r\n{{}}".encode())

    assert merchant.query(number).status_code == 200
    for connection in stuck:
        connection.close()
