"""Races for a place in a stream and in the feed: nothing is told twice, nothing in the wrong order, and nothing is missed."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, connections, transaction

from payments.ending import cancel_order
from shop.alarms import claim_webhook, remove_alarms, set_alarm
from shop.business import announce
from shop.feed import Wanted, read_feed
from shop.models import Alarm, BusinessEvent, Delivery, Endpoint
from shop.transactions import transactional
from shop.webhooks import delivering, switching
from shop.webhooks.endpoints import add_endpoint, change_address
from shop.webhooks.publishing import DELIVER, publish
from shop.webhooks.switching import (
    find_head,
    remove_endpoint,
    resend_dead,
    resend_delivery,
    switch_off_by_hand,
    switch_on,
)
from tests.races.world import World
from tests.telling import work
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Meanwhile:
    """Does something on a connection of its own; goes on when that waits for a lock of ours, or is done."""

    def __init__(self) -> None:
        self._party = ThreadPoolExecutor(1)
        self._begun: list[Future[Any]] = []

    def __call__(self, deed: Callable[[], Any]) -> None:
        done = self._party.submit(deed)
        self._begun.append(done)
        wait_until(lambda: done.done() or self._is_blocked())

    def join(self) -> None:
        for done in self._begun:
            done.result(timeout=60)

    def close(self) -> None:
        self._party.submit(connections.close_all)  # `connection.close` would be that of this thread
        self._party.shutdown()

    @staticmethod
    def _is_blocked() -> bool:
        with connection.cursor() as cursor:
            blocked = "select exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid)))"
            found: bool = cursor.execute(blocked).fetchone()[0]
        return found


@pytest.fixture
def meanwhile() -> Iterator[Meanwhile]:
    party = Meanwhile()
    yield party
    party.close()


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


def test_news_that_come_while_an_alarm_is_about_to_be_removed_have_one_all_the_same(meanwhile, monkeypatch):
    endpoint = Endpoint.objects.create(url="https://partner.example/", secret="sealed")
    set_alarm(DELIVER, f"{endpoint.pk}:N1")
    claim = claim_webhook()
    assert claim is not None

    def find_none_and_let_news_come(*asked: Any) -> None:
        assert find_head(*asked) is None
        meanwhile(lambda: (tell("N1"), publish()))

    monkeypatch.setattr(delivering, "find_head", find_none_and_let_news_come)
    assert delivering.take_up(claim) is None
    meanwhile.join()
    assert endpoint.deliveries.get().status == Delivery.Status.WAITING
    assert Alarm.objects.filter(kind=DELIVER).exists()


def test_endpoint_that_is_added_while_something_is_published_begins_behind_it(meanwhile):
    with transaction.atomic():
        tell("N1")
        assert publish() == 1
        meanwhile(lambda: add_endpoint("https://partner.example.com/"))
    meanwhile.join()
    endpoint = Endpoint.objects.get()
    assert (endpoint.since_position, endpoint.deliveries.count()) == (1, 0)


def test_what_waits_behind_news_that_are_just_published_goes_to_a_new_address_at_once(meanwhile):
    endpoint = add_endpoint("https://partner.example.com/").endpoint
    set_alarm(DELIVER, f"{endpoint.pk}:N1", in_s=86_400)
    with transaction.atomic():
        tell("N1")
        assert publish() == 1
        meanwhile(lambda: change_address(endpoint.number, "https://moved.example.com/"))
    meanwhile.join()
    assert claim_webhook() is not None


def switch_on_beside(meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any]) -> None:
    """Others do something and handle its alarm, after whoever switches on has set the alarms that it knew of."""

    def remove_alarms_a_little_later(*which: Any) -> None:
        meanwhile(lambda: (deed(), work()))
        remove_alarms(*which)

    monkeypatch.setattr(switching, "remove_alarms", remove_alarms_a_little_later)
    switch_on(Endpoint.objects.get().number)
    meanwhile.join()
    publish()
    assert Delivery.objects.get().status == Delivery.Status.WAITING
    assert Alarm.objects.filter(kind=DELIVER).exists()


def test_news_beside_the_switching_on_of_their_endpoint_have_an_alarm(meanwhile, monkeypatch):
    endpoint = add_endpoint("https://partner.example.com/").endpoint
    switch_off_by_hand(endpoint.number)
    switch_on_beside(meanwhile, monkeypatch, lambda: (tell("N1"), publish()))


@pytest.mark.parametrize("all_of_them", [True, False], ids=["all", "one"])
def test_what_waits_again_beside_the_switching_on_of_its_endpoint_has_an_alarm(
    meanwhile, monkeypatch, all_of_them
):
    endpoint = add_endpoint("https://partner.example.com/").endpoint
    tell("N1")
    publish()
    switch_off_by_hand(endpoint.number)
    work()
    Delivery.objects.update(status=Delivery.Status.DEAD)
    pk = Delivery.objects.get().pk
    resend = partial(resend_dead, endpoint.number) if all_of_them else partial(resend_delivery, pk)
    switch_on_beside(meanwhile, monkeypatch, resend)


def test_news_beside_the_removal_of_their_endpoint_wait_for_nothing(meanwhile):
    endpoint = add_endpoint("https://partner.example.com/").endpoint
    with transaction.atomic():
        tell("N1")
        assert publish() == 1
        meanwhile(lambda: remove_endpoint(endpoint.number))
    meanwhile.join()
    assert endpoint.deliveries.get().status == Delivery.Status.DEAD
    assert not Alarm.objects.filter(kind=DELIVER).exists()


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
