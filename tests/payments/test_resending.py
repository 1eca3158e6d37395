"""A person has the receipt mailed once more: a mail of its own, once for each time that somebody wants it."""

import pytest
from django.core import mail

from orders.errors import OrderNotFound
from orders.models import Order
from payments.audit import audit
from payments.errors import NothingToMail
from payments.mailing import resend_receipt
from payments.models import Receipt
from shop.alarms import handle_now
from shop.mail import send_mail
from shop.models import Alarm
from tests.factories import make_order, make_payment
from tests.payments.audit_world import PRICE, ask, finish, order_of, pay

pytestmark = pytest.mark.django_db
MAIL = "mail_receipt"


@pytest.fixture
def order() -> Order:
    """Paid, and its receipt mailed."""
    order = order_of(pay(make_payment(make_order())))
    handle_now("follow_up", order.number)
    handle_now(MAIL, order.number)
    return order


def message_ids() -> list[str]:
    return [sent.extra_headers["Message-ID"] for sent in mail.outbox]


def test_receipt_is_mailed_once_more_to_the_same_address(order):
    resend_receipt(order.number)
    assert audit() == []
    handle_now(MAIL, order.number)
    assert [sent.to for sent in mail.outbox] == [[order.email]] * 2
    assert mail.outbox[0].body == mail.outbox[1].body
    assert Receipt.objects.get().mailed_at is not None
    assert not Alarm.objects.filter(kind=MAIL).exists()


def test_each_resent_mail_has_an_id_of_its_own_so_that_mail_programs_show_it(order):
    for _ in range(2):
        resend_receipt(order.number)
        handle_now(MAIL, order.number)
    assert len(set(message_ids())) == 3


def test_repeat_of_a_resent_mail_after_a_crash_has_the_same_id(order):
    resend_receipt(order.number)
    handle_now(MAIL, order.number)
    Receipt.objects.update(mailed_at=None)
    Alarm.objects.create(kind=MAIL, subject=order.number, due_at=order.created_at)
    handle_now(MAIL, order.number)
    assert message_ids()[1] == message_ids()[2]


def test_two_people_who_ask_at_once_have_it_sent_once(order):
    resend_receipt(order.number)
    resend_receipt(order.number)
    handle_now(MAIL, order.number)
    handle_now(MAIL, order.number)
    assert len(mail.outbox) == 2


def test_mail_that_is_asked_for_while_one_is_sent_is_sent_too(order, monkeypatch):
    resend_receipt(order.number)

    def send_and_be_asked(**sent: str) -> None:
        send_mail(**sent)
        monkeypatch.undo()
        Receipt.objects.update(mailed_at=order.created_at)  # a rival has sent the same
        resend_receipt(order.number)

    monkeypatch.setattr("payments.mailing.send_mail", send_and_be_asked)
    handle_now(MAIL, order.number)
    assert Alarm.objects.filter(kind=MAIL).exists()
    handle_now(MAIL, order.number)
    assert len(set(message_ids())) == 3
    assert not Alarm.objects.filter(kind=MAIL).exists()


def test_order_that_is_not_paid_has_no_receipt():
    with pytest.raises(NothingToMail):
        resend_receipt(make_order().number)
    assert not Alarm.objects.filter(kind=MAIL).exists()


def test_who_has_the_money_back_is_sent_nothing(order):
    finish(ask(Receipt.objects.get(), PRICE))
    with pytest.raises(NothingToMail):
        resend_receipt(order.number)
    assert Receipt.objects.get().mailed_at is not None


def test_unknown_order_is_not_found():
    with pytest.raises(OrderNotFound):
        resend_receipt("N000000000000000")
