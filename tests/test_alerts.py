"""The alert rules: each names what there is, fires at its bad day, is silent on a good one, and says what to do."""

from typing import Any

import pytest
import yaml
from django.conf import settings

from shop import alarms
from shop.scraping import all_metrics
from tests.promql import Reader, Samples, Vector, evaluate

GROUPS = yaml.safe_load((settings.BASE_DIR / "shop" / "alerts.yml").read_text())["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
METRICS = {metric.name: metric for metric in all_metrics()}


def one(value: float, **labels: str) -> Vector:
    return {frozenset((name.rstrip("_"), label) for name, label in labels.items()): value}


def of_channel(**results: float) -> Vector:
    return {key: value for name, count in results.items() for key, value in one(count, channel="wechat", result=name).items()}  # fmt: skip


def calls(**outcomes: float) -> Vector:
    return {key: value for name, count in outcomes.items() for key, value in one(count, channel="wechat", operation="query", outcome=name).items()}  # fmt: skip


def paid(**sources: float) -> Vector:
    series = {"kind": "payment", "channel": "wechat", "from": "PAYING", "to": "PAID"}
    return {key: value for name, count in sources.items() for key, value in one(count, source=name, **series).items()}  # fmt: skip


def requests(**statuses: float) -> Vector:
    return {key: value for name, count in statuses.items() for key, value in one(count, route="api", status=f"{name[1:]}xx").items()}  # fmt: skip


CALM: Samples = {
    "nodrop_up": one(1),
    "nodrop_paying_past_end": one(0, channel="wechat"),
    "nodrop_paying_oldest_seconds": one(600, channel="wechat") | one(400_000, channel="boleto"),
    "nodrop_alarms_overdue_seconds": one(1, kind="query_payment"),
    "nodrop_guardian_silence_seconds": one(2, guardian="watch")
    | one(3, guardian="cluster")
    | one(50, guardian="scanner"),
    "nodrop_guardians": one(2, guardian="watch") | one(1, guardian="cluster") | one(0, guardian="scanner"),
    "nodrop_queue_age_seconds": one(1),
    "nodrop_callbacks_total": of_channel(taken=100, repeated=9, refused=9),
    "nodrop_callbacks_waiting_oldest_seconds": one(5, channel="wechat"),
    "nodrop_channel_call_seconds_count": calls(open=90, unknown=10, unreachable=3),
    "nodrop_moves_total": paid(CALLBACK=90, QUERY=10),
    "nodrop_cases_overdue": one(0, kind="mail"),
    "nodrop_books_late": one(0, channel="wechat"),
    "nodrop_books_differences": one(0, channel="wechat"),
    "nodrop_refunding_oldest_seconds": one(60, channel="wechat"),
    "nodrop_business_events_unpublished_age_seconds": one(0),
    "nodrop_webhook_untried_age_seconds": one(1, endpoint="E1"),
    "nodrop_webhook_refused_age_seconds": one(0, endpoint="E1"),
    "nodrop_webhook_endpoint_failing_seconds": one(0, endpoint="E1"),
    "nodrop_webhook_endpoint_off": one(0, endpoint="E1"),
    "nodrop_api_key_ends_in_seconds": one(10_000_000),
    "nodrop_http_request_seconds_count": requests(_2=1000, _5=1),
    "nodrop_scrape_readings_failed": one(0),
    "nodrop_scrape_unreadable_files": one(0),
}
NOTHING: Samples = {name: {} for name in CALM} | {
    "nodrop_callbacks_total": of_channel(taken=0, repeated=0, refused=0),
    "nodrop_channel_call_seconds_count": calls(open=0, unknown=0, unreachable=0),
    "nodrop_moves_total": paid(CALLBACK=0, QUERY=0),
    "nodrop_http_request_seconds_count": requests(_2=0, _5=0),
}
# What is different on the day on which the rule must fire.
BAD: dict[str, Samples] = {
    "DatabaseAway": {"nodrop_up": one(0)},
    "NothingScraped": {"nodrop_up": {}},
    "PaidNotSettled": {"nodrop_paying_past_end": one(1, channel="wechat")},
    "PayingForLong": {"nodrop_paying_oldest_seconds": one(20_000, channel="wechat")},
    "AlarmsOverdue": {"nodrop_alarms_overdue_seconds": one(90, kind="query_payment")},
    "WatchSilent": {"nodrop_guardian_silence_seconds": one(float("inf"), guardian="watch")},
    "WatchAlone": {"nodrop_guardians": one(1, guardian="watch")},
    "ClusterSilent": {"nodrop_guardian_silence_seconds": one(90, guardian="cluster")},
    "ScannerSilent": {"nodrop_guardian_silence_seconds": one(400, guardian="scanner")},
    "QueueOld": {"nodrop_queue_age_seconds": one(61)},
    "CallbacksAllRefused": {"nodrop_callbacks_total": of_channel(taken=0, repeated=0, refused=9)},
    "CallbacksRefused": {"nodrop_callbacks_total": of_channel(taken=50, refused=101)},
    "CallbacksWait": {"nodrop_callbacks_waiting_oldest_seconds": one(1000, channel="wechat")},
    "ChannelUnanswered": {"nodrop_channel_call_seconds_count": calls(open=4, unknown=3, unreachable=3)},
    "CallbacksLost": {"nodrop_moves_total": paid(CALLBACK=1, QUERY=2)},
    "MoneyAstray": {"nodrop_astray_receipts": one(1, class_="unmatched", currency="CNY")},
    "SurplusNotBack": {"nodrop_astray_receipts": one(1, class_="late", currency="CNY")},
    "RefundsStuck": {"nodrop_refunding_oldest_seconds": one(300_000, channel="wechat")},
    "CasesOverdue": {"nodrop_cases_overdue": one(1, kind="mail")},
    "BooksMissing": {"nodrop_books_late": one(1, channel="wechat")},
    "BooksDiffer": {"nodrop_books_differences": one(2, channel="wechat")},
    "EventsUnpublished": {"nodrop_business_events_unpublished_age_seconds": one(61)},
    "WebhookBehind": {"nodrop_webhook_untried_age_seconds": one(301, endpoint="E1")},
    "EndpointFailing": {"nodrop_webhook_endpoint_failing_seconds": one(4000, endpoint="E1")},
    "EventRefused": {"nodrop_webhook_refused_age_seconds": one(4000, endpoint="E1")},
    "EndpointOff": {"nodrop_webhook_endpoint_off": one(1, endpoint="E1")},
    "KeyEnds": {"nodrop_api_key_ends_in_seconds": one(1_000_000)},
    "ServerErrors": {"nodrop_http_request_seconds_count": requests(_2=97, _5=3)},
    "MetricsIncomplete": {"nodrop_scrape_unreadable_files": one(1)},
}


@pytest.mark.parametrize("kind", sorted(alarms.kinds()))
def test_every_alarm_that_is_late_is_told_but_those_of_receivers(kind):
    """Receivers that fail keep the lane of webhooks behind for days, and have rules of their own."""
    late = {"nodrop_alarms_overdue_seconds": one(90, kind=kind)}
    is_told = evaluate(RULES["AlarmsOverdue"]["expr"], {**CALM, **late}, NOTHING) != {}
    assert is_told == (alarms.kinds()[kind].lane != alarms.WEBHOOKS)


def test_every_rule_has_its_bad_day():
    assert sorted(RULES) == sorted(BAD)


@pytest.mark.parametrize("name", RULES)
def test_rule_fires_on_its_bad_day_and_not_on_a_good_one(name):
    expression = RULES[name]["expr"]
    assert evaluate(expression, CALM, NOTHING) == {}
    assert evaluate(expression, {**CALM, **BAD[name]}, NOTHING)


@pytest.mark.parametrize("name", RULES)
def test_rule_names_only_metrics_and_labels_that_there_are(name):
    reader = Reader(RULES[name]["expr"], CALM, NOTHING)
    reader.read_set()
    for series, labels in reader.seen:
        metric = METRICS.get(series) or METRICS[series.removesuffix("_count")]
        assert (metric.kind == "histogram") == (metric.name != series)
        assert labels <= set(metric.labels)


@pytest.mark.parametrize("name", RULES)
def test_rule_says_how_bad_it_is_for_how_long_and_what_to_do_first(name):
    rule = RULES[name]
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(rule["annotations"]["reason"].split(". ")) > 1
