"""The probes: up, and ready to sell."""

import pytest

from shop.beats import beat


@pytest.mark.django_db
def test_process_that_answers_is_up(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/healthz").json() == {"status": "up"}


@pytest.mark.django_db
def test_ready_with_postgresql_and_migrations_and_the_others_reported(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True, "postgresql": True, "migrations": True, "redis": True, "watch": False, "cluster": False,
    }  # fmt: skip
    beat("watch here 1")
    beat("cluster")
    assert client.get("/readyz").json().items() >= {"watch": True, "cluster": True}.items()


@pytest.mark.django_db
def test_missing_redis_is_reported_and_does_not_stop_sales(client, settings):
    settings.CACHES = settings.CACHES | {
        "default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:9/0"}
    }
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (200, False)


@pytest.mark.django_db
def test_unapplied_migration_is_not_ready(client):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("delete from django_migrations where app = 'payments'")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
