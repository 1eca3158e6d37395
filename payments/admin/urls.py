"""Pages of the back office that are no page of one model's rows."""

from django.contrib import admin
from django.urls import path

from payments.admin.deeds import deed_page

app_name = "deeds"
urlpatterns = [path("<slug:name>/<str:label>/<int:pk>/", admin.site.admin_view(deed_page), name="deed")]
