"""Making the rows that tests start from, always through the product's own rooms."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import factory
from django.db import connection, transaction

from orders.models import Order, Product
from orders.moves import lock_order
from orders.placing import Contact, Item, place_order
from payments.attempts import new_request
from payments.channels.base import DEAD_MARGIN, Outcome, PaymentReport
from payments.models import Payment
from payments.moves import start_payment, store_action
from shop.models import Event


class ProductFactory(factory.django.DjangoModelFactory[Product]):
    """Tea for ¥129.00, ten of it; the one of this SKU when it is there already."""

    class Meta:
        model = Product
        django_get_or_create = ("sku",)

    sku = "tea"
    name = factory.LazyAttribute(lambda product: product.sku.title())
    price = 12900
    currency = "CNY"
    stock = 10
    supplied = factory.SelfAttribute("stock")


class ContactFactory(factory.Factory[Contact]):
    """Somebody who orders."""

    class Meta:
        model = Contact

    name = "Anna Lin"
    email = "anna@example.com"
    phone = "13800000000"
    address = "1 Garden Road, Hangzhou"


ANNA = ContactFactory.create()


def make_product(sku: str = "tea", **fields: Any) -> Product:
    """A product, or the one that is there."""
    return ProductFactory.create(sku=sku, **fields)


def make_order(*, quantity: int = 1, **product: Any) -> Order:
    """A placed, unpaid order of one product."""
    return place_order([Item(make_product(**product).sku, quantity)], ANNA, again=True)


def make_payment(
    order: Order,
    *,
    lives_s: float = 1800,
    channel: str = "wechat",
    scene: str = "qr",
    action: Mapping[str, Any] | None = None,
) -> Payment:
    """A PAYING payment with a QR or another `action`, as applying leaves it, without any channel."""
    with transaction.atomic():
        locked = lock_order(order.number)
        expires_at = locked.now + timedelta(seconds=lives_s)
        payment = Payment(
            channel=channel,
            scene=scene,
            amount=order.amount,
            currency=order.currency,
            request=new_request(channel=channel, description=order.number, order_number=order.number),
            expires_at=expires_at,
            dead_at=expires_at + DEAD_MARGIN,
        )
        start_payment(locked, payment)
        payment = Payment.objects.select_related("order").get(number=payment.number)
        code = {"type": "qr", "content": f"weixin://wxpay/bizpayurl?pr={payment.number}"}
        store_action(locked, payment, action or code)
    payment.refresh_from_db()
    return payment


def report(payment: Payment, outcome: Outcome = Outcome.SUCCEEDED, **changed: Any) -> PaymentReport:
    """What a channel says about the payment; paid in full unless something is `changed`."""
    fields: dict[str, Any] = {"outcome": outcome, "number": payment.number, "code": outcome.name}
    if outcome is Outcome.SUCCEEDED:
        fields |= {
            "channel_number": f"42000{payment.pk:020}",
            "amount_minor": payment.amount,
            "currency": payment.currency,
        }
    return PaymentReport(**(fields | changed))


def steps(subject: str) -> list[tuple[str, str]]:
    """The events of one thing, oldest first, as (from, to)."""
    return list(Event.objects.filter(subject=subject).values_list("from_status", "to_status"))


@contextmanager
def by_hand() -> Iterator[None]:
    """A transaction in which the database does not insist that an order's status agrees with its receipts."""
    tables = ("orders_order", "payments_receipt")
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"alter table {table} disable trigger user")
        yield
        for table in tables:
            cursor.execute(f"alter table {table} enable trigger user")
