"""Watch: the guarantee. A plain loop and a thread pool that claim due alarms twice a second, for ever.

Any number of copies may run, on any number of machines. One of them, the holder of a session lock in PostgreSQL, owns
the installation's task cluster and starts it again when it is silent: messages are only speed, so no promise about
money rests on a cluster that looks alive.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django_q.models import Schedule
from django_q.tasks import async_task

from shop import beats, processes
from shop.alarms import Claim, claim_due, claim_next, claim_webhook, handle
from shop.webhooks.publishing import publish_if_any

log = structlog.get_logger("nodrop.watch")

TICK_S = 0.5
THREADS = 8
# Webhooks have threads of their own: a receiver that hangs holds up no alarm about money.
WEBHOOK_THREADS = 4
# One endpoint has no more of them at once, so that a slow one leaves some to the others.
THREADS_OF_CROWD = 2
# So long a thread goes on with what is due for the same endpoint, before another's turn comes.
CROWD_S = 5.0
BEAT_EVERY_S = 5.0
# After an error of the database the loop waits this long before it looks again.
PAUSE_S = 1.0
# Work in flight may finish after a stop signal; the wire's own deadline is 8 s.
FINISH_WITHIN_S = 9.0


class Watch:
    """One copy of the loop. `stop` may be set from a signal handler."""

    def __init__(self, *, with_cluster: bool = True) -> None:
        self.name = f"watch {socket.gethostname()} {os.getpid()}"
        self.stop = threading.Event()
        self.lanes = (Lane(THREADS), WebhookLane(WEBHOOK_THREADS))
        self.next_beat = 0.0
        self.cluster = ClusterKeeper() if with_cluster else None

    def run(self) -> None:
        """Loop until `stop` is set, then let what is in flight finish."""
        log.info("watch started", name=self.name)
        try:
            while not self.stop.is_set():
                began = time.monotonic()
                pause_s = TICK_S if self._tick() else PAUSE_S
                self.stop.wait(max(0.0, pause_s - (time.monotonic() - began)))
        finally:
            if self.cluster:
                self.cluster.end()
            self._finish()
        log.info("watch stopped", name=self.name)

    def _tick(self) -> bool:
        """One look; False when the database did not answer."""
        try:
            for lane in self.lanes:
                while lane.claim():
                    pass
            if time.monotonic() >= self.next_beat:
                beats.beat(self.name)
                self.next_beat = time.monotonic() + BEAT_EVERY_S
            self._keep_cluster()
            publish_if_any()  # last: no alarm waits for it
        except (DatabaseError, InterfaceError, psycopg.Error) as error:
            # PostgreSQL is away or restarting: alarms are rows and are due when it is back.
            log.warning("database does not answer", error=type(error).__name__)
            connection.close()
            return False
        return True

    def _keep_cluster(self) -> None:
        """The cluster is only speed: whatever is wrong with it must not stop the alarms."""
        if self.cluster is None:
            return
        try:
            self.cluster.tick()
        except OSError as error:
            log.warning("cluster could not be started", error=str(error))

    def _finish(self) -> None:
        give_up = time.monotonic() + FINISH_WITHIN_S
        for lane in self.lanes:
            lane.pool.shutdown(wait=False, cancel_futures=True)
        for lane in self.lanes:
            lane.wait_until(give_up)


# ---- lanes -------------------------------------------------------------------------------------------------------


class Lane:
    """Threads that handle alarms about money. No more is claimed than they can begin at once."""

    def __init__(self, threads: int) -> None:
        self.threads = self.at_once = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="alarm")
        self.free = threading.Semaphore(threads)

    def claim(self) -> bool:
        """Claim no more than can be handled now; True when there may be more of both."""
        free = 0
        while free < self.at_once and self.free.acquire(blocking=False):
            free += 1
        claims: list[Claim] = []
        try:
            claims = self.claim_up_to(free) if free else []
            for claim in claims:
                self.pool.submit(self.work, claim).add_done_callback(lambda _: self.free.release())
        finally:
            for _ in range(free - len(claims)):
                self.free.release()
        return bool(claims) and len(claims) == free

    def claim_up_to(self, limit: int) -> list[Claim]:
        return claim_due(limit, with_long=True)

    def work(self, claim: Claim) -> None:
        close_old_connections()
        try:
            handle(claim)
        finally:
            close_old_connections()

    def wait_until(self, give_up: float) -> None:
        """Until every thread is free, or that moment of `time.monotonic` has come."""
        for _ in range(self.threads):
            self.free.acquire(timeout=max(0.0, give_up - time.monotonic()))


class WebhookLane(Lane):
    """Threads that call other systems: at most two at one of them, each going on with its alarms for some seconds."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.at_once = 1  # whose turn it is depends on the one before
        self.at_work: Counter[str] = Counter()
        self.counting = threading.Lock()

    def claim_up_to(self, limit: int) -> list[Claim]:
        claim = claim_webhook(busy=self._list_busy())
        if claim is None:
            return []
        self._count(claim, 1)
        return [claim]

    def work(self, claim: Claim) -> None:
        give_up = time.monotonic() + CROWD_S
        following: Claim | None = claim
        try:
            while following:
                super().work(following)
                following = claim_next(claim) if time.monotonic() < give_up else None
        finally:
            self._count(claim, -1)
            close_old_connections()

    def _list_busy(self) -> list[str]:
        with self.counting:
            return [crowd for crowd, count in self.at_work.items() if count >= THREADS_OF_CROWD]

    def _count(self, claim: Claim, by: int) -> None:
        with self.counting:
            self.at_work[claim.crowd] += by
            self.at_work += Counter()  # forgets who has none


