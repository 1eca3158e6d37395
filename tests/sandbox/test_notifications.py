"""Notifications: what they say, when they are tried again, and what the faults do to them."""

import json
import time
from itertools import pairwise

import pytest

from payments.sandbox.wechat import WeChat
from tests.sandbox.merchant import Merchant, Shop, make_number
from tests.waiting import wait_until


@pytest.fixture
def sandbox(own_sandbox):
    """One for each test: a fault of notifications would strike the retries that other tests left."""
    return own_sandbox(notify_speed=50)


def pay(merchant, shop, **changes):
    number = merchant.create(notify_url=shop.url, **changes)
    merchant.sandbox.pay(number)
    return number


def tries(sandbox, number):
    return sandbox.trades(number)[0]["notifications"]


def script(sandbox, what, **more):
    sandbox.set_faults({"script": [{"channel": "wechat", "operation": "notify", "what": what, **more}]})


def test_payment_is_notified_with_the_content_of_a_query(merchant, shop):
    number = pay(merchant, shop, attach="cart 7")

    received = shop.take()

    assert received.path == "/notify/wechat/"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Wechatpay-Signature-Type"] == "WECHATPAY2-SHA256-RSA2048"
    assert merchant.is_sealed(received.headers, received.body)
    envelope = json.loads(received.body)
    assert (envelope["event_type"], envelope["resource_type"]) == ("TRANSACTION.SUCCESS", "encrypt-resource")
    assert envelope["resource"]["original_type"] == "transaction"
    assert merchant.open_notice(received.body) == merchant.query(number).json()


def test_refund_is_notified_with_its_own_fields(merchant, shop):
    number = merchant.create()
    merchant.sandbox.pay(number)
    merchant.refund(number, 2900, "R" + number, notify_url=shop.url)

    received = shop.take()

    assert json.loads(received.body)["event_type"] == "REFUND.SUCCESS"
    content = merchant.open_notice(received.body)
    assert set(content) == {
        "mchid",
        "out_trade_no",
        "transaction_id",
        "out_refund_no",
        "refund_id",
        "refund_status",
        "success_time",
        "user_received_account",
        "amount",
    }
    assert content["amount"] == {"total": 12900, "refund": 2900, "payer_total": 12900, "payer_refund": 2900}


def test_refund_without_address_is_not_notified(merchant, shop):
    number = pay(merchant, shop)
    shop.take()
    merchant.refund(number, 2900)

    wait_until(lambda: merchant.sandbox.trades(number)[0]["refunds"][0]["status"] == "SUCCESS")

    assert [made["about"] for made in tries(merchant.sandbox, number)] == ["payment"]


def test_closing_and_declining_are_not_notified(merchant, shop):
    number = merchant.create(notify_url=shop.url)
    merchant.sandbox.decline(number)
    merchant.close(number)
    pay(merchant, shop)

    assert merchant.open_notice(shop.take().body)["out_trade_no"] != number
    assert shop.received.empty()


@pytest.mark.parametrize("status", [200, 204])
def test_acknowledged_notification_is_not_sent_again(merchant, shop, status):
    shop.answer = lambda count: status
    number = pay(merchant, shop)

    wait_until(lambda: tries(merchant.sandbox, number))

    [made] = tries(merchant.sandbox, number)
    assert (made["status"], made["acknowledged"], made["error"]) == (status, True, None)


@pytest.mark.parametrize("status", [201, 302, 400, 401, 500, 503])
def test_any_other_answer_asks_for_a_retry(merchant, shop, status):
    shop.answer = lambda count: status if count == 1 else 204
    number = pay(merchant, shop)

    wait_until(lambda: len(tries(merchant.sandbox, number)) == 2)

    assert [made["acknowledged"] for made in tries(merchant.sandbox, number)] == [False, True]
    assert {shop.take().path for _ in range(2)} == {"/notify/wechat/"}


def test_each_try_keeps_the_id_and_is_signed_anew(merchant, shop):
    shop.answer = lambda count: 204 if count == 3 else 500
    pay(merchant, shop)

    received = [shop.take() for _ in range(3)]

    assert len({json.loads(one.body)["id"] for one in received}) == 1
    assert len({one.headers["Wechatpay-Nonce"] for one in received}) == 3
    assert all(merchant.is_sealed(one.headers, one.body) for one in received)


def test_schedule_is_the_channels():
    assert WeChat.gaps_s == (
        15,
        15,
        30,
        180,
        600,
        1200,
        1800,
        1800,
        1800,
        3600,
        10800,
        10800,
        10800,
        21600,
        21600,
    )
    assert sum(WeChat.gaps_s) == 24 * 3600 + 4 * 60


