"""What the pages say about an order's money: one icon, one mood, one sentence, and what comes next.

Tables, so that every situation has its words and a translator finds them in one place. Never "failed", and never
"nothing was charged", while the channel has not said so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from orders.statuses import OrderStatus
from payments.cases import list_irregular
from payments.channels.offers import Device, offers
from payments.models import Payment, Receipt
from payments.showing import Mood, OrderView, Situation
from payments.statuses import PaymentStatus, RefundStatus
from shop.checkout.returns import Return, add_up
from shop.checkout.wallets import SOME_WALLET, Text, list_apps, names_by_hand, wallet_of
from shop.clock import read_now
from shop.sentences import say, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """`line` is the status line, `title` the order page's heading and the tab, `then` what comes next.

    Texts may hold `%(amount)s`, `%(returned)s`, `%(title)s`, `%(app)s`, and `%(App)s` where a sentence begins. `icon` is a
    file of `templates/icons`.
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
        line=_("%(App)s has not answered yet. You can try again: you do not pay twice by that."),
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
        then=_("%(App)s tells us whether you paid"),
        look_again_s=5,
    ),
    Situation.ENDING: Words(
        mood=Mood.WAITING,
        icon="hourglass",
        title=_("Payment is being confirmed"),
        line=_("The time to pay is over. We are asking %(app)s once more whether you paid."),
        then=_("%(App)s tells us whether you paid"),
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
        title=_("You paid twice"),
        line=_("You paid twice. The first payment stands; the second %(returned)s is on its way back."),
        look_again_s=20,
    ),
    Situation.EXPIRED: Words(
        mood=Mood.QUIET,
        icon="clock",
        title=_("The time to pay is over"),
        line=_("The time to pay is over. If you did pay, the order goes on or the money comes back."),
    ),
    Situation.CANCELLED: Words(
        mood=Mood.QUIET,
        icon="cross",
        title=_("Cancelled"),
        line=_("This order is cancelled. If a payment still arrives, the money comes back."),
    ),
    Situation.LATE: Words(
        mood=Mood.BACK,
        icon="back",
        title=_("Your money is on its way back"),
        line=_("Your money came after the order closed. %(returned)s is on its way back to your wallet."),
        then=_("Your money is back"),
        look_again_s=20,
    ),
    Situation.REFUSED: Words(
        mood=Mood.WRONG,
        icon="alert",
        title=_("Waiting for your payment"),
        line=_("%(App)s refused this payment. Nothing was charged."),
        then=_("Your payment"),
        look_again_s=20,
    ),
    Situation.REFUNDED: Words(
        mood=Mood.BACK,
        icon="back",
        title=_("Refunded"),
        line=_("%(amount)s has gone back to you."),
    ),
}

