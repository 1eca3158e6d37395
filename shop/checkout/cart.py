"""The cart: what one browser means to buy, kept in its session as SKU → units.

It promises nothing: prices and stock are looked up each time it is shown, and count when the order is placed.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from orders.models import Product
from orders.placing import MAX_LINES, MAX_QUANTITY, Item

Session = MutableMapping[str, Any]
SESSION_KEY = "cart"


@dataclass(frozen=True, slots=True, kw_only=True)
class CartLine:
    """One product and how many of it. `problem` says why it cannot be ordered like this; None when it can."""

    product: Product
    quantity: int
    problem: str | Promise | None

    @property
    def amount(self) -> int:
        """Minor units at today's price."""
        return self.product.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class CartPart:
    """The lines of one currency: what one order can hold."""

    currency: str
    lines: list[CartLine]

    @property
    def amount(self) -> int:
        """Minor units at today's prices."""
        return sum(line.amount for line in self.lines)

    @property
    def is_ready(self) -> bool:
        """Whether it can be ordered as it stands."""
        return not any(line.problem for line in self.lines)

    @property
    def seen(self) -> str:
        """What the shopper is looking at, for the form to bring back: nobody orders what they have not seen."""
        lines = (f"{line.product.sku}={line.quantity}*{line.product.price}" for line in self.lines)
        return f"{self.currency} " + " ".join(lines)

    @property
    def items(self) -> list[Item]:
        """What `place_order` wants."""
        return [Item(line.product.sku, line.quantity) for line in self.lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """What is in it by currency, and the SKUs whose products are gone from the catalogue altogether."""

    parts: list[CartPart]
    gone: list[str]


def read_cart(session: Session) -> Cart:
    """The cart with today's prices and stock."""
    units = session.get(SESSION_KEY, {})
    parts: dict[str, CartPart] = {}
    gone = list(units)
    for product in Product.objects.filter(sku__in=units):
        part = parts.setdefault(product.currency, CartPart(currency=product.currency, lines=[]))
        quantity = units[product.sku]
        part.lines.append(CartLine(product=product, quantity=quantity, problem=_problem(product, quantity)))
        gone.remove(product.sku)
    return Cart(parts=list(parts.values()), gone=gone)


def find_part(session: Session, currency: str) -> CartPart | None:
    """The part of this currency; the only one when `currency` is empty. None when there is no such part."""
    parts = read_cart(session).parts
    if not currency:
        return parts[0] if len(parts) == 1 else None
    return next((part for part in parts if part.currency == currency), None)


def count_units(session: Session) -> int:
    """How many things are in the cart."""
    return sum(session.get(SESSION_KEY, {}).values())


def add_units(session: Session, sku: str, quantity: int) -> bool:
    """Put `quantity` more of it into the cart; False, and nothing changed, when the cart cannot hold so many."""
    units = session.get(SESSION_KEY, {})
    total = units.get(sku, 0) + quantity
    if total > MAX_QUANTITY or len({*units, sku}) > MAX_LINES:
        return False
    session[SESSION_KEY] = units | {sku: total}
    return True


def set_units(session: Session, sku: str, quantity: int) -> None:
    """Have exactly so many of it; 0 takes it out. What is not in the cart stays out."""
    units = session.get(SESSION_KEY, {})
    if sku in units:
        changed = units | {sku: quantity}
        session[SESSION_KEY] = {sku: left for sku, left in changed.items() if left}


def take_out(session: Session, ordered: Mapping[str, int]) -> None:
    """These units have become an order. What was added meanwhile stays."""
    units = session.get(SESSION_KEY, {})
    for sku in ordered.keys() & units.keys():
        set_units(session, sku, max(0, units[sku] - ordered[sku]))


def _problem(product: Product, quantity: int) -> str | Promise | None:
    if not product.is_sold:
        return _("This is not sold any more.")
    if product.stock == 0:
        return _("Sold out.")
    if product.stock < quantity:
        return ngettext_lazy("Only %d left.", "Only %d left.", product.stock) % product.stock
    return None
