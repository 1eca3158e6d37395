"""GET events: what happened, in the order in which it was published, for a system that asks when it wants to.

Whoever has read up to a position has read everything before it, so a reader keeps one number and is never told too little;
who was away for too long is told so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from shop.business import TYPES, event_fields
from shop.doors import Door
from shop.keyring import Scope
from shop.keys import require
from shop.models import BusinessEvent, Horizon
from shop.numbers import is_number
from shop.sentences import say

MOST, USUAL = 500, 100
# So many events are looked through at most for those of some types: a page may be short, or empty, with more to come.
WINDOW = 5000
# Of a PostgreSQL bigint; a longer number is no position of any database of ours.
MAX_DIGITS = 18
PARAMETERS = ("after", "limit", "type", "order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a reader asks for: `types` and `order` are empty for everything."""

    after: int = 0
    limit: int = USUAL
    types: Sequence[str] = ()
    order: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some events, and from where to go on. `oldest` is None when nothing is kept that could be read in full.

    Not `is_complete`: something after `wanted.after`, which might have been shown, was forgotten.
    """

    events: Sequence[BusinessEvent]
    next: int
    has_more: bool
    oldest: int | None
    is_complete: bool


class FutureFeed(Exception):
    """Nothing of this position was ever published: the reader has it from another database."""


def read_feed(wanted: Wanted) -> Page:
    """The next events, oldest first. Raises FutureFeed."""
    last = _last(BusinessEvent.objects.filter(position__isnull=False))
    if wanted.after > last:
        raise FutureFeed(
            say(gettext_lazy("The last position is %(last)d: this one was never given."), last=last)
        )
    # Up to here and no further, whatever is published meanwhile: `next` must not pass what was not looked at.
    edge = _edge(wanted, last)
    found = list(_between(wanted, edge)[: wanted.limit + 1])
    is_full = len(found) > wanted.limit
    events = found[: wanted.limit]
    # After the events: what is forgotten between two statements must be missed aloud, and rather once too often.
    horizon = Horizon.objects.values_list("forgotten_to", flat=True).first() or 0
    return Page(
        events=events,
        next=events[-1].position or 0 if is_full else edge,
        has_more=is_full or edge < last,
        oldest=horizon + 1 if horizon < last else None,
        is_complete=wanted.after >= horizon or _has_whole_order(wanted),
    )


def _edge(wanted: Wanted, last: int) -> int:
    """How far one page looks: of one order everything, otherwise a bounded number of events."""
    if wanted.order:
        return last
    within = BusinessEvent.objects.filter(position__gt=wanted.after, position__lte=last).order_by("position")
    return max(wanted.after, _last(within[:WINDOW]))


def _between(wanted: Wanted, edge: int) -> QuerySet[BusinessEvent]:
    found = BusinessEvent.objects.filter(position__gt=wanted.after, position__lte=edge)
    if wanted.types:
        found = found.filter(type__in=wanted.types)
    if wanted.order:
        found = found.filter(stream=wanted.order)
    return found.order_by("position")


def _has_whole_order(wanted: Wanted) -> bool:
    """Whether of one order nothing was forgotten that comes after the reader's position."""
    if not wanted.order:
        return False
    first = BusinessEvent.objects.filter(stream=wanted.order).order_by("sequence").first()
    return first is None or first.sequence == 1 or (first.position or 0) <= wanted.after


def _last(events: QuerySet[BusinessEvent]) -> int:
    position: int | None = events.aggregate(last=Max("position"))["last"]
    return position or 0


# ---- the door ----------------------------------------------------------------------------------------------------


class EventsView(Door):
    """GET events: for systems with the scope events:read, and staff."""

    permission_classes = (require(Scope.EVENTS_READ),)
    query = None

    def get(self, request: Request) -> Response:
        wanted = _read_wanted(request.query_params)
        try:
            page = read_feed(wanted)
        except FutureFeed as error:
            raise serializers.ValidationError({"after": [str(error)]}) from error
        return Response(page_fields(page))


def page_fields(page: Page) -> dict[str, Any]:
    """The page as the API shows it."""
    return {
        "events": [event_fields(event) for event in page.events],
        "next": page.next,
        "has_more": page.has_more,
        "oldest": page.oldest,
        "complete": page.is_complete,
    }


def _read_wanted(given: Any) -> Wanted:
    """Raises a validation error that names the parameter."""
    _check_names(given)
    return Wanted(
        after=_whole(given, "after", usual=0, least=0, most=10**MAX_DIGITS - 1),
        limit=_whole(given, "limit", usual=USUAL, least=1, most=MOST),
        types=_types(given),
        order=_order(given),
    )


def _check_names(given: Any) -> None:
    for name in given:
        if name not in PARAMETERS:
            raise serializers.ValidationError({name: [_("This parameter is not known.")]})
        if len(given.getlist(name)) > 1:
            raise serializers.ValidationError({name: [_("This parameter is given more than once.")]})


def _whole(given: Mapping[str, str], name: str, *, usual: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return usual
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and least <= int(text) <= most:
        return int(text)
    words = _("This must be a whole number from %(least)d to %(most)d.") % {"least": least, "most": most}
    raise serializers.ValidationError({name: [words]})


def _types(given: Mapping[str, str]) -> Sequence[str]:
    text = given.get("type")
    if text is None:
        return ()
    types = text.split(",")
    if not set(types) <= set(TYPES):
        words = _("This must be some of %(types)s, with commas between them.") % {"types": ", ".join(TYPES)}
        raise serializers.ValidationError({"type": [words]})
    return types


def _order(given: Mapping[str, str]) -> str:
    text = given.get("order")
    if text is None:
        return ""
    if not is_number(text):
        raise serializers.ValidationError({"order": [_("This is no number of an order.")]})
    return text
