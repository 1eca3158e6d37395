"""Lists of the API: newest first, page by page, each page beginning behind the last row of the one before.

A cursor names that row and not how many rows there were, so what is added meanwhile neither repeats a row nor hides one. A
row whose transaction commits late may stand behind a page that was read already: a system that must miss nothing follows
the events, which have an order of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db.models import BigIntegerField, Model, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from shop.queries import Reader, moment, read_query, whole

PAGE_SIZE, MOST = 50, 100
# A row has its id within a statement of its `created_at`, and no statement takes longer than 15 s.
SKEW = timedelta(minutes=1)
NO_ID = 2**63 - 1

ToQ = Callable[[Any, type[Model]], Q]


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter of a list: how it is read, and which rows it leaves."""

    read: Reader
    to_q: ToQ


def by(field: str, read: Reader) -> Filter:
    """Rows whose `field` is what was asked for."""
    return Filter(read, lambda value, _model: Q(**{field: value}))


def answer_page(
    request: HttpRequest,
    rows: QuerySet[Any],
    show: Callable[[Any], dict[str, Any]],
    filters: Mapping[str, Filter],
) -> Response:
    """`{"results": […], "next": url or null}` and the same `Link`. Raises a ValidationError that names a wrong parameter.

    The rows have public numbers. One statement, and those of what `rows` fetches beside.
    """
    readers = {name: filter_.read for name, filter_ in filters.items()}
    asked = read_query(request, limit=whole(least=1, most=MOST), cursor=str, **readers)
    limit = asked.pop("limit", PAGE_SIZE)
    if (cursor := asked.pop("cursor", None)) is not None:
        rows = rows.filter(
            pk__lt=Subquery(rows.model.objects.filter(number=_open(request, cursor)).values("pk"))
        )
    for name, value in asked.items():
        rows = rows.filter(filters[name].to_q(value, rows.model))
    found = list(rows.order_by("-pk")[: limit + 1])
    following = _next_url(request, found[limit - 1].number) if len(found) > limit else None
    response = Response({"results": [show(row) for row in found[:limit]], "next": following})
    if following:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def _next_url(request: HttpRequest, last: str) -> str:
    return page_url(request, request.GET.dict() | {"cursor": _signer(request).sign(last)})


def page_url(request: HttpRequest, query: Mapping[str, Any]) -> str:
    """Another page of what was asked for, at the shop's own address: whoever follows it shows a key there, and what a
    request came through may not tell that it came by https.
    """
    return f"{settings.PUBLIC_URL}{request.path}?{urlencode(query)}"


def _open(request: HttpRequest, cursor: str) -> str:
    """The number that the cursor names, if it was made for this list and these filters."""
    try:
        return _signer(request).unsign(cursor)
    except BadSignature as error:
        raise ValidationError({"cursor": [_("This is no cursor of this list.")]}) from error


def _signer(request: HttpRequest) -> Signer:
    asked = sorted((name, text) for name, text in request.GET.items() if name not in ("cursor", "limit"))
    return Signer(salt=f"list {request.path}?{urlencode(asked)}")


# ---- by time -------------------------------------------------------------------------------------------------------


def _not_before(at: datetime, model: type[Model]) -> Q:
    """Made at this time or later. The bound of the id lets the walk by id end where the time does."""
    earlier = _ids(model).filter(created_at__lt=at - SKEW).order_by("-created_at").values("pk")[:1]
    return Q(created_at__gte=at, pk__gt=_bound(earlier, 0))


def _before(at: datetime, model: type[Model]) -> Q:
    """Made before this time; the walk by id begins there."""
    later = _ids(model).filter(created_at__gte=at + SKEW).order_by("created_at").values("pk")[:1]
    return Q(created_at__lt=at, pk__lt=_bound(later, NO_ID))


def _ids(model: type[Model]) -> QuerySet[Any]:
    return model._default_manager.all()


def _bound(ids: QuerySet[Any, Any], usual: int) -> Coalesce:
    return Coalesce(Subquery(ids), Value(usual, output_field=BigIntegerField()))


CREATED: Mapping[str, Filter] = {
    "created_after": Filter(moment, _not_before),
    "created_before": Filter(moment, _before),
}
