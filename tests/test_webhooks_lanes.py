"""Lanes: other systems keep waiting whom they like, and nobody who waits for money."""

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection, connections

from shop import alarms, watch
from shop.alarms import Claim, claim_due, claim_next, claim_webhook, set_alarm
from shop.models import Alarm
from shop.watch import Watch
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
let_go = threading.Event()
calling: list[str] = []
paid: list[str] = []


def call(claim: Claim) -> None:
    calling.append(claim.subject)
    let_go.wait(30)


def pay(claim: Claim) -> None:
    paid.append(claim.subject)
    alarms.finish(claim)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch) -> None:
    monkeypatch.setattr(alarms, "_kinds", {})
    alarms.register("pay", handler=f"{__name__}.pay", gaps_s=(60,))
    alarms.register("call", handler=f"{__name__}.call", gaps_s=(60,), lane=alarms.WEBHOOKS)
    let_go.clear()
    calling.clear()
    paid.clear()


@pytest.fixture
def turning(monkeypatch) -> Iterator[Watch]:
    """A watch without a cluster, in a thread of this process. Its threads leave no connection behind."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    turned = Watch(with_cluster=False)

    def turn() -> None:
        turned.run()
        connections.close_all()

    thread = threading.Thread(target=turn)
    thread.start()
    yield turned
    let_go.set()
    turned.stop.set()
    thread.join(30)


def test_alarm_about_money_is_handled_while_every_receiver_hangs(turning):
    for endpoint in range(9):
        set_alarm("call", f"{endpoint}:N1")
    wait_until(lambda: len(calling) == watch.WEBHOOK_THREADS)
    for nth in range(20):
        set_alarm("pay", str(nth))
    wait_until(lambda: len(paid) == 20)
    assert len(calling) == watch.WEBHOOK_THREADS


def test_endpoint_that_hangs_leaves_threads_to_the_others(turning):
    for nth in range(50):
        set_alarm("call", f"1:N{nth}")
    wait_until(lambda: len(calling) == watch.THREADS_OF_CROWD)
    set_alarm("call", "2:N1")
    wait_until(lambda: "2:N1" in calling)
    assert sum(subject.startswith("1:") for subject in calling) == watch.THREADS_OF_CROWD


def test_thread_goes_on_with_what_is_due_for_the_same_endpoint(turning):
    let_go.set()
    for nth in range(200):
        set_alarm("call", f"1:N{nth}")
    began = time.monotonic()
    wait_until(lambda: len(calling) == 200, within_s=20)
    assert time.monotonic() - began < 200 / watch.WEBHOOK_THREADS * watch.TICK_S


def test_who_looks_for_alarms_about_money_finds_no_webhook():
    set_alarm("call", "1:N1")
    assert claim_due(10, with_long=True) == []


def test_next_claim_is_of_the_same_endpoint_and_due():
    for subject in ("1:N1", "1:N2", "2:N1", "12:N1"):
        set_alarm("call", subject)
    set_alarm("call", "1:later", in_s=60)
    first = claim_webhook(busy=["2", "12"])
    assert first is not None
    second = claim_next(first)
    assert second is not None
    assert {first.subject, second.subject} == {"1:N1", "1:N2"}
    assert claim_next(first) is None
    assert Alarm.objects.filter(attempts=0).count() == 3
