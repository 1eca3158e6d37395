"""What staff may do in the back office: one table, and one way to carry a line of it out.

Every deed calls one flow, which decides. What was done, or refused, and why is written down for ever.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Model

from orders.errors import OrderError, OrderNotFound
from payments.deeds import cases, money, orders, refunds, settlements
from payments.deeds.base import Deed as Deed
from payments.deeds.base import DeedRefused as DeedRefused
from payments.deeds.base import NotPermitted as NotPermitted
from payments.deeds.base import order_of as order_of
from payments.deeds.base import subject_of as subject_of
from payments.errors import (
    OrderIsPaid,
    OverRefund,
    PaymentConfirming,
    PaymentError,
    PaymentNotFound,
    RefundNotFound,
)
from payments.models import StaffAction
from shop.idempotency import InProgress, KeyMismatch

DEEDS: tuple[Deed, ...] = (
    *orders.DEEDS,
    *money.DEEDS,
    *settlements.DEEDS,
    *refunds.DEEDS,
    *cases.DEEDS,
)
MAX_RESULT = 300

log = structlog.get_logger("nodrop.deeds")

# Where an error names a row only, or says less than a person needs.
WORDS: dict[type[Exception], str] = {
    OrderNotFound: "This order is not there any more.",
    PaymentNotFound: "This payment is not there any more.",
    RefundNotFound: "This refund is not there any more.",
    OrderIsPaid: "The order is paid: refund it instead of cancelling it.",
    PaymentConfirming: "The channel gave no answer that can be believed, or money of a wrong amount waits for a person:"
    " nothing was ended. Try again in a moment.",
    InProgress: "Somebody presses the same button at this moment. Look at what became of it.",
}
EXPECTED = (DeedRefused, PaymentError, OrderError, InProgress, KeyMismatch, ValueError)


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
        words = f"It broke off ({type(error).__name__}): see what has become of it."
        write_down(deed, row, user, reason, words, is_done=False)
        raise
    write_down(deed, row, user, reason, result, is_done=True)
    return result


def say(error: Exception) -> str:
    """What went wrong, for the person who wanted it."""
    if isinstance(error, OverRefund) and not error.left_minor:
        return "Nothing is left of it that could be given back."
    return WORDS.get(type(error), str(error))


def say_missing(deed: Deed) -> str:
    """Which permission somebody lacks, in the words of the permission itself."""
    app, _, codename = deed.permission.partition(".")
    named = Permission.objects.filter(content_type__app_label=app, codename=codename).first()
    return f"You may not do this: it needs the permission “{named.name if named else deed.permission}”."


def _check(deed: Deed, row: Any, user: User, reason: str) -> None:
    if not user.has_perm(deed.permission):
        raise NotPermitted(say_missing(deed))
    if hindrance := deed.hinders(row):
        raise DeedRefused(hindrance)
    if deed.max_reason and not (1 <= len(reason.strip()) <= deed.max_reason and reason.strip().isprintable()):
        raise DeedRefused(f"Say why, in 1 to {deed.max_reason} printable characters.")
    if not deed.is_for(user, row):
        raise DeedRefused(
            "Only who asked for it can take it back."
            if deed.own
            else "Nobody approves what they asked for themselves: somebody else has to look at it."
        )


@transaction.atomic
def write_down(deed: Deed, row: Model, user: User, reason: str, result: str, *, is_done: bool) -> None:
    """Say in the history of staff, and in the admin's own log, what came of it: both or neither."""
    row.refresh_from_db()  # a message may have found its order by now
    order = order_of(row)
    action = StaffAction.objects.create(
        order_number=order.number if order else "",
        action=deed.name,
        subject=subject_of(row),
        actor=user.get_username(),
        reason=_printable(reason)[: StaffAction._meta.get_field("reason").max_length],
        is_done=is_done,
        result=result[:MAX_RESULT],
    )
    told = f"{deed.title}: {action.reason or '·'} → {'' if is_done else 'refused: '}{result}"
    LogEntry.objects.log_actions(user.pk, [row], CHANGE, told, single_object=True)
    log.info("deed", deed=deed.name, subject=action.subject, by=action.actor, done=is_done)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
