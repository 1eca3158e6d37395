"""The boleto adapter against the sandbox over HTTP: two readings of Stripe's documentation that must agree."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payments.channels.base import Attempt, LineKind, NotGenuine, Outcome, RawCallback, Refused, Unanswered
from payments.channels.boleto import Boleto
from payments.channels.wire import Wire
from tests.sandbox.merchant import Shop, make_number
from tests.sandbox_process import SandboxProcess

from .boleto_party import ATTEMPT, PAYER, REFUND


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    yield shared_sandbox
    shared_sandbox.end_notifications()
    shared_sandbox.clear_faults()


@pytest.fixture
def boleto(sandbox) -> Boleto:
    return make(sandbox)


def make(sandbox: SandboxProcess, **changes: str) -> Boleto:
    prefix = "BOLETO_"
    told = {
        name.removeprefix(prefix): value for name, value in sandbox.env.items() if name.startswith(prefix)
    }
    return Boleto.from_settings(told | {"EXPIRES_AFTER_DAYS": "3"} | changes)


def read_at(sandbox: SandboxProcess, now: datetime) -> Boleto:
    """The adapter at another time."""
    return Boleto(
        base_url=sandbox.url,
        secret_key=sandbox.env["BOLETO_SECRET_KEY"],
        webhook_secrets=(sandbox.env["BOLETO_WEBHOOK_SECRET"],),
        wire=Wire(channel="boleto"),
        clock=lambda: now,
    )


@pytest.fixture
def events(sandbox, boleto) -> Iterator[Callable[[], Any]]:
    """Takes the next webhook and has it read."""
    shop = Shop()
    sandbox.set_webhooks(boleto=shop.url)

    def read() -> Any:
        received = shop.take()
        headers = {name.lower(): value for name, value in received.headers.items()}
        return boleto.read_callback(RawCallback(headers=headers, body=received.body))

    yield read
    sandbox.end_notifications()
    shop.close()


def attempt(boleto: Boleto, **changes: Any) -> Attempt:
    now = datetime.now(UTC)
    expires_at = boleto.expires_at(scene="voucher", order_expires_at=now, now=now)
    return replace(ATTEMPT, number=make_number(), started_at=now, expires_at=expires_at, handle="", **changes)


def start(boleto: Boleto, **changes: Any) -> Attempt:
    """An attempt whose slip is issued."""
    wished = attempt(boleto, **changes)
    return replace(wished, handle=boleto.create(wished).handle)


def steered(boleto: Boleto, address: str) -> Attempt:
    return start(boleto, payer=PAYER | {"email": f"{address}@shop.example"})


def test_slip_lives_from_create_to_statement(sandbox, boleto, events):
    wished = attempt(boleto)
    created = boleto.create(wished)
    assert created.action["type"] == "voucher"
    assert created.action["barcode"].startswith("0019")
    assert created.action["expires_at"] == wished.expires_at.isoformat()
    assert events().report.outcome is Outcome.OPEN
    issued = replace(wished, handle=created.handle)
    assert boleto.query(issued).outcome is Outcome.OPEN
    assert boleto.close(issued).outcome is Outcome.OPEN

    sandbox.pay(issued.number, channel="boleto")
    message = events()
    assert message.kind == "payment_intent.succeeded"
    assert boleto.query(issued) == boleto.query(wished) == message.report
    assert (message.report.amount_minor, message.report.currency) == (12900, "BRL")
    assert boleto.close(issued).outcome is Outcome.SUCCEEDED
    [trade] = sandbox.trades(issued.number)
    assert trade["channel_number"] == message.report.channel_number == issued.handle

    with pytest.raises(Refused):
        boleto.refund(replace(REFUND, payment_number=issued.number, channel_number=issued.handle))
    assert boleto.query_refund(REFUND).outcome is Outcome.NOT_FOUND
    [line] = [line for line in fetch(sandbox) if line.number == issued.number]
    assert (line.kind, line.channel_number) == (LineKind.PAYMENT, issued.handle)
    assert (line.amount_minor, line.fee_minor, line.at) == (12900, 345, message.report.paid_at)


def fetch(sandbox: SandboxProcess) -> list[Any]:
    """The lines of yesterday's and today's statement, read after the day is over."""
    today = datetime.now(UTC).date()
    lines: list[Any] = []
    for day in (today - timedelta(days=1), today):
        boleto, file = read_at(sandbox, datetime.now(UTC) + timedelta(days=2)), io.BytesIO()
        boleto.fetch_statement(day, file)
        file.seek(0)
        lines += boleto.read_statement(file)
    return lines


def test_statement_lists_what_was_paid_and_nothing_else(sandbox, boleto):
    paid, open_one = start(boleto), start(boleto)
    sandbox.pay(paid.number, channel="boleto")

    numbers = [line.number for line in fetch(sandbox)]
    assert (numbers.count(paid.number), numbers.count(open_one.number)) == (1, 0)


def test_days_of_the_setting_are_those_of_the_slip(sandbox):
    boleto = make(sandbox, EXPIRES_AFTER_DAYS="10")
    wished = attempt(boleto)

    assert boleto.create(wished).action["expires_at"] == wished.expires_at.isoformat()


def test_create_without_an_answer_gives_the_same_slip_when_repeated(sandbox, boleto):
    wished = attempt(boleto)
    fault = {"channel": "boleto", "operation": "create", "what": "reset", "when": "after"}
    sandbox.set_faults({"script": [fault]})
    with pytest.raises(Unanswered):
        boleto.create(wished)

    assert boleto.query(wished).outcome is Outcome.OPEN
    first, again = boleto.create(wished), boleto.create(wished)
    assert first == again
    assert len(sandbox.trades(wished.number)) == 1


def test_attempt_that_never_arrived_is_not_found(boleto):
    assert boleto.query(attempt(boleto)).outcome is Outcome.NOT_FOUND


def test_other_content_under_the_same_number_is_unanswered_and_changes_nothing(sandbox, boleto):
    issued = start(boleto)
    with pytest.raises(Unanswered) as unanswered:
        boleto.create(replace(issued, amount_minor=500))

    assert unanswered.value.code == "idempotency_error"
    assert sandbox.trades(issued.number)[0]["amount"] == 12900


def test_payer_whom_stripe_refuses_is_refused(boleto):
    with pytest.raises(Refused) as refused:
        boleto.create(attempt(boleto, payer=PAYER | {"email": "maria"}))
    assert refused.value.code == "email_invalid"


def test_expired_slip_is_closed_by_webhook_and_by_query(boleto, events):
    issued = steered(boleto, "expire_immediately")

    assert {events().report.outcome for _ in range(2)} == {Outcome.OPEN, Outcome.CLOSED}
    assert boleto.query(issued).outcome is Outcome.CLOSED


def test_money_after_the_end_is_reported(sandbox, boleto, events):
    issued = steered(boleto, "expire_immediately")
    events(), events()
    sandbox.pay(issued.number, channel="boleto", force=True)

    assert events().report == boleto.query(issued)
    assert boleto.query(issued).outcome is Outcome.SUCCEEDED


def test_slip_that_is_paid_twice_is_two_trades(sandbox, boleto, events):
    issued = start(boleto)
    events()
    for _ in range(2):
        sandbox.pay(issued.number, channel="boleto", force=True)

    assert len({events().report.channel_number for _ in range(2)}) == 2
    report = boleto.query(replace(issued, handle=""))
    assert (report.outcome, report.needs_person) == (Outcome.SUCCEEDED, True)


@pytest.mark.parametrize("rate", ["forge", "tamper"])
def test_forged_or_changed_webhook_is_refused(sandbox, boleto, events, rate):
    sandbox.set_faults({"notify": {rate: 1}})
    start(boleto)

    with pytest.raises(NotGenuine, match="signature"):
        events()


@pytest.mark.parametrize(
    ("lie", "seen"),
    [
        ({"out_trade_no": "NDP2"}, Outcome.UNKNOWN),
        ({"channel_number": "pi_x"}, Outcome.UNKNOWN),
        ({"merchant": "x"}, Outcome.UNKNOWN),
        ({"status": "a_new_status"}, Outcome.UNKNOWN),
        ({"status": "requires_capture"}, Outcome.UNKNOWN),
    ],
    ids=str,
)
def test_answer_that_lies_is_not_believed(sandbox, boleto, lie, seen):
    issued = start(boleto)
    sandbox.pay(issued.number, channel="boleto")
    fault = {"channel": "boleto", "operation": "query", "what": "lie", "when": "after", "value": lie}
    sandbox.set_faults({"script": [fault]})

    assert boleto.query(issued).outcome is seen
    assert boleto.query(issued).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("what", ["garbage", "truncate", "reset", "status", "syserr", "notfound", "redirect"])
def test_bad_answer_leaves_the_outcome_unknown(sandbox, boleto, what):
    issued = start(boleto)
    sandbox.set_faults(
        {"script": [{"channel": "boleto", "operation": "query", "what": what, "when": "after"}]}
    )

    assert boleto.query(issued).outcome is Outcome.UNKNOWN
    assert boleto.query(issued).outcome is Outcome.OPEN


def test_another_accounts_key_is_refused(sandbox):
    boleto = make(sandbox, SECRET_KEY="sk_test_stranger")
    wished = attempt(boleto)

    with pytest.raises(Refused):
        boleto.create(wished)
    assert boleto.query(wished).outcome is Outcome.UNKNOWN
    assert sandbox.trades(wished.number) == []


def test_scene_is_the_voucher_alone(boleto):
    assert boleto.scenes() == {"voucher"}
