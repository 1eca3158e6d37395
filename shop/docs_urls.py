"""Paths of the API's own description, below /api/v1/."""

from django.urls import path

from shop.docs import show_docs
from shop.schema import SchemaView

urlpatterns = [
    path("schema/", SchemaView.as_view(), name="api-schema"),
    path("docs/", show_docs, name="api-docs"),
]
