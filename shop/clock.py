"""The one clock that decides: the database's. Machines differ by minutes; what is due or dead must not."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models.functions import Now

# `Model.objects.annotate(**WITH_NOW)` reads a row together with the moment, as its attribute `now`.
WITH_NOW: dict[str, Any] = {"now": Now()}


def read_now() -> datetime:
    """The database's present time; one statement."""
    with connection.cursor() as cursor:
        cursor.execute("select statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
