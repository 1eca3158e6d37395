"""The order's link: sent to the order's address for whoever has lost it, and made anew by the shopper, which revokes it.

What is answered to somebody who does not see the order never tells whether there is one.
"""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from orders.access import SESSION_KEY, remember_link, renew_link
from orders.models import Order
from payments.cached import renew_state
from payments.mailing import ask_for_link
from shop.checkout.doors import post_only, with_order
from shop.checkout.forms import EmailForm
from shop.numbers import is_number
from shop.sessions import held_session


@csrf_exempt  # whoever refuses cookies needs it most; it shows nothing, and mails only who is to be mailed, rarely
@post_only("order")
def ask_link(request: HttpRequest, number: str) -> HttpResponse:
    """`POST /orders/<number>/link/` email: mail the link if this is the order's address. The answer is always the same."""
    if not is_number(number):
        return render(request, "404.html", status=404)
    form = EmailForm(request.POST)
    if not form.is_valid():
        return render(request, "unknown.html", {"number": number, "form": form}, status=400)
    ask_for_link(number, form.cleaned_data["email"])
    context = {"number": number, "email": form.cleaned_data["email"], "form": form}
    return render(request, "unknown.html", context, status=202)


@post_only("order")
@with_order
def new_link(request: HttpRequest, order: Order) -> HttpResponse:
    """`POST /orders/<number>/link/new/`: the links given out before open nothing any more; this browser keeps the order."""
    order = renew_link(order.number)
    renew_state(order.number)
    if order.number not in request.session.get(SESSION_KEY, []):
        with held_session(request) as session:
            remember_link(session, order)
    messages.info(request, _("This order has a new link. The ones given out before do not work any more."))
    return redirect("order", number=order.number)
