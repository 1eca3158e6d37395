"""Real parts for every test: PostgreSQL and Redis, embedded unless an address is given, and the sandbox gateway."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

from django.conf import settings

from shop import embedded

embedded.ensure_started_for(settings)


@pytest.fixture(scope="session", autouse=True)
def _redis_of_this_worker(worker_id: str) -> None:
    """Parallel workers share one Redis; each has keys of its own."""
    settings.CACHES["default"]["KEY_PREFIX"] = f"test-{os.getppid()}-{worker_id}"
