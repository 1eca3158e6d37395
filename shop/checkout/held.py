"""What the shopper can pay still though the order is paid, or may be paid, another way: what is said about it.

A voucher lies on a table or in a bank's app, where nobody can take it back, so the pages ask for it not to be paid. And some
channels cannot close what was begun with them. Reads only.
"""

from collections.abc import Sequence

from django.utils.translation import gettext_lazy as _

from orders.statuses import OrderStatus
from payments.models import Payment
from payments.showing import OrderView, Situation
from payments.statuses import PaymentStatus
from shop import languages
from shop.checkout.wallets import Text, names_by_hand, wallet_of
from shop.checkout.words import action_type
from shop.clock import WITH_NOW
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
# Of what was left for another payment, where nobody warns of a voucher.
IS_OPEN = _(
    "Your earlier payment with %(titles)s is not over yet. If you have paid it, have it checked; if not, do not pay it any more."
)


def list_held(view: OrderView) -> list[Payment]:
    """The attempts at the order that have brought no money and may still, oldest first; one statement."""
    payments = Payment.objects.annotate(**WITH_NOW).filter(order=view.order, receipts=None)
    return list(payments.filter(status=PaymentStatus.PAYING).order_by("pk"))


def find_earlier(view: OrderView, held: Sequence[Payment]) -> list[Payment]:
    """Those of `list_held` that were superseded, while the order is to be paid."""
    is_payable = view.order.status == OrderStatus.UNPAID and view.situation is not Situation.REVIEWED
    return [each for each in held if is_payable and each.superseded_at is not None]


def warn_of_held(view: OrderView, held: Sequence[Payment], *, is_choosing: bool = False) -> Text:
    """What to say about those of `list_held`; "" when there is none, or it is what the order is paid by.

    `is_choosing`: the page offers other ways to pay.
    """
    voucher = _find_voucher(held)
    if view.order.status == OrderStatus.UNPAID and voucher == view.payment and not is_choosing:
        voucher = None
    titles = [wallet_of(each.channel).title for each in find_earlier(view, held) if each != voucher]
    earlier = say(IS_OPEN, titles=languages.join_names(titles)) if titles else ""
    return together(_warn_of_voucher(view, voucher) if voucher else "", earlier)


def _warn_of_voucher(view: OrderView, voucher: Payment) -> Text:
    may_be_paid = view.order.status == OrderStatus.UNPAID and view.situation is not Situation.REVIEWED
    back = IS_SENT_BACK if names_by_hand([voucher.channel]) else COMES_BACK
    return together(MAY_BE_PAID if may_be_paid else IS_OVER, back)


def _find_voucher(held: Sequence[Payment]) -> Payment | None:
    """The last one that a bank takes still. Of money that has come by it nobody needs to be warned any more."""
    vouchers = [each for each in held if action_type(each) == "voucher" and each.expires_at > each.now]
    return vouchers[-1] if vouchers else None
