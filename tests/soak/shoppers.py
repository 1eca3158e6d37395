"""Shoppers and their habits. A habit is a generator: it does something and yields for how many seconds it then does
nothing, so that thousands of shoppers need few threads.
"""

import random
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.soak.client import Answer, Client, Deed, Ending, History

Pauses = Generator[float, None, None]
Attempt = Generator[float, None, bool]
Habit = Callable[["Shopper"], Pauses]

PATIENCE = 25  # tries, some seconds apart, before a shopper gives up on a shop that does not answer
LOOKS = 60
LOOK_EVERY_S = 5.0
# An attempt is renewed in its last seconds: see `order_lifetime_s` of a run.
COMES_BACK_AFTER = 0.93

# Two clicks of one finger.
_clicks = ThreadPoolExecutor(16, thread_name_prefix="click")


class Shopper:
    """One shopper with one order. `skus` is what the shop sells, `lifetime_s` for how long an order waits."""

    def __init__(
        self, number: int, client: Client, history: History, *, seed: int, skus: list[str], lifetime_s: float
    ) -> None:
        self.number, self.client, self.history = number, client, history
        self.skus, self.lifetime_s = skus, lifetime_s
        self.random = random.Random(f"{seed}/{number}")
        self.who = f"{number}"
        self.order = self.token = self.payment = self.content = ""
        self.old_payment = ""
        self.applied = 0
        self.version = 0

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

    def apply(self) -> Attempt:
        """Apply until there is a code to scan, or the order says that it wants no money."""
        for _ in range(PATIENCE):
            answer = self._apply_once()
            if self._take_code(answer):
                return True
            if answer.code in ("order_paid", "order_closed"):
                return False
            yield 1 + self.random.random() * 2
        return False

    def pay(self, *, force: bool = False, payment: str = "") -> Attempt:
        """Pay by the wallet until it shows that it is paid. `force`: the channel takes it although it should not."""
        number = payment or self.payment
        for _ in range(PATIENCE):
            answer = self.client.force_payment(number) if force else self.client.scan_and_pay(self.content)
            self._remember("pay", answer, number)
            if answer.ending is not Ending.UNKNOWN:
                return answer.ending is Ending.OK
            yield 1.0
        return False

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

    def _apply_once(self) -> Answer:
        path, wish = f"orders/{self.order}/payments", {"channel": "wechat", "scene": "qr"}
        key = f"soak-{self.number}-{self.applied}" if self.number % 2 else ""
        answer = self.client.api("POST", path, body=wish, token=self.token, key=key)
        if answer.ending is Ending.OK:
            self.applied += 1  # the next one is another wish
        told = answer.body["number"] if answer.ending is Ending.OK else self.order
        self._remember("apply", answer, told)
        return answer

    def _take_code(self, answer: Answer) -> bool:
        if answer.ending is not Ending.OK or not answer.body["action"]:
            return False
        if self.payment and self.payment != answer.body["number"]:
            self.old_payment = self.payment
        self.payment, self.content = answer.body["number"], answer.body["action"]["content"]
        return True

    def _remember(self, what: str, answer: Answer, subject: str) -> None:
        self.history.add(Deed(self.who, what, answer.ending, subject, answer.code))


# ---- habits ------------------------------------------------------------------------------------------------------


def apply_for_new_order(shopper: Shopper) -> Attempt:
    """Place an order and get a code to scan."""
    return (yield from shopper.place()) and (yield from shopper.apply())


def pays_at_once(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.pay()


def pays_soon(shopper: Shopper) -> Pauses:
    """Within the half minute in which we ask quickly."""
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(2, 28)
        yield from shopper.pay()


def pays_late(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(31, 0.8 * shopper.lifetime_s)
        yield from shopper.pay()


def watches(shopper: Shopper) -> Pauses:
    """Pays now or later with the page of the order open."""
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(1, 45)
        yield from shopper.pay()
        yield from shopper.watch()


def pays_twice(shopper: Shopper) -> Pauses:
    """The same code a second time, at once or later."""
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.pay()
        yield shopper.random.choice((0.0, 0.5, 8.0))
        yield from shopper.pay(force=True)


def never_pays(shopper: Shopper) -> Pauses:
    yield from apply_for_new_order(shopper)


def pays_when_over(shopper: Shopper) -> Pauses:
    """Some moments after the order expired."""
    if (yield from apply_for_new_order(shopper)):
        yield shopper.lifetime_s * 1.02 + shopper.random.uniform(0, 15)
        yield from shopper.pay(force=True)


def cancels(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(0.5, 8)
        yield from shopper.cancel()


def pays_what_it_cancelled(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.cancel()
        yield shopper.random.uniform(0, 5)
        yield from shopper.pay(force=True)


def cancels_while_paying(shopper: Shopper) -> Pauses:
    """Both at the same moment."""
    if (yield from apply_for_new_order(shopper)):
        paying = _clicks.submit(list, shopper.pay())
        yield from shopper.cancel()
        paying.result()


def double_clicks(shopper: Shopper) -> Pauses:
    """Applies twice at once, and again."""
    if (yield from shopper.place()):
        clicks = [_clicks.submit(shopper._apply_once) for _ in range(2)]
        for click in clicks:
            click.result()
        if (yield from shopper.apply()):
            yield from shopper.pay()


def applies_again(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        for _ in range(2):
            yield shopper.random.uniform(0.5, 5)
            yield from shopper.apply()
        yield from shopper.pay()


def comes_back(shopper: Shopper) -> Pauses:
    """In the last seconds of the first code, for a new one; then pays that, and often the first one too."""
    if not (yield from apply_for_new_order(shopper)):
        return
    yield shopper.lifetime_s * COMES_BACK_AFTER
    if (yield from shopper.apply()):
        yield from shopper.pay()
    if shopper.old_payment and shopper.random.random() < 0.5:
        yield from shopper.pay(force=True, payment=shopper.old_payment)


def declines(shopper: Shopper) -> Pauses:
    """And thinks better of it."""
    if (yield from apply_for_new_order(shopper)):
        shopper.client.decline(shopper.payment)
        yield shopper.random.uniform(1, 6)
        yield from shopper.pay()


def asks(shopper: Shopper) -> Pauses:
    """Presses "I have paid", impatiently."""
    if (yield from apply_for_new_order(shopper)):
        shopper.ask()
        yield from shopper.pay()
        for _ in range(3):
            shopper.ask()
            yield 1.5


# Habit → how many of a hundred shoppers have it.
HABITS: dict[Habit, int] = {
    pays_at_once: 34,
    pays_soon: 16,
    pays_late: 8,
    watches: 8,
    pays_twice: 5,
    never_pays: 3,
    pays_when_over: 2,
    cancels: 3,
    pays_what_it_cancelled: 2,
    cancels_while_paying: 3,
    double_clicks: 5,
    applies_again: 4,
    comes_back: 2,
    declines: 2,
    asks: 3,
}
# What ends within half a minute.
QUICK = {
    habit: share
    for habit, share in HABITS.items()
    if habit not in (pays_late, watches, pays_when_over, comes_back)
}


def choose_habit(number: int, *, seed: int, habits: Mapping[Habit, int]) -> Habit:
    """The habit of shopper `number`: the same for the same seed."""
    dice = random.Random(f"{seed}/habit/{number}")
    return dice.choices(list(habits), weights=list(habits.values()))[0]
