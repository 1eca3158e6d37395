"""Structured logs: one line per request, move and remote call, with the order's and the payment's number.

What must never be read in a log is taken out in one place, here, whoever wrote the line.
"""

import logging
import re
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from shop.counting import count
from shop.metrics import Metric

SECRET_NAMES = re.compile(
    r"(secret|password|token|authorization|signature|cookie|private|apiv3|api_key|tax_id|openid|phone|email)",
    re.IGNORECASE,
)
# 13 to 19 digits in a row, as on a card. Our own numbers hold letters, so they never look like this.
CARD_LIKE = re.compile(r"(?<!\d)\d{13,19}(?!\d)")
# What a library puts into the text of an exception: addresses, and a whole row of the database.
MAIL_LIKE = re.compile(r"[^\s'\"<>(,]+@[^\s'\">),]+")
# An order's link, in an address that a server writes down.
LINK_LIKE = re.compile(r"([?&]token=)[^&\s'\"]+")
ROW_LIKE = re.compile(r"(DETAIL: )[^\n]*")
# Channel numbers are long digits too, and support needs them; they are safe under these names only.
OPEN_NAMES = frozenset({"channel_number"})
REDACTED = "[redacted]"

Event = MutableMapping[str, Any]
access = structlog.get_logger("nodrop.access")


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Replace the values of secret names, and card-like digits in every text."""
    event.pop("color_message", None)  # uvicorn's line once more
    for name, value in event.items():
        if isinstance(value, HttpRequest):  # Django's, whose text has the whole address
            event[name] = f"{value.method} {value.path}"
        elif SECRET_NAMES.search(name):
            event[name] = REDACTED
        elif isinstance(value, str) and name not in OPEN_NAMES:
            event[name] = _redact_text(value)
    return event


def _redact_text(text: str) -> str:
    for secret in (LINK_LIKE, ROW_LIKE):
        text = secret.sub(rf"\1{REDACTED}", text)
    for secret in (CARD_LIKE, MAIL_LIKE):
        text = secret.sub(REDACTED, text)
    return text


def logging_settings(*, level: str, as_json: bool) -> dict[str, Any]:
    """Django's LOGGING: standard library and structlog lines through one formatter, on stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:3],
            *shared[4:],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    redact,
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django_q": {"level": "WARNING"},
            "django-q": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # A server that has set up its own lines before it loads us: they go our way, and each request has one already.
            "uvicorn": {"handlers": [], "propagate": True},
            "uvicorn.error": {"handlers": [], "propagate": True},
            "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
            # It would tell of a Redis that is gone every second, with the whole trace; we do it once.
            "channels_redis": {"level": "CRITICAL"},
        },
    }


REQUESTS = Metric(
    name="nodrop_http_request_seconds",
    help="Requests by what they were for and the class of their answer; `poll` waits for news by design.",
    kind="histogram",
    labels=("route", "status"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
# By the beginning of the path; what is none of these is a page.
ROUTES = {"api": "api", "notify": "notify", "admin": "admin", "static": "static"} | dict.fromkeys(
    ("healthz", "readyz", "metrics"), "probe"
)


def route_of(request: HttpRequest) -> str:
    """What a request is for, in one of a few words."""
    route = ROUTES.get(request.path_info.lstrip("/").partition("/")[0], "page")
    return "poll" if route == "api" and request.GET.get("wait", "0") not in ("", "0") else route


class RequestLogMiddleware(MiddlewareMixin):
    """One line per request; the path carries the order's number, never its token."""

    def process_request(self, request: HttpRequest) -> None:
        request.started = time.perf_counter()  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        took_s = time.perf_counter() - request.started  # type: ignore[attr-defined]
        count(REQUESTS, route_of(request), f"{response.status_code // 100}xx", observed=took_s)
        access.log(
            logging.WARNING if response.status_code >= 500 else logging.INFO,
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round(took_s * 1000, 1),
        )
        return response
