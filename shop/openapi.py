"""How the doors of the API are described, next to none of their code: each room that has doors has a `described` beside it.

A description says what a door takes, what it answers when all is well, and by their codes the problems it may answer. The
schema, the docs page and the tests that throw random requests at the doors all live from it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext_lazy as _
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework.views import APIView

from shop.api import StrictSerializer
from shop.numbers import PATTERN

Words = str | Promise
PROBLEM_TYPE = "application/problem+json"
PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}

# What a client may meet, by the code it can rely on: status, and what it means.
PROBLEMS: Mapping[str, tuple[int, Words]] = {
    "invalid": (400, _("Something in the request is wrong; `errors` names each field or parameter.")),
    "parse_error": (400, _("The body is no JSON in UTF-8, repeats a name, or is nested too deeply.")),
    "wrong_host": (400, _("The request names a host that is not the shop's.")),
    "mixed_currency": (400, _("An order has one currency.")),
    "unauthorized": (401, _("The API key is wrong, has expired or was revoked; or none was shown.")),
    "forbidden": (403, _("The key lacks the scope, the person the permission, or the form its CSRF token.")),
    "not_found": (404, _("There is no such thing, or it is none of yours: both look the same.")),
    "method_not_allowed": (405, _("The address does not offer this method; `Allow` says which it offers.")),
    "too_slow": (408, _("The body did not come within twenty seconds.")),
    "duplicate_order": (
        409,
        _("The same was ordered a moment ago; who may see that order is told its number."),
    ),
    "out_of_stock": (
        409,
        _("Fewer are left than were asked for: `sku` and `left` say of what and how many."),
    ),
    "order_paid": (409, _("The order is paid.")),
    "order_closed": (409, _("The order is closed.")),
    "payment_confirming": (
        409,
        _("An earlier attempt may have been paid and is being asked about; try again after `Retry-After`."),
    ),
    "in_progress": (
        409,
        _("A request with this Idempotency-Key is still at work; try again after `Retry-After`."),
    ),
    "over_refund": (409, _("That is more than is left of the payment; `left` says how much that is.")),
    "not_refundable": (409, _("Its channel cannot give money back: a person sends it by bank transfer.")),
    "too_large": (413, _("The body is larger than 64 KiB.")),
    "unsupported_media_type": (415, _("Bodies are `application/json` in UTF-8.")),
    "idempotency_mismatch": (422, _("This Idempotency-Key came before with another body.")),
    "too_many_requests": (429, _("Too often; try again after `Retry-After`.")),
    "broken": (
        500,
        _("A mistake of ours, which should never come. Look what was done before you try again."),
    ),
    "busy": (
        503,
        _(
            "The shop is busy. What was to be changed may have been done: look first, or repeat it with its key."
        ),
    ),
    "channel_unavailable": (503, _("The channel cannot be reached just now, and nothing was begun.")),
}
EVERYWHERE = ("invalid", "wrong_host", "method_not_allowed", "too_many_requests", "broken", "busy")
WITH_BODY = ("parse_error", "too_slow", "too_large", "unsupported_media_type")
WITH_KEY = ("in_progress", "idempotency_mismatch")


def list_ways() -> dict[str, dict[str, Any]]:
    """How somebody may be let in, as OpenAPI's security schemes."""
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": _("The `token` of one order: its shopper, and nobody else's."),
        },
        "key": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": _(
                "A system, by `Authorization: Api-Key <number>.<secret>`, as far as the key's scopes reach."
            ),
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": _(
                "A browser that has placed or opened the order, or staff. To change anything it sends `X-CSRFToken` as well."
            ),
        },
    }


