"""What the metrics say after real flows: every figure is the one that a person would count by hand."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from orders.models import Order
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from payments.applying import apply_for_payment
from payments.callbacks import take_callback
from payments.cases import open_case
from payments.channels.base import Outcome, RawCallback
from payments.metrics import READINGS, TALLIES
from payments.models import Call, Callback, Case, Payment
from payments.querying import query_payment
from payments.scanner import scan_payments
from payments.settling import settle_payment, settle_unmatched
from shop import counting, gauges, scraping, tallies
from shop.alarms import send_message, set_alarm
from shop.beats import beat
from shop.events import record
from shop.models import (
    ApiKey,
    BusinessEvent,
    Delivery,
    Endpoint,
    Heartbeat,
    Source,
    Tally,
)
from tests.factories import make_order, make_payment, report
from tests.sandbox.merchant import Received, Shop
from tests.scraped import Scraped

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_book(tmp_path, monkeypatch):
    """Counts of other tests are not this one's."""
    monkeypatch.setattr(counting.BOOK, "_given", tmp_path)
    counting.BOOK.begin()


def settle(payment: Payment, source: Source = Source.QUERY, **changed: Any) -> None:
    settle_payment(report(payment, **changed), channel="wechat", source=source)


# ---- orders, payments and receipts -------------------------------------------------------------------------------


def test_statuses_are_what_the_tables_hold():
    settle(make_payment(make_order()))
    make_payment(make_order())
    make_order()
    scraped = Scraped()
    for status in ("UNPAID", "READY_FOR_SHIPMENT"):
        assert scraped("orders", status=status) == Order.objects.filter(status=status).count()
    for status in ("PAYING", "PAID"):
        assert scraped("payments", channel="wechat", status=status) == 1


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.QUERY, Source.RESPONSE])
def test_settlement_is_counted_under_who_told_us(source):
    settle(make_payment(make_order()), source)
    scraped = Scraped()
    moved = {"kind": "payment", "channel": "wechat", "from_": "PAYING", "to": "PAID", "source": source}
    assert scraped("moves_total", **moved) == 1
    assert scraped("receipts_total", channel="wechat", class_="settled", source=source) == 1
    assert scraped("settle_seconds_count", channel="wechat", source=source) == 1


def test_time_to_settle_is_measured_from_the_beginning_of_the_payment():
    payment = make_payment(make_order())
    Payment.objects.update(created_at=Now() - timedelta(seconds=45))
    settle(payment)
    scraped, series = Scraped(), {"channel": "wechat", "source": "QUERY"}
    assert scraped("settle_seconds_bucket", le="30.0", **series) == 0
    assert scraped("settle_seconds_bucket", le="60.0", **series) == 1
    assert scraped("settle_seconds_bucket", le="+Inf", **series) == 1
    assert 45 <= scraped("settle_seconds_sum", **series) < 60


def test_value_on_a_bound_belongs_below_it():
    for took_ms in (250, 251):
        Call.objects.create(
            subject="P1", channel="wechat", operation="query", outcome="open", took_ms=took_ms, source="QUERY"
        )
    scraped, series = Scraped(), {"channel": "wechat", "operation": "query", "outcome": "open"}
    assert [scraped("channel_call_seconds_bucket", le=le, **series) for le in ("0.1", "0.25", "0.5")] == [0, 1, 2]  # fmt: skip


def test_second_payment_of_an_order_is_surplus_by_count_and_by_amount():
    order = make_order()
    payment = make_payment(order)
    settle(payment)
    settle(payment, channel_number="another-trade")
    scraped = Scraped()
    assert scraped("receipts_total", channel="wechat", class_="surplus", source="QUERY") == 1
    assert scraped("received_minor_units_total", channel="wechat", class_="surplus", currency="CNY") == order.amount  # fmt: skip
    assert scraped("astray_minor_units", class_="surplus", currency="CNY") == order.amount
    assert scraped("refunding", channel="wechat") == 1


def test_money_for_nobody_is_astray():
    unknown = make_payment(make_order())
    settle_unmatched(report(unknown, number="not-ours"), channel="wechat", source=Source.CALLBACK)
    scraped = Scraped()
    assert scraped("astray_receipts", class_="unmatched", currency="CNY") == 1
    assert scraped("cases_open", kind="unmatched") == 1


