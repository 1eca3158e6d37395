"""The sentence on top of an order's story: why it is or is not paid, and what happens next and when.

Never "unpaid" while a channel may have its money and has not said so; what comes next is read from alarms, refunds and
cases, and promises nothing that nobody has set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from orders.moves import EXPIRE_ORDER
from orders.statuses import PAID, CloseReason, OrderStatus
from payments.channels.registry import can_refund
from payments.models import Case, Payment, Proposal, Receipt, Refund
from payments.moves import CAPTURE_PAYMENT, MAIL_RETURNED, QUERY_PAYMENT, RECHECK_PAYMENT, SEND_REFUND
from payments.showing import Mood
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from payments.story.rows import Rows
from payments.story.words import (
    SILENT,
    tell_answer,
    tell_channel,
    tell_clock,
    tell_due,
    tell_money,
    tell_when,
)
from shop.models import Source
from shop.sentences import together

# Alarms of rooms above or beside this one, by the names under which they are set.
MAIL_RECEIPT, MAIL_LINK, TAKE_CALLBACK = "mail_receipt", "mail_link", "take_callback"
ABOUT_PAYMENT = frozenset({"create", "query", "close", "capture"})
# What these cases ask is told with the refund or the proposal that waits.
TOLD_ELSEWHERE = frozenset({Case.Kind.APPROVAL, Case.Kind.PROPOSAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """`why` says in one or two sentences where the order's money stands, `then` in one each what comes next."""

    mood: Mood
    why: str
    then: list[str]


def tell_outlook(rows: Rows) -> Outlook:
    """Where the order's money stands and what comes next; people first, for they are waited for."""
    mood, why = _why(rows)
    then = [
        *_next_of_people(rows),
        *_next_of_refunds(rows),
        *_next_of_attempts(rows),
        *_next_of_order(rows),
        *_next_of_messages(rows),
    ]
    return Outlook(mood=mood, why=why, then=then or [_("Nothing more happens by itself.")])


# ---- why it is or is not paid ------------------------------------------------------------------------------------


def _why(rows: Rows) -> tuple[Mood, str]:
    status = rows.order.status
    if status in PAID:
        return _why_refunded(rows) if status == OrderStatus.REFUNDED else _why_paid(rows)
    if mismatch := _find(rows, ReceiptClass.MISMATCH, is_kept=True):
        return Mood.WRONG, _tell_mismatch(rows, mismatch)
    return _why_closed(rows) if status == OrderStatus.CLOSED else _why_unpaid(rows)


def _find(rows: Rows, receipt_class: ReceiptClass, *, is_kept: bool = False) -> Receipt | None:
    """The newest receipt of this class; with `is_kept`, one whose money has not gone back in full."""
    found = [receipt for receipt in rows.receipts if receipt.receipt_class == receipt_class]
    return next(
        (each for each in reversed(found) if not is_kept or _returned(rows, each) < each.amount), None
    )


def _refunds_of(rows: Rows, receipt: Receipt) -> list[Refund]:
    return [refund for refund in rows.refunds if refund.receipt_id == receipt.pk]


def _returned(rows: Rows, receipt: Receipt) -> int:
    """What of the receipt went back, in minor units."""
    gone = (each for each in _refunds_of(rows, receipt) if each.status == RefundStatus.REFUNDED)
    return sum(refund.amount for refund in gone)


def _tell_paid(rows: Rows, receipt: Receipt) -> str:
    """ "¥129.00 through WeChat Pay, 14:02:11 (3 minutes ago)"."""
    return _("%(money)s through %(channel)s, %(when)s") % {
        "money": tell_money(receipt.amount, receipt.currency),
        "channel": tell_channel(receipt.channel),
        "when": tell_when(receipt.paid_at or receipt.created_at, rows.now),
    }


def _why_paid(rows: Rows) -> tuple[Mood, str]:
    settled = _find(rows, ReceiptClass.SETTLED)
    if settled is None:
        return Mood.WRONG, _(
            "This order is marked as paid, but no money of it is known: a person has to look."
        )
    why = [_("Paid: %(paid)s.") % {"paid": _tell_paid(rows, settled)}]
    if gone := _returned(rows, settled):
        why.append(_("%(money)s of it went back.") % {"money": tell_money(gone, settled.currency)})
    others = [each for each in rows.receipts if each.receipt_class == ReceiptClass.SURPLUS]
    for other in others:
        facts = {"paid": _tell_paid(rows, other), "fate": _tell_fate(rows, other)}
        why.append(_("It was paid again: %(paid)s; %(fate)s.") % facts)
    is_back = all(_returned(rows, other) >= other.amount for other in others)
    return Mood.DONE if is_back else Mood.BACK, str(together(*why))


