"""What staff may do to an order."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from orders.models import Order
from orders.statuses import OrderStatus
from payments.cached import renew_state
from payments.deeds.base import Deed
from payments.ending import cancel_order
from payments.mailing import mail_new_link, resend_receipt
from payments.shipping import complete_order, ship_order
from shop.models import Source
from shop.sentences import Words, lower, say

KEPT = (OrderStatus.READY_FOR_SHIPMENT, OrderStatus.SHIPPED, OrderStatus.COMPLETED)


def _must_be(order: Order, *statuses: OrderStatus, else_say: Words) -> str:
    return "" if order.status in statuses else say(else_say, status=lower(OrderStatus(order.status).label))


def _hinders_cancel(order: Order) -> str:
    only = _("This order is %(status)s: only an unpaid one can be cancelled.")
    return _must_be(order, OrderStatus.UNPAID, else_say=only)


def _foretell_cancel(order: Order) -> list[str]:
    return [
        gettext(
            "%(amount)s is not paid yet and will not be asked for any more: what can still be paid is closed at"
            " its channel first, and if it turns out to be paid, the order is kept."
        )
        % {"amount": order.amount_text},
        gettext(
            "The goods go back on the shelf. Money that comes later all the same goes back to the shopper by itself."
        ),
    ]


def _cancel(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    cancel_order(order.number, source=Source.STAFF, actor=user.get_username())
    return say(_("%(number)s is cancelled; its goods are on the shelf again."), number=order.number)


def _hinders_ship(order: Order) -> str:
    only = _("This order is %(status)s: only one that is ready for shipment can be shipped.")
    return _must_be(order, OrderStatus.READY_FOR_SHIPMENT, else_say=only)


def _foretell_ship(order: Order) -> list[str]:
    return [
        gettext(
            "No money moves: %(amount)s is paid and stays here. The shopper sees that the goods are on their way."
        )
        % {"amount": order.amount_text}
    ]


def _ship(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    ship_order(order.number, actor=user.get_username())
    return say(_("%(number)s is shipped."), number=order.number)


def _hinders_complete(order: Order) -> str:
    only = _("This order is %(status)s: only a shipped one can be completed.")
    return _must_be(order, OrderStatus.SHIPPED, else_say=only)


def _foretell_complete(order: Order) -> list[str]:
    stays = gettext("No money moves: %(amount)s is paid and stays here. The shopper has got the goods.")
    return [stays % {"amount": order.amount_text}]


def _complete(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    complete_order(order.number, actor=user.get_username())
    return say(_("%(number)s is completed."), number=order.number)


def _hinders_resend(order: Order) -> str:
    only = _("This order is %(status)s: only a paid one has a receipt to send.")
    return _must_be(order, *KEPT, else_say=only)


def _foretell_resend(order: Order) -> list[str]:
    mailed = gettext("No money moves. The receipt over %(amount)s is mailed to %(email)s once more.")
    return [mailed % {"amount": order.amount_text, "email": order.email}]


def _resend(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    resend_receipt(order.number)
    return say(_("The receipt is mailed to the shopper once more."))


def _hinders_link(order: Order) -> str:
    return ""


def _foretell_link(order: Order) -> list[str]:
    mailed = gettext("No money moves. A new link to the order is mailed to %(email)s.")
    return [
        mailed % {"email": order.email},
        gettext(
            "The links given out before stop working, also where they are open, and so do the API's tokens."
        ),
    ]


def _link(order: Order, user: User, reason: str, data: Mapping[str, Any]) -> str:
    mail_new_link(order.number, actor=user.get_username())
    renew_state(order.number)
    return say(_("A new link is mailed to the shopper; the old ones do not work any more."))


DEEDS = (
    Deed(
        name="ship_order",
        title=_("Mark as shipped"),
        permission="orders.ship_order",
        model=Order,
        hinders=_hinders_ship,
        foretells=_foretell_ship,
        run=_ship,
    ),
    Deed(
        name="complete_order",
        title=_("Mark as completed"),
        permission="orders.ship_order",
        model=Order,
        hinders=_hinders_complete,
        foretells=_foretell_complete,
        run=_complete,
    ),
    Deed(
        name="resend_receipt",
        title=_("Send the receipt again"),
        permission="orders.resend_receipt",
        model=Order,
        hinders=_hinders_resend,
        foretells=_foretell_resend,
        run=_resend,
    ),
    Deed(
        name="renew_link",
        title=_("Make a new link and mail it"),
        permission="orders.resend_receipt",
        model=Order,
        hinders=_hinders_link,
        foretells=_foretell_link,
        run=_link,
    ),
    Deed(
        name="cancel_order",
        title=_("Cancel the order"),
        permission="orders.cancel_order",
        model=Order,
        hinders=_hinders_cancel,
        foretells=_foretell_cancel,
        run=_cancel,
    ),
)
