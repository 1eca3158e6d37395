"""What happens with each trade of the day, thrown by a seeded dice. Nothing of Django here."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.soak.ways import Way

WAYS = (
    Way("wechat", "qr"),
    Way("alipay", "qr"),
    Way("unionpay", "qr"),
    Way("paypal", "page", "USD"),
    Way("boleto", "voucher", "BRL"),
)


class Kind(StrEnum):
    """What becomes of one trade."""

    TOLD = "paid, and the shop asked"
    UNTOLD = "paid, and nobody told the shop"
    LATE = "paid after the order was cancelled"
    TWICE = "paid twice"
    NEVER = "never paid"
    RETURNED = "refunded by the shop"
    LOST_END = "refunded, and the answer was lost"
    CONSOLE = "refunded in the channel's console"
    STRANGER = "paid under a number that the shop does not know"


WEIGHTS = {
    Kind.TOLD: 56,
    Kind.UNTOLD: 14,
    Kind.LATE: 5,
    Kind.TWICE: 5,
    Kind.NEVER: 5,
    Kind.RETURNED: 5,
    Kind.LOST_END: 4,
    Kind.CONSOLE: 3,
    Kind.STRANGER: 3,
}
# A boleto has no refund. And PayPal's money moves when the shop takes it, which it does for no order that is closed.
IMPOSSIBLE = {
    "boleto": frozenset({Kind.RETURNED, Kind.LOST_END, Kind.CONSOLE}),
    "paypal": frozenset({Kind.LATE}),
}


@dataclass(slots=True)
class Play:
    """One trade of the day. `number` is the payment's, or the stranger's, `handle` the channel's own name of a stranger."""

    kind: Kind
    way: Way
    quantity: int
    back_minor: int
    number: str = ""
    order_number: str = ""
    handle: str = ""


def throw(trades: int, *, seed: int) -> Iterator[Play]:
    """The day, in equal parts over the channels: in each every kind once, and then as the dice fall."""
    for place in range(trades):
        way, turn = WAYS[place % len(WAYS)], place // len(WAYS)
        kinds = [kind for kind in Kind if kind not in IMPOSSIBLE.get(way.channel, ())]
        dice = random.Random(f"{seed}/{place}")
        drawn = dice.choices(kinds, weights=[WEIGHTS[kind] for kind in kinds])[0]
        kind = kinds[turn] if turn < len(kinds) else drawn
        yield Play(kind, way, quantity=dice.randint(1, 3), back_minor=dice.randint(100, 9000))
