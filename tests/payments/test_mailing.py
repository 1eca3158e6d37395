"""The receipt by mail: once for each paid order, however often it is tried, and never in the way of anything else."""

import smtplib
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.utils.translation import gettext

from orders.models import Order
from payments.mailing import ask_for_link
from payments.mails import write_receipt
from payments.models import Case, Receipt
from payments.settling import settle_payment
from shop.alarms import handle_now
from shop.languages import CODES, long_day, speaking
from shop.mail import COLUMNS
from shop.models import Alarm, Source
from tests.factories import by_hand, make_order, make_payment, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def order() -> Order:
    """Paid, and looked after."""
    order = make_order(quantity=2)
    settle_payment(report(make_payment(order)), channel="wechat", source=Source.QUERY)
    handle_now("follow_up", order.number)
    return order


def test_mail_names_the_zone_of_its_moment_and_not_of_today(order, settings):
    settings.DISPLAY_TIME_ZONE = "Europe/Berlin"
    for month, words in (
        (1, "13:00 (Central European Standard Time)"),
        (7, "14:00 (Central European Summer Time)"),
    ):
        Receipt.objects.update(paid_at=datetime(2026, month, 20, 12, tzinfo=UTC))
        assert words in " ".join(write_receipt(order, Receipt.objects.get()).text.split())


def test_paid_order_is_mailed_a_receipt(order, settings):
    handle_now("mail_receipt", order.number)
    [sent] = mail.outbox
    assert sent.to == [order.email]
    assert order.number in sent.subject
    for fact in (
        "2 × Tea",
        "258.00",
        "WeChat Pay",
        "(China Standard Time)",
        f"{settings.PUBLIC_URL}/orders/{order.number}/?token=",
    ):
        assert fact in sent.body
    assert Receipt.objects.get().mailed_at is not None
    assert not Alarm.objects.filter(kind="mail_receipt").exists()


def test_receipt_says_until_when_its_link_lives(order, settings):
    settings.ORDER_LINK_DAYS = 10
    handle_now("mail_receipt", order.number)
    [sent] = mail.outbox
    assert f"The link works until {long_day(order.created_at + timedelta(days=10))}." in sent.body


@pytest.mark.parametrize("language", sorted(CODES))
def test_mails_speak_the_language_of_the_order_whoever_is_at_work(language):
    with speaking(language):
        order = make_order()
        expected = [
            gettext("Your payment for order %(number)s"),
            gettext("The link to your order %(number)s"),
        ]
    settle_payment(report(make_payment(order)), channel="wechat", source=Source.QUERY)
    ask_for_link(order.number, order.email)
    for alarm in ("follow_up", "mail_receipt", "mail_link"):
        handle_now(alarm, order.number)
    assert [sent.subject for sent in mail.outbox] == [each % {"number": order.number} for each in expected]


def test_mails_are_narrow_and_have_no_two_empty_lines(order):
    Order.objects.update(name="Anna\nMaria " + "Longname " * 9)
    ask_for_link(order.number, order.email)
    handle_now("mail_receipt", order.number)
    handle_now("mail_link", order.number)
    for sent in mail.outbox:
        lines = sent.body.splitlines()
        assert all(len(line) <= COLUMNS for line in lines if "://" not in line)
        assert "\n\n\n" not in sent.body
    assert mail.outbox[0].body.startswith("Hello Anna Maria Longname")


def test_receipt_is_mailed_once(order):
    for _ in range(3):
        handle_now("follow_up", order.number)
        handle_now("mail_receipt", order.number)
    Alarm.objects.create(kind="mail_receipt", subject=order.number, due_at=order.created_at)
    handle_now("mail_receipt", order.number)
    assert len(mail.outbox) == 1


def test_repeat_after_a_crash_has_the_same_message_id(order):
    handle_now("mail_receipt", order.number)
    Receipt.objects.update(mailed_at=None)
    Alarm.objects.create(kind="mail_receipt", subject=order.number, due_at=order.created_at)
    handle_now("mail_receipt", order.number)
    first, second = mail.outbox
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"]


def test_mail_server_that_is_away_is_tried_again_and_told_of(order, monkeypatch):
    def refuse(_: object) -> None:
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    for _ in range(5):
        handle_now("mail_receipt", order.number)
    assert Receipt.objects.get().mailed_at is None
    assert Alarm.objects.get(kind="mail_receipt").attempts == 5
    assert Case.objects.get().kind == Case.Kind.FAILING


def test_without_a_mail_server_receipts_are_files_for_their_owner_only(order, settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    handle_now("mail_receipt", order.number)
    [file] = settings.EMAIL_FILE_PATH.iterdir()
    assert order.number in file.read_text()
    assert settings.EMAIL_FILE_PATH.stat().st_mode & 0o077 == 0


def test_closed_order_is_mailed_nothing():
    order = make_order()
    Alarm.objects.create(kind="mail_receipt", subject=order.number, due_at=order.created_at)
    handle_now("mail_receipt", order.number)
    assert mail.outbox == []
    assert not Alarm.objects.filter(kind="mail_receipt").exists()


def test_address_that_does_not_exist_is_given_up_and_told_to_a_person(order, monkeypatch):
    def refuse(_: object) -> None:
        raise smtplib.SMTPRecipientsRefused({"anna@example.com": (550, b"no such user")})

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    handle_now("mail_receipt", order.number)
    assert Case.objects.get().kind == Case.Kind.MAIL
    assert not Alarm.objects.filter(kind="mail_receipt").exists()


@pytest.mark.django_db(transaction=True)
def test_who_has_the_money_back_is_not_thanked_for_it(order):
    with by_hand():
        Order.objects.update(status="REFUNDED")
    handle_now("mail_receipt", order.number)
    assert mail.outbox == []
    assert not Alarm.objects.filter(kind="mail_receipt").exists()
