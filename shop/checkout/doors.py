"""What the doors of the groups of pages share: who comes in, and by which method."""

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from orders.access import find_order, is_shopper, is_token_of, remember_link
from orders.errors import OrderNotFound
from orders.models import Order
from shop.checkout.forms import EmailForm
from shop.numbers import is_number
from shop.sessions import held_session

Page = Callable[..., HttpResponse]
OrderPage = Callable[[HttpRequest, Order], HttpResponse]


def post_only(page_name: str) -> Callable[[Page], Page]:
    """Send whoever comes by a link or a reload to the page `page_name` instead; only POST changes anything."""

    def wrap(page: Page) -> Page:
        @functools.wraps(page)
        def run(request: HttpRequest, **parts: Any) -> HttpResponse:
            return page(request, **parts) if request.method == "POST" else redirect(page_name, **parts)

        return run

    return wrap


def with_order(page: OrderPage) -> Page:
    """Find the order for whoever may see it; a foreign one and a missing one give the same 404. Staff may only look.

    A token in the address counts once: the session remembers the order, and the address is left without it. What PayPal
    calls a token, in the address by which its shoppers return, is none.
    """

    @functools.wraps(page)
    def run(request: HttpRequest, number: str) -> HttpResponse:
        token = request.GET.get("token", "")
        try:
            order = find_order(number, token=token, session=request.session, user=request.user)
        except OrderNotFound:
            return _show_unknown(request, number)
        if not token or not is_token_of(order, token):
            if request.method == "POST" and not is_shopper(order, session=request.session):
                return render(request, "403.html", {"order": order}, status=403)
            return page(request, order)
        if not is_shopper(order, session=request.session):
            with held_session(request) as session:
                remember_link(session, order)
        return redirect(request.path)

    return run


def refuse_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its CSRF token: Django's own setting names this. Of an order's page, it leads back there."""
    kwargs = request.resolver_match.kwargs if request.resolver_match else {}
    return render(request, "403_csrf.html", {"number": kwargs.get("number")}, status=403)


def _show_unknown(request: HttpRequest, number: str) -> HttpResponse:
    """The way on for whoever lost the link or the session: to have it mailed. It says nothing about whether there is one."""
    if not is_number(number):
        return render(request, "404.html", status=404)
    return render(request, "unknown.html", {"number": number, "form": EmailForm()}, status=404)
