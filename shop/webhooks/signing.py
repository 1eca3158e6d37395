"""The secrets of endpoints: made here, kept sealed, shown once to whoever made them.

After a change the former one signs as well for a day, so that a receiver can be given the new one without a gap. Then it is
erased, by an alarm.
"""

import base64
import secrets
from datetime import datetime, timedelta

from django.db.models.functions import Now

from shop.alarms import Claim, finish, set_alarm
from shop.models import Endpoint
from shop.transactions import transactional
from shop.vault import seal, unseal
from shop.webhooks.errors import SecretIsFresh

FORGET_SECRET = "forget_secret"  # noqa: S105 - the name of an alarm
PREFIX = "whsec_"
BYTES = 32
FORMER_LIVES = timedelta(hours=24)


def new_secret() -> str:
    """As the convention writes them: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def seal_secret(secret: str) -> str:
    """The text that the row keeps."""
    return seal({"secret": secret})


def signing_secrets(endpoint: Endpoint, now: datetime) -> list[str]:
    """What messages are signed with now: the secret, and the former one while it counts. Raises vault.CannotOpen."""
    sealed = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_until and endpoint.old_until > now:
        sealed.append(endpoint.old_secret)
    return [str(unseal(each)["secret"]) for each in sealed]


def change_secret(endpoint: Endpoint, now: datetime) -> str:
    """Give a locked endpoint another secret, and return it. Joins the caller's transaction. Raises SecretIsFresh."""
    if endpoint.old_secret and endpoint.old_until and endpoint.old_until > now:
        raise SecretIsFresh(endpoint.old_until)
    secret, until = new_secret(), now + FORMER_LIVES
    Endpoint.objects.filter(pk=endpoint.pk).update(
        secret=seal_secret(secret), old_secret=endpoint.secret, old_until=until
    )
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