def _why_refunded(rows: Rows) -> tuple[Mood, str]:
    settled = _find(rows, ReceiptClass.SETTLED)
    ends = [refund.ended_at for refund in rows.refunds if refund.ended_at]
    if settled is None or not ends:
        return Mood.BACK, _("All of its money went back.")
    why = _("It was paid (%(paid)s), and all of it went back by %(when)s.")
    return Mood.BACK, why % {"paid": _tell_paid(rows, settled), "when": tell_when(max(ends), rows.now)}


def _tell_fate(rows: Rows, receipt: Receipt) -> str:
    """What becomes of money that pays nothing."""
    refunds = _refunds_of(rows, receipt)
    statuses = {refund.status for refund in refunds}
    if _returned(rows, receipt) >= receipt.amount:
        ends = [refund.ended_at for refund in refunds if refund.ended_at]
        return (
            _("that went back, %(when)s") % {"when": tell_when(max(ends), rows.now)}
            if ends
            else _("that went back")
        )
    if RefundStatus.PENDING_APPROVAL in statuses:
        return _("that waits for a second person before it goes back")
    if RefundStatus.REFUNDING in statuses:
        return _("that is on its way back")
    if not can_refund(receipt.channel):
        return _("%(channel)s cannot send that back, so a person has to") % {
            "channel": tell_channel(receipt.channel)
        }
    return _("that could not be sent back and waits for a person")


def _tell_mismatch(rows: Rows, receipt: Receipt) -> str:
    return _("Not paid: %(asked)s was asked for and another amount came (%(paid)s). %(rest)s") % {
        "asked": rows.order.amount_text,
        "paid": _tell_paid(rows, receipt),
        "rest": _("It is on its way back.")
        if any(refund.status == RefundStatus.REFUNDING for refund in _refunds_of(rows, receipt))
        else _("A person decides: refunded in full, it lets the shopper pay anew."),
    }


def _why_closed(rows: Rows) -> tuple[Mood, str]:
    order = rows.order
    at = order.closed_at or rows.now
    closed = {"when": tell_when(at, rows.now), "who": _closed_by(rows)}
    is_expired = order.close_reason == CloseReason.EXPIRED
    late = [each for each in rows.receipts if each.receipt_class == ReceiptClass.LATE]
    if not late and (doubt := _find_doubt(rows)):
        tail = (
            _("Its time to pay ended and it was closed, %(when)s.")
            if is_expired
            else _("It was cancelled by %(who)s, %(when)s.")
        )
        return Mood.WAITING, str(together(doubt, tail % closed))
    if is_expired:
        head = _("Not paid: its time to pay ended and it was closed, %(when)s.") % closed
    else:
        head = _("Not paid: it was cancelled by %(who)s, %(when)s.") % closed
    if not late:
        return Mood.QUIET, str(together(head, _unheard(rows)))
    told = [
        _("Money came afterwards: %(paid)s; %(fate)s.")
        % {"paid": _tell_paid(rows, each), "fate": _tell_fate(rows, each)}
        for each in late
    ]
    is_back = all(_returned(rows, each) >= each.amount for each in late)
    return Mood.QUIET if is_back else Mood.BACK, str(together(head, *told))


def _closed_by(rows: Rows) -> str:
    moves = [
        event
        for event in rows.events
        if event.to_status == OrderStatus.CLOSED and event.subject_kind == "order"
    ]
    if moves and moves[-1].source != Source.SHOPPER:
        return moves[-1].actor or _("the shop")
    return _("the shopper")


def _unheard(rows: Rows) -> str:
    """Whether money is known not to have come, or a channel may still take some. No channel is in doubt here."""
    if not rows.payments:
        return _("Nobody had tried to pay.")
    watched = [tell_channel(each.channel) for each in rows.payments if each.is_live]
    if watched:
        names = _(", ").join(dict.fromkeys(watched))
        return _("%(channels)s may still take money for it, and is watched.") % {"channels": names}
    return _("No channel has taken money for it.")


# ---- what is not known -------------------------------------------------------------------------------------------


def _find_doubt(rows: Rows) -> str:
    """That some channel may have taken money and has not said so, the newest attempt first; "" when each has said."""
    return next((doubt for each in reversed(rows.payments) if (doubt := _tell_doubt(rows, each))), "")


def _tell_doubt(rows: Rows, payment: Payment) -> str:
    """Of one attempt. One that was closed can be in doubt as long as it is asked about once more."""
    if not payment.is_live and rows.due_at(RECHECK_PAYMENT, payment.number) is None:
        return ""
    facts = {"channel": tell_channel(payment.channel)}
    silence = _tell_silence(rows, payment)
    if payment.is_live and payment.capture_asked_at is not None:
        why = _("Not known yet: the shopper agreed to pay through %(channel)s and the money is being taken.")
        return str(together(why % facts, silence))
    if silence:
        why = _("Not known: the shopper may have paid through %(channel)s, which does not say.")
        return str(together(why % facts, silence))
    if payment.is_live and payment.is_unsure:
        why = _(
            "Not known: %(channel)s has not said whether the attempt was paid before it was to be closed."
        )
        return why % facts
    return ""