def test_closed_order_is_counted_as_closed_and_not_as_unpaid():
    order = make_order()
    record([close_order(lock_order(order.number), CloseReason.EXPIRED, source=Source.SYSTEM)])
    scraped = Scraped()
    assert (scraped("orders", status="CLOSED"), scraped("orders", status="UNPAID")) == (1, 0)


def test_oldest_attempt_and_what_nobody_could_decide_are_told():
    make_payment(make_order())
    Payment.objects.update(created_at=Now() - timedelta(hours=2), dead_at=Now() - timedelta(minutes=6))
    scraped = Scraped()
    assert scraped("paying", channel="wechat") == scraped("paying_past_end", channel="wechat") == 1
    assert 7200 <= scraped("paying_oldest_seconds", channel="wechat") < 7300


# ---- what channels say and answer --------------------------------------------------------------------------------


@pytest.fixture
def caught(sandbox, settings):
    """A genuine notification of a payment, caught on its way to us."""
    elsewhere = Shop()
    settings.PUBLIC_URL = elsewhere.url.removesuffix("/notify/wechat/")
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    sandbox.pay(payment.number)
    yield elsewhere.take()
    elsewhere.close()


def take(message: Received, body: bytes | None = None) -> None:
    headers = {name.lower(): value for name, value in message.headers.items()}
    take_callback("wechat", RawCallback(headers=headers, body=message.body if body is None else body))


@pytest.mark.django_db(transaction=True)
def test_callbacks_are_counted_as_taken_repeated_and_refused(caught):
    take(caught)
    take(caught)
    take(caught)
    take(caught, b"{}")
    scraped = Scraped()
    results = [scraped("callbacks_total", channel="wechat", result=result) for result in ("taken", "repeated", "refused")]  # fmt: skip
    assert results == [1, 2, 1]
    assert scraped("callbacks_kept_total", channel="wechat") == Callback.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_every_question_to_a_channel_is_counted_with_its_answer(sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    query_payment(payment.number)
    series = {"channel": "wechat", "operation": "query", "outcome": str(Outcome.OPEN)}
    assert Scraped()("channel_call_seconds_count", **series) == 1


def test_message_that_waits_is_told_with_its_age():
    Callback.objects.create(channel="wechat", message_id="m", kind="k", number="P1", body=b"", report={})
    Callback.objects.update(received_at=Now() - timedelta(minutes=10))
    scraped = Scraped()
    assert scraped("callbacks_waiting", channel="wechat") == 1
    assert 600 <= scraped("callbacks_waiting_oldest_seconds", channel="wechat") < 700


# ---- people, guardians and queues --------------------------------------------------------------------------------


def test_cases_are_told_by_kind_with_those_that_are_overdue():
    for number in range(3):
        open_case(Case.Kind.MAIL, f"N{number}", order=None, evidence={})
    Case.objects.filter(subject="N0").update(deadline=Now() - timedelta(hours=1))
    Case.objects.filter(subject="N1").update(resolved_at=Now())
    scraped = Scraped()
    assert (scraped("cases_open", kind="mail"), scraped("cases_overdue", kind="mail")) == (2, 1)
    assert scraped("cases_opened_total", kind="mail") == 3


def test_alarm_that_nobody_claims_is_told_with_how_late_it_is():
    set_alarm("query_payment", "P1", in_s=-120)
    set_alarm("query_payment", "P2", in_s=120)
    scraped = Scraped()
    assert scraped("alarms_due", kind="query_payment") == 1
    assert 120 <= scraped("alarms_overdue_seconds", kind="query_payment") < 200


def test_guardian_that_was_never_heard_is_silent_for_ever():
    beat("watch here 1")
    beat("watch there 2")
    Heartbeat.objects.filter(name="watch here 1").update(at=F("at") - timedelta(minutes=1))
    scraped = Scraped()
    assert scraped("guardian_silence_seconds", guardian="watch") < 30
    assert scraped("guardians", guardian="watch") == 1
    assert scraped("guardian_silence_seconds", guardian="cluster") == float("inf")


def test_messages_of_the_queue_are_told_with_the_age_of_the_oldest():
    send_message("follow_up", "N1")
    scraped = Scraped()
    assert scraped("queue_messages") == 1
    assert 0 <= scraped("queue_age_seconds") < 60


@pytest.mark.parametrize(
    ("used_days_ago", "revoked", "told"),
    [(1, False, True), (40, False, False), (1, True, False)],
    ids=["used", "not used any more", "revoked"],
)
def test_only_the_end_of_a_key_that_somebody_needs_is_told(used_days_ago, revoked, told):
    key = ApiKey.objects.create(name="erp", secret_hash="0" * 64)
    ApiKey.objects.filter(pk=key.pk).update(
        expires_at=Now() + timedelta(days=3),
        last_used_at=Now() - timedelta(days=used_days_ago),
        revoked_at=Now() if revoked else None,
    )
    scraped = Scraped()
    assert (scraped("api_key_ends_in_seconds") is not None) == told
    assert scraped("api_keys") == (0 if revoked else 1)


def test_end_of_a_key_is_told_on_after_it_has_come():
    """Its system is refused from now on: an alert that clears then has helped nobody."""
    key = ApiKey.objects.create(name="erp", secret_hash="0" * 64)
    passed = Now() - timedelta(hours=1)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=passed, last_used_at=passed)
    scraped = Scraped()
    assert -3700 < scraped("api_key_ends_in_seconds") <= -3600
    assert scraped("api_keys") == 0


