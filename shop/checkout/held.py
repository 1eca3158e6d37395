"""A voucher that the shopper holds though the order is paid, or may be paid, another way: what is said about it.

It lies on a table or in a bank's app, where nobody can take it back, so the pages ask for it not to be paid. Reads only.
"""

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from orders.statuses import OrderStatus
from payments.models import Payment
from payments.showing import OrderView, Situation
from payments.statuses import PaymentStatus
from shop.checkout.wallets import Text, names_by_hand
from shop.sentences import together

MAY_BE_PAID = _(
    "You still hold a boleto for this order. Do not pay it if you pay another way: throw it away."
)
IS_OVER = _("You still hold a boleto for this order. Do not pay it: throw it away.")
# What becomes of money that comes by it all the same.
COMES_BACK = _("If it is paid all the same, that money comes back by itself.")
IS_SENT_BACK = _(
    "If it is paid all the same, a person sends that money back: a boleto has no way back by itself."
)


def warn_of_voucher(view: OrderView, *, is_choosing: bool = False) -> Text:
    """What to say about a voucher that can be paid still; "" when there is none, or it is what the order is paid by.

    `is_choosing`: the page offers other ways to pay.
    """
    held = _find_held(view)
    is_unpaid = view.order.status == OrderStatus.UNPAID
    if held is None or (is_unpaid and held == view.payment and not is_choosing):
        return ""
    may_be_paid = is_unpaid and view.situation is not Situation.REVIEWED
    back = IS_SENT_BACK if names_by_hand([held.channel]) else COMES_BACK
    return together(MAY_BE_PAID if may_be_paid else IS_OVER, back)


def _find_held(view: OrderView) -> Payment | None:
    """Of money that has come by it nobody needs to be warned any more."""
    vouchers = Payment.objects.filter(order=view.order, action__type="voucher", expires_at__gt=Now())
    return vouchers.filter(status=PaymentStatus.PAYING, receipts=None).last()
