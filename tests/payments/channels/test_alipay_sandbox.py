"""Our adapter against the sandbox's Alipay over real HTTP: both were written from the same pages, and not from each other."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from payments.channels.alipay import Alipay
from payments.channels.alipay_reading import BEIJING
from payments.channels.base import (
    Attempt,
    LineKind,
    NotGenuine,
    NotReady,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Report,
    Unanswered,
)
from tests.sandbox.alipay_merchant import AlipayShop
from tests.sandbox.merchant import make_number
from tests.sandbox_process import SandboxProcess
from tests.waiting import wait_for_a_day_that_lasts, wait_until

SCENES = ["qr", "wap", "app"]


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    yield shared_sandbox
    shared_sandbox.end_notifications()
    shared_sandbox.clear_faults()


@pytest.fixture
def shop() -> Iterator[AlipayShop]:
    shop = AlipayShop()
    yield shop
    shop.close()


@pytest.fixture
def alipay(sandbox: SandboxProcess) -> Alipay:
    names = ("GATEWAY_URL", "APP_ID", "SELLER_ID", "APP_KEY_FILE", "ALIPAY_KEY_FILE")
    return Alipay.from_settings({name: sandbox.env[f"ALIPAY_{name}"] for name in names})


@pytest.fixture
def order(shop: AlipayShop) -> Callable[..., Attempt]:
    def make(scene: str = "qr") -> Attempt:
        now = datetime.now(UTC)
        return Attempt(
            number=make_number(),
            scene=scene,
            amount_minor=12900,
            currency="CNY",
            description='两件T恤 } x2 "a/b&c=d"',
            started_at=now,
            expires_at=now + timedelta(minutes=30),
            notify_url=shop.url,
            return_url="https://shop.example/orders/1/",
        )

    return make


def begin(alipay: Alipay, sandbox: SandboxProcess, attempt: Attempt) -> dict[str, Any]:
    """Create it, and do what the shopper's browser or app does with it."""
    action = alipay.create(attempt).action
    if action["type"] == "redirect":
        open_wallet(sandbox, action["url"])
    elif action["type"] == "sdk":
        open_wallet(sandbox, f"{sandbox.env['ALIPAY_GATEWAY_URL']}?{action['params']['orderString']}")
    return action


def open_wallet(sandbox: SandboxProcess, url: str) -> str:
    answer = requests.get(url, allow_redirects=False, timeout=20)
    assert answer.status_code == 303, answer.text
    page = requests.get(f"{sandbox.url}{answer.headers['Location']}", timeout=20)
    assert page.status_code == 200
    return page.text


def pay(alipay: Alipay, sandbox: SandboxProcess, attempt: Attempt) -> PaymentReport:
    """Create and pay it; what a query then says."""
    begin(alipay, sandbox, attempt)
    sandbox.pay(attempt.number, channel="alipay")
    report = alipay.query(attempt)
    assert report.outcome is Outcome.SUCCEEDED
    return report


def take(alipay: Alipay, shop: AlipayShop) -> Report:
    return alipay.read_callback(RawCallback(headers={}, body=shop.take())).report


def refund_of(attempt: Attempt, paid: PaymentReport, fen: int = 2900) -> RefundRequest:
    return RefundRequest(
        number=make_number("NDR"),
        payment_number=attempt.number,
        channel_number=paid.channel_number,
        amount_minor=fen,
        paid_minor=attempt.amount_minor,
        currency="CNY",
        reason="size",
        notify_url=attempt.notify_url,
        scene=attempt.scene,
        started_at=datetime.now(UTC) - timedelta(minutes=1),
    )


