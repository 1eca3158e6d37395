"""A flow is one transaction: joined when there is one, repeated as a whole after a deadlock."""

import pytest
from django.db import OperationalError, connection, transaction

from shop.models import Heartbeat
from shop.transactions import TRIES, transactional


class SqlError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def fail_times(times: int, sqlstate: str):
    calls: list[int] = []

    @transactional
    def flow() -> int:
        calls.append(1)
        Heartbeat.objects.create(name=f"try {len(calls)}", at="2026-01-01T00:00:00Z")
        if len(calls) <= times:
            raise OperationalError("broken") from SqlError(sqlstate)
        return len(calls)

    return flow


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_deadlock_and_serialization_failure_repeat_the_whole_transaction(sqlstate):
    assert fail_times(2, sqlstate)() == 3
    assert list(Heartbeat.objects.values_list("name", flat=True)) == ["try 3"]


@pytest.mark.django_db(transaction=True)
def test_it_gives_up_after_three_tries():
    with pytest.raises(OperationalError):
        fail_times(TRIES, "40P01")()
    assert not Heartbeat.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_other_errors_are_not_repeated():
    with pytest.raises(OperationalError):
        fail_times(1, "55P03")()


@pytest.mark.django_db
def test_inside_a_transaction_it_is_a_part_of_it():
    with transaction.atomic():
        assert connection.in_atomic_block
        with pytest.raises(OperationalError):
            fail_times(1, "40P01")()
        transaction.set_rollback(True)
