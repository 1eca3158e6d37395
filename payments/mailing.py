"""The receipt by mail, after an order was paid. Its own alarm, so that a mail server's bad day holds up nothing else.

A crash between sending and writing it down sends the mail twice, under the same Message-ID. Whoever asks for it once more
gets a mail of its own, with its own.
"""

from smtplib import SMTPRecipientsRefused
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from orders.access import token_of
from orders.moves import lock_order
from orders.statuses import OrderStatus
from payments.cases import open_case
from payments.channels.registry import title_of
from payments.errors import NothingToMail
from payments.models import Case, Receipt
from payments.statuses import ReceiptClass
from shop.alarms import Claim, remove_alarms, send_message, set_alarm
from shop.locks import stand_in_line
from shop.mail import send_mail
from shop.transactions import transactional

log = structlog.get_logger("nodrop.mailing")

MAIL_RECEIPT = "mail_receipt"
# The message does it at once; this is for when there is no cluster to do it.
MAIL_S = 10
PERMANENT = 500


def promise_mail(order_number: str) -> None:
    """Have the receipt mailed, once. Joins the caller's transaction."""
    if _unmailed(order_number) is None:
        return
    set_alarm(MAIL_RECEIPT, order_number, in_s=MAIL_S)
    send_message(MAIL_RECEIPT, order_number)


def resend_receipt(order_number: str) -> None:
    """Have the receipt mailed once more; one that has not gone yet goes once. Raises OrderNotFound, NothingToMail."""
    with stand_in_line(f"order:{order_number}"):
        _resend(order_number)


@transactional
def _resend(order_number: str) -> None:
    order = lock_order(order_number)
    settled = Receipt.objects.filter(order=order, receipt_class=ReceiptClass.SETTLED)
    if order.status == OrderStatus.REFUNDED or not settled.exists():
        raise NothingToMail(order_number)
    settled.filter(mailed_at__isnull=False).update(mailed_at=None, resends=F("resends") + 1)
    promise_mail(order_number)


def mail_by_alarm(claim: Claim) -> None:
    """Send the mail of the claim's order, unless it has gone."""
    receipt = _unmailed(claim.subject)
    if receipt is not None and receipt.order is not None and receipt.order.status != OrderStatus.REFUNDED:
        try:
            _mail(receipt)
        except SMTPRecipientsRefused as error:
            if not _is_final(error):
                raise
            _give_up(receipt)
    _mark_mailed(claim.subject, receipt)


def _is_final(error: SMTPRecipientsRefused) -> bool:
    """Whether the mail server says that there is no such address, and not that it is busy (RFC 5321, 4.2.1: 5yz)."""
    return all(code >= PERMANENT for code, _ in error.recipients.values())


def _give_up(receipt: Receipt) -> None:
    order = receipt.order
    open_case(Case.Kind.MAIL, order.number if order else "", order=order, evidence={"receipt": receipt.pk})


def _unmailed(order_number: str) -> Receipt | None:
    waiting = Receipt.objects.filter(
        order__number=order_number, receipt_class=ReceiptClass.SETTLED, mailed_at__isnull=True
    )
    return waiting.select_related("order").first()


def _mail(receipt: Receipt) -> None:
    order = receipt.order
    if order is None:
        return
    paid_at = receipt.paid_at or receipt.created_at
    text = render_to_string(
        "mail/receipt.txt",
        {
            "order": order,
            "lines": order.lines.select_related("order"),
            "method": title_of(receipt.channel),
            "paid_at": f"{paid_at.astimezone(ZoneInfo(settings.DISPLAY_TIME_ZONE)):%Y-%m-%d %H:%M}",
            "zone": settings.DISPLAY_TIME_ZONE,
            "channel_number": receipt.channel_number,
            "link": f"{settings.PUBLIC_URL}/orders/{order.number}/?token={token_of(order)}",
            "shop": settings.SHOP_NAME,
        },
    )
    subject = _("Your payment for order %(number)s") % {"number": order.number}
    again = f"-{receipt.resends}" if receipt.resends else ""
    message_id = f"receipt-{order.number}{again}@{urlsplit(settings.PUBLIC_URL).hostname}"
    send_mail(to=order.email, subject=subject, text=text, message_id=message_id)
    log.info("receipt mailed", order=order.number, payment=receipt.number)


@transactional
def _mark_mailed(order_number: str, receipt: Receipt | None) -> None:
    """It has gone, and unless somebody has asked for it once more meanwhile, nothing is left to do."""
    lock_order(order_number)
    if receipt is not None:
        same = Receipt.objects.filter(pk=receipt.pk, resends=receipt.resends, mailed_at__isnull=True)
        same.update(mailed_at=Now())
    if _unmailed(order_number) is None:
        remove_alarms([MAIL_RECEIPT], order_number)
