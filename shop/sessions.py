"""A browser's session under its row's lock: two requests of one browser forget nothing of each other."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest


@contextmanager
def held_session(request: HttpRequest) -> Iterator[SessionBase]:
    """The browser's session, read again under the lock of its row and saved in the same transaction.

    Two requests of one browser that change it at once would otherwise each write the whole of it, and the later one
    would forget what the earlier one remembered.
    """
    key = request.session.session_key
    with transaction.atomic():
        Session.objects.select_for_update().filter(session_key=key).first()
        request.session = type(request.session)(key)
        yield request.session
        if request.session.modified:
            request.session.save()
    # A key that nobody knows any more has become a new one, of which the browser must be told.
    if key and request.session.session_key == key:
        request.session.modified = False  # or the middleware would write it once more, without the lock
