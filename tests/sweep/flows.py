"""What a flow is: how it begins, what runs, who may interfere, and in words how it must end. `catalogue` lists them."""

from collections.abc import Callable, Sequence
from typing import Any

from payments.scanner import scan_payments
from shop.models import IdempotencyKey
from tests.sweep.ways import WECHAT, Way
from tests.sweep.world import KEY, World

PRICE = 12900


def paid(order: str = "READY_FOR_SHIPMENT", **changed: Any) -> dict[str, Any]:
    """How a world looks at its end: paid once, settled and told so, unless something is `changed`."""
    settled = {
        "orders": [order],
        "live": 0,
        "payable": 0,
        "receipts": ["settled"],
        "refunds": [],
        "refunds_at_channel": 0,
        "kept_by_channel": PRICE,
        "stock": 9,
        "mails": ["receipt"],
        "cases": [],
    }
    return settled | changed


def unpaid(*, live: int = 0, payable: int | None = None) -> dict[str, Any]:
    """An order without money; how many codes we offer, and how many the channel would still take money for."""
    at_channel = live if payable is None else payable
    return paid("UNPAID", live=live, payable=at_channel, receipts=[], kept_by_channel=0, mails=[])


def closed(*, payable: int = 0) -> dict[str, Any]:
    """An order that was given up, its goods back on the shelf."""
    return unpaid(payable=payable) | {"orders": ["CLOSED"], "stock": 10}


def given_back(order: str, *receipts: str, **changed: Any) -> dict[str, Any]:
    """One refund was made, at the channel and here."""
    back = {"receipts": list(receipts), "refunds": ["REFUNDED"], "refunds_at_channel": 1}
    return paid(order, **{**back, **changed})


SETTLED = paid()
PAID_TWICE = given_back("READY_FOR_SHIPMENT", "settled", "surplus", mails=["receipt", "returned"])
CLOSED = closed()
LATE = given_back("CLOSED", "late", kept_by_channel=0, stock=10, mails=["returned"])
# What a channel cannot give back, people do.
PAID_TWICE_BY_HAND = paid(receipts=["settled", "surplus"], kept_by_channel=2 * PRICE, cases=["payout"])
LATE_BY_HAND = closed() | {"receipts": ["late"], "kept_by_channel": PRICE, "cases": ["payout"]}
REFUNDED = given_back("REFUNDED", "settled", kept_by_channel=0, stock=10)
# Given back before the receipt was mailed: then nobody is thanked any more.
REFUNDED_SOON = REFUNDED | {"mails": []}


class Flow:
    """Base of all. The docstring of a flow is what is expected of it, and `ends` the looks that fulfil it.

    A flow goes by its own way to pay, or by one that it is given.
    """

    way: Way = WECHAT
    rivals: Sequence[str] = ["same", "alarms"]
    ends: Sequence[dict[str, Any]] = [SETTLED]
    # And how it may end besides when the other side was out of reach at the moment.
    ends_out_of_reach: Sequence[dict[str, Any]] = []
    # Whether the channel's callbacks are all lost, for ever.
    is_unheard: bool = False

    def __init__(self, way: Way | None = None) -> None:
        self.is_repeated = way is not None
        self.way = way or self.way

    @property
    def name(self) -> str:
        return f"{type(self).__name__}-{self.way}" if self.is_repeated else type(self).__name__

    def prepare(self, world: World) -> None:
        """Bring the world to where the flow begins."""

    def run(self, world: World) -> None:
        """What is killed, paused or cut off."""
        raise NotImplementedError

    def again(self, world: World) -> None:
        """What its client does after silence. Nothing: alarms, and a channel that was not acknowledged, come anyway."""

    def judge_repeat(self, world: World) -> Sequence[str]:
        """When all is over its client may come once more, which changes nothing. Returns what is wrong with the answer."""
        return ()


# Who may run while the flow sleeps.
RIVALS: dict[str, Callable[[Flow, World], Any]] = {
    "same": lambda flow, world: flow.run(world),
    "alarms": lambda _, world: scan_payments(),
    "callback": lambda _, world: [world.deliver(message) for message in world.messages],
    "query": lambda _, world: world.query(),
    "apply": lambda _, world: world.apply(),
    "cancel": lambda _, world: world.cancel(),
    "expiry": lambda _, world: _expire(world),
    "payer": lambda _, world: world.pay_oldest(),
    "keyed": lambda _, world: world.order_tea(**KEY),
    "keyless": lambda _, world: world.order_tea(),
}


def _expire(world: World) -> None:
    world.expire()
    scan_payments()


def judge(answer: Any, status: int, *, code: str) -> list[str]:
    """Whether this is the refusal that was to be expected."""
    told = (answer.status_code, answer.json().get("code"))
    return [] if told == (status, code) else [f"a repeat was answered {told}"]


def judge_key(answer: Any) -> list[str]:
    """A key that has made something is answered by that, as the first time; one that has not, by a refusal."""
    made = IdempotencyKey.objects.first()
    told = answer.json()
    if made is None:
        is_refused = answer.status_code == 409 and told["code"] != "in_progress"
        return [] if is_refused else [f"a key that made nothing was answered {answer.status_code} {told}"]
    expected = (made.status, "true", made.subject, None)
    replayed = answer.headers.get("Idempotency-Replayed")
    seen = (answer.status_code, replayed, told.get("number"), made.lease_until)
    return [] if seen == expected else [f"a key that made {expected} was answered {seen}"]
