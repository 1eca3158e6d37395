"""The feed: every event once, in one order, for whoever asks from where they stopped; and an honest word where some are gone."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from shop import feed
from shop.business import TYPES, announce, event_fields
from shop.clock import read_now
from shop.keyring import make_key
from shop.models import BusinessEvent, Delivery, Endpoint, Horizon
from shop.webhooks import forgetting
from shop.webhooks.forgetting import forget_old
from shop.webhooks.publishing import publish

pytestmark = pytest.mark.django_db

FIRST, SECOND = "N00000000000001", "N00000000000002"


class Reader:
    """A system with a key of its own."""

    def __init__(self, client: Client, *scopes: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Api-Key {make_key('warehouse', scopes).shown}"}

    def ask(self, query: str = "") -> Any:
        return self.client.get(f"/api/v1/events?{query}", headers=self.headers)

    def __call__(self, **wanted: object) -> dict[str, Any]:
        """The document of a page, which must be a good one."""
        answer = self.ask(urlencode(wanted))
        assert answer.status_code == 200, answer.content
        return dict(answer.json())


@pytest.fixture
def reader(client: Client) -> Reader:
    return Reader(client, "events:read")


def tell(*streams: str, event_type: str = "order.paid") -> None:
    for stream in streams:
        announce(event_type, stream=stream, subject=stream, data={"amount": 5})
    publish()


def age(*positions: int) -> None:
    """Let these events have happened before anything that is kept."""
    with connection.cursor() as cursor:
        cursor.execute("alter table shop_businessevent disable trigger business_events_stay")
        BusinessEvent.objects.filter(position__in=positions).update(at=Now() - timedelta(days=91))
        cursor.execute("alter table shop_businessevent enable trigger business_events_stay")


def positions(page: dict[str, Any]) -> list[int]:
    return [event["position"] for event in page["events"]]


def kept() -> list[tuple[int | None, str, int]]:
    rows = BusinessEvent.objects.filter(position__isnull=False).order_by("position")
    return list(rows.values_list("position", "stream", "sequence"))


# ---- reading -----------------------------------------------------------------------------------------------------


def test_empty_feed_says_so(reader):
    assert reader() == {"events": [], "next": 0, "has_more": False, "oldest": None, "complete": True}


def test_events_come_in_their_order_and_in_the_shape_of_the_webhooks(reader):
    tell(FIRST, SECOND)
    page = reader()
    assert page["events"] == [event_fields(event) for event in BusinessEvent.objects.order_by("position")]
    assert (page["next"], page["has_more"], page["oldest"], page["complete"]) == (2, False, 1, True)


def test_what_is_not_published_yet_is_not_shown(reader):
    announce("order.paid", stream=FIRST, subject=FIRST, data={})
    assert reader()["events"] == []


def test_reader_goes_on_from_where_the_page_ended(reader):
    tell(*[FIRST] * 5)
    first = reader(limit=2)
    assert (positions(first), first["next"], first["has_more"]) == ([1, 2], 2, True)
    second = reader(limit=3, after=first["next"])
    assert (positions(second), second["next"], second["has_more"]) == ([3, 4, 5], 5, False)
    assert reader(after=5)["events"] == []


def test_reader_of_some_types_does_not_look_at_the_others_again(reader):
    tell(FIRST, event_type="order.shipped")
    tell(FIRST, FIRST)
    page = reader(type="order.shipped")
    assert (positions(page), page["next"], page["has_more"]) == ([1], 3, False)
    assert reader(type="order.closed,case.opened", after=1)["next"] == 3
    assert positions(reader(type="order.shipped,order.paid")) == [1, 2, 3]


def test_page_of_rare_types_looks_through_a_bounded_number_of_events(reader, monkeypatch):
    monkeypatch.setattr(feed, "WINDOW", 3)
    tell(*[FIRST] * 4)
    tell(FIRST, event_type="order.shipped")
    page = reader(type="order.shipped")
    assert (page["events"], page["next"], page["has_more"]) == ([], 3, True)
    assert positions(reader(type="order.shipped", after=page["next"])) == [5]


def test_reader_of_one_order_sees_that_order(reader):
    tell(FIRST, SECOND, FIRST)
    page = reader(order=FIRST)
    assert ([event["sequence"] for event in page["events"]], page["next"]) == ([1, 2], 3)
    assert reader(order="N99999999999999")["events"] == []


@pytest.mark.parametrize("after", [0, 2])
def test_page_is_read_by_the_index_of_positions_whatever_the_planner_believes(after):
    tell(*[FIRST] * 3)
    wanted = feed.Wanted(after=after, types=("order.paid",))
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
        plan = feed._between(wanted, 3)[:10].explain()
    assert "Index Scan" in plan
    assert "Sort" not in plan


# ---- who may, and what is no question ----------------------------------------------------------------------------


def test_stranger_is_told_to_show_a_key(client):
    answer = client.get("/api/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_key_that_does_not_reach_so_far_is_refused(client):
    answer = Reader(client, "orders:read").ask()
    assert (answer.status_code, answer.json()["scope"]) == (403, "events:read")


def test_staff_who_may_see_events_read_the_feed_by_their_session(admin_client):
    assert admin_client.get("/api/v1/events").status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=-1", "after"),
        ("after=", "after"),
        ("after=1.0", "after"),
        ("after=٣", "after"),
        ("after=%00", "after"),
        ("after=" + "9" * 5000, "after"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("type=", "type"),
        ("type=order.vanished", "type"),
        ("type=order.paid,", "type"),
        ("order=", "order"),
        ("order=case:7", "order"),
        ("order=n0000000000001", "order"),
        ("since=3", "since"),
        ("after=1&after=2", "after"),
        ("after=1", "after"),  # in the future of an empty feed
    ],
)
def test_what_is_no_question_is_refused_by_name(reader, query, field):
    answer = reader.ask(query)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_every_type_can_be_asked_for(reader):
    for event_type in TYPES:
        reader(type=event_type)


# ---- forgetting --------------------------------------------------------------------------------------------------


def test_old_events_are_forgotten_from_the_beginning_on(reader):
    tell(*[FIRST] * 4)
    age(1, 2)
    assert forget_old() == 2
    page = reader()
    assert (positions(page), page["oldest"], page["complete"]) == ([3, 4], 3, False)
    assert reader(after=2)["complete"] is True
    assert reader(after=1)["complete"] is False


def test_young_event_keeps_what_comes_after_it_however_old_that_is():
    tell(*[FIRST] * 3)
    age(2, 3)
    assert forget_old() == 0


def test_last_event_of_a_stream_stays_so_that_it_is_counted_on(reader):
    tell(FIRST, FIRST, SECOND)
    age(1, 2, 3)
    assert forget_old() == 1
    tell(FIRST)
    assert kept() == [(2, FIRST, 2), (3, SECOND, 1), (4, FIRST, 3)]
    assert reader(after=0)["oldest"] == 4


def test_event_that_was_left_as_the_last_goes_when_it_would_leave_a_gap():
    tell(FIRST)
    age(1)
    assert forget_old() == 0
    tell(FIRST, FIRST)
    age(2)
    assert forget_old() == 2
    assert kept() == [(3, FIRST, 3)]


def test_nothing_is_left_to_read_when_everything_was_forgotten(reader):
    tell(FIRST)
    age(1)
    forget_old()
    page = reader(after=1)
    assert (page["events"], page["next"], page["oldest"], page["complete"]) == ([], 1, None, True)


@pytest.mark.parametrize(
    ("wanted", "is_complete"),
    [
        ({"order": SECOND}, True),
        ({"order": FIRST}, False),
        ({"order": FIRST, "after": 3}, True),
        ({"order": "N99999999999999"}, True),
        ({"type": "order.paid"}, False),
        ({"type": "order.paid", "after": 3}, True),
    ],
)
def test_reader_is_told_whether_something_that_was_asked_for_is_gone(reader, wanted, is_complete):
    tell(FIRST, SECOND, FIRST)
    tell(FIRST)
    age(1, 2, 3)
    forget_old()
    assert reader(**wanted)["complete"] is is_complete


@pytest.mark.parametrize("step", ["_last", "_edge", "_between"])
def test_reader_is_told_of_what_is_forgotten_while_it_is_looked_for(reader, monkeypatch, step):
    tell(*[FIRST] * 4)
    age(1, 2)
    take = getattr(feed, step)
    monkeypatch.setattr(feed, step, lambda *args: (forget_old(), take(*args))[1])
    page = reader()
    assert (positions(page), page["oldest"], page["complete"]) == ([3, 4], 3, False)


def test_unpublished_event_is_never_forgotten():
    announce("order.paid", stream=FIRST, subject=FIRST, data={})
    age()
    assert forget_old() == 0
    assert BusinessEvent.objects.count() == 1


def endpoint(**columns: Any) -> Endpoint:
    return Endpoint.objects.create(url="https://partner.example/", secret="sealed", **columns)


@pytest.mark.parametrize(("status", "gone"), [("WAITING", 0), ("DEAD", 0), ("TAKEN", 2)])
def test_what_an_endpoint_was_not_told_is_kept_for_it(status, gone):
    endpoint()
    tell(*[FIRST] * 3)
    Delivery.objects.exclude(event__position=1).update(status="TAKEN")
    Delivery.objects.filter(event__position=1).update(status=status)
    age(1, 2)
    assert forget_old() == gone
    assert Delivery.objects.count() == 3 - gone


def test_what_a_removed_endpoint_was_not_told_is_forgotten():
    endpoint()
    tell(FIRST, FIRST)
    Endpoint.objects.update(removed_at=read_now())
    age(1)
    assert forget_old() == 1


def test_one_pass_forgets_a_bounded_number_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(forgetting, "BATCH", 2)
    tell(*[FIRST] * 6)
    age(*range(1, 6))
    assert [forget_old() for _ in range(4)] == [2, 2, 1, 0]
    assert Horizon.objects.get().forgotten_to == 5
