"""API keys: what each may, until when, who answers for it and when it was last used. No page shows a secret or its hash."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.admin.deeds import Links, WithDeeds
from payments.admin.key_pages import make_page, may_manage, rotate_page
from payments.admin.tables import actions_on
from shop.admin import ReadOnlyAdmin, mood_word
from shop.clock import read_now
from shop.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(WithDeeds, ReadOnlyAdmin):
    list_display = ("name", "number", "state", "may", "owner", "expires_at", "last_used_at")
    search_fields = ("=number", "=name")
    list_select_related = ("owner",)
    fields = (
        "name",
        "number",
        "state",
        "may",
        "owner",
        "expires_at",
        "old_until",
        "last_used_at",
        "revoked_at",
        "created_at",
        "actions_done",
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("new/", view(make_page), name="shop_apikey_new"),
            path("<int:pk>/secret/", view(rotate_page), name="shop_apikey_secret"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        new = [(gettext("Make a key"), reverse("admin:shop_apikey_new"))]
        context = {**(extra_context or {}), "tools": new if may_manage(request) else []}
        return super().changelist_view(request, context)

    def list_deeds(self, request: HttpRequest, row: Any) -> Links:
        found = super().list_deeds(request, row)
        if may_manage(request) and not row.revoked_at:
            found.append((gettext("Change the secret"), reverse("admin:shop_apikey_secret", args=[row.pk])))
        return found

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at:
            return mood_word("", gettext("Revoked"))
        if key.expires_at and key.expires_at <= read_now():
            return mood_word("FAILED", gettext("Ended"))
        return mood_word("PAID", gettext("Counts"))

    @admin.display(description=_("may"))
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=_("done by staff"))
    def actions_done(self, key: ApiKey) -> SafeString:
        return actions_on("", key.number)
