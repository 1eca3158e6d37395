"""Our UnionPay adapter against the sandbox over HTTP: each scene from the create to the statement, and the bad days."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from payments.channels.base import (
    Attempt,
    LineKind,
    NotGenuine,
    Outcome,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Unanswered,
    Unreachable,
)
from payments.channels.seals import read_private_key
from payments.channels.unionpay import UnionPay
from payments.channels.unionpay_seals import Trust, read_certificate, read_certificates
from payments.channels.unionpay_statement import clearing_day
from payments.channels.wire import Wire
from tests.sandbox.merchant import Shop, make_number
from tests.statements import CLEARING
from tests.waiting import wait_for_a_day_that_lasts, wait_until

SCENES = ["qr", "wap", "app"]


@pytest.fixture
def sandbox(shared_sandbox):
    yield shared_sandbox
    shared_sandbox.end_notifications()
    shared_sandbox.clear_faults()


@pytest.fixture
def shop():
    shop = Shop()
    shop.answer = lambda count: 200
    yield shop
    shop.close()


@pytest.fixture
def unionpay(sandbox, settings) -> UnionPay:
    variables = {key: sandbox.env[f"UNIONPAY_{key}"] for key in settings.CHANNEL_KEYS["unionpay"]}
    return make_adapter(variables | settings.CHANNEL_OPTIONS["unionpay"])


def make_adapter(settings: dict[str, str], **changes: Any) -> UnionPay:
    """As from settings, with a short patience and without Django's transactions."""
    given: dict[str, Any] = {
        "base_url": settings["BASE_URL"],
        "statement_url": settings["STATEMENT_URL"],
        "mer_id": settings["MER_ID"],
        "key": read_private_key(settings["KEY_FILE"]),
        "cert_id": str(read_certificate(settings["CERT_FILE"]).serial_number),
        "trust": Trust(
            roots=read_certificates(settings["ROOT_CERT_FILE"]),
            middles=read_certificates(settings["MIDDLE_CERT_FILE"]),
            signer=settings["SIGNER"],
        ),
        "wire": Wire(channel="unionpay", read_s=2, total_s=3, in_transaction=lambda: False),
    }
    return UnionPay(**given | changes)


def make_attempt(shop: Shop, scene: str = "qr", **changes: Any) -> Attempt:
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "number": make_number(),
        "scene": scene,
        "amount_minor": 12900,
        "currency": "CNY",
        "description": "两件 & more",
        "started_at": now,
        "expires_at": now + timedelta(minutes=30),
        "notify_url": shop.url,
        "return_url": "http://127.0.0.1:9/orders/1/?from=unionpay&x=1",
    }
    return Attempt(**given | changes)


def make_refund(attempt: Attempt, channel_number: str, amount: int = 2900) -> RefundRequest:
    return RefundRequest(
        number=make_number("R"),
        payment_number=attempt.number,
        channel_number=channel_number,
        amount_minor=amount,
        paid_minor=attempt.amount_minor,
        currency="CNY",
        reason="size",
        notify_url=attempt.notify_url,
        scene=attempt.scene,
        started_at=datetime.now(UTC),
    )


def begin(unionpay: UnionPay, attempt: Attempt) -> None:
    """Create, and where the shopper's browser has to bring the form, bring it."""
    action = unionpay.create(attempt).action
    if action["type"] == "form":
        answer = requests.post(action["url"], data=action["fields"], allow_redirects=False, timeout=20)
        assert answer.status_code == 303


def pay(unionpay: UnionPay, sandbox: Any, attempt: Attempt) -> str:
    begin(unionpay, attempt)
    [trade] = sandbox.pay(attempt.number, channel="unionpay")
    return str(trade["channel_number"])


def ended(unionpay: UnionPay, request: RefundRequest) -> RefundReport:
    def ask() -> RefundReport | None:
        report = unionpay.query_refund(request)
        return report if report.outcome not in (Outcome.OPEN, Outcome.NOT_FOUND) else None

    report: RefundReport = wait_until(ask)
    return report


