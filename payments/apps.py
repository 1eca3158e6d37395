from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

# Moments after applying: 10, 20 and 30 s, then 1, 4, 9, … n² minutes. These are the gaps between them; the first
# moment itself is `moves.FIRST_QUERY_S`.
QUERY_GAPS_S = (10, 10, 30, *(60 * (2 * n - 1) for n in range(2, 41)))


class PaymentsConfig(AppConfig):
    name = "payments"
    verbose_name = _("Payments")

    def ready(self) -> None:
        from payments import checks  # noqa: F401
        from shop import alarms

        _declare_events()
        alarms.register("query_payment", handler="payments.querying.query_by_alarm", gaps_s=QUERY_GAPS_S)
        alarms.register(
            "recheck_payment", handler="payments.querying.recheck_by_alarm", gaps_s=(600, 3600, 86400)
        )
        alarms.register(
            "capture_payment", handler="payments.capturing.capture_by_alarm", gaps_s=(5, 10, 20, 40, 60, 300)
        )
        alarms.register("expire_order", handler="payments.ending.expire_by_alarm", gaps_s=(15, 30, 60, 300))
        alarms.register(
            "take_callback",
            handler="payments.callbacks.take_by_alarm",
            gaps_s=(5, 15, 40, 120, 300, 900, 3600),
        )
        alarms.register(
            "follow_up", handler="payments.following.follow_up_by_alarm", gaps_s=(10, 30, 60, 300)
        )
        alarms.register(
            "mail_receipt", handler="payments.mailing.mail_by_alarm", gaps_s=(30, 60, 300, 900, 3600)
        )
        alarms.register(
            "mail_link", handler="payments.mailing.mail_link_by_alarm", gaps_s=(30, 60, 300, 900, 3600)
        )
        alarms.register(
            "mail_returned",
            handler="payments.mailing.mail_returned_by_alarm",
            gaps_s=(30, 60, 300, 900, 3600),
        )
        alarms.register(
            "fetch_statement",
            handler="payments.statements.fetch_by_alarm",
            gaps_s=(900, 1800, 3600),
            is_long=True,
        )
        alarms.register(
            "send_refund", handler="payments.refunding.send_by_alarm", gaps_s=(10, 20, 30, 60, 300, 900, 3600)
        )


def _declare_events() -> None:
    from shop.business import TEXT, WHOLE, Shape, declare_data, declare_step

    money = dict.fromkeys(("payment", "channel", "trade", "class", "currency"), TEXT) | {"amount": WHOLE}
    moment: Shape = {"type": ["string", "null"], "format": "date-time"}
    settled = money | {"scene": TEXT, "source": TEXT, "paid_at": moment}
    refund = money | {"refund": TEXT, "kind": TEXT, "reason": TEXT}
    declare_data("payment.settled", settled)
    declare_data("payment.surplus", settled)
    declare_data("case.opened", {"case": WHOLE, "kind": TEXT})
    declare_step("refund", "REFUNDING", "REFUNDED", "refund.succeeded", refund)
    declare_step("refund", "REFUNDING", "FAILED", "refund.failed", refund)
