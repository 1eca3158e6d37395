"""Business events: what is news is written with the change itself, in order within a stream, and never changed."""

import pytest
from django.db import DatabaseError, connection, transaction

from orders.statuses import MOVES
from payments.statuses import REFUND_MOVES
from shop.business import announce, declare_step, declared_steps, event_fields, find_step
from shop.events import Change, record
from shop.models import BusinessEvent, Event, Source
from shop.writes import together

pytestmark = pytest.mark.django_db


def close(number: str = "N1", **facts: object) -> Change:
    known = {"status": "CLOSED", "amount": 5, "currency": "CNY", "version": 3, "reason": "EXPIRED"}
    return Change(
        subject_kind="order",
        subject=number,
        order_number=number,
        from_status="UNPAID",
        to_status="CLOSED",
        source=Source.SYSTEM,
        facts=known | facts,
    )


def test_step_that_is_news_is_written_with_its_history_in_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        record([close()])
    event = BusinessEvent.objects.get()
    assert (event.type, event.stream, event.subject) == ("order.closed", "N1", "N1")
    assert event.data == {
        "status": "CLOSED",
        "amount": 5,
        "currency": "CNY",
        "version": 3,
        "reason": "EXPIRED",
    }
    assert event.position is None
    assert Event.objects.count() == 1


def test_only_declared_facts_leave_the_house():
    record([close(email="anna@example.com")])
    assert "anna" not in str(BusinessEvent.objects.get().data)


def test_step_without_its_facts_is_not_written():
    change = Change(
        subject_kind="order", subject="N1", order_number="N1", from_status="UNPAID", to_status="CLOSED",
        source=Source.SYSTEM,
    )  # fmt: skip
    with pytest.raises(KeyError), transaction.atomic():
        record([change])
    assert not Event.objects.exists()


def test_step_that_is_no_news_is_history_alone():
    record(
        [
            Change(
                subject_kind="link",
                subject="N1",
                order_number="N1",
                from_status="",
                to_status="RENEWED",
                source=Source.STAFF,
            )
        ]
    )
    assert Event.objects.exists()
    assert not BusinessEvent.objects.exists()


def test_exact_step_counts_before_one_from_anywhere():
    refunded = find_step("order", "SHIPPED", "REFUNDED")
    assert refunded
    assert refunded.type == "order.refunded"
    assert find_step("order", "SHIPPED", "COMPLETED") is None


@pytest.mark.parametrize(
    ("kind", "before", "after"), sorted(declared_steps(), key=str), ids=lambda word: str(word)
)
def test_declared_step_is_a_move_that_there_is(kind, before, after):
    table = {"order": MOVES, "refund": REFUND_MOVES}[kind]
    sources = [status for status in table if after in table[status]]
    assert sources
    assert before is None or before in sources


def test_unknown_type_is_refused():
    with pytest.raises(ValueError, match="no type"):
        declare_step("order", None, "X", "order.vanished", {})
    with pytest.raises(ValueError, match="no type"):
        announce("order.vanished", stream="N1", subject="N1", data={})


def test_events_of_one_transaction_have_their_order_whatever_else_is_written():
    with transaction.atomic(), together():
        announce("payment.settled", stream="N1", subject="P1", data={})
        record([close()])
        announce("order.shipped", stream="N1", subject="N1", data={})
    found = BusinessEvent.objects.order_by("sequence").values_list("type", "sequence")
    assert list(found) == [("payment.settled", 1), ("order.closed", 2), ("order.shipped", 3)]
    assert list(found) == list(BusinessEvent.objects.order_by("id").values_list("type", "sequence"))


def test_each_stream_is_counted_by_itself():
    for stream in ("N1", "case:7", "N1"):
        announce("order.paid", stream=stream, subject="x", data={})
    assert list(BusinessEvent.objects.values_list("stream", "sequence")) == [
        ("N1", 1),
        ("case:7", 1),
        ("N1", 2),
    ]


@pytest.mark.django_db(transaction=True)
def test_transaction_that_is_undone_leaves_no_event_and_no_gap():
    announce("order.paid", stream="N1", subject="N1", data={})
    with transaction.atomic():
        announce("order.closed", stream="N1", subject="N1", data={})
        transaction.set_rollback(True)
    announce("order.shipped", stream="N1", subject="N1", data={})
    assert list(BusinessEvent.objects.values_list("type", "sequence")) == [
        ("order.paid", 1),
        ("order.shipped", 2),
    ]


@pytest.mark.parametrize("column", ["type", "stream", "subject", "number"])
def test_what_was_said_is_never_changed(column):
    announce("order.paid", stream="N1", subject="N1", data={})
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"update shop_businessevent set {column} = 'other'")


def test_place_in_the_feed_is_given_once():
    announce("order.paid", stream="N1", subject="N1", data={})
    BusinessEvent.objects.update(position=1)
    with pytest.raises(DatabaseError), transaction.atomic():
        BusinessEvent.objects.update(position=2)


@pytest.mark.parametrize(("stream", "order"), [("N1", "N1"), ("case:7", None), ("receipt:3", None)])
def test_event_has_one_shape_for_feed_and_webhooks(stream, order):
    announce("order.paid", stream=stream, subject="N1", data={"amount": 5})
    event = BusinessEvent.objects.get()
    assert event_fields(event) == {
        "id": event.number,
        "type": "order.paid",
        "position": None,
        "order": order,
        "sequence": 1,
        "subject": "N1",
        "at": event.at.isoformat(),
        "data": {"amount": 5},
    }
