"""API keys: what each lets its system do, how one is made, changed, and known again when it is shown.

A key is shown once, as `number.secret`. Only a SHA-256 of the secret is kept, which is enough for 256 random bits, and it is
compared in constant time. Whether a key counts is decided by the database's clock, each time that it is shown.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet, TextChoices
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shop.clock import WITH_NOW, read_now
from shop.models import ApiKey
from shop.numbers import is_number
from shop.sentences import Words, say
from shop.transactions import transactional

SECRET_BYTES = 32
# When a key was last used is written at most this often.
USED_EVERY = timedelta(minutes=1)
OLD_FOR_H = 24
MOST_OLD_FOR_H = 24 * 30
ENDS_SOON = timedelta(days=14)
MAX_NAME = 60
# A key's name and its owner's together fit into the history's column.
MAX_OWNER = 80
# In the history an owner stands in them, see `actor_of`; Chinese has its own.
PARENTHESES = "()\uff08\uff09"


class Scope(TextChoices):
    """What a key may, in words for whoever gives it out."""

    ORDERS_READ = "orders:read", _("See every order, with personal data: names, addresses, phone numbers")
    ORDERS_WRITE = "orders:write", _("Place orders, and cancel any unpaid order")
    PAYMENTS_READ = "payments:read", _("See every payment")
    PAYMENTS_WRITE = "payments:write", _("Apply for payment of any order, and have channels asked")
    REFUNDS_READ = "refunds:read", _("See every refund")
    REFUNDS_WRITE = "refunds:write", _("Give money back, as its owner may")
    EVENTS_READ = "events:read", _("Read the events of all orders")


# The permission by which staff may do the same over the API; what only a shopper does is not here.
STAFF_MAY = {
    Scope.ORDERS_READ: "orders.view_order",
    Scope.PAYMENTS_READ: "payments.view_payment",
    Scope.REFUNDS_READ: "payments.view_refund",
    Scope.REFUNDS_WRITE: "payments.ask_refund",
    Scope.EVENTS_READ: "shop.view_businessevent",
}
# What a key may do only while its owner may.
OWNED = (Scope.REFUNDS_WRITE,)


class KeyRefused(ValueError):
    """The key cannot be made or changed so; says why. Nothing was changed."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)


class BadKey(Exception):
    """What was shown lets nobody in: it is not known, or has ended."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with what its system has to show. `shown` is nowhere else, and is never to be had again."""

    key: ApiKey
    shown: str


# ---- shown -------------------------------------------------------------------------------------------------------


def find_key(shown: str) -> ApiKey:
    """The living key of `number.secret`, with its owner; one read. Raises BadKey."""
    number, _dot, secret = shown.partition(".")
    found = _read_keys().filter(number=number).first() if is_number(number) else None
    # A missing one takes the same look, so that no clock tells which it is.
    key: Any = found or ApiKey(number=number)
    is_present = _is_secret(secret, key.secret_hash)
    is_former = _is_secret(secret, key.old_hash)
    if found is None or not (is_present or is_former):
        raise BadKey(_("This API key is not known."))
    if not is_present and (key.old_until is None or key.old_until <= key.now):
        raise BadKey(_("This API key has another secret by now."))
    if not is_alive(key):
        raise BadKey(_("This API key has ended."))
    return key


def _read_keys() -> QuerySet[Any]:
    return ApiKey.objects.select_related("owner").annotate(**WITH_NOW)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _is_secret(secret: str, kept: str) -> bool:
    return hmac.compare_digest(_hash(secret).encode(), kept.encode())


def is_alive(key: Any) -> bool:
    """Whether a key that was read with its `now` is neither revoked nor past its end."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > key.now)


def note_use(key: Any) -> None:
    """Keep that the key was used, at most once a minute. Never inside a transaction: its row would be locked for long."""
    if key.last_used_at is not None and key.last_used_at > key.now - USED_EVERY:
        return
    long_ago = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_EVERY)
    ApiKey.objects.filter(long_ago, pk=key.pk).update(last_used_at=Now())


def actor_of(key: ApiKey) -> str:
    """How the history names the key: with its owner, who answers for what it does."""
    owner = f" ({key.owner.get_username()})" if key.owner else ""
    return f"key {key.name}{owner}"


def is_of(actor: str, username: str) -> bool:
    """Whether the history means this person by `actor`: themselves, or a key that they answer for."""
    return actor == username or actor.endswith(f" ({username})")


def owner_may(key: ApiKey, permission: str) -> bool:
    """Whether the key's owner may do so at this moment: still there, still staff, still permitted."""
    owner = key.owner
    return owner is not None and owner.is_active and owner.is_staff and owner.has_perm(permission)


# ---- made and changed --------------------------------------------------------------------------------------------


