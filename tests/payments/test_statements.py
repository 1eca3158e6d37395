"""Taking in a channel's statement: whole or not at all, once however often it comes, and every night by an alarm."""

import gzip
import io
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from payments.channels.base import BadStatement
from payments.channels.registry import UnknownChannel
from payments.models import Case, Entry, Payment, Receipt, Statement
from payments.sandbox.clock import BEIJING
from payments.sandbox.records import Booking, Trade
from payments.sandbox.wechat_bills import write_bill
from payments.statements import (
    FETCH_STATEMENT,
    ask_statement,
    current_statement,
    fetch_by_alarm,
    promise_statements,
    take_statement,
)
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
def test_statement_that_never_came_of_a_day_without_money_is_none():
    fetch_by_alarm(claim(is_last=True))
    assert promised() == []
    assert not Case.objects.exists()


def test_case_of_a_statement_that_never_came_closes_when_it_does(mchid):
    Case.objects.create(kind=Case.Kind.BOOKS, subject=f"wechat:{DAY}", deadline=timezone.now())
    take(bill(mchid, "T1"))
    assert Case.objects.get().resolution == "the statement has come"
