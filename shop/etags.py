"""Answers that a client may keep and ask about again: 304 and nothing else while they are the same."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework.response import Response


def answer_tagged(request: HttpRequest, fields: Mapping[str, Any], *, version: int) -> Response:
    """200 with an `ETag`, or 304 where `If-None-Match` names it.

    The tag is the order's `version` and a digest of everything that is shown: it changes also with what no step of the order
    changes, as the language or an action that may not be shown any more.
    """
    tag = tag_of(fields, version=version)
    response = Response(status=304) if is_known(request, tag) else Response(fields)
    response["ETag"], response["Cache-Control"] = tag, "private, no-cache"
    patch_vary_headers(response, ("Authorization",))
    return response


def tag_of(fields: Mapping[str, Any], *, version: int) -> str:
    """`"12-3f8a…"`, with its quotes."""
    shown = json.dumps(fields, sort_keys=True, default=str).encode()
    return f'"{version}-{hashlib.sha256(shown).hexdigest()[:16]}"'


def is_known(request: HttpRequest, tag: str) -> bool:
    """Whether `If-None-Match` names the tag, also as a weak one, which a proxy makes of it that compresses."""
    named = parse_etags(request.headers.get("If-None-Match", ""))
    return any(each.removeprefix("W/") in ("*", tag) for each in named)
