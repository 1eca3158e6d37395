"""What staff may do to a case and to a kept message of a channel."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.callbacks import replay_callback
from payments.cases import DECIDE, HELD_OPEN, assign_case, resolve_case, take_case
from payments.deeds.base import Deed, Fields
from payments.models import Callback, Case
from shop.sentences import say


def _hinders_deciding(case: Case) -> str:
    return (
        say(_("This case is closed: %(resolution)s"), resolution=case.resolution) if case.resolved_at else ""
    )


def _hinders_taking(case: Case) -> str:
    if case.owner and not case.resolved_at:
        return say(_("%(name)s looks after this case."), name=case.owner.get_username())
    return _hinders_deciding(case)


def _hinders_resolving(case: Case) -> str:
    return _hinders_deciding(case) or what_holds(case)


def what_holds(case: Case) -> str:
    """What has to be done about it, while money hangs on it; empty when a person may answer it by a word."""
    is_undecided, instead = HELD_OPEN.get(Case.Kind(case.kind), (None, ""))
    return say(instead) if is_undecided and not case.resolved_at and is_undecided(case) else ""


def _foretell_taking(case: Case) -> list[str]:
    return [gettext("No money moves. You look after this case from now on, and everybody sees that.")]


def _foretell_assigning(case: Case) -> list[str]:
    return [gettext("No money moves. Your colleague looks after this case from now on.")]


def _foretell_resolving(case: Case) -> list[str]:
    return [gettext("No money moves by this. The case is closed as answered, with your words on it.")]


def _take(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    take_case(case.pk, actor=user)
    return say(_("%(case)s is yours."), case=case)


def _assign(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    owner = data["owner"]
    assign_case(case.pk, actor=user, owner=owner)
    return say(_("%(name)s looks after %(case)s."), name=owner.get_username(), case=case)


def _resolve(case: Case, user: User, reason: str, data: Mapping[str, Any]) -> str:
    resolve_case(case.pk, actor=user, resolution=reason)
    return say(_("%(case)s is resolved."), case=case)


def list_deciders() -> QuerySet[User]:
    """Active staff who may look after a case."""
    backend = "django.contrib.auth.backends.ModelBackend"
    found: QuerySet[User] = User.objects.with_perm(DECIDE, backend=backend)
    return found.filter(is_staff=True).order_by("username")


def _assign_fields(case: Case) -> Fields:
    return {"owner": forms.ModelChoiceField(list_deciders(), label=_("Who looks after it"))}


def _foretell_replay(kept: Callback) -> list[str]:
    said = {"channel": kept.channel, "when": f"{kept.received_at:%Y-%m-%d %H:%M}"}
    return [
        gettext("This message is taken once more, as %(channel)s said so on %(when)s.") % said,
        gettext(
            "Money that it reports and that is settled already is not settled again; what is not, is settled now."
        ),
    ]


def _replay(kept: Callback, user: User, reason: str, data: Mapping[str, Any]) -> str:
    if replay_callback(kept.pk):
        return say(_("The message is taken: what it says is settled."))
    return say(_("The message still names nothing of ours."))


DEEDS = (
    Deed(
        name="take_case",
        title=_("Take"),
        permission=DECIDE,
        model=Case,
        hinders=_hinders_taking,
        foretells=_foretell_taking,
        run=_take,
        max_reason=0,
    ),
    Deed(
        name="assign_case",
        title=_("Assign"),
        permission=DECIDE,
        model=Case,
        hinders=_hinders_deciding,
        foretells=_foretell_assigning,
        run=_assign,
        fields=_assign_fields,
    ),
    Deed(
        name="resolve_case",
        title=_("Resolve"),
        permission=DECIDE,
        model=Case,
        hinders=_hinders_resolving,
        foretells=_foretell_resolving,
        run=_resolve,
        reason_label=_("How it was resolved"),
        asks=True,
    ),
    Deed(
        name="replay_callback",
        title=_("Take this message again"),
        permission="payments.replay_callback",
        model=Callback,
        hinders=lambda kept: "",
        foretells=_foretell_replay,
        run=_replay,
    ),
)
