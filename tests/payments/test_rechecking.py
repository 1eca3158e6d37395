"""An attempt that ended before its time is asked about until its channel can take no more money: it may have been paid in
the very moment of the close, and no message of it may ever come.
"""

from datetime import timedelta
from importlib import import_module

import pytest
import requests
from django.db import connection
from django.db.models.functions import Now

from orders.models import Order
from orders.statuses import OrderStatus
from payments.applying import apply_for_payment
from payments.audit import audit, audit_trades
from payments.cases import list_open_cases, resolve_case
from payments.channels.base import Outcome
from payments.ending import cancel_order
from payments.errors import CaseStaysOpen
from payments.models import Case, Payment, Receipt, Refund
from payments.querying import query_payment
from payments.scanner import find_forgotten
from payments.settling import settle_payment
from payments.statuses import PaymentStatus, ReceiptClass
from shop.alarms import claim_due, handle
from shop.clock import WITH_NOW
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report
from tests.sandbox_process import SandboxProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = [("wechat", "qr"), ("wechat", "wap"), ("alipay", "qr"), ("alipay", "wap")]


@pytest.fixture
def channels(every_channel) -> SandboxProcess:
    """Whoever closes a payment is told that it is closed, while the shopper pays it, and no message says so."""
    script = [
        {"channel": name, "operation": "close", "what": "paid_meanwhile", "when": "after", "times": 9}
        for name in ("wechat", "alipay")
    ]
    every_channel.set_faults({"notify": {"drop": 1.0}, "script": script})
    return every_channel


def rechecks() -> list[str]:
    return list(Alarm.objects.filter(kind="recheck_payment").values_list("subject", flat=True))


def wake() -> None:
    """Whatever is to be done is due."""
    Alarm.objects.update(due_at=Now())
    for claim in claim_due(20):
        assert handle(claim)


def end_time(payment: Payment) -> None:
    """Nobody can pay it any more."""
    Payment.objects.filter(pk=payment.pk).update(dead_at=Now())
    Alarm.objects.filter(subject=payment.number).update(last_at=Now())


def agrees_with(sandbox: SandboxProcess) -> bool:
    ours = Payment.objects.values_list("number", "channel")
    trades = [trade for number, channel in ours for trade in sandbox.trades(number, channel=channel)]
    return not [*audit(), *audit_trades(trades)]


@pytest.mark.parametrize(("channel", "scene"), WAYS)
def test_money_that_came_while_its_order_was_cancelled_is_found_and_goes_back(channels, channel, scene):
    payment = apply_for_payment(
        make_order().number, channel=channel, scene=scene, payer={"ip": "203.0.113.9"}
    ).payment
    if scene == "wap":
        requests.get(payment.action["url"], timeout=10)  # with which Alipay makes the trade
    elif channel == "alipay":
        channels.scan(payment.number, channel=channel)
    cancel_order(payment.order.number)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.CLOSED
    wake()
    assert Receipt.objects.get().receipt_class == ReceiptClass.LATE
    wait_until(lambda: wake() or Refund.objects.get().status == "REFUNDED", within_s=20, every_s=0.3)
    assert agrees_with(channels)


def test_money_that_came_while_another_way_was_chosen_is_found_and_goes_back(channels):
    order = make_order()
    first = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    second = apply_for_payment(order.number, channel="alipay", scene="qr").payment
    channels.pay(second.number, channel="alipay")
    query_payment(second.number)
    wake()
    assert Receipt.objects.get(payment=first).receipt_class == ReceiptClass.SURPLUS
    assert Order.objects.get().status == OrderStatus.READY_FOR_SHIPMENT
    wait_until(lambda: wake() or Refund.objects.get().status == "REFUNDED", within_s=20, every_s=0.3)
    assert agrees_with(channels)


def test_attempt_that_was_not_paid_is_asked_about_until_nobody_can_pay_it(sandbox):
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    cancel_order(payment.order.number)
    for _ in range(2):
        wake()
        assert rechecks() == [payment.number]
        assert audit() == []
    end_time(payment)
    wake()
    assert rechecks() == []
    assert audit() == []


def test_channel_that_does_not_answer_at_the_end_is_asked_once_a_day(sandbox):
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    cancel_order(payment.order.number)
    sandbox.set_faults(
        {
            "script": [
                {"channel": "wechat", "operation": "query", "what": "garbage", "when": "after", "times": 9}
            ]
        }
    )
    end_time(payment)
    wake()
    [alarm] = Alarm.objects.filter(kind="recheck_payment")
    assert alarm.due_at - alarm.tried_at > timedelta(hours=23)
    assert audit() == []


