"""The ways to pay on the pay page, and what becomes of one that an earlier payment has held up.

It decides what is offered and said; what may be done, `payments.applying` decides when it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from payments.channels.registry import offered_channels
from payments.showing import OrderView, Situation
from shop.checkout.words import (
    NO_METHOD,
    PREVIOUS_CLOSED,
    PREVIOUS_FIRST,
    PREVIOUS_OPEN,
    Text,
    Wallet,
    wallet_of,
)
from shop.clock import read_now

# The situations in which the shopper chooses how to pay.
CHOOSING = frozenset({Situation.TO_PAY, Situation.REFUSED})
# Those in which another payment has to wait for the word about the present one.
UNDECIDED = frozenset({Situation.WAITING, Situation.CONFIRMING})
# How our channels are paid on a page; other scenes come with other devices.
SCENE = "qr"


@dataclass(frozen=True, slots=True)
class Method:
    """One way to pay."""

    channel: str
    scene: str
    wallet: Wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`methods`: the ways to pay. `wanted`: the one among them, and then the first, that an earlier payment held up.

    `is_open`: the shopper is to choose now. `goes_on`: asking for the wanted one again may go well now, and the page does
    so by itself. `page`: where it looks for news meanwhile, "" for its own address. `line`: what to say in place of the
    usual words, "" for those.
    """

    methods: Sequence[Method]
    wanted: Method | None
    is_open: bool
    goes_on: bool
    has_another: bool
    page: str
    line: Text


def offer_methods(request: HttpRequest, view: OrderView) -> Choice:
    """The choice for this order. What is wanted is named by the form that was sent, and then by the address."""
    methods = [
        Method(channel.name, SCENE, wallet_of(channel.name))
        for channel in offered_channels(view.order.currency)
        if SCENE in channel.scenes()
    ]
    asked = request.POST or request.GET
    kind = asked.get("channel"), asked.get("scene")
    wanted = next((method for method in methods if (method.channel, method.scene) == kind), None)
    goes_on = wanted is not None and _may_go_on(view)
    may_change = view.situation is Situation.WAITING and ("choose" in request.GET or goes_on)
    is_open = view.situation in CHOOSING or view.may_supersede or may_change
    present = view.payment.channel if view.payment else ""
    return Choice(
        methods=sorted(methods, key=lambda method: method is not wanted),
        wanted=wanted,
        is_open=is_open,
        goes_on=goes_on,
        has_another=any(method.channel != present for method in methods),
        page=_page(view, wanted) if wanted else "",
        line=_line(view, wanted, methods) if is_open or wanted else "",
    )


def _may_go_on(view: OrderView) -> bool:
    payment = view.payment
    if view.situation is Situation.WAITING and payment:  # the channel was heard again: now it may close
        return payment.close_unanswered_since is not None and not view.may_supersede
    if view.situation is Situation.STARTING and payment:  # not for ever: a try may hold a worker for seconds
        now = read_now()
        return (
            payment.lease_until <= now < payment.created_at + timedelta(seconds=settings.CONFIRMING_LIMIT_S)
        )
    return view.situation in CHOOSING


def _page(view: OrderView, wanted: Method) -> str:
    path = reverse("pay", kwargs={"number": view.order.number})
    return f"{path}?{urlencode({'channel': wanted.channel, 'scene': wanted.scene})}"


def _line(view: OrderView, wanted: Method | None, methods: Sequence[Method]) -> Text:
    if not methods:
        return NO_METHOD % {"currency": view.order.currency}
    was_held_up = view.payment is not None and view.payment.close_unanswered_since is not None
    if wanted is None or not was_held_up or view.may_supersede:
        return ""
    if view.situation is Situation.TO_PAY:
        return PREVIOUS_CLOSED % {"title": wanted.wallet.title}
    if view.situation is Situation.WAITING:
        return PREVIOUS_OPEN % {"title": wanted.wallet.title}
    return PREVIOUS_FIRST if view.situation in UNDECIDED else ""
