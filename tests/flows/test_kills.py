"""`kill -9` in mid-flow: an order is applied for and paid at the channel, every notification is lost, a process dies.

Whichever it is, everything settles: without a hand where the demo lives, after its second start where it does not.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
import requests

from tests.flows.test_demo import Demo
from tests.programs import is_alive
from tests.soak.installation import Installation, installed
from tests.waiting import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.xdist_group("demo")]

# The quick queries come 10, 20 and 30 s after applying; the first may fall into the outage.
SETTLED_WITHIN_S = 45
HEALED_WITHIN_S = 45
ORDER_LIFETIME_S = 1800


@pytest.fixture(scope="module")
def shared() -> Iterator[Installation]:
    with installed(None, order_lifetime_s=ORDER_LIFETIME_S) as installation:
        yield installation


@pytest.fixture
def installation(shared: Installation) -> Iterator[Installation]:
    shared.wait_until_whole()
    yield shared
    shared.demo.set_faults({})


@pytest.mark.parametrize(
    ("victim", "comes_back"),
    [
        ("web", "web"),
        ("watch", "cluster"),  # it takes its cluster with it
        ("cluster", "cluster"),
        ("sentinel", "cluster"),
        ("idle worker", "cluster"),  # it dies with a lock that the others need
        ("monitor", "cluster"),  # its successor waits for ever for a lock that the dead one held
        ("redis", "redis"),
        ("postgres", "postgres"),
        ("sandbox", "sandbox"),
    ],
)
def test_order_paid_unheard_settles_whichever_process_is_killed(victim, comes_back, installation):
    demo, parts = installation.demo, installation.parts
    before = wait_until(lambda: parts.lives(comes_back), within_s=HEALED_WITHIN_S)
    order, who = pay_unheard(demo)
    wait_until(lambda: parts.lives(victim), within_s=HEALED_WITHIN_S).kill()
    wait_until(lambda: is_ready(demo, order, who), within_s=SETTLED_WITHIN_S)
    wait_until(lambda: parts.lives(comes_back) not in (None, before), within_s=HEALED_WITHIN_S)
    assert_works_and_audits(installation)


def test_order_paid_unheard_settles_after_a_second_start_when_the_demo_itself_is_killed():
    with installed(None, order_lifetime_s=ORDER_LIFETIME_S) as first:
        order, who = pay_unheard(first.demo)
        below = psutil.Process(first.demo.process.pid).children(recursive=True)
        first.demo.process.kill()
        first.demo.process.wait()
        wait_until(lambda: not any(is_alive(each.pid) for each in below))
        assert_settles_after_second_start(first, order, who)


def test_order_paid_unheard_settles_after_a_second_start_when_every_process_is_killed():
    with installed(None, order_lifetime_s=ORDER_LIFETIME_S) as first:
        order, who = pay_unheard(first.demo)
        every = first.parts.all()
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        first.demo.process.wait()
        wait_until(lambda: not any(is_alive(each.pid) for each in every))
        assert_settles_after_second_start(first, order, who)


def assert_settles_after_second_start(
    first: Installation, order: dict[str, Any], who: dict[str, str]
) -> None:
    again = Installation(first.data_dir)
    try:
        wait_until(lambda: is_ready(again.demo, order, who), within_s=SETTLED_WITHIN_S)
        assert_works_and_audits(again)
    finally:
        assert again.demo.stop() == 0


def assert_works_and_audits(installation: Installation) -> None:
    """Every part is really back: the next order goes the whole way. Nothing is found, in our books or the channel's."""
    demo = installation.demo
    installation.wait_until_whole()
    demo.set_faults({})
    order, who = demo.order()
    demo.pay(demo.apply(order, who))
    wait_until(lambda: is_ready(demo, order, who), within_s=SETTLED_WITHIN_S)
    assert installation.audit() == []


def pay_unheard(demo: Demo) -> tuple[dict[str, Any], dict[str, str]]:
    """An order whose money the channel has, while no notification of it reaches us."""
    demo.set_faults({"notify": {"drop": 1.0}})
    order, who = demo.order()
    payment = demo.apply(order, who)
    demo.pay(payment)
    assert demo.trade(payment)["status"] == "PAID"
    assert not demo.is_ready(order, who)
    return order, who


def is_ready(demo: Demo, order: dict[str, Any], who: dict[str, str]) -> bool:
    """Whether the shop says so; False while it cannot say anything."""
    with suppress(requests.RequestException, KeyError):
        return demo.is_ready(order, who)
    return False
