"""Endpoints: added, moved to another address, given another secret, and tried with a message that means nothing.

The secret is told to the caller once, and to nobody afterwards.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from shop.business import TYPES
from shop.clock import WITH_NOW
from shop.models import Delivery, Endpoint
from shop.numbers import new_event_number
from shop.transactions import transactional
from shop.webhooks import outcomes
from shop.webhooks.addresses import BadAddress, read_url
from shop.webhooks.delivering import note_success, wake
from shop.webhooks.errors import EndpointIsThere, EndpointNotFound
from shop.webhooks.publishing import hold_publishing
from shop.webhooks.sending import Answer, send
from shop.webhooks.signing import OLD_FOR_H, change_secret, new_secret, seal_secret, signing_secrets
from shop.webhooks.switching import find_endpoint

# No type of a business event: receivers answer and forget it.
TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Made:
    """An endpoint and its new secret, which is not to be had again."""

    endpoint: Endpoint
    secret: str


@transactional
def add_endpoint(url: str, *, note: str = "", types: Sequence[str] = ()) -> Made:
    """Tell another system of what happens from now on. No `types`: of everything.

    Raises BadAddress, EndpointIsThere; ValueError for a type that there is not.
    """
    if unknown := sorted(set(types) - set(TYPES)):
        raise ValueError(unknown[0])
    position = hold_publishing()  # also lets two who add the same address come one after the other
    _check_url(url)
    secret = new_secret()
    wanted = [each for each in TYPES if each in types]
    endpoint = Endpoint.objects.create(
        url=url, note=note, types=wanted, secret=seal_secret(secret), since_position=position
    )
    return Made(endpoint, secret)


@transactional
def change_address(number: str, url: str) -> str:
    """Send to another address from now on, also what waits, with all its tries before it. Returns the former one.

    Raises EndpointNotFound, BadAddress, EndpointIsThere.
    """
    # Two who give the same address come one after the other, and no alarm is held for news: `wake` would pass it by.
    hold_publishing()
    outcomes.forget_tries(Delivery.objects.filter(endpoint__number=number))  # before the endpoint is locked
    endpoint = _lock(number)
    _check_url(url, but=endpoint)
    # The new address has not failed yet.
    Endpoint.objects.filter(pk=endpoint.pk).update(
        url=url, failing_since=None, failures=0, rests_until=None, well_since=Now()
    )
    wake(endpoint.pk)
    return endpoint.url


@transactional
def rotate_secret(number: str, *, old_for_h: int = OLD_FOR_H) -> Made:
    """Another secret; the present one signs as well for `old_for_h` hours more, and with 0 no former one does.

    Raises EndpointNotFound, SecretIsFresh, BadTime.
    """
    endpoint = _lock(number)
    now: datetime = endpoint.now  # type: ignore[attr-defined]
    return Made(endpoint, change_secret(endpoint, now, old_for_h=old_for_h))


def send_test(number: str) -> Answer:
    """Send a message that means nothing, also to one that is switched off. A failure is only told.

    Never inside a transaction. Raises EndpointNotFound.
    """
    endpoint = Endpoint.objects.annotate(**WITH_NOW).get(pk=find_endpoint(number).pk)
    now: datetime = endpoint.now  # type: ignore[attr-defined]
    message_id = new_event_number()
    body = trial_fields(endpoint, message_id, at=now)
    answer = send(
        endpoint.url,
        message_id=message_id,
        body=json.dumps(body).encode(),
        secrets=signing_secrets(endpoint, now),
        at=now,
    )
    if answer.is_taken:
        _note_success(endpoint)
    return answer


def trial_fields(endpoint: Endpoint, message_id: str, *, at: datetime) -> dict[str, Any]:
    """The message that means nothing, of the shape of an event."""
    return {
        "id": message_id,
        "type": TEST,
        "position": None,
        "order": None,
        "sequence": 0,
        "subject": endpoint.number,
        "at": at.isoformat(),
        "data": {},
    }


@transactional
def _note_success(endpoint: Endpoint) -> None:
    note_success(endpoint)


def _check_url(url: str, *, but: Endpoint | None = None) -> None:
    receiver = read_url(url).receiver
    for other in Endpoint.objects.filter(removed_at__isnull=True):
        if other != but and _find_receiver(other.url) == receiver:
            raise EndpointIsThere(other.number)


def _find_receiver(url: str) -> tuple[str, str, int, str] | None:
    """None for an address that may not be called any more."""
    try:
        return read_url(url).receiver
    except BadAddress:
        return None


def _lock(number: str) -> Endpoint:
    living = Endpoint.objects.select_for_update(of=("self",)).filter(removed_at__isnull=True)
    endpoint = living.annotate(**WITH_NOW).filter(number=number.upper()).first()
    if endpoint is None:
        raise EndpointNotFound(number)
    return endpoint
