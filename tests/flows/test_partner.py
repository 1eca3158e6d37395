"""Another company's system, in a process of its own, through bad days: each event is applied once, in order per order."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orders.models import Order
from payments.settling import settle_payment
from payments.shipping import ship_order
from shop.business import event_fields
from shop.keyring import make_key
from shop.models import BusinessEvent, Delivery, Source
from shop.webhooks.endpoints import add_endpoint
from shop.webhooks.publishing import publish
from shop.webhooks.sending import send
from shop.webhooks.signing import new_secret
from tests.factories import make_order, make_payment, report
from tests.partner.process import Partner
from tests.telling import pass_time, work

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 60


@pytest.fixture
def partner(live_server, tmp_path: Path, settings) -> Iterator[Partner]:
    """Running, and told of everything."""
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    partner = Partner(tmp_path, live_server.url)
    partner.secret = add_endpoint(partner.url).secret
    partner.key = make_key("partner", ["events:read"]).shown
    partner.start()
    yield partner
    partner.kill()


def sell() -> Order:
    """An order that is paid and shipped: some events, one after the other."""
    order = make_order(stock=1000, supplied=1000)
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    ship_order(order.number, actor="sue")
    return order


def deliver() -> None:
    publish()
    work()


def deliver_all(partner: Partner) -> None:
    """Whatever becomes of the partner: somebody starts it again, and time passes."""
    for _ in range(ROUNDS):
        partner.start()
        deliver()
        if not Delivery.objects.filter(status=Delivery.Status.WAITING).exists():
            return
        pass_time(hours=1)
    raise AssertionError("it never took everything")


def check_ledger(partner: Partner) -> None:
    """Exactly our events, each once, and those of each order in their order."""
    partner.start()
    applied = partner.ledger()
    assert sorted(each[0] for each in applied) == sorted(
        BusinessEvent.objects.values_list("number", flat=True)
    )
    by_order = defaultdict(list)
    for _id, stream, sequence, _type in applied:
        by_order[stream].append(sequence)
    orders = {number: by_order[number] for number in Order.objects.values_list("number", flat=True)}
    assert orders == {number: list(range(1, len(found) + 1)) for number, found in orders.items()}


def test_partner_hears_of_a_sale_as_it_happened(partner):
    order = sell()
    deliver()
    told = [(stream, type_) for _id, stream, _sequence, type_ in partner.ledger()]
    assert {stream for stream, _type in told} == {order.number}
    assert {"payment.settled", "order.paid", "order.shipped"} <= {type_ for _stream, type_ in told}
    check_ledger(partner)


def test_partner_that_was_down_for_two_days_and_dies_on_the_way_has_each_event_once(partner):
    sell()
    deliver()
    partner.kill()
    for _quarter in range(8):
        sell()
        deliver()
        pass_time(hours=6)
    partner.plan("after", "before", "500", "after", "before")
    partner.start()
    deliver_all(partner)
    check_ledger(partner)
    assert not Delivery.objects.exclude(status=Delivery.Status.TAKEN).exists()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_partner_that_dies_in_the_middle_of_a_message_has_it_once(partner, moment):
    partner.plan(moment)
    sell()
    deliver()
    partner.wait_until_dead()
    deliver_all(partner)
    check_ledger(partner)


def test_partner_that_answers_late_or_badly_has_it_once(partner):
    partner.plan("slow", "500", "slow")
    sell()
    deliver()
    deliver_all(partner)
    check_ledger(partner)


def test_partner_that_misses_an_event_finds_it_in_the_feed(partner):
    """What was given up is not sent again by itself: the next one of its order shows the gap."""
    partner.kill()
    order = make_order()
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    publish()
    Delivery.objects.update(status=Delivery.Status.DEAD)
    partner.start()
    ship_order(order.number, actor="sue")
    deliver()
    check_ledger(partner)


def test_partner_that_asks_the_feed_alone_has_everything_too(partner):
    sell()
    publish()
    partner.catch_up()
    check_ledger(partner)
    deliver()
    check_ledger(partner)


def test_message_of_somebody_else_is_refused(partner):
    sell()
    publish()
    event = BusinessEvent.objects.earliest("pk")
    body = json.dumps(event_fields(event)).encode()
    forged = send(
        partner.url, message_id=event.number, body=body, secrets=[new_secret()], at=datetime.now(UTC)
    )
    assert forged.status == 401
    assert partner.ledger() == []
