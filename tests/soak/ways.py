"""The ways to pay that the soak's shoppers take: a channel in a scene, in a currency that it takes."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.people import MARIA


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pay."""

    channel: str
    scene: str
    currency: str = "CNY"

    @property
    def wish(self) -> dict[str, Any]:
        """What the shopper asks the shop for."""
        payer = {"payer": MARIA} if self.channel == "boleto" else {}
        return {"channel": self.channel, "scene": self.scene} | payer

    @property
    def leads_back(self) -> bool:
        """Whether the shopper pays at a page of the channel's, which leads back to the shop."""
        return self.scene in ("page", "wap")

    @property
    def paying(self) -> str:
        """The deed. Consent alone moves no money: the shop takes it, if it still wants it."""
        return "agree" if self.channel == "paypal" else "pay"


# Way → how many of a hundred shoppers begin with it.
WAYS = {
    Way("wechat", "qr"): 20,
    Way("wechat", "wap"): 8,
    Way("alipay", "qr"): 14,
    Way("alipay", "wap"): 8,
    Way("unionpay", "qr"): 10,
    Way("unionpay", "wap"): 8,
    Way("paypal", "page", "USD"): 10,
    Way("paypal", "page", "BRL"): 8,
    Way("boleto", "voucher", "BRL"): 14,
}
CHANNELS = tuple(dict.fromkeys(way.channel for way in WAYS))


def choose_ways(number: int, *, seed: int, channels: Collection[str]) -> tuple[Way, Way]:
    """The way that shopper `number` begins with, and one of another channel for who changes their mind.

    The same for the same seed; both are one where only one channel takes the currency.
    """
    dice = random.Random(f"{seed}/way/{number}")
    first = _choose([way for way in WAYS if way.channel in channels], dice)
    others = [way for way in WAYS if way.channel in channels and _is_instead(way, first)]
    return first, _choose(others or [first], dice)


def _is_instead(way: Way, first: Way) -> bool:
    return way.currency == first.currency and way.channel != first.channel


def _choose(ways: list[Way], dice: random.Random) -> Way:
    return dice.choices(ways, weights=[WAYS[way] for way in ways])[0]
