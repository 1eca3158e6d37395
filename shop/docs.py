"""`docs/`: the API's description as a page for people. It is made by the server from the schema, so it says the same, and
needs no script.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from shop import languages
from shop.api import answer_problem
from shop.docs_fields import describe_value, list_fields
from shop.problems import offer_only_get
from shop.schema import make_schema
from shop.throttles import TooManyRequests, count_request

Part = Mapping[str, Any]


@csrf_exempt  # it changes nothing, whatever the method
def show_docs(request: HttpRequest) -> HttpResponse:
    """The page, in the reader's language."""
    if request.method not in ("GET", "HEAD"):
        return offer_only_get()
    try:
        count_request(request)
    except TooManyRequests as error:
        return cast("HttpResponse", answer_problem(error, {"request": request}))
    schema = make_schema(languages.current())
    response = render(
        request, "api_docs.html", {"groups": _groups(schema), "schema": schema, "ways": _ways(schema)}
    )
    response.headers["Cache-Control"] = "no-cache"
    return response


def _titles() -> Mapping[str, str]:
    """The tags in the reader's words, in the order of the page."""
    return {
        "products": _("Products"),
        "orders": _("Orders"),
        "payments": _("Payments"),
        "refunds": _("Refunds"),
        "events": _("Events"),
        "description": _("Description"),
        "webhooks": _("Webhooks"),
    }


def _groups(schema: Part) -> list[dict[str, Any]]:
    doors = list(_operations(schema))
    groups = [
        {"tag": tag, "title": title, "operations": [door for door in doors if door["tag"] == tag]}
        for tag, title in _titles().items()
    ]
    return [group for group in groups if group["operations"]]


def _operations(schema: Part) -> Iterator[dict[str, Any]]:
    for where in ("paths", "webhooks"):
        for path, item in schema.get(where, {}).items():
            for method, said in item.items():
                yield _operation(schema, path, method, said)


def _operation(schema: Part, path: str, method: str, said: Part) -> dict[str, Any]:
    body = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    return {
        "id": said["operationId"],
        "tag": said["tags"][0],
        "method": method.upper(),
        "path": path,
        "summary": said["summary"],
        "text": _show(said.get("description", "")),
        "who": [_who(one) for one in said.get("security", ())],
        "parameters": [_parameter(one) for one in said.get("parameters", ())],
        "fields": [_row(field) for field in list_fields(schema, body.get("schema", {}))],
        "body": _example(body),
        "answers": [_answer(status, one) for status, one in said["responses"].items()],
    }


def _who(requirement: Part) -> str:
    if not requirement:
        return _("anybody")
    [(scheme, scopes)] = requirement.items()
    words = {"token": _("the order's token"), "session": _("a session"), "key": _("an API key")}
    return f"{words[scheme]}: {', '.join(scopes)}" if scopes else words[scheme]


def _parameter(said: Part) -> dict[str, Any]:
    value = describe_value(said["schema"]) | {"text": said.get("description", "")}
    return _row(
        value | {"name": said["name"], "place": said["in"], "is_required": said.get("required", False)}
    )


def _row(field: Part) -> dict[str, Any]:
    return {**field, "text": _show(field["text"])}


def _answer(status: str, said: Part) -> dict[str, Any]:
    """Problems are their codes with what they mean; good answers an example."""
    codes = [line.removeprefix("- ").partition(": ") for line in said["description"].splitlines()]
    is_good = status.startswith(("2", "3", "d"))
    content: Part = next(iter(said.get("content", {}).values()), {})
    return {
        "status": status,
        "text": _show(said["description"]) if is_good else "",
        "codes": []
        if is_good
        else [{"code": code.strip("`"), "text": _show(text)} for code, _colon, text in codes],
        "example": _example(content) if is_good else "",
    }


def _show(text: str) -> SafeString:
    """With what stands between backticks as code."""
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))  # noqa: S308 - escaped


def _example(content: Part) -> str:
    example = next(iter(content.get("examples", {}).values()), None)
    return json.dumps(example["value"], ensure_ascii=False, indent=2) if example else ""


def _ways(schema: Part) -> list[dict[str, str]]:
    titles = {"token": _("The order's token"), "key": _("An API key"), "session": _("A session")}
    schemes = schema["components"]["securitySchemes"].items()
    return [{"title": titles[name], "text": _show(said["description"])} for name, said in schemes]
