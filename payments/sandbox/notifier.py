"""Sends what the ledger has to tell the merchant, on each channel's schedule, and lets refunds end in time.

All that must happen is a row with a due time, so a restart goes on where the last process stopped. One thread
looks for due rows, a small pool sends them; the merchant's answer decides whether the schedule goes on.
"""

import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.faults import Faults, NoticeFaults
from payments.sandbox.fields import is_loopback, split_url
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, Try
from payments.sandbox.side import Message, Side

_SENDERS = 8
_LOOK_S = 1.0
_REORDER_S = 10.0
_POLL_S = 0.01
_ANSWER_MAX = 64 * 1024

log = logging.getLogger("sandbox")


class Notifier:
    """`speed` divides the gaps between tries; only when `is_remote_allowed` do they leave this machine."""

    def __init__(
        self, sides: dict[str, Side], ledger: Ledger, faults: Faults, *, speed: float, is_remote_allowed: bool
    ) -> None:
        self.sides = sides
        self.ledger = ledger
        self.faults = faults
        self.speed = speed
        self.is_remote_allowed = is_remote_allowed
        self._wake = threading.Event()
        self._is_stopping = False
        self._lock = threading.Lock()
        self._looking = threading.Lock()  # between reading due rows and counting them as in flight
        self._in_flight: set[str] = set()
        self._decided: dict[str, NoticeFaults] = {}  # postponed tries, whose faults are drawn already
        self._held: set[str] = set()  # tries that wait until another notification has overtaken them
        self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="notify")
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin to look for due rows."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing new and wait for what is being sent."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def wake(self) -> None:
        """Look now: something may have become due."""
        self._wake.set()

    def end_all(self) -> None:
        """Try nothing more of what has been announced until now; returns when no try is under way."""
        self._end_rows()
        while self._is_sending():
            time.sleep(_POLL_S)
        self._end_rows()  # a try that was under way has planned its next one

    def _end_rows(self) -> None:
        with self._looking, self.ledger.transaction():
            self.ledger.end_all_notices()

    def _is_sending(self) -> bool:
        with self._lock:
            return bool(self._in_flight)

    def send_now(self, notice: Notice) -> list[Try]:
        """Send a notification because a person said so, outside its schedule, and return what came back."""
        drawn = self.faults.draw_notice(self._find_channel(notice), is_told=True)
        tries = self._send(notice, replace(drawn, delay_s=0, is_reordered=False))
        with self.ledger.transaction():
            self.ledger.record_tries(notice, tries)
            if any(made.is_acknowledged for made in tries):
                self.ledger.end_notice(notice)
        return tries

    # The loop

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            wait_s = _LOOK_S
            try:
                self._begin_due()
                wait_s = self._find_wait_s()
            except Exception:  # the loop must outlive any single row
                log.exception("the notifier stumbled")
            self._wake.wait(wait_s)

    def _begin_due(self) -> None:
        with self._looking:
            self._begin_rows()

    def _begin_rows(self) -> None:
        with self._lock:
            # Before the rows are read: a try that ends in between has moved its row on, and must not look due.
            busy = set(self._in_flight)
        with self.ledger.transaction():
            self.ledger.finish_refunds(now_us())
            due = self.ledger.list_due_notices(now_us())
        new = [notice for notice in due if notice.id not in busy]
        with self._lock:
            self._in_flight.update(notice.id for notice in new)
        for notice in new:
            self._pool.submit(self._try_notice, notice)

    def _find_wait_s(self) -> float:
        now = now_us()
        due_at = self.ledger.find_next_due(now)
        return _LOOK_S if due_at is None else min(_LOOK_S, (due_at - now) / SECOND_US)

    # One try

    def _try_notice(self, notice: Notice) -> None:
        try:
            drawn = self._decided.pop(notice.id, None)
            if drawn is None:
                drawn = self.faults.draw_notice(self._find_channel(notice))
                if drawn.delay_s or drawn.is_reordered:
                    self._postpone(notice, drawn)
                    return
            self._held.discard(notice.id)
            self._finish(notice, self._send(notice, drawn))
            self._release_held()
        except Exception:  # a bug in one notification must not stop the others
            log.exception("notification %s failed", notice.id)
            with self.ledger.transaction():
                self.ledger.postpone_notice(notice.id, now_us() + SECOND_US)
        finally:
            with self._lock:
                self._in_flight.discard(notice.id)
            self._wake.set()

    def _postpone(self, notice: Notice, drawn: NoticeFaults) -> None:
        self._decided[notice.id] = drawn
        if drawn.is_reordered:
            self._held.add(notice.id)
        delay_s = max(drawn.delay_s, _REORDER_S if drawn.is_reordered else 0)
        with self.ledger.transaction():
            self.ledger.postpone_notice(notice.id, now_us() + int(delay_s * SECOND_US))

    def _release_held(self) -> None:
        with self.ledger.transaction():
            for notice_id in list(self._held):
                self.ledger.postpone_notice(notice_id, now_us())

    def _finish(self, notice: Notice, tries: list[Try]) -> None:
        gaps_s = self.sides[self._find_channel(notice)].gaps_s
        due_at = None
        if not any(made.is_acknowledged for made in tries) and notice.tries < len(gaps_s):
            due_at = now_us() + int(gaps_s[notice.tries] / self.speed * SECOND_US)
        with self.ledger.transaction():
            self.ledger.record_tries(notice, tries)
            self.ledger.plan_notice(notice, due_at)

    def _send(self, notice: Notice, drawn: NoticeFaults) -> list[Try]:
        if drawn.is_dropped:
            return [Try(now_us(), None, "dropped by a fault, never sent", is_acknowledged=False)]
        side = self.sides[self._find_channel(notice)]
        message = self._compose(side, notice, drawn)
        if drawn.copies == 1:
            return [self._post(side, message, drawn)]
        with ThreadPoolExecutor(drawn.copies) as senders:  # all at once, as a channel's two machines would
            return list(senders.map(lambda _: self._post(side, message, drawn), range(drawn.copies)))

    def _compose(self, side: Side, notice: Notice, drawn: NoticeFaults) -> Message:
        trade = self.ledger.get_trade(notice.trade_id)
        refund = None if notice.refund_id is None else self.ledger.get_refund(notice.refund_id)
        document = side.describe_notice(trade, refund, notice.event)
        if drawn.lie is not None:
            document = side.bend(document, drawn.lie)
        garbage = b"<<<\xff\xfe{]" if drawn.is_garbage else None
        message = side.compose(notice, refund, garbage or document, is_forged=drawn.is_forged)
        return replace(message, body=_tamper(message.body)) if drawn.is_tampered else message

    def _post(self, side: Side, message: Message, drawn: NoticeFaults) -> Try:
        at = now_us()
        begun = time.monotonic()
        try:
            status, body = self._exchange(message, side.answer_limit_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            log.info("notify %s %s", message.url, type(error).__name__)
            return Try(at, None, f"{type(error).__name__}: {error}", is_acknowledged=False)
        log.info("notify %s %d %.0f ms", message.url, status, (time.monotonic() - begun) * 1000)
        if drawn.is_answer_lost:
            return Try(at, None, f"answer {status} lost by a fault", is_acknowledged=False)
        return Try(at, status, None, side.is_acknowledged(status, body))

    def _exchange(self, message: Message, limit_s: float) -> tuple[int, bytes]:
        """Send by POST and read the answer, all within `limit_s`; redirects are not followed."""
        connection, path = self._connect(message.url, limit_s)
        # A socket's limit is for each read, ours for the whole exchange: a timer ends a merchant who drips.
        connection.connect()
        timer = threading.Timer(limit_s, _cut, [connection.sock])
        timer.start()
        try:
            connection.request("POST", path, message.body, message.headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_ANSWER_MAX)
        finally:
            timer.cancel()
            connection.close()

    def _connect(self, address: str, limit_s: float) -> tuple[http.client.HTTPConnection, str]:
        url = split_url(address)
        if url is None or url.hostname is None:
            raise ValueError(f"{address} is no address")
        if not self.is_remote_allowed and not is_loopback(url.hostname):
            raise ValueError(f"not sent: {url.hostname} is not this machine (see --allow-remote)")
        if url.scheme == "http":
            return http.client.HTTPConnection(url.hostname, url.port, timeout=limit_s), url.path or "/"
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            url.hostname, url.port, timeout=limit_s, context=context
        ), url.path or "/"

    def _find_channel(self, notice: Notice) -> str:
        return self.ledger.get_trade(notice.trade_id).channel


def _tamper(body: bytes) -> bytes:
    """The body with one bit of its middle byte turned over."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended by itself meanwhile
        connection.shutdown(socket.SHUT_RDWR)
