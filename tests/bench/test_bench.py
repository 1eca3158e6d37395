"""The benchmark itself: that it counts truly, that pgbench writes what the shop writes, and how it judges. No test here
asserts a time or a ratio.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from payments.audit import Violation, audit
from payments.sandbox.keys import Keyring
from payments.sandbox.wechat_seals import WeChatKeys
from tests.bench.batches import Counted, count_batch, make_batch, numbers_of
from tests.bench.bodies import PATH, seal_callback
from tests.bench.plain import CLIENTS, settle_by_pgbench
from tests.bench.rounds import PLAIN_PER_CALLBACK, Part, Round, read_sample
from tests.bench.verdict import PASSED, TOO_SLOW, WRONG, Result, describe, to_document
from tests.programs import ROOT

CALLBACKS = 40


def test_benchmark_counts_every_callback_that_it_sent():
    command = [sys.executable, "-m", "tests.bench", f"--callbacks={CALLBACKS}", "--rounds=1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (PASSED, TOO_SLOW), done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["faults"] == []
    (only,) = document["rounds"]
    for part, asked in (("http", CALLBACKS), ("pgbench", CALLBACKS * PLAIN_PER_CALLBACK)):
        counts = {name: only[part][name] for name in ("asked", "paid", "settled", "ready", "taken")}
        assert counts == dict.fromkeys(counts, asked)
        assert only[part]["per_second"] == pytest.approx(asked / only[part]["seconds"])
    assert document["ratio"] == pytest.approx(only["http"]["per_second"] / only["pgbench"]["per_second"])
    assert document["exit_status"] == done.returncode


# ---- what is counted ---------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path, settings: Any) -> WeChatKeys:
    keys = WeChatKeys(Keyring(tmp_path / "keys"))
    variables = keys.read_environment() | {"WECHAT_BASE_URL": "https://127.0.0.1:9"}
    settings.CHANNELS = {
        "wechat": {key: variables[f"WECHAT_{key}"] for key in settings.CHANNEL_KEYS["wechat"]}
    }
    return keys


def send(client: Any, headers: dict[str, str], body: bytes) -> int:
    rest = {name: value for name, value in headers.items() if name != "Content-Type"}
    return client.post(PATH, body, content_type=headers["Content-Type"], headers=rest).status_code


@pytest.mark.django_db(transaction=True)
def test_prepared_batch_is_unpaid_and_breaks_no_invariant():
    make_batch("batch", 5)
    assert count_batch("batch") == Counted(paid=0, settled=0, ready=0, taken=0)
    assert len(numbers_of("batch")) == 5
    assert audit() == []


@pytest.mark.django_db(transaction=True)
def test_only_what_the_database_says_is_paid_is_counted(client, keys):
    make_batch("batch", 5)
    make_batch("another", 2)
    callbacks = [seal_callback(keys, *named) for named in numbers_of("batch")]
    assert [send(client, *callback) for callback in callbacks[:3]] == [204] * 3
    assert send(client, *callbacks[0]) == 204
    headers, body = callbacks[3]
    assert send(client, headers, body.replace(b"SUCCESS", b"SUCCES5")) == 401
    assert count_batch("batch") == Counted(paid=3, settled=3, ready=3, taken=3)
    assert count_batch("another").paid == 0
    assert audit() == []


# ---- the same settle ---------------------------------------------------------------------------------------------

# What each settle has of its own: numbers, ids, and what holds them.
OWN = [
    "id", "number", "order_number", "order_id", "payment_id", "product_id", "subject", "message_id", "channel_number",
    "token_salt", "content_hash", "request", "action", "body", "headers", "report", "payload", "sku", "stream",
]  # fmt: skip
TABLES = [
    "orders_product", "orders_order", "orders_orderline", "payments_payment", "payments_receipt", "payments_callback",
    "payments_case", "shop_alarm", "shop_event", "shop_businessevent", "django_q_ormq",
]  # fmt: skip


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every row that a settle may touch, without what is its own; of a time only whether there is one."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"select to_jsonb(each) - %s::text[] from {table} each", [OWN])
            found[table] = sorted((_blur(json.loads(row)) for (row,) in cursor.fetchall()), key=str)
    return found


def _blur(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: bool(value) if name.endswith(("at", "_since", "_until", "lock")) else _blur_within(value)
        for name, value in row.items()
    }


def _blur_within(value: Any) -> Any:
    """What an event tells, likewise."""
    own = {"payment", "trade"}
    return _blur({key: value[key] for key in value.keys() - own}) if isinstance(value, dict) else value


@pytest.mark.django_db(transaction=True)
def test_pgbench_leaves_the_same_rows_as_the_shop(client, keys, tmp_path):
    make_batch("shop", CLIENTS)
    for named in numbers_of("shop"):
        assert send(client, *seal_callback(keys, *named)) == 204
    by_shop = rows()
    make_batch("pgbench", CLIENTS)
    settle_by_pgbench("pgbench", CLIENTS, read_sample(), tmp_path)
    assert count_batch("pgbench") == count_batch("shop") == Counted(*[CLIENTS] * 4)
    twice = {table: sorted(found * 2, key=str) for table, found in by_shop.items()}
    assert rows() == twice
    assert audit() == []


# ---- the judgement -----------------------------------------------------------------------------------------------


def part(per_second: float, *, asked: int = 100, counted: Counted | None = None) -> Part:
    return Part(asked, asked / per_second, counted or Counted(*[asked] * 4), {"web": 0.1})


def result_of(*ratios: float, **changed: Any) -> Result:
    return Result(
        [Round(part(1000), part(1000 * ratio), 3.0) for ratio in ratios], changed.get("violations", [])
    )


@pytest.mark.parametrize(
    ("ratios", "status"),
    [((0.1,), PASSED), ((0.099,), TOO_SLOW), ((0.05, 0.2, 0.3), PASSED), ((0.05, 0.09, 0.3), TOO_SLOW)],
)
def test_median_of_the_rounds_decides(ratios, status):
    assert result_of(*ratios).exit_status == status


@pytest.mark.parametrize(
    "counted",
    [
        Counted(99, 99, 99, 99),
        Counted(100, 99, 100, 100),
        Counted(100, 100, 99, 100),
        Counted(100, 100, 100, 99),
    ],
)
def test_payments_that_are_missing_or_disagree_are_no_result(counted):
    result = Result([Round(part(1000), part(900, counted=counted), 3.0)], [])
    assert result.exit_status == WRONG
    assert len(result.faults) == 1


def test_broken_invariant_is_no_result():
    result = result_of(0.9, violations=[Violation("I1", "N1", "has 2 settled receipts")])
    assert result.exit_status == WRONG
    assert "I1" in describe(result, {})


def test_medians_and_their_spread_are_told():
    told = describe(result_of(0.2, 0.5, 0.3), {"machine": "2 CPUs"})
    assert "300 (200 to 500)" in told
    assert "0.300 (0.200 to 0.500)" in told
    assert "2 CPUs" in told
    assert to_document(result_of(0.2), {})["rounds"][0]["http"]["cpu_us"]["web"] == pytest.approx(1000)
