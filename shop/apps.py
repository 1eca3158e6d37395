from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = _("Ground")

    def ready(self) -> None:
        from django_q.signals import post_execute

        from shop import beats

        post_execute.connect(beats.hear_canary)
