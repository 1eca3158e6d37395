"""Other systems: endpoints and what was sent to them, to be read."""

from django.contrib import admin

from payments.admin.lists import BigListAdmin
from shop.models import Endpoint


@admin.register(Endpoint)
class EndpointAdmin(BigListAdmin):
    list_display = ("number", "note", "url")
    found_by = ("number",)
    exclude = ("secret", "old_secret")
