"""What shoppers do with an order, well and badly. A habit is a generator over the deeds of one shopper."""

import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.soak.shoppers import Attempt, Pauses, Shopper

Habit = Callable[[Shopper], Pauses]

# An attempt is renewed in its last seconds: see `order_lifetime_s` of a run.
COMES_BACK_AFTER = 0.93

# Two clicks of one finger.
_clicks = ThreadPoolExecutor(16, thread_name_prefix="click")


def apply_for_new_order(shopper: Shopper) -> Attempt:
    """Place an order, apply, and be where it can be paid."""
    return (yield from shopper.place()) and (yield from shopper.apply())


def pays_at_once(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.pay()
        shopper.come_back()


def pays_soon(shopper: Shopper) -> Pauses:
    """Within the half minute in which we ask quickly."""
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(2, 28)
        yield from shopper.pay()
        shopper.come_back()


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
        yield from shopper.force()


def never_pays(shopper: Shopper) -> Pauses:
    yield from apply_for_new_order(shopper)


def pays_when_over(shopper: Shopper) -> Pauses:
    """Some moments after the order expired."""
    if (yield from apply_for_new_order(shopper)):
        yield shopper.lifetime_s * 1.02 + shopper.random.uniform(0, 15)
        yield from shopper.force()


def cancels(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield shopper.random.uniform(0.5, 8)
        yield from shopper.cancel()


def pays_what_it_cancelled(shopper: Shopper) -> Pauses:
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.cancel()
        yield shopper.random.uniform(0, 5)
        yield from shopper.force()


def cancels_while_paying(shopper: Shopper) -> Pauses:
    """Both at the same moment."""
    if (yield from apply_for_new_order(shopper)):
        paying = _clicks.submit(list, shopper.pay())
        yield from shopper.cancel()
        paying.result()


def cancels_what_it_paid(shopper: Shopper) -> Pauses:
    """Agrees or pays and gives the order up at once, mostly before the shop has heard of it."""
    if (yield from apply_for_new_order(shopper)):
        yield from shopper.pay()
        yield from shopper.cancel()


def double_clicks(shopper: Shopper) -> Pauses:
    """Applies twice at once, and again."""
    if (yield from shopper.place()):
        clicks = [_clicks.submit(shopper.click_apply, shopper.way) for _ in range(2)]
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
    if shopper.old and shopper.random.random() < 0.5:
        yield from shopper.force(shopper.old)


def switches(shopper: Shopper) -> Pauses:
    """Begins in one way and pays in another: a slip is out, and PayPal is quicker. Often the first is paid as well."""
    if not (yield from apply_for_new_order(shopper)):
        return
    yield shopper.random.uniform(0.5, 8)
    if (yield from shopper.apply(shopper.other_way)):
        yield from shopper.pay()
    if shopper.old and shopper.random.random() < 0.5:
        yield shopper.random.uniform(0, 5)
        yield from shopper.force(shopper.old)


def cannot_decide(shopper: Shopper) -> Pauses:
    """Tries the one way and the other in turns, while the first may be paid already."""
    if not (yield from apply_for_new_order(shopper)):
        return
    paying = _clicks.submit(list, shopper.force((shopper.way, shopper.payment)))
    for way in (shopper.other_way, shopper.way):
        if not (yield from shopper.apply(way)):
            break
        yield shopper.random.uniform(0, 3)
    paying.result()
    yield from shopper.pay()


def declines(shopper: Shopper) -> Pauses:
    """And thinks better of it."""
    if (yield from apply_for_new_order(shopper)):
        shopper.client.decline(shopper.way.channel, shopper.payment)
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
    pays_at_once: 30,
    pays_soon: 14,
    pays_late: 8,
    watches: 7,
    pays_twice: 5,
    never_pays: 3,
    pays_when_over: 2,
    cancels: 2,
    pays_what_it_cancelled: 2,
    cancels_while_paying: 3,
    cancels_what_it_paid: 2,
    double_clicks: 4,
    applies_again: 3,
    comes_back: 2,
    switches: 6,
    cannot_decide: 2,
    declines: 2,
    asks: 3,
}


def choose_habit(number: int, *, seed: int, habits: Mapping[Habit, int]) -> Habit:
    """The habit of shopper `number`: the same for the same seed."""
    dice = random.Random(f"{seed}/habit/{number}")
    return dice.choices(list(habits), weights=list(habits.values()))[0]
