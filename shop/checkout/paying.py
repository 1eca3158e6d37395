"""The pages about one order: its story, how to pay it, asking the channel, giving it up.

Doors only: read the request, call one flow, show the answer in words. Looking (GET) changes nothing about an order;
whatever changes it is a POST of its shopper and may be sent twice without harm. Only coming back from a channel's page is
a GET that asks that channel, as everybody may who sees the order.
"""

from contextlib import suppress
from dataclasses import replace
from math import ceil
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from orders.access import is_link_alive, is_shopper, link_ends_at, link_to, token_of
from orders.models import Order
from payments.applying import apply_for_payment
from payments.cases import has_open_mismatch
from payments.channels.base import BadPayer, Outcome
from payments.channels.offers import Device
from payments.channels.registry import payer_at
from payments.ending import cancel_order
from payments.errors import (
    AskedTooOften,
    ChannelUnavailable,
    NotOffered,
    OrderIsClosed,
    OrderIsPaid,
    PaymentConfirming,
)
from payments.models import Payment
from payments.querying import query_order_by_person
from payments.showing import OrderView, Situation, view_order
from payments.statuses import PaymentStatus
from shop.checkout.choosing import CHOOSING, Choice, device_of, find_method, offer_methods
from shop.checkout.doors import post_only, with_order
from shop.checkout.forms import MethodForm, PayerForm
from shop.checkout.held import find_earlier, list_held, warn_of_held
from shop.checkout.returns import list_given_back, list_returns
from shop.checkout.story import tell_story
from shop.checkout.wallets import Text, list_apps, wallet_of
from shop.checkout.words import tell, tell_order, tell_undecided, tell_unreported
from shop.middleware import policy_with_form
from shop.models import Event
from shop.sentences import together
from shop.visitors import read_address

# Without JavaScript a waiting page asks again this often; less often where something is unfolded or copied, or takes days.
REFRESH_S = 5
CALM_REFRESH_S = {"redirect": 30, "form": 30, "voucher": 0}
# In the address of a page that is not to look for news by itself, where no script could: some read slowly.
STILL = "still"
# Those in which the time left matters to the shopper.
COUNTING = CHOOSING | {Situation.STARTING, Situation.WAITING}


@csrf_exempt  # it reads nothing of the form and changes nothing
def order(request: HttpRequest, number: str) -> HttpResponse:
    """`GET /orders/<number>/`: the order's story with times, and what comes next. With parameters: back from a channel.

    `POST`: back from UnionPay, whose page sends its shoppers by a form. The session's cookie does not come with a POST from
    elsewhere, but with the GET that follows.
    """
    if request.method == "POST":
        return redirect(f"{request.path}?returned")
    return _look_at(request, number=number)


@with_order
def _look_at(request: HttpRequest, order: Order) -> HttpResponse:
    if request.GET.keys() - {STILL}:
        return _come_back(order)
    view = view_order(order)
    about = _about(request, view)
    about["line"] = tell_order(view, about["words"])
    about |= {
        "link": link_to(order),
        "link_ends_at": link_ends_at(order),
        "is_link_alive": is_link_alive(order),
    }
    events, returns = list(Event.objects.filter(order_number=order.number)), about["returns"]
    about["story"] = tell_story(order, events, returns)
    about["given_back"] = [*returns, *list_given_back(events, returns)]
    return render(request, "order.html", about)


def _come_back(order: Order) -> HttpResponse:
    """The address of a return proves nothing: the channel is asked, and the page that fits its answer shows it."""
    with suppress(AskedTooOften):
        query_order_by_person(order.number)
    order.refresh_from_db()
    return redirect("pay" if view_order(order).situation in COUNTING else "order", number=order.number)


@with_order
def pay(request: HttpRequest, order: Order) -> HttpResponse:
    """`GET /orders/<number>/pay/`: how to pay, and how far it is. `POST` channel, scene: apply for payment."""
    return _apply(request, order) if request.method == "POST" else _show_pay(request, order)


