"""Who asks the API: a system by its key, a shopper by an order's token or the browser's session, staff by their session.

Read once for each request, and asked everywhere in the same words: whoever comes by a key or as staff may do what one scope
names, to anybody's order; what only a shopper may is decided by `orders.access`.
"""

from dataclasses import dataclass
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from shop.api import describe_error
from shop.credentials import bearer_token, shown_key
from shop.hints import digest as digest
from shop.keyring import STAFF_MAY, BadKey, Scope, actor_of, find_key, note_use
from shop.models import ApiKey, Source
from shop.problems import Problem
from shop.sentences import say
from shop.throttles import count_refusal


class MissingScope(Exception):
    """The key is right, but does not reach so far."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(say(gettext_lazy("This API key lacks the scope %(scope)s."), scope=scope.value))
        self.scope = scope


class NobodyKnown(Exception):
    """Only a system or staff may come in here, and the request shows neither."""

    def __init__(self) -> None:
        super().__init__(gettext_lazy("An API key is needed here, or a session of the staff."))


class LacksFormToken(Exception):
    """A browser that is known by its session wants to change something, and not from a page of ours."""

    def __init__(self) -> None:
        super().__init__(gettext_lazy("The CSRF token is missing or wrong."))


describe_error(BadKey, lambda e: Problem(status=401, code="unauthorized", detail=str(e)))
describe_error(NobodyKnown, lambda e: Problem(status=401, code="unauthorized", detail=str(e)))
describe_error(LacksFormToken, lambda e: Problem(status=403, code="forbidden", detail=str(e)))
describe_error(
    MissingScope,
    lambda e: Problem(status=403, code="forbidden", detail=str(e), extra={"scope": e.scope.value}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who a request comes from, by what it shows. One thing counts: beside a key no token, beside a token no session."""

    key: ApiKey | None = None
    token: str = ""
    session: Any = None
    user: Any = None

    def may(self, scope: Scope) -> bool:
        """Whether they may do so to anybody's: by the key's scopes, or by the permission of staff that goes with it."""
        if self.key is not None:
            return scope in self.key.scopes
        permission = STAFF_MAY.get(scope)
        return bool(permission and self.user and self.user.is_staff and self.user.has_perm(permission))

    def check_scope(self, scope: Scope) -> None:
        """Raises MissingScope for a key that does not reach so far. Says nothing about others."""
        if self.key is not None and not self.may(scope):
            raise MissingScope(scope)

    @property
    def source(self) -> Source:
        """How the history says who wanted something that shoppers and systems do."""
        return Source.API if self.key is not None else Source.SHOPPER

    @property
    def actor(self) -> str:
        """The key with its owner; empty for a shopper."""
        return actor_of(self.key) if self.key is not None else ""

    def scope_of_keys(self, what: str) -> str:
        """Where the Idempotency-Keys of this asker for `what` live: each system has a space of its own."""
        return f"{what}:{self.key.number}" if self.key is not None else what


class KeyOrShopperAuthentication(BaseAuthentication):
    """By an API key or an order's token; else by the browser's session, which needs the CSRF token to change anything.

    `request.auth` is the Asker.
    """

    def authenticate(self, request: Request) -> tuple[Any, Asker]:
        asker = read_asker(request._request)
        if asker.key is None and not asker.token and _lacks_csrf(request._request):
            raise LacksFormToken
        return asker.user, asker

    def authenticate_header(self, request: Request) -> str:
        return "Api-Key"


def asker_of(request: Request) -> Asker:
    """Who the request of a DRF view comes from."""
    return cast("Asker", request.auth)


def read_asker(request: HttpRequest) -> Asker:
    """Who the request comes from. Raises BadKey, TooManyRequests after many of those.

    Never inside a transaction, because the use of a key is written down.
    """
    shown = shown_key(request)
    if shown is not None:
        try:
            key = find_key(shown)
        except BadKey:
            count_refusal(request)
            raise
        note_use(key)
        return Asker(key=key)
    if token := bearer_token(request):
        return Asker(token=token)
    return Asker(session=request.session, user=getattr(request, "user", None))


def _lacks_csrf(request: Any) -> bool:
    if not request.COOKIES or request.method in ("GET", "HEAD", "OPTIONS"):
        return False
    check = CSRFCheck(lambda _: HttpResponse())
    check.process_request(request)
    return check.process_view(request, None, (), {}) is not None  # type: ignore[arg-type]


# ---- doors for systems and staff only ----------------------------------------------------------------------------


def may(request: Request, scope: Scope) -> bool:
    """Whether the request's asker may do so to anybody's."""
    return asker_of(request).may(scope)


def require(scope: str) -> type[BasePermission]:
    """The permission class of a door that is for systems with this scope, and for staff with what goes with it."""
    wanted = Scope(scope)

    class Required(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            asker = asker_of(request)
            asker.check_scope(wanted)
            if asker.may(wanted):
                return True
            if asker.user and asker.user.is_authenticated:
                raise PermissionDenied
            raise NobodyKnown

    return Required
