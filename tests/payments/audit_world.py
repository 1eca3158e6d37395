"""A shop that has seen everything and is right: one of each kind of order, receipt and refund, without any channel.

Made through the product's own rooms. `unguarded` then lets a hand do what the database refuses.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import psycopg
from django.db import connection, models
from django.test import override_settings

from orders.models import Order
from orders.moves import close_order, lock_order, move_order
from orders.statuses import CloseReason, OrderStatus
from payments.callbacks import TAKE_CALLBACK
from payments.channels.base import Outcome, PaymentReport, RefundReport
from payments.models import Callback, Payment, Receipt, Refund
from payments.refunding import ask_refund, reject_refund
from payments.returning import settle_foreign_refund, settle_refund
from payments.settling import settle_payment, settle_unmatched
from shop.alarms import set_alarm
from shop.business import announce, declared_steps, find_step
from shop.events import record
from shop.models import BusinessEvent, Event, IdempotencyKey, Source
from tests.factories import make_order, make_payment, make_product, report

PRICE = 12900
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
M = TypeVar("M", bound=models.Model)
TABLES = (
    "orders_order",
    "orders_product",
    "payments_payment",
    "payments_receipt",
    "payments_refund",
    "payments_callback",
    "payments_case",
    "shop_idempotencykey",
)
# Every CHECK and UNIQUE, and the unique indexes with a condition; primary keys stay.
GUARDS = """
select format('alter table %%s drop constraint %%I', conrelid::regclass, conname)
  from pg_constraint where conrelid = any(%(tables)s::regclass[]) and contype in ('c', 'u')
union all
select format('drop index %%s', indexrelid::regclass) from pg_index
 where indrelid = any(%(tables)s::regclass[]) and indisunique and indpred is not null
union all
select format('alter table %%s disable trigger user', name) from unnest(%(tables)s::text[]) name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The rows, by what they are."""

    unpaid: Order
    paying: Payment
    closed: Order
    ended: Payment  # of the closed order, without money
    paid: Order  # some of its money went back; more is on its way, failed or was rejected
    settled: Receipt
    on_its_way: Refund
    failed: Refund
    rejected: Refund
    console: Refund
    surplus: Receipt  # of the same order, on its way back
    late: Receipt  # of a closed order, back in full
    mismatch: Receipt
    unmatched: Receipt
    refunded: Receipt  # of an order that is REFUNDED
    shipped: Receipt  # of an order that was shipped before anybody asked to give all of it back
    waiting: Callback
    taken: Callback
    order_key: IdempotencyKey  # of the paid order
    form_key: IdempotencyKey  # of the closed order
    payment_key: IdempotencyKey  # of the live payment of the unpaid order
    refund_key: IdempotencyKey  # of the refund that is on its way
    begun_key: IdempotencyKey  # of a payment that somebody is at work on


def build_world() -> World:
    """Everything that can be right at once."""
    make_product(sku="tea", stock=30)
    unpaid, closed, paid = make_order(), make_order(), make_order()
    paying, ended, settled = make_payment(unpaid), make_payment(closed), pay(make_payment(paid))
    on_its_way = ask(settled, 100)
    settle(report(ended, Outcome.CLOSED))
    close(closed)
    world = World(
        unpaid=unpaid,
        paying=paying,
        closed=closed,
        ended=ended,
        paid=paid,
        settled=settled,
        on_its_way=on_its_way,
        failed=finish(ask(settled, 200), Outcome.REFUSED),
        rejected=reject(ask(settled, 300, waits=True)),
        console=refund_in_console(settled, 400),
        surplus=pay(make_payment(paid)),
        late=pay_late(),
        mismatch=pay(make_payment(make_order()), amount_minor=PRICE - 1),
        unmatched=pay_nobody(),
        refunded=pay(make_payment(make_order())),
        shipped=pay(make_payment(make_order())),
        waiting=make_callback("waiting", taken_at=None),
        taken=make_callback("taken", taken_at=NOON),
        order_key=make_key("orders", paid.number),
        form_key=make_key("form:0s4mq1r7", closed.number),
        payment_key=make_key(f"payments:{unpaid.number}", paying.number),
        refund_key=make_key(f"refunds:{settled.number}", on_its_way.number),
        begun_key=make_key(f"payments:{unpaid.number}", "", lease_until=NOON),
    )
    finish(ask(world.refunded, PRICE))
    step(order_of(world.shipped), OrderStatus.SHIPPED)
    ask(world.shipped, PRICE)
    return world


# ---- through the product's rooms ---------------------------------------------------------------------------------


def settle(told: PaymentReport) -> None:
    settle_payment(told, channel="wechat", source=Source.QUERY)


def pay(payment: Payment, **changed: Any) -> Receipt:
    told = report(payment, paid_at=NOON, **changed)
    settle(told)
    return Receipt.objects.get(channel_number=told.channel_number)


def pay_late() -> Receipt:
    order = make_order()
    payment = make_payment(order)
    settle(report(payment, Outcome.CLOSED))
    close(order)
    receipt = pay(payment)
    finish(receipt.refunds.get())
    return receipt


def pay_nobody() -> Receipt:
    told = PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number="NOBODYSNUMBER",
        channel_number="4200NOBODY",
        amount_minor=500,
        currency="CNY",
        paid_at=NOON,
    )
    settle_unmatched(told, channel="wechat", source=Source.CALLBACK)
    return Receipt.objects.get(number=told.number)


def close(order: Order) -> None:
    record([close_order(lock_order(order.number), CloseReason.CANCELLED, source=Source.SHOPPER)])


def ask(receipt: Receipt, amount: int, *, waits: bool = False) -> Refund:
    with override_settings(REFUND_APPROVAL_ABOVE=0 if waits else PRICE):
        return ask_refund(receipt.channel_number, amount=amount, reason="size", actor="anna")


def finish(refund: Refund, outcome: Outcome = Outcome.SUCCEEDED) -> Refund:
    told = RefundReport(
        outcome=outcome,
        number=refund.number,
        channel_number=f"503{refund.pk:026}",
        payment_number=refund.receipt.number,
        amount_minor=refund.amount,
    )
    settle_refund(told, channel="wechat", source=Source.QUERY)
    refund.refresh_from_db()
    return refund


def reject(refund: Refund) -> Refund:
    return reject_refund(refund.number, actor="li", reason="no")


def refund_in_console(receipt: Receipt, amount: int) -> Refund:
    told = RefundReport(
        outcome=Outcome.SUCCEEDED,
        number="1900000000000000000000000001",
        channel_number="50300000000000000000000000001",
        payment_number=receipt.number,
        amount_minor=amount,
    )
    settle_foreign_refund(told, channel="wechat", source=Source.CALLBACK)
    return Refund.objects.get(number=told.number)


def make_callback(message_id: str, *, taken_at: datetime | None) -> Callback:
    kept = Callback.objects.create(
        channel="wechat",
        message_id=message_id,
        kind="TRANSACTION.SUCCESS",
        number="NOBODYSNUMBER",
        body=b"{}",
        report={},
        taken_at=taken_at,
    )
    if taken_at is None:
        set_alarm(TAKE_CALLBACK, str(kept.pk))
    return kept


def make_key(
    scope: str, subject: str, *, key: str = "", lease_until: datetime | None = None
) -> IdempotencyKey:
    return IdempotencyKey.objects.create(
        scope=scope, key=key or f"key of {subject}", subject=subject, status=201, lease_until=lease_until
    )


def order_of(receipt: Receipt) -> Order:
    return Order.objects.get(receipts=receipt)


def payment_of(receipt: Receipt) -> Payment:
    return Payment.objects.get(receipts=receipt)


def step(order: Order, to: OrderStatus) -> None:
    record([move_order(lock_order(order.number), to, source=Source.STAFF)])


# ---- by hand -----------------------------------------------------------------------------------------------------


def unguarded() -> None:
    """From now on the database refuses nothing about these tables. To be rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("set constraints all immediate")
        cursor.execute(GUARDS, {"tables": list(TABLES)})
        cursor.execute(";".join(statement for (statement,) in cursor.fetchall()))


