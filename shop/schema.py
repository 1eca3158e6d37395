"""The API's description as OpenAPI 3.1, made once in each language and kept in memory, and the page for people made from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.translation import gettext as _
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request

from shop import languages
from shop.business import TYPES, declared_data
from shop.doors import Door
from shop.etags import is_known
from shop.openapi import list_ways
from shop.queries import one_of
from shop.webhooks.endpoints import TEST

# What an endpoint may be sent.
SENT = (*TYPES, TEST)
JSON, YAML = "application/vnd.oai.openapi+json", "application/yaml"


@dataclass(frozen=True, slots=True)
class Written:
    """One file as it is sent."""

    content: bytes
    media_type: str
    tag: str


class SchemaView(Door):
    """`GET schema/`: the description, as JSON or with `?format=yaml` as YAML."""

    authentication_classes = ()
    query = {"format": one_of(("json", "yaml"))}

    def get(self, request: Request) -> HttpResponse:
        written = write_schema(self.asked.get("format", "json"), languages.current())
        return answer_file(request._request, written)


def answer_file(request: HttpRequest, written: Written) -> HttpResponse:
    """The file, or 304 for who has it."""
    has_it = is_known(request, written.tag)
    response = HttpResponseNotModified() if has_it else HttpResponse(written.content, written.media_type)
    response["ETag"], response["Cache-Control"] = written.tag, "no-cache"
    return response


@cache
def write_schema(form: str, language: str) -> Written:
    """`form`: json or yaml."""
    schema = make_schema(language)
    if form == "yaml":
        text, media_type = yaml.safe_dump(schema, allow_unicode=True, sort_keys=False), YAML
    else:
        text, media_type = json.dumps(schema, ensure_ascii=False), JSON
    content = text.encode()
    return Written(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


@cache
def make_schema(language: str) -> dict[str, Any]:
    """The whole description in this language: what is in it is JSON."""
    with languages.speaking(language):
        made = SchemaGenerator(urlconf=settings.ROOT_URLCONF).get_schema(request=None, public=True)
        return dict(json.loads(json.dumps(made, default=str)))


# ---- what drf-spectacular is told, see settings --------------------------------------------------------------------


def complete(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """Add what no single door says: who may come in, problem documents, and what we send ourselves."""
    result["components"]["securitySchemes"] = list_ways()
    events = {_component(type_): _event_of(type_) for type_ in SENT}
    result["components"]["schemas"] |= {"Problem": _problem(), "Event": _event(), **events}
    _forget_marks(result)
    result["webhooks"] = {type_: {"post": _webhook(type_)} for type_ in SENT}
    return result


def _forget_marks(part: Any) -> None:
    """Leave out what drf-spectacular notes for its own hooks."""
    if isinstance(part, dict):
        part.pop("x-spec-enum-id", None)
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _forget_marks(inner)


def _problem() -> dict[str, Any]:
    wrong = {"type": "object", "required": ["field", "detail"], "properties": _texts("field", "detail")}
    return {
        "type": "object",
        "description": _("RFC 9457. `code` stays; `detail` is for people, in their language."),
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            **_texts("type", "title", "code", "detail"),
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": wrong},
        },
    }


def _event() -> dict[str, Any]:
    """Any event: which, says its type."""
    refs = {type_: {"$ref": f"#/components/schemas/{_component(type_)}"} for type_ in SENT}
    mapping = {type_: ref["$ref"] for type_, ref in refs.items()}
    return {
        "oneOf": list(refs.values()),
        "discriminator": {"propertyName": "type", "mapping": mapping},
        "description": _("More may be added to `data`. `webhook.test` comes by webhook only."),
    }


def _component(type_: str) -> str:
    """order.paid → OrderPaid."""
    return type_.title().replace(".", "")


def _event_of(type_: str) -> dict[str, Any]:
    """One type of event, with the data that its app has declared."""
    number, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    place: dict[str, Any] = {"type": "integer"}
    order: dict[str, Any] = {"type": ["string", "null"]}
    if type_ == TEST:
        place, order = {"type": "null"}, {"type": "null"}
    data = declared_data().get(type_, {})
    fields: dict[str, dict[str, Any]] = {
        "id": number | {"description": _("Always the same: by it a receiver knows what it was told before.")},
        "type": {"type": "string", "const": type_},
        "position": place | {"description": _("Its place among all events.")},
        "order": order | {"description": _("The order's number.")},
        "sequence": {
            "type": "integer",
            "description": _("Counts the events of one order, from 1 without a gap."),
        },
        "subject": number | {"description": _("The number of what it is about.")},
        "at": moment,
        "data": {"type": "object", "required": list(data), "properties": dict(data)},
    }
    return {"type": "object", "required": list(fields), "properties": fields}


def _webhook(type_: str) -> dict[str, Any]:
    signed = ("webhook-id", "webhook-timestamp", "webhook-signature")
    body = {"$ref": f"#/components/schemas/{_component(type_)}"}
    return {
        "operationId": type_,
        "tags": ["webhooks"],
        "summary": type_,
        "description": _("Sent when staff try an endpoint. It means nothing: answer it and forget it.")
        if type_ == TEST
        else _("Sent to every endpoint that wants it, signed as Standard Webhooks has it."),
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in signed
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "2XX": {"description": _("Taken.")},
            "default": {
                "description": _("Not taken: it comes again, after 5 s at first and after hours at last.")
            },
        },
    }


def _texts(*names: str) -> Mapping[str, Any]:
    return {name: {"type": "string"} for name in names}
