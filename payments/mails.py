"""What the mails say: plain text, in the order's language, narrow enough for any screen. Nothing is sent or decided here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from orders.access import link_ends_at, link_to
from orders.models import Order
from payments.channels.registry import title_of
from payments.models import Receipt, Refund
from payments.statuses import ReceiptClass
from shop.languages import clock, long_day, speaking, zone_name
from shop.mail import narrow
from shop.money import for_people


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail, as `shop.mail.send_mail` wants it."""

    to: str
    subject: str
    text: str
    message_id: str


def write_receipt(order: Order, receipt: Receipt) -> Mail:
    """That the order is paid, with which money."""
    again = f"-{receipt.resends}" if receipt.resends else ""
    with speaking(order.language):
        about = {
            "lines": order.lines.select_related("order", "product"),
            "method": _(title_of(receipt.channel)),
            "paid_at": _tell_moment(receipt.paid_at or receipt.created_at),
            "channel_number": receipt.channel_number,
        }
        subject = _("Your payment for order %(number)s") % {"number": order.number}
        return _write(order, "receipt", subject, about, name=f"receipt-{order.number}{again}")


def write_link(order: Order) -> Mail:
    """The order's link, for whoever has lost it. One mail for each time that it was asked for."""
    asked = f"{order.link_asked_at:%Y%m%d%H%M%S%f}" if order.link_asked_at else ""
    with speaking(order.language):
        subject = _("The link to your order %(number)s") % {"number": order.number}
        return _write(order, "link", subject, {}, name=f"link-{order.number}-{asked}")


def write_returned(order: Order, refund: Refund) -> Mail:
    """That money which paid nothing has gone back by itself."""
    receipt = refund.receipt
    with speaking(order.language):
        amount = for_people(refund.amount, receipt.currency)
        about = {
            "amount": amount,
            "paid_twice": receipt.receipt_class == ReceiptClass.SURPLUS,
            "paid_often": order.receipts.filter(receipt_class=ReceiptClass.SURPLUS).count() > 1,
            "by_hand": refund.kind == Refund.Kind.BY_HAND,
            "method": _(title_of(refund.channel)),
            "paid_at": _tell_moment(receipt.paid_at or receipt.created_at),
            "returned_at": _tell_moment(refund.ended_at or refund.created_at),
            "channel_number": receipt.channel_number,
        }
        subject = _("We sent %(amount)s back to you: order %(number)s")
        subject %= {"amount": amount, "number": order.number}
        return _write(order, "returned", subject, about, name=f"returned-{refund.number}")


def _write(order: Order, template: str, subject: str, about: dict[str, Any], *, name: str) -> Mail:
    common = {
        "order": order,
        "name": " ".join(order.name.split()),
        "link": link_to(order),
        "until": long_day(link_ends_at(order)),
        "shop": settings.SHOP_NAME,
    }
    text = render_to_string(f"mail/{template}.txt", common | about)
    message_id = f"{name}@{urlsplit(settings.PUBLIC_URL).hostname}"
    return Mail(to=order.email, subject=subject, text=narrow(text), message_id=message_id)


def _tell_moment(at: datetime) -> str:
    """In the zone of the shop, which is named: a mail is read anywhere."""
    return _("%(moment)s (%(zone)s)") % {"moment": f"{long_day(at)} {clock(at)}", "zone": zone_name(at)}
