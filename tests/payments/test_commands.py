"""The operators' commands: a table for people, JSON for programs, an exit code that says what was found."""

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from payments.cases import close_healed, open_case
from payments.models import Callback, Case, Payment, Refund
from payments.settling import settle_payment
from shop.alarms import handle_now, set_alarm
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment() -> Payment:
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    return payment


def run(*args: str, capsys: Any) -> tuple[int, str]:
    """The exit status and what was printed."""
    try:
        call_command(*args)
    except SystemExit as end:
        return int(end.code or 0), capsys.readouterr().out
    except CommandError as error:
        return error.returncode, str(error)
    return 0, capsys.readouterr().out


def test_refund_prints_its_number_and_is_on_its_way(payment, capsys):
    status, out = run("refund", payment.number, "--amount=900", "--reason=broken", "--json", capsys=capsys)
    refund = Refund.objects.get()
    assert status == 0
    assert json.loads(out) == {"number": refund.number, "status": "REFUNDING", "amount": 900}
    assert refund.asked_by == "command line"


def test_refund_for_people_is_a_line_of_words(payment, capsys):
    status, out = run("refund", payment.number, "--amount=900", "--reason=broken", capsys=capsys)
    assert status == 0
    assert "¥9.00" in out


def test_refund_of_money_in_a_currency_that_we_do_not_sell_in_is_told_as_well(capsys):
    other = make_payment(make_order(), channel="paypal", scene="page")
    told = report(other, currency="EUR", amount_minor=900)
    settle_payment(told, channel="paypal", source=Source.QUERY)
    status, out = run("refund", other.number, "--amount=900", "--reason=broken", capsys=capsys)
    assert (status, "EUR 9.00" in out) == (0, True)


def test_refund_that_needs_a_second_person_says_so_by_its_status(payment, settings, capsys):
    settings.REFUND_APPROVAL_ABOVE = 0
    status, out = run("refund", payment.number, "--amount=900", "--reason=broken", capsys=capsys)
    assert (status, "PENDING_APPROVAL" in out) == (1, True)


@pytest.mark.parametrize(
    ("number", "amount", "expected"),
    [("", "12901", 1), ("", "0", 2), ("", "-1", 2), ("P00000000000000000000000", "1", 2)],
)
def test_refund_that_cannot_be_changes_nothing(payment, number, amount, expected, capsys):
    wanted = ("refund", number or payment.number, f"--amount={amount}", "--reason=x")
    assert run(*wanted, capsys=capsys)[0] == expected
    assert not Refund.objects.exists()


def test_cases_lists_the_most_urgent_first_and_exits_1(capsys):
    order = make_order()
    open_case(Case.Kind.UNMATCHED, "4200001", order=None, evidence={})
    open_case(Case.Kind.MISMATCH, "4200002", order=order, evidence={"amount": 1})
    status, out = run("cases", "--json", capsys=capsys)
    assert status == 1
    assert [(row["kind"], row["subject"], row["order"]) for row in json.loads(out)] == [
        ("mismatch", "4200002", order.number),
        ("unmatched", "4200001", None),
    ]
    status, out = run("cases", capsys=capsys)
    assert (status, out.splitlines()[1].split()[2:4]) == (1, ["mismatch", "4200002"])


def test_cases_without_any_exits_0(capsys):
    assert run("cases", capsys=capsys) == (0, "Nothing waits for a person.\n")


def test_case_of_an_alarm_that_failed_is_closed_when_it_went_well(capsys):
    set_alarm("follow_up", "NOBODY0000000")
    for _ in range(5):
        handle_now("follow_up", "NOBODY0000000")  # no such order
    assert Case.objects.get().kind == Case.Kind.FAILING
    assert close_healed() == 0
    Alarm.objects.all().delete()
    assert close_healed() == 1
    assert run("cases", capsys=capsys)[0] == 0


@pytest.mark.django_db(transaction=True)
def test_replay_of_a_callback_says_what_became_of_it(sandbox, capsys):
    payment = make_payment(make_order())
    told = {"about": "payment", "outcome": "succeeded", "number": payment.number, "channel_number": "4200055"}
    kept = Callback.objects.create(
        channel="wechat",
        message_id="m",
        kind="t",
        number=payment.number,
        body=b"{}",
        report=told | {"amount_minor": payment.amount, "currency": "CNY"},
    )
    assert run("replay_callback", str(kept.pk), capsys=capsys) == (0, f"{kept.pk:>8}  settled\n")
    assert run("replay_callback", "999999", capsys=capsys)[0] == 2
