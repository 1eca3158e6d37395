"""Writes that travel together, and the reads of the hot paths."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from orders.models import Order
from payments.models import Payment
from payments.moves import WITH_ITS_ORDER, lock_payment
from shop.alarms import remove_alarms, set_alarm
from shop.clock import read_now
from shop.events import Change, record
from shop.models import Alarm, Event, Source
from shop.writes import insert, save, together, update, write
from tests.factories import make_order, make_payment
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def test_writes_of_a_block_are_one_statement(django_assert_num_queries):
    now = read_now()
    with transaction.atomic(), django_assert_num_queries(1), together():
        set_alarm("one", "1", in_s=5)
        insert(Alarm(kind="two", subject="2", due_at=now), Alarm(kind="three", subject="3", due_at=now))
        remove_alarms(["four"], "4")
    assert set(Alarm.objects.values_list("kind", flat=True)) == {"one", "two", "three"}


def test_rows_of_one_model_travel_in_one_insert_and_keep_their_order(django_assert_num_queries):
    now = read_now()
    with transaction.atomic(), django_assert_num_queries(1), together():
        insert(Alarm(kind="one", subject="1", due_at=now))
        remove_alarms(["four"], "4")
        insert(Alarm(kind="two", subject="2", due_at=now), Alarm(kind="three", subject="3", due_at=now))
    assert list(Alarm.objects.order_by("id").values_list("kind", flat=True)) == ["one", "two", "three"]


def test_block_within_a_block_travels_with_the_outer_one(django_assert_num_queries):
    with django_assert_num_queries(1), together():
        set_alarm("one", "1")
        with together():
            set_alarm("two", "2")


def test_outside_a_block_each_write_is_a_statement_at_once():
    set_alarm("one", "1")
    assert Alarm.objects.filter(kind="one").exists()


def test_whoever_reads_in_a_block_finds_what_was_written(django_assert_num_queries):
    with django_assert_num_queries(3), together():
        set_alarm("one", "1")
        assert Alarm.objects.filter(kind="one").exists()
        set_alarm("two", "2")


def test_second_write_of_a_row_comes_after_the_first(django_assert_num_queries):
    order = make_order()
    with django_assert_num_queries(2), together():
        update(order, counting="version", name="Bert")
        update(order, counting="version", phone="1")
    stored = Order.objects.get(pk=order.pk)
    assert (stored.name, stored.phone, stored.version) == ("Bert", "1", 3)


def test_alarm_that_is_removed_and_set_again_is_there():
    set_alarm("one", "1", in_s=5)
    with together():
        remove_alarms(["one", "two"], "1")
        set_alarm("one", "1", in_s=9)
        remove_alarms(["two"], "1")
    assert Alarm.objects.filter(kind="one").count() == 1


def test_block_that_raises_writes_nothing_and_leaves_nothing_behind():
    def fail() -> None:
        with together():
            set_alarm("one", "1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    set_alarm("two", "2")
    assert list(Alarm.objects.values_list("kind", flat=True)) == ["two"]


def test_block_without_writes_is_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0), together():
        record([])


def test_one_refusal_of_the_database_refuses_the_whole_block():
    now = read_now()
    Alarm.objects.create(kind="one", subject="1", due_at=now)

    def write_both() -> None:
        with transaction.atomic(), together():
            set_alarm("two", "2")
            insert(Alarm(kind="one", subject="1", due_at=now))

    with pytest.raises(IntegrityError):
        write_both()
    assert Alarm.objects.count() == 1


def test_events_of_one_statement_keep_their_order():
    step = {"subject_kind": "order", "subject": "N1", "order_number": "N1", "source": Source.SYSTEM}
    with together():
        record([Change(from_status=str(n), to_status=str(n + 1), **step) for n in range(9)])
    assert [event.from_status for event in Event.objects.filter(subject="N1").order_by("id")] == [
        str(n) for n in range(9)
    ]


def test_update_writes_the_named_columns_and_the_object_knows_them():
    order = make_order()
    Order.objects.filter(pk=order.pk).update(name="Bert", version=7)
    update(order, counting="version", phone="1")
    stored = Order.objects.get(pk=order.pk)
    assert (stored.name, stored.phone, stored.version) == ("Bert", "1", 8)
    assert order.phone == "1"


def test_new_row_is_inserted_and_a_known_one_written():
    save(Alarm(kind="one", subject="1", due_at=read_now()))
    alarm = Alarm.objects.get()
    alarm.attempts = 3
    save(alarm)
    assert Alarm.objects.get().attempts == 3


def test_values_are_never_a_part_of_the_statement():
    nasty = "%s'; drop table shop_alarm; --"
    write(
        "insert into shop_alarm (kind, subject, due_at, attempts) values (%s, %s, now(), 0)",
        nasty[:40],
        nasty,
    )
    assert Alarm.objects.get().subject == nasty


def test_joined_rows_are_what_the_managers_read():
    payment = make_payment(make_order())
    with transaction.atomic():
        order, locked = WITH_ITS_ORDER.first(payment.number, "wechat")
    assert (order, locked) == (payment.order, payment)
    for field in Payment._meta.concrete_fields:
        assert getattr(locked, field.attname) == getattr(payment, field.attname)
    assert not locked._state.adding
    assert locked.now == order.now


@pytest.mark.django_db(transaction=True)
def test_payment_is_locked_after_its_order():
    """While a rival has the payment, who wants both has the order already: everybody goes the same way."""
    payment = make_payment(make_order())
    held, let_go = threading.Event(), threading.Event()

    def hold_payment() -> None:
        with transaction.atomic():
            Payment.objects.select_for_update().get(pk=payment.pk)
            held.set()
            let_go.wait(60)
        connection.close()

    def lock_both() -> None:
        with transaction.atomic():
            lock_payment(payment.number, channel="wechat")
        connection.close()

    @transaction.atomic
    def is_order_taken() -> bool:
        return not Order.objects.select_for_update(skip_locked=True).filter(pk=payment.order_id).exists()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(hold_payment)
        try:
            assert held.wait(30)
            pool.submit(lock_both)
            wait_until(is_order_taken, every_s=0.01)
        finally:
            let_go.set()