# While an attempt is open, by the type of its action: the status line's icon and words, and the order page's, where there
# is nothing to pay by. Of another type: the last.
OPEN: dict[str, tuple[str, Text, Text]] = {
    "qr": (
        "scan",
        _("Waiting for you to scan"),
        _("Your items are set aside. Scan the code on the payment page."),
    ),
    "voucher": (
        "clock",
        _(
            "Waiting for your boleto to be paid. Banks tell us within three business days; you can close this page."
        ),
        _(
            "Your items are set aside. The boleto is on the payment page; banks tell us within three business days."
        ),
    ),
    "sdk": (
        "wallet",
        _("Waiting for you to pay with %(title)s in the app in which you began"),
        _("Your items are set aside. Finish the payment with %(title)s in the app in which you began it."),
    ),
    "": (
        "wallet",
        _("Waiting for you to pay with %(title)s"),
        _("Your items are set aside. Finish the payment with %(title)s on the payment page."),
    ),
}
# The last day of a voucher is over, and its word is to come.
VOUCHER_OVER = _(
    "The last day of your boleto is over. If you paid it, just wait: banks tell us within three business days."
)
ANOTHER_WAY = _("If you did not, you may pay another way.")
# The shopper asked for another payment while an earlier one is undecided.
PREVIOUS_FIRST = _("We are checking your earlier payment first, so that you do not pay twice.")
PREVIOUS_CLOSED = _("Your earlier payment is closed. Go on with %(title)s.")
PREVIOUS_OPEN = _(
    "Your earlier payment is still open. Go on with %(title)s, and it is closed before the new one begins."
)
PREVIOUS_STAYS = _(
    "Your earlier payment is still open, and nobody can close it. Go on with %(title)s, and do not pay the earlier one."
)
# The shopper looks for another way, and may still pay by the present one.
PRESENT_STAYS = _("Choose how to pay. Your payment with %(title)s stays open until you do.")
# The same where nobody can close it.
PRESENT_REMAINS = _(
    "Choose how to pay. Your payment with %(title)s stays open, and nobody can close it: pay one of the two only."
)
# The present attempt is too old to be paid, its order is not: a page of a wallet lives some minutes only.
LAPSED = _(
    "The page of %(title)s was open for too long. Choose how to pay; we ask about the earlier payment first."
)
PREVIOUS_UNDECIDED = _(
    "Your earlier payment is still undecided. You may pay another way now; if the earlier one turns out paid too, "
    "that money comes back by itself."
)
PREVIOUS_UNDECIDED_BY_HAND = _(
    "Your earlier payment is still undecided. You may pay another way now; if both turn out paid, the second one is "
    "sent back. A person sends back what was paid with %(by_hand)s."
)
NO_METHOD = _(
    "This shop has no way yet to pay %(amount)s, so the order cannot be paid here. Cancel it, or let it lapse."
)
NO_METHOD_IN_APP = _("Your items are set aside. To pay, open this page in your browser.")
NO_METHOD_ON_PHONE = _("Your items are set aside. Pay with another phone.")
EXPIRED_UNCHARGED = _(
    "The time to pay is over. Nothing was charged as far as %(apps)s told us; if it was, the order goes on or the money "
    "comes back by itself."
)
EXPIRED_UNCHARGED_BY_HAND = _(
    "The time to pay is over. Nothing was charged as far as %(apps)s told us; if it was, the order goes on or the money "
    "is sent back. A person sends back what was paid with %(by_hand)s."
)
EXPIRED_IRREGULAR = _(
    "The time to pay is over. By what %(apps)s told us you may have been charged, and the money does not come to this order. "
    "A person sees to it that you get it back."
)
NOT_TAKEN = _("%(title)s did not take this payment. Nothing was charged.")
# Without an answer, and where the answer is that it is not decided.
UNDECIDED_YET = _("%(Apps)s cannot tell us yet whether you paid.")
KEEP_ASKING = _("We keep asking by ourselves.")
ASK_LATER = _("Please have it checked again later.")
UNREPORTED = _("No payment is reported yet by %(apps)s. If you have just paid, that can take a moment.")
UNREPORTED_VOUCHER = _(
    "No payment is reported yet by %(apps)s. If you have just paid, that can take a moment, and of a boleto up to three "
    "business days."
)

RETURNED = {
    (Situation.SURPLUS, RefundStatus.REFUNDED): _(
        "You paid twice. The first payment stands; the second %(returned)s is back in your wallet."
    ),
    (Situation.SURPLUS, RefundStatus.FAILED): _(
        "You paid twice. The first payment stands; a person is sending the second %(returned)s back."
    ),
    (Situation.LATE, RefundStatus.REFUNDED): _(
        "Your money came after the order closed. %(returned)s is back in your wallet."
    ),
    (Situation.LATE, RefundStatus.FAILED): _(
        "Your money came after the order closed. A person is sending %(returned)s back."
    ),
}

