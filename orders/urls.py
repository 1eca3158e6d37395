"""Paths of the goods' API doors, below /api/v1/."""

from django.urls import path

from orders import api

urlpatterns = [
    path("products", api.ProductsView.as_view()),
    path("orders", api.OrdersView.as_view()),
]
