"""Every path of the installation. Apps are named in strings only."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from django.views.i18n import set_language

from shop import health, scraping
from shop.feed import EventsView

handler400 = "shop.refusals.bad_request"
handler500 = "shop.refusals.server_error"

urlpatterns = [
    path("", include("shop.checkout.urls")),
    # Without a token: all that it changes is which words are shown, and who refuses cookies is not to be sent away.
    path("language/", csrf_exempt(set_language), name="set-language"),
    path("api/v1/", include("orders.urls")),
    path("api/v1/", include("payments.urls")),
    path("api/v1/events", EventsView.as_view(), name="events"),
    path("api/v1/", include("shop.docs_urls")),
    path("api/", include("shop.api_urls")),
    path("notify/", include("payments.notify_urls")),
    path("admin/deeds/", include("payments.admin.urls")),
    path("admin/", admin.site.urls),
    # Asked for by browsers where a page names no icon of its own, as the admin's do.
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("favicon.svg"))),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", scraping.metrics, name="metrics"),
]
