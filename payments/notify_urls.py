"""Paths of the channels' door, below /notify/."""

from django.urls import re_path

from payments import views

# A channel's console may cut the slash off, and a POST cannot be redirected.
urlpatterns = [re_path(r"^(?P<channel>[a-z]{1,20})/?$", views.notify, name="notify")]
