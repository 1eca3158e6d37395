"""Paths of the channels' door, below /notify/."""

from django.urls import path

from payments import views

urlpatterns = [path("<slug:channel>/", views.notify, name="notify")]
