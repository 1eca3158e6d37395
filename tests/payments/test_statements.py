"""Taking in a channel's statement: whole or not at all, once however often it comes, and every night by an alarm."""

import gzip
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from payments.channels.base import BadStatement, NotReady
from payments.channels.registry import UnknownChannel, get_channel
from payments.models import Case, Entry, Payment, Receipt, Statement
from payments.reconciling import compare
from payments.sandbox.clock import BEIJING
from payments.sandbox.records import Booking, Trade
from payments.sandbox.wechat_bills import write_bill
from payments.statements import (
    FETCH_STATEMENT,
    NotReconciled,
    ask_statement,
    current_statement,
    fetch_by_alarm,
    fetch_statement,
    promise_statements,
    take_statement,
)
from shop import processes
from shop.alarms import Claim, claim_due
from shop.models import Alarm
from tests.conftest import channel_variables
from tests.factories import make_order, make_payment
from tests.sandbox_process import SandboxProcess
from tests.statements import DAY, make_statement, paid

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def mchid(shared_sandbox: SandboxProcess, settings: Any) -> str:
    """Our WeChat channel; nothing of these tests calls it."""
    variables = channel_variables(shared_sandbox, "wechat")
    settings.CHANNELS = {"wechat": variables}
    return variables["MCHID"]


def bill(mchid: str, *trades: str, amount: int = 12900, days_later: int = 0) -> bytes:
    """WeChat's bill of DAY with these trades."""
    at = datetime.combine(DAY, time(12), BEIJING) + timedelta(days=days_later)
    us = int(at.timestamp() * 1_000_000)
    lines = [
        Booking(
            trade=Trade(
                id=1, channel="wechat", out_trade_no=f"P{trade}", part=1, channel_number=trade, amount=amount,
                currency="CNY", status="PAID", description="Tea", notify_url="", request={}, notes={}, created_at=us,
                expires_at=us, paid_at=us, declined_at=None,
            ),
            refund=None,
            at=us,
        )
        for trade in trades
    ]  # fmt: skip
    return write_bill(lines, mchid=mchid, appid="wx1")


def take(content: bytes) -> Statement:
    return take_statement("wechat", DAY, io.BytesIO(content), given_by="amy")


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Statement]:
    """Fetch the statement of DAY from a channel that gives this."""

    def fetch_content(content: bytes) -> Statement:
        monkeypatch.setattr(get_channel("wechat"), "fetch_statement", lambda day, into: into.write(content))
        return fetch_statement("wechat", DAY)

    return fetch_content


def test_every_line_becomes_an_entry_as_it_stands(mchid):
    statement = take(bill(mchid, "T1", "T2"))
    assert (statement.entries, statement.origin, statement.given_by) == (2, "file", "amy")
    first = Entry.objects.order_by("place").first()
    assert first is not None
    assert (first.kind, first.number, first.channel_number, first.amount, first.currency, first.fee) == (
        "payment", "PT1", "T1", 12900, "CNY", 77,
    )  # fmt: skip


def test_same_file_again_is_the_same_statement(mchid):
    assert take(bill(mchid, "T1")) == take(bill(mchid, "T1"))
    assert Entry.objects.count() == 1


def test_restated_file_counts_from_then_on_and_the_former_one_is_kept(mchid):
    first, second = take(bill(mchid, "T1")), take(bill(mchid, "T1", "T2"))
    assert current_statement("wechat", DAY) == second
    assert set(Statement.objects.all()) == {first, second}


def test_former_file_counts_again_when_it_comes_again(mchid):
    first = take(bill(mchid, "T1"))
    take(bill(mchid, "T1", "T2"))
    take(bill(mchid, "T1"))
    assert current_statement("wechat", DAY) == first


def test_no_file_of_a_person_takes_the_place_of_the_channels_own(mchid, fetch):
    own = fetch(bill(mchid, "T1", "T2"))
    with pytest.raises(BadStatement, match="own statement of this day is here already"):
        take(bill(mchid, "T1"))
    assert list(Statement.objects.all()) == [own]
    assert current_statement("wechat", DAY) == own


