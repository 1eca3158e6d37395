"""Watch as a real process: it handles alarms, keeps one cluster alive, and ends with everything it started."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection
from django_q.models import Schedule
from django_q.tasks import async_task

from payments.applying import apply_for_payment
from payments.models import Payment
from shop.beats import CLUSTER, silent_for
from shop.business import announce
from shop.models import Alarm, BusinessEvent, Heartbeat
from shop.watch import ClusterKeeper, Watch
from tests.factories import make_order
from tests.programs import is_alive, running
from tests.soak.parts import what_it_waits_for
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "watch.log"


def clusters_of(watch: subprocess.Popen[bytes]) -> list[int]:
    """The task cluster's main processes below this watch."""
    return [child.pid for child in psutil.Process(watch.pid).children()]


def descendants(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def cluster_works() -> bool:
    silence = silent_for(CLUSTER)
    return silence is not None and silence.total_seconds() < 3


def test_lost_callback_is_found_by_watch_alone(sandbox, log):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    with running("watch", "--no-cluster", log=log):
        wait_until(lambda: Payment.objects.get().status == "PAID", within_s=20)
    assert not Alarm.objects.filter(kind="query_payment").exists()


def test_watch_says_that_it_lives_and_keeps_the_schedule_of_the_scanner(sandbox, log):
    Schedule.objects.create(name="left over", func="nothing.here")
    with running("watch", log=log):
        wait_until(cluster_works, within_s=30)
        assert Heartbeat.objects.filter(name__startswith="watch ").exists()
        assert list(Schedule.objects.values_list("name", "func")) == [
            ("scan_payments", "payments.tasks.scan")
        ]


def test_messages_are_run_by_the_cluster(sandbox, log):
    with running("watch", log=log):
        wait_until(cluster_works, within_s=30)
        async_task("shop.beats.beat", "a message")
        wait_until(Heartbeat.objects.filter(name="a message").exists)


def test_cluster_that_wedges_is_noticed_and_started_again(sandbox, log):
    with running("watch", log=log) as watch:
        wait_until(cluster_works, within_s=30)
        [before] = clusters_of(watch)
        for pid in [before, *descendants(before)]:
            os.kill(pid, signal.SIGSTOP)  # alive for everybody who looks, and never works again
        wait_until(lambda: clusters_of(watch) not in ([], [before]), within_s=30)
        wait_until(cluster_works, within_s=30)


def test_cluster_that_is_killed_is_started_again(sandbox, log):
    with running("watch", log=log) as watch:
        wait_until(cluster_works, within_s=30)
        [before] = clusters_of(watch)
        below = descendants(before)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: clusters_of(watch) not in ([], [before]), within_s=30)
        wait_until(lambda: not any(map(is_alive, below)))


def test_cluster_whose_monitor_is_killed_is_started_again(sandbox, log):
    """Its successor waits for ever for a lock that the dead one held; the workers look well."""
    with running("watch", log=log) as watch:
        wait_until(cluster_works, within_s=30)
        [before] = clusters_of(watch)
        [sentinel] = psutil.Process(before).children()
        _, _, monitor, _ = sorted(sentinel.children(), key=lambda member: member.pid)
        wait_until(lambda: (wait := what_it_waits_for(monitor.pid)) == "" or "pipe" in wait)
        monitor.kill()
        wait_until(lambda: clusters_of(watch) not in ([], [before]), within_s=30)
        wait_until(cluster_works, within_s=30)


def test_killed_watch_takes_its_cluster_with_it_and_another_takes_over(sandbox, log):
    with running("watch", log=log) as first, running("watch", log=log) as second:
        wait_until(cluster_works, within_s=30)
        owner, other = (first, second) if clusters_of(first) else (second, first)
        below = descendants(owner.pid)
        assert below
        assert clusters_of(other) == []
        owner.kill()
        wait_until(lambda: not any(map(is_alive, below)))
        wait_until(lambda: clusters_of(other), within_s=20)


def test_watch_ends_in_order_at_a_signal(sandbox, log):
    with running("watch", log=log) as watch:
        wait_until(cluster_works, within_s=30)
        below = descendants(watch.pid)
        watch.terminate()
        assert watch.wait(timeout=20) == 0
        assert not any(map(is_alive, below))


def test_cluster_that_cannot_be_started_does_not_stop_the_alarms():
    def fail() -> subprocess.Popen[bytes]:
        raise OSError("no process left")

    watch = Watch()
    watch.cluster = ClusterKeeper(start=fail)
    try:
        assert watch._tick()
    finally:
        watch.cluster.end()
        for lane in watch.lanes:
            lane.pool.shutdown()


def test_events_are_published_by_watch_alone():
    announce("order.paid", stream="N1", subject="N1", data={})
    watch = Watch(with_cluster=False)
    try:
        assert watch._tick()
    finally:
        watch._finish()
    assert BusinessEvent.objects.get().position == 1


def test_lock_connection_keeps_every_parameter_of_the_database_address(monkeypatch):
    given: dict[str, object] = {}

    def refuse(**params: object) -> None:
        given.update(params)
        raise psycopg.OperationalError

    monkeypatch.setattr(psycopg, "connect", refuse)
    of_this_database = {"sslmode": "verify-full", "connect_timeout": 7}
    for name, value in of_this_database.items():
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], name, value)
    with pytest.raises(psycopg.OperationalError):
        ClusterKeeper().tick()
    assert given.items() >= of_this_database.items()
    assert "lock_timeout" in str(given["options"])
