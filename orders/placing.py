"""Placing an order: today's prices, stock off the shelf, an expiry alarm, all in one transaction of a few statements."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from orders.errors import InvalidOrder, MixedCurrency, OutOfStock, UnknownProduct
from orders.models import Order, OrderLine, Product
from orders.moves import EXPIRE_ORDER, take_stock
from orders.statuses import OrderStatus
from shop.alarms import set_alarm
from shop.clock import WITH_NOW
from shop.events import Change, record
from shop.models import Source

MAX_LINES = 50
MAX_QUANTITY = 999
# The narrowest channel takes amounts of up to twelve digits.
MAX_AMOUNT_MINOR = 10**11


@dataclass(frozen=True, slots=True)
class Item:
    """What the shopper asked for: a SKU and how many."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Contact:
    """Where the goods go and whom to tell."""

    name: str
    email: str
    phone: str
    address: str


CONTACT_LIMITS = {"name": 100, "email": 254, "phone": 30, "address": 300}


def place_order(items: Sequence[Item], contact: Contact) -> Order:
    """Place an order of `items` for `contact`, unpaid, its goods taken off the shelf until it expires.

    Raises InvalidOrder (also UnknownProduct, MixedCurrency) or OutOfStock, with nothing changed.
    """
    check_contact(contact)
    wanted = merge_items(items)
    with transaction.atomic():
        products = _lock_wanted(wanted)
        lines = [(product, wanted[product.sku]) for product in products]
        order = _insert_order(lines, contact, now=products[0].now)
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order, product=product, name=product.name, unit_price=product.price, quantity=quantity
            )
            for product, quantity in lines
        )
        take_stock({product.pk: quantity for product, quantity in lines})
        record([_placed(order)])
        set_alarm(EXPIRE_ORDER, order.number, at=order.expires_at)
    return order


def merge_items(items: Sequence[Item]) -> dict[str, int]:
    """SKU → units, the same SKU added up. Raises InvalidOrder for no, too many or senseless lines."""
    if not items:
        raise InvalidOrder("An order needs at least one item.", field="items")
    if len(items) > MAX_LINES:
        raise InvalidOrder(f"An order has at most {MAX_LINES} items.", field="items")
    wanted: dict[str, int] = {}
    for index, item in enumerate(items):
        wanted[item.sku] = wanted.get(item.sku, 0) + item.quantity
        if item.quantity < 1 or wanted[item.sku] > MAX_QUANTITY:
            raise InvalidOrder(
                f"The quantity must be between 1 and {MAX_QUANTITY}.", field=f"items.{index}.quantity"
            )
    return wanted


def check_contact(contact: Contact) -> None:
    """Raises InvalidOrder for an empty, overlong or senseless field."""
    for field, limit in CONTACT_LIMITS.items():
        value = getattr(contact, field).strip()
        if not value:
            raise InvalidOrder("This is needed.", field=f"contact.{field}")
        if len(value) > limit or "\x00" in value:
            raise InvalidOrder(f"At most {limit} characters.", field=f"contact.{field}")
    try:
        validate_email(contact.email)
    except ValidationError as error:
        raise InvalidOrder("This is not an e-mail address.", field="contact.email") from error


def content_hash(wanted: dict[str, int], contact: Contact) -> str:
    """What makes two orders the same by content: lines and contact, whatever their order of lines."""
    content = {"lines": sorted(wanted.items()), "contact": asdict(contact)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _lock_wanted(wanted: dict[str, int]) -> list[Product]:
    # The ids are not known yet, so the lock names SKUs; it goes by ascending id like everywhere.
    products = list(
        Product.objects.select_for_update()
        .annotate(**WITH_NOW)
        .filter(sku__in=wanted, is_sold=True)
        .order_by("pk")
    )
    missing = wanted.keys() - {product.sku for product in products}
    if missing:
        raise UnknownProduct(f"{min(missing)} is not sold here.", field="items")
    if len({product.currency for product in products}) > 1:
        raise MixedCurrency("An order can hold products of one currency only.", field="items")
    for product in products:
        if product.stock < wanted[product.sku]:
            raise OutOfStock(product.sku, product.name, product.stock)
    return products


def _insert_order(lines: Sequence[tuple[Product, int]], contact: Contact, *, now: datetime) -> Order:
    amount = sum(product.price * quantity for product, quantity in lines)
    if amount > MAX_AMOUNT_MINOR:
        raise InvalidOrder("This order is too large to be paid at once.", field="items")
    return Order.objects.create(
        amount=amount,
        currency=lines[0][0].currency,
        name=contact.name.strip(),
        email=contact.email.strip(),
        phone=contact.phone.strip(),
        address=contact.address.strip(),
        token_salt=secrets.token_hex(16),
        content_hash=content_hash({product.sku: quantity for product, quantity in lines}, contact),
        expires_at=now + timedelta(seconds=settings.ORDER_LIFETIME_S),
    )


def _placed(order: Order) -> Change:
    return Change(
        subject_kind="order",
        subject=order.number,
        order_number=order.number,
        from_status="",
        to_status=OrderStatus.UNPAID,
        source=Source.SHOPPER,
    )
