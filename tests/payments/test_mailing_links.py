"""The order's link by mail, for whoever has lost it: to its own address only, rarely, and one that works."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from orders.access import find_order, is_token_of, token_of
from orders.models import Order
from payments.audit import audit
from payments.mailing import LINK_EVERY_S, ask_for_link, mail_new_link
from shop.alarms import handle_now
from shop.models import Alarm
from tests.factories import ANNA, make_order
from tests.orders.test_access import end_link

pytestmark = pytest.mark.django_db
KIND = "mail_link"


def deliver(order: Order) -> None:
    handle_now(KIND, order.number)


def token_mailed(order: Order) -> str:
    """The token of the newest mail's link."""
    [line] = [line for line in mail.outbox[-1].body.splitlines() if f"/orders/{order.number}/?token=" in line]
    return line.partition("?token=")[2]


@pytest.mark.parametrize("email", [ANNA.email, ANNA.email.upper()])
def test_link_is_mailed_to_the_orders_address(email):
    order = make_order()
    ask_for_link(order.number, email)
    assert audit() == []
    deliver(order)
    assert mail.outbox[0].to == [ANNA.email]
    assert find_order(order.number, token=token_mailed(order)) == order
    assert not Alarm.objects.filter(kind=KIND).exists()


def test_other_address_and_other_order_are_mailed_nothing():
    order = make_order()
    ask_for_link(order.number, "li@example.com")
    ask_for_link("N000000000000000", ANNA.email)
    assert not Alarm.objects.filter(kind=KIND).exists()


def test_link_is_mailed_once_in_ten_minutes():
    order = make_order()
    for _ in range(2):
        ask_for_link(order.number, ANNA.email)
        deliver(order)
    assert len(mail.outbox) == 1
    Order.objects.update(link_asked_at=timezone.now() - timedelta(seconds=LINK_EVERY_S + 1))
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    assert len({sent.extra_headers["Message-ID"] for sent in mail.outbox}) == 2


def test_address_that_stands_in_many_orders_is_mailed_once_in_ten_minutes():
    orders = [make_order(sku=f"tea-{nth}") for nth in range(3)]
    for order in orders:
        ask_for_link(order.number, ANNA.email)
    assert Alarm.objects.filter(kind=KIND).count() == 1


def test_link_is_mailed_without_a_word_of_whoever_placed_the_order():
    order = make_order()
    Order.objects.update(name="Account locked! http://evil.example/")
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    assert "evil" not in mail.outbox[0].body


def test_link_that_lives_is_mailed_as_it_is():
    order = make_order()
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    assert token_mailed(order) == token_of(order)


def test_link_that_has_ended_is_mailed_anew():
    order = end_link(make_order())
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    assert token_mailed(order) != token_of(order)
    assert find_order(order.number, token=token_mailed(order)) == order


def test_new_link_of_a_person_is_mailed_whenever_it_is_made():
    order = make_order()
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    mail_new_link(order.number, actor="sue")
    deliver(order)
    assert len(mail.outbox) == 2
    assert not is_token_of(Order.objects.get(), token_of(order))
    assert audit() == []
    assert find_order(order.number, token=token_mailed(order)) == order


def test_repeat_after_a_crash_has_the_same_message_id():
    order = make_order()
    ask_for_link(order.number, ANNA.email)
    deliver(order)
    Alarm.objects.create(kind=KIND, subject=order.number, due_at=order.created_at)
    deliver(order)
    first, second = mail.outbox
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"]
