"""The shopper's pages. What changes something has a path of its own and answers POST only."""

from django.urls import path

from shop.checkout import links, pages, paying

urlpatterns = [
    path("", pages.catalogue, name="catalogue"),
    path("cart/", pages.cart, name="cart"),
    path("cart/add/", pages.add_to_cart, name="cart-add"),
    path("cart/change/", pages.change_cart, name="cart-change"),
    path("checkout/", pages.checkout, name="checkout"),
    path("orders/<str:number>/", paying.order, name="order"),
    path("orders/<str:number>/pay/", paying.pay, name="pay"),
    path("orders/<str:number>/check/", paying.check, name="check"),
    path("orders/<str:number>/cancel/", paying.cancel, name="cancel"),
    path("orders/<str:number>/link/", links.ask_link, name="ask-link"),
    path("orders/<str:number>/link/new/", links.new_link, name="new-link"),
]
