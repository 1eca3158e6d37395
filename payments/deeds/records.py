"""The two books of what staff do: the story of an order, which nobody changes, and the admin's own log. Nothing is done here.

What an operator does by a command stands in the first one only: the other is about users.

Both are kept in English, in whatever language somebody works.
"""

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model

from payments.models import StaffAction
from shop.sentences import Words, in_english

MOST = {"subject": 64, "reason": 300, "result": 300}
COMMAND_LINE = "command line"


@transaction.atomic
def record_action(
    user: User,
    action: str,
    about: Model | type[Model],
    *,
    subject: str,
    result: Words,
    reason: str = "",
    order_number: str = "",
    is_done: bool = True,
    told: str = "",
) -> None:
    """Say that `user` did `action`, or was refused it; `about` is a row or, for many, its model. Both books or neither.

    `told`: how the admin's own log says it, where it is not by these words.
    """
    row, result = about if isinstance(about, Model) else None, in_english(result)
    _write(
        action,
        actor=user.get_username(),
        subject=subject,
        result=result,
        reason=reason,
        order_number=order_number,
        is_done=is_done,
    )
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(about),
        object_id=str(row.pk) if row else None,
        object_repr=(str(row) if row else subject)[:200],
        action_flag=CHANGE,
        change_message=told or ": ".join(filter(None, [action, result, reason])),
    )


def record_command(action: str, *, subject: str, result: Words, actor: str) -> None:
    """Say what an operator did by a command; `actor` is whom they named, or COMMAND_LINE."""
    _write(action, actor=actor, subject=subject, result=in_english(result))


def _write(
    action: str,
    *,
    actor: str,
    subject: str,
    result: str,
    reason: str = "",
    order_number: str = "",
    is_done: bool = True,
) -> None:
    StaffAction.objects.create(
        order_number=order_number,
        action=action,
        subject=subject[: MOST["subject"]],
        actor=actor,
        reason=reason[: MOST["reason"]],
        is_done=is_done,
        result=result[: MOST["result"]],
    )
