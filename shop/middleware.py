"""What every answer of the shop shares: security headers, and a clear word when the database is busy or away."""

import re
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext as _
from psycopg_pool import PoolTimeout

from shop.languages import ENGLISH, speaking, tag_of
from shop.problems import Problem, answer

# Everything from our own origin. The QR is inline SVG; there is no inline script or style anywhere. 'self' is the socket of
# our own host as well (CSP 3, 6.7.2.8); a Safari before 15.4, which does not know that, asks by long poll.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# Read by programs, in their own protocol: always the same words.
PROTOCOL_PATHS = ("/notify/", "/healthz", "/readyz", "/metrics")
PRIVATE_PATHS = ("/orders/", "/checkout/", "/cart/", "/api/", "/admin/")
# InternalError: among others, a server that is read-only because another one is the primary now.
BUSY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
RETRY_AFTER_S = 2
log = structlog.get_logger("nodrop.busy")
SESSION_KEY = re.compile(r"[a-z0-9]{32}")


class OddCookieMiddleware(MiddlewareMixin):
    """A session cookie that Django did not make is no session; looking for it could even be an error."""

    def process_request(self, request: HttpRequest) -> None:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        if not SESSION_KEY.fullmatch(key):
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)


class StaffTimeMiddleware(MiddlewareMixin):
    """Staff read times, and tell them, in the zone of the shop. The database and the API stay in UTC."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path.startswith("/admin/"):
            timezone.activate(ZoneInfo(settings.DISPLAY_TIME_ZONE))

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        timezone.deactivate()  # whoever has this thread next
        return response


class LanguageMiddleware(MiddlewareMixin):
    """Pages and the API speak what the cookie of the switch says, else what the browser asks for, else English.

    It looks at the request only, so it needs no thread of its own where the others wait for one.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        with _speaking_to(request):
            return _name_language(request, cast("HttpResponseBase", self.get_response(request)))

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        with _speaking_to(request):
            return _name_language(
                request, await cast("Awaitable[HttpResponseBase]", self.get_response(request))
            )


def _speaking_to(request: HttpRequest) -> AbstractContextManager[None]:
    is_protocol = request.path.startswith(PROTOCOL_PATHS)
    request.LANGUAGE_CODE = ENGLISH if is_protocol else translation.get_language_from_request(request)
    return speaking(request.LANGUAGE_CODE)


def _name_language(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if not request.path.startswith(PROTOCOL_PATHS):
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        response.headers.setdefault("Content-Language", tag_of(request.LANGUAGE_CODE))
    return response


def policy_with_form(url: str) -> str:
    """The policy of a page with a form that leads to `url`, out of the shop, and from there to its neighbours.

    Chromium applies `form-action` to redirects too, and UnionPay's gateway.95516.com sends the browser on to its cashier,
    another host of the same domain.
    """
    place = urlsplit(url)
    domain = (place.hostname or "").partition(".")[2]
    has_neighbours = place.scheme == "https" and "." in domain and not domain.replace(".", "").isdigit()
    neighbours = f" https://*.{domain}" if has_neighbours else ""
    return POLICY.replace(
        "form-action 'self'", f"form-action 'self' {place.scheme}://{place.netloc}{neighbours}"
    )


class SecurityHeadersMiddleware(MiddlewareMixin):
    """Content-Security-Policy on every answer; pages about an order are never kept by a cache."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        if request.path.startswith(PRIVATE_PATHS):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class BusyDatabaseMiddleware(MiddlewareMixin):
    """PostgreSQL away, or a row locked for too long: 503 with `Retry-After`, and no promise that a try did nothing."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, BUSY):
            return None
        cause = exception.__cause__
        log.warning(
            "database busy",
            error=type(cause or exception).__name__,
            sqlstate=getattr(cause, "sqlstate", None),
        )
        if request.path.startswith("/api/"):
            return answer(busy(request))
        response = render(request, "busy.html", {"is_safe": is_safe(request)}, status=503)
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response


def busy(request: Any) -> Problem:
    """The problem of a database that cannot answer now: what changes something may have done so before it was away."""
    unsure = _(
        "The shop is busy. This may have been done or not: look first, or send it again with the same Idempotency-Key."
    )
    detail = _("The shop is busy. Please try again.") if is_safe(request) else unsure
    return Problem(status=503, code="busy", detail=detail, retry_after_s=RETRY_AFTER_S)


def is_safe(request: Any) -> bool:
    """Whether the request, of Django or of DRF, asked for nothing to be changed."""
    return request.method in ("GET", "HEAD", "OPTIONS")
