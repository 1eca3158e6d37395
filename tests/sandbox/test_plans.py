"""What may be asked of the faults, and how the dice decide."""

import pytest

from payments.sandbox.faults import Faults
from payments.sandbox.fields import BadField
from payments.sandbox.plans import API, OPERATIONS, parse_plan

CHANNELS = ("wechat",)
WHATS = [
    "refuse",
    "hang",
    "reset",
    "status",
    "garbage",
    "truncate",
    "badsign",
    "drip",
    "redirect",
    "flood",
    "notfound",
    "syserr",
    "lie",
    "drop",
    "dup",
    "delay",
    "reorder",
    "two_trades",
    "refund_abnormal",
    "paid_meanwhile",
    "statement_omit",
    "statement_double",
    "statement_lie",
]
WHERE = {
    "lie": "query",
    "drop": "notify",
    "dup": "notify",
    "delay": "notify",
    "reorder": "notify",
    "two_trades": "pay",
    "refund_abnormal": "refund",
    "notfound": "query",
    "paid_meanwhile": "close",
    "statement_omit": "statement",
    "statement_double": "statement",
    "statement_lie": "statement",
}


def entry(**changes):
    document = {"channel": "wechat", "operation": "query", "when": "before", "what": "reset", **changes}
    return {name: value for name, value in document.items() if value is not ...}


def make_faults(document) -> Faults:
    faults = Faults(CHANNELS)
    faults.set(document)
    return faults


@pytest.mark.parametrize("what", WHATS)
def test_every_fault_of_the_vocabulary_is_offered(what):
    value = {"amount": 1} if what == "lie" else ...

    plan = parse_plan(
        {"script": [entry(what=what, operation=WHERE.get(what, "create"), value=value)]}, CHANNELS
    )

    assert plan.script[0].what == what


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (None, "body"),
        ([], "body"),
        ({"seeds": 1}, "seeds"),
        ({"seed": "1"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"channels": "wechat"}, "channels"),
        ({"channels": ["wechat", "stripe"]}, "channels[1]"),
        ({"operations": ["pay"]}, "operations[0]"),
        ({"notify": []}, "notify"),
        ({"notify": {"lose": 1}}, "notify.lose"),
        ({"notify": {"drop": 1.1}}, "notify.drop"),
        ({"notify": {"drop": -0.1}}, "notify.drop"),
        ({"notify": {"drop": True}}, "notify.drop"),
        ({"notify": {"drop": float("nan")}}, "notify.drop"),
        ({"notify": {"delay_s": 3601}}, "notify.delay_s"),
        ({"api": {"error": 1}}, "api.error"),
        ({"api": {"garbage": "often"}}, "api.garbage"),
        ({"api": {"slow_s": float("inf")}}, "api.slow_s"),
        ({"script": {}}, "script"),
        ({"script": ["reset"]}, "script[0]"),
        ({"script": [entry(), entry(channel="stripe")]}, "script[1].channel"),
        ({"script": [entry(operation="settle")]}, "script[0].operation"),
        ({"script": [entry(what="statement_omit")]}, "script[0].what"),
        ({"script": [entry(what="statement_double", operation="statement", value="2")]}, "script[0].value"),
        ({"script": [entry(what="paid_meanwhile")]}, "script[0].what"),
        ({"script": [entry(what="paid_meanwhile", operation="close", when=...)]}, "script[0].when"),
        ({"script": [entry(operation=["query"])]}, "script[0].operation"),
        ({"script": [entry(when="during")]}, "script[0].when"),
        ({"script": [entry(when=...)]}, "script[0].when"),
        ({"script": [entry(what="explode")]}, "script[0].what"),
        ({"script": [entry(what=["reset"])]}, "script[0].what"),
        ({"script": [entry(what="two_trades")]}, "script[0].what"),
        ({"script": [entry(what="notfound", operation="create")]}, "script[0].what"),
        ({"script": [entry(operation="notify")]}, "script[0].what"),
        ({"script": [entry(value=1)]}, "script[0].value"),
        ({"script": [entry(what="hang", value=121)]}, "script[0].value"),
        ({"script": [entry(what="hang", value=0)]}, "script[0].value"),
        ({"script": [entry(what="status", value=200)]}, "script[0].value"),
        ({"script": [entry(what="status", value={"status": 403})]}, "script[0].value.code"),
        ({"script": [entry(what="status", value={"code": "NO_AUTH"})]}, "script[0].value.status"),
        ({"script": [entry(what="redirect", value="elsewhere")]}, "script[0].value"),
        ({"script": [entry(what="flood", value=2**31)]}, "script[0].value"),
        ({"script": [entry(what="lie")]}, "script[0].value"),
        ({"script": [entry(what="lie", value={})]}, "script[0].value"),
        ({"script": [entry(what="lie", value={"total": 1})]}, "script[0].value.total"),
        ({"script": [entry(what="lie", value={"amount": "1"})]}, "script[0].value.amount"),
        ({"script": [entry(what="dup", operation="notify", value=1)]}, "script[0].value"),
        ({"script": [entry(nth=0)]}, "script[0].nth"),
        ({"script": [entry(times=0)]}, "script[0].times"),
        ({"script": [entry(often=1)]}, "script[0].often"),
    ],
    ids=repr,
)
def test_wrong_plan_names_the_wrong_field(document, field):
    with pytest.raises(BadField) as refused:
        parse_plan(document, CHANNELS)

    assert refused.value.field == field


