"""What the shopper can pay still though the order is paid, or may be paid, another way: what is said about it.

A voucher lies on a table or in a bank's app, where nobody can take it back, so the pages ask for it not to be paid. And some
channels cannot close what was begun with them. Reads only.
"""

from collections.abc import Sequence

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from orders.statuses import OrderStatus
from payments.models import Payment
from payments.showing import OrderView, Situation
from payments.statuses import PaymentStatus
from shop import languages
from shop.checkout.wallets import Text, names_by_hand, wallet_of
from shop.sentences import say, together

MAY_BE_PAID = _(
    "You still hold a boleto for this order. Do not pay it if you pay another way: throw it away."
)
IS_OVER = _("You still hold a boleto for this order. Do not pay it: throw it away.")
# What becomes of money that comes by it all the same.
COMES_BACK = _("If it is paid all the same, that money comes back by itself.")
IS_SENT_BACK = _(
    "If it is paid all the same, a person sends that money back: a boleto has no way back by itself."
)
# Of what is no voucher.
IS_OPEN = _(
    "Your earlier payment with %(titles)s is not over yet. If you have paid it, have it checked; if not, do not pay it any more."
)


def list_earlier(view: OrderView) -> list[Payment]:
    """The superseded attempts of an unpaid order that may be paid still, or may have been; one statement."""
    if view.order.status != OrderStatus.UNPAID:
        return []
    payments = Payment.objects.filter(order=view.order, status=PaymentStatus.PAYING, receipts=None)
    return list(payments.exclude(superseded_at=None).order_by("pk"))


def warn_of_held(view: OrderView, earlier: Sequence[Payment], *, is_choosing: bool = False) -> Text:
    """What to say about it, of which `list_earlier` has told a part; "" when there is none, or it is what the order is paid by.

    `is_choosing`: the page offers other ways to pay.
    """
    is_unpaid = view.order.status == OrderStatus.UNPAID
    held = _find_held(view)
    if held is not None and not (is_unpaid and held == view.payment and not is_choosing):
        return _warn_of_voucher(view, held)
    if not earlier or view.situation is Situation.REVIEWED:
        return ""
    return say(IS_OPEN, titles=languages.join_names(wallet_of(each.channel).title for each in earlier))


def _warn_of_voucher(view: OrderView, held: Payment) -> Text:
    is_unpaid = view.order.status == OrderStatus.UNPAID
    may_be_paid = is_unpaid and view.situation is not Situation.REVIEWED
    back = IS_SENT_BACK if names_by_hand([held.channel]) else COMES_BACK
    return together(MAY_BE_PAID if may_be_paid else IS_OVER, back)


def _find_held(view: OrderView) -> Payment | None:
    """Of money that has come by it nobody needs to be warned any more."""
    vouchers = Payment.objects.filter(order=view.order, action__type="voucher", expires_at__gt=Now())
    return vouchers.filter(status=PaymentStatus.PAYING, receipts=None).last()
