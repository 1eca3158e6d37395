"""The audit of our own tables: a right world has no violation, and each one that a hand plants is found and named."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from orders.models import Product
from orders.moves import EXPIRE_ORDER
from payments.audit import OF_OURS, Violation, audit, title_of
from payments.channels.base import Outcome
from payments.models import Callback, Case, Payment, Receipt
from payments.moves import QUERY_PAYMENT, SEND_REFUND
from payments.statements import ask_statement, promise_statements
from shop import alarms
from shop.alarms import remove_alarms, set_alarm
from shop.models import BusinessEvent, Delivery, Endpoint
from shop.webhooks.forgetting import forget_old
from shop.webhooks.publishing import DELIVER, publish
from tests.conftest import channel_variables
from tests.factories import make_order, make_payment
from tests.payments.audit_plants import (
    PLANTS,
    ask_for_the_last_time,
    ask_people,
    close_case,
    delay,
    ship,
)
from tests.payments.audit_world import (
    NOON,
    PRICE,
    World,
    ask,
    build_world,
    change,
    copy,
    finish,
    make_key,
    order_of,
    pay,
    payment_of,
    run,
    unguarded,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = build_world()
    unguarded()
    return world


@pytest.mark.parametrize(("spoil", "invariant", "words"), PLANTS)
def test_planted_violation_is_found_by_its_invariant_alone_and_named(world, spoil, invariant, words):
    subject = spoil(world)
    found = audit()
    assert {violation.invariant for violation in found} == {invariant}
    assert [found for found in found if found.subject == subject and words in found.detail]


def test_world_that_has_seen_everything_is_right(world):
    assert audit() == []


def test_every_invariant_has_a_planted_violation_and_a_title():
    assert {plant.values[1] for plant in PLANTS} == set(OF_OURS)
    assert all(len(title_of(invariant)) > 20 for invariant in OF_OURS)


def could_not_be_read(callback: Callback, payment: Payment) -> None:
    change(callback, payment=payment, report={"outcome": "unknown"})
    ask_people(Case.Kind.UNMATCHED, callback.message_id, callback=callback.pk)


def publish_to_endpoints(world: World) -> None:
    on, off = (
        Endpoint.objects.create(url="https://p.example/", secret="x", off_at=at) for at in (None, NOON)
    )
    publish()
    assert Delivery.objects.filter(endpoint=on).exists()
    remove_alarms([DELIVER], f"{off.pk}:{world.paid.number}")


def publish_to_some() -> None:
    """Endpoints to which not everything is told: one wants one type, one came later, one was removed."""
    publish()
    last = BusinessEvent.objects.filter(position__isnull=False).count()
    pay(make_payment(make_order()))
    partner = {"url": "https://p.example/", "secret": "x", "since_position": last}
    Endpoint.objects.create(**partner | {"types": ["order.paid"]})
    Endpoint.objects.create(**partner)
    Endpoint.objects.create(**partner | {"since_position": 0, "removed_at": NOON})
    publish()
    assert Delivery.objects.count() == 3


def forget_everything() -> None:
    publish()
    with override_settings(EVENTS_KEPT_DAYS=0):
        assert forget_old()


def forget_what_was_taken(world: World) -> None:
    publish_to_endpoints(world)
    Delivery.objects.update(status=Delivery.Status.TAKEN)
    forget_everything()
    assert not Delivery.objects.exists()


# What may stand in a world that is right, beside what stands in it already.
ALSO_RIGHT: dict[str, Callable[[World], object]] = {
    "a payment without an answer is a case": lambda world: ask_people(
        Case.Kind.UNANSWERED, ask_for_the_last_time(world.paying)
    ),
    "a payment whose last query could not be made is a failing alarm": lambda world: ask_people(
        Case.Kind.FAILING, ask_for_the_last_time(world.paying), alarm=QUERY_PAYMENT
    ),
    "a payment of the wrong amount is asked about once a day": lambda world: ask_for_the_last_time(
        payment_of(world.mismatch)
    ),
    "the last query comes when the payment is dead": lambda world: delay(
        QUERY_PAYMENT, world.paying.number, by_s=1800 + 60
    ),
    "a refund is asked about every hour": lambda world: delay(
        SEND_REFUND, world.on_its_way.number, by_s=3590
    ),
    "an alarm is overdue": lambda world: delay(EXPIRE_ORDER, world.unpaid.number, by_s=-3600),
    "unmatched money went back": lambda world: finish(ask(world.unmatched, 500)),
    "unmatched money is on its way back and no case any more": lambda world: (
        ask(world.unmatched, 500),
        close_case(Case.Kind.UNMATCHED, world.unmatched.channel_number),
    ),
    "a message that names nothing is a case": lambda world: ask_people(
        Case.Kind.UNMATCHED, world.taken.message_id, callback=world.taken.pk
    ),
    "a message that nobody can read is a case": lambda world: could_not_be_read(world.taken, world.paying),
    "a refund that did not arrive is a case": lambda world: ask_people(
        Case.Kind.REFUND, world.on_its_way.number
    ),
    "an order that cannot be closed is a case": lambda world: ask_people(
        Case.Kind.UNANSWERED, world.unpaid.number
    ),
    "an alarm that fails is a case": lambda world: ask_people(
        Case.Kind.FAILING, world.unpaid.number, alarm=EXPIRE_ORDER
    ),
    "what disagreed is a case until a person has looked": lambda world: ask_people(
        Case.Kind.DISAGREES, world.paid.number
    ),
    "what had no alarm is a case until a person has looked": lambda world: ask_people(
        Case.Kind.NO_ALARM, world.unpaid.number
    ),
    "endpoints are to be told, and one is switched off": publish_to_endpoints,
    "endpoints are told what they want, from when they came": lambda _: publish_to_some(),
    "what endpoints took is forgotten": lambda world: forget_what_was_taken(world),
    "old events are forgotten": lambda _: forget_everything(),
    "a shipped order is refunded": lambda world: finish(world.shipped.refunds.get()),
    "surplus whose refund failed is a case": lambda world: finish(
        world.surplus.refunds.get(), Outcome.REFUSED
    ),
    "an order of which a part went back is shipped": lambda world: ship(world.paid),
    "two keys were shown the same live payment": lambda world: copy(world.payment_key, key="another"),
    "two sessions chose the same key": lambda world: (
        make_key("orders:b", world.unpaid.number, key="same")
        and make_key("orders:a", order_of(world.late).number, key="same")
    ),
    "a refund was asked for in the back office": lambda world: make_key(
        "deeds:refund", world.rejected.number
    ),
    "a payment has begun and its lease runs": lambda world: change(
        world.begun_key, subject=world.paying.number
    ),
}


@pytest.mark.parametrize("happen", ALSO_RIGHT.values(), ids=ALSO_RIGHT)
def test_what_is_right_as_well_is_no_violation(world, happen):
    happen(world)
    assert audit() == []


def test_alarm_about_nothing_is_found_whatever_its_kind(world):
    for kind in alarms.kinds():
        set_alarm(kind, "NOTHING")
    about_nothing = {found.detail for found in audit() if found.subject == "NOTHING"}
    assert about_nothing == {
        f"has an alarm {kind}, but it is finished or not there" for kind in alarms.kinds()
    }


def test_statements_that_are_still_to_come_are_right(world, shared_sandbox, settings):
    settings.CHANNELS = {"wechat": channel_variables(shared_sandbox, "wechat")}
    change(world.paying, created_at=Now() - timedelta(days=2))
    assert promise_statements()
    ask_statement("wechat", NOON.date())
    assert audit() == []


def test_order_whose_full_refund_failed_may_be_shipped(world):
    receipt = pay(make_payment(make_order()))
    finish(ask(receipt, PRICE), Outcome.REFUSED)
    ship(order_of(receipt))
    assert audit() == []


@pytest.mark.parametrize("kind", ["mismatch", "unmatched", "refund", "console_refund"])
def test_case_that_a_person_resolved_is_decided(world, kind, django_user_model):
    staff = django_user_model.objects.create_user("li")
    Case.objects.filter(kind=kind).update(resolved_at=Now(), owner=staff, resolution="paid by hand")
    assert audit() == []


def test_surplus_whose_refund_failed_is_a_case_until_a_person_decides(world, django_user_model):
    refund = world.surplus.refunds.get()
    finish(refund, Outcome.REFUSED)
    close_case(Case.Kind.REFUND, refund.number)
    assert {violation.invariant for violation in audit()} == {"I13", "I15"}
    Case.objects.filter(subject=refund.number).update(owner=django_user_model.objects.create_user("li"))
    assert audit() == []


def test_empty_shop_is_right():
    assert audit() == []


def test_several_violations_are_all_told_sorted_and_only_of_the_rows_they_are_about(world):
    change(world.settled, amount=PRICE + 1)
    remove_alarms([EXPIRE_ORDER], world.unpaid.number)
    detail = f"costs {PRICE} CNY, its settled receipt {world.settled.channel_number} is of {PRICE + 1} CNY"
    assert audit() == [
        Violation("I1", world.paid.number, detail),
        Violation("I6", world.unpaid.number, "is unfinished, but has no alarm expire_order"),
    ]


def test_session_of_a_form_is_told_to_nobody(world):
    change(world.form_key, subject="NOBODYSORDER")
    (found,) = audit()
    assert world.form_key.scope.partition(":")[2] not in f"{found.subject} {found.detail}"


@pytest.mark.django_db(transaction=True)
def test_audit_sees_one_snapshot_that_it_cannot_write():
    with CaptureQueriesContext(connection) as seen:
        assert audit() == []
    began = [query["sql"] for query in seen.captured_queries]
    assert began[1] == "set transaction isolation level repeatable read, read only"
    assert began[-1] == "ROLLBACK"
    assert not connection.in_atomic_block


# Every second order is paid and had one fen given back, the others wait. Only the rows matter, so they are made by hand.
MANY = """
insert into orders_order (number, status, amount, currency, name, email, phone, address, token_salt, content_hash,
                          version, holds_stock, expires_at, was_extended, close_reason, closed_at, created_at)