# ---- while it is unpaid ------------------------------------------------------------------------------------------


def _why_unpaid(rows: Rows) -> tuple[Mood, str]:
    current = next((each for each in reversed(rows.payments) if each.superseded_at is None), None)
    if not rows.payments:
        return Mood.QUIET, _("Not paid: nobody has tried to pay yet.")
    if doubt := _find_doubt(rows):
        return Mood.WAITING, doubt
    if current is None:
        return Mood.QUIET, _("Not paid: no attempt is open. %(heard)s") % {"heard": _unheard(rows)}
    facts = {"channel": tell_channel(current.channel), "number": current.number}
    if current.status == PaymentStatus.FAILED:
        code = next(
            (each.note.get("code") for each in reversed(rows.events) if each.subject == current.number), ""
        )
        facts["code"] = f" ({code})" if code else ""
        return Mood.WRONG, _(
            "Not paid: %(channel)s refused the last attempt%(code)s; nothing was taken."
        ) % facts
    if current.status != PaymentStatus.PAYING:
        return Mood.QUIET, _(
            "Not paid: the last attempt, through %(channel)s, was closed without money."
        ) % facts
    return _why_open(rows, current, facts)


def _why_open(rows: Rows, live: Payment, facts: dict[str, str]) -> tuple[Mood, str]:
    """Of an attempt that may take money, and of which its channel says whether it has."""
    if live.action is None:
        why = _("Not paid: %(channel)s has not given the shopper anything to pay by yet.")
        return Mood.WAITING, why % facts
    if live.expires_at <= rows.now:
        why = _("Not paid as far as we know: the time to pay is over and %(channel)s is asked once more.")
        return Mood.WAITING, str(together(why % facts, _tell_last_answer(rows, live)))
    why = _("Not paid: %(what)s, since %(when)s.")
    waiting = {
        "what": _("waiting for the boleto to be paid")
        if live.scene == "voucher"
        else _("waiting for the shopper to pay in %(channel)s") % facts,
        "when": tell_when(live.created_at, rows.now),
    }
    return Mood.WAITING, str(together(why % waiting, _tell_last_answer(rows, live)))


def _tell_silence(rows: Rows, payment: Payment) -> str:
    """That the channel has not answered the last questions; "" when it has, or was not asked."""
    silent = 0
    since: datetime | None = None
    for call in reversed(rows.calls):
        if call.subject != payment.number or call.operation not in ABOUT_PAYMENT:
            continue
        if call.outcome not in SILENT:
            break
        silent, since = silent + 1, call.at
    if since is None:
        return ""
    words = ngettext(
        "One question had no answer, %(since)s.",
        "The last %(count)d questions had no answer, the first %(since)s.",
        silent,
    )
    return words % {"count": silent, "since": tell_when(since, rows.now)}


def _tell_last_answer(rows: Rows, payment: Payment) -> str:
    asked = [each for each in rows.calls if each.subject == payment.number and each.operation == "query"]
    if not asked:
        return ""
    facts = {
        "channel": tell_channel(payment.channel),
        "at": tell_clock(asked[-1].at, rows.now),
        "answer": tell_answer(asked[-1].outcome),
    }
    return _("%(channel)s said at %(at)s: %(answer)s.") % facts


# ---- what comes next ---------------------------------------------------------------------------------------------


def _next_of_people(rows: Rows) -> Iterator[str]:
    for case in rows.cases:
        if case.resolved_at is None and case.kind not in TOLD_ELSEWHERE:
            yield _("Waits for a person: %(kind)s (%(subject)s), until %(deadline)s; %(owner)s.") % {
                "kind": case.get_kind_display(),
                "subject": case.subject,
                "deadline": tell_when(case.deadline, rows.now),
                "owner": _("%(name)s looks after it") % {"name": case.owner.get_username()}
                if case.owner
                else _("nobody has taken it yet"),
            }
    for proposal in rows.proposals:
        if proposal.status == Proposal.Status.WAITING:
            yield _(
                "Waits for a second person: %(name)s proposes to settle %(payment)s as paid, %(money)s."
            ) % {
                "name": proposal.asked_by,
                "payment": proposal.payment.number,
                "money": tell_money(proposal.amount, proposal.currency),
            }


