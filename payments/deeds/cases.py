"""What staff may do to a case and to a kept message of a channel."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet

from payments.callbacks import replay_callback
from payments.cases import DECIDE, HELD_OPEN, assign_case, resolve_case, take_case
from payments.deeds.base import Deed, Fields
from payments.models import Callback, Case


def _hinders_deciding(case: Case) -> str:
    return f"This case is closed: {case.resolution}" if case.resolved_at else ""


def _hinders_taking(case: Case) -> str:
    if case.owner and not case.resolved_at:
        return f"{case.owner.get_username()} looks after this case."
    return _hinders_deciding(case)


def _hinders_resolving(case: Case) -> str:
    return _hinders_deciding(case) or what_holds(case)


def what_holds(case: Case) -> str:
    """What has to be done about it, while money hangs on it; empty when a person may answer it by a word."""
    is_undecided, instead = HELD_OPEN.get(Case.Kind(case.kind), (None, ""))
    return instead if is_undecided and not case.resolved_at and is_undecided(case) else ""


def _foretell_taking(case: Case) -> list[str]:
    return ["No money moves. You look after this case from now on, and everybody sees that."]


def _foretell_assigning(case: Case) -> list[str]:
    return ["No money moves. Your colleague looks after this case from now on."]


def _foretell_resolving(case: Case) -> list[str]:
    return ["No money moves by this. The case is closed as answered, with your words on it."]


def _take(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    take_case(case.pk, actor=user)
    return f"{case} is yours."


def _assign(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    owner = data["owner"]
    assign_case(case.pk, actor=user, owner=owner)
    return f"{owner.get_username()} looks after {case}."


def _resolve(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    resolve_case(case.pk, actor=user, resolution=reason)
    return f"{case} is resolved."


def list_deciders() -> QuerySet[User]:
    """Active staff who may look after a case."""
    backend = "django.contrib.auth.backends.ModelBackend"
    found: QuerySet[User] = User.objects.with_perm(DECIDE, backend=backend)
    return found.filter(is_staff=True).order_by("username")


def _assign_fields(case: Case) -> Fields:
    return {"owner": forms.ModelChoiceField(list_deciders(), label="Who looks after it")}


def _foretell_replay(kept: Callback) -> list[str]:
    told = f"{kept.channel} said so on {kept.received_at:%Y-%m-%d %H:%M}"
    return [
        f"This message is taken once more, as {told}.",
        "Money that it reports and that is settled already is not settled again; what is not, is settled now.",
    ]


def _replay(kept: Callback, user: User, reason: str, data: Mapping[str, Any]) -> str:
    if replay_callback(kept.pk):
        return "The message is taken: what it says is settled."
    return "The message still names nothing of ours."


DEEDS = (
    Deed(
        name="take_case",
        title="Take",
        permission=DECIDE,
        model=Case,
        hinders=_hinders_taking,
        foretells=_foretell_taking,
        run=_take,
        max_reason=0,
    ),
    Deed(
        name="assign_case",
        title="Assign",
        permission=DECIDE,
        model=Case,
        hinders=_hinders_deciding,
        foretells=_foretell_assigning,
        run=_assign,
        fields=_assign_fields,
    ),
    Deed(
        name="resolve_case",
        title="Resolve",
        permission=DECIDE,
        model=Case,
        hinders=_hinders_resolving,
        foretells=_foretell_resolving,
        run=_resolve,
        reason_label="How it was resolved",
        asks=True,
    ),
    Deed(
        name="replay_callback",
        title="Take this message again",
        permission="payments.replay_callback",
        model=Callback,
        hinders=lambda kept: "",
        foretells=_foretell_replay,
        run=_replay,
    ),
)