select 'N' || n, case when n %% 2 = 0 then 'READY_FOR_SHIPMENT' else 'UNPAID' end, 12900, 'CNY', '', '', '', '', '', '',
       1, true, now() + interval '1 hour', false, '', null, now() from generate_series(1, %(many)s) n;
insert into orders_orderline (order_id, product_id, name, unit_price, quantity)
select placed.id, product.id, 'Tea', 12900, 1 from orders_order placed, orders_product product;
insert into payments_payment (number, order_id, channel, scene, status, amount, currency, request, channel_number, expires_at,
                              dead_at, lease_until, is_unsure, nothing_sent, created_at)
select 'P' || number, id, 'wechat', 'qr', case status when 'UNPAID' then 'PAYING' else 'PAID' end, amount, currency, '{}',
       case status when 'UNPAID' then '' else '4200' || number end, now() + interval '1 hour', now() + interval '1 hour',
       now(), false, false, now() from orders_order;
insert into payments_receipt (channel, channel_number, number, payment_id, order_id, receipt_class, amount, currency, source,
                              paid_at, mailed_at, created_at)
select channel, channel_number, number, id, order_id, 'settled', amount, currency, 'QUERY', now(), now(), now()
  from payments_payment where status = 'PAID';
insert into payments_refund (number, receipt_id, channel, kind, status, amount, reason, asked_by, approved_by, channel_number,
                             created_at)
