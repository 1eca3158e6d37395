"""What the pages say about an order's money: one icon, one mood, one sentence, and what comes next.

Tables, so that every situation has its words and a translator finds them in one place. Never "failed", and never
"nothing was charged", while the channel has not said so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from orders.statuses import OrderStatus
from payments.models import Payment
from payments.showing import Mood, OrderView, Situation
from payments.statuses import PaymentStatus, RefundStatus
from shop.checkout.returns import Return, add_up

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """How people call a channel, and what they open to pay by it."""

    title: Text
    app: Text


WALLETS = {
    "wechat": Wallet(title=_("WeChat Pay"), app=_("WeChat")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """`line` is the status line, `title` the order page's heading and the tab, `then` what comes next.

    Texts may hold `%(amount)s`, `%(returned)s`, `%(app)s`, `%(title)s`. `icon` is a file of `templates/icons`.
    `heading`: the order page's own, where the goods have news.
    `look_again_s`: how long an open page may believe it without asking the server; 0 for what stays.
    """

    mood: Mood
    icon: str
    title: Text
    line: Text
    heading: Text = ""
    then: Text = ""
    look_again_s: int = 0


WORDS: dict[Situation, Words] = {
    Situation.TO_PAY: Words(
        mood=Mood.QUIET,
        icon="wallet",
        title=_("Waiting for your payment"),
        line=_("Your items are set aside. Choose how to pay."),
        then=_("Your payment"),
        look_again_s=20,
    ),
    Situation.STARTING: Words(
        mood=Mood.WAITING,
        icon="hourglass",
        title=_("Waiting for your payment"),
        line=_(
            "%(app)s has not answered yet. Trying again continues the same payment; you cannot pay it twice."
        ),
        then=_("Your payment"),
        look_again_s=3,
    ),
    Situation.WAITING: Words(
        mood=Mood.QUIET,
        icon="scan",
        title=_("Waiting for your payment"),
        line=_("Waiting for you to scan"),
        then=_("Your payment"),
        look_again_s=20,
    ),
    Situation.CONFIRMING: Words(
        mood=Mood.WAITING,
        icon="hourglass",
        title=_("Payment is being confirmed"),
        line=_("Your payment is being confirmed. You can close this page; we will find it."),
        then=_("%(app)s tells us whether you paid"),
        look_again_s=5,
    ),
    Situation.ENDING: Words(
        mood=Mood.WAITING,
        icon="hourglass",
        title=_("Payment is being confirmed"),
        line=_("The time to pay is over. We are asking %(app)s once more whether you paid."),
        then=_("%(app)s tells us whether you paid"),
        look_again_s=5,
    ),
    Situation.REVIEWED: Words(
        mood=Mood.WAITING,
        icon="hourglass",
        title=_("Payment is being checked"),
        line=_(
            "We received another amount than this order's. A person is looking at it; please do not pay again."
        ),
        then=_("Our decision, by mail or phone"),
        look_again_s=20,
    ),
    Situation.PAID: Words(
        mood=Mood.DONE,
        icon="check",
        title=_("Paid. Thank you."),
        line=_("Paid. Thank you."),
    ),
    Situation.SURPLUS: Words(
        mood=Mood.BACK,
        icon="back",
        title=_("Paid. Thank you."),
        line=_("You paid twice. The first payment stands; the second %(returned)s is on its way back."),
        look_again_s=20,
    ),
    Situation.EXPIRED: Words(
        mood=Mood.QUIET,
        icon="clock",
        title=_("The time to pay is over"),
        line=_("The time to pay is over. If you did pay, the money comes back by itself."),
    ),
    Situation.CANCELLED: Words(
        mood=Mood.QUIET,
        icon="cross",
        title=_("Cancelled"),
        line=_("You cancelled this order. If a payment still arrives, it comes back by itself."),
    ),
    Situation.LATE: Words(
        mood=Mood.BACK,
        icon="back",
        title=_("Your money is on its way back"),
        line=_("Your payment came after the order closed. %(returned)s is on its way back to your wallet."),
        then=_("The money in your wallet"),
        look_again_s=20,
    ),
    Situation.REFUSED: Words(
        mood=Mood.WRONG,
        icon="alert",
        title=_("Waiting for your payment"),
        line=_("The wallet refused this payment. Nothing was charged."),
        then=_("Your payment"),
        look_again_s=20,
    ),
    Situation.REFUNDED: Words(
        mood=Mood.BACK,
        icon="back",
        title=_("Refunded"),
        line=_("%(amount)s went back to your wallet."),
    ),
}

# The shopper asked for another payment while an earlier one is undecided.
PREVIOUS_FIRST = _("We are checking your earlier payment first, so that you do not pay twice.")
PREVIOUS_CLOSED = _("Your earlier payment is closed. Go on with %(title)s.")
PREVIOUS_OPEN = _(
    "Your earlier payment is still open. Go on with %(title)s, and it is closed before the new one begins."
)
PREVIOUS_UNDECIDED = _(
    "Your earlier payment is still undecided. You may pay another way now; if the earlier one turns out paid too, "
    "that money comes back by itself."
)
NO_METHOD = _(
    "This shop has no way yet to pay in %(currency)s, so the order cannot be paid here. Cancel it, or let it lapse."
)
# On the order page, where there is nothing to scan.
SCAN_THERE = _("Your items are set aside. Scan the code on the payment page.")
EXPIRED_UNCHARGED = _(
    "The time to pay is over. Nothing was charged as far as %(app)s tells us; if it was, it comes back by itself."
)
NOT_TAKEN = _("%(title)s did not take this payment. Nothing was charged.")

RETURNED = {
    (Situation.SURPLUS, RefundStatus.REFUNDED): _(
        "You paid twice. The first payment stands; the second %(returned)s is back in your wallet."
    ),
    (Situation.SURPLUS, RefundStatus.FAILED): _(
        "You paid twice. The first payment stands; a person is sending the second %(returned)s back."
    ),
    (Situation.LATE, RefundStatus.REFUNDED): _(
        "Your payment came after the order closed. %(returned)s is back in your wallet."
    ),
    (Situation.LATE, RefundStatus.FAILED): _(
        "Your payment came after the order closed. A person is sending %(returned)s back."
    ),
}

# Of an order that was paid three times or more.
RETURNED_MANY = {
    RefundStatus.REFUNDING: _(
        "You paid more than once. The first payment stands; the other %(returned)s is on its way back."
    ),
    RefundStatus.REFUNDED: _(
        "You paid more than once. The first payment stands; the other %(returned)s is back in your wallet."
    ),
    RefundStatus.FAILED: _(
        "You paid more than once. The first payment stands; a person is sending the other %(returned)s back."
    ),
}

# Of a paid order: the heading, and what comes next.
GOODS: dict[str, tuple[Text, Text]] = {
    OrderStatus.READY_FOR_SHIPMENT: (_("We are packing your order"), _("Shipped to you")),
    OrderStatus.SHIPPED: (_("Your order is on its way"), _("Arrives at your door")),
    OrderStatus.COMPLETED: (_("Your order has arrived"), ""),
}


def tell(view: OrderView, returns: Sequence[Return]) -> Words:
    """The words for this order and for what goes back of its money, with its amounts and its wallet's name filled in."""
    words = WORDS[view.situation]
    heading, then = GOODS.get(view.order.status, (words.title, words.then))
    status, returned = add_up(returns, view.order.currency)
    line = _returned_line(view.situation, status, returns) if returns else _line(view, words)
    facts = _facts(view) | {"returned": returned}
    return replace(
        words,
        title=str(words.title) % facts,
        line=str(line or words.line) % facts,
        heading=str(heading) % facts,
        then=str(then) % facts,
    )


