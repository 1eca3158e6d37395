"""Who paid twice, or too late, is told when the money has gone back: once for each refund, and nobody else."""

import smtplib
from datetime import timedelta
from email import message_from_string, policy

import pytest
from django.core import mail

from orders.models import Order
from payments.channels.base import Outcome
from payments.models import Case, Refund
from payments.scanner import find_forgotten
from shop.alarms import handle_now, set_alarm
from shop.languages import CODES, speaking
from shop.models import Alarm, Event
from tests.factories import make_order, make_payment
from tests.payments.audit_world import PRICE, ask, finish, pay, pay_late

pytestmark = pytest.mark.django_db
KIND = "mail_returned"


@pytest.fixture
def surplus() -> Refund:
    """The money of a second payment, on its way back."""
    order = make_order()
    pay(make_payment(order))
    return pay(make_payment(order)).refunds.get()


def test_who_paid_twice_is_told_that_the_second_payment_went_back(surplus):
    finish(surplus)
    handle_now(KIND, surplus.number)
    [sent] = mail.outbox
    assert sent.to == [Order.objects.get().email]
    assert sent.subject == f"We sent ¥129.00 back to you: order {Order.objects.get().number}"
    assert "you paid twice for your order" in sent.body
    assert surplus.receipt.channel_number in sent.body
    assert not Alarm.objects.filter(kind=KIND).exists()


def test_who_paid_too_late_is_told_that_the_money_went_back():
    refund = pay_late().refunds.get()
    handle_now(KIND, refund.number)
    [sent] = mail.outbox
    assert "came after the order had closed" in " ".join(sent.body.split())


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REFUSED])
def test_nobody_is_told_before_it_has_gone_back(surplus, outcome):
    finish(surplus, outcome)
    assert not Alarm.objects.filter(kind=KIND).exists()


def test_who_asked_for_their_money_is_not_told_that_it_went_back_by_itself():
    finish(ask(pay(make_payment(make_order())), PRICE))
    assert not Alarm.objects.filter(kind=KIND).exists()


def test_repeat_after_a_crash_has_the_same_message_id(surplus):
    finish(surplus)
    for _ in range(2):
        handle_now(KIND, surplus.number)
        Refund.objects.update(is_told=False)
        set_alarm(KIND, surplus.number, in_s=5)
    first, second = mail.outbox
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"]


def test_who_has_been_told_is_not_told_again(surplus):
    finish(surplus)
    for _ in range(2):
        handle_now(KIND, surplus.number)
        set_alarm(KIND, surplus.number, in_s=5)
    assert len(mail.outbox) == 1


def test_lost_alarm_of_the_mail_is_found(surplus):
    finish(surplus)
    Alarm.objects.filter(kind=KIND).delete()
    Refund.objects.filter(pk=surplus.pk).update(ended_at=surplus.created_at - timedelta(hours=1))
    assert find_forgotten() == [(KIND, surplus.number)]
    handle_now(KIND, surplus.number)
    assert len(mail.outbox) == 1
    assert find_forgotten() == []


def test_address_that_does_not_exist_is_told_to_a_person_and_given_up(surplus, monkeypatch):
    def refuse(_: object) -> None:
        raise smtplib.SMTPRecipientsRefused({"anna@example.com": (550, b"no such user")})

    finish(surplus)
    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    handle_now(KIND, surplus.number)
    assert Case.objects.get(kind=Case.Kind.MAIL).evidence == {"refund": surplus.number}
    assert not Event.objects.filter(subject_kind="mail").exists()
    assert not Alarm.objects.filter(kind=KIND).exists()


@pytest.mark.parametrize("language", sorted(CODES))
def test_mail_has_the_amount_as_the_order_s_language_writes_it(language):
    with speaking(language):
        refund = pay_late().refunds.get()
    handle_now(KIND, refund.number)
    assert "¥129.00" in mail.outbox[0].subject


def test_who_paid_three_times_is_told_which_payment_each_mail_is_about():
    order = make_order()
    pay(make_payment(order))
    for _ in range(2):
        refund = pay(make_payment(order)).refunds.get()
        finish(refund)
    for refund in Refund.objects.all():
        handle_now(KIND, refund.number)
    assert len(mail.outbox) == 2
    for sent in mail.outbox:
        assert "you paid more than once for your order" in " ".join(sent.body.split())
        assert "second" not in sent.body


@pytest.mark.parametrize("language", sorted(CODES))
def test_subject_begins_on_the_line_of_its_name(language):
    with speaking(language):
        refund = pay_late().refunds.get()
    handle_now(KIND, refund.number)
    head = mail.outbox[0].message().as_bytes().partition(b"\n\n")[0].decode("ascii")
    lines = head.splitlines()
    [subject] = [line for line in lines if line.startswith("Subject:")]
    assert subject.startswith("Subject: =?utf-8?")
    assert max(map(len, lines)) <= 78
    told = message_from_string(head, policy=policy.default)["Subject"]
    assert told == mail.outbox[0].subject
