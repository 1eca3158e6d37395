from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OrdersConfig(AppConfig):
    name = "orders"
    verbose_name = _("Orders")

    def ready(self) -> None:
        from shop.business import TEXT, WHOLE, declare_step

        # `version` is the order's after the step; more may be added to it in the same transaction.
        facts = {"status": TEXT, "amount": WHOLE, "currency": TEXT, "version": WHOLE}
        declare_step("order", "UNPAID", "READY_FOR_SHIPMENT", "order.paid", facts)
        declare_step("order", "UNPAID", "CLOSED", "order.closed", facts | {"reason": TEXT})
        declare_step("order", "CLOSED", "READY_FOR_SHIPMENT", "order.reopened", facts)
        declare_step("order", "READY_FOR_SHIPMENT", "SHIPPED", "order.shipped", facts)
        declare_step("order", None, "REFUNDED", "order.refunded", facts)