def make_key(
    name: str, scopes: Iterable[str], *, owner: User | None = None, expires_at: datetime | None = None
) -> Issued:
    """A new key for one system. `expires_at`: None for no end. Raises KeyRefused."""
    name, wanted = name.strip(), _check_scopes(scopes, owner)
    _check_name(name)
    if owner is not None and len(owner.get_username()) > MAX_OWNER:
        raise KeyRefused(_("The owner's name is too long for the history."))
    if expires_at is not None and expires_at <= read_now():
        raise KeyRefused(_("The end of the key has passed already."))
    secret = _new_secret()
    key = ApiKey(name=name, scopes=wanted, owner=owner, expires_at=expires_at, secret_hash=_hash(secret))
    key.save()
    return Issued(key, f"{key.number}.{secret}")


def _new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _check_name(name: str) -> None:
    if not (1 <= len(name) <= MAX_NAME and name.isprintable()):
        raise KeyRefused(say(_("A key needs a name of 1 to %(most)d printable characters."), most=MAX_NAME))
    if any(mark in PARENTHESES for mark in name):
        raise KeyRefused(_("A key's name has no parentheses: in the history they hold its owner."))
    if ApiKey.objects.filter(name=name, revoked_at=None).exists():
        raise KeyRefused(say(_("There is a key named %(name)s already."), name=name))


def _check_scopes(scopes: Iterable[str], owner: User | None) -> list[str]:
    """The scopes in their own order. Raises KeyRefused."""
    wanted = set(scopes)
    if unknown := wanted - set(Scope.values):
        raise KeyRefused(say(_("There is no scope %(name)s."), name=min(unknown)))
    if not wanted:
        raise KeyRefused(_("A key without any scope could do nothing."))
    for scope in OWNED:
        is_owned = owner is not None and owner.is_active and owner.is_staff
        if scope in wanted and not (is_owned and owner and owner.has_perm(STAFF_MAY[scope])):
            words = _("%(scope)s needs an owner: a member of the staff who may do it themselves.")
            raise KeyRefused(say(words, scope=scope.value))
    return [scope for scope in Scope.values if scope in wanted]


@transactional
def rotate_key(number: str, *, old_for_h: int = OLD_FOR_H) -> Issued:
    """A new secret; the present one counts for `old_for_h` hours more, with 0 it ends at once.

    A system that still shows the secret before that would be shut out: refused while that one counts, unless both shall
    end at once. Raises KeyRefused. Locks the key's row.
    """
    if not 0 <= old_for_h <= MOST_OLD_FOR_H:
        raise KeyRefused(say(_("The old secret may count for 0 to %(most)d hours."), most=MOST_OLD_FOR_H))
    key = _lock_living(number)
    if old_for_h and key.old_until is not None and key.old_until > key.now:
        words = _(
            "The key was rotated a short time ago, and its former secret may be in use until %(until)s UTC. Wait until"
            " then, or end both secrets at once."
        )
        raise KeyRefused(say(words, until=f"{key.old_until:%Y-%m-%d %H:%M}"))
    secret = _new_secret()
    key.old_hash = key.secret_hash if old_for_h else ""
    key.old_until = key.now + timedelta(hours=old_for_h) if old_for_h else None
    key.secret_hash = _hash(secret)
    key.save(update_fields=["secret_hash", "old_hash", "old_until"])
    return Issued(key, f"{key.number}.{secret}")


@transactional
def revoke_key(number: str) -> ApiKey:
    """Let nobody in by this key from now on. Raises KeyRefused when it has been revoked. Locks the key's row."""
    key = _lock(number)
    if key.revoked_at is not None:
        raise KeyRefused(_("This key is revoked already."))
    key.revoked_at = key.now
    key.save(update_fields=["revoked_at"])
    return key


@transactional
def change_scopes(number: str, scopes: Iterable[str]) -> ApiKey:
    """Let the key do this and nothing else from now on. Raises KeyRefused. Locks the key's row."""
    key = _lock_living(number)
    key.scopes = _check_scopes(scopes, key.owner)
    key.save(update_fields=["scopes"])
    return key


def _lock(number: str) -> Any:
    key = _read_keys().select_for_update(of=("self",)).filter(number=number).first()
    if key is None:
        raise KeyRefused(say(_("There is no key %(number)s."), number=number))
    return key


def _lock_living(number: str) -> Any:
    key = _lock(number)
    if not is_alive(key):
        raise KeyRefused(_("This key has ended: make a new one."))
    return key


# ---- what a person should know -----------------------------------------------------------------------------------


def list_ending() -> list[Any]:
    """Keys that are not revoked and end within 14 days, or have ended since their system last came; the next end first."""
    ending = _read_keys().filter(revoked_at=None, expires_at__lt=Now() + ENDS_SOON)
    return list(ending.order_by("expires_at", "pk"))


def list_orphaned() -> list[ApiKey]:
    """Living keys that should give money back in the name of an owner who may not do so any more."""
    owned = [key for key in _read_keys().filter(revoked_at=None) if set(OWNED) & set(key.scopes)]
    return [
        key for key in owned if is_alive(key) and not all(owner_may(key, STAFF_MAY[scope]) for scope in OWNED)
    ]
