"""The back office's first page: what needs a person now, what it costs to know it, and who sees what of it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse

from orders.models import Order
from payments.admin.home import in_words
from payments.cases import open_case
from payments.channels.base import Outcome
from payments.home import STATEMENT_GRACE, read_home
from payments.models import Case, Difference, Payment, Proposal, Receipt, Refund, Statement
from payments.refunding import ask_refund
from payments.settling import settle_payment, settle_unmatched
from payments.statements import FETCH_STATEMENT
from payments.tasks import scan
from shop.alarms import set_alarm
from shop.beats import beat
from shop.clock import read_now
from shop.models import Heartbeat, Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db

CALM = "Nothing waits for a person."


@pytest.fixture
def clerk(django_user_model):
    """Staff who may see nothing yet."""
    return django_user_model.objects.create_user("clerk", is_staff=True)


def may(user, *codenames: str):
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return type(user).objects.get(pk=user.pk)


@pytest.fixture
def machines():
    for name in ("watch here 1", "cluster", "scanner"):
        beat(name)


def pay(payment: Payment, **changed: Any) -> None:
    settle_payment(report(payment, **changed), channel=payment.channel, source=Source.QUERY)


def make_paid() -> Payment:
    payment = make_payment(make_order())
    pay(payment)
    return payment


def make_difference(**fields: object) -> Difference:
    usual = {"channel": "wechat", "day": date(2026, 11, 21), "kind": "unsettled", "severity": 3}
    return Difference.objects.create(
        **{**usual, "subject": "4200", "currency": "CNY", "theirs": 700, **fields}
    )


# ---- cases and money ---------------------------------------------------------------------------------------------


def test_open_cases_are_counted_by_kind_the_most_urgent_first(clerk):
    for number in range(3):
        open_case(Case.Kind.MAIL, f"N{number}", order=None, evidence={})
    open_case(Case.Kind.MISMATCH, "4200", order=None, evidence={})
    open_case(Case.Kind.UNMATCHED, "resolved", order=None, evidence={})
    Case.objects.filter(kind="unmatched").update(resolved_at=Now())
    Case.objects.filter(subject="N0").update(owner=clerk, opened_at=F("opened_at") - timedelta(days=2))
    Case.objects.filter(subject="N1").update(deadline=Now() - timedelta(hours=1))
    mail, mismatch = read_home(clerk).cases
    assert (mail.kind, mail.count, mail.late, mail.mine, mail.oldest.days) == ("mail", 3, 1, 1, 2)
    assert (mismatch.kind, mismatch.count, mismatch.late, mismatch.mine) == ("mismatch", 1, 0, 0)


def test_what_a_statement_shows_as_paid_and_we_have_not_is_at_risk(clerk):
    make_difference()
    make_difference(subject="4201", kind="stranger", theirs=300)
    make_difference(subject="4202", kind="fee", theirs=5)
    make_difference(subject="4203", ended_at=datetime.now(UTC), state="repaired")
    make_difference(subject="4204", state="decided")
    assert read_home(clerk).at_risk.unsettled == {"CNY": 1000}


def test_money_of_a_wrong_amount_and_for_nobody_is_at_risk_while_it_is_here(clerk):
    payment = make_payment(make_order())
    pay(payment, amount_minor=5000)
    settle_unmatched(report(payment, number="P0", channel_number="x"), channel="wechat", source=Source.QUERY)
    assert read_home(clerk).at_risk.kept == {"CNY": 5000 + 12900}
    Case.objects.filter(kind="unmatched").update(resolved_at=Now())
    assert read_home(clerk).at_risk.kept == {"CNY": 5000}


def test_surplus_money_is_at_risk_until_it_has_gone_back(clerk):
    payment = make_paid()
    pay(payment, channel_number="second")
    assert read_home(clerk).at_risk.going_back == {"CNY": 12900}
    Refund.objects.update(status="REFUNDED")
    assert read_home(clerk).at_risk.going_back == {}


def test_settled_money_is_where_it_belongs(clerk):
    make_paid()
    at_risk = read_home(clerk).at_risk
    assert (at_risk.unsettled, at_risk.kept, at_risk.going_back) == ({}, {}, {})


def test_what_waits_for_a_second_person_is_counted(clerk, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    paid, other = make_paid(), make_payment(make_order())
    ask_refund(paid.number, amount=900, reason="broken", actor="sue")
    Proposal.objects.create(
        number="S1", payment=other, evidence="word", channel_number="4200", amount=1, currency="CNY",
        reason="seen", asked_by="sue",
    )  # fmt: skip
    home = read_home(clerk)
    assert (home.refunds_waiting, home.proposals_waiting) == (1, 1)


def test_oldest_attempt_that_is_being_paid_is_named_with_its_age(clerk):
    make_paid()
    oldest = make_payment(make_order())
    make_payment(make_order())
    Payment.objects.filter(pk=oldest.pk).update(created_at=F("created_at") - timedelta(hours=5))
    home = read_home(clerk)
    assert home.paying == oldest
    assert home.paying_for is not None
    assert home.paying_for // timedelta(hours=1) == 5


# ---- machines and statements -------------------------------------------------------------------------------------


def test_guardian_that_is_silent_for_too_long_is_missing(clerk, machines):
    Heartbeat.objects.filter(name="cluster").update(at=Now() - timedelta(minutes=1))
    Heartbeat.objects.filter(name="scanner").delete()
    watch, cluster, scanner = read_home(clerk).guardians
    assert (watch.is_missing, cluster.is_missing, scanner.is_missing) == (False, True, True)
    assert scanner.silent_for is None


def test_scheduled_scanner_is_heard(clerk):
    scan()
    assert not read_home(clerk).guardians[2].is_missing


@pytest.fixture
def wechat(sandbox) -> str:
    return "wechat"


def make_statement(day: date, **fields: object) -> Statement:
    usual = {"channel": "wechat", "origin": "fetched", "entries": 2, "is_current": True}
    return Statement.objects.create(**{**usual, "day": day, "digest": f"{day}", **fields})


def test_each_configured_channel_shows_its_last_statement_and_what_differs(clerk, wechat):
    make_statement(date(2026, 11, 19))
    last = make_statement(date(2026, 11, 20))
    make_statement(date(2026, 11, 21), is_current=False)
    make_statement(date(2026, 11, 21), channel="paypal")
    make_difference()
    make_difference(subject="4203", ended_at=datetime.now(UTC), state="gone")
    (books,) = read_home(clerk).books
    assert (books.channel, books.last, books.differences) == ("wechat", last, 1)


def test_statement_that_was_promised_and_has_not_come_is_late_after_some_hours(clerk, wechat):
    today = read_now().astimezone(ZoneInfo("Asia/Shanghai")).date()
    make_statement(today - timedelta(days=3))
    set_alarm(FETCH_STATEMENT, f"wechat:{today - timedelta(days=3)}", in_s=60)
    assert not read_home(clerk).books[0].is_late
    set_alarm(FETCH_STATEMENT, f"wechat:{today - timedelta(days=2)}", in_s=60)
    (books,) = read_home(clerk).books
    assert (books.next_day, books.is_late) == (today - timedelta(days=2), True)
    assert books.next_at is not None
    assert STATEMENT_GRACE < read_now() - books.next_at < timedelta(days=2)


def test_next_statement_is_that_of_the_present_day(clerk, wechat):
    (books,) = read_home(clerk).books
    assert (books.last, books.is_late) == (None, False)
    assert books.next_at is not None
    assert books.next_at > read_now()


def test_channel_that_cannot_be_used_is_shown_as_such(clerk, settings):
    settings.CHANNELS = {"wechat": {}, "paypal": None}
    (books,) = read_home(clerk).books
    assert (books.channel, books.next_at, books.is_late) == ("wechat", None, True)


# ---- today -------------------------------------------------------------------------------------------------------


def test_today_begins_at_midnight_in_the_zone_of_the_shop(clerk, settings):
    settings.DISPLAY_TIME_ZONE = "Pacific/Kiritimati"
    make_paid()
    old = make_order()
    home = read_home(clerk)
    assert home.today.isoformat()[11:] == "00:00:00+14:00"
    Order.objects.filter(pk=old.pk).update(created_at=home.today - timedelta(seconds=1))
    home = read_home(clerk)
    assert (home.orders, home.orders_paid) == (1, 1)


def test_success_rate_is_of_the_attempts_that_ended_today(clerk):
    make_paid()
    refused = make_payment(make_order())
    pay(refused, outcome=Outcome.REFUSED, channel_number="", amount_minor=None, currency="")
    make_payment(make_order())
    (rate,) = read_home(clerk).rates
    assert (rate.channel, rate.paid, rate.ended, rate.percent) == ("wechat", 1, 2, 50)


def test_attempt_that_was_paid_before_today_and_again_today_does_not_count(clerk, monkeypatch):
    payment = make_paid()
    pay(payment, channel_number="second")
    tomorrow = read_home(clerk).today + timedelta(days=1)
    Receipt.objects.filter(channel_number="second").update(created_at=tomorrow)
    monkeypatch.setattr("payments.home.read_now", lambda: tomorrow)
    assert read_home(clerk).rates == []


def test_whatever_there_is_takes_the_same_statements(
    clerk, django_assert_num_queries, every_channel, settings
):
    settings.REFUND_APPROVAL_ABOVE = 0
    with django_assert_num_queries(16):
        read_home(clerk)
    for number in range(3):
        payment = make_paid()
        pay(payment, channel_number=f"second {number}")
        pay(make_payment(make_order()), amount_minor=1, channel_number=f"wrong {number}")
        make_payment(make_order())
        make_statement(date(2026, 11, number + 1))
        make_difference(subject=f"{number}")
        beat(f"watch here {number}")
    with django_assert_num_queries(16):
        read_home(clerk)


# ---- the page ----------------------------------------------------------------------------------------------------


def show(client, user) -> str:
    client.force_login(user)
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 200
    return answer.content.decode()


def test_page_is_calm_when_nothing_is_wrong(client, admin_user, machines):
    page = show(client, admin_user)
    assert CALM in page
    assert "Waits for a person" not in page


def test_page_is_not_calm_while_a_machine_is_silent(client, admin_user):
    page = show(client, admin_user)
    assert CALM not in page
    assert "never heard" in page


def test_page_leads_to_the_lists_of_what_waits(client, admin_user, machines, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    payment = make_paid()
    pay(payment, channel_number="second")
    ask_refund(payment.number, amount=900, reason="broken", actor="sue")
    make_difference()
    pay(make_payment(make_order()), amount_minor=1, channel_number="wrong")
    make_payment(make_order())
    page = show(client, admin_user)
    assert CALM not in page
    for words in ("¥7.00", "¥129.00", "¥0.01", "Open cases", "Money at risk", "Waiting for a second person"):
        assert words in page
    links = {part.split('"')[0] for part in page.split('href="')[1:]}
    inside = {
        link.replace("&amp;", "&") for link in links if link.startswith("/admin/") and "logout" not in link
    }
    assert {client.get(link).status_code for link in inside} == {200}


@pytest.mark.parametrize(
    ("codename", "words"),
    [
        ("view_case", "Open cases"),
        ("view_difference", "Paid at a channel"),
        ("view_receipt", "Here, for no payment"),
        ("view_order", "Orders placed"),
        ("view_payment", "Oldest attempt"),
        ("view_heartbeat", "Machines"),
    ],
)
def test_everybody_sees_only_what_they_may_look_at(client, clerk, codename, words):
    make_difference()
    pay(make_payment(make_order()), amount_minor=1)
    make_payment(make_order())
    page = show(client, clerk)
    assert words not in page
    assert CALM not in page
    assert words in show(client, may(clerk, codename))


def test_oldest_attempt_is_shown_with_the_title_of_its_channel(client, clerk):
    make_payment(make_order(), channel="boleto")
    assert "Boleto" in show(client, may(clerk, "view_payment"))


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(seconds=-1), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=3, minutes=7), "3 h 7 min"),
        (timedelta(days=4, hours=2), "4 d 2 h"),
    ],
)
def test_length_of_time_in_words(time, words):
    assert in_words(time) == words
