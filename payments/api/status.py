"""`orders/{number}/status`: how an order stands, now or as soon as it is another way."""

import time
from typing import cast

from asgiref.sync import SyncToAsync, sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import ValidationError

from orders.api import find_order_for
from orders.errors import OrderNotFound
from payments.cached import admit, read_state, recall_state, start_clock
from payments.querying import keep_asking
from payments.showing import OrderState
from shop.api import answer_problem
from shop.bell import Listening
from shop.credentials import shown_by_person, shown_key
from shop.keyring import BadKey
from shop.keys import MissingScope, digest, read_asker
from shop.middleware import BUSY, busy
from shop.numbers import is_number
from shop.problems import answer, offer_only_get
from shop.queries import read_query, whole
from shop.throttles import TooManyRequests, count_request

QUERY = {"since": whole(most=2**31), "wait": whole(most=30)}
# How often a waiting status call reads the database.
READ_EVERY_S = 2.0


@csrf_exempt  # it changes nothing, whatever the method
async def order_status(request: HttpRequest, number: str) -> HttpResponse:
    """`GET orders/{number}/status?since={version}&wait={s}`: at once, or as soon as the version differs from `since`.

    Outside DRF, because it waits without holding a database connection. Who asks here looks at the order, so the
    channel is asked about it every ten seconds meanwhile.
    """
    if request.method not in ("GET", "HEAD"):
        return offer_only_get()
    try:
        asked = read_query(request, **QUERY)
        state = await sync_to_async(_begin)(request, number)
        if asked.get("wait") and state.version == asked.get("since"):
            state = await _wait_for_news(request, state, asked["wait"])
    except (ValidationError, OrderNotFound, BadKey, MissingScope, TooManyRequests) as error:
        return cast("HttpResponse", answer_problem(error, {"request": request}))
    except BUSY:
        return answer(busy(request))
    return JsonResponse(state.as_json())


async def _wait_for_news(request: HttpRequest, state: OrderState, wait_s: int) -> OrderState:
    """The state as soon as its version is another one, or when the time is over."""
    give_up, since, read = time.monotonic() + wait_s, state.version, sync_to_async(read_now)
    async with Listening(state.number) as bell:
        state = await read(request, state.number)  # for what changed before anybody listened
        while state.version == since and (left_s := give_up - time.monotonic()) > 0:
            _let_thread_go()
            await bell.wait(min(READ_EVERY_S, left_s))
            state = await read(request, state.number)
    return state


def _let_thread_go() -> None:
    """A request that only waits needs no thread. asgiref keeps the one of its first statement until the request ends; the
    next statement gets another.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if (
        settings.DB_POOL and context is not None
    ):  # without the pool the thread has a connection, which is left to it
        executor = SyncToAsync.context_to_thread_executor.pop(context, None)
        if executor is not None:
            executor.shutdown(wait=False)


def _begin(request: HttpRequest, number: str) -> OrderState:
    """The first look of a request, which is counted; those that follow while it waits are not."""
    count_request(request)
    return recall_now(request, number)


def recall_now(request: HttpRequest, number: str) -> OrderState:
    """What was read a moment ago, for somebody who was let in a moment ago: no statement. Else as `read_now`."""
    shown = _shown_by(request)
    state = recall_state(number, shown) if shown and is_number(number) else None
    return state or read_now(request, number)


def read_now(request: HttpRequest, number: str) -> OrderState:
    """The state, for somebody who looks at it: its channel is asked meanwhile.

    Who asks is looked up anew each time, so that a key that was revoked meanwhile ends its wait. Raises OrderNotFound,
    BadKey, MissingScope.
    """
    try:
        since, asker = start_clock(), read_asker(request)
        order = find_order_for(asker, number)
        if keep_asking(order):
            order.refresh_from_db()
        state = read_state(order, since=since)
        if shown := _shown_by(request):
            admit(shown, state)
        return state
    finally:
        if settings.DB_POOL:
            connection.close()  # back to the pool while this call waits


def _shown_by(request: HttpRequest) -> str:
    """A digest of the token or the session by which the request wants to be let in.

    Empty when it shows neither; a key is never remembered, for it may be revoked at any moment.
    """
    if shown_key(request) is not None:
        return ""
    shown = shown_by_person(request)
    return digest(shown) if shown else ""
