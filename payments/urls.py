"""Paths of the money's API doors, below /api/v1/."""

from django.urls import path

from payments import api

urlpatterns = [
    path("orders/<str:number>", api.OrderView.as_view()),
    path("orders/<str:number>/status", api.order_status, name="order-status"),
    path("orders/<str:number>/payments", api.PaymentsView.as_view()),
    path("orders/<str:number>/cancel", api.CancelView.as_view()),
    path("payments/<str:number>", api.PaymentView.as_view()),
    path("payments/<str:number>/query", api.QueryView.as_view()),
    path("payments/<str:number>/refunds", api.RefundsView.as_view()),
    path("refunds/<str:number>", api.RefundView.as_view()),
]