def test_file_that_the_channel_has_restated_does_not_count_again_because_a_person_has_it(mchid, fetch):
    fetch(bill(mchid, "T1"))
    restated = fetch(bill(mchid, "T1", "T2"))
    with pytest.raises(BadStatement, match="here already"):
        take(bill(mchid, "T1"))
    assert current_statement("wechat", DAY) == restated


def test_persons_copy_of_the_channels_own_changes_nothing(mchid, fetch):
    own = fetch(bill(mchid, "T1"))
    copy = take(bill(mchid, "T1"))
    assert (copy, copy.origin, copy.given_by, copy.read_at) == (own, "fetched", "", own.read_at)


def test_channels_own_takes_the_place_of_a_persons_file(mchid, fetch):
    take(bill(mchid, "T1"))
    own = fetch(bill(mchid, "T1", "T2"))
    assert current_statement("wechat", DAY) == own


def test_file_of_a_day_that_is_not_over_is_refused(mchid):
    today = timezone.now().astimezone(BEIJING).date()
    with pytest.raises(BadStatement, match="is not over"):
        take_statement("wechat", today, io.BytesIO(bill(mchid, "T1")), given_by="amy")
    assert not Statement.objects.exists()


def test_day_that_is_not_over_is_not_fetched(monkeypatch):
    """Some channels would list what there is so far, and it would count as the whole."""
    monkeypatch.setattr(
        get_channel("wechat"), "fetch_statement", lambda day, into: pytest.fail("it was asked")
    )
    with pytest.raises(NotReady, match="is not over"):
        fetch_statement("wechat", timezone.now().astimezone(BEIJING).date())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "P" * 65),
        ("channel_number", "T\0"),
        ("currency", "CNYY"),
        ("trade_number", "T" * 65),
        ("code", "\0"),
        ("amount_minor", 2**63),
        ("fee_minor", -(2**63) - 1),
    ],
    ids=["number", "zero byte", "currency", "trade", "code", "amount", "fee"],
)
def test_line_that_no_column_holds_is_refused_by_its_name(mchid, monkeypatch, name, value):
    channel = get_channel("wechat")
    lines = list(channel.read_statement(io.BytesIO(bill(mchid, "T1", "T2"))))
    lines[1] = replace(lines[1], **{name: value})
    monkeypatch.setattr(channel, "read_statement", lambda file: iter(lines))
    with pytest.raises(BadStatement, match=f"trade 2: its {name} is l"):
        take(b"")
    assert not Statement.objects.exists()