@pytest.mark.parametrize("scene", SCENES)
def test_payment_is_made_paid_notified_and_refunded(alipay, sandbox, shop, order, scene):
    attempt = order(scene)
    action = begin(alipay, sandbox, attempt)
    assert action["type"] == {"qr": "qr", "wap": "redirect", "app": "sdk"}[scene]
    sandbox.scan(attempt.number, channel="alipay")
    assert alipay.query(attempt).outcome is Outcome.OPEN
    sandbox.pay(attempt.number, channel="alipay")
    paid = alipay.query(attempt)
    assert (paid.outcome, paid.amount_minor, paid.currency) == (Outcome.SUCCEEDED, 12900, "CNY")
    assert paid.paid_at is not None
    assert abs(paid.paid_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert take(alipay, shop) == paid
    assert alipay.close(attempt) == paid

    wish = refund_of(attempt, paid)
    assert alipay.query_refund(wish).outcome is Outcome.NOT_FOUND
    done = alipay.refund(wish)
    assert (done.outcome, done.code) == (Outcome.SUCCEEDED, "fund_change_Y")
    assert take(alipay, shop) == replace(done, code="TRADE_SUCCESS")
    assert alipay.query_refund(wish) == replace(done, amount_minor=2900, code="REFUND_SUCCESS")
    assert alipay.refund(wish) == alipay.query_refund(wish)
    assert [refund["amount"] for refund in sandbox.trades(attempt.number)[0]["refunds"]] == [2900]


@pytest.mark.parametrize("scene", SCENES)
def test_untouched_attempt_is_not_found_and_cannot_be_closed(alipay, sandbox, order, scene):
    attempt = order(scene)
    alipay.create(attempt)
    assert alipay.query(attempt).outcome is Outcome.NOT_FOUND
    assert alipay.close(attempt).outcome is Outcome.NOT_FOUND
    begin(alipay, sandbox, attempt)
    sandbox.pay(attempt.number, channel="alipay")
    assert alipay.query(attempt).outcome is Outcome.SUCCEEDED


def test_scanned_and_unpaid_trade_is_closed(alipay, sandbox, order):
    attempt = order()
    begin(alipay, sandbox, attempt)
    sandbox.scan(attempt.number, channel="alipay")
    assert alipay.close(attempt).outcome is Outcome.CLOSED
    assert alipay.query(attempt).outcome is Outcome.CLOSED
    assert alipay.close(attempt).outcome is Outcome.CLOSED
    assert sandbox.trades(attempt.number)[0]["status"] == "CLOSED"


def test_repeated_create_is_one_trade(alipay, sandbox, order):
    attempt = order()
    codes = {alipay.create(attempt).action["content"] for _ in range(3)}
    assert len(codes) == 3
    assert len(sandbox.trades(attempt.number)) == 1
    sandbox.pay(attempt.number, channel="alipay")
    with pytest.raises(Unanswered) as unanswered:
        alipay.create(attempt)
    assert unanswered.value.code == "ACQ.TRADE_HAS_SUCCESS"


def test_money_sent_back_in_full_does_not_undo_the_payment(alipay, sandbox, shop, order):
    attempt = order()
    paid = pay(alipay, sandbox, attempt)
    take(alipay, shop)
    done = alipay.refund(refund_of(attempt, paid, 12900))
    assert take(alipay, shop) == replace(done, code="TRADE_CLOSED")
    assert alipay.query(attempt) == replace(paid, code="TRADE_CLOSED", needs_person=True)


def test_refund_in_the_console_can_be_asked_for_by_the_number_of_its_notification(
    alipay, sandbox, shop, order
):
    attempt = order()
    paid = pay(alipay, sandbox, attempt)
    take(alipay, shop)
    sandbox.refund_in_console(attempt.number, 5000, channel="alipay")
    told = take(alipay, shop)
    assert isinstance(told, RefundReport)
    assert (told.outcome, told.amount_minor, told.payment_number) == (Outcome.SUCCEEDED, None, attempt.number)
    asked = alipay.query_refund(replace(refund_of(attempt, paid), number=told.number))
    assert (asked.outcome, asked.amount_minor) == (Outcome.SUCCEEDED, 5000)


def test_refund_of_too_much_is_refused(alipay, sandbox, order):
    attempt = order()
    paid = pay(alipay, sandbox, attempt)
    alipay.refund(refund_of(attempt, paid, 12900))
    with pytest.raises(Refused) as refused:
        alipay.refund(refund_of(attempt, paid))
    assert refused.value.code == "ACQ.TRADE_STATUS_ERROR"


def test_trade_of_a_number_that_was_paid_twice_is_refunded_by_its_own_number(alipay, sandbox, order):
    attempt = order()
    paid = pay(alipay, sandbox, attempt)
    rows = sandbox.pay(attempt.number, channel="alipay", force=True)
    second = next(row for row in rows if row["channel_number"] != paid.channel_number)
    wish = replace(refund_of(attempt, paid, 12900), channel_number=second["channel_number"])
    assert alipay.refund(wish).trade_number == second["channel_number"]
    by_number = {row["channel_number"]: row["refunds"] for row in sandbox.trades(attempt.number)}
    assert (len(by_number[second["channel_number"]]), len(by_number[paid.channel_number])) == (1, 0)


@pytest.mark.parametrize("what", ["badsign", "garbage", "syserr", "truncate", "reset", "status", "redirect"])
@pytest.mark.parametrize("operation", ["create", "query", "close", "refund", "query_refund"])
def test_call_under_a_fault_is_unknown_and_never_failed(alipay, sandbox, order, operation, what):
    attempt = order()
    paid = (
        pay(alipay, sandbox, attempt)
        if "refund" in operation
        else PaymentReport(outcome=Outcome.OPEN, number="")
    )
    wish = refund_of(attempt, paid)
    script = [{"channel": "alipay", "operation": operation, "when": "after", "what": what}]
    sandbox.set_faults({"script": script})
    if operation == "create":
        with pytest.raises(Unanswered):
            alipay.create(attempt)
        return
    calls = {"query": alipay.query, "close": alipay.close, "refund": alipay.refund}
    call = calls.get(operation, alipay.query_refund)
    assert call(wish if "refund" in operation else attempt).outcome is Outcome.UNKNOWN


def test_refund_whose_answer_was_lost_moved_money_once(alipay, sandbox, order):
    attempt = order()
    wish = refund_of(attempt, pay(alipay, sandbox, attempt))
    sandbox.set_faults(
        {"script": [{"channel": "alipay", "operation": "refund", "when": "after", "what": "reset"}]}
    )
    assert alipay.refund(wish).outcome is Outcome.UNKNOWN
    assert alipay.query_refund(wish).amount_minor == 2900
    assert alipay.refund(wish).outcome is Outcome.SUCCEEDED
    assert len(sandbox.trades(attempt.number)[0]["refunds"]) == 1


@pytest.mark.parametrize("fault", [{"forge": 1}, {"tamper": 1}])
def test_forged_or_changed_notification_is_refused(alipay, sandbox, shop, order, fault):
    attempt = order()
    begin(alipay, sandbox, attempt)
    sandbox.set_faults({"notify": fault})
    sandbox.pay(attempt.number, channel="alipay")
    with pytest.raises(NotGenuine):
        take(alipay, shop)


@pytest.mark.parametrize(("word", "reason"), [("merchant", "seller_id"), ("app", "app_id")])
def test_genuine_notification_for_another_account_is_refused(alipay, sandbox, shop, order, word, reason):
    attempt = order()
    begin(alipay, sandbox, attempt)
    lie = {"channel": "alipay", "operation": "notify", "what": "lie", "value": {word: "2088000000000000"}}
    sandbox.set_faults({"script": [lie]})
    sandbox.pay(attempt.number, channel="alipay")
    with pytest.raises(NotGenuine) as error:
        take(alipay, shop)
    assert (error.value.reason, error.value.number) == (reason, attempt.number)


def test_our_acknowledgement_ends_the_notifications(alipay, sandbox, shop, order):
    answer = alipay.acknowledge()
    shop.answer = (answer.status, answer.body)
    attempt = order()
    pay(alipay, sandbox, attempt)
    tries = wait_until(lambda: sandbox.trades(attempt.number)[0]["notifications"])
    assert tries[0]["acknowledged"]


def test_our_refusal_is_no_acknowledgement(alipay, sandbox, shop, order):
    answer = alipay.refuse_callback("signature")
    shop.answer = (answer.status, answer.body)
    attempt = order()
    pay(alipay, sandbox, attempt)
    tries = wait_until(lambda: sandbox.trades(attempt.number)[0]["notifications"])
    assert not tries[0]["acknowledged"]


def test_wallet_leads_back_to_the_shop_and_its_link_pays_nothing_more(alipay, sandbox, order):
    attempt = order("wap")
    url = begin(alipay, sandbox, attempt)["url"]
    wallet = requests.get(url, allow_redirects=False, timeout=20).headers["Location"]
    sandbox.pay(attempt.number, channel="alipay")
    assert f'href="{attempt.return_url}?' in requests.get(f"{sandbox.url}{wallet}", timeout=20).text
    assert "ACQ.TRADE_HAS_SUCCESS" in requests.get(url, allow_redirects=False, timeout=20).text


def test_statement_holds_what_was_paid_and_refunded(alipay, sandbox, order):
    wait_for_a_day_that_lasts(BEIJING)
    attempt = order()
    paid = pay(alipay, sandbox, attempt)
    wish = refund_of(attempt, paid)
    alipay.refund(wish)
    into = io.BytesIO()
    alipay.fetch_statement(datetime.now(BEIJING).date(), into)
    lines = {line.number: line for line in alipay.read_statement(into)}
    line = lines[attempt.number]
    assert (line.kind, line.channel_number, line.amount_minor) == (
        LineKind.PAYMENT,
        paid.channel_number,
        12900,
    )
    assert (line.fee_minor, line.at) == (77, paid.paid_at)
    back = lines[wish.number]
    assert (back.kind, back.amount_minor, back.fee_minor) == (LineKind.REFUND, 2900, -17)
    assert (back.payment_number, back.trade_number) == (attempt.number, paid.channel_number)


def test_day_without_a_statement_is_not_ready(alipay):
    with pytest.raises(NotReady):
        alipay.fetch_statement(datetime(2020, 1, 1, tzinfo=BEIJING).date(), io.BytesIO())


@pytest.mark.parametrize(("nth", "what"), [(1, "badsign"), (1, "reset"), (2, "truncate"), (2, "reset")])
def test_statement_that_does_not_come_whole_is_unanswered(alipay, sandbox, order, nth, what):
    wait_for_a_day_that_lasts(BEIJING)
    pay(alipay, sandbox, order())
    fault = {"channel": "alipay", "operation": "statement", "when": "after", "what": what, "nth": nth}
    sandbox.set_faults({"script": [fault]})
    with pytest.raises(Unanswered):
        alipay.fetch_statement(datetime.now(BEIJING).date(), io.BytesIO())


def test_gateway_that_does_not_know_our_app_refuses(alipay, sandbox, order):
    names = ("GATEWAY_URL", "SELLER_ID", "APP_KEY_FILE", "ALIPAY_KEY_FILE")
    settings = {name: sandbox.env[f"ALIPAY_{name}"] for name in names} | {"APP_ID": "9021000000000000"}
    stranger = Alipay.from_settings(settings)
    with pytest.raises(Refused) as refused:
        stranger.create(order())
    assert refused.value.code == "isv.invalid-app-id"
