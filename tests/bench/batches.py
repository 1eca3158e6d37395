"""Batches of payments that wait for their money: made by one statement, counted by what the database says afterwards."""

from dataclasses import dataclass
from pathlib import Path

from django.db import connection

PREPARE = Path(__file__).with_name("prepare.sql").read_text(encoding="utf-8")
TOUCHED = (
    "orders_order, orders_orderline, payments_payment, payments_receipt, payments_callback, shop_alarm, shop_event, "
    "django_q_ormq"
)
NUMBERS = """
select number, amount from payments_payment
 where order_id in (select order_id from orders_orderline join orders_product product on product.id = product_id
                     where product.sku = %s)
 order by id
"""
COUNT = """
select count(*) filter (where payment.status = 'PAID'), count(receipt.id),
       count(*) filter (where placed.status = 'READY_FOR_SHIPMENT'), count(callback.id)
  from orders_product product
  join orders_orderline line on line.product_id = product.id
  join orders_order placed on placed.id = line.order_id
  join payments_payment payment on payment.order_id = placed.id
  left join payments_receipt receipt on receipt.payment_id = payment.id and receipt.receipt_class = 'settled'
        and (receipt.amount, receipt.currency) = (placed.amount, placed.currency)
  left join payments_callback callback on callback.payment_id = payment.id and callback.taken_at is not null
 where product.sku = %s
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of one batch: payments PAID, receipts that settle, orders to be shipped, callbacks taken."""

    paid: int
    settled: int
    ready: int
    taken: int

    @property
    def agrees(self) -> bool:
        """Whether the money, the goods and the messages tell the same story."""
        return self.paid == self.settled == self.ready == self.taken


def make_batch(name: str, count: int) -> None:
    """Insert so many unpaid orders under `name`, each with its PAYING payment, and let PostgreSQL look at them."""
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
        cursor.execute(PREPARE, {"batch": name, "count": count})
        cursor.execute(f"vacuum analyze {TOUCHED}")
        cursor.execute("reset statement_timeout")


def numbers_of(name: str) -> list[tuple[str, int]]:
    """Number and amount of each payment of the batch."""
    with connection.cursor() as cursor:
        cursor.execute(NUMBERS, [name])
        return cursor.fetchall()


def count_batch(name: str) -> Counted:
    """Count the rows of the batch."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [name])
        return Counted(*cursor.fetchone())
