"""What staff may do to an API key besides having it shown: take it back, and change what it may. No money moves by it.

Making and rotating a key end with its secret, which no history may keep: they are pages of the admin, see `admin/key_pages`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.deeds.base import Deed, DeedRefused, Fields
from shop.clock import read_now
from shop.keyring import OWNED, STAFF_MAY, Scope, change_scopes, revoke_key
from shop.models import ApiKey
from shop.sentences import say

MANAGE = "shop.manage_key"


def check_giver(user: User, scopes: Iterable[str]) -> None:
    """Raises DeedRefused where a key would let somebody see what this person may not; for more see `check_steward`."""
    for scope in set(scopes) - set(OWNED):
        permission = STAFF_MAY.get(Scope(scope))
        if permission and not user.has_perm(permission):
            raise DeedRefused(
                say(_("You may not do %(scope)s yourself, so you cannot give it."), scope=scope)
            )


def check_steward(user: User, key: ApiKey, scopes: Any) -> None:
    """Raises DeedRefused, unless this person may have a secret of the key or let it do so: money is given back in its
    owner's name, so only the owner may.
    """
    if set(OWNED) & set(scopes) and key.owner_id != user.pk:
        raise DeedRefused(
            say(_("This key gives money back in its owner's name: only its owner may do that to it."))
        )


def _hinders(key: ApiKey) -> str:
    return say(_("This key is revoked already.")) if key.revoked_at else ""


def _hinders_change(key: ApiKey) -> str:
    has_ended = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= read_now())
    return say(_("This key has ended: make a new one.")) if has_ended else ""


def _foretell_end(key: ApiKey) -> list[str]:
    return [
        gettext("Its system is let in no more, from its next request on. This cannot be undone."),
        gettext("What it has done stays in the history."),
    ]


def _foretell_change(key: ApiKey) -> list[str]:
    return [gettext("It counts from the next request on; the secret stays.")]


def scope_field(initial: list[str] | None = None) -> forms.MultipleChoiceField:
    """What a key may, to be ticked, in words."""
    return forms.MultipleChoiceField(
        label=gettext("May"),
        choices=[(scope.value, f"{scope.value}: {scope.label}") for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        initial=initial,
    )


def _scope_fields(key: ApiKey) -> Fields:
    return {"scopes": scope_field(key.scopes)}


def _revoke(key: ApiKey, user: User, reason: str, data: Mapping[str, Any]) -> str:
    revoke_key(key.number)
    return say(_("The key %(name)s is revoked."), name=key.name)


def _change(key: ApiKey, user: User, reason: str, data: Mapping[str, Any]) -> str:
    check_giver(user, set(data["scopes"]) - set(key.scopes))
    check_steward(user, key, data["scopes"])
    changed = change_scopes(key.number, data["scopes"])
    return say(_("The key %(name)s may now: %(scopes)s."), name=key.name, scopes=", ".join(changed.scopes))


DEEDS = (
    Deed(
        name="change_scopes",
        title=_("Change what it may"),
        permission=MANAGE,
        model=ApiKey,
        hinders=_hinders_change,
        foretells=_foretell_change,
        run=_change,
        fields=_scope_fields,
    ),
    Deed(
        name="revoke_key",
        title=_("Revoke"),
        permission=MANAGE,
        model=ApiKey,
        hinders=_hinders,
        foretells=_foretell_end,
        run=_revoke,
    ),
)
