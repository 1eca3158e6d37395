"""The scanner: the same claims as watch, and nothing unfinished that nobody watches."""

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from orders.models import Order
from payments import scanner
from payments.applying import apply_for_payment
from payments.models import Case, Payment
from payments.scanner import find_forgotten, scan_payments
from shop.alarms import Claim
from shop.business import announce
from shop.models import Alarm
from tests.factories import make_order, make_payment
from tests.programs import call

LONG_AGO = Now() - timedelta(minutes=5)


@pytest.mark.django_db(transaction=True)
def test_a_pass_finds_a_payment_whose_callback_was_lost(sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    Alarm.objects.filter(kind="query_payment").update(due_at=LONG_AGO)
    counts = scan_payments()
    assert (counts["handled"], counts["failed"], counts["without_alarm"]) == (1, 0, 0)
    payment.refresh_from_db()
    assert payment.status == "PAID"


@pytest.mark.django_db(transaction=True)
def test_the_command_prints_counts_and_says_by_its_status_whether_something_was_found(sandbox):
    make_payment(make_order())
    assert call("scan_payments").returncode == 0
    Payment.objects.update(created_at=LONG_AGO)
    Alarm.objects.filter(kind="query_payment").delete()
    found = call("scan_payments", "--json")
    assert found.returncode == 1
    assert '"without_alarm": 1' in found.stdout


@pytest.mark.django_db(transaction=True)
def test_query_payment_asks_and_prints(sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    asked = call("query_payment", payment.number)
    assert (asked.returncode, asked.stdout.split()) == (0, [payment.number, "succeeded", "PAID"])
    assert call("query_payment", "PNOTHING").returncode == 2


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["query_payment", "expire_order"])
def test_what_is_unfinished_without_an_alarm_gets_one_and_a_case(kind):
    make_payment(make_order())
    Payment.objects.update(created_at=LONG_AGO)
    Order.objects.update(created_at=LONG_AGO)
    [subject] = Alarm.objects.filter(kind=kind).values_list("subject", flat=True)
    Alarm.objects.filter(kind=kind).delete()
    assert find_forgotten() == [(kind, subject)]
    alarm = Alarm.objects.get(kind=kind, subject=subject)
    assert alarm.last_at == (Payment.objects.get().dead_at if kind == "query_payment" else None)
    assert Case.objects.get().kind == Case.Kind.NO_ALARM
    assert find_forgotten() == []


@pytest.mark.django_db
def test_pass_ends_in_time_whatever_is_due(monkeypatch):
    def dawdle(claim: Claim) -> bool:
        time.sleep(0.2)
        return True

    monkeypatch.setattr(scanner, "handle", dawdle)
    monkeypatch.setattr(scanner, "PASS_S", 0.5)
    for _ in range(10):
        make_payment(make_order(stock=20))
    Alarm.objects.update(due_at=LONG_AGO)
    assert scan_payments()["handled"] == 3


@pytest.mark.django_db
def test_events_are_published_and_forgotten_where_no_watch_runs(settings):
    settings.EVENTS_KEPT_DAYS = 0
    for _ in range(3):
        announce("order.paid", stream="N1", subject="N1", data={})
    counts = scan_payments()
    assert (counts["published"], counts["forgotten"]) == (3, 2)


@pytest.mark.django_db
def test_what_is_watched_is_left_alone():
    make_payment(make_order())
    Payment.objects.update(created_at=LONG_AGO)
    Order.objects.update(created_at=LONG_AGO)
    assert find_forgotten() == []