def run(statement: str, **values: Any) -> None:
    """One statement by hand, or several, after the checks that wait for a commit."""
    connection.ensure_connection()
    # The server takes several only with their values written into them.
    with psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute("set constraints all immediate")
        cursor.execute(statement, values or None)


def change(row: M, **columns: Any) -> None:
    """Write columns behind everybody's back."""
    type(row)._default_manager.filter(pk=row.pk).update(**columns)


def copy(row: M, **columns: Any) -> M:
    """One more row like this, but for the columns."""
    double = type(row)._default_manager.get(pk=row.pk)
    double.pk = None
    double._state.adding = True
    for name, value in columns.items():
        setattr(double, name, value)
    double.save(force_insert=True)
    return double


def tell(row: Order | Payment | Refund, *path: str) -> None:
    """Add events that go down the path, and those that other systems are told of it."""
    kind = type(row).__name__.lower()
    for before, after in pairwise(path):
        Event.objects.create(
            subject_kind=kind, subject=row.number, from_status=before, to_status=after, source=Source.STAFF
        )
        if step := find_step(kind, before, after):
            announce(step.type, stream=row.number, subject=row.number, data={})


def forget(row: Order | Payment | Refund, to_status: str) -> None:
    """Remove the event that led to a status, past the guard of history, and what other systems were told of it."""
    kind = type(row).__name__.lower()
    with connection.cursor() as cursor:
        cursor.execute("alter table shop_event disable trigger user")
        Event.objects.filter(subject_kind=kind, subject=row.number, to_status=to_status).delete()
        cursor.execute("alter table shop_event enable trigger user")
    told = [step.type for (what, _, to), step in declared_steps().items() if (what, to) == (kind, to_status)]
    BusinessEvent.objects.filter(subject=row.number, type__in=told).delete()


def change_news(event: BusinessEvent, **columns: Any) -> None:
    """Write columns of what other systems were told, past the guard."""
    with connection.cursor() as cursor:
        cursor.execute("alter table shop_businessevent disable trigger user")
        change(event, **columns)
        cursor.execute("alter table shop_businessevent enable trigger user")


def news_of(subject: str, event_type: str) -> BusinessEvent:
    """The one event of the type about it."""
    return BusinessEvent.objects.get(subject=subject, type=event_type)