# ---- events on their way -----------------------------------------------------------------------------------------


def make_event(stream: str = "N1", **fields: object) -> BusinessEvent:
    return BusinessEvent.objects.create(type="order.paid", stream=stream, subject=stream, **fields)


def test_events_that_nobody_can_see_yet_are_told_with_their_age():
    make_event(at=Now() - timedelta(minutes=5))
    make_event(position=1)
    scraped = Scraped()
    assert scraped("business_events_unpublished") == 1
    assert 300 <= scraped("business_events_unpublished_age_seconds") < 400
    assert scraped("business_events_total", type="order.paid") == 2


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint.objects.create(url="https://erp.example/", secret="sealed")


def deliver(endpoint: Endpoint, stream: str, *, minutes_ago: int, tries: int = 0, status: str = "WAITING"):
    at = Now() - timedelta(minutes=minutes_ago)
    tried = {"tries": tries, "first_tried_at": at} if tries else {}
    event = make_event(stream)
    return Delivery.objects.create(endpoint=endpoint, event=event, status=status, created_at=at, **tried)


def test_one_event_that_is_refused_neither_hides_nor_feigns_an_endpoint_that_is_behind(endpoint):
    deliver(endpoint, "N1", minutes_ago=60, tries=9)
    deliver(endpoint, "N1", minutes_ago=50)  # waits behind the refused one
    deliver(endpoint, "N2", minutes_ago=1)
    name, scraped = {"endpoint": endpoint.number}, Scraped()
    assert 60 <= scraped("webhook_untried_age_seconds", **name) < 120
    assert 3600 <= scraped("webhook_refused_age_seconds", **name) < 3700


def test_deliveries_of_an_endpoint_are_told_by_what_became_of_them(endpoint):
    for status in ("WAITING", "DEAD", "TAKEN"):
        deliver(endpoint, "N1", minutes_ago=0, status=status)
    name, scraped = {"endpoint": endpoint.number}, Scraped()
    counts = [scraped(f"webhook_deliveries_{what}", **name) for what in ("waiting", "dead", "total")]
    assert counts == [1, 1, 3]


def test_endpoint_that_is_off_says_so_and_has_no_age(endpoint):
    deliver(endpoint, "N1", minutes_ago=60)
    Endpoint.objects.update(off_at=Now(), failing_since=Now() - timedelta(days=5))
    name, scraped = {"endpoint": endpoint.number}, Scraped()
    assert scraped("webhook_endpoint_off", **name) == 1
    assert scraped("webhook_untried_age_seconds", **name) is None
    assert scraped("webhook_endpoint_failing_seconds", **name) == 0


# ---- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/", "page", "2xx"),
        ("/orders/N1/", "page", "4xx"),
        ("/api/v1/products", "api", "2xx"),
        ("/api/v1/orders/N1/status?since=1&wait=20", "poll", "4xx"),
        ("/healthz", "probe", "2xx"),
        ("/notify/nobody/", "notify", "4xx"),
        ("/admin/", "admin", "3xx"),
    ],
)
def test_requests_are_counted_by_what_they_were_for_never_by_their_path(client, path, route, status):
    client.get(path)
    assert Scraped()("http_request_seconds_count", route=route, status=status) == 1


