"""The secrets of endpoints: made here, kept sealed, shown once to whoever made them.

After a change the former one signs as well for a day, so that a receiver can be given the new one without a gap. Then it is
erased, by an alarm. Whoever has lost the new one before its receiver had it may end both at once.
"""

import base64
import secrets
from datetime import datetime, timedelta

from django.db.models.functions import Now

from shop.alarms import Claim, finish, remove_alarms, set_alarm
from shop.models import Endpoint
from shop.transactions import transactional
from shop.vault import CannotOpen, seal, unseal
from shop.webhooks.errors import BadTime, SecretIsFresh

FORGET_SECRET = "forget_secret"  # noqa: S105 - the name of an alarm
PREFIX = "whsec_"
BYTES = 32
OLD_FOR_H = 24
MOST_OLD_FOR_H = 24 * 30


def new_secret() -> str:
    """As the convention writes them: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def seal_secret(secret: str) -> str:
    """The text that the row keeps."""
    return seal({"secret": secret})


def signing_secrets(endpoint: Endpoint, now: datetime) -> list[str]:
    """What messages are signed with now: the secret, and the former one while it counts.

    Without those that cannot be opened, as after a change of SECRET_KEY: there may be none.
    """
    sealed = [endpoint.secret]
    if endpoint.old_until is not None and endpoint.old_until > now:
        sealed.append(endpoint.old_secret)
    return [secret for each in sealed if (secret := _open(each))]


def list_unsealable() -> list[Endpoint]:
    """The living endpoints whose secret cannot be opened: nothing can be signed for them."""
    living = Endpoint.objects.filter(removed_at__isnull=True).order_by("pk")
    return [endpoint for endpoint in living if not _open(endpoint.secret)]


def _open(sealed: str) -> str:
    """The secret; empty for one that was sealed with a key that is not here any more."""
    try:
        return str(unseal(sealed)["secret"])
    except CannotOpen:
        return ""


def change_secret(endpoint: Endpoint, now: datetime, *, old_for_h: int = OLD_FOR_H) -> str:
    """Give a locked endpoint another secret, and return it. Joins the caller's transaction.

    The present one signs as well for `old_for_h` hours more; with 0 it ends at once, and so does a former one.
    Raises BadTime; SecretIsFresh while a former one counts, unless both shall end.
    """
    if not 0 <= old_for_h <= MOST_OLD_FOR_H:
        raise BadTime(MOST_OLD_FOR_H)
    if old_for_h and endpoint.old_until is not None and endpoint.old_until > now:
        raise SecretIsFresh(endpoint.old_until)
    secret = new_secret()
    until = now + timedelta(hours=old_for_h) if old_for_h else None
    Endpoint.objects.filter(pk=endpoint.pk).update(
        secret=seal_secret(secret), old_secret=endpoint.secret if old_for_h else "", old_until=until
    )
    if until is None:
        remove_alarms([FORGET_SECRET], endpoint.number)
    else:
        set_alarm(FORGET_SECRET, endpoint.number, at=until)
    return secret


@transactional
def forget_by_alarm(claim: Claim) -> None:
    """Erase a former secret whose time is over; before that the alarm comes again."""
    ours = Endpoint.objects.filter(number=claim.subject)
    ours.filter(old_until__lte=Now()).update(old_secret="", old_until=None)
    until = ours.values_list("old_until", flat=True).first()
    if until is None:
        finish(claim)
    else:
        set_alarm(FORGET_SECRET, claim.subject, at=until)
