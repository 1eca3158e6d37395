"""Publishing: places in the feed without a hole, and a delivery with its alarm for each subscriber."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop.alarms import set_alarm
from shop.business import announce
from shop.clock import read_now
from shop.models import Alarm, BusinessEvent, Delivery, Endpoint
from shop.transactions import transactional
from shop.webhooks.publishing import DELIVER, hold_publishing, publish, publish_if_any

pytestmark = pytest.mark.django_db


@transactional
def tell(*streams: str, event_type: str = "order.paid") -> None:
    for stream in streams:
        announce(event_type, stream=stream, subject=stream, data={})


def make_endpoint(**columns) -> Endpoint:
    return Endpoint.objects.create(url="https://partner.example/", secret="sealed", **columns)


def positions() -> list[tuple[int | None, str, int]]:
    return list(BusinessEvent.objects.order_by("id").values_list("position", "stream", "sequence"))


def test_events_get_their_places_in_the_order_in_which_they_were_written():
    tell("N1", "N2", "N1")
    assert publish() == 3
    tell("N2")
    assert publish() == 1
    assert positions() == [(1, "N1", 1), (2, "N2", 1), (3, "N1", 2), (4, "N2", 2)]


def test_nothing_to_publish_is_found_by_one_look():
    with CaptureQueriesContext(connection) as seen:
        assert publish_if_any() == 0
    assert len(seen) == 1


def test_one_batch_takes_the_oldest_and_the_next_one_goes_on():
    tell("N1", "N2", "N3")
    assert [publish(2), publish(2), publish(2)] == [2, 1, 0]
    assert positions() == [(1, "N1", 1), (2, "N2", 1), (3, "N3", 1)]


def test_number_of_statements_does_not_grow_with_the_events():
    make_endpoint()
    tell("N1")
    with CaptureQueriesContext(connection) as one:
        assert publish() == 1
    tell(*(f"N{nth}" for nth in range(200)))
    with CaptureQueriesContext(connection) as many:
        assert publish() == 200
    assert len(many) == len(one) == 2


def test_each_endpoint_that_wants_it_has_one_delivery():
    everything, paid, closed = (
        make_endpoint(),
        make_endpoint(types=["order.paid", "order.shipped"]),
        make_endpoint(types=["order.closed"]),
    )
    tell("N1")
    publish()
    publish()
    assert list(Delivery.objects.values_list("endpoint", "status")) == [
        (everything.pk, "WAITING"),
        (paid.pk, "WAITING"),
    ]
    assert not closed.deliveries.exists()


def test_endpoint_that_was_removed_or_was_made_later_is_told_nothing():
    make_endpoint(removed_at=read_now())
    tell("N1")
    publish()
    make_endpoint(since_position=hold_publishing())
    tell("N1")
    publish()
    assert [
        (delivery.event.position, delivery.endpoint.since_position) for delivery in Delivery.objects.all()
    ] == [(2, 1)]


def test_endpoint_is_told_nothing_up_to_its_position():
    make_endpoint(since_position=2)
    tell("N1", "N1", "N1")
    publish()
    assert [delivery.event.position for delivery in Delivery.objects.all()] == [3]


def test_endpoint_that_is_switched_off_has_its_deliveries_kept():
    endpoint = make_endpoint(off_at=read_now())
    tell("N1")
    publish()
    assert endpoint.deliveries.count() == 1


def test_each_stream_with_news_has_one_alarm_for_each_endpoint_due_at_once():
    first, second = make_endpoint(), make_endpoint()
    tell("N1", "N2", "N1")
    publish()
    assert set(Alarm.objects.values_list("kind", "subject")) == {
        (DELIVER, f"{endpoint.pk}:{stream}") for endpoint in (first, second) for stream in ("N1", "N2")
    }
    assert not Alarm.objects.filter(due_at__gt=read_now()).exists()


def test_stream_that_waits_for_a_failing_endpoint_goes_on_waiting():
    endpoint = make_endpoint()
    set_alarm(DELIVER, f"{endpoint.pk}:N1", in_s=600)
    before = Alarm.objects.get().due_at
    tell("N1")
    publish()
    assert Alarm.objects.get().due_at == before
