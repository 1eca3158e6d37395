"""Placing an order: today's prices, stock off the shelf, an expiry alarm, all in one transaction of a few statements.

The request's key comes first, then the content: what was ordered a moment ago is not ordered again by mistake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Subquery
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext_lazy as _

from orders.access import new_salt
from orders.duplicates import content_hash, find_first, forget, lock_content, orders_like
from orders.errors import DuplicateOrder, InvalidOrder, MixedCurrency, OutOfStock, UnknownProduct
from orders.models import Order, OrderLine, Product
from orders.moves import EXPIRE_ORDER, take_stock
from orders.statuses import OrderStatus
from shop import languages
from shop.alarms import set_alarm
from shop.clock import WITH_NOW
from shop.events import Change, record
from shop.idempotency import Key, Made, claim_key, find_made
from shop.models import Source
from shop.numbers import new_order_number
from shop.sentences import say
from shop.transactions import transactional
from shop.writes import insert, together

# Whom the history names as having wanted the order.
By = tuple[Source, str]

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


# Known before the row is written, so that its lines are written in the same statement.
NEXT_ORDER_ID = RawSQL("(select nextval(pg_get_serial_sequence('orders_order', 'id')))", [])
CONTACT_LIMITS = {"name": 100, "email": 254, "phone": 30, "address": 300}


@dataclass(frozen=True, slots=True)
class Placed:
    """`is_replay`: the order was there already, because this request came before."""

    order: Order
    is_replay: bool


def place_order(
    items: Sequence[Item],
    contact: Contact,
    *,
    again: bool = False,
    source: Source = Source.SHOPPER,
    actor: str = "",
) -> Order:
    """Place an order of `items` for `contact`, unpaid, its goods taken off the shelf until it expires.

    `source` and `actor`: who stands in the history, where it is not the shopper. Raises InvalidOrder (also UnknownProduct,
    MixedCurrency) or OutOfStock, and DuplicateOrder when the same was ordered a moment ago and nobody says that it is
    wanted `again`; with nothing changed. Never inside a transaction.
    """
    return _place(items, contact, again=again, key=None, by=(source, actor)).order


def place_once(
    key: Key,
    items: Sequence[Item],
    contact: Contact,
    *,
    again: bool = False,
    source: Source = Source.SHOPPER,
    actor: str = "",
) -> Placed:
    """The same, once for each key: a repeat finds the order that the first one has placed.

    Raises also KeyMismatch, InProgress.
    """
    return _place(items, contact, again=again, key=key, by=(source, actor))


def _place(items: Sequence[Item], contact: Contact, *, again: bool, key: Key | None, by: By) -> Placed:
    check_contact(contact)
    wanted = merge_items(items)
    made = find_made(key) if key else None
    if made is not None:
        return _replay(made)
    order = Order(number=new_order_number(), content_hash=content_hash(wanted, contact))
    if again or not settings.DUPLICATE_WINDOW_S:
        return _write_down(order, wanted, contact, key=key, again=True, by=by)
    first = find_first(order)
    if first is not None:
        made = find_made(key) if key else None  # that was this very request, a moment ago
        if made is not None:
            return _replay(made)
        raise DuplicateOrder(first)
    try:
        return _write_down(order, wanted, contact, key=key, again=False, by=by)
    except BaseException:
        forget(order)
        raise


def _replay(made: Made) -> Placed:
    return Placed(Order.objects.get(number=made.subject), is_replay=True)


@transactional
def _write_down(
    order: Order, wanted: dict[str, int], contact: Contact, *, key: Key | None, again: bool, by: By
) -> Placed:
    made = claim_key(key, subject=order.number, status=201) if key else None
    if made is not None:
        return _replay(made)
    if not again:
        lock_content(order)
    products = _lock_wanted(wanted, order)
    if products[0].first_order and not again:
        raise DuplicateOrder(products[0].first_order)
    _check_stock(products, wanted)
    _fill(order, products, wanted, contact)
    lines = {product.pk: wanted[product.sku] for product in products}
    with together():
        insert(order)
        insert(
            *(
                OrderLine(
                    order=order,
                    product=product,
                    name=product.local_name,
                    unit_price=product.price,
                    quantity=lines[product.pk],
                )
                for product in products
            )
        )
        take_stock(lines)
        record([_placed(order, *by)])
        set_alarm(EXPIRE_ORDER, order.number, at=order.expires_at)
    return Placed(order, is_replay=False)


def merge_items(items: Sequence[Item]) -> dict[str, int]:
    """SKU → units, the same SKU added up. Raises InvalidOrder for no, too many or senseless lines."""
    if not items:
        raise InvalidOrder(_("An order needs at least one item."), field="items")
    if len(items) > MAX_LINES:
        raise InvalidOrder(say(_("An order has at most %(most)d items."), most=MAX_LINES), field="items")
    wanted: dict[str, int] = {}
    for index, item in enumerate(items):
        wanted[item.sku] = wanted.get(item.sku, 0) + item.quantity
        if item.quantity < 1 or wanted[item.sku] > MAX_QUANTITY:
            words = say(_("The quantity must be between 1 and %(most)d."), most=MAX_QUANTITY)
            raise InvalidOrder(words, field=f"items.{index}.quantity")
    return wanted


def check_contact(contact: Contact) -> None:
    """Raises InvalidOrder for an empty, overlong or senseless field."""
    for field, limit in CONTACT_LIMITS.items():
        value = getattr(contact, field).strip()
        if not value:
            raise InvalidOrder(_("This is needed."), field=f"contact.{field}")
        if len(value) > limit or "\x00" in value:
            raise InvalidOrder(say(_("At most %(most)d characters."), most=limit), field=f"contact.{field}")
    try:
        validate_email(contact.email)
    except ValidationError as error:
        raise InvalidOrder(_("This is not an e-mail address."), field="contact.email") from error


def _lock_wanted(wanted: dict[str, int], order: Order) -> list[Product]:
    """The products, locked; with them, in the same statement, the clock, the order's id and an earlier order like it."""
    first_order = Subquery(orders_like(order).values("number")[:1])
    beside: dict[str, Any] = WITH_NOW | {"order_id": NEXT_ORDER_ID, "first_order": first_order}
    # The ids are not known yet, so the lock names SKUs; it goes by ascending id like everywhere.
    locked = Product.objects.select_for_update(of=("self",)).annotate(**beside)
    products = list(locked.filter(sku__in=wanted, is_sold=True).order_by("pk"))
    missing = wanted.keys() - {product.sku for product in products}
    if missing:
        raise UnknownProduct(say(_("%(sku)s is not sold here."), sku=min(missing)), field="items")
    if len({product.currency for product in products}) > 1:
        raise MixedCurrency(_("An order can hold products of one currency only."), field="items")
    return products


def _check_stock(products: Sequence[Product], wanted: dict[str, int]) -> None:
    for product in products:
        if product.stock < wanted[product.sku]:
            raise OutOfStock(product.sku, product.local_name, product.stock)


def _fill(order: Order, products: Sequence[Product], wanted: dict[str, int], contact: Contact) -> None:
    now = products[0].now
    order.pk = products[0].order_id
    order.amount = sum(product.price * wanted[product.sku] for product in products)
    if order.amount > MAX_AMOUNT_MINOR:
        raise InvalidOrder(_("This order is too large to be paid at once."), field="items")
    order.currency = products[0].currency
    order.name, order.email = contact.name.strip(), contact.email.strip()
    order.phone, order.address = contact.phone.strip(), contact.address.strip()
    order.language = languages.current()
    order.token_salt = new_salt()
    order.created_at = order.link_since = now
    order.expires_at = now + timedelta(seconds=settings.ORDER_LIFETIME_S)


def _placed(order: Order, source: Source, actor: str) -> Change:
    return Change(
        subject_kind="order",
        subject=order.number,
        order_number=order.number,
        from_status="",
        to_status=OrderStatus.UNPAID,
        source=source,
        actor=actor,
    )
