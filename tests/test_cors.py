"""Pages of other origins: shut out unless they are named, and then by token or key only."""

import asyncio

import pytest
from django.test import Client

from shop.limits import LimitBody

pytestmark = pytest.mark.django_db
PARTNER = "https://partner.example"
CORS = "corsheaders.middleware.CorsMiddleware"


@pytest.fixture
def partner(settings) -> Client:
    """A page of an origin that is named."""
    settings.CORS_ALLOWED_ORIGINS = [PARTNER]
    settings.MIDDLEWARE = [CORS, *settings.MIDDLEWARE]
    return Client(headers={"Origin": PARTNER})


def cors_of(answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


def test_nobody_is_named_by_default(settings):
    assert settings.CORS_ALLOWED_ORIGINS == []
    assert CORS not in settings.MIDDLEWARE
    assert cors_of(Client(headers={"Origin": PARTNER}).get("/api/v1/products")) == {}


def test_page_of_a_named_origin_reads_the_answer_and_what_its_headers_say(partner):
    told = cors_of(partner.get("/api/v1/products"))
    assert told == {
        "access-control-allow-origin": PARTNER,
        "access-control-expose-headers": "ETag, Retry-After, Location, Link, Idempotency-Replayed",
    }


def test_it_may_ask_with_a_key_and_never_with_a_session(partner):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    told = cors_of(partner.options("/api/v1/orders", headers=asks))
    assert "authorization" in told["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/healthz"])
def test_only_the_api_is_opened(partner, path):
    assert cors_of(partner.get(path)) == {}


def test_another_origin_is_told_nothing(partner):
    told = cors_of(partner.get("/api/v1/products", headers={"Origin": "https://other.example"}))
    assert "access-control-allow-origin" not in told


@pytest.mark.parametrize(
    ("origin", "path", "is_named"),
    [(PARTNER, "/api/v1/orders", True), (PARTNER, "/cart/", False), ("https://other.example", "/api/v1/orders", False)],
)  # fmt: skip
def test_refusal_of_a_body_in_front_of_django_is_read_by_it_too(settings, origin, path, is_named):
    settings.CORS_ALLOWED_ORIGINS = [PARTNER]
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    headers = [(b"content-length", b"11"), (b"origin", origin.encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    asyncio.run(LimitBody(None, most=10)(scope, None, send))
    assert sent[0]["status"] == 413
    assert (dict(sent[0]["headers"]).get(b"access-control-allow-origin") == PARTNER.encode()) is is_named
