"""`manage.py reconcile`: tables for people, one document for programs, and a status that says whether anything was found."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from payments.models import Case, Difference, Statement
from tests.conftest import channel_variables
from tests.payments.test_statements import bill
from tests.sandbox_process import SandboxProcess
from tests.statements import DAY, make_statement, paid, refunded, sale

pytestmark = pytest.mark.django_db(transaction=True)

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def mchid(shared_sandbox: SandboxProcess, settings: Any) -> str:
    variables = channel_variables(shared_sandbox, "wechat")
    settings.CHANNELS = {"wechat": variables | {"BASE_URL": "http://127.0.0.1:9"}}
    return variables["MCHID"]


@pytest.fixture
def run(mchid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with a bill of these trades; exit status and output."""

    def reconcile(*words: str, trades: tuple[str, ...] = ("T1",), day: str = str(DAY)) -> tuple[int, str]:
        file = tmp_path / "bill.csv"
        file.write_bytes(bill(mchid, *trades))
        status = 0
        try:
            call_command("reconcile", "--channel", "wechat", "--date", day, "--file", str(file), *words)
        except SystemExit as ended:
            status = int(ended.code or 0)
        except CommandError as error:
            return error.returncode, str(error)
        return status, capsys.readouterr().out

    return reconcile


def test_books_that_agree_end_with_nothing_found(run):
    paid("T1")
    status, text = run()
    assert status == 0
    assert "Both books say the same." in text
    assert "¥129.00" in text


def test_difference_is_named_with_both_amounts_and_found_something(run):
    payment = paid("T1")
    status, text = run(trades=("T2",))
    assert status == 1
    assert "missing" in text
    assert payment.number in text
    assert "stranger" in text
    assert "not in their books" in text


def test_document_for_programs_holds_totals_and_differences(run):
    paid("T1")
    status, text = run("--json", trades=("T1", "T2"))
    document = json.loads(text)
    assert (status, document["entries"], document["origin"]) == (1, 2, "file")
    assert [(each["kind"], each["subject"], each["theirs"]) for each in document["differences"]] == [
        ("stranger", "T2", 12900)
    ]
    assert document["totals"]["CNY"]["rest"] == {"sales": 0, "refunds": 0}


def test_fix_makes_cases_of_what_a_file_cannot_settle(run):
    status, text = run("--fix")
    assert status == 1
    assert "0 put right, 1 are a person's" in text
    assert Case.objects.get().kind == Case.Kind.BOOKS


def test_file_does_not_take_the_place_of_the_channels_own(run):
    own = make_statement(sale("POS-7", "T1"))
    status, text = run(trades=("T2",))
    assert (status, "own statement of this day is here already" in text) == (2, True)
    assert Statement.objects.get() == own


def test_running_it_again_changes_nothing(run):
    paid("T1")
    assert run() == run()
    assert Statement.objects.count() == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--channel", "wechat", "--date", "21.11.2026"),
        ("--channel", "paypal", "--date", str(DAY), "--file", __file__),
        ("--channel", "wechat", "--date", str(DAY), "--file", "/nowhere"),
        ("--channel", "wechat", "--date", str(DAY), "--file", __file__),
    ],
    ids=["date", "channel", "no file", "no statement"],
)
@pytest.mark.usefixtures("mchid")
def test_wrong_call_is_said_plainly(words):
    with pytest.raises(CommandError) as raised:
        call_command("reconcile", *words)
    assert raised.value.returncode == 2
    assert not Statement.objects.exists()


@pytest.mark.usefixtures("mchid")
def test_channel_that_does_not_answer_is_said_plainly():
    with pytest.raises(CommandError, match="No statement of wechat") as raised:
        call_command("reconcile", "--channel", "wechat", "--date", str(DAY))
    assert raised.value.returncode == 1


@pytest.fixture
def rival(mchid: str) -> Iterator[None]:
    """Another process that reconciles the same day just now."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("select pg_advisory_lock(hashtext(%s))", [f"reconcile wechat {DAY}"])
        yield


@pytest.mark.usefixtures("rival")
def test_day_that_somebody_reconciles_already_is_left_to_them(run):
    status, text = run()
    assert (status, text) == (1, "Somebody reconciles this day just now.")
    assert not Statement.objects.exists()


def test_what_the_next_days_statement_shows_of_this_day_is_given_to_people_with_it(run, mchid, tmp_path):
    payment = paid("T1")
    refunded(payment, 500)
    run("--fix")
    assert not Case.objects.exists()
    beside = tmp_path / "beside.csv"
    beside.write_bytes(bill(mchid, "T2", days_later=1))
    with pytest.raises(SystemExit):
        call_command(
            "reconcile", "--channel", "wechat", "--date", str(DAY + timedelta(days=1)), "--file", str(beside), "--fix"
        )  # fmt: skip
    kinds = Difference.objects.filter(day=DAY, state="case").values_list("kind", flat=True)
    assert list(kinds) == ["refund_missing"]