# Where people have sent it, because the channel cannot.
RETURNED_BY_HAND = {
    Situation.SURPLUS: _(
        "You paid twice. The first payment stands; we have sent the second %(returned)s back to you by hand."
    ),
    Situation.LATE: _(
        "Your money came after the order closed. We have sent %(returned)s back to you by hand."
    ),
}
# Of late money that came by several ways: some of it by people.
LATE_MANY_RETURNED = _("Your money came after the order closed. %(returned)s has gone back to you.")
# Of an order that was paid three times or more: the title, and the line.
PAID_MANY = _("You paid more than once")
RETURNED_MANY = {
    RefundStatus.REFUNDING: _(
        "You paid more than once. The first payment stands; the other %(returned)s is on its way back."
    ),
    RefundStatus.REFUNDED: _(
        "You paid more than once. The first payment stands; the other %(returned)s has gone back to you."
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
    title = PAID_MANY if view.situation is Situation.SURPLUS and len(returns) > 1 else words.title
    if view.situation is Situation.LATE and status is RefundStatus.REFUNDED:
        title, heading, then = words.then, words.then, ""  # what was to come has come
    is_over = bool(returns) and status is RefundStatus.REFUNDED
    return replace(
        words,
        look_again_s=0
        if is_over and view.situation in (Situation.SURPLUS, Situation.LATE)
        else words.look_again_s,
        icon=_opening(view)[0] if _is_open(view) else words.icon,
        title=str(title) % facts,
        line=str(line or words.line) % facts,
        heading=str(heading) % facts,
        then=str(then) % facts,
    )


def tell_order(view: OrderView, words: Words) -> Text:
    """The status line of the order page, which has nothing to pay by."""
    return str(_opening(view)[2]) % _facts(view) if _is_open(view) else words.line


def action_type(payment: Payment | None) -> str:
    """What the shopper has to pay by, by the contract's name; "" when there is nothing."""
    return str(((payment and payment.action) or {}).get("type", ""))


def tell_undecided(asked: Sequence[Payment]) -> str:
    """That the channels of these attempts, who have just been asked, gave no answer that decides anything."""
    now = read_now()
    is_watched = any(each.dead_at > now for each in asked)  # until then an alarm asks
    told = say(UNDECIDED_YET, Apps=capfirst(list_apps(asked)))
    return str(together(told, KEEP_ASKING if is_watched else ASK_LATER))


def tell_unreported(asked: Sequence[Payment]) -> str:
    """That the channels of these attempts, who have just been asked, report no payment."""
    has_voucher = any(action_type(payment) == "voucher" for payment in asked)
    return str(UNREPORTED_VOUCHER if has_voucher else UNREPORTED) % {"apps": list_apps(asked)}


def _is_open(view: OrderView) -> bool:
    return view.situation is Situation.WAITING


def _opening(view: OrderView) -> tuple[str, Text, Text]:
    return OPEN.get(action_type(view.payment), OPEN[""])


def _returned_line(situation: Situation, status: RefundStatus, returns: Sequence[Return]) -> Text | None:
    if situation is Situation.SURPLUS and len(returns) > 1:
        return RETURNED_MANY[status]
    by_hand = {each.is_by_hand for each in returns} if status is RefundStatus.REFUNDED else {False}
    if situation is Situation.LATE and len(by_hand) > 1:
        return LATE_MANY_RETURNED
    return RETURNED_BY_HAND.get(situation) if True in by_hand else RETURNED.get((situation, status))


def _line(view: OrderView, words: Words) -> Text:
    if view.situation is Situation.EXPIRED and (irregular := list_irregular(view.order)):
        return EXPIRED_IRREGULAR % {"apps": list_apps(irregular)}
    if view.situation is Situation.EXPIRED and (deciders := _deciders(view)):
        by_hand = names_by_hand(each.channel for each in deciders)
        facts = {"apps": list_apps(deciders), "by_hand": by_hand}
        return (EXPIRED_UNCHARGED_BY_HAND if by_hand else EXPIRED_UNCHARGED) % facts
    if view.situation is Situation.ENDING and action_type(view.payment) == "voucher":
        return together(VOUCHER_OVER, ANOTHER_WAY if _may_pay_otherwise(view) else "")
    if view.situation is Situation.REFUSED and view.payment and view.payment.action is None:
        return NOT_TAKEN
    if view.may_supersede:
        return _undecided_line(view)
    return _opening(view)[1] if _is_open(view) else words.line


def _may_pay_otherwise(view: OrderView) -> bool:
    """Whether there is time and another channel to pay by."""
    order, payment = view.order, view.payment
    ways = offers(order.currency, Device.PC, order.amount) if order.expires_at > read_now() else []
    return any(payment is None or way.channel.name != payment.channel for way in ways)


def _undecided_line(view: OrderView) -> Text:
    """Of two payments the one that comes second goes back, and that may be any that the shopper may choose now."""
    order = view.order
    by_hand = names_by_hand(offer.channel.name for offer in offers(order.currency, Device.PC, order.amount))
    return PREVIOUS_UNDECIDED_BY_HAND % {"by_hand": by_hand} if by_hand else PREVIOUS_UNDECIDED


def _deciders(view: OrderView) -> list[Payment]:
    """The attempts to pay, if their channels have said of all of them that they took nothing; else none.

    Of one that was closed money of another amount may have come, and gone back.
    """
    has_money = Exists(Receipt.objects.filter(payment=OuterRef("pk")))
    attempts = view.order.payments.annotate(has_money=has_money).order_by("pk")
    took_nothing = all(
        each.status in (PaymentStatus.CLOSED, PaymentStatus.FAILED) and not each.has_money
        for each in attempts
    )
    return [*attempts] if took_nothing else []


def _facts(view: OrderView) -> dict[str, Any]:
    wallet = wallet_of(view.payment.channel) if view.payment else SOME_WALLET
    return {
        "amount": view.order.amount_text,
        "title": wallet.title,
        "app": wallet.app,
        "App": capfirst(str(wallet.app)),
    }