class Described(AutoSchema):
    """DRF's serializers as JSON schema. What refuses unknown fields says so."""

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)
        if isinstance(force_instance(serializer), StrictSerializer):
            schema["additionalProperties"] = False
            for name, more in force_instance(serializer).said.items():
                schema["properties"][name] |= more
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One good answer: its shape (a serializer, or a JSON schema), what it means, and one as it really came."""

    shape: Any
    means: Words
    example: Any = None
    headers: Sequence[OpenApiParameter] = ()
    media_types: Sequence[str] = ("application/json",)


def describe(
    view: type[APIView],
    method: str,
    *,
    name: str,
    tag: str,
    summary: Words,
    text: Words = "",
    who: Sequence[str],
    answers: Mapping[int, Answer],
    body: Any = None,
    body_example: Any = None,
    takes: Sequence[OpenApiParameter] = (),
    problems: Sequence[str] = (),
) -> None:
    """Describe one method of a view. `who`: `token`, `session`, `anybody`, and the scope of a key, as `orders:read`.

    `problems`: the codes beyond those that every door, every body and every key brings along.
    """
    codes = [*EVERYWHERE, *(WITH_BODY if method != "get" else ()), *problems]
    codes += ["unauthorized", "forbidden"] if any(":" in one for one in who) else []
    extend_schema_view(
        **{
            method: extend_schema(
                operation_id=name,
                tags=[tag],
                summary=summary,
                description=text or None,
                auth=[_requirement(one) for one in who],
                request={"application/json": body} if body is not None else None,
                parameters=[*takes, *_answer_headers(answers), *_problem_headers(codes)],
                examples=[_example(body_example, is_request=True)] if body_example is not None else None,
                responses=_good(answers) | _bad(codes),
            )
        }
    )(view)


def _requirement(who: str) -> Any:
    if who == "anybody":
        return {}
    return {"key": [who]} if ":" in who else {who: []}


def _good(answers: Mapping[int, Answer]) -> dict[Any, Any]:
    return {
        (status, media_type): OpenApiResponse(
            response=one.shape,
            description=one.means,
            examples=[_example(one.example, status=status)] if one.example is not None else [],
        )
        for status, one in answers.items()
        for media_type in one.media_types
    }


def _example(value: Any, *, is_request: bool = False, status: int = 200) -> OpenApiExample:
    return OpenApiExample(
        "example",
        value=value,
        request_only=is_request,
        response_only=not is_request,
        status_codes=[str(status)],
    )


def _bad(codes: Sequence[str]) -> dict[Any, Any]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in dict.fromkeys(codes):
        by_status[PROBLEMS[code][0]].append(code)
    return {
        (status, PROBLEM_TYPE): OpenApiResponse(
            response={"allOf": [PROBLEM_REF, {"properties": {"code": {"enum": here}}}]},
            description=_list_codes(here),
            examples=[_problem_example(status, code) for code in here],
        )
        for status, here in sorted(by_status.items())
    }


def _join_codes(codes: Sequence[str]) -> str:
    return "\n".join(f"- `{code}`: {PROBLEMS[code][1]}" for code in codes)


_list_codes = lazy(_join_codes, str)


def _problem_example(status: int, code: str) -> OpenApiExample:
    value = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": PROBLEMS[code][1],
    }
    return OpenApiExample(code, value=value, media_type=PROBLEM_TYPE, status_codes=[str(status)])


# ---- headers and parameters ----------------------------------------------------------------------------------------


def in_path(name: str, says: Words) -> OpenApiParameter:
    """A number in the address."""
    return OpenApiParameter(name, {"type": "string"}, "path", required=True, description=says)


def in_query(name: str, schema: Mapping[str, Any], says: Words, example: Any = None) -> OpenApiParameter:
    """A parameter behind the `?`."""
    examples = [] if example is None else [OpenApiExample("example", value=example)]
    return OpenApiParameter(name, dict(schema), "query", description=says, examples=examples)


def number_in_query(name: str, says: Words, example: Any) -> OpenApiParameter:
    """A parameter behind the `?` that names something of ours by its number."""
    return in_query(name, {"type": "string", "pattern": PATTERN}, says, example)


def header(
    name: str, says: Words, *statuses: int, schema: Mapping[str, Any] | None = None
) -> OpenApiParameter:
    """A header: of the request, or of the answers with these statuses."""
    return OpenApiParameter(
        name, dict(schema or {"type": "string"}), "header", description=says, response=list(statuses) or False
    )


IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    _("The same key and body again is the same request again: it is done once. Kept for 30 days."),
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)
REPLAYED = header("Idempotency-Replayed", _("`true`, where the request had been answered before."), 200, 201)
IF_NONE_MATCH = header("If-None-Match", _("An `ETag` of an earlier answer: 304 while it is the same."))
ETAG = header("ETag", _("Changes with everything that is shown."), 200, 304)
LINK = header("Link", _('The next page, as `<…>; rel="next"`, where there is one.'), 200)


def _answer_headers(answers: Mapping[int, Answer]) -> list[OpenApiParameter]:
    return [one for answer in answers.values() for one in answer.headers]


def _problem_headers(codes: Sequence[str]) -> list[OpenApiParameter]:
    waiting = {"payment_confirming", "in_progress", "too_many_requests", "busy", "channel_unavailable"}
    statuses = sorted({PROBLEMS[code][0] for code in codes if code in waiting})
    after = header("Retry-After", _("Seconds to wait."), *statuses, schema={"type": "integer"})
    challenge = header("WWW-Authenticate", _("How to be let in."), 401)
    allow = header("Allow", _("The methods that are offered."), 405)
    return [allow, after, *([challenge] if "unauthorized" in codes else [])]