def test_packed_bill_is_taken_as_well(mchid):
    assert take(gzip.compress(bill(mchid, "T1"), mtime=0)).entries == 1


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut within a line": lambda content: content[:-90],
    "cut after a line": lambda content: content[: content.index(b"\r\n`") + 2],
    "half a gzip": lambda content: gzip.compress(content, mtime=0)[:-20],
    "not what gzip says": lambda content: b"\x1f\x8b" + content,
    "another header": lambda content: content.replace("商户订单号".encode(), b"order", 1),
    "another encoding": lambda content: content.decode("utf-8-sig").encode("gbk"),
    "a zero byte": lambda content: content.replace(b"PT1", b"P\x00T1"),
    "an amount that is none": lambda content: content.replace(b"129.00", b"129.0x"),
    "other totals": lambda content: content.replace(b"`129.00,`0.00\r\n", b"`128.00,`0.00\r\n"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damaged_file_is_refused_whole(mchid, damage):
    with pytest.raises(BadStatement):
        take(DAMAGES[damage](bill(mchid, "T1")))
    assert not Statement.objects.exists()
    assert not Entry.objects.exists()


def test_file_of_another_merchant_is_refused():
    with pytest.raises(BadStatement, match="商户号"):
        take(bill("1900000001", "T1"))
    assert not Statement.objects.exists()


def test_file_of_another_day_is_refused(mchid):
    with pytest.raises(BadStatement, match="another day"):
        take(bill(mchid, "T1", days_later=-2))
    assert not Statement.objects.exists()


def test_damaged_file_leaves_the_statement_that_counts(mchid):
    first = take(bill(mchid, "T1"))
    with pytest.raises(BadStatement):
        take(bill(mchid, "T1", "T2")[:-90])
    assert current_statement("wechat", DAY) == first


def test_channel_that_is_not_configured_has_no_statement():
    with pytest.raises(UnknownChannel):
        take_statement("paypal", DAY, io.BytesIO(b"{}"), given_by="amy")


# ---- every night -------------------------------------------------------------------------------------------------


def promised() -> list[str]:
    return sorted(Alarm.objects.filter(kind=FETCH_STATEMENT).values_list("subject", flat=True))


def used_since(days: int) -> None:
    make_payment(make_order())
    Payment.objects.update(created_at=Now() - timedelta(days=days))


def beijing_days(*ago: int) -> list[str]:
    today = timezone.now().astimezone(BEIJING).date()
    return sorted(f"wechat:{today - timedelta(days=days)}" for days in ago)


def test_statements_of_the_last_days_are_promised_once():
    used_since(30)
    assert promise_statements() == 3
    assert promise_statements() == 0
    assert promised() == beijing_days(3, 2, 1)


def test_no_statement_is_promised_of_days_before_the_channel_was_used():
    used_since(1)
    promise_statements()
    assert set(promised()) <= set(beijing_days(2, 1))


def test_nothing_is_promised_of_a_channel_that_nobody_has_used():
    assert promise_statements() == 0


def test_statement_that_has_come_is_not_promised():
    used_since(30)
    day = timezone.now().astimezone(BEIJING).date() - timedelta(days=2)
    make_statement(day=day)
    promise_statements()
    assert promised() == beijing_days(3, 1)


def test_statement_that_only_a_person_has_given_is_promised_all_the_same():
    used_since(30)
    make_statement(day=timezone.now().astimezone(BEIJING).date() - timedelta(days=2), origin="file")
    promise_statements()
    assert promised() == beijing_days(3, 2, 1)


def use_on(days_ago: int) -> None:
    """An attempt at the noon of that day."""
    used_since(30)
    day = timezone.now().astimezone(BEIJING).date() - timedelta(days=days_ago)
    payment = make_payment(make_order(sku="more"))
    Payment.objects.filter(pk=payment.pk).update(created_at=datetime.combine(day, time(12), BEIJING))


def test_day_with_money_in_which_nobody_looked_for_long_is_promised_later():
    use_on(9)
    promise_statements()
    assert promised() == beijing_days(9, 3, 2, 1)
    alarm = Alarm.objects.get(kind=FETCH_STATEMENT, subject=beijing_days(9)[0])
    assert alarm.last_at is not None
    assert alarm.last_at > timezone.now() + timedelta(days=2)


def test_day_longer_ago_than_anybody_looks_back_is_not_promised():
    use_on(15)
    promise_statements()
    assert promised() == beijing_days(3, 2, 1)


@pytest.mark.parametrize("is_open", [True, False])
def test_day_that_was_asked_for_in_vain_is_not_promised_again(is_open):
    use_on(9)
    resolved_at = None if is_open else timezone.now()
    Case.objects.create(
        kind=Case.Kind.BOOKS, subject=beijing_days(9)[0], deadline=timezone.now(), resolved_at=resolved_at
    )
    promise_statements()
    assert promised() == beijing_days(3, 2, 1)


def test_promise_is_due_when_the_channel_has_its_bill_ready():
    used_since(30)
    promise_statements()
    alarm = Alarm.objects.filter(kind=FETCH_STATEMENT).latest("subject")
    assert alarm.due_at.astimezone(BEIJING).hour == 10


def test_only_watch_claims_what_takes_long():
    ask_statement("wechat", DAY)
    assert claim_due(10) == []
    assert [claim.subject for claim in claim_due(10, with_long=True)] == [f"wechat:{DAY}"]


@pytest.fixture
def nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subprocess has run, and no statement was there."""
    monkeypatch.setattr("payments.statements._reconcile", lambda channel, day: None)


def claim(*, is_last: bool) -> Claim:
    ask_statement("wechat", DAY)
    [found] = claim_due(1, with_long=True)
    return Claim(kind=found.kind, subject=found.subject, attempt=1, is_last=is_last, due_at=found.due_at)


@pytest.mark.usefixtures("nothing_comes")
def test_statement_that_does_not_come_is_asked_for_again():
    fetch_by_alarm(claim(is_last=False))
    assert promised() == [f"wechat:{DAY}"]
    assert not Case.objects.exists()


@pytest.mark.usefixtures("nothing_comes")
def test_statement_that_never_came_of_a_day_with_money_is_a_case():
    paid("T1")
    Receipt.objects.update(created_at=datetime.combine(DAY, time(12), BEIJING))
    fetch_by_alarm(claim(is_last=True))
    assert promised() == []
    case = Case.objects.get()
    assert (case.kind, case.subject) == (Case.Kind.BOOKS, f"wechat:{DAY}")


@pytest.mark.usefixtures("nothing_comes")
def test_statement_that_never_came_of_a_day_with_an_attempt_is_a_case():
    make_payment(make_order())
    Payment.objects.update(created_at=datetime.combine(DAY, time(12), BEIJING))
    fetch_by_alarm(claim(is_last=True))
    assert Case.objects.get().subject == f"wechat:{DAY}"


@pytest.mark.usefixtures("nothing_comes")
def test_statement_that_never_came_of_a_day_with_money_that_was_learnt_of_later_is_a_case():
    paid("T1")  # at noon of DAY, as the channel says now
    fetch_by_alarm(claim(is_last=True))
    assert Case.objects.get().subject == f"wechat:{DAY}"


@pytest.mark.usefixtures("nothing_comes")
def test_statement_that_never_came_of_a_day_without_money_is_none():
    fetch_by_alarm(claim(is_last=True))
    assert promised() == []
    assert not Case.objects.exists()


PROGRAMS = {
    "a wrong call": "raise SystemExit(2)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "too long": "import time; time.sleep(60)",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_reconciling_that_breaks_off_fails_its_alarm(monkeypatch, program):
    start = processes.start_group
    monkeypatch.setattr(processes, "start_group", lambda words: start([sys.executable, "-c", program]))
    monkeypatch.setattr("payments.statements.TIME_LIMIT_S", 5.0 if "sleep" not in program else 0.2)
    with pytest.raises(NotReconciled):
        fetch_by_alarm(claim(is_last=True))
    assert promised() == [f"wechat:{DAY}"]


@pytest.mark.parametrize("is_compared", [True, False])
def test_statement_that_was_taken_in_and_not_compared_fails_its_alarm(mchid, fetch, monkeypatch, is_compared):
    def reconcile(channel: str, day: str) -> None:
        own = fetch(bill(mchid, "T1"))
        if is_compared:
            compare(own)

    monkeypatch.setattr("payments.statements._reconcile", reconcile)
    if not is_compared:
        with pytest.raises(NotReconciled, match="not compared"):
            fetch_by_alarm(claim(is_last=True))
    else:
        fetch_by_alarm(claim(is_last=True))
    assert bool(promised()) is not is_compared


def test_statement_that_came_again_and_was_not_compared_again_fails_its_alarm(mchid, fetch, monkeypatch):
    compare(fetch(bill(mchid, "T1")))
    monkeypatch.setattr(
        "payments.statements._reconcile", lambda channel, day: fetch(bill(mchid, "T1")) and None
    )
    with pytest.raises(NotReconciled):
        fetch_by_alarm(claim(is_last=False))


def test_file_that_a_person_hands_in_meanwhile_is_not_what_the_alarm_waits_for(mchid, monkeypatch):
    monkeypatch.setattr(
        "payments.statements._reconcile", lambda channel, day: compare(take(bill(mchid, "T1"))) and None
    )
    due_at = (waiting := claim(is_last=False)).due_at
    fetch_by_alarm(waiting)
    assert Alarm.objects.get(kind=FETCH_STATEMENT).due_at == due_at


def test_alarm_of_a_channel_that_is_not_configured_any_more_ends(settings):
    waiting = claim(is_last=False)
    settings.CHANNELS = {"wechat": None}
    fetch_by_alarm(waiting)
    assert promised() == []


def test_case_of_a_statement_that_never_came_closes_when_it_does(mchid):
    Case.objects.create(kind=Case.Kind.BOOKS, subject=f"wechat:{DAY}", deadline=timezone.now())
    take(bill(mchid, "T1"))
    assert Case.objects.get().resolution == "the statement has come"