def test_tries_follow_the_schedule_at_its_speed(own_sandbox, shop):
    speed = 100
    merchant = Merchant(own_sandbox(notify_speed=speed))
    shop.answer = lambda count: 500
    pay(merchant, shop)

    at = [shop.take().at for _ in range(5)]

    gaps = [later - earlier for earlier, later in pairwise(at)]
    wanted = [gap / speed for gap in WeChat.gaps_s[:4]]
    assert all(want - 0.02 <= gap <= want + 1.5 for gap, want in zip(gaps, wanted, strict=True)), gaps


def test_tries_end_after_the_last_gap(own_sandbox, shop):
    sandbox = own_sandbox(notify_speed=1_000_000)
    shop.answer = lambda count: 500
    number = pay(Merchant(sandbox), shop)

    wait_until(lambda: len(tries(sandbox, number)) == 16)
    pay(Merchant(sandbox), shop)  # whatever else was due would be sent before this one's last try
    wait_until(lambda: len(tries(sandbox, sandbox.trades()[0]["out_trade_no"])) == 16)

    assert len(tries(sandbox, number)) == 16


def test_shop_that_does_not_listen_is_tried_again(merchant, shop):
    gone = Shop()
    gone.close()

    number = pay(merchant, gone)
    wait_until(lambda: len(tries(merchant.sandbox, number)) >= 2)

    made = tries(merchant.sandbox, number)[0]
    assert made["status"] is None
    assert "ConnectionRefusedError" in made["error"]


def test_shop_that_does_not_answer_in_five_seconds_is_tried_again(merchant, shop):
    shop.answer = lambda count: 0 if count == 1 else 204
    number = pay(merchant, shop)
    begun = time.monotonic()

    wait_until(lambda: len(tries(merchant.sandbox, number)) == 2, within_s=15)

    first, second = tries(merchant.sandbox, number)
    assert 4.5 < time.monotonic() - begun < 12
    assert (first["status"], first["acknowledged"]) == (None, False)
    assert second["acknowledged"]


def test_stranger_on_the_network_is_never_called(merchant):
    number = merchant.create(notify_url="https://shop.example/notify/wechat/")
    merchant.sandbox.pay(number)

    [made, *_] = wait_until(lambda: tries(merchant.sandbox, number))

    assert made["status"] is None
    assert "--allow-remote" in made["error"]


def test_pending_notification_survives_a_crash(own_sandbox, shop):
    sandbox = own_sandbox()
    sandbox.set_faults({"notify": {"delay_s": 3600}, "seed": 1})
    number = pay(Merchant(sandbox), shop)
    sandbox.kill()
    assert shop.received.empty()

    again = own_sandbox(port=sandbox.port)
    again.clear_faults()
    again.notify(number)

    assert Merchant(again).open_notice(shop.take().body)["out_trade_no"] == number


def test_unacknowledged_notification_is_tried_on_after_a_restart(own_sandbox, shop):
    shop.answer = lambda count: 500
    sandbox = own_sandbox(notify_speed=5)
    number = pay(Merchant(sandbox), shop)
    first = shop.take()
    wait_until(lambda: tries(sandbox, number))
    sandbox.kill()

    again = own_sandbox(notify_speed=5)
    second = shop.take(timeout_s=15)

    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
    assert wait_until(lambda: len(tries(again, number)) >= 2)


# Faults


def test_dropped_notification_counts_as_a_try_that_the_shop_never_sees(sandbox, merchant, shop):
    script(sandbox, "drop", times=2)
    number = pay(merchant, shop)

    shop.take()

    wait_until(lambda: len(tries(sandbox, number)) == 3)
    assert [made["status"] for made in tries(sandbox, number)] == [None, None, 204]
    assert shop.received.empty()


def test_lost_acknowledgement_brings_the_notification_again(sandbox, merchant, shop):
    script(sandbox, "drop", when="after")
    number = pay(merchant, shop)

    ids = {json.loads(shop.take().body)["id"] for _ in range(2)}

    assert len(ids) == 1
    wait_until(lambda: len(tries(sandbox, number)) == 2)
    assert "lost" in tries(sandbox, number)[0]["error"]


def test_rate_of_one_drops_every_notification(own_sandbox, shop):
    sandbox = own_sandbox(notify_speed=1_000_000)
    sandbox.set_faults({"notify": {"drop": 1}})
    number = pay(Merchant(sandbox), shop)

    wait_until(lambda: len(tries(sandbox, number)) == 16)

    assert shop.received.empty()


