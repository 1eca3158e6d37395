"""Our WeChat adapter against the sandbox, over HTTP: two readings of one protocol, written apart, that must fit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from payments.channels.base import (
    Attempt,
    LineKind,
    NotReady,
    Outcome,
    RawCallback,
    RefundRequest,
    Refused,
    StatementLine,
    Unanswered,
)
from payments.channels.wechat import WeChat
from payments.channels.wechat_statement import BEIJING
from tests.sandbox.merchant import Received, Shop, make_number
from tests.sandbox_process import SandboxProcess, start_sandbox
from tests.waiting import wait_for_a_day_that_lasts

SCENES = ("qr", "wap", "app")
RETURN_URL = "https://shop.example/orders/1/"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, key_dir) -> Iterator[SandboxProcess]:
    sandbox = start_sandbox(tmp_path_factory.mktemp("wechat"), notify_speed=50, key_dir=key_dir)
    yield sandbox
    sandbox.stop()


@pytest.fixture
def wechat(sandbox) -> Iterator[WeChat]:
    yield WeChat.from_settings({key: sandbox.env[f"WECHAT_{key}"] for key in settings.CHANNEL_KEYS["wechat"]})
    sandbox.end_notifications()
    sandbox.clear_faults()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


def attempt_of(scene: str, shop: Shop | None = None, **changes) -> Attempt:
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "number": make_number(),
        "scene": scene,
        "amount_minor": 12900,
        "currency": "CNY",
        "description": "两件T恤, x2",
        "started_at": now,
        "expires_at": now + timedelta(minutes=5),
        "notify_url": shop.url if shop else "https://shop.example/notify/wechat/",
        "return_url": RETURN_URL,
        "payer": {"ip": "203.0.113.9"},
    }
    return Attempt(**given | changes)


def refund_of(attempt: Attempt, trade: str, amount: int, shop: Shop) -> RefundRequest:
    return RefundRequest(
        number=make_number("R"),
        payment_number=attempt.number,
        channel_number=trade,
        amount_minor=amount,
        paid_minor=attempt.amount_minor,
        currency="CNY",
        reason="size",
        notify_url=shop.url,
        scene=attempt.scene,
        started_at=datetime.now(UTC),
    )


def raw(received: Received) -> RawCallback:
    headers = {name.lower(): value for name, value in received.headers.items()}
    return RawCallback(headers=headers, body=received.body)


def read_statement(wechat: WeChat) -> list[StatementLine]:
    with tempfile.TemporaryFile() as file:
        wechat.fetch_statement(datetime.now(BEIJING).date(), file)
        file.seek(0)
        return list(wechat.read_statement(file))


def open_wallet(sandbox: SandboxProcess, action) -> str:
    """What the shopper does with the action; returns the page that they come to."""
    wallet = f"{sandbox.url}/_sandbox/wallet"
    if action["type"] == "qr":
        return str(sandbox.http.get(wallet, params={"content": action["content"]}).text)
    if action["type"] == "redirect":
        return str(sandbox.http.get(action["url"], headers={"Referer": "https://shop.example/"}).text)
    return str(sandbox.http.get(f"{sandbox.url}/_sandbox/wechat/app", params=action["params"]).text)


@pytest.mark.parametrize(("scene", "kind"), [("qr", "qr"), ("wap", "redirect"), ("app", "sdk")])
def test_action_of_each_scene_leads_the_shopper_to_the_order(sandbox, wechat, scene, kind):
    attempt = attempt_of(scene)
    action = wechat.create(attempt).action
    assert action["type"] == kind
    page = open_wallet(sandbox, action)
    assert attempt.number in page
    assert 'value="pay"' in page


def test_h5_page_leads_back_to_the_order(sandbox, wechat):
    action = wechat.create(attempt_of("wap")).action
    page = sandbox.http.get(action["url"], headers={"Referer": "https://shop.example/"})
    content = dict([urlsplit(page.url).query.split("=", 1)])
    paid = sandbox.http.post(page.url.partition("?")[0], data=content | {"deed": "pay"})
    assert f'<a href="{RETURN_URL}">Back to the shop</a>' in paid.text


@pytest.mark.parametrize("scene", SCENES)
def test_payment_and_refund_from_create_to_statement(sandbox, wechat, shop, scene):
    wait_for_a_day_that_lasts(BEIJING)
    attempt = attempt_of(scene, shop)
    assert wechat.query(attempt).outcome is Outcome.NOT_FOUND
    wechat.create(attempt)
    assert wechat.query(attempt).outcome is Outcome.OPEN

    [trade] = sandbox.pay(attempt.number)
    paid = wechat.read_callback(raw(shop.take())).report
    assert (paid.outcome, paid.amount_minor) == (Outcome.SUCCEEDED, 12900)
    assert (paid.number, paid.channel_number) == (attempt.number, trade["channel_number"])
    assert wechat.query(attempt) == paid
    assert wechat.close(attempt) == paid

    request = refund_of(attempt, paid.channel_number, 2900, shop)
    assert wechat.query_refund(request).outcome is Outcome.NOT_FOUND
    assert wechat.refund(request).outcome is Outcome.OPEN
    back = wechat.read_callback(raw(shop.take())).report
    assert (back.outcome, back.number, back.amount_minor) == (Outcome.SUCCEEDED, request.number, 2900)
    assert wechat.query_refund(request) == back
    assert wechat.refund(request) == back  # once more, and nothing more
    assert wechat.query(attempt).outcome is Outcome.SUCCEEDED

    ours = [line for line in read_statement(wechat) if attempt.number in (line.number, line.payment_number)]
    assert [(line.kind, line.number, line.channel_number, line.amount_minor) for line in ours] == [
        (LineKind.PAYMENT, attempt.number, paid.channel_number, 12900),
        (LineKind.REFUND, request.number, back.channel_number, 2900),
    ]
    assert ours[1].trade_number == paid.channel_number
    assert ours[0].at == paid.paid_at


@pytest.mark.parametrize("scene", SCENES)
def test_repeated_create_is_the_same_order_with_a_fresh_action(sandbox, wechat, scene):
    attempt = attempt_of(scene)
    actions = [wechat.create(attempt).action for _ in range(2)]
    assert actions[0] != actions[1]
    assert all(attempt.number in open_wallet(sandbox, action) for action in actions)
    assert len(sandbox.trades(attempt.number)) == 1


def test_closed_order_takes_no_money_and_no_second_create(sandbox, wechat):
    attempt = attempt_of("qr")
    assert wechat.close(attempt).outcome is Outcome.NOT_FOUND
    wechat.create(attempt)
    assert wechat.close(attempt).outcome is Outcome.CLOSED
    assert wechat.close(attempt).outcome is Outcome.CLOSED
    assert wechat.query(attempt).outcome is Outcome.CLOSED
    with pytest.raises(Unanswered):
        wechat.create(attempt)


@pytest.mark.parametrize(("when", "outcome"), [("before", Outcome.SUCCEEDED), ("after", Outcome.CLOSED)])
def test_shopper_who_pays_while_we_close_is_found(sandbox, wechat, shop, when, outcome):
    attempt = attempt_of("qr", shop)
    wechat.create(attempt)
    entry = {"channel": "wechat", "operation": "close", "what": "paid_meanwhile", "when": when}
    sandbox.set_faults({"script": [entry]})
    assert wechat.close(attempt).outcome is outcome
    assert wechat.query(attempt).outcome is Outcome.SUCCEEDED
    assert wechat.read_callback(raw(shop.take())).report.outcome is Outcome.SUCCEEDED


def test_order_with_other_content_under_its_number_is_refused(wechat):
    attempt = attempt_of("qr")
    wechat.create(attempt)
    with pytest.raises(Refused):
        wechat.create(attempt_of("app", number=attempt.number))


@pytest.mark.parametrize("what", ["garbage", "badsign", "syserr", "reset", "truncate", "redirect"])
@pytest.mark.parametrize("nth", [1, 2], ids=["announcement", "file"])
def test_statement_on_a_bad_day_is_not_believed(sandbox, wechat, what, nth):
    wait_for_a_day_that_lasts(BEIJING)
    attempt = attempt_of("qr")
    wechat.create(attempt)
    sandbox.pay(attempt.number)
    entry = {"channel": "wechat", "operation": "statement", "what": what, "when": "after", "nth": nth}
    sandbox.set_faults({"script": [entry]})
    if (what, nth) == ("badsign", 2):  # the file has no signature that could be bad
        assert read_statement(wechat)
        return
    with pytest.raises(Unanswered):
        read_statement(wechat)


@pytest.mark.parametrize(("what", "count"), [("statement_omit", -1), ("statement_double", 1)])
def test_statement_that_lacks_a_line_or_has_one_twice_is_whole_in_itself(sandbox, wechat, what, count):
    wait_for_a_day_that_lasts(BEIJING)
    for attempt in (attempt_of("qr"), attempt_of("qr")):
        wechat.create(attempt)
        sandbox.pay(attempt.number)
    true = len(read_statement(wechat))
    sandbox.set_faults({"script": [{"channel": "wechat", "operation": "statement", "what": what}]})
    assert len(read_statement(wechat)) == true + count


def test_day_without_trades_has_no_statement(wechat):
    with tempfile.TemporaryFile() as file, pytest.raises(NotReady):
        wechat.fetch_statement(datetime.now(BEIJING).date() - timedelta(days=7), file)
