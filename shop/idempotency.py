"""Idempotency keys: a request that is sent again makes nothing again, in whatever process and after whatever crash.

The row of a key is written in the transaction that makes its subject, so there is one exactly if there is the other.
What takes longer than a transaction holds a lease on its row; after that a repeat takes over and finishes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shop.models import IdempotencyKey
from shop.vault import keyed_hashes

LEASE_S = 30
# Nobody repeats a request after so long; then the nightly look deletes its key.
KEPT_DAYS = 30
MAX_KEY = 255
LOCK_TIMEOUT = "55P03"


@dataclass(frozen=True, slots=True)
class Key:
    """One request of one client. `scope` says what is made and for whom, `body_hash` is equal for equal content.

    `former_hashes` say the same by earlier keys of ours, see `shop.vault`.
    """

    scope: str
    key: str
    body_hash: str = ""
    former_hashes: tuple[str, ...] = ()

    def is_same_body(self, kept: str) -> bool:
        """Whether the row's hash is that of this request's body."""
        return kept in (self.body_hash, *self.former_hashes)


@dataclass(frozen=True, slots=True)
class Made:
    """What a key has made, by its public number, and the status code of the first answer."""

    subject: str
    status: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a key until `until`, which is also its fencing token.

    `subject`: what somebody who died with it has begun, and the `status` that was to be answered.
    """

    key: Key
    until: datetime
    subject: str
    status: int


def key_of(scope: str, key: str, body: str) -> Key:
    """The key of a request with this body, of which only a keyed hash is kept."""
    present, *former = keyed_hashes(body)
    return Key(scope, key, present, tuple(former))


class KeyMismatch(Exception):
    """The key came with another body before."""

    def __init__(self) -> None:
        super().__init__(_("This Idempotency-Key was used for another request."))


class InProgress(Exception):
    """Somebody is at work on the first request of this key. Ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(_("The first request with this Idempotency-Key is still being worked on."))
        self.retry_after_s = retry_after_s


INSERT = """
insert into shop_idempotencykey (scope, key, body_hash, subject, status)
values (%s, %s, %s, %s, %s) on conflict do nothing returning id
"""
TAKE_LEASE = """
insert into shop_idempotencykey as held (scope, key, body_hash, subject, status, lease_until)
values (%s, %s, %s, '', %s, statement_timestamp() + %s * interval '1 second')
on conflict (scope, key) do update set lease_until = excluded.lease_until
 where held.lease_until <= statement_timestamp() and held.body_hash = any(%s)
returning lease_until, subject, status
"""


def find_made(key: Key) -> Made | None:
    """What the key has made, if anything; one read. Raises KeyMismatch."""
    row = IdempotencyKey.objects.filter(scope=key.scope, key=key.key).first()
    if row is None:
        return None
    if not key.is_same_body(row.body_hash):
        raise KeyMismatch
    return Made(row.subject, row.status) if row.subject else None


def claim_key(key: Key, *, subject: str, status: int) -> Made | None:
    """Bind the key to `subject`, which this transaction makes: None then. Else what it has made before.

    Waits for a rival with the same key as long as for any lock. Raises KeyMismatch, InProgress. Must be inside a transaction.
    """
    if _execute(INSERT, key.scope, key.key, key.body_hash, subject, status):
        return None
    made = find_made(key)
    if made is None:
        raise InProgress
    return made


def take_lease(key: Key, *, status: int) -> Lease | Made:
    """The right to work on the key, also after somebody who died with it; or what it has made.

    `status` is kept for a repeat. Raises KeyMismatch, InProgress. One statement, outside a transaction.
    """
    known = [key.body_hash, *key.former_hashes]
    row = _execute(TAKE_LEASE, key.scope, key.key, key.body_hash, status, LEASE_S, known)
    if row:
        return Lease(key, until=row[0], subject=row[1], status=row[2])
    held = IdempotencyKey.objects.filter(scope=key.scope, key=key.key).first()
    if held is not None and not key.is_same_body(held.body_hash):
        raise KeyMismatch
    if held is None or held.lease_until is not None:
        raise InProgress
    return Made(held.subject, held.status)


def name_subject(lease: Lease, subject: str, *, status: int) -> None:
    """Write down what the lease makes, in the transaction that makes it. Raises InProgress when the lease is another's now."""
    if not _held(lease).update(subject=subject, status=status):
        raise InProgress


def read_subject(lease: Lease) -> str:
    """What has been made under the lease so far; empty for nothing."""
    return _held(lease).values_list("subject", flat=True).first() or ""


def end_lease(lease: Lease, *, status: int | None = None) -> None:
    """The work is done: from now on the key is answered by what it has made, with `status` if that is another by now."""
    done: dict[str, Any] = {"lease_until": None} | ({} if status is None else {"status": status})
    _held(lease).exclude(subject="").update(**done)


def let_go(lease: Lease) -> None:
    """The work failed: a repeat may go on at once with what was begun, and where nothing was there is no key."""
    if not _held(lease).filter(subject="").delete()[0]:
        _held(lease).update(lease_until=Now())


def forget_old() -> int:
    """Delete keys that nobody repeats any more. Returns how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=Now() - timedelta(days=KEPT_DAYS))
    return old.delete()[0]


def _held(lease: Lease) -> QuerySet[IdempotencyKey]:
    return IdempotencyKey.objects.filter(scope=lease.key.scope, key=lease.key.key, lease_until=lease.until)


def _execute(statement: str, *params: Any) -> Any:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == LOCK_TIMEOUT:
            raise InProgress from error
        raise