def test_people_are_told_of_silence_at_the_end_until_the_channel_answers(sandbox, django_user_model):
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    cancel_order(payment.order.number)
    silence = {"channel": "wechat", "operation": "query", "what": "garbage", "when": "after", "times": 9}
    sandbox.set_faults({"script": [silence]})
    end_time(payment)
    wake()
    wake()
    case = Case.objects.get()
    assert (case.kind, case.subject, case.order) == (Case.Kind.UNANSWERED, payment.number, payment.order)
    with pytest.raises(CaseStaysOpen):
        resolve_case(case.pk, actor=django_user_model.objects.create_user("anna"), resolution="never mind")
    sandbox.clear_faults()
    query_payment(payment.number)
    assert not list_open_cases()
    wake()
    assert rechecks() == []
    assert audit() == []


@pytest.fixture
def in_process(every_channel) -> Payment:
    """Paid at UnionPay, which says until its end that the bank is at work on it."""
    told = {"what": "lie", "when": "after", "value": {"status": "05"}, "times": 30}
    script = [{"channel": "unionpay", "operation": "query", **told}]
    every_channel.set_faults({"notify": {"drop": 1.0}, "script": script})
    payment = apply_for_payment(make_order().number, channel="unionpay", scene="qr").payment
    every_channel.pay(payment.number, channel="unionpay")
    # A fresh trade may be invisible to the first query.
    wait_until(lambda: query_payment(payment.number)[0] is Outcome.OPEN, within_s=10, every_s=0.3)
    end_time(payment)
    wake()
    payment.refresh_from_db()
    return payment


def test_attempt_that_is_in_process_at_its_end_is_closed_and_looked_at_for_three_days(in_process):
    assert in_process.status == PaymentStatus.CLOSED
    [alarm] = Alarm.objects.filter(kind="recheck_payment")
    assert timedelta(days=2, hours=23) < alarm.last_at - Payment.objects.annotate(**WITH_NOW).get().now
    wake()
    assert rechecks() == [in_process.number]
    assert find_forgotten() == []
    assert not Case.objects.exists()
    assert audit() == []


def test_money_that_a_bank_was_at_work_on_at_the_end_is_found(every_channel, in_process):
    every_channel.set_faults({"notify": {"drop": 1.0}})
    wake()
    in_process.refresh_from_db()
    assert in_process.status == PaymentStatus.PAID
    assert Order.objects.get().status == OrderStatus.READY_FOR_SHIPMENT
    assert agrees_with(every_channel)


def test_attempt_that_stays_in_process_for_three_days_is_asked_about_no_more(in_process):
    Alarm.objects.filter(kind="recheck_payment").update(last_at=Now())
    wake()
    assert rechecks() == []
    assert not Case.objects.exists()


def test_attempt_whose_channel_can_close_it_is_over_at_its_end(sandbox):
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    end_time(payment)
    wake()
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.CLOSED
    assert rechecks() == []


def test_money_that_is_known_ends_the_looking(sandbox):
    payment = make_payment(make_order())
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    assert rechecks() == [payment.number]
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    assert rechecks() == []


def test_attempt_that_was_refused_before_anybody_could_pay_it_is_not_asked_about():
    payment = make_payment(make_order())
    Payment.objects.update(action=None)
    settle_payment(report(payment, Outcome.REFUSED), channel="wechat", source=Source.RESPONSE)
    assert rechecks() == []
    assert audit() == []


def test_upgrade_looks_at_what_ended_before_there_were_such_alarms():
    ended, over = make_payment(make_order()), make_payment(make_order())
    for payment in (ended, over):
        settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    Alarm.objects.filter(kind="recheck_payment").delete()
    end_time(over)
    migration = import_module("payments.migrations.0006_ended_payments")
    with connection.cursor() as cursor:
        cursor.execute(migration.SET_ALARMS)
    assert rechecks() == [ended.number]
    assert audit() == []


def test_scanner_finds_what_ended_before_its_time_and_is_not_looked_at():
    payment = make_payment(make_order())
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    Alarm.objects.filter(kind="recheck_payment").delete()
    Payment.objects.update(created_at=Now() - timedelta(minutes=2))
    assert find_forgotten() == [("recheck_payment", payment.number)]
    assert rechecks() == [payment.number]
