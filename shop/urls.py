"""Every path of the installation. Apps are named in strings only."""

from django.contrib import admin
from django.urls import include, path

from shop import health

urlpatterns = [
    path("", include("shop.checkout.urls")),
    path("api/v1/", include("orders.urls")),
    path("api/v1/", include("payments.urls")),
    path("api/", include("shop.api_urls")),
    path("notify/", include("payments.notify_urls")),
    path("admin/deeds/", include("payments.admin.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
