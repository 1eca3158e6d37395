"""Delivering: one alarm for each endpoint and stream sends what waits there, in order, the earliest first.

An event that is not taken holds back the later ones of its stream at this endpoint, and nothing else. An endpoint that
fails again and again is left alone for a while; then one message tries, and when it is taken everything flows. Who died
between sending and writing it down has sent it twice under one id: receivers know an id that they have seen.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from shop.alarms import Claim, is_latest, remove_alarms, set_alarm
from shop.business import event_fields
from shop.clock import WITH_NOW
from shop.models import BusinessEvent, Delivery, Endpoint
from shop.transactions import transactional
from shop.webhooks import outcomes
from shop.webhooks.publishing import DELIVER
from shop.webhooks.sending import Answer, send
from shop.webhooks.signing import signing_secrets
from shop.webhooks.switching import find_head, switch_off

# From one try of an event to the next, by how often it was tried: some three days.
GAPS_S = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 86_400)
# Nothing is given up before so much time has really passed since its own first try.
PATIENCE = timedelta(seconds=sum(GAPS_S))
# A claim is another's after this, well above what one message takes.
LEASE_S = 60
# So long nobody else tries an endpoint that fails, while one message does.
PROBE = timedelta(seconds=15)
# What was last tried so long before its endpoint was well again need not wait for its own next try.
SOONEST_AGAIN = timedelta(minutes=2)
# An endpoint that took nothing for so long is switched off.
OFF_AFTER = timedelta(days=5)

HOLD_BACK = """
update shop_alarm set due_at = %s where id in (
    select id from shop_alarm
     where kind = %s and split_part(subject, ':', 1) = %s and due_at < %s for update skip locked)
"""
# What is claimed just now comes back by itself.
WAKE = """
update shop_alarm set due_at = statement_timestamp() where id in (
    select id from shop_alarm
     where kind = %s and split_part(subject, ':', 1) = %s and due_at > statement_timestamp()
       and due_at is distinct from tried_at + %s * interval '1 second' for update skip locked)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message, ready to be sent."""

    delivery_pk: int
    endpoint: Endpoint
    secrets: Sequence[str]
    event: BusinessEvent
    at: datetime


def deliver_by_alarm(claim: Claim) -> None:
    """Send the earliest event that waits in the stream; what follows it is due at once when it was taken."""
    parcel = take_up(claim)
    if parcel is not None:
        record(claim, parcel, hand_over(parcel))


def hand_over(parcel: Parcel) -> Answer:
    """The call itself. Never inside a transaction."""
    body = json.dumps(event_fields(parcel.event), ensure_ascii=False, separators=(",", ":")).encode()
    return send(
        parcel.endpoint.url, message_id=parcel.event.number, body=body, secrets=parcel.secrets, at=parcel.at
    )


# ---- before ------------------------------------------------------------------------------------------------------


@transactional
def take_up(claim: Claim) -> Parcel | None:
    """What is to be sent now; None when there is nothing, not yet, or another's turn: the alarm is set accordingly."""
    if not is_latest(claim):
        return None
    endpoint_pk, stream = read_subject(claim.subject)
    # After the alarm was locked: who switches an endpoint on sets alarms first.
    endpoint = Endpoint.objects.annotate(**WITH_NOW).get(pk=endpoint_pk)
    head = find_head(endpoint, stream)
    if head is None or endpoint.off_at is not None or endpoint.removed_at is not None:
        remove_alarms([DELIVER], claim.subject)
        return None
    now: datetime = endpoint.now  # type: ignore[attr-defined]
    due_at = _due_at(head, endpoint)
    if due_at is not None and due_at > now:
        set_alarm(DELIVER, claim.subject, at=due_at)
        return None
    if not _may_try(claim, endpoint, now):
        return None
    secrets = signing_secrets(endpoint, now)
    return Parcel(delivery_pk=head.pk, endpoint=endpoint, secrets=secrets, event=head.event, at=now)


