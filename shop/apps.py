from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = "Ground"

    def ready(self) -> None:
        from django_q.signals import post_execute

        from shop import beats

        post_execute.connect(beats.hear_canary)
