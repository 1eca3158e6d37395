"""What may go wrong with an order.

OrderError
├── InvalidOrder        the request makes no sense; `field` says where (400)
│   ├── UnknownProduct
│   └── MixedCurrency
├── OutOfStock          fewer left than asked for (409)
├── DuplicateOrder      the same was ordered a moment ago (409); who means it says so
├── OrderNotFound       no such order, or not this person's (404)
├── NotTheShopper       staff, who may look at the order and do nothing in the shopper's place (403)
└── IllegalMove         a bug, or a rival was faster: the table has no such move

Messages are lazy: `str(error)` is in the language of whoever asks for it.
"""

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say


class OrderError(Exception):
    """Base of all."""


class InvalidOrder(OrderError):
    """`field` is the path of the wrong input, e.g. `items.0.quantity`."""

    def __init__(self, message: Words, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownProduct(InvalidOrder):
    """No product of that SKU is sold here."""


class MixedCurrency(InvalidOrder):
    """An order has one currency."""


class OutOfStock(OrderError):
    """`sku`: what there is too little of; `left`: how many there are."""

    def __init__(self, sku: str, name: str, left: int) -> None:
        words = _("Only %(left)d of %(name)s left.") if left else _("%(name)s is sold out.")
        super().__init__(say(words, name=name, left=left))
        self.sku = sku
        self.left = left


class DuplicateOrder(OrderError):
    """The same lines for the same buyer were ordered a moment ago. `number`: the first order, for its owner only."""

    def __init__(self, number: str) -> None:
        super().__init__(_("The same order was placed a moment ago."))
        self.number = number


class OrderNotFound(OrderError):
    """Foreign and missing look the same."""


class NotTheShopper(OrderError):
    """Who may look at the order, by a permission, wanted to do what only its shopper does."""

    def __init__(self, number: str) -> None:
        words = _(
            "Only its shopper may do this with order %(number)s. Staff look at it here, and act on its page in the admin."
        )
        super().__init__(say(words, number=number))


class IllegalMove(OrderError):
    """The status table has no such move."""

    def __init__(self, number: str, from_status: str, to_status: str) -> None:
        super().__init__(f"order {number} cannot go from {from_status} to {to_status}")
