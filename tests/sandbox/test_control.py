"""The control API: the truth of the money, what the shopper does, and clear refusals."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.sandbox.merchant import NATIVE, Merchant, make_number
from tests.waiting import wait_until

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


def post(sandbox, path, **request):
    answer = sandbox.http.post(f"{sandbox.url}/_sandbox/trades{path}", timeout=10, **request)
    return answer.status_code, answer.json()


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def test_unpaid_trade_is_told_with_all_its_fields(sandbox, merchant):
    number = merchant.create()

    [trade] = sandbox.trades(number)

    assert TIMES.fullmatch(trade.pop("created_at"))
    assert trade == {
        "channel": "wechat",
        "out_trade_no": number,
        "channel_number": None,
        "amount": 12900,
        "currency": "CNY",
        "status": "OPEN",
        "paid_at": None,
        "refunds": [],
        "notifications": [],
    }


def test_paid_trade_tells_when_to_the_microsecond(sandbox, merchant):
    [trade] = sandbox.pay(merchant.create())

    assert TIMES.fullmatch(trade["paid_at"])
    assert trade["paid_at"] > trade["created_at"]
    assert trade["status"] == "PAID"


def test_trades_are_told_newest_first_and_can_be_filtered(sandbox, merchant):
    numbers = [merchant.create() for _ in range(3)]

    told = [trade["out_trade_no"] for trade in sandbox.trades(channel="wechat")]

    assert told[:3] == numbers[::-1]
    assert [trade["out_trade_no"] for trade in sandbox.trades(numbers[1])] == [numbers[1]]
    assert sandbox.trades(channel="nobody") == []


def test_paying_twice_is_refused(sandbox, merchant):
    number = merchant.create()
    sandbox.pay(number)

    assert post(sandbox, f"/wechat/{number}/pay") == (409, {"error": "paid", "message": "this trade is paid"})
    assert len(sandbox.trades(number)) == 1


def test_declined_trade_stays_open_and_can_be_paid_later(sandbox, merchant):
    number = merchant.create()

    [declined] = sandbox.decline(number)

    assert declined["status"] == "OPEN"
    assert merchant.query(number).json()["trade_state"] == "NOTPAY"
    assert sandbox.pay(number)[0]["status"] == "PAID"


def test_paid_trade_cannot_be_declined(sandbox, merchant):
    number = merchant.create()
    sandbox.pay(number)

    assert post(sandbox, f"/wechat/{number}/decline")[0] == 409


def test_late_money_comes_only_by_force(sandbox, merchant):
    number = merchant.create()
    merchant.close(number)
    assert post(sandbox, f"/wechat/{number}/pay")[1]["error"] == "closed"

    [trade] = sandbox.pay(number, force=True)

    assert trade["status"] == "PAID"
    assert merchant.query(number).json()["trade_state"] == "SUCCESS"


def test_second_person_pays_a_paid_trade_only_by_force(sandbox, merchant):
    number = merchant.create()
    sandbox.pay(number)

    trades = sandbox.pay(number, force=True)

    assert [trade["status"] for trade in trades] == ["PAID", "PAID"]
    assert len({trade["channel_number"] for trade in trades}) == 2


@pytest.mark.parametrize("deed", ["pay", "decline", "notify"])
def test_deed_on_an_unknown_trade_or_channel_is_not_found(sandbox, deed):
    assert post(sandbox, f"/wechat/{make_number()}/{deed}")[0] == 404
    assert post(sandbox, f"/stripe/{make_number()}/{deed}")[1]["error"] == "not_found"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"data": b"{"}, "body"),
        ({"data": b"\xff"}, "body"),
        ({"json": []}, "body"),
        ({"json": {"forced": True}}, "forced"),
        ({"json": {"force": 1}}, "force"),
    ],
    ids=repr,
)
def test_wrong_wish_names_the_field_and_pays_nothing(sandbox, merchant, request_, field):
    number = merchant.create()

    status, document = post(sandbox, f"/wechat/{number}/pay", **request_)

    assert (status, document["error"], document["field"]) == (400, "invalid", field)
    assert sandbox.trades(number)[0]["status"] == "OPEN"


def test_faults_are_put_shown_and_deleted(sandbox):
    entry = {"channel": "wechat", "operation": "query", "when": "after", "what": "hang", "value": 5}

    sandbox.set_faults({"seed": 7, "notify": {"drop": 0.5}, "script": [entry]})

    shown = sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()
    assert shown == {
        "seed": 7,
        "channels": [],
        "operations": [],
        "notify": {"drop": 0.5},
        "api": {},
        "script": [{**entry, "nth": 1, "times": 1, "seen": 0}],
    }
    sandbox.clear_faults()
    assert sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()["script"] == []


def test_wrong_faults_are_refused_with_the_field(sandbox):
    answer = sandbox.http.put(f"{sandbox.url}/_sandbox/faults", json={"notify": {"drop": 2}})

    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["field"]) == ("invalid", "notify.drop")


def test_faults_that_are_no_json_are_refused(sandbox):
    answer = sandbox.http.put(f"{sandbox.url}/_sandbox/faults", data=b"drop=1")

    assert (answer.status_code, answer.json()["field"]) == (400, "body")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_sandbox/nothing", 404),
        ("GET", "/v3/nothing", 404),
        ("POST", "/_sandbox/trades", 405),
        ("DELETE", "/v3/certificates", 405),
    ],
)
def test_unknown_path_and_wrong_method_are_said_plainly(sandbox, method, path, status):
    answer = sandbox.http.request(method, sandbox.url + path)

    assert answer.status_code == status
    assert answer.json()["code"]


def test_trade_of_ten_payers_at_once_is_paid_once(sandbox, merchant):
    number = merchant.create()

    statuses = race(sandbox, number)

    assert sorted(statuses) == [200] + [409] * 9
    assert len(sandbox.trades(number)) == 1


def race(sandbox, number):
    address = f"{sandbox.url}/_sandbox/trades/wechat/{number}/pay"
    with ThreadPoolExecutor(10) as payers:
        return list(payers.map(lambda _: requests.post(address, timeout=10).status_code, range(10)))


def test_paying_and_closing_at_once_ends_in_one_of_both(sandbox, merchant):
    for _ in range(10):
        number = merchant.create()
        with ThreadPoolExecutor(2) as hands:
            paying = hands.submit(post, sandbox, f"/wechat/{number}/pay")
            closing = hands.submit(merchant.close, number)

        outcome = (paying.result()[0], closing.result().status_code, sandbox.trades(number)[0]["status"])

        assert outcome in [(200, 400, "PAID"), (409, 204, "CLOSED")]


def make_older(data_dir, seconds: int) -> None:
    """Let time pass for a gateway that is stopped: its orders and codes expire sooner."""
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE trades SET expires_at = expires_at - ?", [seconds * 1_000_000])
        ledger.execute("UPDATE handles SET valid_until = valid_until - ?", [seconds * 1_000_000])


@pytest.fixture
def aged(own_sandbox, tmp_path):
    """An order of 30 minutes, and the same gateway so many seconds later."""

    def age(seconds: int, **changes):
        sandbox = own_sandbox()
        document = Merchant(sandbox).order(**changes)
        code = Merchant(sandbox).call("POST", NATIVE, document).json()["code_url"]
        sandbox.stop()
        make_older(tmp_path / "sandbox", seconds)
        return own_sandbox(), document, code

    return age


def test_order_after_its_time_cannot_be_paid_but_stays_unpaid_until_closed(aged):
    sandbox, document, code = aged(1801, time_expire=in_seconds(1800))
    merchant, number = Merchant(sandbox), document["out_trade_no"]

    assert post(sandbox, f"/wechat/{number}/pay")[1]["error"] == "expired"
    assert "The time to pay is over" in sandbox.http.get(f"{sandbox.url}/_sandbox/wallet?content={code}").text
    assert merchant.query(number).json()["trade_state"] == "NOTPAY"
    assert merchant.call("POST", NATIVE, document).json()["code"] == "INVALID_REQUEST"
    assert merchant.close(number).status_code == 204
    assert merchant.query(number).json()["trade_state"] == "CLOSED"


def test_expired_order_takes_money_only_by_force(aged):
    sandbox, document, _ = aged(1801, time_expire=in_seconds(1800))

    assert sandbox.pay(document["out_trade_no"], force=True)[0]["status"] == "PAID"


def test_order_just_before_its_time_can_be_paid(aged):
    sandbox, document, _ = aged(1700, time_expire=in_seconds(1800))

    assert sandbox.pay(document["out_trade_no"])[0]["status"] == "PAID"


def test_code_is_good_for_two_hours_and_a_fresh_one_after_it(aged):
    sandbox, document, code = aged(7201)
    merchant = Merchant(sandbox)

    page = sandbox.http.get(f"{sandbox.url}/_sandbox/wallet?content={code}").text
    fresh = merchant.call("POST", NATIVE, document).json()["code_url"]

    assert "This code is too old" in page
    assert "<button" not in page
    assert 'value="pay"' in sandbox.http.get(f"{sandbox.url}/_sandbox/wallet?content={fresh}").text


def test_notifications_of_a_trade_are_told_with_their_answers(sandbox, merchant, shop):
    number = merchant.create(notify_url=shop.url)
    sandbox.pay(number)

    [made] = wait_until(lambda: sandbox.trades(number)[0]["notifications"])

    assert TIMES.fullmatch(made.pop("at"))
    assert made.pop("id")
    assert made == {"about": "payment", "status": 204, "error": None, "acknowledged": True}
