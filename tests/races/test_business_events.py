"""Races for a place in a stream and in the feed: nothing is told twice, nothing in the wrong order, and nothing is missed."""

from functools import partial
from itertools import pairwise

import pytest
from django.db import transaction

from payments.ending import cancel_order
from shop.business import announce
from shop.feed import Wanted, read_feed
from shop.models import BusinessEvent, Delivery, Endpoint
from shop.transactions import transactional
from shop.webhooks.publishing import publish
from tests.races.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@transactional
def tell(stream: str) -> None:
    announce("order.paid", stream=stream, subject=stream, data={})


def told_of(stream: str) -> list[str]:
    found = BusinessEvent.objects.filter(stream=stream).order_by("sequence")
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    return [event.type for event in found]


def test_money_against_the_cancelling_of_its_order_is_told_in_the_order_in_which_it_was_true(
    world: World, race
):
    for _ in race.rounds():
        order, _, message = world.place_and_pay_closed()
        race(partial(world.deliver, message), partial(cancel_order, order.number))
        world.check()
        told = told_of(order.number)
        was_paid = told[:2] == ["payment.settled", "order.paid"]
        race.ended("paid" if was_paid else "closed", of=("paid", "closed"))
        assert was_paid or told[:2] == ["order.closed", "payment.surplus"]


def test_settling_against_publishing_leaves_every_event_one_place(world: World, race):
    Endpoint.objects.create(url="https://partner.example/", secret="sealed")
    for _ in race.rounds():
        *_, message = world.place_and_pay()
        race(partial(world.deliver, message), publish, publish)
        while publish():
            pass
        check_feed()


def test_many_publishers_give_every_event_one_place_and_every_endpoint_one_delivery(race):
    endpoints = [Endpoint.objects.create(url="https://partner.example/", secret="sealed") for _ in range(2)]
    for nth in race.rounds(usually=5):
        for stream in range(10):
            tell(f"N{nth}S{stream}")
        race(*[partial(publish, 4)] * 4)
        while publish():
            pass
        check_feed()
        assert Delivery.objects.count() == len(endpoints) * BusinessEvent.objects.count()


def check_feed() -> None:
    """Places without a hole, and in each stream in its own order."""
    placed = list(BusinessEvent.objects.order_by("position").values_list("position", "stream", "sequence"))
    assert [position for position, *_ in placed] == list(range(1, len(placed) + 1))
    for stream in {stream for _, stream, _ in placed}:
        sequences = [sequence for _, other, sequence in placed if other == stream]
        assert sequences == list(range(1, len(sequences) + 1))


def test_event_that_is_committed_late_is_missed_by_no_reader(race):
    """Its id is lower than that of an event which was published meanwhile."""
    with transaction.atomic():
        tell("NSLOW")
        race(partial(tell, "NQUICK"))
        [published] = race(publish)
    assert published == 1
    [seen] = read_feed(Wanted()).events
    assert seen.stream == "NQUICK"
    publish()
    page = read_feed(Wanted(after=seen.position or 0))
    assert [event.stream for event in page.events] == ["NSLOW"]
    assert page.events[0].pk < seen.pk


def test_reader_beside_writers_and_publishers_reads_everything_once(race):
    read: list[int] = []

    def follow() -> None:
        for _ in range(20):
            page = read_feed(Wanted(after=read[-1] if read else 0, limit=7))
            read.extend(event.position or 0 for event in page.events)

    def write(name: str) -> None:
        for nth in range(20):
            tell(f"N{name}{nth % 3}")
            publish(3)

    for nth in race.rounds():
        race(partial(write, f"A{nth}"), partial(write, f"B{nth}"), follow)
    while publish():
        pass
    while (page := read_feed(Wanted(after=read[-1] if read else 0))).events:
        read.extend(event.position or 0 for event in page.events)
    assert all(before + 1 == after for before, after in pairwise(read))
    assert len(read) == BusinessEvent.objects.count()