@csrf_exempt  # asking harms nobody, and who has lost the session is shown the way back to the order
@post_only("pay")
@with_order
def check(request: HttpRequest, order: Order) -> HttpResponse:
    """`POST /orders/<number>/check/`: "I have paid". Asks the channel now.

    A page that stays, and so accepts JSON, gets the words only: `{words}`, with 429 when it was too early to ask.
    """
    words, status = _ask_now(order)
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse({"words": words}, status=status)
    if words:
        messages.info(request, words)
    order.refresh_from_db()
    return _go_to(request, "order" if order.closed_at else "pay", order)


def _ask_now(order: Order) -> tuple[str, int]:
    """What there is to say about it, if the next page does not say it all; and the status of the answer."""
    asked = list(Payment.objects.filter(order=order).exclude(status=PaymentStatus.PAID))
    try:
        outcomes = query_order_by_person(order.number)
    except AskedTooOften:
        words = _("We asked %(apps)s a moment ago, and keep asking by ourselves.")
        return words % {"apps": list_apps(asked)}, 429
    paid = Payment.objects.filter(pk__in=[each.pk for each in asked], status=PaymentStatus.PAID)
    if Outcome.SUCCEEDED in outcomes.values() or paid.exists() or has_open_mismatch(order):
        return "", 200
    said = [(each, outcomes[each.number]) for each in asked if each.number in outcomes]
    undecided = [each for each, outcome in said if outcome is Outcome.UNKNOWN]
    unpaid = [each for each, outcome in said if outcome not in (Outcome.UNKNOWN, Outcome.REFUSED)]
    told = tell_unreported(unpaid) if unpaid else "", tell_undecided(undecided) if undecided else ""
    return str(together(*told)), 200


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
    return _go_to(request, "order", order)


def _apply(request: HttpRequest, order: Order) -> HttpResponse:
    form = MethodForm(request.POST)
    wanted: dict[str, Any] = form.cleaned_data if form.is_valid() else {}
    method = find_method(request, order, channel=wanted.get("channel", ""), scene=wanted.get("scene", ""))
    if method is None:
        return _show_pay(request, order, problem=_not_offered(), status=400)
    payer = PayerForm(method.payer_fields, request.POST)
    if not payer.is_valid():
        return _show_pay(request, order, payer=payer, status=400)
    try:
        apply_for_payment(
            order.number,
            channel=method.channel,
            scene=method.scene,
            payer=payer_at(method.channel, method.scene, read_address(request)) | payer.payer,
            may_supersede=wanted["supersede"],
            version=order.version,
        )
    except (OrderIsPaid, OrderIsClosed):
        return redirect("order", number=order.number)
    except NotOffered:
        return _show_pay(request, order, problem=_not_offered(), status=400)
    except BadPayer as error:
        problem = "" if payer.blame(error) else str(error)
        return _show_pay(request, order, payer=payer, problem=problem, status=400)
    except PaymentConfirming as error:
        return _show_pay(request, order, payer=payer, held_up=error, status=409)
    except ChannelUnavailable as error:
        words = _(
            "%(title)s cannot take a payment at the moment. Nothing was charged. Please try again shortly."
        )
        problem = words % {"title": wallet_of(error.channel).title}
        return _show_pay(request, order, payer=payer, problem=problem, status=503)
    return redirect("pay", number=order.number)


def _show_pay(
    request: HttpRequest,
    order: Order,
    *,
    payer: PayerForm | None = None,
    problem: str = "",
    held_up: PaymentConfirming | None = None,
    status: int = 200,
) -> HttpResponse:
    view = view_order(order)
    choice = offer_methods(request, view)
    if not is_shopper(order, session=request.session):  # staff see how far it is, and choose nothing
        choice = replace(choice, is_open=False, asks_payer=False, goes_on=False)
    action = {} if choice.is_open else _open_action(view)
    leads_to = action["url"] if action.get("type") == "form" else ""
    context = _about(request, view, is_choosing=choice.is_open) | {
        "choice": choice,
        "problem": problem,
        "lifetime_s": _lifetime_s(view),
    }
    context |= {"action": action, "leads_to": leads_to} | _ways_out(request, order)
    context["line"] = _line(view, choice, context["line"])
    context["refresh_s"] = CALM_REFRESH_S.get(action.get("type", ""), context["refresh_s"])
    if action.get("type") == "voucher" or (choice.is_open and not choice.methods):
        context["seconds_left"] = 0
    if held_up:
        context |= {"refresh_s": held_up.retry_after_s, "after_s": held_up.retry_after_s}
    if choice.asks_payer and choice.wanted:  # a refresh would empty its fields
        context |= {"refresh_s": 0, "payer": payer or PayerForm(choice.wanted.payer_fields)}
    response = render(request, "pay.html", context, status=status)
    if held_up:
        response.headers["Retry-After"] = str(held_up.retry_after_s)
    if leads_to:
        response.headers["Content-Security-Policy"] = policy_with_form(leads_to)
    return response


