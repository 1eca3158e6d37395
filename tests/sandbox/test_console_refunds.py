"""Refunds that the merchant's staff make in the channel's own console: by the control API and on the desk."""

import json
import re

import pytest

from tests.sandbox.merchant import make_number
from tests.waiting import wait_until


@pytest.fixture
def number(sandbox, merchant, shop) -> str:
    """A paid order of ¥129.00 whose payment has been notified already."""
    number = merchant.create(notify_url=shop.url)
    sandbox.pay(number)
    shop.take()
    return number


def refund(sandbox, number, **request):
    answer = sandbox.http.post(f"{sandbox.url}/_sandbox/trades/wechat/{number}/refund", timeout=10, **request)
    return answer.status_code, answer.json()


def refunds_of(sandbox, number):
    return [made for trade in sandbox.trades(number) for made in trade["refunds"]]


def use_desk(sandbox, number, **form):
    wanted = {"channel": "wechat", "out_trade_no": number, "deed": "refund", **form}
    return sandbox.http.post(f"{sandbox.url}/_sandbox/", data=wanted)


def test_console_refund_is_listed_and_ends_by_itself(sandbox, number):
    [trade] = sandbox.refund_in_console(number, 2900)

    [made] = trade["refunds"]
    assert made["amount"] == 2900
    assert re.fullmatch(r"\d{28}", made["out_refund_no"])
    wait_until(lambda: refunds_of(sandbox, number)[0]["status"] == "SUCCESS")


def test_console_refund_is_notified_where_the_payment_was(sandbox, merchant, shop, number):
    [trade] = sandbox.refund_in_console(number, 2900)

    received = shop.take()

    assert json.loads(received.body)["event_type"] == "REFUND.SUCCESS"
    content = merchant.open_notice(received.body)
    assert content["out_trade_no"] == number
    assert content["out_refund_no"] == trade["refunds"][0]["out_refund_no"]
    assert content["amount"]["refund"] == 2900


def test_merchant_can_ask_about_a_console_refund(sandbox, merchant, number):
    [trade] = sandbox.refund_in_console(number, 2900)

    answer = merchant.query_refund(trade["refunds"][0]["out_refund_no"])

    assert answer.json()["amount"]["refund"] == 2900
    assert merchant.query(number).json()["trade_state"] == "REFUND"


def test_console_refunds_and_asked_ones_share_what_was_paid(sandbox, merchant, number):
    merchant.refund(number, 12000)
    sandbox.refund_in_console(number, 900)

    status, refused = refund(sandbox, number, json={"amount": 1})

    assert (status, refused["error"]) == (409, "not_refundable")
    assert "exceed" in refused["message"]
    assert merchant.refund(number, 1).status_code == 400
    assert [made["amount"] for made in refunds_of(sandbox, number)] == [12000, 900]


def test_unpaid_trade_has_nothing_to_give_back(sandbox, merchant):
    number = merchant.create()

    assert refund(sandbox, number, json={"amount": 1})[1]["error"] == "not_refundable"
    assert refunds_of(sandbox, number) == []


def test_trade_of_a_number_paid_twice_is_told_by_its_channel_number(sandbox, number):
    second, first = sandbox.pay(number, force=True)

    sandbox.refund_in_console(number, 12900, channel_number=second["channel_number"])

    refunded = {trade["channel_number"]: len(trade["refunds"]) for trade in sandbox.trades(number)}
    assert refunded == {second["channel_number"]: 1, first["channel_number"]: 0}


def test_refund_of_what_is_not_there_is_not_found(sandbox, merchant, number):
    assert refund(sandbox, make_number(), json={"amount": 1})[0] == 404
    elsewhere = merchant.create()
    [other] = sandbox.pay(elsewhere)
    status, refused = refund(sandbox, number, json={"amount": 1, "channel_number": other["channel_number"]})
    assert (status, refused["error"]) == (404, "not_found")
    assert refunds_of(sandbox, elsewhere) == []


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "1"}, "amount"),
        ({"amount": 2**31}, "amount"),
        ({"amount": 1, "channel_number": 7}, "channel_number"),
        ({"amount": 1, "reason": "size"}, "reason"),
    ],
    ids=repr,
)
def test_wrong_refund_names_the_field_and_gives_nothing_back(sandbox, number, wish, field):
    status, refused = refund(sandbox, number, json=wish)

    assert (status, refused["error"], refused["field"]) == (400, "invalid", field)
    assert refunds_of(sandbox, number) == []


def test_desk_offers_to_give_the_rest_back_until_nothing_is_left(sandbox, number):
    rest = r'name="out_trade_no" value="{}">.*?name="amount"[^>]* value="(\d+)"'

    assert re.search(rest.format(number), use_desk(sandbox, number, amount="2900").text)[1] == "10000"
    page = use_desk(sandbox, number, amount="10000")

    assert page.history[0].status_code == 303
    assert [made["amount"] for made in refunds_of(sandbox, number)] == [2900, 10000]
    row = next(row for row in page.text.split("<tr>") if number in row)
    assert 'name="amount"' not in row


@pytest.mark.parametrize(("amount", "status"), [("", 400), ("1.5", 400), ("x", 400), ("12901", 409)])
def test_desk_tells_why_a_refund_was_refused(sandbox, number, amount, status):
    assert use_desk(sandbox, number, amount=amount).status_code == status
    assert refunds_of(sandbox, number) == []
