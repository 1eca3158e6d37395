"""What staff may do in the back office: one table, and one way to carry a line of it out.

Every deed calls one flow, which decides. What was done, or refused, and why is written down for ever.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.utils.translation import gettext_lazy as _

from orders.errors import OrderError, OrderNotFound
from payments.deeds import cases, endpoints, keys, money, orders, refunds, settlements
from payments.deeds.base import MAX_REASON
from payments.deeds.base import Deed as Deed
from payments.deeds.base import DeedRefused as DeedRefused
from payments.deeds.base import NotPermitted as NotPermitted
from payments.deeds.base import order_of as order_of
from payments.deeds.base import subject_of as subject_of
from payments.deeds.records import record_action
from payments.errors import (
    OrderIsPaid,
    OverRefund,
    PaymentConfirming,
    PaymentError,
    PaymentNotFound,
    RefundNotFound,
)
from shop import sentences
from shop.idempotency import InProgress, KeyMismatch
from shop.sentences import Words, in_english
from shop.webhooks.errors import EndpointError

DEEDS: tuple[Deed, ...] = (
    *orders.DEEDS,
    *money.DEEDS,
    *settlements.DEEDS,
    *refunds.DEEDS,
    *cases.DEEDS,
    *keys.DEEDS,
    *endpoints.DEEDS,
)

log = structlog.get_logger("nodrop.deeds")

# Where an error names a row only, or says less than a person needs.
WORDS: dict[type[Exception], Words] = {
    OrderNotFound: _("This order is not there any more."),
    PaymentNotFound: _("This payment is not there any more."),
    RefundNotFound: _("This refund is not there any more."),
    OrderIsPaid: _("The order is paid: refund it instead of cancelling it."),
    PaymentConfirming: _(
        "The channel gave no answer that can be believed, or money of a wrong amount waits for a person:"
        " nothing was ended. Try again in a moment."
    ),
    InProgress: _("Somebody presses the same button at this moment. Look at what became of it."),
}
EXPECTED = (DeedRefused, PaymentError, OrderError, EndpointError, InProgress, KeyMismatch, ValueError)


def find_deed(name: str, model: type[Model]) -> Deed:
    """The deed of that name for rows of this model. Raises LookupError."""
    for deed in DEEDS:
        if (deed.name, deed.model) == (name, model):
            return deed
    raise LookupError(name)


def offered_to(user: User, row: Model, *, is_one_of_many: bool = False) -> list[Deed]:
    """What this person may do to the row in its present state; beside many others, what can be told without asking for it."""
    ours = (deed for deed in DEEDS if isinstance(row, deed.model) and not (deed.asks and is_one_of_many))
    return [deed for deed in ours if deed.is_for(user, row) and deed.is_offered(row)]


def carry_out(deed: Deed, row: Any, *, user: User, reason: str, data: Mapping[str, Any]) -> str:
    """Do it, and say what came of it. `data`: what the fields of the deed asked for, cleaned. Never inside a transaction.

    The row should be as it is now. Raises NotPermitted and DeedRefused, with words for the person; and what its flow raises
    when it is broken, or the database is. Whatever the end is, it stands in the history of staff.
    """
    try:
        _check(deed, row, user, reason)
        result = deed.run(row, user, reason.strip(), data)
    except EXPECTED as error:
        words = say(error)
        write_down(deed, row, user, reason, words, is_done=False)
        if isinstance(error, DeedRefused):
            raise
        raise DeedRefused(words) from error
    except Exception as error:  # the history keeps it, and the caller gets it
        write_down(deed, row, user, reason, say_broken(error), is_done=False)
        raise
    write_down(deed, row, user, reason, result, is_done=True)
    return result


def say(error: Exception) -> str:
    """What went wrong, for the person who wanted it: a lazy sentence."""
    if isinstance(error, OverRefund) and not error.left_minor:
        return sentences.say(_("Nothing is left of it that could be given back."))
    return sentences.say(WORDS.get(type(error), "%(error)s"), error=error)


def say_broken(error: Exception) -> str:
    """That nobody knows how far it came."""
    words = _("It broke off (%(error)s): see what has become of it.")
    return sentences.say(words, error=type(error).__name__)


def say_missing(deed: Deed) -> str:
    """Which permission somebody lacks, in the words of the permission itself."""
    app, codename = deed.permission.split(".")
    named = Permission.objects.filter(content_type__app_label=app, codename=codename).first()
    needed = _("You may not do this: it needs the permission “%(permission)s”.")
    return sentences.say(needed, permission=_(named.name if named else deed.permission))


def _check(deed: Deed, row: Any, user: User, reason: str) -> None:
    if not user.has_perm(deed.permission):
        raise NotPermitted(say_missing(deed))
    if hindrance := deed.hinders(row):
        raise DeedRefused(hindrance)
    if deed.max_reason and not (1 <= len(reason.strip()) <= deed.max_reason and reason.strip().isprintable()):
        raise DeedRefused(
            sentences.say(_("Say why, in 1 to %(most)d printable characters."), most=deed.max_reason)
        )
    if not deed.is_for(user, row):
        raise DeedRefused(
            sentences.say(_("Only who asked for it can take it back."))
            if deed.own
            else sentences.say(
                _("Nobody approves what they asked for themselves: somebody else has to look at it.")
            )
        )


def write_down(deed: Deed, row: Model, user: User, reason: str, result: str, *, is_done: bool) -> None:
    """Say in both books of what staff do, in English, what came of it."""
    row.refresh_from_db()  # a message may have found its order by now
    order, subject = order_of(row), subject_of(row)
    reason, result = _printable(reason)[:MAX_REASON], in_english(result)
    record_action(
        user,
        deed.name,
        row,
        subject=subject,
        result=result,
        reason=reason,
        order_number=order.number if order else "",
        is_done=is_done,
        told=f"{in_english(deed.title)}: {reason or '·'} → {'' if is_done else 'refused: '}{result}",
    )
    log.info("deed", deed=deed.name, subject=subject, by=user.get_username(), done=is_done)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
