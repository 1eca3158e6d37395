"""The mails to an order's shopper, each by an alarm of its own, so that a mail server's bad day holds up nothing else: the
receipt after it was paid, its link for who has lost it, and that money which paid nothing has gone back.

A crash between sending and writing it down sends the mail twice, under the same Message-ID. Whoever asks for it once more
gets a mail of its own, with its own.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any

import structlog
from django.db import connection
from django.db.models import Exists, F
from django.db.models.functions import Now

from orders.access import is_link_alive, renew_link
from orders.models import Order
from orders.moves import lock_order
from orders.statuses import OrderStatus
from payments.cases import open_case
from payments.errors import NothingToMail
from payments.mails import Mail, write_link, write_receipt, write_returned
from payments.models import Case, Receipt, Refund
from payments.moves import MAIL_S
from payments.statuses import ReceiptClass
from shop.alarms import Claim, finish, remove_alarms, send_message, set_alarm
from shop.clock import WITH_NOW
from shop.events import Change, record
from shop.locks import stand_in_line
from shop.mail import send_mail
from shop.models import Source
from shop.transactions import transactional
from shop.writes import together, update

log = structlog.get_logger("nodrop.mailing")

MAIL_RECEIPT = "mail_receipt"
MAIL_LINK = "mail_link"
# An address is sent a link once in so long, however often anybody asks, and for however many orders.
LINK_EVERY_S = 600
PERMANENT = 500


# ---- the receipt -------------------------------------------------------------------------------------------------


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
        _send(write_receipt(receipt.order, receipt), receipt.order, about={"receipt": receipt.pk})
    _mark_mailed(claim.subject, receipt)


def _unmailed(order_number: str) -> Receipt | None:
    waiting = Receipt.objects.filter(
        order__number=order_number, receipt_class=ReceiptClass.SETTLED, mailed_at__isnull=True
    )
    return waiting.select_related("order").first()


@transactional
def _mark_mailed(order_number: str, receipt: Receipt | None) -> None:
    """It has gone, and unless somebody has asked for it once more meanwhile, nothing is left to do."""
    lock_order(order_number)
    if receipt is not None:
        same = Receipt.objects.filter(pk=receipt.pk, resends=receipt.resends, mailed_at__isnull=True)
        same.update(mailed_at=Now())
    if _unmailed(order_number) is None:
        remove_alarms([MAIL_RECEIPT], order_number)


# ---- the link ----------------------------------------------------------------------------------------------------


@transactional
def ask_for_link(order_number: str, email: str) -> None:
    """Have the order's link mailed, if this is its address and nothing was mailed there a moment ago. Nobody learns whether.

    Whoever writes an address into many orders makes one mail to it, not many.
    """
    _lock_address(email)
    of_address = Order.objects.filter(email__iexact=email)
    lately = of_address.filter(link_asked_at__gt=Now() - timedelta(seconds=LINK_EVERY_S))
    wanted = of_address.filter(~Exists(lately), number=order_number)
    order = wanted.select_for_update(of=("self",)).annotate(**WITH_NOW).first()
    if order is not None:
        _promise_link(order)


def _lock_address(email: str) -> None:
    """Until the end of the transaction nobody else asks for a mail to it."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(upper(%s), 0))", [f"link to {email}"])


@transactional
def mail_new_link(order_number: str, *, actor: str) -> None:
    """A person has a new link made and mailed; the old ones count no more. Raises OrderNotFound.

    Who does it tells the waiting pages so, see `cached.renew_state`.
    """
    _promise_link(renew_link(order_number, actor=actor, source=Source.STAFF))


def _promise_link(order: Order) -> None:
    """Of a locked order, read with the database's clock."""
    with together():
        update(order, link_asked_at=order.now)
        set_alarm(MAIL_LINK, order.number, in_s=MAIL_S)
        send_message(MAIL_LINK, order.number)


def mail_link_by_alarm(claim: Claim) -> None:
    """Send the link of the claim's order; a new one if it has ended."""
    order = _with_living_link(claim.subject)
    has_gone = _send(write_link(order), order, about={"mail": "link"})
    _mark_link_sent(claim, has_gone=has_gone)


@transactional
def _with_living_link(order_number: str) -> Order:
    order = lock_order(order_number)
    return order if is_link_alive(order) else renew_link(order_number)


@transactional
def _mark_link_sent(claim: Claim, *, has_gone: bool) -> None:
    if has_gone:
        _record_mail("LINK", subject=claim.subject, order_number=claim.subject)
    finish(claim)  # unless it was asked for once more meanwhile


# ---- money that went back by itself ------------------------------------------------------------------------------


def mail_returned_by_alarm(claim: Claim) -> None:
    """Tell the shopper of the claim's refund that its money is back, unless that has been done."""
    refund = Refund.objects.select_related("receipt__order").get(number=claim.subject)
    order = refund.receipt.order
    if order is not None and not refund.is_told:
        has_gone = _send(write_returned(order, refund), order, about={"refund": refund.number})
        _mark_told(refund, order, has_gone=has_gone)
    finish(claim)


@transactional
def _mark_told(refund: Refund, order: Order, *, has_gone: bool) -> None:
    untold = Refund.objects.filter(pk=refund.pk, is_told=False)
    if untold.update(is_told=True) and has_gone:
        _record_mail("RETURNED", subject=refund.number, order_number=order.number)


# ---- all of them -------------------------------------------------------------------------------------------------


def _send(mail: Mail, order: Order, *, about: Mapping[str, Any]) -> bool:
    """Hand it over and say whether it has gone: an address that does not exist is given up and told to a person, with what
    it was `about`.
    """
    try:
        send_mail(**asdict(mail))
    except SMTPRecipientsRefused as error:
        if not _is_final(error):
            raise
        _tell_people(order.number, about)
        return False
    log.info("mailed", order=order.number, mail=mail.message_id.partition("@")[0])
    return True


@transactional
def _tell_people(order_number: str, about: Mapping[str, Any]) -> None:
    open_case(Case.Kind.MAIL, order_number, order=lock_order(order_number), evidence=about)


def _record_mail(what: str, *, subject: str, order_number: str) -> None:
    """A line of the order's story. Joins the caller's transaction."""
    change = Change(
        subject_kind="mail",
        subject=subject,
        order_number=order_number,
        from_status="",
        to_status=what,
        source=Source.SYSTEM,
    )
    record([change])


def _is_final(error: SMTPRecipientsRefused) -> bool:
    """Whether the mail server says that there is no such address, and not that it is busy (RFC 5321, 4.2.1: 5yz)."""
    return all(code >= PERMANENT for code, _ in error.recipients.values())
