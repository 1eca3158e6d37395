"""Is the process up, and can it serve? PostgreSQL and migrations are required; the others are only reported."""

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse

from shop.models import Heartbeat

# A guardian that was silent for so long is reported as missing.
SILENT_AFTER_S = 15


def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "up"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when orders can be taken and paid, else 503; Redis, watch and the cluster are reported beside it."""
    try:
        report: dict[str, Any] = {"postgresql": True, "migrations": _is_migrated(), **_guardians()}
    except (DatabaseError, InterfaceError):
        report = {"postgresql": False, "migrations": False, "watch": False, "cluster": False}
    report["redis"] = _redis_answers()
    ready = report["postgresql"] and report["migrations"]
    return JsonResponse({"ready": ready, **report}, status=200 if ready else 503)


def _is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _guardians() -> dict[str, bool]:
    heard = Heartbeat.objects.filter(at__gt=Now() - timedelta(seconds=SILENT_AFTER_S))
    kinds = {name.partition(" ")[0] for name in heard.values_list("name", flat=True)}
    return {"watch": "watch" in kinds, "cluster": "cluster" in kinds}


def _redis_answers() -> bool:
    cache.set("readyz", 1, 5)  # a failing Redis is ignored by the cache: read back what was written
    return bool(cache.get("readyz"))
