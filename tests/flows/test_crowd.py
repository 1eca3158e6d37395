"""More presses at once than the web has database connections: nobody who only waits keeps others from working."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from django.conf import settings

from payments.models import Payment
from tests.factories import make_product
from tests.flows.test_idempotency import KeyedApi, serving
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PRESSES = 30  # the pool of one web process has DB_POOL_SIZE connections, and 40 threads may wait


@pytest.fixture
def web(sandbox, tmp_path: Path) -> Iterator[KeyedApi]:
    """A web process of its own, with its pool."""
    with serving(tmp_path / "web.log") as process:
        yield process.api


def test_crowd_on_one_order_makes_one_code_and_keeps_nobody_out(web, sandbox):
    assert settings.DB_POOL_SIZE < PRESSES
    sandbox.set_faults({"seed": 1, "operations": ["create"], "api": {"slow_s": 1.5}})
    number = web.place(items=[{"sku": make_product().sku, "quantity": 1}])["number"]
    shop = web.url.removesuffix("/api/v1")
    with ThreadPoolExecutor(PRESSES) as pool:
        presses = [pool.submit(web.apply, number) for _ in range(PRESSES)]
        wait_until(lambda: Payment.objects.exists())
        others = [requests.get(f"{shop}/", timeout=10).status_code for _ in range(5)]
        answers = [press.result() for press in presses]
    assert others == [200] * 5
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}  # a slow machine may have somebody come back in a second
    shown = {answer.json()["number"] for answer in answers if answer.status_code < 300}
    assert shown == {Payment.objects.get().number}
