"""Seams: every point at which the world can change while our code runs, and what can befall it there.

Installed in a forked child only; no line of the product knows of them. A point is reached by doing something (a commit,
a statement outside a transaction, a channel call, a Redis command, a mail, an answer), so a new commit is a new point by itself.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType
from typing import Any, NoReturn

import psycopg
import redis
import requests
from django.core.handlers.base import BaseHandler
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.signals import connection_created

from payments.channels import wire
from payments.channels.timed import TimedAdapter, call

OURS = ("shop", "orders", "payments")
# Rooms that every caller passes through: the one to name is whoever called them.
THOROUGHFARES = (
    "payments.channels.",
    "shop.middleware",
    "shop.logs",
    "shop.hints",
    "shop.idempotency",
    "shop.writes",
)
READING = ("SELECT", "DECLARE", "FETCH", "CLOSE", "SHOW", "SET", "RESET", "EXPLAIN")


class Deed(StrEnum):
    """What befalls the process at a point."""

    KILL = "kill"  # crash, out of memory, power
    PAUSE = "pause"  # garbage collection, a frozen machine: a rival runs to its end meanwhile
    LOSE = "lose"  # it was done, but the reply is lost with the connection
    RAISE = "raise"  # the other side is gone before it was done; or a bug of ours


DEEDS_AT = {
    "decided": (
        Deed.PAUSE,
    ),  # inside a transaction, what was read is about to be acted upon: without a lock it is stale
    "before": (Deed.KILL, Deed.PAUSE, Deed.RAISE),  # nothing has happened yet
    "done": (Deed.KILL, Deed.PAUSE, Deed.LOSE),  # it has happened, and we do not know yet
    "known": (Deed.KILL, Deed.PAUSE, Deed.RAISE),  # we have read the answer, but not acted upon it
    "out": (Deed.KILL,),  # our own answer has left: nothing can be taken back any more
}


class Interrupted(Exception):
    """A bug, or a time limit, at a point where nobody else can fail."""


@dataclass(frozen=True, slots=True)
class Point:
    """`label` names our code, what it did, which moment of it, and the how manieth of these."""

    number: int
    label: str
    moment: str


class Road:
    """The points of one run, in order. At number `stop_at` `deed` is done; None only records."""

    def __init__(
        self, tell: Callable[..., None], stop_at: int | None = None, deed: Deed | None = None
    ) -> None:
        self.tell, self.stop_at, self.deed = tell, stop_at, deed
        self._seen: Counter[str] = Counter()

    def reach(self, kind: str, moment: str, break_off: Callable[[], None], where: str = "") -> None:
        """We are at a point; `break_off` raises what our code meets when the other side is gone."""
        name = f"{where or _our_code()} {kind} {moment}"
        self._seen[name] += 1
        number = self._seen.total() - 1
        self.tell("point", number, f"{name} #{self._seen[name]}", moment)
        if number != self.stop_at:
            return
        self.tell("reached")
        if self.deed is Deed.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.deed is Deed.PAUSE:
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            break_off()


def install(road: Road) -> None:
    """Let this process meet `road` at every commit, lone statement, channel call, Redis command, mail and answer."""
    _watch_commits(road)
    _watch_statements(road)
    _watch_calls(road)
    _watch_redis(road)
    _watch_mails(road)
    _watch_answers(road)


# ---- the six seams ----------------------------------------------------------------------------------------------


def _watch_commits(road: Road) -> None:
    wrapper: Any = DatabaseWrapper

    def commit(database: DatabaseWrapper, *, real: Any = wrapper._commit) -> None:
        road.reach("commit", "before", lambda: _drop(database))
        real(database)
        road.reach("commit", "done", lambda: _drop(database))

    _replace(DatabaseWrapper, "_commit", commit)


def _watch_statements(road: Road) -> None:
    """Outside a transaction every writing statement is its own commit; inside, one after a read follows a decision."""
    has_read = False

    def execute(real: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal has_read
        database = context["connection"]
        if sql.lstrip().upper().startswith(READING):
            has_read = database.in_atomic_block
            return real(sql, params, many, context)
        if database.in_atomic_block:
            if has_read:
                road.reach("write", "decided", _interrupt)
            has_read = False
            return real(sql, params, many, context)
        road.reach("write", "before", lambda: _drop(database))
        result = real(sql, params, many, context)
        road.reach("write", "done", lambda: _drop(database))
        return result

    def watch(connection: DatabaseWrapper, **_: Any) -> None:
        if execute not in connection.execute_wrappers:
            connection.execute_wrappers.append(execute)

    connection_created.connect(watch, weak=False)


def _watch_calls(road: Road) -> None:
    def send(adapter: TimedAdapter, *args: Any, real: Any = TimedAdapter.send, **options: Any) -> Any:
        road.reach("call", "before", _refuse)
        response = real(adapter, *args, **options)
        road.reach("call", "done", _reset)  # the channel has acted, and its answer is on the way
        return response

    def take(*args: Any, real: Any = wire._take) -> Any:
        reply = real(*args)
        road.reach("call", "known", _interrupt)
        return reply

    _replace(TimedAdapter, "send", send)
    _replace(wire, "_take", take)


def _watch_redis(road: Road) -> None:
    def watched(real: Any) -> Any:
        def command(client: Any, *args: Any, **options: Any) -> Any:
            road.reach("redis", "before", _lose_redis)
            result = real(client, *args, **options)
            road.reach("redis", "done", _lose_redis)
            return result

        return command

    _replace(redis.Redis, "execute_command", watched(redis.Redis.execute_command))
    _replace(redis.client.Pipeline, "execute", watched(redis.client.Pipeline.execute))


def _watch_mails(road: Road) -> None:
    def send(mail: EmailMessage, *args: Any, real: Any = EmailMessage.send, **options: Any) -> Any:
        road.reach("mail", "before", _interrupt)
        sent = real(mail, *args, **options)
        road.reach("mail", "done", _interrupt)
        return sent

    _replace(EmailMessage, "send", send)


def _watch_answers(road: Road) -> None:
    def answer(handler: BaseHandler, request: Any, *, real: Any = BaseHandler.get_response) -> Any:
        response = real(handler, request)
        where = f"{request.method} {request.resolver_match.route if request.resolver_match else request.path}"
        road.reach("answer", "known", _interrupt, where)
        road.tell("answered", response.status_code)
        road.reach("answer", "out", _interrupt, where)
        return response

    _replace(BaseHandler, "get_response", answer)


# ---- what our code meets when the other side is gone -------------------------------------------------------------


def _drop(database: DatabaseWrapper) -> NoReturn:
    database.connection.close()
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    raise OperationalError(str(lost)) from lost


def _refuse() -> NoReturn:
    raise requests.ConnectionError("connection refused")


def _reset() -> NoReturn:
    call.sent = True
    raise requests.ConnectionError("connection reset by peer")


def _lose_redis() -> NoReturn:
    raise redis.ConnectionError("connection closed by server")


def _interrupt() -> NoReturn:
    raise Interrupted


# ---- where we are ------------------------------------------------------------------------------------------------


def _our_code() -> str:
    """module:function of the innermost code of ours that is at work, as a reader would name it."""
    passed = "outside"
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == "shop.transactions":  # the decorator of a function that has ended and is being committed
            flow = frame.f_locals["flow"]
            return f"{flow.__module__}:{flow.__qualname__}"
        if module.partition(".")[0] in OURS:
            name = f"{module}:{frame.f_code.co_qualname}"
            if not module.startswith(THOROUGHFARES):
                return name
            passed = name
        frame = frame.f_back
    return passed


def _replace(owner: Any, name: str, seam: Any) -> None:
    setattr(owner, name, seam)