@pytest.mark.parametrize("operation", ["capture", "statement"])
def test_captures_and_statements_meet_the_faults_of_calls(operation):
    faults = make_faults({"operations": [operation], "api": {"error_after": 1}})

    assert faults.draw_call("wechat", operation).fault is not None
    assert parse_plan({"script": [entry(operation=operation)]}, CHANNELS).script[0].operation == operation


def test_wrong_plan_leaves_the_old_one_in_force():
    faults = make_faults({"seed": 7, "notify": {"drop": 0.5}})

    with pytest.raises(BadField):
        faults.set({"notify": {"drop": 2}})

    assert faults.describe()["notify"] == {"drop": 0.5}


def draw(faults, operation="query", count=200):
    return [faults.draw_call("wechat", operation) for _ in range(count)]


def test_same_seed_gives_the_same_faults_and_another_seed_others():
    rates = {"api": {"error_before": 0.3, "timeout_after": 0.3, "slow_s": 2}}

    assert draw(make_faults({"seed": 1, **rates})) == draw(make_faults({"seed": 1, **rates}))
    assert draw(make_faults({"seed": 1, **rates})) != draw(make_faults({"seed": 2, **rates}))


def test_faults_of_one_operation_do_not_depend_on_the_others_calls():
    rates = {"seed": 5, "api": {"error_before": 0.5}}
    alone, mixed = make_faults(rates), make_faults(rates)
    draw(mixed, "create", 17)

    assert draw(mixed, "query") == draw(alone, "query")


def test_rate_is_kept_about():
    hits = sum(
        call.fault is not None
        for call in draw(make_faults({"seed": 3, "api": {"garbage": 0.25}}), count=2000)
    )

    assert 400 < hits < 600


@pytest.mark.parametrize("operation", API)
def test_rates_strike_only_the_operations_asked_for(operation):
    faults = make_faults({"operations": ["close"], "api": {"error_before": 1}})

    assert (faults.draw_call("wechat", operation).fault is not None) == (operation == "close")


def test_rates_strike_only_the_channels_asked_for():
    faults = Faults(("wechat", "alipay"))
    faults.set({"channels": ["alipay"], "notify": {"drop": 1}, "api": {"garbage": 1}})

    assert faults.draw_call("wechat", "query").fault is None
    assert not faults.draw_notice("wechat").is_dropped
    assert faults.draw_call("alipay", "query").fault is not None


def test_script_strikes_from_the_nth_matching_call_on_and_so_many_times():
    faults = make_faults({"script": [entry(nth=3, times=2)]})
    draw(faults, "create", 5)

    struck = [call.fault is not None for call in draw(faults, "query", 6)]

    assert struck == [False, False, True, True, False, False]


def test_script_comes_before_rates():
    faults = make_faults({"api": {"error_before": 1}, "script": [entry(what="garbage", when="after")]})

    assert [call.fault.what for call in draw(faults, "query", 2)] == ["garbage", "syserr"]


def test_told_notification_meets_scripts_but_no_rates():
    faults = make_faults(
        {"notify": {"drop": 1, "forge": 1}, "script": [entry(operation="notify", what="badsign")]}
    )

    assert faults.draw_notice("wechat", is_told=True).is_forged
    assert not faults.draw_notice("wechat", is_told=True).is_forged
    assert faults.draw_notice("wechat").is_dropped


def test_calls_that_are_no_operation_are_left_alone():
    assert make_faults({"api": {"error_before": 1}}).draw_call("wechat", "").fault is None
    assert "" not in OPERATIONS
