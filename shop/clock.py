"""The one clock that decides: the database's. Machines differ by minutes; what is due or dead must not."""

from typing import Any

from django.db.models.functions import Now

# `Model.objects.annotate(**WITH_NOW)` reads a row together with the moment, as its attribute `now`.
WITH_NOW: dict[str, Any] = {"now": Now()}
