"""What a request shows to be let in by. One thing counts: beside a key no token, beside a token no session."""

from typing import Any

from django.conf import settings

SCHEME = "api-key"


def shown_by(request: Any) -> str:
    """What the request shows, however the scheme around it is spelled; empty where it shows nothing that counts."""
    key = shown_key(request)
    return shown_by_person(request) if key is None else key


def shown_by_person(request: Any) -> str:
    """An order's token, else the key of the browser's session; empty where it shows neither."""
    return bearer_token(request) or request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")


def shown_key(request: Any) -> str | None:
    """The API key, right or wrong; None where the request wants to be let in by something else."""
    return _read(request, SCHEME)


def bearer_token(request: Any) -> str:
    """The token of `Authorization: Bearer …`, or an empty string."""
    return _read(request, "bearer") or ""


def _read(request: Any, scheme: str) -> str | None:
    """What stands behind this scheme in the Authorization header; None for another scheme."""
    named, _space, shown = request.headers.get("Authorization", "").partition(" ")
    return shown.strip() if named.lower() == scheme else None
