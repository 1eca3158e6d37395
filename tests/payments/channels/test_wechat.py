"""Specification of the WeChat adapter, by tables and published vectors; no database and no network."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payments.channels.base import (
    CallbackMessage,
    ChannelError,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    Refused,
    Unanswered,
    Unreachable,
)
from payments.channels.seals import BadKey
from payments.channels.wechat import list_platform_keys
from payments.channels.wechat_reading import ERRORS, REFUND_STATUSES, TRADE_STATES, Meaning
from payments.channels.wire import Reply

from .party import ScriptedWire
from .wechat_party import (
    APPID,
    EXPIRES_AT,
    MCHID,
    MERCHANT,
    MERCHANT_KEY,
    NOW,
    NUMBER,
    ORDER,
    PLATFORM,
    PLATFORM_PUBLIC,
    REFUND,
    REFUND_NUMBER,
    SERIAL,
    TRANSACTION,
    VECTORS,
    callback,
    error,
    make_wechat,
    refund,
    reply,
    sealed_callback,
    sign,
    trade,
    vector_callback,
    vector_reply,
)

PAID_AT = datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)
ANSWERED_AT = datetime.fromtimestamp(1795255806, UTC)
REFUND_NOTIFIED_AT = datetime.fromtimestamp(1795309263, UTC)
OK = {"code_url": "weixin://wxpay/bizpayurl?pr=x"}
PAID = PaymentReport(
    outcome=Outcome.SUCCEEDED,
    number=NUMBER,
    channel_number=TRANSACTION,
    amount_minor=12900,
    currency="CNY",
    paid_at=PAID_AT,
    code="SUCCESS",
)
# What no error code, however it is spelled, can be read from.
UNREADABLE = [b"", b"<html>502</html>", b"[]", b'{"code":7}', b'{"message":"no"}', b'{"code":"a b"}', b"\xff"]
# Every way in which an answer may not be what was asked for: nothing of it may be believed.
UNBELIEVABLE: dict[str, Reply | ChannelError] = {
    "no connection": Unreachable("x", code="unreachable"),
    "no answer": Unanswered("x", code="timeout"),
    "unsigned": reply(200, trade(), headers={}),
    "signed by a stranger": reply(200, trade(), headers=sign(json.dumps(trade()).encode(), key=MERCHANT_KEY)),
    "signed over other bytes": reply(200, trade(), headers=sign(b"{}")),
    "accepted only": reply(202, trade()),
    "empty": reply(200),
    "no content": reply(204),
    "garbage": reply(200, b"<<<"),
    "of another order": reply(200, trade(out_trade_no="ND20261121A0000002", out_refund_no="ND2")),
}


def sent_body(wire: ScriptedWire) -> dict:
    return json.loads(wire.sent[0]["body"])


# ---- create ------------------------------------------------------------------------------------------------------


def test_native_order_becomes_a_qr_code():
    created = make_wechat(vector_reply(200, "native_200"), now=ANSWERED_AT).create(ORDER)
    assert created.action == {"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=Nd7Qx1Azz"}


def test_answer_signed_with_the_other_known_key_is_believed():
    answer = vector_reply(200, "native_200_signed_with_public_key_id")
    assert make_wechat(answer, now=ANSWERED_AT).create(ORDER).action["type"] == "qr"


def test_order_is_written_as_the_protocol_says():
    wire = ScriptedWire(reply(200, OK))
    make_wechat(wire=wire).create(ORDER)
    assert (wire.sent[0]["method"], wire.sent[0]["url"]) == (
        "POST",
        "https://api.example/v3/pay/transactions/native",
    )
    assert sent_body(wire) == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "两件T恤 x2",
        "out_trade_no": NUMBER,
        "time_expire": "2026-11-21T18:30:00+08:00",
        "notify_url": "https://shop.example/notify/wechat/",
        "amount": {"total": 12900, "currency": "CNY"},
    }


def test_repeated_create_sends_the_very_same_content():
    request = replace(ORDER, expires_at=EXPIRES_AT + timedelta(microseconds=654_321))
    body = json.dumps(OK).encode()
    sent = []
    for then in (NOW, NOW + timedelta(minutes=3)):
        wire = ScriptedWire(reply(200, body, headers=sign(body, now=then)))
        make_wechat(wire=wire, now=then).create(request)
        sent.append(wire.sent[0])
    assert sent[0]["body"] == sent[1]["body"]
    assert sent[0]["headers"]["Authorization"] != sent[1]["headers"]["Authorization"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scene": "page"}, "scene"),
        ({"currency": "USD"}, "currency"),
        ({"amount_minor": 0}, "amount"),
        ({"amount_minor": -1}, "amount"),
        ({"number": "ND202"}, "number"),
        ({"number": "N" * 33}, "number"),
        ({"number": "ND/20261121"}, "number"),
        ({"number": "ND20261121é"}, "number"),
        ({"number": NUMBER + "\n"}, "number"),
        ({"description": ""}, "description"),
        ({"description": "恤" * 128}, "description"),
        ({"notify_url": "http://shop.example/notify/"}, "notify_url"),
        ({"notify_url": "https://shop.example/notify/?a=1"}, "notify_url"),
        ({"notify_url": "https://shop.example/notify/#a"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 255}, "notify_url"),
        ({"notify_url": "/notify/"}, "notify_url"),
        ({"expires_at": NOW}, "expires_at"),
    ],
)
def test_impossible_order_is_refused_before_sending(change, field):
    wire = ScriptedWire()
    with pytest.raises(Refused, match=field) as refused:
        make_wechat(wire=wire).create(replace(ORDER, **change))
    assert refused.value.code == f"invalid_{field}"
    assert wire.sent == []


@pytest.mark.parametrize(
    "change",
    [
        {"description": "恤" * 127},
        {"amount_minor": 1},
        {"number": "a-_|*9"},
        {"number": "N" * 32},
        {"notify_url": "http://127.0.0.1:8000/notify/wechat/"},
        {"expires_at": NOW + timedelta(seconds=1)},
    ],
)
def test_order_at_the_limits_is_sent(change):
    assert make_wechat(reply(200, OK)).create(replace(ORDER, **change)).action["type"] == "qr"


@pytest.mark.parametrize("code", ERRORS)
def test_create_is_refused_only_by_a_final_code(code):
    expected = Refused if ERRORS[code] is Meaning.REFUSED else Unanswered
    with pytest.raises(expected) as caught:
        make_wechat(error(403, code)).create(ORDER)
    assert type(caught.value) is expected
    assert caught.value.code == code


@pytest.mark.parametrize(
    "code", ["PARAM_ERROR", "PARAMERROR", "NO_AUTH", "NOAUTH", "MCH_NOT_EXISTS", "SIGN_ERROR"]
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_final_code_is_known_in_either_spelling_signed_or_not(code, signed):
    with pytest.raises(Refused) as refused:
        make_wechat(error(400, code, signed=signed)).create(ORDER)
    assert refused.value.code == code.replace("_", "")


def test_final_code_with_a_bad_signature_refuses_nothing():
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(reply(403, {"code": "NO_AUTH"}, headers=sign(b"other"))).create(ORDER)
    assert unanswered.value.code == "unverified"


@pytest.mark.parametrize("status", [202, 402, 405, 408, 409, 429, 500, 502, 503, 504])
def test_final_code_under_a_status_that_decides_nothing_refuses_nothing(status):
    with pytest.raises(Unanswered):
        make_wechat(error(status, "PARAM_ERROR")).create(ORDER)


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_unreadable_error_refuses_nothing(status, body):
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(reply(status, body, headers={})).create(ORDER)
    assert unanswered.value.code == f"HTTP{status}"


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_create_without_a_believable_answer_is_unanswered(name):
    with pytest.raises(Unanswered):
        make_wechat(UNBELIEVABLE[name]).create(ORDER)


def test_create_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_wechat(UNBELIEVABLE["no connection"]).create(ORDER)


@pytest.mark.parametrize(
    "body", [{}, {"code_url": ""}, {"code_url": 7}, {"code_url": "a b"}, {"code_url": "x" * 513}]
)
def test_create_answer_without_a_usable_code_is_unanswered(body):
    with pytest.raises(Unanswered) as unanswered:
        make_wechat(reply(200, body)).create(ORDER)
    assert unanswered.value.code == "malformed"


# ---- the life of a payment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires_in_s", "dead_in_s"), [(1800, 1860), (61, 121), (60, 120), (59, 120), (0, 120), (-600, 120)]
)
def test_payment_is_dead_a_margin_after_its_lifted_expiry(expires_in_s, dead_in_s):
    expires_at = NOW + timedelta(seconds=expires_in_s)
    dead_at = make_wechat().dead_at(scene="qr", expires_at=expires_at, now=NOW)
    assert dead_at == NOW + timedelta(seconds=dead_in_s)


def test_qr_wap_and_app_are_offered_in_cny():
    assert make_wechat().scenes() == {"qr", "wap", "app"}
    assert make_wechat().currencies == {"CNY"}


# ---- query -------------------------------------------------------------------------------------------------------


def test_query_of_a_paid_order_reports_everything():
    assert make_wechat(reply(200, trade())).query(ORDER) == PAID


def test_query_asks_by_our_number_and_merchant():
    wire = ScriptedWire(reply(200, trade()), reply(200, trade()))
    wechat = make_wechat(wire=wire)
    wechat.query(ORDER)
    wechat.query(replace(ORDER, number="a|b/../c"))
    base = "https://api.example/v3/pay/transactions/out-trade-no"
    assert [sent["url"] for sent in wire.sent] == [
        f"{base}/{NUMBER}?mchid={MCHID}",
        f"{base}/a%7Cb%2F..%2Fc?mchid={MCHID}",
    ]
    assert wire.sent[0]["body"] is None


@pytest.mark.parametrize("state", [*TRADE_STATES, "NEWSTATE", "success", "SUCCESS "])
def test_trade_state_is_read_by_the_table(state):
    report = make_wechat(reply(200, trade(state))).query(ORDER)
    assert report.outcome is TRADE_STATES.get(state, Outcome.UNKNOWN)
    assert report.number == NUMBER


def test_trade_states_are_those_of_the_documentation():
    assert Counter(TRADE_STATES.values()) == {
        Outcome.SUCCEEDED: 2,
        Outcome.OPEN: 3,
        Outcome.CLOSED: 2,
        Outcome.REFUSED: 1,
    }
    assert {name for name, outcome in TRADE_STATES.items() if outcome is Outcome.SUCCEEDED} == {
        "SUCCESS",
        "REFUND",
    }
    assert {name for name, outcome in TRADE_STATES.items() if outcome is Outcome.CLOSED} == {
        "CLOSED",
        "REVOKED",
    }


def test_unpaid_order_needs_none_of_the_fields_of_a_paid_one():
    unpaid = trade("NOTPAY", transaction_id=None, success_time=None, amount={"total": 12900})
    assert make_wechat(reply(200, unpaid)).query(ORDER).outcome is Outcome.OPEN


@pytest.mark.parametrize(
    "change",
    [
        {"trade_state": None},
        {"trade_state": ["SUCCESS"]},
        {"transaction_id": None},
        {"transaction_id": 4200009876},
        {"transaction_id": "4" * 65},
        {"success_time": None},
        {"success_time": "2026-11-21T18:10:34"},
        {"amount": None},
        {"amount": 12900},
        {"amount": {"currency": "CNY"}},
        {"amount": {"total": 12900}},
        {"amount": {"total": "12900", "currency": "CNY"}},
        {"amount": {"total": 12900.0, "currency": "CNY"}},
        {"amount": {"total": True, "currency": "CNY"}},
        {"amount": {"total": 0, "currency": "CNY"}},
        {"amount": {"total": 12900, "currency": "RENMINBI"}},
    ],
    ids=str,
)
def test_success_with_a_field_missing_or_of_a_wrong_type_is_unknown(change):
    report = make_wechat(reply(200, trade(**change))).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_query_without_a_believable_answer_is_unknown(name):
    report = make_wechat(UNBELIEVABLE[name]).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize(
    "change",
    [{"mchid": "1900006012"}, {"appid": "wx0"}, {"mchid": None}, {"appid": None}, {"out_trade_no": None}],
)
def test_query_answer_about_another_account_is_unknown(change):
    assert make_wechat(reply(200, trade(**change))).query(ORDER).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_query_finds_nothing_only_by_404_and_its_code(status, code):
    report = make_wechat(error(status, code)).query(ORDER)
    is_missing = status == 404 and ERRORS[code] is Meaning.MISSING
    assert report.outcome is (Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN)
    assert report.code == code


@pytest.mark.parametrize("body", UNREADABLE)
def test_404_without_a_code_is_not_a_missing_order(body):
    assert make_wechat(reply(404, body, headers={})).query(ORDER).outcome is Outcome.UNKNOWN


# ---- close -------------------------------------------------------------------------------------------------------


def test_close_with_a_signed_204_is_closed():
    wechat = make_wechat(vector_reply(204, "close_204_empty_body"), now=ANSWERED_AT)
    assert wechat.close(ORDER) == PaymentReport(outcome=Outcome.CLOSED, number=NUMBER)


def test_close_names_the_merchant_and_the_order():
    wire = ScriptedWire(reply(204))
    make_wechat(wire=wire).close(ORDER)
    assert wire.sent[0]["url"].endswith(f"/v3/pay/transactions/out-trade-no/{NUMBER}/close")
    assert sent_body(wire) == {"mchid": MCHID}


@pytest.mark.parametrize("code", ["ORDERPAID", "ORDER_PAID", "ORDERCLOSED", "ORDER_CLOSED", "ORDERREVERSED"])
@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("SUCCESS", Outcome.SUCCEEDED),
        ("REFUND", Outcome.SUCCEEDED),
        ("CLOSED", Outcome.CLOSED),
        ("NOTPAY", Outcome.UNKNOWN),
        ("PAYERROR", Outcome.UNKNOWN),
        ("NEW", Outcome.UNKNOWN),
    ],
)
def test_paid_or_closed_before_is_believed_by_a_query_only(code, state, outcome):
    wire = ScriptedWire(error(400, code, signed=False), reply(200, trade(state)))
    report = make_wechat(wire=wire).close(ORDER)
    assert report.outcome is outcome
    assert wire.operations == ["close", "query"]
    assert (report.amount_minor is not None) == (outcome is Outcome.SUCCEEDED)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_paid_at_close_without_a_believable_query_is_unknown(name):
    wechat = make_wechat(error(400, "ORDERPAID"), UNBELIEVABLE[name])
    assert wechat.close(ORDER).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", ERRORS)
def test_close_error_closes_nothing(code):
    wire = ScriptedWire(error(404, code), error(500, "SYSTEM_ERROR"))
    report = make_wechat(wire=wire).close(ORDER)
    is_missing = ERRORS[code] is Meaning.MISSING
    assert report.outcome is (Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no content"}))
def test_close_without_a_believable_answer_is_unknown(name):
    assert make_wechat(UNBELIEVABLE[name]).close(ORDER).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "headers", [{}, sign(b"x"), sign(b"", key=MERCHANT_KEY)], ids=["none", "other", "stranger"]
)
def test_unsigned_204_is_not_a_close(headers):
    assert make_wechat(reply(204, headers=headers)).close(ORDER).outcome is Outcome.UNKNOWN


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_refund_is_written_as_the_protocol_says():
    wire = ScriptedWire(reply(200, refund()))
    make_wechat(wire=wire).refund(REFUND)
    assert wire.sent[0]["url"] == "https://api.example/v3/refund/domestic/refunds"
    assert sent_body(wire) == {
        "transaction_id": REFUND.channel_number,
        "out_refund_no": REFUND_NUMBER,
        "reason": "size",
        "notify_url": "https://shop.example/notify/wechat/",
        "amount": {"refund": 2900, "total": 12900, "currency": "CNY"},
    }


def test_refund_without_a_reason_sends_none():
    wire = ScriptedWire(reply(200, refund()))
    make_wechat(wire=wire).refund(replace(REFUND, reason=""))
    assert "reason" not in sent_body(wire)


@pytest.mark.parametrize("status", [*REFUND_STATUSES, "NEWSTATUS"])
def test_refund_status_is_read_by_the_table(status):
    expected = RefundReport(
        outcome=REFUND_STATUSES.get(status, Outcome.UNKNOWN),
        number=REFUND_NUMBER,
        channel_number="50300909876202611220123456789",
        payment_number=NUMBER,
        amount_minor=2900,
        code=status,
        needs_person=status == "ABNORMAL",
    )
    assert make_wechat(reply(200, refund(status))).refund(REFUND) == expected
    assert make_wechat(reply(200, refund(status))).query_refund(REFUND) == expected


def test_refund_statuses_are_those_of_the_documentation():
    assert REFUND_STATUSES == {
        "SUCCESS": Outcome.SUCCEEDED,
        "PROCESSING": Outcome.OPEN,
        "CLOSED": Outcome.CLOSED,
        "ABNORMAL": Outcome.OPEN,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "USD"},
        {"amount_minor": 0},
        {"amount_minor": 12901},
        {"number": ""},
        {"number": "N" * 65},
        {"number": "ND/1"},
        {"reason": "r" * 81},
        {"notify_url": "http://shop.example/notify/"},
    ],
    ids=str,
)
def test_impossible_refund_is_refused_before_sending(change):
    wire = ScriptedWire()
    with pytest.raises(Refused):
        make_wechat(wire=wire).refund(replace(REFUND, **change))
    assert wire.sent == []


REFUSING = sorted(code for code in ERRORS if ERRORS[code] in (Meaning.REFUSED, Meaning.MISSING))


@pytest.mark.parametrize("code", REFUSING)
def test_refund_is_refused_when_the_channel_does_not_know_it_either(code):
    wire = ScriptedWire(error(404, code), error(404, "RESOURCE_NOT_EXISTS"))
    with pytest.raises(Refused) as refused:
        make_wechat(wire=wire).refund(REFUND)
    assert refused.value.code == code
    assert wire.operations == ["refund", "query_refund"]


@pytest.mark.parametrize("code", REFUSING)
def test_refused_refund_that_the_channel_knows_is_reported_as_it_stands_there(code):
    wechat = make_wechat(error(404, code, signed=False), reply(200, refund("SUCCESS")))
    assert wechat.refund(REFUND).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_refused_refund_without_a_believable_query_is_unknown(name):
    wechat = make_wechat(error(403, "REQUEST_BLOCKED"), UNBELIEVABLE[name])
    assert wechat.refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", sorted(ERRORS.keys() - set(REFUSING)))
def test_undecided_refund_error_is_unknown(code):
    report = make_wechat(error(403, code)).refund(REFUND)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, code)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_refund_without_a_believable_answer_is_unknown(name):
    assert make_wechat(UNBELIEVABLE[name]).refund(REFUND).outcome is Outcome.UNKNOWN
    assert make_wechat(UNBELIEVABLE[name]).query_refund(REFUND).outcome is Outcome.UNKNOWN


def test_refund_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_wechat(UNBELIEVABLE["no connection"]).refund(REFUND)
    assert make_wechat(UNBELIEVABLE["no connection"]).query_refund(REFUND).outcome is Outcome.UNKNOWN


def test_refund_answer_of_another_payment_is_unknown():
    report = make_wechat(reply(200, refund("SUCCESS", out_trade_no="ND2"))).refund(REFUND)
    assert report == RefundReport(outcome=Outcome.UNKNOWN, number=REFUND_NUMBER, code="about_another")


@pytest.mark.parametrize(
    "change",
    [{"refund_id": None}, {"amount": None}, {"amount": {"refund": 29.0}}, {"out_trade_no": None}],
    ids=str,
)
def test_refund_answer_with_a_field_missing_or_wrong_is_unknown(change):
    report = make_wechat(reply(200, refund("SUCCESS", **change))).query_refund(REFUND)
    assert (report.outcome, report.number) == (Outcome.UNKNOWN, REFUND_NUMBER)


def test_missing_refund_is_not_found():
    report = make_wechat(error(404, "RESOURCE_NOT_EXISTS")).query_refund(REFUND)
    assert report.outcome is Outcome.NOT_FOUND


# ---- callbacks: genuine ------------------------------------------------------------------------------------------


def test_published_payment_notification_is_read():
    assert make_wechat().read_callback(vector_callback()) == CallbackMessage(
        message_id="4f0c0d5e-6e0f-5a5b-9c1d-0a1b2c3d4e5f", kind="TRANSACTION.SUCCESS", report=PAID
    )


def test_published_refund_notification_is_read():
    message = make_wechat(now=REFUND_NOTIFIED_AT).read_callback(vector_callback("refund_success"))
    assert message.kind == "REFUND.SUCCESS"
    assert message.report == RefundReport(
        outcome=Outcome.SUCCEEDED,
        number=REFUND_NUMBER,
        channel_number="50300909876202611220123456789",
        payment_number=NUMBER,
        trade_number=REFUND.channel_number,
        amount_minor=2900,
        code="SUCCESS",
    )


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        ("REFUND.SUCCESS", "SUCCESS", Outcome.SUCCEEDED),
        ("REFUND.CLOSED", "CLOSED", Outcome.CLOSED),
        ("REFUND.ABNORMAL", "ABNORMAL", Outcome.OPEN),
    ],
)
def test_refund_notification_of_each_kind_is_read(kind, status, outcome):
    content = refund(None, refund_status=status, mchid=MCHID)
    report = make_wechat().read_callback(callback(kind, content)).report
    assert isinstance(report, RefundReport)
    assert (report.outcome, report.needs_person) == (outcome, status == "ABNORMAL")


def test_amount_is_reported_as_it_came():
    content = trade(amount={"total": 1, "currency": "USD"})
    report = make_wechat().read_callback(callback("TRANSACTION.SUCCESS", content)).report
    assert isinstance(report, PaymentReport)
    assert (report.outcome, report.amount_minor, report.currency) == (Outcome.SUCCEEDED, 1, "USD")


@pytest.mark.parametrize("state", [*TRADE_STATES, "NEWSTATE"])
def test_state_inside_decides_not_the_kind_outside(state):
    report = make_wechat().read_callback(callback("TRANSACTION.SUCCESS", trade(state))).report
    assert report.outcome is TRADE_STATES.get(state, Outcome.UNKNOWN)


def test_genuine_message_of_an_unknown_kind_is_kept_as_unknown():
    message = make_wechat().read_callback(
        callback("PAYSCORE.USER_PAID", {"mchid": MCHID, "out_trade_no": NUMBER})
    )
    assert (message.message_id, message.kind) == ("ev-1", "PAYSCORE.USER_PAID")
    assert (message.report.outcome, message.report.number) == (Outcome.UNKNOWN, NUMBER)


@pytest.mark.parametrize("change", [{"amount": None}, {"transaction_id": 7}, {"out_trade_no": None}], ids=str)
def test_genuine_success_that_cannot_be_read_is_unknown(change):
    report = make_wechat().read_callback(callback("TRANSACTION.SUCCESS", trade(**change))).report
    assert (report.outcome, report.code, report.amount_minor) == (Outcome.UNKNOWN, "malformed", None)


@pytest.mark.parametrize("absent", [{"associated_data": ""}, {"associated_data": None}])
def test_associated_data_may_be_empty_or_absent(absent):
    from base64 import b64encode

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    plain = json.dumps(trade()).encode()
    sealed = AESGCM(VECTORS["apiv3_key"].encode()).encrypt(b"Zx3TQ9aLmP0k", plain, b"")
    resource = {"ciphertext": b64encode(sealed).decode(), **absent}
    assert make_wechat().read_callback(callback("TRANSACTION.SUCCESS", {}, resource=resource)).report == PAID


# ---- callbacks: not genuine --------------------------------------------------------------------------------------


def refused(raw: RawCallback, **how) -> str:
    with pytest.raises(NotGenuine) as error:
        make_wechat(**how).read_callback(raw)
    return error.value.reason


@pytest.mark.parametrize(
    "name",
    ["timestamp", "nonce", "serial", "signature", "signature-type"],
    ids=lambda name: f"wechatpay-{name}",
)
@pytest.mark.parametrize("value", [None, "", "1", "x", "1795255834", "é", "WECHATPAY2-SM2-WITH-SM3"])
def test_callback_with_a_header_missing_or_changed_is_refused(name, value):
    raw = vector_callback()
    headers = {key: text for key, text in raw.headers.items() if key != f"wechatpay-{name}"}
    if value is not None:
        headers[f"wechatpay-{name}"] = value
    assert refused(RawCallback(headers=headers, body=raw.body))


def test_callback_with_any_single_byte_changed_is_refused():
    wechat, raw = make_wechat(), vector_callback()
    for place in range(len(raw.body)):
        body = bytearray(raw.body)
        body[place] ^= 1
        with pytest.raises(NotGenuine, match=r"^signature$"):
            wechat.read_callback(RawCallback(headers=raw.headers, body=bytes(body)))


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"\n", lambda body: b""])
def test_callback_cut_or_lengthened_is_refused(change):
    raw = vector_callback()
    assert refused(RawCallback(headers=raw.headers, body=change(raw.body))) == "signature"


def test_signature_probe_is_refused():
    assert refused(vector_callback("signtest_probe_must_fail")) == "signature"


@pytest.mark.parametrize("name", ["payment_success", "refund_success"])
def test_nothing_about_the_payer_is_kept_of_a_callback_not_even_sealed(name):
    found = VECTORS["notifications"][name]
    kept = make_wechat().kept_body(vector_callback(name)).decode()
    assert "openid" in found["plaintext"] or "user_received_account" in found["plaintext"]
    for told in ("openid", 'payer"', "bank_type", "user_received_account", "ciphertext", "nonce"):
        assert told not in kept


def test_what_is_kept_of_a_callback_tells_people_of_its_money():
    kept = json.loads(make_wechat().kept_body(vector_callback()))
    assert (kept["id"], kept["event_type"]) == ("4f0c0d5e-6e0f-5a5b-9c1d-0a1b2c3d4e5f", "TRANSACTION.SUCCESS")
    assert kept["resource"]["out_trade_no"] == "ND20261121A0000001"
    assert kept["resource"]["transaction_id"] == "4200009876202611210123456789"
    assert (kept["resource"]["trade_state"], kept["resource"]["amount"]["total"]) == ("SUCCESS", 12900)
    refund = json.loads(make_wechat().kept_body(vector_callback("refund_success")))["resource"]
    assert (refund["out_refund_no"], refund["refund_status"]) == ("NDR20261122A0000001", "SUCCESS")
    assert refund["amount"]["refund"] == 2900


def test_callback_signed_by_another_key_is_refused():
    body = vector_callback().body
    assert refused(RawCallback(headers=sign(body, key=MERCHANT_KEY), body=body)) == "signature"


def test_callback_of_a_key_that_we_do_not_know_is_refused():
    body = vector_callback().body
    assert refused(RawCallback(headers=sign(body, serial="PUB_KEY_ID_9"), body=body)) == "serial"


def test_bytes_cannot_move_from_the_body_into_the_nonce():
    body = b'{"a":1}\n{"b":2}'
    headers = sign(body)
    moved = headers | {"wechatpay-nonce": headers["wechatpay-nonce"] + '\n{"a":1}'}
    assert refused(RawCallback(headers=moved, body=b'{"b":2}')) == "nonce"


@pytest.mark.parametrize("off_s", [-300, -301, 300, 301, 86_400])
def test_callback_outside_the_window_is_refused(off_s):
    assert refused(vector_callback(), now=NOW + timedelta(seconds=off_s)) == "timestamp"


@pytest.mark.parametrize("off_s", [-299, 0, 299])
def test_callback_within_the_window_is_read(off_s):
    assert make_wechat(now=NOW + timedelta(seconds=off_s)).read_callback(vector_callback()).report == PAID


@pytest.mark.parametrize("name", ["mchid", "appid"])
@pytest.mark.parametrize("value", ["1900006012", None, 1900006011])
def test_payment_of_another_account_is_refused(name, value):
    assert refused(callback("TRANSACTION.SUCCESS", trade(**{name: value}))) == name


@pytest.mark.parametrize("kind", ["REFUND.SUCCESS", "PAYSCORE.USER_PAID"])
def test_any_other_message_of_another_merchant_is_refused(kind):
    assert refused(callback(kind, refund(None, refund_status="SUCCESS", mchid="1"))) == "mchid"


def test_callback_encrypted_with_another_key_is_refused():
    assert refused(vector_callback(), apiv3_key="k" * 32) == "body"


@pytest.mark.parametrize(
    "resource",
    [
        {"algorithm": "AEAD_SM4_GCM"},
        {"algorithm": None},
        {"ciphertext": "AAAA"},
        {"ciphertext": 7},
        {"ciphertext": "not base64"},
        {"nonce": "short"},
        {"nonce": "Zx3TQ9aLmP0l"},
        {"nonce": None},
        {"associated_data": "other"},
        {"associated_data": "\ud800"},
        {"associated_data": ["aad"]},
    ],
    ids=str,
)
def test_signed_callback_whose_resource_does_not_open_is_refused(resource):
    assert refused(callback("TRANSACTION.SUCCESS", trade(), resource=resource)) == "body"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id":"1"}',
        b'{"id":"1","event_type":"A","resource":[]}',
        b"\xff",
        b"[" * 60_000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_signed_callback_that_is_not_a_notification_is_refused(body):
    assert refused(sealed_callback(body)) == "body"


@pytest.mark.parametrize("content", [b"[]", b"text", b'{"mchid":"1","mchid":"2"}', b'{"a":NaN}'])
def test_signed_callback_with_other_content_than_an_object_is_refused(content):
    assert refused(callback("TRANSACTION.SUCCESS", content)) == "body"


@pytest.mark.parametrize(
    "envelope", [{"id": None}, {"id": 7}, {"id": "x" * 65}, {"id": "a b"}, {"event_type": None}]
)
def test_signed_callback_without_a_usable_id_or_kind_is_refused(envelope):
    assert refused(callback("TRANSACTION.SUCCESS", trade(), **envelope)) == "body"


# ---- callbacks: what we answer -----------------------------------------------------------------------------------


def test_acknowledgement_is_an_empty_204():
    answer = make_wechat().acknowledge()
    assert (answer.status, answer.body) == (204, b"")


def test_refusal_is_401_in_the_channels_words():
    answer = make_wechat().refuse_callback("signature")
    assert (answer.status, answer.content_type) == (401, "application/json")
    assert json.loads(answer.body) == {"code": "FAIL", "message": "signature"}


# ---- answers are held to the same signature rules ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timestamp", "nonce", "serial", "signature", "signature-type"])
@pytest.mark.parametrize("value", [None, "", "x"])
def test_answer_with_a_header_missing_or_changed_is_unknown(name, value):
    headers = sign(json.dumps(trade()).encode())
    del headers[f"wechatpay-{name}"]
    if value is not None:
        headers[f"wechatpay-{name}"] = value
    report = make_wechat(reply(200, trade(), headers=headers)).query(ORDER)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, "unverified")


@pytest.mark.parametrize("off_s", [-300, 300])
def test_answer_outside_the_window_is_unknown(off_s):
    report = make_wechat(reply(200, trade()), now=NOW + timedelta(seconds=off_s)).query(ORDER)
    assert report.code == "unverified"


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "merchant.pem").write_text(MERCHANT["private_key_pkcs8_pem"])
    (tmp_path / "one.pem").write_text(PLATFORM["public_key_pem"])
    (tmp_path / "two.pem").write_text(PLATFORM["cert_pem"])
    return {
        "BASE_URL": "https://api.example/",
        "MCHID": MCHID,
        "APPID": APPID,
        "MERCHANT_SERIAL": MERCHANT["serial_no"],
        "MERCHANT_KEY_FILE": str(tmp_path / "merchant.pem"),
        "APIV3_KEY": VECTORS["apiv3_key"],
        "PLATFORM_KEY_ID": f"{PLATFORM['public_key_id']}, {SERIAL}",
        "PLATFORM_KEY_FILE": f"{tmp_path / 'one.pem'},{tmp_path / 'two.pem'}",
    }


def test_settings_with_two_platform_keys_make_a_channel_that_prefers_the_first(configured):
    from payments.channels.wechat import WeChat

    headers = WeChat.from_settings(configured)._headers("GET", "/v3/x", b"")
    assert headers["Wechatpay-Serial"] == PLATFORM["public_key_id"]
    assert list_platform_keys(configured).keys() == {PLATFORM["public_key_id"], SERIAL}


@pytest.mark.parametrize(("ids", "files"), [("a,b", "one"), ("a", "one,two"), ("", ""), ("a,", "one,")])
def test_unequal_lists_of_platform_keys_are_refused(ids, files):
    with pytest.raises(BadKey, match="PLATFORM_KEY_ID"):
        list_platform_keys({"PLATFORM_KEY_ID": ids, "PLATFORM_KEY_FILE": files})


def test_channel_without_usable_keys_is_not_made():
    with pytest.raises(BadKey, match="platform"):
        make_wechat(platform_keys={})
    with pytest.raises(BadKey, match="32"):
        make_wechat(apiv3_key="short")
    assert make_wechat(platform_keys={"any": PLATFORM_PUBLIC})
