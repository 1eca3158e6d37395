"""Where a large file may be sent, and by whom: known from the head of the request, before a byte of it is read."""

from collections.abc import Mapping
from io import BytesIO

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, close_old_connections

from shop.limits import Scope
from shop.middleware import SESSION_KEY

MAX_FILE_BYTES = 200 * 1024 * 1024
# Of the form around the file.
MAX_FORM_BYTES = 16 * 1024
# Path → the permission that it takes.
UPLOADS: Mapping[str, str] = {"/admin/payments/statement/take/": "payments.reconcile_statement"}


async def most_bytes(scope: Scope) -> int | None:
    """How large the body of this request may be; None where the usual limit holds."""
    permission = UPLOADS.get(scope["path"])
    if permission is None or not await sync_to_async(_may_send)(scope, permission):
        return None
    return MAX_FILE_BYTES + MAX_FORM_BYTES


def _may_send(scope: Scope, permission: str) -> bool:
    """Whether the session in the cookie is of somebody with the permission."""
    request = ASGIRequest(scope, BytesIO())
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    if not SESSION_KEY.fullmatch(key):
        return False
    request.session = SessionStore(key)
    try:
        return get_user(request).has_perm(permission)
    except DatabaseError:
        return False  # the usual limit, and the page that says that the database is away
    finally:
        close_old_connections()