# ---- the cluster -------------------------------------------------------------------------------------------------

# Any number will do, as long as nothing else of the installation uses it.
CLUSTER_LOCK = 0x6E6F64726F70
CANARY_EVERY_S = 2.0
# A cluster that has run no canary for so long is wedged, whatever its processes look like.
SILENT_LIMIT_S = 8.0
START_LIMIT_S = 20.0
STOP_GRACE_S = 5.0


class ClusterKeeper:
    """Owns the task cluster while it holds the lock: starts it, listens to it, ends it."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]] | None = None) -> None:
        self.lock: psycopg.Connection | None = None
        self.cluster: subprocess.Popen[bytes] | None = None
        self.start = start or start_cluster
        self.started_at = self.next_canary = 0.0

    def tick(self) -> None:
        """Keep the lock, keep the cluster. Raises psycopg.Error or DatabaseError when the database is away."""
        if not self._holds_lock():
            return
        if self.cluster is None:
            self._begin()
        elif self.cluster.poll() is not None:
            self._restart("it exited", status=self.cluster.returncode)
        elif self._is_silent():
            self._restart("it runs no tasks")
        if time.monotonic() >= self.next_canary:
            self.next_canary = time.monotonic() + CANARY_EVERY_S
            async_task(beats.CANARY)

    def end(self, *, grace_s: float = STOP_GRACE_S) -> None:
        """End the cluster and let another copy of watch have the lock."""
        if self.cluster:
            processes.end_group(self.cluster, grace_s=grace_s)
            self.cluster = None
        if self.lock:
            self.lock.close()
            self.lock = None

    def _holds_lock(self) -> bool:
        """A session lock, on a connection of its own: it ends with the session, whatever kills it."""
        try:
            if self.lock is None:
                self.lock = psycopg.connect(**connection.get_connection_params(), autocommit=True)
                if not self.lock.execute("select pg_try_advisory_lock(%s)", [CLUSTER_LOCK]).fetchone()[0]:  # type: ignore[index]
                    self.lock.close()
                    self.lock = None
            else:
                self.lock.execute("select 1")
        except psycopg.Error:
            # The lock may be another's by now. A killed cluster loses nothing, waiting would hold up the alarms.
            self.end(grace_s=0)
            raise
        return self.lock is not None

    def _begin(self) -> None:
        keep_schedules()
        beats.forget_old()
        self.cluster = self.start()
        self.started_at = time.monotonic()
        log.info("cluster started", pid=self.cluster.pid)

    def _restart(self, why: str, **more: object) -> None:
        log.warning("cluster is started again", why=why, **more)
        if self.cluster:
            processes.end_group(self.cluster, grace_s=0)
        self._begin()

    def _is_silent(self) -> bool:
        up_s = time.monotonic() - self.started_at
        if up_s < SILENT_LIMIT_S:
            return False
        silence = beats.silent_for(beats.CLUSTER)
        silent_s = silence.total_seconds() if silence else up_s
        # The last beat of the former cluster says nothing about this one, which may need a while to start.
        return silent_s > SILENT_LIMIT_S and not (silent_s >= up_s and up_s < START_LIMIT_S)


def start_cluster() -> subprocess.Popen[bytes]:
    """Start django-q2's cluster in a process group of its own that ends with this process."""
    return processes.start_group([sys.executable, str(settings.BASE_DIR / "manage.py"), "cluster"])


def keep_schedules() -> None:
    """Make django-q2's schedules what the settings say. By code only: one malformed row would stop all of them."""
    for name, (function, minutes) in settings.SCHEDULES.items():
        wanted = {"func": function, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        if not Schedule.objects.filter(name=name, **wanted).exists():
            Schedule.objects.update_or_create(name=name, defaults=wanted)
    Schedule.objects.exclude(name__in=settings.SCHEDULES).delete()
