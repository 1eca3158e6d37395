"""The pages about one order: its story, how to pay it, asking the channel, giving it up.

Doors only: read the request, call one flow, show the answer in words. Looking (GET) changes nothing about an order;
whatever changes it is a POST and may be sent twice without harm.
"""

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from orders.access import SESSION_KEY, find_order, remember
from orders.errors import OrderNotFound
from orders.models import Order
from payments.applying import apply_for_payment
from payments.ending import cancel_order
from payments.errors import (
    AskedTooOften,
    ChannelUnavailable,
    NotOffered,
    OrderIsClosed,
    OrderIsPaid,
    PaymentConfirming,
)
from payments.querying import query_order_by_person
from payments.showing import OrderView, Situation, current_payment, view_order
from payments.statuses import PaymentStatus
from shop.checkout.choosing import CHOOSING, offer_methods
from shop.checkout.doors import Page, post_only
from shop.checkout.forms import MethodForm
from shop.checkout.returns import list_returns
from shop.checkout.story import tell_story
from shop.checkout.words import SCAN_THERE, tell, wallet_of
from shop.sessions import held_session

OrderPage = Callable[[HttpRequest, Order], HttpResponse]

# Without JavaScript a waiting page asks again this often.
REFRESH_S = 5
# Those in which the time left matters to the shopper.
COUNTING = CHOOSING | {Situation.STARTING, Situation.WAITING}


def with_order(page: OrderPage) -> Page:
    """Find the order for whoever may see it; a foreign one and a missing one give the same 404.

    A token in the address counts once: the session remembers the order, and the address is left without it.
    """

    @functools.wraps(page)
    def run(request: HttpRequest, number: str) -> HttpResponse:
        token = request.GET.get("token", "")
        is_staff = request.user.is_active and request.user.is_staff
        try:
            order = find_order(number, token=token, session=request.session, is_staff=is_staff)
        except OrderNotFound:
            return render(request, "404.html", status=404)
        if not token:
            return page(request, order)
        if number not in request.session.get(SESSION_KEY, []):
            with held_session(request) as session:
                remember(session, order)
        return redirect(request.path)

    return run


@with_order
def order(request: HttpRequest, order: Order) -> HttpResponse:
    """`GET /orders/<number>/`: the order's story with times, and what comes next."""
    view = view_order(order)
    about = _about(view)
    if view.situation is Situation.WAITING:
        about["line"] = SCAN_THERE
    return render(request, "order.html", about | {"story": tell_story(order, about["returns"])})


@with_order
def pay(request: HttpRequest, order: Order) -> HttpResponse:
    """`GET /orders/<number>/pay/`: how to pay, and how far it is. `POST` channel, scene: apply for payment."""
    return _apply(request, order) if request.method == "POST" else _show_pay(request, order)


@post_only("pay")
@with_order
def check(request: HttpRequest, order: Order) -> HttpResponse:
    """`POST /orders/<number>/check/`: "I have paid". Asks the channel now."""
    payment = current_payment(order)
    if payment is None:
        return redirect("pay", number=order.number)
    app = wallet_of(payment.channel).app
    try:
        query_order_by_person(order.number)
    except AskedTooOften:
        messages.info(
            request, _("We asked %(app)s a moment ago, and keep asking by ourselves.") % {"app": app}
        )
        return _back_to(order)
    payment.refresh_from_db()
    if payment.status != PaymentStatus.PAID:
        words = _("%(app)s does not report a payment yet. If you have just paid, that can take a moment.")
        messages.info(request, words % {"app": app})
    return _back_to(order)


@post_only("order")
@with_order
def cancel(request: HttpRequest, order: Order) -> HttpResponse:
    """`POST /orders/<number>/cancel/`: the shopper gives up."""
    try:
        cancel_order(order.number)
    except OrderIsPaid:
        messages.info(request, _("This order is paid, so it was not cancelled."))
    except PaymentConfirming:
        messages.info(
            request, _("Not cancelled yet: your payment may be on its way. Please try again in a moment.")
        )
    return redirect("order", number=order.number)


def _apply(request: HttpRequest, order: Order) -> HttpResponse:
    form = MethodForm(request.POST)
    if not form.is_valid():
        return _show_pay(request, order, problem=_not_offered(), status=400)
    wanted = form.cleaned_data
    try:
        apply_for_payment(
            order.number,
            channel=wanted["channel"],
            scene=wanted["scene"],
            may_supersede=wanted["supersede"],
            version=order.version,
        )
    except (OrderIsPaid, OrderIsClosed):
        return redirect("order", number=order.number)
    except NotOffered:
        return _show_pay(request, order, problem=_not_offered(), status=400)
    except PaymentConfirming as error:
        return _show_pay(request, order, held_up=error, status=409)
    except ChannelUnavailable as error:
        words = _(
            "%(title)s cannot take a payment at the moment. Nothing was charged. Please try again shortly."
        )
        problem = words % {"title": wallet_of(error.channel).title}
        return _show_pay(request, order, problem=problem, status=503)
    return redirect("pay", number=order.number)


def _show_pay(
    request: HttpRequest,
    order: Order,
    *,
    problem: str = "",
    held_up: PaymentConfirming | None = None,
    status: int = 200,
) -> HttpResponse:
    view = view_order(order)
    choice = offer_methods(request, view)
    context = _about(view) | {"choice": choice, "problem": problem, "lifetime_s": settings.ORDER_LIFETIME_S}
    context["line"] = choice.line or context["line"]
    if choice.is_open and not choice.methods:
        context["seconds_left"] = 0
    if held_up:
        context |= {"refresh_s": held_up.retry_after_s, "after_s": held_up.retry_after_s}
    response = render(request, "pay.html", context, status=status)
    if held_up:
        response.headers["Retry-After"] = str(held_up.retry_after_s)
    return response


def _about(view: OrderView) -> dict[str, Any]:
    """What order and pay page both show: the view, its words, and how soon to look again."""
    returns = list_returns(view)
    words = tell(view, returns)
    return {
        "view": view,
        "returns": returns,
        "order": view.order,
        "payment": view.payment,
        "lines": view.order.lines.select_related("product"),
        "words": words,
        "line": words.line,
        "wallet": wallet_of(view.payment.channel) if view.payment else None,
        "seconds_left": view.seconds_left if view.situation in COUNTING else 0,
        "refresh_s": 0 if view.situation in CHOOSING else min(words.look_again_s, REFRESH_S),
    }


def _back_to(order: Order) -> HttpResponse:
    """The page that shows how it stands now."""
    order.refresh_from_db()
    return redirect("order" if order.closed_at else "pay", number=order.number)


def _not_offered() -> str:
    return _("This way to pay is not offered for this order. Nothing has changed.")