def _due_at(head: Delivery, endpoint: Endpoint) -> datetime | None:
    """When it may be tried again, whatever has moved its alarm; None: it has not been tried."""
    if head.tried_at is None or head.tries == 0:
        return None
    due_at = head.tried_at + timedelta(seconds=GAPS_S[min(head.tries, len(GAPS_S)) - 1])
    if endpoint.well_since is None or head.tried_at > endpoint.well_since:
        return due_at
    return min(due_at, max(endpoint.well_since, head.tried_at + SOONEST_AGAIN))


def _may_try(claim: Claim, endpoint: Endpoint, now: datetime) -> bool:
    """Whether the endpoint is well, or this message is the one that tries it; all others are held back."""
    rests_until = endpoint.rests_until
    if rests_until is None:
        return True
    is_probe = False
    if rests_until <= now:
        probing_until = now + PROBE
        same = Endpoint.objects.filter(pk=endpoint.pk, rests_until=rests_until)
        is_probe = bool(same.update(rests_until=probing_until))
        rests_until = probing_until
    hold_back(endpoint.pk, rests_until)
    if not is_probe:
        set_alarm(DELIVER, claim.subject, at=rests_until)
    return is_probe


# ---- afterwards --------------------------------------------------------------------------------------------------


@transactional
def record(claim: Claim, parcel: Parcel, answer: Answer) -> None:
    """Write down what came of it, and when the stream is looked at again."""
    is_ours = is_latest(claim)
    if answer.is_taken:
        outcomes.note_taken(parcel.delivery_pk, answer=str(answer))
        note_success(parcel.endpoint)
        due_at = None
    else:
        due_at = _record_failure(parcel, answer)
    if is_ours:
        set_alarm(DELIVER, claim.subject, at=due_at)


def note_success(endpoint: Endpoint) -> None:
    """The endpoint took something: what was held back flows, and what people were told of may be over."""
    if outcomes.note_well(endpoint.pk):
        wake(endpoint.pk)
    import_string(settings.ENDPOINT_WELL)(endpoint)


def _record_failure(parcel: Parcel, answer: Answer) -> datetime | None:
    """When the event is tried again; None, at once, at another address, or the next one when it was given up."""
    outcomes.note_refused(parcel.delivery_pk, answer=str(answer))
    if not outcomes.note_failure(parcel.endpoint.pk, url=parcel.endpoint.url):
        # What its former address says is nothing about the endpoint that has moved.
        outcomes.forget_tries(Delivery.objects.filter(pk=parcel.delivery_pk))
        return None
    endpoint = Endpoint.objects.annotate(**WITH_NOW).get(pk=parcel.endpoint.pk)
    delivery = Delivery.objects.get(pk=parcel.delivery_pk)
    if answer.is_gone:
        switch_off(endpoint, Endpoint.OffWhy.GONE)
    elif endpoint.failing_since and endpoint.now - endpoint.failing_since >= OFF_AFTER:  # type: ignore[attr-defined]
        switch_off(endpoint, Endpoint.OffWhy.FAILING)
    elif _is_spent(delivery, endpoint.now):  # type: ignore[attr-defined]
        if outcomes.give_up(delivery.pk):
            import_string(settings.ENDPOINT_TROUBLE)(endpoint)
        return None
    return _due_at(delivery, endpoint)


def _is_spent(delivery: Delivery, now: datetime) -> bool:
    """Neither an outage of our own nor an alarm that came early makes the tries go faster than the time."""
    first = delivery.first_tried_at
    return delivery.tries > len(GAPS_S) and first is not None and now - first >= PATIENCE


# ---- alarms ------------------------------------------------------------------------------------------------------


def read_subject(subject: str) -> tuple[int, str]:
    """The key of the endpoint and the stream that an alarm is about."""
    endpoint_pk, _, stream = subject.partition(":")
    return int(endpoint_pk), stream


def hold_back(endpoint_pk: int, until: datetime) -> None:
    """Let nothing of this endpoint come due before."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_BACK, [until, DELIVER, str(endpoint_pk), until])


def wake(endpoint_pk: int) -> None:
    """Let everything that waits for this endpoint come due."""
    with connection.cursor() as cursor:
        cursor.execute(WAKE, [DELIVER, str(endpoint_pk), LEASE_S])
