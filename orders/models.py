"""Products, orders and their lines. Amounts are integers in the currency's minor unit; what must never be, the database refuses."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Upper
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from orders.statuses import CloseReason, OrderStatus
from shop import languages
from shop.languages import ENGLISH
from shop.money import CURRENCIES, for_people
from shop.numbers import new_order_number

CURRENCY_CHOICES = [(currency, currency) for currency in CURRENCIES]


class Product(models.Model):
    """Something for sale. `stock` is what may still be promised to somebody, out of the units ever `supplied`."""

    sku = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)
    # The same in the other language of the shop; where there is none, people read the English.
    name_zh_hans = models.CharField("name in Chinese", max_length=100, blank=True, db_default="")
    description_zh_hans = models.CharField(
        "description in Chinese", max_length=300, blank=True, db_default=""
    )
    # The name of a line drawing in static/art.
    picture = models.SlugField(max_length=40, blank=True)
    price = models.PositiveBigIntegerField(help_text=_("minor units"))
    currency = models.CharField(max_length=3, choices=CURRENCY_CHOICES)
    stock = models.IntegerField()
    # Nothing comes back to the shelf that was not once put there: supplied = stock + units of orders that hold stock.
    supplied = models.IntegerField(help_text=_("units ever put on the shelf"))
    is_sold = models.BooleanField(default=True)
    # Where the query that read the row asked for them: the database's clock, and what placing wants to know beside.
    now: datetime
    order_id: int
    first_order: str | None

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=1), name="product_has_a_price"),
            models.CheckConstraint(condition=Q(stock__gte=0), name="stock_is_never_negative"),
            models.CheckConstraint(condition=Q(stock__lte=F("supplied")), name="stock_was_supplied"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def local_name(self) -> str:
        """In the language that is spoken now."""
        return self._told("name")

    @property
    def local_description(self) -> str:
        """In the language that is spoken now."""
        return self._told("description")

    def _told(self, field: str) -> str:
        local: str = getattr(self, f"{field}_{languages.current().replace('-', '_')}", "")
        return local or getattr(self, field)

    @property
    def price_text(self) -> str:
        return for_people(self.price, self.currency)


class Order(models.Model):
    """What somebody wants to have and to pay for. Only `orders.moves` writes its status."""

    number = models.CharField(max_length=32, unique=True, default=new_order_number, editable=False)
    status = models.CharField(max_length=20, choices=OrderStatus.choices, default=OrderStatus.UNPAID)
    amount = models.PositiveBigIntegerField(help_text=_("minor units"))
    currency = models.CharField(max_length=3, choices=CURRENCY_CHOICES)
    name = models.CharField(max_length=100)
    email = models.EmailField()
    phone = models.CharField(max_length=30)
    address = models.CharField(max_length=300)
    # Of the mails about it: a code of `shop.languages`.
    language = models.CharField(max_length=10, db_default=ENGLISH)
    # Mixed into the order's token: a new salt revokes every link given out. `orders.access` says how long one lives.
    token_salt = models.CharField(max_length=32)
    link_since = models.DateTimeField(db_default=Now())
    # When somebody last had the link mailed.
    link_asked_at = models.DateTimeField(null=True, blank=True)
    # Buyer, lines and contact: what makes two orders the same by content.
    content_hash = models.CharField(max_length=64)
    # Raised by every change of the order or one of its payments, for pages that wait.
    version = models.PositiveIntegerField(default=1)
    holds_stock = models.BooleanField(default=True)
    expires_at = models.DateTimeField()
    # Applying for payment in the last minutes moves the expiry on, once.
    was_extended = models.BooleanField(default=False)
    # When it would have expired, had it not been kept open for what is paid days later; None: it never was.
    usual_expires_at = models.DateTimeField(null=True, blank=True)
    close_reason = models.CharField(max_length=10, choices=CloseReason.choices, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # The database's clock, where the query that read the row asked for it.
    now: datetime

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=1), name="order_has_an_amount"),
            models.CheckConstraint(condition=Q(status__in=OrderStatus.values), name="order_status_is_known"),
            models.CheckConstraint(
                condition=Q(status=OrderStatus.CLOSED, closed_at__isnull=False, holds_stock=False)
                | ~Q(status=OrderStatus.CLOSED),
                name="closed_order_holds_no_stock",
            ),
            models.CheckConstraint(
                condition=Q(holds_stock=True) | Q(status__in=[OrderStatus.CLOSED, OrderStatus.REFUNDED]),
                name="open_order_holds_its_stock",
            ),
        ]
        permissions = [
            ("cancel_order", gettext_noop("Can cancel an unpaid order")),
            ("ship_order", gettext_noop("Can mark orders as shipped and completed")),
            ("resend_receipt", gettext_noop("Can send the receipt once more")),
        ]
        indexes = [
            models.Index(fields=["content_hash", "created_at"], name="order_content"),
            # what people look for among a million
            models.Index(Upper("email"), name="order_of_email"),
            models.Index(fields=["phone"], name="order_of_phone"),
            models.Index(fields=["status", "-id"], name="order_by_status"),
            models.Index(fields=["created_at"], name="order_by_date"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.currency)


class OrderLine(models.Model):
    """One product of an order, at the name and price of the day."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    unit_price = models.PositiveBigIntegerField(help_text=_("minor units"))
    quantity = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gte=1), name="line_has_a_quantity"),
            models.UniqueConstraint(fields=["order", "product"], name="one_line_per_product"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def local_name(self) -> str:
        """In the language that is spoken now, as long as the product goes by that name; later, the name of the day."""
        names = (self.product.name, self.product.name_zh_hans)
        return self.product.local_name if self.name in names else self.name

    @property
    def amount(self) -> int:
        return self.unit_price * self.quantity

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.order.currency)
