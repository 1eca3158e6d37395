"""Paths of the money's API doors, below /api/v1/."""

from django.urls import path

from payments.api import orders, payments, refunds, status

urlpatterns = [
    path("orders/<str:number>", orders.OrderView.as_view()),
    path("orders/<str:number>/status", status.order_status, name="order-status"),
    path("orders/<str:number>/payments", payments.ApplyView.as_view()),
    path("orders/<str:number>/cancel", orders.CancelView.as_view()),
    path("payments", payments.PaymentsView.as_view()),
    path("payments/<str:number>", payments.PaymentView.as_view()),
    path("payments/<str:number>/query", payments.QueryView.as_view()),
    path("payments/<str:number>/refunds", refunds.AskRefundView.as_view()),
    path("refunds", refunds.RefundsView.as_view()),
    path("refunds/<str:number>", refunds.RefundView.as_view()),
]
