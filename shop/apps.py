from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopConfig(AppConfig):
    name = "shop"
    verbose_name = _("Ground")

    def ready(self) -> None:
        from django_q.signals import post_execute

        from shop import alarms, beats
        from shop.webhooks import checks  # noqa: F401
        from shop.webhooks.delivering import LEASE_S
        from shop.webhooks.publishing import DELIVER
        from shop.webhooks.signing import FORGET_SECRET
        from shop.webhooks.switching import MAIL_ENDPOINT

        # When an event is tried again stands in its delivery; this is the lease of who is at it.
        alarms.register(
            DELIVER,
            handler="shop.webhooks.delivering.deliver_by_alarm",
            gaps_s=(LEASE_S,),
            lane=alarms.WEBHOOKS,
        )
        alarms.register(
            FORGET_SECRET, handler="shop.webhooks.signing.forget_by_alarm", gaps_s=(60, 600, 3600)
        )
        alarms.register(
            MAIL_ENDPOINT, handler="shop.webhooks.mailing.mail_by_alarm", gaps_s=(30, 60, 300, 900, 3600)
        )
        post_execute.connect(beats.hear_canary)