select 'R' || channel_number, id, channel, 'ASKED', 'REFUNDED', 1, '', '', '', '503' || channel_number, now()
  from payments_receipt;
insert into shop_event (order_number, subject_kind, subject, from_status, to_status, source, actor, note, at)
select '', kind, number, from_status, to_status, 'QUERY', '', '{}', now()
  from (select 'order' as kind, number, '' as from_status, 'UNPAID' as to_status, 1 as nth from orders_order
        union all select 'order', number, 'UNPAID', status, 2 from orders_order where status <> 'UNPAID'
        union all select 'payment', number, '', 'UNPAID', 1 from payments_payment
        union all select 'payment', number, 'UNPAID', 'PAYING', 2 from payments_payment
        union all select 'payment', number, 'PAYING', 'PAID', 3 from payments_payment where status = 'PAID'
        union all select 'refund', number, '', 'PENDING_APPROVAL', 1 from payments_refund
        union all select 'refund', number, 'PENDING_APPROVAL', 'REFUNDING', 2 from payments_refund
        union all select 'refund', number, 'REFUNDING', 'REFUNDED', 3 from payments_refund) path order by nth;
insert into shop_businessevent (number, stream, sequence, type, subject, data, position)
select concat('V', nth, number), substr(number, 2), nth, type,
       case nth when 1 then number when 2 then substr(number, 2) else 'R' || channel_number end,
       jsonb_build_object('channel', channel, 'trade', channel_number), row_number() over (order by payment.id, nth)
  from payments_payment payment
 cross join (values (1, 'payment.settled'), (2, 'order.paid'), (3, 'refund.succeeded')) told (nth, type) where status = 'PAID';
insert into shop_idempotencykey (scope, key, body_hash, subject, status, created_at)
select 'orders', number, '', number, 201, now() from orders_order
union all select 'payments:' || substr(number, 2), number, '', number, 201, now() from payments_payment;
insert into shop_alarm (kind, subject, due_at, attempts, created_at)
select 'expire_order', number, now(), 0, now() from orders_order where status = 'UNPAID'
union all select 'query_payment', number, now(), 0, now() from payments_payment where status = 'PAYING';
"""


def make_many(many: int) -> None:
    Product.objects.create(sku="tea", name="Tea", price=PRICE, currency="CNY", stock=0, supplied=many)
    unguarded()
    run(MANY, many=many)


def mislead_the_planner() -> None:
    """Let its statistics say that every table is empty, as they do for a while after a restore or a great deletion."""
    with transaction.atomic():
        make_many(500)
        transaction.set_rollback(True)
    run("analyze")


def count_statements(look: Callable[[], list[Violation]]) -> tuple[int, list[Violation]]:
    with CaptureQueriesContext(connection) as seen:
        found = look()
    return len(seen), found


def test_number_of_statements_does_not_grow_with_the_rows():
    empty, _ = count_statements(audit)
    make_many(200)
    assert count_statements(audit) == (empty, [])
    assert empty < len(OF_OURS) + 5


def test_one_wrong_row_among_twenty_thousand_orders_is_found_whatever_the_planner_believes():
    mislead_the_planner()
    make_many(20_000)
    assert audit() == []
    Receipt.objects.filter(number="PN10000").update(amount=PRICE + 1)
    assert [(found.invariant, found.subject) for found in audit()] == [("I1", "N10000")]
