"""The two books of what staff do: the story of an order, which nobody changes, and the admin's own log. Nothing is done here."""

from typing import cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from payments.models import StaffAction

MOST = {"subject": 64, "reason": 300, "result": 300}


def record_action(
    request: HttpRequest,
    action: str,
    about: Model | type[Model],
    *,
    subject: str,
    result: str,
    reason: str = "",
    order_number: str = "",
    is_done: bool = True,
) -> None:
    """Say that who is asking did `action`, or was refused it; `about` is a row or, for many, its model. Both or neither."""
    user = cast("User", request.user)
    row = about if isinstance(about, Model) else None
    with transaction.atomic():
        StaffAction.objects.create(
            order_number=order_number,
            action=action,
            subject=subject[: MOST["subject"]],
            actor=user.get_username(),
            reason=reason[: MOST["reason"]],
            is_done=is_done,
            result=result[: MOST["result"]],
        )
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(about),
            object_id=str(row.pk) if row else None,
            object_repr=(str(row) if row else subject)[:200],
            action_flag=CHANGE,
            change_message=": ".join(filter(None, [action, result, reason])),
        )