def _next_of_refunds(rows: Rows) -> Iterator[str]:
    for refund in rows.refunds:
        facts = {
            "number": refund.number,
            "money": tell_money(refund.amount, refund.receipt.currency),
            "channel": tell_channel(refund.channel),
            "by": refund.asked_by or _("the shop"),
        }
        if refund.status == RefundStatus.PENDING_APPROVAL:
            case = rows.open_case(Case.Kind.APPROVAL, refund.number)
            until = _(", until %(when)s") % {"when": tell_when(case.deadline, rows.now)} if case else ""
            waits = _(
                "Refund %(number)s of %(money)s waits for a second person to approve it; %(by)s asked%(until)s."
            )
            yield waits % (facts | {"until": until})
        elif refund.status == RefundStatus.REFUNDING:
            due_at = rows.due_at(SEND_REFUND, refund.number)
            facts["due"] = tell_due(due_at, rows.now) if due_at else _nobody_asks()
            if refund.sent_at is None:
                yield _("Refund %(number)s of %(money)s is sent to %(channel)s %(due)s.") % facts
            else:
                yield _("Refund %(number)s of %(money)s is on its way; %(channel)s is asked %(due)s.") % facts


def _nobody_asks() -> str:
    """Something unfinished without an alarm: the scanner's business."""
    return _("as soon as the scanner notices that no alarm is set")


def _next_of_attempts(rows: Rows) -> Iterator[str]:
    for payment in rows.payments:
        facts = {"channel": tell_channel(payment.channel), "number": payment.number}
        if payment.is_live:
            yield _next_of_open(rows, payment, facts)
        elif due_at := rows.due_at(RECHECK_PAYMENT, payment.number):
            facts["due"] = tell_due(due_at, rows.now)
            facts["dead_at"] = tell_when(payment.dead_at, rows.now)
            yield (
                _(
                    "%(channel)s is asked %(due)s whether attempt %(number)s was paid in its last moment;"
                    " it can take no money after %(dead_at)s."
                )
                % facts
            )


def _next_of_open(rows: Rows, payment: Payment, facts: dict[str, str]) -> str:
    capture_at = rows.due_at(CAPTURE_PAYMENT, payment.number)
    due_at = capture_at or rows.due_at(QUERY_PAYMENT, payment.number)
    facts = facts | {
        "due": tell_due(due_at, rows.now) if due_at else _nobody_asks(),
        "dead_at": tell_when(payment.dead_at, rows.now),
    }
    if capture_at:
        return _("The money of attempt %(number)s is asked for again %(due)s.") % facts
    if payment.superseded_at is None and rows.order.status == OrderStatus.UNPAID:
        return _("%(channel)s is asked again %(due)s.") % facts
    facts["back"] = (
        _("goes back by itself") if can_refund(payment.channel) else _("has to be paid back by a person")
    )
    return (
        _(
            "%(channel)s may still take money for attempt %(number)s, until %(dead_at)s: it is asked %(due)s,"
            " and what comes %(back)s."
        )
        % facts
    )


def _next_of_order(rows: Rows) -> Iterator[str]:
    order = rows.order
    is_returning = any(
        refund.status in (RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING) for refund in rows.refunds
    )
    if order.status == OrderStatus.UNPAID:
        due_at = rows.due_at(EXPIRE_ORDER, order.number)
        if due_at is None:
            yield _("Its end is set %(due)s.") % {"due": _nobody_asks()}
        elif order.expires_at > rows.now:
            when = tell_when(order.expires_at, rows.now)
            yield _("Without money it is closed at %(when)s, and the goods go back on the shelf.") % {
                "when": when
            }
        else:
            yield _("Its time to pay is over; it is closed %(due)s.") % {"due": tell_due(due_at, rows.now)}
    elif order.status == OrderStatus.READY_FOR_SHIPMENT and not is_returning:
        yield _("The goods are to be shipped.")
    elif order.status == OrderStatus.SHIPPED and not is_returning:
        yield _("It is shipped; somebody marks it completed when it has arrived.")


def _next_of_messages(rows: Rows) -> Iterator[str]:
    for callback in rows.callbacks:
        due_at = rows.due_at(TAKE_CALLBACK, str(callback.pk))
        if callback.taken_at is None and due_at:
            facts = {"channel": tell_channel(callback.channel), "due": tell_due(due_at, rows.now)}
            yield _("A message of %(channel)s could not be settled yet and is taken again %(due)s.") % facts
    if mail_at := rows.due_at(MAIL_RECEIPT, rows.order.number):
        yield _("The receipt is mailed %(due)s.") % {"due": tell_due(mail_at, rows.now)}
    if link_at := rows.due_at(MAIL_LINK, rows.order.number):
        yield _("The order's link is mailed %(due)s.") % {"due": tell_due(link_at, rows.now)}
    for refund in rows.refunds:
        if told_at := rows.due_at(MAIL_RETURNED, refund.number):
            yield _("That refund %(number)s is back is mailed %(due)s.") % {
                "number": refund.number,
                "due": tell_due(told_at, rows.now),
            }