def test_duplicates_come_at_once_and_are_the_same(sandbox, merchant, shop):
    script(sandbox, "dup", value=5)
    number = pay(merchant, shop)

    received = [shop.take() for _ in range(5)]

    assert len({one.body for one in received}) == 1
    assert received[-1].at - received[0].at < 2
    wait_until(lambda: len(tries(sandbox, number)) == 5)


def test_duplicate_rate_sends_two(sandbox, merchant, shop):
    sandbox.set_faults({"notify": {"duplicate": 1}})
    pay(merchant, shop)

    assert shop.take().body == shop.take().body


def test_delayed_notification_comes_late_and_counts_once(sandbox, merchant, shop):
    script(sandbox, "delay", value=0.5)
    begun = time.monotonic()
    number = pay(merchant, shop)

    shop.take()

    assert time.monotonic() - begun >= 0.5
    wait_until(lambda: len(tries(sandbox, number)) == 1)


def test_reordered_notification_is_overtaken_by_the_next(sandbox, merchant, shop):
    script(sandbox, "reorder")
    first = pay(merchant, shop)
    wait_until(lambda: sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()["script"][0]["seen"])
    second = pay(merchant, shop)

    order = [merchant.open_notice(shop.take().body)["out_trade_no"] for _ in range(2)]

    assert order == [second, first]


def test_forged_notification_is_well_formed_but_a_strangers(sandbox, merchant, shop):
    script(sandbox, "badsign")
    number = pay(merchant, shop)

    received = shop.take()

    assert merchant.open_notice(received.body)["out_trade_no"] == number
    assert not merchant.is_sealed(received.headers, received.body)


def test_tampered_notification_differs_from_what_was_signed(sandbox, merchant, shop):
    sandbox.set_faults({"notify": {"tamper": 1}})
    pay(merchant, shop)

    received = shop.take()

    assert not merchant.is_sealed(received.headers, received.body)


def test_garbage_is_rightly_signed_but_no_json(sandbox, merchant, shop):
    script(sandbox, "garbage")
    pay(merchant, shop)

    received = shop.take()

    assert merchant.is_sealed(received.headers, received.body)
    with pytest.raises(ValueError):
        json.loads(received.body)


def test_lie_of_a_notification_is_rightly_signed_and_no_truth(sandbox, merchant, shop):
    script(sandbox, "lie", value={"amount": 1, "currency": "USD"})
    number = pay(merchant, shop)

    received = shop.take()

    content = merchant.open_notice(received.body)
    assert (content["amount"]["total"], content["amount"]["currency"]) == (1, "USD")
    assert merchant.is_sealed(received.headers, received.body)
    assert sandbox.trades(number)[0]["amount"] == 12900


def test_notifications_that_are_given_up_are_not_tried_again(sandbox, merchant, shop):
    shop.answer = lambda count: 500
    given_up = pay(merchant, shop)
    wait_until(lambda: tries(sandbox, given_up))

    sandbox.end_notifications()
    before = len(tries(sandbox, given_up))
    other = pay(merchant, shop)
    wait_until(lambda: len(tries(sandbox, other)) >= 3)

    assert len(tries(sandbox, given_up)) <= before + 1  # one may have been on its way


# Told to notify


def test_told_notification_is_sent_once_more_under_the_same_id(sandbox, merchant, shop):
    number = pay(merchant, shop)
    first = shop.take()

    [made] = sandbox.notify(number)

    assert (made["status"], made["acknowledged"]) == (204, True)
    assert json.loads(shop.take().body)["id"] == json.loads(first.body)["id"]


def test_told_notification_comes_through_while_all_others_are_dropped(sandbox, merchant, shop):
    sandbox.set_faults({"notify": {"drop": 1}})
    number = pay(merchant, shop)
    wait_until(lambda: tries(sandbox, number))
    assert shop.received.empty()

    sandbox.notify(number)

    assert merchant.open_notice(shop.take().body)["out_trade_no"] == number


def test_refunds_notification_can_be_told_too(sandbox, merchant, shop):
    number = pay(merchant, shop)
    shop.take()
    merchant.refund(number, 2900, "R" + number, notify_url=shop.url)
    shop.take()

    [made] = sandbox.notify(number, refund_number="R" + number)

    assert made["about"] == "refund"
    assert json.loads(shop.take().body)["event_type"] == "REFUND.SUCCESS"


def test_nothing_is_told_of_an_unpaid_trade(sandbox, merchant):
    number = merchant.create()

    answer = sandbox.http.post(f"{sandbox.url}/_sandbox/trades/wechat/{number}/notify")

    assert (answer.status_code, answer.json()["error"]) == (409, "nothing_to_notify")
    assert (
        sandbox.http.post(f"{sandbox.url}/_sandbox/trades/wechat/{make_number()}/notify").status_code == 404
    )