def _line(view: OrderView, choice: Choice, usual: Text) -> Text:
    """The status line: the situation's, another one for the choice, and that there is none here."""
    has_none = view.may_supersede and not (choice.codes or choice.elsewhere)
    if choice.lack and (view.situation is Situation.TO_PAY or has_none):
        return choice.lack  # the usual words tell to choose
    return together(choice.line or usual, choice.lack)


def _open_action(view: OrderView) -> dict[str, Any]:
    """What the shopper can pay by now, in the contract's shapes; empty when there is nothing."""
    if view.situation is not Situation.WAITING or view.payment is None:
        return {}
    return dict(view.payment.action or {})


def _lifetime_s(view: OrderView) -> int:
    """How long there was to pay in all, in seconds, of which `seconds_left` are left."""
    of_payment = view.payment is not None and view.payment.is_live
    began = view.payment if view.payment and of_payment else view.order
    return max(1, ceil((began.expires_at - began.created_at).total_seconds()))


def _ways_out(request: HttpRequest, order: Order) -> dict[str, Any]:
    """How a wallet is opened from here; and the page's address for another browser, which our session does not know."""
    path = reverse("pay", kwargs={"number": order.number})
    return {
        "on_pc": device_of(request) is Device.PC,
        "link": f"{settings.PUBLIC_URL}{path}?token={token_of(order)}",
        "is_link_alive": is_link_alive(order),
    }


def _about(request: HttpRequest, view: OrderView, *, is_choosing: bool = False) -> dict[str, Any]:
    """What order and pay page both show: the view, its words, who looks, and how soon to look again."""
    returns = list_returns(view)
    words = tell(view, returns)
    lines = list(view.order.lines.select_related("product"))
    held = list_held(view)
    return {
        "view": view,
        "is_shopper": is_shopper(view.order, session=request.session),
        "returns": returns,
        "order": view.order,
        "payment": view.payment,
        "lines": lines,
        "pieces": sum(line.quantity for line in lines),
        "words": words,
        "line": words.line,
        "held": warn_of_held(view, held, is_choosing=is_choosing),
        "has_earlier": bool(find_earlier(view, held)),
        "wallet": wallet_of(view.payment.channel) if view.payment else None,
        "pay_by": view.payment.expires_at if view.payment and view.payment.is_live else view.order.expires_at,
        "seconds_left": view.seconds_left if view.situation in COUNTING else 0,
        "is_still": STILL in request.GET,
        "looking": _address(request, is_still=False),
        "resting": _address(request, is_still=True),
        "refresh_s": 0 if view.situation in CHOOSING else min(words.look_again_s, REFRESH_S),
    }


def _go_to(request: HttpRequest, page: str, order: Order) -> HttpResponse:
    """To a page of the order; whoever has stopped its refreshing finds it stopped."""
    address = reverse(page, kwargs={"number": order.number})
    return redirect(f"{address}?{STILL}" if STILL in request.GET else address)


def _address(request: HttpRequest, *, is_still: bool) -> str:
    """This page's, with its refreshing stopped or not."""
    names = [name for name in request.GET if name != STILL] + [STILL] * is_still
    said = [f"{name}={quote(value)}" if (value := request.GET.get(name)) else quote(name) for name in names]
    return f"{request.path}?{'&'.join(said)}" if said else request.path


def _not_offered() -> str:
    return _("This way to pay is not offered for this order. Nothing has changed.")
