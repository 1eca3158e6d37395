"""The shopper's pages up to the order: catalogue, cart, checkout.

Doors only: read the request, call one flow, show the answer. Looking (GET) changes nothing.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from orders.errors import InvalidOrder, OutOfStock, UnknownProduct
from orders.models import Order, Product
from orders.placing import place_order
from shop.checkout.cart import CartPart, Session, add_units, find_part, read_cart, set_units, take_out
from shop.checkout.doors import post_only
from shop.checkout.forms import CartForm, ContactForm
from shop.checkout.once import held_session, new_form_token, place_once, placed_by


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
    form_token = request.POST.get("form_token", "") or new_form_token()
    placed = placed_by(request, form_token)
    if placed:
        return redirect("pay", number=placed)
    part = find_part(request.session, request.POST.get("currency", request.GET.get("currency", "")))
    if part is None or not part.is_ready:
        return redirect("cart")
    if request.method != "POST":
        return _show_checkout(request, part, ContactForm(), form_token)
    return _place(request, part, ContactForm(request.POST), form_token)


def _place(request: HttpRequest, part: CartPart, form: ContactForm, form_token: str) -> HttpResponse:
    if not form.is_valid():
        return _show_checkout(request, part, form, form_token, status=400)
    if request.POST.get("seen") != part.seen:
        problem = _("Your cart or a price has changed since you saw this page. Please look once more.")
        return _show_checkout(request, part, form, form_token, problem=problem, status=409)
    try:
        number = place_once(request, form_token, lambda session: _order(session, part, form))
    except (OutOfStock, UnknownProduct):
        problem = _("Somebody was faster: see the lines below. Nothing was ordered.")
        return _show_cart(request, problem=problem, status=409)
    except InvalidOrder as error:
        return _show_checkout(request, part, form, form_token, problem=str(error), status=400)
    return redirect("pay", number=number)


def _order(session: Session, part: CartPart, form: ContactForm) -> Order:
    order = place_order(part.items, form.contact)
    take_out(session, part)
    return order


def _show_cart(request: HttpRequest, *, problem: str = "", status: int = 200) -> HttpResponse:
    return render(
        request, "cart.html", {"cart": read_cart(request.session), "problem": problem}, status=status
    )


def _show_checkout(
    request: HttpRequest,
    part: CartPart,
    form: ContactForm,
    form_token: str,
    *,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {"part": part, "form": form, "form_token": form_token, "problem": problem}
    return render(request, "checkout.html", context, status=status)


def _wrong_quantity() -> str:
    return _("Please give a whole number from 1 to 999. Your cart is as it was.")
