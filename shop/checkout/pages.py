"""The shopper's pages up to the order: catalogue, cart, checkout.

Doors only: read the request, call one flow, show the answer. Looking (GET) changes nothing.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from orders.errors import DuplicateOrder, InvalidOrder, OutOfStock, UnknownProduct
from orders.models import Order, Product
from orders.placing import place_once
from shop.checkout.cart import CartPart, add_units, find_part, read_cart, set_units
from shop.checkout.doors import post_only
from shop.checkout.forms import CartForm, ContactForm
from shop.checkout.once import (
    Way,
    find_placed,
    find_way,
    form_key,
    keep_order,
    new_form_token,
    newest_number,
    number_of,
)
from shop.idempotency import InProgress, Key, KeyMismatch
from shop.sessions import held_session


def catalogue(request: HttpRequest) -> HttpResponse:
    """`GET /`: what is sold."""
    return render(request, "catalogue.html", {"products": Product.objects.filter(is_sold=True)})


def cart(request: HttpRequest) -> HttpResponse:
    """`GET /cart/`: the cart with today's prices, in parts of one currency each."""
    return _show_cart(request)


@post_only("cart")
def add_to_cart(request: HttpRequest) -> HttpResponse:
    """`POST /cart/add/` sku, quantity: one more line, or more of one."""
    form = CartForm(request.POST)
    if not form.is_valid():
        return _show_cart(request, problem=_wrong_quantity(), status=400)
    sku, quantity = form.cleaned_data["sku"], form.cleaned_data["quantity"]
    if not Product.objects.filter(sku=sku, is_sold=True).exists():
        return _show_cart(request, problem=_("This is not sold here. Your cart is as it was."), status=404)
    with held_session(request) as session:
        was_added = quantity >= 1 and add_units(session, sku, quantity)
    if not was_added:
        return _show_cart(request, problem=_wrong_quantity(), status=400)
    return redirect("cart")


@post_only("cart")
def change_cart(request: HttpRequest) -> HttpResponse:
    """`POST /cart/change/` sku, quantity: have exactly so many; 0 takes it out."""
    form = CartForm(request.POST)
    if not form.is_valid():
        return _show_cart(request, problem=_wrong_quantity(), status=400)
    with held_session(request) as session:
        set_units(session, form.cleaned_data["sku"], form.cleaned_data["quantity"])
    return redirect("cart")


def checkout(request: HttpRequest) -> HttpResponse:
    """`GET /checkout/`: four fields, the order beside them. `POST`: place the order, once for each form shown."""
    if request.method == "POST":
        return _take_form(request, form_key(request))
    part = find_part(request.session, request.GET.get("currency", ""))
    if part is None or not part.is_ready:
        return redirect("cart")
    return _show_checkout(request, part, ContactForm(), new_form_token())


def _take_form(request: HttpRequest, key: Key) -> HttpResponse:
    """The order that the form has become already, or a new one."""
    try:
        placed = find_placed(key)
        if placed is None:
            return _place(request, key)
    except KeyMismatch:
        return _show_changed(request, number_of(request, key))
    return _go_to(request, placed)


def _place(request: HttpRequest, key: Key) -> HttpResponse:
    part = find_part(request.session, request.POST.get("currency", ""))
    if part is None or not part.is_ready:
        placed = find_placed(key)  # the first press of a double click may just have taken the last ones
        return _go_to(request, placed) if placed else redirect("cart")
    form = ContactForm(request.POST)
    if not form.is_valid():
        return _show_checkout(request, part, form, key.key, status=400)
    if request.POST.get("seen") != part.seen:
        problem = _("Your cart or a price has changed since you saw this page. Please look once more.")
        return _show_checkout(request, part, form, key.key, problem=problem, status=409)
    return _order(request, key, part, form)


def _order(request: HttpRequest, key: Key, part: CartPart, form: ContactForm) -> HttpResponse:
    try:
        placed = place_once(key, part.items, form.contact, again=request.POST.get("again") == "1")
    except DuplicateOrder as error:
        first = find_way(request, error.number)
        return _show_checkout(request, part, form, key.key, first=first, status=409)
    except InProgress as error:
        problem = _(
            "Your order is being placed at this moment. Please press once more in a few seconds; it stays one order."
        )
        response = _show_checkout(request, part, form, key.key, problem=problem, status=409)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    except (OutOfStock, UnknownProduct):
        problem = _("Somebody was faster: see the lines below. Nothing was ordered.")
        return _show_cart(request, problem=problem, status=409)
    except InvalidOrder as error:
        return _show_checkout(request, part, form, key.key, problem=str(error), status=400)
    return _go_to(request, placed.order)


def _go_to(request: HttpRequest, order: Order) -> HttpResponse:
    keep_order(request, order)
    return redirect("pay", number=order.number)


def _show_changed(request: HttpRequest, number: str) -> HttpResponse:
    """The form was changed after it had become an order: that order stands, and nobody guesses what else is meant."""
    return _show_cart(request, placed=find_way(request, number), status=422)


def _show_cart(
    request: HttpRequest, *, problem: str = "", placed: Way | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "cart": read_cart(request.session),
        "problem": problem,
        "placed": placed,
        "newest": newest_number(request),
    }
    return render(request, "cart.html", context, status=status)


def _show_checkout(
    request: HttpRequest,
    part: CartPart,
    form: ContactForm,
    form_token: str,
    *,
    problem: str = "",
    first: Way | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {"part": part, "form": form, "form_token": form_token, "problem": problem, "first": first}
    return render(request, "checkout.html", context, status=status)


def _wrong_quantity() -> str:
    return _("Please give a whole number from 1 to 999. Your cart is as it was.")
