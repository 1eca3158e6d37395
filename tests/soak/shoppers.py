"""A shopper: all that one can do in the shop and at the channels, each deed tried until it has an answer.

Deeds are generators: they yield for how many seconds the shopper then does nothing, so that thousands of shoppers need few
threads.
"""

import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from tests.soak.client import Answer, Client, Deed, Ending, History
from tests.soak.ways import CHANNELS, Way, choose_ways

Pauses = Generator[float, None, None]
Attempt = Generator[float, None, bool]

PATIENCE = 25  # tries, some seconds apart, before a shopper gives up on a shop that does not answer
LOOKS = 60
LOOK_EVERY_S = 5.0


class Shopper:
    """One shopper with one order, to be paid in a way of `channels`.

    `skus` is what the shop sells, by currency; `lifetime_s` for how long an order waits.
    """

    def __init__(
        self,
        number: int,
        client: Client,
        history: History,
        *,
        seed: int,
        skus: Mapping[str, Sequence[str]],
        lifetime_s: float,
        channels: Sequence[str] = CHANNELS,
    ) -> None:
        self.number, self.client, self.history = number, client, history
        self.way, self.other_way = choose_ways(number, seed=seed, channels=channels)
        self.skus, self.lifetime_s = skus[self.way.currency], lifetime_s
        self.random = random.Random(f"{seed}/{number}")
        self.who = f"{number}"
        self.order = self.token = self.payment = self.content = ""
        self.action: dict[str, Any] = {}
        self.old: tuple[Way, str] | None = None  # the attempt before, and its number
        self.applied = 0
        self.may_supersede = False

    # Deeds

    def place(self) -> Attempt:
        """Place the order. Half of the shoppers send the same again under one key; for the others each try has an address
        of its own, by which it is found although no answer came.
        """
        wish, key = self._wish(0), f"soak-{self.number}" if self.number % 2 else ""
        for tries in range(PATIENCE):
            answer = self.client.api("POST", "orders", body=wish if key else self._wish(tries), key=key)
            if answer.ending is Ending.OK:
                self.order, self.token = answer.body["number"], answer.body["token"]
            self._remember("place by key" if key else "place", answer, self.order)
            if answer.ending is Ending.OK:
                return True
            yield 1 + self.random.random() * 2
        return False

    def apply(self, way: Way | None = None) -> Attempt:
        """Apply, in `way` or as before, until there is an action, or the order says that it wants no money; then arrive."""
        way = way or self.way
        for _ in range(PATIENCE):
            answer = self.click_apply(way)
            if self._take_action(way, answer):
                return (yield from self._arrive())
            if answer.code in ("order_paid", "order_closed"):
                return False
            self.may_supersede = answer.may_supersede
            yield 1 + self.random.random() * 2
        return False

    def pay(self) -> Attempt:
        """Pay in the wallet, or agree to pay, until it shows that."""
        for _ in range(PATIENCE):
            answer = self.client.scan_and_pay(self.content)
            self._remember(self.way.paying, answer, self.payment)
            if answer.ending is not Ending.UNKNOWN:
                return answer.ending is Ending.OK
            yield 1.0
        return False

    def force(self, attempt: tuple[Way, str] | None = None) -> Attempt:
        """Pay the present attempt, or another, although it is closed, over or paid, and the channel should not take it."""
        way, number = attempt or (self.way, self.payment)
        for _ in range(PATIENCE):
            answer = self.client.force_payment(way.channel, number)
            self._remember(way.paying, answer, number)
            if answer.ending is not Ending.UNKNOWN:
                return answer.ending is Ending.OK
            yield 1.0
        return False

    def come_back(self) -> None:
        """Half of those who paid at a channel's own page are led back to the shop, which asks; the others close it."""
        if self.way.leads_back and self.random.random() < 0.5:
            self.ask()

    def cancel(self) -> Attempt:
        """Give the order up, until the shop says yes or that it is paid."""
        for _ in range(PATIENCE):
            answer = self.client.api("POST", f"orders/{self.order}/cancel", token=self.token)
            self._remember("cancel", answer, self.order)
            if answer.ending is Ending.OK or answer.code == "order_paid":
                return answer.ending is Ending.OK
            yield 2.0
        return False

    def ask(self) -> None:
        """Have the channel asked now."""
        answer = self.client.api("POST", f"payments/{self.payment}/query", token=self.token)
        self._remember("query", answer, self.payment)

    def look(self) -> str:
        """What the status call says: the order's status, or nothing."""
        answer = self.client.api("GET", f"orders/{self.order}/status", token=self.token)
        status = str(answer.body["status"]) if answer.ending is Ending.OK else ""
        self._remember(f"told {status}" if status else "look", answer, self.order)
        return status

    def watch(self) -> Pauses:
        """Keep the page open until the order is paid or closed."""
        for _ in range(LOOKS):
            if self.look() not in ("", "UNPAID"):
                return
            yield LOOK_EVERY_S

    def _wish(self, tries: int) -> dict[str, Any]:
        self.who = f"s{self.number}.{tries}@soak.example"
        items = [
            {"sku": sku, "quantity": self.random.randint(1, 2)}
            for sku in self.random.sample(self.skus, min(len(self.skus), self.random.choice((1, 1, 1, 2, 3))))
        ]
        contact = {"name": "Anna Lin", "email": self.who, "phone": "13800000000", "address": "1 Garden Road"}
        return {"items": items, "contact": contact}

    def click_apply(self, way: Way) -> Answer:
        """One click on a method; who was told that it may goes on although an earlier attempt is undecided."""
        path, wish = f"orders/{self.order}/payments", way.wish | {"supersede": self.may_supersede}
        key = f"soak-{self.number}-{self.applied}-{way.channel}-{self.may_supersede}"
        answer = self.client.api(
            "POST", path, body=wish, token=self.token, key=key if self.number % 2 else ""
        )
        if answer.ending is Ending.OK:
            self.applied += 1  # the next one is another wish
        told = answer.body["number"] if answer.ending is Ending.OK else self.order
        self._remember("apply", answer, told)
        return answer

    def _take_action(self, way: Way, answer: Answer) -> bool:
        if answer.ending is not Ending.OK or not answer.body["action"]:
            return False
        if self.payment != answer.body["number"]:
            self.old = (self.way, self.payment) if self.payment else None
            self.content = ""
        self.way, self.payment, self.action = way, answer.body["number"], answer.body["action"]
        return True

    def _arrive(self) -> Attempt:
        """Be where it can be paid; a page is opened again until it leads on."""
        for _ in range(PATIENCE):
            if self.content:
                return True
            answer = self.client.arrive(self.action)
            self._remember("arrive", answer, self.payment)
            self.content = answer.body or ""
            if not self.content:
                yield 1.0
        return bool(self.content)

    def _remember(self, what: str, answer: Answer, subject: str) -> None:
        self.history.add(Deed(self.who, what, answer.ending, subject, answer.code))