# ---- counters that have been kept --------------------------------------------------------------------------------


def tell(scraped: Scraped) -> dict[object, float]:
    return {key: value for key, value in scraped.samples.items() if "scrape_seconds" not in key[0]}


def keep_all() -> None:
    for tallied in scraping.all_tallies():
        tallies.keep(tallied, settled_after_s=-60)


def test_what_was_kept_and_what_came_since_are_the_same_counters():
    settle(make_payment(make_order()))
    keep_all()
    settle(make_payment(make_order()), Source.CALLBACK)
    make_payment(make_order())
    kept_and_since = Scraped()
    Tally.objects.all().delete()
    assert kept_and_since("orders", status="READY_FOR_SHIPMENT") == 2
    some = {key: value for key, value in tell(Scraped()).items() if "oldest" not in key[0]}
    for key, value in some.items():
        assert "age" in key[0] or kept_and_since.samples[key] == value, key


def test_keeping_twice_counts_nothing_twice():
    settle(make_payment(make_order()))
    keep_all()
    keep_all()
    assert Scraped()("receipts_total", channel="wechat", class_="settled", source="QUERY") == 1


def test_row_that_is_committed_after_one_with_a_higher_id_is_counted():
    make_event("N1", at=Now() - timedelta(minutes=5))
    with connection.cursor() as cursor:
        cursor.execute("select nextval(pg_get_serial_sequence('shop_businessevent', 'id'))")
        taken = cursor.fetchone()[0]
    make_event("N2")
    assert tallies.keep(gauges.TALLIES[0]) < taken
    make_event("N3", id=taken)
    assert Scraped()("business_events_total", type="order.paid") == 3


def test_rows_that_are_forgotten_later_stay_counted():
    make_event()
    keep_all()
    BusinessEvent.objects.all().delete()
    assert Scraped()("business_events_total", type="order.paid") == 1


def test_scanner_keeps_the_counters():
    scan_payments()
    assert set(Tally.objects.values_list("name", flat=True)) == {each.metric.name for each in scraping.all_tallies()}  # fmt: skip


def test_after_an_upgrade_one_look_counts_no_more_than_a_window(monkeypatch):
    monkeypatch.setattr(tallies, "WINDOW", 3)
    for number in range(8):
        make_event(f"N{number}")
    counts = []
    for _ in range(4):
        counts.append(Scraped()("business_events_total", type="order.paid"))
        keep_all()
    assert counts[0] <= 4
    assert sorted(counts) == counts
    assert counts[-1] == 8


def test_other_buckets_of_a_new_release_begin_anew():
    settle(make_payment(make_order()))
    keep_all()
    for tally in Tally.objects.filter(name="nodrop_settle_seconds"):
        tally.counts = [[labels, values[:-1]] for labels, values in tally.counts]
        tally.save()
    assert Scraped()("settle_seconds_count", channel="wechat", source="QUERY") is None


# ---- the list itself ---------------------------------------------------------------------------------------------

METRICS = scraping.all_metrics()


def test_names_are_given_once():
    names = [metric.name for metric in METRICS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("metric", METRICS, ids=[metric.name for metric in METRICS])
def test_each_metric_is_named_by_the_rules_and_says_what_it_is(metric):
    assert metric.name.startswith("nodrop_")
    assert metric.help.endswith(".")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert not metric.name.endswith(("_ms", "_minutes", "_count", "_sum", "_bucket", "_milliseconds"))
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")
    assert set(metric.labels) <= {
        "channel", "class", "currency", "endpoint", "from", "guardian", "kind", "operation", "outcome", "result",
        "route", "source", "status", "to", "type",
    }  # fmt: skip


def test_every_series_that_is_told_belongs_to_a_metric_of_the_list():
    settle(make_payment(make_order()))
    names = {metric.name.removesuffix("_total") for metric in METRICS}
    assert set(Scraped().helps) <= names


def test_number_of_statements_does_not_grow_with_the_rows(django_assert_max_num_queries):
    most = 3 * (len(READINGS) + len(gauges.READINGS) + len(TALLIES) + len(gauges.TALLIES)) + 10
    for _ in range(5):
        settle(make_payment(make_order()))
    with django_assert_max_num_queries(most):
        Scraped()
