"""What all API doors share: strict JSON in, problem documents out. Who is asking, `shop.keys` says."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, serializers
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from shop.idempotency import MAX_KEY, InProgress, Key, KeyMismatch, key_of
from shop.middleware import BUSY, busy
from shop.problems import Problem, answer

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16

ToProblem = Callable[[Any], Problem]
_problems: dict[type[Exception], ToProblem] = {}


def describe_error(error: type[Exception], to_problem: ToProblem) -> None:
    """Let the API answer `error`, and what derives from it, by `to_problem(error)`. The nearest class counts."""
    _problems[error] = to_problem


def answer_problem(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler: a problem document for everything expected, None (500) for bugs."""
    for kind in type(error).__mro__:
        if kind in _problems:
            return answer(_problems[kind](error))
    if isinstance(error, BUSY):
        return answer(busy(context["request"]))
    if isinstance(error, Http404):
        return answer(Problem(status=404, code="not_found", detail=_("Nothing is here.")))
    if isinstance(error, PermissionDenied):
        return answer(Problem(status=403, code="forbidden", detail=_("You may not do this.")))
    if isinstance(error, RequestDataTooBig):  # read by Django, where a form was sent
        error = TooLarge()
    if isinstance(error, exceptions.ValidationError):
        errors = list(_flatten(error.detail))
        return answer(Problem(status=400, code="invalid", detail=errors[0]["detail"], errors=errors))
    if isinstance(error, exceptions.APIException):
        codes = error.get_codes()
        code = codes if isinstance(codes, str) else "invalid"
        return answer(Problem(status=error.status_code, code=code, detail=str(error.detail)))
    return None


def _flatten(detail: Any, path: str = "") -> Any:
    """DRF's nested error detail as one list of {"field", "detail"}."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            at = path if name == "non_field_errors" else f"{path}.{name}".lstrip(".")
            yield from _flatten(inner, at)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            yield from _flatten(inner, f"{path}.{index}" if isinstance(inner, dict) else path)
    else:
        yield {"field": path, "detail": str(detail)}


describe_error(KeyMismatch, lambda e: Problem(status=422, code="idempotency_mismatch", detail=str(e)))
describe_error(
    InProgress,
    lambda e: Problem(status=409, code="in_progress", detail=str(e), retry_after_s=e.retry_after_s),
)


# ---- the same request again --------------------------------------------------------------------------------------


def read_key(request: Request, scope: str) -> Key | None:
    """The request's Idempotency-Key with what its body says; None when it has none. Raises a validation error."""
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    if not (1 <= len(text) <= MAX_KEY and text.isascii() and text.isprintable()):
        detail = _("This must be 1 to %(most)d printable ASCII characters.") % {"most": MAX_KEY}
        raise serializers.ValidationError({"Idempotency-Key": [detail]})
    return key_of(scope, text, json.dumps(request.data, sort_keys=True))


def answer_once(fields: Any, *, status: int, is_replay: bool) -> Response:
    """The answer, marked where the request had been answered before."""
    return Response(fields, status=status, headers={"Idempotency-Replayed": "true"} if is_replay else None)


# ---- in ----------------------------------------------------------------------------------------------------------


class StrictJSONParser(BaseParser):
    """JSON as the standard has it: UTF-8, no NaN, no repeated key, bounded in size and depth."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        charset = parse_header_parameters(media_type or "")[1].get("charset", "utf-8")
        if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise exceptions.UnsupportedMediaType(media_type or "", _("JSON is written in UTF-8."))
        try:
            text = stream.read(MAX_BODY_BYTES + 1)
        except (RequestDataTooBig, RawPostDataException, UnreadablePostError) as error:
            raise exceptions.ParseError(_("The body could not be read.")) from error
        if len(text) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            data = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(_("The body is not valid JSON.")) from error
        if _depth(data) > MAX_DEPTH:
            raise exceptions.ParseError(_("The body is nested too deeply."))
        return data


class TooLarge(exceptions.APIException):
    """413"""

    status_code = 413
    default_detail = gettext_lazy("The body is too large.")
    default_code = "too_large"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("repeated key")
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _depth(data: Any) -> int:
    deepest, level = 0, [data]
    while level and deepest <= MAX_DEPTH:
        deepest += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return deepest


class JSONWhateverIsAccepted(BaseContentNegotiation):
    """JSON is all we speak: a client that asks for something else can read a status code, and learns nothing from a 406."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class StrictSerializer(serializers.Serializer):
    """Named fields only: an unknown one is an error that names it.

    `said`: what the API's description says of a field beyond its type, where a flow and not the field checks it.
    """

    said: Mapping[str, Mapping[str, Any]] = {}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = data.keys() - self.fields.keys()
            if unknown:
                raise serializers.ValidationError(
                    {name: [_("This field is not known.")] for name in sorted(unknown)}
                )
        return super().to_internal_value(data)


class Nothing(StrictSerializer):
    """The body of a call that takes none: empty, or `{}`."""


def read_nothing(request: Request) -> None:
    """Refuse a body that says something. Raises a validation error."""
    Nothing(data=request.data).is_valid(raise_exception=True)


# Control characters of both sets, what turns the direction of the text around it, and halves of letters.
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Text(serializers.CharField):
    """A JSON string of characters that people read; never a number taken for one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError(_("This must be a text."))
        if NO_TEXT.search(data):
            raise serializers.ValidationError(_("This holds characters that are not text."))
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """A JSON boolean; never a number or a word taken for one."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError(_("This must be true or false."))
        return data


class Whole(serializers.IntegerField):
    """A JSON integer; never a string, a float or a boolean taken for one."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError(_("This must be a whole number."))
        return super().to_internal_value(data)
