"""Specification of the UnionPay adapter, by tables and published vectors; no database and no network."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

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
from payments.channels.unionpay_reading import CHARGED, REFUND_REFUSING, REFUSING, TRADE_CODES
from payments.channels.unionpay_seals import Trust, parse_answer, parse_form, sign, write_text
from payments.channels.wire import Reply

from .party import ScriptedWire
from .unionpay_party import (
    BEIJING,
    CERTIFICATE,
    EXPIRES_AT,
    IDENTITY,
    LATER,
    MER_ID,
    MERCHANT,
    MERCHANT_KEY,
    MIDDLE,
    NOW,
    NUMBER,
    ORDER,
    PAID_AT,
    QUERY_ID,
    REFUND,
    REFUND_NUMBER,
    REFUND_QUERY_ID,
    REFUND_STARTED_AT,
    ROOT,
    SIGNER,
    STARTED_AT,
    VECTORS,
    callback,
    certify,
    created,
    form,
    make_unionpay,
    notice,
    of_no_version,
    raw,
    refund,
    refund_answer,
    reply,
    seal,
    trade,
    vector_callback,
    vector_reply,
    with_crlf,
)

PAID = PaymentReport(
    outcome=Outcome.SUCCEEDED,
    number=NUMBER,
    channel_number=QUERY_ID,
    amount_minor=12900,
    currency="CNY",
    paid_at=PAID_AT,
    code="00",
)
REFUNDED = RefundReport(
    outcome=Outcome.SUCCEEDED,
    number=REFUND_NUMBER,
    channel_number=REFUND_QUERY_ID,
    trade_number=QUERY_ID,
    amount_minor=2900,
    code="00",
)
CODES = sorted(
    {*TRADE_CODES, *CHARGED, "03", "04", "06", "12", "34", "37", "83", "98", "99", "A1", "A2", "ZZ", "0"}
)
SURE = REFUND_STARTED_AT + timedelta(minutes=2)  # by then a refund that was begun is visible
STRANGER = certify(f"041@1@{SIGNER}@1", MERCHANT_KEY, issuer_key=MERCHANT_KEY)
# Every way in which an answer may not be what was asked for: nothing of it may be believed.
UNBELIEVABLE: dict[str, Reply | ChannelError] = {
    "no connection": Unreachable("x", code="unreachable"),
    "no answer": Unanswered("x", code="timeout"),
    "unsigned": reply(raw({**trade(), "merId": MER_ID})),
    "signed by our own certificate": reply(
        trade(), key=MERCHANT_KEY, certificate=with_crlf(MERCHANT["cert_pem"])
    ),
    "signed by a stranger": reply(trade(), key=MERCHANT_KEY, certificate=STRANGER),
    "signed over other parameters": reply(raw(seal(trade()) | {"txnAmt": "12901"})),
    "of version 5.0.0": reply(trade(version="5.0.0")),
    "by a shared secret": reply(trade(signMethod="11")),
    "with a certificate of no version": reply(trade(), certificate=of_no_version(CERTIFICATE)),
    "an error of HTTP": reply(trade(), status=500),
    "accepted only": reply(trade(), status=202),
    "empty": reply(b""),
    "garbage": reply(b"<<<\xff\xfe{]"),
    "a parameter twice": reply(raw(seal(trade())) + b"&txnAmt=12900"),
    "of another order": reply(trade(orderId="ND20261121A0000009")),
    "of another moment": reply(trade(txnTime="20261121181006")),
    "of another merchant": reply(trade(merId="777290000012346")),
}


def sent_form(wire: ScriptedWire, nth: int = 0) -> dict[str, str]:
    return parse_form(wire.sent[nth]["body"])


# ---- requests are those of the vectors -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_text_and_signature_are_the_vectors(name):
    vector = VECTORS["requests"][name]
    assert write_text(vector["params"]) == vector["string_to_sign"]
    assert sign(MERCHANT_KEY, vector["params"]) == vector["signature"]


@pytest.mark.parametrize(
    ("name", "call", "answer"),
    [
        ("qr_apply", lambda unionpay: unionpay.create(ORDER), created()),
        ("app_tn", lambda unionpay: unionpay.create(replace(ORDER, scene="app")), created(tn="8" * 21)),
        ("query", lambda unionpay: unionpay.query(ORDER), trade()),
        ("refund", lambda unionpay: unionpay.refund(REFUND), refund_answer()),
    ],
)
def test_request_is_the_vectors_to_the_byte(name, call, answer):
    wire = ScriptedWire(reply(answer))
    call(make_unionpay(wire=wire))
    assert wire.sent[0]["body"].decode() == VECTORS["requests"][name]["body_urlencoded"]


def test_statement_request_is_the_vectors_to_the_byte():
    asked_at = datetime(2026, 11, 22, 10, tzinfo=BEIJING)
    wire = ScriptedWire(reply({"respCode": "98"}))
    with pytest.raises(ChannelError):
        make_unionpay(wire=wire, now=asked_at).fetch_statement(datetime(2026, 11, 21).date(), None)  # noqa: DTZ001
    assert wire.sent[0]["body"].decode() == VECTORS["requests"]["file_transfer"]["body_urlencoded"]
    assert wire.sent[0]["url"] == "https://files.example/"


# ---- create ------------------------------------------------------------------------------------------------------


def test_qr_order_becomes_a_qr_code():
    action = make_unionpay(vector_reply("qr_apply_ok")).create(ORDER).action
    assert action == {
        "type": "qr",
        "content": "https://qr.95516.com/00010000/62000000000000000000000000012345",
    }


def test_app_order_becomes_parameters_for_the_sdk():
    action = make_unionpay(vector_reply("app_tn_ok")).create(replace(ORDER, scene="app")).action
    assert action == {"type": "sdk", "params": {"tn": "844200920000001234567"}}


def test_wap_order_is_a_signed_form_and_calls_nobody():
    wire = ScriptedWire()
    action = make_unionpay(wire=wire).create(replace(ORDER, scene="wap")).action
    assert action == {
        "type": "form",
        "url": "https://gateway.example/gateway/api/frontTransReq.do",
        "fields": VECTORS["requests"]["wap_front"]["params"],
    }
    assert wire.sent == []


@pytest.mark.parametrize(
    ("scene", "path", "biz_type"),
    [("qr", "backTransReq", "000000"), ("app", "appTransReq", "000201")],
)
def test_product_goes_with_its_scene_also_for_queries_and_refunds(scene, path, biz_type):
    wire = ScriptedWire(reply(created(tn="8" * 21)), reply(trade()), reply(refund_answer()), reply(refund()))
    unionpay = make_unionpay(wire=wire)
    unionpay.create(replace(ORDER, scene=scene))
    unionpay.query(replace(ORDER, scene=scene))
    unionpay.refund(replace(REFUND, scene=scene))
    unionpay.query_refund(replace(REFUND, scene=scene))
    paths = [sent["url"].rpartition("/")[2] for sent in wire.sent]
    assert paths == [f"{path}.do", "queryTrans.do", "backTransReq.do", "queryTrans.do"]
    assert {sent_form(wire, nth)["bizType"] for nth in range(4)} == {biz_type}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scene": "page"}, "scene"),
        ({"currency": "USD"}, "currency"),
        ({"amount_minor": 0}, "amount"),
        ({"amount_minor": 10**10 + 1}, "amount"),
        ({"number": "ND20261"}, "number"),
        ({"number": "N" * 33}, "number"),
        ({"number": "ND-20261121"}, "number"),
        ({"number": "ND_20261121"}, "number"),
        ({"number": NUMBER + "\n"}, "number"),
        ({"notify_url": "http://shop.example/notify/"}, "notify_url"),
        ({"notify_url": "https://shop.example/notify/?a=1"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 256}, "notify_url"),
        ({"scene": "wap", "return_url": "/orders/1/"}, "return_url"),
        ({"expires_at": NOW}, "expires_at"),
    ],
    ids=str,
)
def test_impossible_order_is_refused_before_sending(change, field):
    wire = ScriptedWire()
    with pytest.raises(Refused) as refused:
        make_unionpay(wire=wire).create(replace(ORDER, **change))
    assert refused.value.code == f"invalid_{field}"
    assert wire.sent == []


@pytest.mark.parametrize("code", CODES)
def test_create_is_refused_only_by_a_final_code(code):
    if code == "00":
        return
    expected = Refused if code in REFUSING else Unanswered
    with pytest.raises(expected) as caught:
        make_unionpay(reply(created(code))).create(ORDER)
    assert type(caught.value) is expected
    assert caught.value.code == code


def test_duplicate_refuses_nothing_because_something_stands_under_the_number():
    with pytest.raises(Unanswered):
        make_unionpay(reply(created("12"))).create(ORDER)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_create_without_a_believable_answer_is_unanswered(name):
    with pytest.raises(Unanswered):
        make_unionpay(UNBELIEVABLE[name]).create(ORDER)


def test_create_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_unionpay(UNBELIEVABLE["no connection"]).create(ORDER)


def test_unsigned_refusal_refuses_nothing():
    with pytest.raises(Unanswered):
        make_unionpay(reply(raw({**IDENTITY, "merId": MER_ID, "respCode": "11"}))).create(ORDER)


@pytest.mark.parametrize("content", [None, "", "a b", "x" * 513])
def test_create_answer_without_a_usable_code_is_unanswered(content):
    with pytest.raises(Unanswered) as unanswered:
        make_unionpay(reply(created(qrCode=content))).create(ORDER)
    assert unanswered.value.code == "malformed"


# ---- what the channel is -------------------------------------------------------------------------------------------


def test_channel_declares_what_it_can_do():
    unionpay = make_unionpay()
    assert unionpay.scenes() == {"qr", "wap", "app"}
    assert unionpay.currencies == {"CNY"}
    assert (unionpay.repeat, unionpay.can_close, unionpay.can_refund) == ("ask_then_new", False, True)


def test_payment_is_dead_minutes_after_its_pay_timeout():
    dead_at = make_unionpay().dead_at(scene="qr", expires_at=EXPIRES_AT, now=NOW)
    assert dead_at == EXPIRES_AT + timedelta(minutes=5)


# ---- query -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("query_paid", Outcome.SUCCEEDED),
        ("query_in_progress", Outcome.OPEN),
        ("query_not_found", Outcome.NOT_FOUND),
    ],
)
def test_published_answers_are_read(name, outcome):
    assert make_unionpay(vector_reply(name)).query(ORDER).outcome is outcome


def test_query_of_a_paid_order_reports_everything():
    assert make_unionpay(vector_reply("query_paid")).query(ORDER) == PAID


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("now", [NOW, LATER], ids=["payable", "over"])
def test_trade_is_read_by_the_table_and_a_failed_try_ends_nothing_before_pay_timeout(code, now):
    outcome = Outcome.UNKNOWN if code in CHARGED else TRADE_CODES.get(code, Outcome.UNKNOWN)
    if outcome is Outcome.REFUSED and now is NOW:
        outcome = Outcome.OPEN
    report = make_unionpay(reply(trade(code)), now=now).query(ORDER)
    assert (report.outcome, report.code) == (outcome, code)


def test_table_is_that_of_the_documentation():
    assert Counter(TRADE_CODES.values()) == {Outcome.SUCCEEDED: 2, Outcome.OPEN: 2, Outcome.REFUSED: 36}
    assert {code for code, outcome in TRADE_CODES.items() if outcome is Outcome.SUCCEEDED} == {"00", "A6"}
    assert {code for code, outcome in TRADE_CODES.items() if outcome is Outcome.OPEN} == {"05", "70"}
    assert not {"03", "04", "06", "12", "34", "37", "42", "46", "74", "75", "83", "99"} & TRADE_CODES.keys()


def test_payment_that_its_issuer_is_still_at_is_neither_open_nor_refused():
    for now in (NOW, LATER):
        assert make_unionpay(reply(trade("83")), now=now).query(ORDER).outcome is Outcome.UNKNOWN
    with pytest.raises(Unanswered):
        make_unionpay(reply(created("83"))).create(ORDER)


def test_refund_that_its_issuer_is_still_at_is_not_refused():
    unionpay = make_unionpay(reply(refund("83")), reply(refund_answer("83")), now=SURE)
    assert unionpay.query_refund(REFUND).outcome is Outcome.UNKNOWN
    assert unionpay.refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", sorted(set(CODES) - {"00", "34"}))
def test_code_of_the_query_says_nothing_about_the_trade(code):
    report = make_unionpay(reply(trade("00", respCode=code))).query(ORDER)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, code)


@pytest.mark.parametrize("now", [NOW, LATER])
def test_missing_trade_is_not_found_whatever_else_the_answer_says(now):
    report = make_unionpay(reply(trade("00", respCode="34")), now=now).query(ORDER)
    assert (report.outcome, report.code) == (Outcome.NOT_FOUND, "34")


def test_success_with_a_flaw_is_money_and_needs_a_person():
    assert make_unionpay(reply(trade("A6"))).query(ORDER) == replace(PAID, code="A6", needs_person=True)


@pytest.mark.parametrize("code", ["42", "45", "46", "74", "75"])
@pytest.mark.parametrize(
    "now", [NOW, LATER, EXPIRES_AT + timedelta(days=13)], ids=["payable", "over", "days"]
)
def test_payment_that_was_charged_and_is_not_ours_is_neither_paid_nor_refused_and_needs_a_person(code, now):
    unionpay = make_unionpay(reply(trade(code)), reply(trade(code)), now=now)
    for report in (unionpay.query(ORDER), unionpay.close(ORDER)):
        assert (report.outcome, report.code, report.needs_person) == (Outcome.UNKNOWN, code, True)
        assert report.amount_minor is None


@pytest.mark.parametrize(
    ("code", "outcome"), [("42", Outcome.CLOSED), ("74", Outcome.UNKNOWN), ("04", Outcome.UNKNOWN)]
)
def test_payment_charged_too_late_ends_when_unionpay_has_given_it_back(code, outcome):
    late = EXPIRES_AT + timedelta(days=14, seconds=1)
    assert make_unionpay(reply(trade(code)), now=late).query(ORDER).outcome is outcome


def test_code_42_of_a_query_itself_ends_nothing():
    late = EXPIRES_AT + timedelta(days=15)
    report = make_unionpay(reply(trade(respCode="42")), now=late).query(ORDER)
    assert (report.outcome, report.needs_person) == (Outcome.UNKNOWN, False)


def test_order_or_refund_that_is_answered_with_charged_too_late_is_not_called_refused():
    with pytest.raises(Unanswered):
        make_unionpay(reply(created("42"))).create(ORDER)
    assert make_unionpay(reply(refund_answer("42"))).refund(REFUND).outcome is Outcome.UNKNOWN
    assert make_unionpay(reply(refund("42"))).query_refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        {"origRespCode": None},
        {"txnType": "04"},
        {"txnType": None},
        {"queryId": None},
        {"queryId": "1" * 65},
        {"txnAmt": None},
        {"txnAmt": "0"},
        {"txnAmt": "012900"},
        {"txnAmt": "129.00"},
        {"txnAmt": "-12900"},
        {"txnAmt": "１２９００"},
        {"txnAmt": "1" * 13},
        {"currencyCode": None},
        {"currencyCode": "15 6"},
        {"traceTime": None},
        {"traceTime": "1321181034"},
        {"traceTime": "112118103"},
        {"traceTime": "0230000000"},
    ],
    ids=str,
)
def test_success_with_a_parameter_missing_or_of_a_wrong_form_is_unknown(change):
    report = make_unionpay(reply(trade(**change))).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize(("code", "currency"), [("840", "840"), ("344", "344"), ("156", "CNY")])
def test_currency_is_reported_as_it_came(code, currency):
    assert make_unionpay(reply(trade(currencyCode=code))).query(ORDER).currency == currency


def test_amount_is_the_trades_and_not_what_was_settled():
    changed = trade(txnAmt="12899", settleAmt="12900")
    assert make_unionpay(reply(changed)).query(ORDER).amount_minor == 12899


def test_payment_over_the_end_of_the_year_gets_its_right_year():
    attempt = replace(ORDER, started_at=datetime(2026, 12, 31, 23, 59, 50, tzinfo=BEIJING))
    answer = trade(txnTime="20261231235950", traceTime="0101000003")
    report = make_unionpay(reply(answer)).query(attempt)
    assert report.paid_at == datetime(2026, 12, 31, 16, 0, 3, tzinfo=UTC)


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_query_without_a_believable_answer_is_unknown(name):
    report = make_unionpay(UNBELIEVABLE[name]).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize("name", ["merId", "orderId", "txnTime"])
def test_missing_trade_is_believed_only_about_the_trade_that_was_asked_for(name):
    for value in (None, "777290000012346"):
        answer = reply({**IDENTITY, "respCode": "34", name: value})
        assert make_unionpay(answer).query(ORDER).outcome is Outcome.UNKNOWN


# ---- close -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "now", "outcome"),
    [
        (trade("05"), NOW, Outcome.OPEN),
        (trade("64"), NOW, Outcome.OPEN),
        (trade(respCode="34"), NOW, Outcome.OPEN),
        (trade(respCode="34"), LATER, Outcome.NOT_FOUND),
        (trade("64"), LATER, Outcome.REFUSED),
        (trade("05"), LATER, Outcome.OPEN),
        (trade("04"), LATER, Outcome.UNKNOWN),
        (trade(respCode="99"), NOW, Outcome.UNKNOWN),
    ],
)
def test_close_only_asks_and_what_can_be_paid_stays_open(answer, now, outcome):
    wire = ScriptedWire(reply(answer))
    assert make_unionpay(wire=wire, now=now).close(ORDER).outcome is outcome
    assert wire.operations == ["query"]


def test_close_of_a_paid_order_reports_the_payment():
    assert make_unionpay(reply(trade())).close(ORDER) == PAID


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_accepted_refund_is_open():
    report = make_unionpay(vector_reply("refund_accepted")).refund(REFUND)
    assert report == RefundReport(
        outcome=Outcome.OPEN, number=REFUND_NUMBER, channel_number=REFUND_QUERY_ID, code="00"
    )


def test_query_of_a_refund_asks_by_its_own_number_and_moment():
    wire = ScriptedWire(reply(refund()))
    assert make_unionpay(wire=wire).query_refund(REFUND) == REFUNDED
    asked = sent_form(wire)
    assert (asked["orderId"], asked["txnTime"]) == (REFUND_NUMBER, "20261122090102")


@pytest.mark.parametrize("code", CODES)
def test_refund_is_read_by_the_table(code):
    report = make_unionpay(reply(refund(code))).query_refund(REFUND)
    assert report.outcome is TRADE_CODES.get(code, Outcome.UNKNOWN)
    assert report.needs_person == (code == "A6")


def test_missing_refund_may_be_sent_again():
    assert (
        make_unionpay(reply({**refund(), "respCode": "34"})).query_refund(REFUND).outcome is Outcome.NOT_FOUND
    )


@pytest.mark.parametrize(
    "change", [{"txnType": "01"}, {"txnAmt": None}, {"txnAmt": "0"}, {"queryId": None}], ids=str
)
def test_refund_with_a_parameter_missing_or_of_a_wrong_form_is_unknown(change):
    assert make_unionpay(reply(refund(**change))).query_refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_refund_query_without_a_believable_answer_is_unknown(name):
    assert make_unionpay(UNBELIEVABLE[name]).query_refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_refund_without_a_believable_answer_is_unknown(name):
    assert make_unionpay(UNBELIEVABLE[name]).refund(REFUND).outcome is Outcome.UNKNOWN


def test_refund_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_unionpay(UNBELIEVABLE["no connection"]).refund(REFUND)


@pytest.mark.parametrize("code", sorted(REFUND_REFUSING))
def test_refund_is_refused_when_the_channel_does_not_know_it_either(code):
    wire = ScriptedWire(reply(refund_answer(code)), reply({**refund(), "respCode": "34"}))
    with pytest.raises(Refused) as refused:
        make_unionpay(wire=wire, now=SURE).refund(REFUND)
    assert refused.value.code == code
    assert wire.operations == ["refund", "query_refund"]


def test_refused_refund_that_may_not_be_visible_yet_is_unknown():
    unionpay = make_unionpay(
        reply(refund_answer("36")), reply({**refund(), "respCode": "34"}), now=REFUND_STARTED_AT
    )
    assert unionpay.refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", ["12", "36", "45"])
def test_repeated_refund_is_reported_as_it_stands_there(code):
    assert make_unionpay(reply(refund_answer(code)), reply(refund()), now=SURE).refund(REFUND) == REFUNDED


def test_duplicate_that_nobody_finds_is_unknown():
    unionpay = make_unionpay(reply(refund_answer("12")), reply({**refund(), "respCode": "34"}), now=SURE)
    assert unionpay.refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_refused_refund_without_a_believable_query_is_unknown(name):
    unionpay = make_unionpay(reply(refund_answer("36")), UNBELIEVABLE[name], now=SURE)
    assert unionpay.refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", ["02", "03", "04", "05", "06", "37", "99", "A6", "ZZ"])
def test_undecided_refund_is_unknown(code):
    report = make_unionpay(reply(refund_answer(code))).refund(REFUND)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, code)


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "USD"},
        {"amount_minor": 0},
        {"amount_minor": 12901},
        {"number": "R-1234567"},
        {"channel_number": ""},
        {"notify_url": "http://shop.example/"},
    ],
    ids=str,
)
def test_impossible_refund_is_refused_before_sending(change):
    wire = ScriptedWire()
    with pytest.raises(Refused):
        make_unionpay(wire=wire).refund(replace(REFUND, **change))
    assert wire.sent == []


# ---- callbacks ---------------------------------------------------------------------------------------------------


def test_published_payment_notification_is_read():
    message = make_unionpay().read_callback(vector_callback("consume_ok"))
    assert message == CallbackMessage(
        message_id=f"{NUMBER}.20261121181005.{QUERY_ID}", kind="01-07", report=PAID
    )


def test_published_refund_notification_is_read():
    message = make_unionpay().read_callback(vector_callback("refund_ok"))
    assert message == CallbackMessage(
        message_id=f"{REFUND_NUMBER}.20261122090102.{REFUND_QUERY_ID}", kind="04-00", report=REFUNDED
    )


def test_notification_has_no_window_and_the_same_id_at_every_try():
    late = make_unionpay(now=NOW + timedelta(days=30)).read_callback(vector_callback("consume_ok"))
    assert late == make_unionpay().read_callback(vector_callback("consume_ok"))


def test_undo_from_the_console_is_a_refund():
    report = make_unionpay().read_callback(callback(notice(txnType="31", origQryId=QUERY_ID))).report
    assert isinstance(report, RefundReport)
    assert report.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "outcome", "code"),
    [
        ({"respCode": "A6"}, Outcome.SUCCEEDED, "A6"),
        ({"respCode": "05"}, Outcome.UNKNOWN, "05"),
        ({"respCode": "64"}, Outcome.UNKNOWN, "64"),
        ({"respCode": None}, Outcome.UNKNOWN, "malformed"),
        ({"txnAmt": "0"}, Outcome.UNKNOWN, "malformed"),
        ({"traceTime": None}, Outcome.UNKNOWN, "malformed"),
        ({"txnType": "02"}, Outcome.UNKNOWN, "02"),
    ],
    ids=str,
)
def test_genuine_notification_is_kept_and_believed_only_when_it_is_a_success(change, outcome, code):
    report = make_unionpay().read_callback(callback(notice(**change))).report
    assert (report.outcome, report.number, report.code) == (outcome, NUMBER, code)


def test_nothing_about_the_payer_is_kept_of_a_notification():
    told = {
        "accNo": "6216***********0018",
        "payCardNo": "6216261000000000018",
        "payCardType": "02",
        "payCardIssueName": "ABC",
        "bindId": "B20261121",
        "customerInfo": "{phoneNo=13552535506}",
        "reserved": "{cardNumberLock=1}",
        "issAddnData": "AAA",
    }
    message = callback(notice(**told))
    assert make_unionpay().read_callback(message).report == PAID
    kept = dict(parse_qsl(make_unionpay().kept_body(message).decode()))
    assert not set(told) & kept.keys()
    assert not any(value in kept.values() for value in told.values())
    assert "signPubKeyCert" not in kept


def test_what_is_kept_of_a_notification_tells_people_of_its_money():
    kept = dict(parse_qsl(make_unionpay().kept_body(vector_callback("refund_ok")).decode()))
    wanted = {
        "merId": MER_ID,
        "orderId": REFUND_NUMBER,
        "txnTime": "20261122090102",
        "txnType": "04",
        "txnAmt": "2900",
        "currencyCode": "156",
        "queryId": REFUND_QUERY_ID,
        "origQryId": QUERY_ID,
        "respCode": "00",
        "settleDate": "1122",
        "traceTime": "1122090103",
    }
    assert wanted.items() <= kept.items()


def test_genuine_notification_for_another_merchant_names_its_number():
    with pytest.raises(NotGenuine) as refused:
        make_unionpay().read_callback(callback(notice(merId="777290000012346")))
    assert (refused.value.reason, refused.value.number) == ("merId", NUMBER)


@pytest.mark.parametrize("name", ["orderId", "txnTime", "queryId", "txnType", "txnSubType"])
def test_notification_that_names_no_trade_is_not_genuine(name):
    with pytest.raises(NotGenuine):
        make_unionpay().read_callback(callback(notice(**{name: None})))


def test_parameters_outside_the_signature_are_not_believed():
    params = seal(notice(txnAmt=None)) | {"txnAmt": ""}
    assert make_unionpay().read_callback(form(params)).report.outcome is Outcome.UNKNOWN
    assert make_unionpay().read_callback(form(seal(notice()) | {"reserved": ""})).report == PAID


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a",
        b"&",
        b"a=1",
        b"\xff",
        b"a=%ff",
        b"=1",
        b"a=1&a=1",
        b"a=1" * 40_000,
        b"&".join([b"a=1"] * 101),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_body_that_is_no_notification_is_not_genuine(body):
    with pytest.raises(NotGenuine):
        make_unionpay().read_callback(RawCallback(headers={}, body=body))


def test_one_text_cannot_be_cut_into_other_parameters():
    """The signed text joins names and values with & and =, so `a=1&b=2` may be two parameters or one."""
    signed = seal(notice(txnA="{x=1&txnAmt=1&txnB=3}", txnAmt=None))
    cut = {name: value for name, value in signed.items() if name != "txnA"}
    cut |= {"txnA": "{x=1", "txnAmt": "1", "txnB": "3}"}
    assert write_text(cut) == write_text(signed)
    with pytest.raises(NotGenuine, match="ambiguous"):
        make_unionpay().read_callback(form(cut))
    joined = seal(notice())
    joined["queryId"] += "&respCode=" + joined.pop("respCode")
    assert write_text(joined) == write_text(seal(notice()))
    with pytest.raises(NotGenuine, match="ambiguous"):
        make_unionpay().read_callback(form(joined))


def test_acknowledgement_is_200_and_a_refusal_is_not():
    assert make_unionpay().acknowledge().status == 200
    assert 400 <= make_unionpay().refuse_callback("signature").status < 500


# ---- who signed --------------------------------------------------------------------------------------------------

EARLY, ENDED = datetime(2027, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
STRANGERS = {
    "by UnionPay's name, from nobody": (STRANGER, MERCHANT_KEY, "chain"),
    "by our own certificate": (with_crlf(MERCHANT["cert_pem"]), MERCHANT_KEY, "signer"),
    "by a bank of the same authority": (certify("041@1@某银行@1", MERCHANT_KEY), MERCHANT_KEY, "signer"),
    "by a name with more parts": (certify(f"041@1@{SIGNER}@1@2", MERCHANT_KEY), MERCHANT_KEY, "signer"),
    "by a name that only contains it": (certify(f"041@1@{SIGNER}x@1", MERCHANT_KEY), MERCHANT_KEY, "signer"),
    "by the test system": (certify("041@Z12@00040000:SIGN@00000062", MERCHANT_KEY), MERCHANT_KEY, "signer"),
    "before its time": (certify(f"041@1@{SIGNER}@1", MERCHANT_KEY, begins=EARLY), MERCHANT_KEY, "validity"),
    "after its time": (certify(f"041@1@{SIGNER}@1", MERCHANT_KEY, ends=ENDED), MERCHANT_KEY, "validity"),
    "by the middle certificate itself": (
        with_crlf(VECTORS["unionpay"]["intermediate_ca_pem"]),
        MERCHANT_KEY,
        "chain",
    ),
    "by another key than the certificate's": (CERTIFICATE, MERCHANT_KEY, "signature"),
    "with no certificate": ("x", MERCHANT_KEY, "certificate"),
    "with a certificate that is none": (CERTIFICATE[:400], MERCHANT_KEY, "certificate"),
    "with a certificate of no version": (of_no_version(CERTIFICATE), MERCHANT_KEY, "certificate"),
    "with a huge certificate": (CERTIFICATE + " " * 8000, MERCHANT_KEY, "certificate"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_notification_signed_by_somebody_else_is_not_genuine(name):
    certificate, key, reason = STRANGERS[name]
    with pytest.raises(NotGenuine) as refused:
        make_unionpay().read_callback(callback(notice(), certificate=certificate, key=key))
    assert refused.value.reason == reason


def test_test_system_is_believed_only_where_it_is_configured():
    trust = Trust(roots=(ROOT,), middles=(MIDDLE,), signer="00040000:SIGN")
    message = callback(
        notice(), certificate=certify("041@Z12@00040000:SIGN@00000062", MERCHANT_KEY), key=MERCHANT_KEY
    )
    assert make_unionpay(trust=trust).read_callback(message).report == PAID
    with pytest.raises(NotGenuine):
        make_unionpay(trust=trust).read_callback(vector_callback("consume_ok"))


def test_certificate_must_lead_to_the_root_and_either_of_two_will_do():
    with pytest.raises(NotGenuine, match="chain"):
        make_unionpay(trust=Trust(roots=(MIDDLE,), middles=(MIDDLE,), signer=SIGNER)).read_callback(
            vector_callback("consume_ok")
        )
    both = Trust(roots=(MIDDLE, ROOT), middles=(ROOT, MIDDLE), signer=SIGNER)
    assert make_unionpay(trust=both).read_callback(vector_callback("consume_ok")).report == PAID


def test_whole_chain_must_be_valid_at_the_moment():
    with pytest.raises(NotGenuine, match="validity"):
        make_unionpay(now=datetime(2045, 1, 1, tzinfo=UTC)).read_callback(vector_callback("consume_ok"))


def test_signer_without_a_name_is_a_mistake_of_the_operator():
    with pytest.raises(BadKey):
        Trust(roots=(ROOT,), middles=(MIDDLE,), signer="")


def test_line_ends_of_the_certificate_are_part_of_what_is_signed():
    params = VECTORS["notifications"]["consume_ok"]["params"]
    unix = params | {"signPubKeyCert": params["signPubKeyCert"].replace("\r\n", "\n")}
    with pytest.raises(NotGenuine, match="signature"):
        make_unionpay().read_callback(form(unix))


# ---- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS["notifications"])
def test_no_damage_of_a_byte_of_a_notification_changes_what_is_believed(name):
    unionpay, genuine = make_unionpay(), vector_callback(name)
    expected = unionpay.read_callback(genuine)
    for place in range(0, len(genuine.body), 3):
        damaged = bytearray(genuine.body)
        damaged[place] ^= 1
        try:
            found = unionpay.read_callback(RawCallback(headers={}, body=bytes(damaged)))
        except NotGenuine:
            continue
        assert found == expected, place


@pytest.mark.parametrize("name", ["query_paid", "query_not_found"])
def test_no_damage_of_a_byte_of_an_answer_changes_what_is_believed(name):
    body = vector_reply(name).body
    expected = make_unionpay(vector_reply(name)).query(ORDER)
    for place in range(0, len(body), 3):
        damaged = bytearray(body)
        damaged[place] ^= 1
        report = make_unionpay(reply(bytes(damaged))).query(ORDER)
        assert report.outcome is Outcome.UNKNOWN or report == expected, place


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_answer_says_nothing(share):
    body = vector_reply("query_paid").body
    report = make_unionpay(reply(body[: int(len(body) * share)])).query(ORDER)
    assert report.outcome is Outcome.UNKNOWN


# ---- reading parameters ------------------------------------------------------------------------------------------


def test_answer_is_not_url_encoded_and_brackets_hold_ampersands():
    params = parse_answer(b"a=x+y %41=\r\nz&b={c=1&d=[2&3]}&e=&f=[1]&g")
    assert params == {"a": "x+y %41=\r\nz", "b": "{c=1&d=[2&3]}", "e": "", "f": "[1]", "g": ""}


def test_notification_is_url_encoded():
    assert parse_form(b"a=x%2By+%41&b=") == {"a": "x+y A", "b": ""}


@pytest.mark.parametrize("name", VECTORS["responses"])
def test_published_answers_are_read_as_their_parameters(name):
    vector = VECTORS["responses"][name]
    params = parse_answer(vector["raw_body_not_urlencoded"].encode())
    assert params == vector["params"]
    assert write_text(params) == vector["string_to_verify"]


def test_moment_of_the_intent_is_written_in_beijing():
    wire = ScriptedWire(reply(created()))
    make_unionpay(wire=wire).create(replace(ORDER, started_at=STARTED_AT.astimezone(UTC)))
    assert sent_form(wire)["txnTime"] == "20261121181005"