def wallet_of(channel: str) -> Wallet:
    """The words for a channel; its bare name for one that has none here."""
    return WALLETS.get(channel, Wallet(title=channel, app=channel))


def _returned_line(situation: Situation, status: RefundStatus, returns: Sequence[Return]) -> Text | None:
    if situation is Situation.SURPLUS and len(returns) > 1:
        return RETURNED_MANY[status]
    return RETURNED.get((situation, status))


def _line(view: OrderView, words: Words) -> Text:
    if view.situation is Situation.EXPIRED and _was_decided(view):
        return EXPIRED_UNCHARGED
    if view.situation is Situation.REFUSED and view.payment and view.payment.action is None:
        return NOT_TAKEN
    if view.may_supersede:
        return PREVIOUS_UNDECIDED
    return words.line


def _was_decided(view: OrderView) -> bool:
    """Whether there were attempts and the channel has said of all of them that it took nothing."""
    statuses = set(Payment.objects.filter(order=view.order).values_list("status", flat=True))
    return bool(statuses) and statuses <= {PaymentStatus.CLOSED, PaymentStatus.FAILED}


def _facts(view: OrderView) -> dict[str, Any]:
    wallet = (
        wallet_of(view.payment.channel)
        if view.payment
        else Wallet(title=_("the wallet"), app=_("the wallet"))
    )
    return {
        "amount": view.order.amount_text,
        "title": wallet.title,
        "app": wallet.app,
    }