def read_notice(unionpay: UnionPay, shop: Shop) -> Any:
    taken = shop.take()
    headers = {name.lower(): value for name, value in taken.headers.items()}
    return unionpay.read_callback(RawCallback(headers=headers, body=taken.body))


def fault(operation: str, what: str, **more: Any) -> dict[str, Any]:
    when = {} if operation == "notify" else {"when": "after"}
    entry = {"channel": "unionpay", "operation": operation, "what": what, **when, **more}
    return {"script": [entry]}


# ---- each scene, from the create to the statement -----------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES)
def test_scene_is_paid_refunded_and_stands_in_the_statement(unionpay, sandbox, shop, scene):
    wait_for_a_day_that_lasts(CLEARING)
    attempt = make_attempt(shop, scene)
    channel_number = pay(unionpay, sandbox, attempt)

    message = read_notice(unionpay, shop)
    report = unionpay.query(attempt)
    assert report == message.report
    assert (report.outcome, report.number, report.channel_number) == (
        Outcome.SUCCEEDED,
        attempt.number,
        channel_number,
    )
    assert (report.amount_minor, report.currency) == (12900, "CNY")
    assert abs(report.paid_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert unionpay.close(attempt) == report

    request = make_refund(attempt, channel_number)
    accepted = unionpay.refund(request)
    assert accepted.outcome is Outcome.OPEN
    done = ended(unionpay, request)
    assert read_notice(unionpay, shop).report == done
    assert (done.outcome, done.channel_number, done.trade_number, done.amount_minor) == (
        Outcome.SUCCEEDED,
        accepted.channel_number,
        channel_number,
        2900,
    )

    file = io.BytesIO()
    unionpay.fetch_statement(clearing_day(report.paid_at), file)
    lines = {line.channel_number: line for line in unionpay.read_statement(file)}
    paid, refunded = lines[channel_number], lines[done.channel_number]
    assert (paid.kind, paid.number, paid.amount_minor, paid.fee_minor) == (
        LineKind.PAYMENT,
        attempt.number,
        12900,
        77,
    )
    assert paid.at == report.paid_at
    assert (refunded.kind, refunded.number, refunded.amount_minor, refunded.fee_minor) == (
        LineKind.REFUND,
        request.number,
        2900,
        -17,
    )
    assert (refunded.payment_number, refunded.trade_number) == (attempt.number, channel_number)


@pytest.mark.parametrize("scene", SCENES)
def test_unpaid_attempt_stays_payable_whatever_is_asked(unionpay, shop, scene):
    attempt = make_attempt(shop, scene)
    begin(unionpay, attempt)

    asked = {unionpay.query(attempt).outcome for _ in range(3)}

    assert asked <= {Outcome.NOT_FOUND, Outcome.OPEN}
    assert unionpay.query(attempt).outcome is Outcome.OPEN
    assert unionpay.close(attempt).outcome is Outcome.OPEN


def test_form_that_no_browser_has_brought_is_not_found_and_payable(unionpay, shop):
    attempt = make_attempt(shop, "wap")
    unionpay.create(attempt)

    assert unionpay.query(attempt).outcome is Outcome.NOT_FOUND
    assert unionpay.close(attempt).outcome is Outcome.OPEN


def test_declined_try_ends_nothing(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    begin(unionpay, attempt)
    sandbox.decline(attempt.number, channel="unionpay")
    unionpay.query(attempt)

    report = unionpay.query(attempt)

    assert (report.outcome, report.code) == (Outcome.OPEN, "64")


def test_repeated_create_is_unanswered_because_the_trade_exists(unionpay, shop):
    attempt = make_attempt(shop)
    unionpay.create(attempt)

    with pytest.raises(Unanswered) as unanswered:
        unionpay.create(attempt)

    assert unanswered.value.code == "12"


def test_moment_that_is_far_off_is_refused(unionpay, sandbox, shop):
    attempt = make_attempt(shop, started_at=datetime.now(UTC) - timedelta(hours=3))

    with pytest.raises(Refused):
        unionpay.create(attempt)

    assert sandbox.trades(attempt.number) == []


def test_money_after_pay_timeout_is_reported(unionpay, sandbox, shop):
    attempt = make_attempt(shop, expires_at=datetime.now(UTC) + timedelta(seconds=3))
    begin(unionpay, attempt)
    wait_until(lambda: datetime.now(UTC) > attempt.expires_at)

    sandbox.pay(attempt.number, channel="unionpay", force=True)

    assert unionpay.query(attempt).outcome is Outcome.SUCCEEDED
    assert read_notice(unionpay, shop).report.outcome is Outcome.SUCCEEDED


def test_number_paid_twice_is_two_trades(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    begin(unionpay, attempt)
    sandbox.set_faults({"script": [{"channel": "unionpay", "operation": "pay", "what": "two_trades"}]})
    sandbox.pay(attempt.number, channel="unionpay")

    messages = [read_notice(unionpay, shop) for _ in range(2)]

    assert len({message.message_id for message in messages}) == 2
    assert {message.report.number for message in messages} == {attempt.number}


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_repeated_refund_gives_back_once(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    request = make_refund(attempt, pay(unionpay, sandbox, attempt))
    unionpay.refund(request)
    ended(unionpay, request)

    assert unionpay.refund(request).outcome is Outcome.SUCCEEDED
    [trade] = sandbox.trades(attempt.number)
    assert [refund["amount"] for refund in trade["refunds"]] == [2900]


def test_refund_without_an_answer_is_found_by_its_own_number(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    request = make_refund(attempt, pay(unionpay, sandbox, attempt))
    sandbox.set_faults(fault("refund", "reset"))

    assert unionpay.refund(request).outcome is Outcome.UNKNOWN
    assert ended(unionpay, request).outcome is Outcome.SUCCEEDED


def test_refund_above_what_is_left_is_refused_once_it_is_surely_not_there(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    channel_number = pay(unionpay, sandbox, attempt)
    first, second = (make_refund(attempt, channel_number, 12000) for _ in range(2))
    unionpay.refund(first)

    assert unionpay.refund(second).outcome is Outcome.UNKNOWN
    with pytest.raises(Refused) as refused:
        unionpay.refund(replace(second, started_at=second.started_at - timedelta(minutes=2)))
    assert refused.value.code == "36"


@pytest.mark.parametrize(("value", "outcome"), [("CLOSED", Outcome.REFUSED), ("ABNORMAL", Outcome.UNKNOWN)])
def test_refund_that_fails_at_the_bank_is_told_by_its_query(unionpay, sandbox, shop, value, outcome):
    attempt = make_attempt(shop)
    request = make_refund(attempt, pay(unionpay, sandbox, attempt))
    sandbox.set_faults(
        {
            "script": [
                {"channel": "unionpay", "operation": "refund", "what": "refund_abnormal", "value": value}
            ]
        }
    )
    unionpay.refund(request)

    assert ended(unionpay, request).outcome is outcome


def test_refund_that_was_never_sent_is_not_found(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    request = make_refund(attempt, pay(unionpay, sandbox, attempt))

    assert unionpay.query_refund(request).outcome is Outcome.NOT_FOUND


# ---- bad days ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("badsign", {}),
        ("garbage", {}),
        ("truncate", {}),
        ("reset", {}),
        ("syserr", {}),
        ("redirect", {}),
        ("status", {"value": 502}),
        ("status", {"value": {"status": 500, "code": "05"}}),
        ("lie", {"value": {"merchant": "777290000012345"}}),
        ("lie", {"value": {"out_trade_no": "ND00000000"}}),
        ("lie", {"value": {"status": "04"}}),
        ("lie", {"value": {"status": "ZZ"}}),
    ],
)
def test_query_on_a_bad_day_is_unknown(unionpay, sandbox, shop, what, more):
    attempt = make_attempt(shop)
    pay(unionpay, sandbox, attempt)
    sandbox.set_faults(fault("query", what, **more))

    assert unionpay.query(attempt).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("lie", "field", "expected"),
    [({"amount": 1}, "amount_minor", 1), ({"currency": "USD"}, "currency", "840")],
)
def test_lie_about_the_money_is_reported_as_it_came(unionpay, sandbox, shop, lie, field, expected):
    attempt = make_attempt(shop)
    pay(unionpay, sandbox, attempt)
    sandbox.set_faults(fault("query", "lie", value=lie))

    assert getattr(unionpay.query(attempt), field) == expected


def test_trade_that_was_charged_too_late_is_undecided_and_for_a_person(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    pay(unionpay, sandbox, attempt)
    sandbox.set_faults(fault("query", "lie", value={"status": "42"}))

    report = unionpay.query(attempt)
    assert (report.outcome, report.code, report.needs_person) == (Outcome.UNKNOWN, "42", True)


@pytest.mark.parametrize("status", ["05", "70"])
def test_trade_that_is_still_processing_is_open(unionpay, sandbox, shop, status):
    attempt = make_attempt(shop)
    pay(unionpay, sandbox, attempt)
    sandbox.set_faults(fault("query", "lie", value={"status": status}))

    assert unionpay.query(attempt).outcome is Outcome.OPEN


@pytest.mark.parametrize("what", ["badsign", "garbage", "truncate", "reset", "syserr", "status"])
def test_create_on_a_bad_day_is_unanswered_and_the_trade_is_there(unionpay, sandbox, shop, what):
    attempt = make_attempt(shop)
    sandbox.set_faults(fault("create", what))

    with pytest.raises(Unanswered):
        unionpay.create(attempt)

    assert len(sandbox.trades(attempt.number)) == 1


@pytest.mark.parametrize("what", ["badsign", "garbage"])
def test_forged_notification_is_refused(unionpay, sandbox, shop, what):
    attempt = make_attempt(shop)
    # Of a refund of an earlier test, too, a notification may come now.
    sandbox.set_faults(fault("notify", what, times=100))
    pay(unionpay, sandbox, attempt)

    with pytest.raises(NotGenuine):
        read_notice(unionpay, shop)


def test_tampered_notification_changes_nothing(unionpay, sandbox, shop):
    attempt = make_attempt(shop)
    sandbox.set_faults({"channels": ["unionpay"], "notify": {"tamper": 1}})
    pay(unionpay, sandbox, attempt)

    with pytest.raises(NotGenuine):
        read_notice(unionpay, shop)


def test_key_that_unionpay_does_not_know_begins_nothing(unionpay, sandbox, settings, shop):
    attempt = make_attempt(shop)
    variables = {key: sandbox.env[f"UNIONPAY_{key}"] for key in settings.CHANNEL_KEYS["unionpay"]}
    stranger = make_adapter(variables | settings.CHANNEL_OPTIONS["unionpay"], cert_id="1")

    with pytest.raises(Unanswered):  # the refusal of a stranger is not signed, so it says nothing
        stranger.create(attempt)

    assert sandbox.trades(attempt.number) == []


def test_gateway_that_is_not_there_is_unreachable(unionpay, sandbox, settings, shop):
    variables = {key: sandbox.env[f"UNIONPAY_{key}"] for key in settings.CHANNEL_KEYS["unionpay"]}
    nowhere = make_adapter(
        variables | settings.CHANNEL_OPTIONS["unionpay"] | {"BASE_URL": "http://127.0.0.1:9"}
    )

    with pytest.raises(Unreachable):
        nowhere.create(make_attempt(shop))


def test_adapter_is_built_from_the_settings_that_the_sandbox_prints(sandbox, settings):
    variables = {key: sandbox.env[f"UNIONPAY_{key}"] for key in settings.CHANNEL_KEYS["unionpay"]}

    built = UnionPay.from_settings(variables | settings.CHANNEL_OPTIONS["unionpay"])

    assert built.scenes() == {"qr", "wap", "app"}
