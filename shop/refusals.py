"""What no view answers: a request that cannot be read, and a mistake of ours. Below /api/ these are problem documents too."""

from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseServerError
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _

from shop.problems import Problem, answer

API = "/api/"


class InUtf8(HttpRequest):
    """A request whose address and forms are UTF-8, whatever charset it names.

    Django would read `?a=b` by the charset of the body, and some that Python knows, as `hex`, can read no text at all: the
    request could not even be made.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class PlainWSGIRequest(InUtf8, WSGIRequest):
    """By WSGI."""


class PlainASGIRequest(InUtf8, ASGIRequest):
    """By ASGI."""


class PlainWSGIHandler(WSGIHandler):
    """Django's, with our request."""

    request_class = PlainWSGIRequest


class PlainASGIHandler(ASGIHandler):
    """Django's, with our request."""

    request_class = PlainASGIRequest


class HostMiddleware(MiddlewareMixin):
    """The API says itself that a host is not ours: Django would answer with a page."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if request.path.startswith(API):
            try:
                request.get_host()
            except DisallowedHost:
                return answer(
                    Problem(status=400, code="wrong_host", detail=_("This is not the shop's host."))
                )
        return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 of a request that Django refuses to read."""
    if request.path.startswith(API):
        return answer(Problem(status=400, code="invalid", detail=_("The request could not be read.")))
    return HttpResponseBadRequest(_render("400.html", request))


def server_error(request: HttpRequest) -> HttpResponse:
    """500, which tells nothing but that it was us."""
    if request.path.startswith(API):
        return answer(Problem(status=500, code="broken", detail=_("That was our mistake.")))
    return HttpResponseServerError(_render("500.html", request))


def _render(template: str, request: HttpRequest) -> str:
    """Without the context of other pages: what makes that may be what is broken."""
    return render_to_string(template, {"request": request, "shop_name": settings.SHOP_NAME})
