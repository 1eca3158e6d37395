"""Switching an endpoint off and on, and removing it: what becomes of that which waits for it.

Off, nothing is sent and everything is kept. By staff that is quiet; by itself, after days of failing or when the receiver
says that it is gone, people have a case and a mail. Locks: publishing, alarms, deliveries, endpoint.

Who switches on, sends again or removes does it beside no other and no publisher: the alarm of a delivery that comes between
would be removed by who still sees the endpoint off, or the delivery wait for ever at an endpoint that is removed.
"""

from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from shop.alarms import remove_alarms, set_alarm
from shop.models import Delivery, Endpoint
from shop.sentences import Words, say
from shop.transactions import transactional
from shop.webhooks import outcomes
from shop.webhooks.errors import EndpointNotFound, NothingToSend
from shop.webhooks.publishing import DELIVER, hold_publishing
from shop.webhooks.signing import FORGET_SECRET

MAIL_ENDPOINT = "mail_endpoint"

log = structlog.get_logger("nodrop.webhooks")

# Whoever is just about to remove such an alarm holds its row: it is waited for, and the alarm is set anew.
PROMISE = """
insert into shop_alarm (kind, subject, due_at, attempts)
select distinct %s::text, delivery.endpoint_id || ':' || event.stream, statement_timestamp(), 0
  from shop_delivery delivery join shop_businessevent event on event.id = delivery.event_id
 where delivery.endpoint_id = %s and delivery.status = 'WAITING'
 order by 2
    on conflict (kind, subject) do update set due_at = excluded.due_at
"""
FORGET = "delete from shop_alarm where kind = %s and split_part(subject, ':', 1) = %s"


def switch_off(endpoint: Endpoint, why: Endpoint.OffWhy) -> bool:
    """Send nothing more, and keep everything; False when it was off already. Joins the caller's transaction."""
    living = Endpoint.objects.filter(pk=endpoint.pk, off_at__isnull=True, removed_at__isnull=True)
    if not living.update(off_at=Now(), off_why=why):
        return False
    log.warning("endpoint switched off", endpoint=endpoint.number, why=str(why))
    if why != Endpoint.OffWhy.STAFF:
        endpoint.refresh_from_db()
        import_string(settings.ENDPOINT_TROUBLE)(endpoint)
        set_alarm(MAIL_ENDPOINT, endpoint.number)
    return True


@transactional
def switch_off_by_hand(number: str) -> bool:
    """The same as staff. Raises EndpointNotFound."""
    return switch_off(find_endpoint(number), Endpoint.OffWhy.STAFF)


@transactional
def switch_on(number: str) -> int:
    """Send again: first what waits, each with all its tries before it. Returns how much. Raises EndpointNotFound."""
    hold_publishing()
    endpoint = find_endpoint(number)
    waiting = Delivery.objects.filter(endpoint=endpoint, status=Delivery.Status.WAITING)
    _promise(endpoint)
    outcomes.forget_tries(waiting)
    Endpoint.objects.filter(pk=endpoint.pk).update(
        off_at=None, off_why="", failing_since=None, failures=0, rests_until=None, well_since=Now()
    )
    remove_alarms([MAIL_ENDPOINT], endpoint.number)
    return waiting.count()


@transactional
def remove_endpoint(number: str) -> None:
    """Keep nothing for it any more, and forget its secrets; the row stays for history. Raises EndpointNotFound."""
    hold_publishing()
    endpoint = find_endpoint(number)
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [DELIVER, str(endpoint.pk)])
    outcomes.end_all(endpoint)
    Endpoint.objects.filter(pk=endpoint.pk).update(
        removed_at=Now(),
        off_at=Coalesce("off_at", Now()),
        rests_until=None,
        secret="",
        old_secret="",
        old_until=None,
    )
    remove_alarms([FORGET_SECRET, MAIL_ENDPOINT], endpoint.number)
    endpoint.refresh_from_db()
    import_string(settings.ENDPOINT_WELL)(endpoint)
    log.info("endpoint removed", endpoint=endpoint.number)


# ---- once more ---------------------------------------------------------------------------------------------------


@transactional
def resend_dead(number: str, *, since: datetime | None = None) -> int:
    """Let what was given up, from `since` on, wait again. Returns how much. Raises EndpointNotFound."""
    hold_publishing()
    endpoint = find_endpoint(number)
    return _begin_again(endpoint, _dead(endpoint, **({"ended_at__gte": since} if since else {})))


@transactional
def resend_delivery(pk: int) -> None:
    """Let one event be sent at once, whatever became of it before; its stream goes on behind it.

    An endpoint that was given a rest is tried by it. Raises EndpointNotFound; NothingToSend, see `hinders_sending`.
    """
    hold_publishing()
    delivery = Delivery.objects.select_related("endpoint", "event").get(pk=pk)
    endpoint = find_endpoint(delivery.endpoint.number)
    if hindrance := hinders_sending(delivery):
        raise NothingToSend(hindrance)
    set_alarm(DELIVER, f"{endpoint.pk}:{delivery.event.stream}")
    this = Delivery.objects.filter(pk=pk)
    outcomes.begin_again(this)
    outcomes.forget_tries(this)
    # The rest is over and not forgotten: when this is taken, whatever waits for the endpoint follows.
    Endpoint.objects.filter(pk=endpoint.pk, rests_until__isnull=False).update(rests_until=Now())


def hinders_sending(delivery: Delivery) -> Words:
    """Why it is not sent now; empty for what may be: its receiver has it, or what happened before it waits to go first."""
    if delivery.status == Delivery.Status.TAKEN:
        return say(_("The receiver has taken this: it finds it again in the feed of events."))
    head = find_head(delivery.endpoint, delivery.event.stream)
    if head is not None and head.event.sequence < delivery.event.sequence:
        words = _("%(event)s happened before it and waits: send that one first.")
        return say(words, event=head.event.number)
    return ""


def find_head(endpoint: Endpoint, stream: str) -> Delivery | None:
    """The earliest event of the stream that waits for this endpoint."""
    waiting = Delivery.objects.filter(endpoint=endpoint, status=Delivery.Status.WAITING, event__stream=stream)
    return waiting.select_related("event").order_by("event__sequence").first()


def _dead(endpoint: Endpoint, **which: Any) -> QuerySet[Delivery]:
    return Delivery.objects.filter(endpoint=endpoint, status=Delivery.Status.DEAD, **which)


def _begin_again(endpoint: Endpoint, dead: QuerySet[Delivery]) -> int:
    count = outcomes.begin_again(dead)
    _promise(endpoint)
    return count


def _promise(endpoint: Endpoint) -> None:
    """An alarm for each stream in which something waits."""
    with connection.cursor() as cursor:
        cursor.execute(PROMISE, [DELIVER, endpoint.pk])


def find_endpoint(number: str) -> Endpoint:
    """A living one. Raises EndpointNotFound."""
    found = Endpoint.objects.filter(number=number.upper(), removed_at__isnull=True).first()
    if found is None:
        raise EndpointNotFound(number)
    return found
