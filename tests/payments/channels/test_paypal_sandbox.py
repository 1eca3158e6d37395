"""The PayPal adapter against the running sandbox: two programs, written apart, that must understand each other over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
import requests

from payments.channels.base import (
    Attempt,
    CallbackMessage,
    LineKind,
    NotGenuine,
    NotReady,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Unanswered,
    Unreachable,
)
from payments.channels.paypal import PayPal
from tests.sandbox.merchant import Shop
from tests.sandbox_process import SandboxProcess
from tests.waiting import wait_for_a_day_that_lasts


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess, shop: Shop) -> Iterator[SandboxProcess]:
    shared_sandbox.set_webhooks(paypal=shop.url)
    yield shared_sandbox
    shared_sandbox.end_notifications()
    shared_sandbox.clear_faults()


@pytest.fixture
def settings_of(sandbox: SandboxProcess) -> dict[str, str]:
    prefix = "PAYPAL_"
    return {name.removeprefix(prefix): text for name, text in sandbox.env.items() if name.startswith(prefix)}


@pytest.fixture
def paypal(settings_of: dict[str, str]) -> PayPal:
    return PayPal.from_settings(settings_of)


def new_attempt(**changes: Any) -> Attempt:
    now = datetime.now(UTC)
    number = "P" + secrets.token_hex(11).upper()
    given: dict[str, Any] = {
        "number": number,
        "scene": "page",
        "amount_minor": 1990,
        "currency": "USD",
        "description": "2 x T-shirt",
        "started_at": now,
        "expires_at": now + timedelta(minutes=30),
        "notify_url": "",
        "return_url": "http://127.0.0.1:9/orders/1/",
        "capture_id": f"{number}C1",
    }
    return Attempt(**given | changes)


def create(paypal: PayPal, **changes: Any) -> Attempt:
    attempt = new_attempt(**changes)
    return replace(attempt, handle=paypal.create(attempt).handle)


def approve(sandbox: SandboxProcess, attempt: Attempt) -> None:
    sandbox.pay(attempt.number, channel="paypal")


def create_paid(paypal: PayPal, sandbox: SandboxProcess, **changes: Any) -> tuple[Attempt, str]:
    attempt = create(paypal, **changes)
    approve(sandbox, attempt)
    return attempt, paypal.capture(attempt).channel_number


def refund_of(attempt: Attempt, capture_id: str, **changes: Any) -> RefundRequest:
    given: dict[str, Any] = {
        "number": "R" + secrets.token_hex(11).upper(),
        "payment_number": attempt.number,
        "channel_number": capture_id,
        "amount_minor": 500,
        "paid_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "reason": "size",
        "notify_url": "",
        "scene": attempt.scene,
        "started_at": datetime.now(UTC),
    }
    return RefundRequest(**given | changes)


def trade_of(sandbox: SandboxProcess, attempt: Attempt) -> dict[str, Any]:
    return sandbox.trades(attempt.number, channel="paypal")[0]


def raw_of(received: Any) -> RawCallback:
    headers = {name.lower(): value for name, value in received.headers.items()}
    return RawCallback(headers=headers, body=received.body)


def take(paypal: PayPal, shop: Shop, kind: str) -> CallbackMessage:
    """The next webhook of a kind, verified by asking the sandbox."""
    while True:
        message = paypal.read_callback(raw_of(shop.take()))
        if message.kind == kind:
            return message


def script(sandbox: SandboxProcess, operation: str, what: str, **more: Any) -> None:
    entry = {"channel": "paypal", "operation": operation, "when": "before", "what": what, **more}
    sandbox.set_faults({"script": [entry]})


# ---- a payment from its beginning to its end ---------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["page", "wap"])
@pytest.mark.parametrize("currency", ["USD", "BRL"])
def test_link_leads_the_browser_to_the_wallet_and_the_payment_through_approval_and_capture(
    paypal, sandbox, shop, scene, currency
):
    attempt = new_attempt(scene=scene, currency=currency)
    created = paypal.create(attempt)
    attempt = replace(attempt, handle=created.handle)
    page = requests.get(created.action["url"], timeout=10)
    assert (page.status_code, "$" in page.text) == (200, True)
    assert paypal.query(attempt).outcome is Outcome.OPEN
    approve(sandbox, attempt)
    assert paypal.query(attempt).outcome is Outcome.APPROVED
    assert take(paypal, shop, "CHECKOUT.ORDER.APPROVED").report == PaymentReport(
        outcome=Outcome.APPROVED, number=attempt.number, code="APPROVED"
    )
    assert trade_of(sandbox, attempt)["status"] == "OPEN"

    captured = paypal.capture(attempt)

    assert (captured.outcome, captured.number) == (Outcome.SUCCEEDED, attempt.number)
    assert (captured.amount_minor, captured.currency) == (1990, currency)
    assert paypal.query(attempt) == captured
    assert take(paypal, shop, "PAYMENT.CAPTURE.COMPLETED").report == captured
    trade = trade_of(sandbox, attempt)
    assert (trade["status"], trade["channel_number"]) == ("PAID", captured.channel_number)


def test_app_gets_the_order_for_the_sdk(paypal, sandbox, settings_of):
    attempt = new_attempt(scene="app")
    created = paypal.create(attempt)
    assert created.action == {
        "type": "sdk",
        "params": {"orderId": created.handle, "clientId": settings_of["CLIENT_ID"]},
    }
    approve(sandbox, attempt)
    assert paypal.capture(replace(attempt, handle=created.handle)).outcome is Outcome.SUCCEEDED


def test_wallet_page_approves_and_leads_back_to_the_shop(paypal, sandbox):
    attempt = new_attempt()
    created = paypal.create(attempt)
    wallet = requests.get(created.action["url"], timeout=10)
    form = {"content": created.action["url"], "deed": "pay"}
    agreed = requests.post(f"{sandbox.url}/_sandbox/wallet", data=form, timeout=10)
    assert "Agree and pay" in wallet.text
    assert "You agreed" in agreed.text
    assert f"{attempt.return_url}?token={created.handle}" in agreed.text
    assert paypal.query(replace(attempt, handle=created.handle)).outcome is Outcome.APPROVED


def test_create_again_after_a_lost_answer_brings_the_same_order(paypal, sandbox):
    attempt = new_attempt()
    sandbox.set_faults(
        {"script": [{"channel": "paypal", "operation": "create", "when": "after", "what": "reset"}]}
    )
    with pytest.raises(Unanswered):
        paypal.create(attempt)
    assert paypal.query(attempt).outcome is Outcome.NOT_FOUND
    first, second = paypal.create(attempt), paypal.create(attempt)
    assert first == second
    assert len(sandbox.trades(attempt.number, channel="paypal")) == 1


# ---- capture -----------------------------------------------------------------------------------------------------


def test_capture_sent_twice_takes_the_money_once(paypal, sandbox):
    attempt = create(paypal)
    approve(sandbox, attempt)
    assert paypal.capture(attempt) == paypal.capture(attempt)
    other = paypal.capture(replace(attempt, capture_id=f"{attempt.number}C2"))
    assert other.outcome is Outcome.SUCCEEDED
    assert [trade["status"] for trade in sandbox.trades(attempt.number, channel="paypal")] == ["PAID"]


@pytest.mark.parametrize("what", ["reset", "garbage", "truncate", "syserr"])
def test_capture_without_an_answer_is_unknown_and_the_same_again_tells(paypal, sandbox, what):
    attempt = create(paypal)
    approve(sandbox, attempt)
    script(sandbox, "capture", what, when="after")
    assert paypal.capture(attempt).outcome is Outcome.UNKNOWN
    assert paypal.query(attempt).outcome is Outcome.SUCCEEDED
    assert paypal.capture(attempt).outcome is Outcome.SUCCEEDED


def test_capture_before_the_approval_takes_nothing(paypal, sandbox):
    attempt = create(paypal)
    report = paypal.capture(attempt)
    assert (report.outcome, report.code) == (Outcome.NOT_FOUND, "ORDER_NOT_APPROVED")
    assert trade_of(sandbox, attempt)["status"] == "OPEN"


@pytest.mark.parametrize(
    ("issue", "outcome"),
    [("INSTRUMENT_DECLINED", Outcome.NOT_FOUND), ("TRANSACTION_REFUSED", Outcome.REFUSED)],
)
def test_refused_capture_takes_nothing(paypal, sandbox, issue, outcome):
    attempt = create(paypal)
    approve(sandbox, attempt)
    script(sandbox, "capture", "status", value={"status": 422, "code": issue})
    report = paypal.capture(attempt)
    assert (report.outcome, report.code) == (outcome, issue)
    assert trade_of(sandbox, attempt)["status"] == "OPEN"


def test_order_that_was_captured_twice_by_mistake_is_for_a_person(paypal, sandbox):
    attempt = create(paypal)
    sandbox.set_faults({"script": [{"channel": "paypal", "operation": "pay", "what": "two_trades"}]})
    approve(sandbox, attempt)
    report = paypal.capture(attempt)
    assert (report.outcome, report.needs_person) == (Outcome.SUCCEEDED, True)
    assert len(sandbox.trades(attempt.number, channel="paypal")) == 2


# ---- close -------------------------------------------------------------------------------------------------------


def test_approval_after_our_close_moves_nothing(paypal, sandbox):
    attempt = create(paypal)
    assert paypal.close(attempt).outcome is Outcome.CLOSED
    sandbox.pay(attempt.number, channel="paypal", force=True)
    assert paypal.close(attempt) == PaymentReport(
        outcome=Outcome.CLOSED, number=attempt.number, code="not_captured"
    )
    trade = trade_of(sandbox, attempt)
    assert (trade["status"], trade["paid_at"]) == ("OPEN", None)


def test_close_of_a_captured_order_says_paid(paypal, sandbox):
    attempt, capture_id = create_paid(paypal, sandbox)
    report = paypal.close(attempt)
    assert (report.outcome, report.channel_number) == (Outcome.SUCCEEDED, capture_id)


# ---- token -------------------------------------------------------------------------------------------------------


def test_token_that_is_refused_once_is_fetched_anew(paypal, sandbox):
    attempt = create(paypal)
    script(sandbox, "query", "status", value={"status": 401, "code": "invalid_token"})
    assert paypal.query(attempt).outcome is Outcome.OPEN


def test_wrong_secret_is_no_answer_about_the_payment(sandbox, settings_of):
    paypal = PayPal.from_settings(settings_of | {"CLIENT_SECRET": "wrong"})
    with pytest.raises(Unreachable) as failed:
        paypal.create(new_attempt())
    assert failed.value.code == "invalid_client"


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_refund_is_done_once_however_often_it_is_sent(paypal, sandbox, shop):
    attempt, capture_id = create_paid(paypal, sandbox)
    request = refund_of(attempt, capture_id)
    first, second = paypal.refund(request), paypal.refund(request)
    assert (
        first
        == second
        == RefundReport(
            outcome=Outcome.SUCCEEDED,
            number=request.number,
            channel_number=first.channel_number,
            trade_number=capture_id,
            amount_minor=500,
            code="COMPLETED",
        )
    )
    assert paypal.query_refund(replace(request, handle=first.channel_number)) == first
    assert take(paypal, shop, "PAYMENT.CAPTURE.REFUNDED").report == first
    [refund] = trade_of(sandbox, attempt)["refunds"]
    assert refund == {"out_refund_no": request.number, "amount": 500, "status": "SUCCESS"}
    assert paypal.query(attempt).code == "PARTIALLY_REFUNDED"


def test_refund_whose_answer_was_lost_is_told_when_it_is_sent_again(paypal, sandbox):
    attempt, capture_id = create_paid(paypal, sandbox)
    request = refund_of(attempt, capture_id, amount_minor=1990)
    script(sandbox, "refund", "reset", when="after")
    assert paypal.refund(request).outcome is Outcome.UNKNOWN
    assert paypal.query_refund(request).outcome is Outcome.NOT_FOUND
    assert paypal.refund(request).outcome is Outcome.SUCCEEDED
    assert len(trade_of(sandbox, attempt)["refunds"]) == 1
    assert paypal.query(attempt).code == "REFUNDED"


def test_refund_of_more_than_is_left_is_refused(paypal, sandbox):
    attempt, capture_id = create_paid(paypal, sandbox)
    paypal.refund(refund_of(attempt, capture_id, amount_minor=1500))
    with pytest.raises(Refused) as refused:
        paypal.refund(refund_of(attempt, capture_id))
    assert refused.value.code == "REFUND_AMOUNT_EXCEEDED"


@pytest.mark.parametrize(("end", "outcome"), [("ABNORMAL", Outcome.REFUSED), ("CLOSED", Outcome.CLOSED)])
def test_refund_that_fails_later_is_pending_before(paypal, sandbox, end, outcome):
    attempt, capture_id = create_paid(paypal, sandbox)
    script(sandbox, "refund", "refund_abnormal", value=end)
    request = refund_of(attempt, capture_id)
    pending = paypal.refund(request)
    assert pending.outcome is Outcome.OPEN
    request = replace(request, handle=pending.channel_number)
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while (report := paypal.query_refund(request)).outcome is Outcome.OPEN:
        assert datetime.now(UTC) < deadline
    assert report.outcome is outcome


def test_refunds_made_in_the_console_are_told_apart(paypal, sandbox, shop):
    attempt, capture_id = create_paid(paypal, sandbox)
    reports = []
    for amount in (300, 200):
        sandbox.refund_in_console(attempt.number, amount, channel="paypal")
        reports.append(take(paypal, shop, "PAYMENT.CAPTURE.REFUNDED").report)
    assert [report.amount_minor for report in reports] == [300, 200]
    assert len({report.number for report in reports}) == 2
    for report in reports:
        assert report.number == report.channel_number
        assert (report.payment_number, report.trade_number) == (attempt.number, capture_id)


# ---- webhooks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["tamper", "forge"])
def test_webhook_that_was_damaged_or_forged_is_refused(paypal, sandbox, shop, what):
    sandbox.set_faults({"notify": {what: 1}})
    approve(sandbox, create(paypal))
    with pytest.raises(NotGenuine):
        paypal.read_callback(raw_of(shop.take()))


def test_webhook_is_verified_among_two_ids(sandbox, shop, settings_of):
    paypal = PayPal.from_settings(
        settings_of | {"WEBHOOK_ID": "0AB12345CD678901E," + settings_of["WEBHOOK_ID"]}
    )
    attempt = create(paypal)
    approve(sandbox, attempt)
    assert take(paypal, shop, "CHECKOUT.ORDER.APPROVED").report.number == attempt.number


def test_webhook_of_another_merchant_is_refused(sandbox, shop, settings_of):
    paypal = PayPal.from_settings(settings_of | {"MERCHANT_ID": "SOMEBODYELSE1"})
    attempt = new_attempt()
    paypal.create(attempt)
    approve(sandbox, attempt)
    with pytest.raises(NotGenuine) as refused:
        paypal.read_callback(raw_of(shop.take()))
    assert (refused.value.reason, refused.value.number) == ("merchant", attempt.number)


# ---- what the sandbox lies about is reported as it came, or not believed ------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "outcome", "amount"),
    [
        ({"amount": 1}, Outcome.SUCCEEDED, 1),
        ({"currency": "EUR"}, Outcome.SUCCEEDED, 1990),
        ({"status": "PENDING"}, Outcome.OPEN, None),
        ({"status": "NEW"}, Outcome.UNKNOWN, None),
        ({"out_trade_no": "P2"}, Outcome.UNKNOWN, None),
        ({"merchant": "SOMEBODYELSE1"}, Outcome.UNKNOWN, None),
    ],
    ids=str,
)
def test_query_that_lies(paypal, sandbox, lie, outcome, amount):
    attempt, _ = create_paid(paypal, sandbox)
    script(sandbox, "query", "lie", value=lie)
    report = paypal.query(attempt)
    assert (report.outcome, report.amount_minor) == (outcome, amount)


def test_missing_order_is_not_found(paypal, sandbox):
    attempt = create(paypal)
    script(sandbox, "query", "notfound")
    assert paypal.query(attempt).outcome is Outcome.NOT_FOUND


# ---- statement ---------------------------------------------------------------------------------------------------


def fetch_lines(paypal: PayPal, number: str) -> list[Any]:
    file = BytesIO()
    paypal.fetch_statement(datetime.now(UTC).date(), file)
    file.seek(0)
    return [line for line in paypal.read_statement(file) if number in (line.number, line.payment_number)]


def test_statement_holds_the_payment_and_its_refunds(paypal, sandbox):
    wait_for_a_day_that_lasts(UTC)
    attempt, capture_id = create_paid(paypal, sandbox)
    request = refund_of(attempt, capture_id)
    refund_id = paypal.refund(request).channel_number
    sandbox.refund_in_console(attempt.number, 100, channel="paypal")

    payment, console = fetch_lines(paypal, attempt.number)
    [ours] = fetch_lines(paypal, request.number)

    assert (payment.kind, payment.channel_number) == (LineKind.PAYMENT, capture_id)
    assert (payment.amount_minor, payment.currency, payment.fee_minor) == (1990, "USD", 118)
    assert (ours.kind, ours.channel_number, ours.trade_number) == (LineKind.REFUND, refund_id, capture_id)
    assert (ours.amount_minor, ours.payment_number) == (500, "")
    assert (console.kind, console.amount_minor, console.number) == (
        LineKind.REFUND,
        100,
        console.channel_number,
    )


def test_statement_of_a_day_that_has_not_begun_is_not_ready(paypal):
    with pytest.raises(NotReady):
        paypal.fetch_statement(datetime.now(UTC).date() + timedelta(days=1), BytesIO())
