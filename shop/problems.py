"""Errors of the API as RFC 9457 problem documents with a stable `code`."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.utils.translation import gettext as _


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem document. `errors` names wrong fields: `{"field": "items.0.sku", "detail": "…"}`."""

    status: int
    code: str
    detail: str
    retry_after_s: int | None = None
    errors: Sequence[dict[str, str]] = ()
    extra: dict[str, Any] | None = None


def answer(problem: Problem) -> HttpResponse:
    """The problem as an answer, with `Retry-After` where trying again makes sense."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **(problem.extra or {}),
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    response = JsonResponse(body, status=problem.status, content_type="application/problem+json")
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Api-Key"
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def offer_only_get() -> HttpResponse:
    """405 of a door outside DRF, which is read and nothing else."""
    response = answer(Problem(status=405, code="method_not_allowed", detail=_("Only GET is offered here.")))
    response.headers["Allow"] = "GET, HEAD"
    return response
