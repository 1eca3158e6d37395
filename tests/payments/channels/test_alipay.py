"""Specification of the Alipay adapter, by tables and published vectors; no database and no network."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from payments.channels.alipay import Alipay, list_alipay_keys
from payments.channels.alipay_reading import ERRORS, GATEWAY_CODES, TRADE_STATES, Meaning
from payments.channels.base import (
    BadStatement,
    CallbackMessage,
    ChannelError,
    LineKind,
    NotGenuine,
    NotReady,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    Refused,
    StatementLine,
    Unanswered,
    Unreachable,
)
from payments.channels.seals import BadKey, verify_rsa_sha256
from payments.channels.wire import Reply

from .alipay_party import (
    ABSENT,
    ALIPAY_PUBLIC,
    APP_ID,
    APP_KEY,
    APP_PUBLIC,
    BILL,
    BILL_TEXT,
    EXPIRES_AT,
    GATEWAY,
    NOW,
    NUMBER,
    ORDER,
    REFUND,
    REFUND_NUMBER,
    SELLER_ID,
    TRADE_NO,
    VECTORS,
    ScriptedWire,
    callback,
    closed,
    code,
    error,
    known,
    make_alipay,
    make_bill,
    raw_reply,
    refunded,
    reply,
    sign_form,
    trade,
    vector_callback,
    vector_fields,
    vector_reply,
)

PAID_AT = datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)
PAID = PaymentReport(
    outcome=Outcome.SUCCEEDED,
    number=NUMBER,
    channel_number=TRADE_NO,
    amount_minor=12900,
    currency="CNY",
    paid_at=PAID_AT,
    code="TRADE_SUCCESS",
)
DONE = RefundReport(
    outcome=Outcome.SUCCEEDED,
    number=REFUND_NUMBER,
    payment_number=NUMBER,
    trade_number=TRADE_NO,
    code="fund_change_Y",
)
WAP, APP = replace(ORDER, scene="wap"), replace(ORDER, scene="app")
# Every way in which an answer may not be what was asked for: nothing of it may be believed.
UNBELIEVABLE: dict[str, Reply | ChannelError] = {
    "no connection": Unreachable("x", code="unreachable"),
    "no answer": Unanswered("x", code="timeout"),
    "unsigned": reply(trade(), signed=False),
    "signed by a stranger": reply(trade(), key=APP_KEY),
    "signed over other text": raw_reply(vector_reply("query_success").body.replace(b"129.00", b"139.00")),
    "signature of another type": raw_reply('{"alipay_trade_query_response":{"code":"10000"},"sign":7}'),
    "another HTTP status": reply(trade(), status=500),
    "empty": raw_reply(""),
    "garbage": raw_reply(b"<<<\xff"),
    "a list": raw_reply("[]"),
    "of another call": reply(trade(), wrapper="alipay_trade_pay_response"),
    "no object inside": reply('"10000"'),
    "no code": reply({"msg": "Success"}),
    "of another order": reply(
        trade(out_trade_no="ND20261121A0000001", out_request_no="NDR1", refund_status="REFUND_SUCCESS")
    ),
}
UNSENT = {"no connection"}


def named(answer, operation):
    """The same answer in the wrapper of another call."""
    if not isinstance(answer, Reply):
        return answer
    wrapper = {"create": b"precreate", "query_refund": b"fastpay_refund_query"}.get(
        operation, operation.encode()
    )
    body = answer.body.replace(b"alipay_trade_query_response", b"alipay_trade_" + wrapper + b"_response")
    return replace(answer, body=body)


# ---- create: a code ----------------------------------------------------------------------------------------------


def test_precreated_order_becomes_a_qr_code():
    created = make_alipay(vector_reply("precreate_ok_escaped_slash")).create(ORDER)
    assert created.action == {"type": "qr", "content": "https://qr.alipay.com/bax0Nd7Qx1Azz"}


def test_order_is_written_as_the_protocol_says():
    wire = ScriptedWire(code())
    make_alipay(wire=wire).create(ORDER)
    sent, fields = wire.sent[0], wire.fields()
    assert (sent["method"], sent["url"]) == ("POST", GATEWAY)
    assert sent["headers"]["Content-Type"] == "application/x-www-form-urlencoded;charset=utf-8"
    assert {name: fields[name] for name in fields if name not in ("biz_content", "sign")} == {
        "app_id": APP_ID,
        "method": "alipay.trade.precreate",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-21 18:10:05",
        "version": "1.0",
        "notify_url": "https://shop.example/notify/alipay/",
    }
    assert wire.content() == {
        "out_trade_no": NUMBER,
        "total_amount": "129.00",
        "subject": "两件T恤 x2",
        "time_expire": "2026-11-21 18:40:00",
        "qr_code_timeout_express": "29m",
    }


@pytest.mark.parametrize("name", ["query", "close", "bill_url"])
def test_call_is_signed_as_the_published_one(name):
    vector = VECTORS["requests"][name]
    call = {
        "query": lambda alipay: alipay.query(ORDER),
        "close": lambda alipay: alipay.close(ORDER),
        "bill_url": lambda alipay: alipay.fetch_statement(date(2026, 11, 20), io.BytesIO()),
    }[name]
    wire = ScriptedWire(Unanswered("x"))
    try:
        call(make_alipay(wire=wire))
    except Unanswered:
        assert name == "bill_url"
    assert wire.fields() == {**vector["params_without_sign"], "sign": vector["sign"]}


@pytest.mark.parametrize("order", [ORDER, WAP, APP], ids=lambda order: order.scene)
def test_every_way_to_pay_is_signed_over_all_its_parameters(order):
    wire = ScriptedWire(code())
    action = make_alipay(wire=wire).create(order).action
    sent = {
        "qr": lambda: wire.sent[0]["body"].decode(),
        "redirect": lambda: urlsplit(action["url"]).query,
        "sdk": lambda: action["params"]["orderString"],
    }[action["type"]]()
    fields = dict(parse_qsl(sent, strict_parsing=True))
    signature = fields.pop("sign")
    text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
    assert verify_rsa_sha256(APP_PUBLIC, signature, text.encode())


def test_repeated_create_tells_the_same_expiry_but_a_shorter_life_of_its_code():
    lives = []
    for minutes in (0, 10, 28, 29.5):
        wire = ScriptedWire(code())
        make_alipay(wire=wire, now=NOW + timedelta(minutes=minutes)).create(ORDER)
        assert wire.content()["time_expire"] == "2026-11-21 18:40:00"
        lives.append(wire.content()["qr_code_timeout_express"])
    assert lives == ["29m", "19m", "1m", "1m"]


@pytest.mark.parametrize(
    ("fen", "yuan"), [(1, "0.01"), (10, "0.10"), (12900, "129.00"), (10**10, "100000000.00")]
)
def test_amount_is_written_in_yuan_with_two_places(fen, yuan):
    wire = ScriptedWire(code())
    make_alipay(wire=wire).create(replace(ORDER, amount_minor=fen))
    assert wire.content()["total_amount"] == yuan


def test_subject_has_none_of_the_characters_that_alipay_wants_not():
    wire = ScriptedWire(code())
    make_alipay(wire=wire).create(replace(ORDER, description="a/b&c=d"))
    assert wire.content()["subject"] == "a b c d"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scene": "page"}, "scene"),
        ({"scene": "voucher"}, "scene"),
        ({"currency": "USD"}, "currency"),
        ({"amount_minor": 0}, "amount"),
        ({"amount_minor": -1}, "amount"),
        ({"amount_minor": 10**10 + 1}, "amount"),
        ({"number": ""}, "number"),
        ({"number": "N" * 65}, "number"),
        ({"number": "ND-1"}, "number"),
        ({"number": "NDé"}, "number"),
        ({"number": NUMBER + "\n"}, "number"),
        ({"description": ""}, "description"),
        ({"description": "恤" * 257}, "description"),
        ({"notify_url": "http://shop.example/notify/"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 256}, "notify_url"),
        ({"scene": "wap", "return_url": "javascript:alert(1)"}, "return_url"),
        ({"expires_at": NOW}, "expires_at"),
    ],
)
@pytest.mark.parametrize("scene", ["qr", "wap", "app"])
def test_impossible_order_is_refused_before_anything_is_made(scene, change, field):
    wire = ScriptedWire()
    with pytest.raises(Refused, match=field) as refused:
        make_alipay(wire=wire).create(replace(ORDER, **{"scene": scene, **change}))
    assert refused.value.code == f"invalid_{field}"
    assert wire.sent == []


@pytest.mark.parametrize("sub_code", ERRORS)
@pytest.mark.parametrize("prefix", ["ACQ.", "AQC.", "acq."])
def test_create_is_refused_only_by_a_final_code(prefix, sub_code):
    expected = Refused if ERRORS[sub_code] is Meaning.REFUSED else Unanswered
    with pytest.raises(expected) as caught:
        make_alipay(error(prefix + sub_code)).create(ORDER)
    assert type(caught.value) is expected
    assert caught.value.code == prefix + sub_code


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("wrapper", ["error_response", "alipay_trade_precreate_response"])
@pytest.mark.parametrize("top", GATEWAY_CODES)
def test_refusal_of_the_gateway_itself_ends_a_create_signed_or_not(top, wrapper, signed):
    answer = reply(error("isv.invalid-signature", top), wrapper=wrapper, signed=signed)
    with pytest.raises(Refused) as refused:
        make_alipay(answer).create(ORDER)
    assert refused.value.code == "isv.invalid-signature"


def test_refusal_of_the_gateway_with_a_bad_signature_refuses_nothing():
    answer = reply(error("isv.invalid-signature", "40002"), wrapper="error_response", key=APP_KEY)
    with pytest.raises(Unanswered) as unanswered:
        make_alipay(answer).create(ORDER)
    assert unanswered.value.code == "unverified"


def test_unsigned_business_refusal_refuses_nothing():
    with pytest.raises(Unanswered) as unanswered:
        make_alipay(reply(error("ACQ.INVALID_PARAMETER"), operation="create", signed=False)).create(ORDER)
    assert unanswered.value.code == "unverified"


@pytest.mark.parametrize("top", ["20000", "40005", "10003", "40099", "99999"])
def test_any_other_code_leaves_a_create_unanswered(top):
    with pytest.raises(Unanswered) as unanswered:
        make_alipay(error("isp.unknow-error", top)).create(ORDER)
    assert unanswered.value.code == "isp.unknow-error"


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - UNSENT))
def test_create_without_a_believable_answer_is_unanswered(name):
    with pytest.raises(Unanswered):
        make_alipay(named(UNBELIEVABLE[name], "create")).create(ORDER)


def test_create_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_alipay(UNBELIEVABLE["no connection"]).create(ORDER)


@pytest.mark.parametrize("qr_code", [None, "", 7, "a b", "x" * 513])
def test_create_answer_without_a_usable_code_is_unanswered(qr_code):
    with pytest.raises(Unanswered) as unanswered:
        make_alipay(code(qr_code=qr_code)).create(ORDER)
    assert unanswered.value.code == "malformed"


# ---- create: a link and an order string ----------------------------------------------------------------------------


def test_wap_order_is_a_signed_link_made_without_a_call():
    wire = ScriptedWire()
    action = make_alipay(wire=wire).create(WAP).action
    fields = dict(parse_qsl(urlsplit(action["url"]).query))
    assert action["type"] == "redirect"
    assert action["url"].startswith(f"{GATEWAY}?app_id={APP_ID}&")
    assert (fields["method"], fields["return_url"]) == ("alipay.trade.wap.pay", ORDER.return_url)
    assert json.loads(fields["biz_content"]) == {
        "out_trade_no": NUMBER,
        "total_amount": "129.00",
        "subject": "两件T恤 x2",
        "time_expire": "2026-11-21 18:40:00",
        "product_code": "QUICK_WAP_WAY",
        "quit_url": ORDER.return_url,
    }
    assert wire.sent == []


def test_app_order_is_a_signed_string_made_without_a_call():
    wire = ScriptedWire()
    action = make_alipay(wire=wire).create(APP).action
    fields = dict(parse_qsl(action["params"]["orderString"]))
    assert (action["type"], fields["method"]) == ("sdk", "alipay.trade.app.pay")
    assert json.loads(fields["biz_content"]) == {
        "out_trade_no": NUMBER,
        "total_amount": "129.00",
        "subject": "两件T恤 x2",
        "time_expire": "2026-11-21 18:40:00",
        "product_code": "QUICK_MSECURITY_PAY",
    }
    assert wire.sent == []


# ---- the life of a payment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["qr", "wap", "app"])
@pytest.mark.parametrize(("expires_in_s", "dead_in_s"), [(1800, 1920), (1, 121), (0, 120), (-600, 120)])
def test_payment_is_dead_after_the_life_of_a_last_code_and_a_margin(scene, expires_in_s, dead_in_s):
    expires_at = NOW + timedelta(seconds=expires_in_s)
    dead_at = make_alipay().dead_at(scene=scene, expires_at=expires_at, now=NOW)
    assert dead_at == NOW + timedelta(seconds=dead_in_s)


@pytest.mark.parametrize("before_s", [1, 30, 59, 61, 119, 1800])
def test_code_of_any_moment_is_dead_before_dead_at(before_s):
    then = EXPIRES_AT - timedelta(seconds=before_s)
    wire = ScriptedWire(code())
    alipay = make_alipay(wire=wire, now=then)
    alipay.create(ORDER)
    minutes = int(wire.content()["qr_code_timeout_express"].removesuffix("m"))
    dead_at = alipay.dead_at(scene="qr", expires_at=EXPIRES_AT, now=NOW)
    assert then + timedelta(minutes=minutes) < dead_at


def test_scenes_and_currency_are_those_that_are_offered():
    assert make_alipay().scenes() == {"qr", "wap", "app"}
    assert make_alipay().currencies == {"CNY"}
    assert make_alipay().repeat == "same_number"


# ---- query -------------------------------------------------------------------------------------------------------


def test_published_answer_about_a_paid_trade_is_read():
    assert make_alipay(vector_reply("query_success")).query(ORDER) == PAID


def test_published_answer_with_braces_in_a_string_is_verified_and_read():
    report = make_alipay(vector_reply("query_braces_in_string")).query(ORDER)
    assert (report.outcome, report.code) == (Outcome.OPEN, "WAIT_BUYER_PAY")


def test_published_answer_about_a_code_that_nobody_scanned_is_not_found():
    report = make_alipay(vector_reply("query_not_exist")).query(ORDER)
    assert report == PaymentReport(outcome=Outcome.NOT_FOUND, number=NUMBER, code="ACQ.TRADE_NOT_EXIST")


@pytest.mark.parametrize("other", [None, "ND20261121A0000001"])
def test_missing_trade_that_is_not_named_as_ours_is_unknown(other):
    report = make_alipay(error("ACQ.TRADE_NOT_EXIST", out_trade_no=other)).query(ORDER)
    assert report.outcome is Outcome.UNKNOWN


def test_unsigned_missing_trade_is_unknown():
    answer = reply(error("ACQ.TRADE_NOT_EXIST"), signed=False)
    assert make_alipay(answer).query(ORDER).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("state", [*TRADE_STATES, "NEWSTATE", "trade_success", "TRADE_SUCCESS "])
def test_trade_status_is_read_by_the_table(state):
    report = make_alipay(trade(state, send_pay_date=None if state == "TRADE_CLOSED" else PAID_TEXT)).query(
        ORDER
    )
    assert report.outcome is TRADE_STATES.get(state, Outcome.UNKNOWN)
    assert report.number == NUMBER


PAID_TEXT = "2026-11-21 18:10:34"


def test_trade_states_are_those_of_the_documentation():
    assert Counter(TRADE_STATES.values()) == {Outcome.SUCCEEDED: 2, Outcome.OPEN: 1, Outcome.CLOSED: 1}
    assert TRADE_STATES["TRADE_CLOSED"] is Outcome.CLOSED


def test_closed_trade_that_was_paid_is_paid():
    assert make_alipay(trade("TRADE_CLOSED")).query(ORDER) == replace(
        PAID, code="TRADE_CLOSED", needs_person=True
    )


@pytest.mark.parametrize("date_of_pay", [None, ""])
def test_closed_trade_that_was_never_paid_is_closed(date_of_pay):
    report = make_alipay(trade("TRADE_CLOSED", send_pay_date=date_of_pay)).query(ORDER)
    assert report == PaymentReport(outcome=Outcome.CLOSED, number=NUMBER, code="TRADE_CLOSED")


def test_unpaid_trade_needs_none_of_the_fields_of_a_paid_one():
    unpaid = trade("WAIT_BUYER_PAY", trade_no=None, send_pay_date=None, total_amount=None)
    assert make_alipay(unpaid).query(ORDER).outcome is Outcome.OPEN


def test_amount_is_that_of_the_order_and_not_what_a_discount_left():
    assert (
        make_alipay(trade(buyer_pay_amount="0.01", receipt_amount="0.02")).query(ORDER).amount_minor == 12900
    )


@pytest.mark.parametrize(
    ("text", "fen"), [("0.01", 1), ("129", 12900), ("129.0", 12900), ("100000000.00", 10**10)]
)
def test_amount_is_reported_in_fen_as_it_came(text, fen):
    assert make_alipay(trade(total_amount=text)).query(ORDER).amount_minor == fen


def test_currency_of_a_trade_that_names_one_is_reported_as_it_came():
    assert make_alipay(trade(trans_currency="USD")).query(ORDER).currency == "USD"


@pytest.mark.parametrize(
    "change",
    [
        {"trade_status": None},
        {"trade_status": ["TRADE_SUCCESS"]},
        {"trade_no": None},
        {"trade_no": 2026112122001400001234567890},
        {"trade_no": "2" * 65},
        {"send_pay_date": None},
        {"send_pay_date": "2026-11-21T18:10:34"},
        {"send_pay_date": "2026-11-21 18:10:34+08:00"},
        {"send_pay_date": "2026-13-21 18:10:34"},
        {"send_pay_date": "٢026-11-21 18:10:34"},
        {"total_amount": None},
        {"total_amount": 129.0},
        {"total_amount": 129},
        {"total_amount": "129.000"},
        {"total_amount": "1e2"},
        {"total_amount": "-129.00"},
        {"total_amount": "0.00"},
        {"total_amount": " 129.00"},
        {"total_amount": "１２９"},
        {"total_amount": "1,290.00"},
        {"trans_currency": "RENMINBI"},
    ],
    ids=str,
)
def test_success_with_a_field_missing_or_of_a_wrong_shape_is_unknown(change):
    report = make_alipay(trade(**change)).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_query_without_a_believable_answer_is_unknown(name):
    report = make_alipay(UNBELIEVABLE[name]).query(ORDER)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize("sub_code", [*ERRORS, "NEW_CODE", ""])
def test_query_finds_nothing_only_by_its_code(sub_code):
    report = make_alipay(error(f"ACQ.{sub_code}")).query(ORDER)
    is_missing = ERRORS.get(sub_code) is Meaning.MISSING
    assert report.outcome is (Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN)


@pytest.mark.parametrize("top", ["20000", "20001", "40001", "40002", "40005", "40006", "50000"])
def test_missing_trade_under_another_top_code_is_unknown(top):
    assert make_alipay(error("ACQ.TRADE_NOT_EXIST", top)).query(ORDER).outcome is Outcome.UNKNOWN


# ---- answers are believed as they were sent, or not at all ---------------------------------------------------------


def test_answer_is_verified_over_its_text_and_not_over_what_it_means():
    inner = (
        '{ "code" : "10000",\n"out_trade_no":"'
        + NUMBER
        + '","trade_status":"WAIT_BUYER_PAY","x":"\\u4e24\\/" }'
    )
    assert make_alipay(reply(inner)).query(ORDER).outcome is Outcome.OPEN


@pytest.mark.parametrize(
    "inside", ["}", "{", '\\"}', '},\\"sign\\":\\"', '\\"alipay_trade_query_response\\":{', "\\\\", "两"]
)
def test_end_of_the_signed_text_is_found_whatever_a_string_holds(inside):
    inner = (
        f'{{"subject":"{inside}","code":"10000","out_trade_no":"{NUMBER}","trade_status":"WAIT_BUYER_PAY"}}'
    )
    assert make_alipay(reply(inner)).query(ORDER).outcome is Outcome.OPEN


@pytest.mark.parametrize(
    "body",
    [
        '{{"sign":"{sign}","alipay_trade_query_response":{inner}}}',
        ' {{ "alipay_trade_query_response" : {inner} , "sign" : "{sign}" }}\n',
        '{{"alipay_cert_sn":"a5b5","alipay_trade_query_response":{inner},"sign":"{sign}"}}',
    ],
)
def test_order_and_blanks_around_the_signed_text_do_not_matter(body):
    whole = vector_reply("query_success").body.decode()
    inner, sign = VECTORS["responses"]["query_success"]["inner_signed_text"], json.loads(whole)["sign"]
    assert make_alipay(raw_reply(body.format(inner=inner, sign=sign))).query(ORDER) == PAID


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + "{}",
        lambda body: body[:-1],
        lambda body: body + ",",
        lambda body: body.replace('"sign":"', '"sign":"\\u0020'),
        lambda body: body.replace("==", ""),
        lambda body: "x" + body,
        lambda body: body[:-1] + "," + body[1:],
        lambda body: body.replace("_query_response", "_query_responsE"),
        lambda body: body.replace('"129.00","trade_no"', '"129.00","total_amount":"129.00","trade_no"'),
    ],
)
def test_answer_that_is_cut_lengthened_or_doubled_is_unknown(change):
    body = vector_reply("query_success").body.decode()
    assert change(body) != body
    assert make_alipay(raw_reply(change(body))).query(ORDER).outcome is Outcome.UNKNOWN


def test_answer_with_any_single_byte_changed_says_the_same_or_nothing():
    body = vector_reply("query_success").body
    for place in range(len(body)):
        damaged = bytearray(body)
        damaged[place] ^= 1
        report = make_alipay(raw_reply(bytes(damaged))).query(ORDER)
        assert report.outcome is Outcome.UNKNOWN, place


def test_answer_cut_anywhere_is_unknown():
    body = vector_reply("query_success").body
    assert not [
        end
        for end in range(len(body))
        if make_alipay(raw_reply(body[:end])).query(ORDER).outcome is not Outcome.UNKNOWN
    ]


def test_answer_of_either_known_key_is_believed():
    for keys in ([ALIPAY_PUBLIC, APP_PUBLIC], [APP_PUBLIC, ALIPAY_PUBLIC]):
        assert make_alipay(vector_reply("query_success"), alipay_keys=keys).query(ORDER) == PAID
    assert make_alipay(trade(), alipay_keys=[APP_PUBLIC]).query(ORDER).outcome is Outcome.UNKNOWN


def test_deeply_nested_answer_is_unknown():
    body = '{"alipay_trade_query_response":' + "[" * 100_000
    assert make_alipay(raw_reply(body)).query(ORDER).outcome is Outcome.UNKNOWN


# ---- close -------------------------------------------------------------------------------------------------------


def test_close_of_an_unpaid_trade_is_closed():
    wire = ScriptedWire(closed())
    assert make_alipay(wire=wire).close(ORDER) == PaymentReport(outcome=Outcome.CLOSED, number=NUMBER)
    assert wire.fields()["method"] == "alipay.trade.close"
    assert wire.content() == {"out_trade_no": NUMBER}


def test_code_that_nobody_scanned_cannot_be_closed():
    wire = ScriptedWire(error("ACQ.TRADE_NOT_EXIST", out_trade_no=None))
    assert make_alipay(wire=wire).close(ORDER).outcome is Outcome.NOT_FOUND
    assert wire.operations == ["close"]  # and is not cancelled, which refunds what was paid a moment ago


ENDED = sorted(name for name in ERRORS if ERRORS[name] in (Meaning.PAID, Meaning.ENDED))


@pytest.mark.parametrize("sub_code", ENDED)
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (trade(), Outcome.SUCCEEDED),
        (trade("TRADE_FINISHED"), Outcome.SUCCEEDED),
        (trade("TRADE_CLOSED"), Outcome.SUCCEEDED),
        (trade("TRADE_CLOSED", send_pay_date=None), Outcome.CLOSED),
        (trade("WAIT_BUYER_PAY"), Outcome.UNKNOWN),
        (trade("NEW"), Outcome.UNKNOWN),
        (error("ACQ.TRADE_NOT_EXIST"), Outcome.UNKNOWN),
    ],
)
def test_paid_or_closed_before_is_believed_by_a_query_only(sub_code, answer, outcome):
    wire = ScriptedWire(error(f"ACQ.{sub_code}"), answer)
    report = make_alipay(wire=wire).close(ORDER)
    assert report.outcome is outcome
    assert wire.operations == ["close", "query"]
    assert (report.amount_minor is not None) == (outcome is Outcome.SUCCEEDED)


@pytest.mark.parametrize("sub_code", [*sorted(ERRORS.keys() - set(ENDED)), "NEW_CODE"])
def test_close_error_closes_nothing(sub_code):
    report = make_alipay(error(f"ACQ.{sub_code}")).close(ORDER)
    is_missing = ERRORS.get(sub_code) is Meaning.MISSING
    assert report.outcome is (Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_close_without_a_believable_answer_is_unknown(name):
    assert make_alipay(named(UNBELIEVABLE[name], "close")).close(ORDER).outcome is Outcome.UNKNOWN
    wire = ScriptedWire(error("ACQ.TRADE_STATUS_ERROR"), UNBELIEVABLE[name])
    assert make_alipay(wire=wire).close(ORDER).outcome is Outcome.UNKNOWN


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_refund_is_written_as_the_protocol_says():
    wire = ScriptedWire(refunded())
    make_alipay(wire=wire).refund(REFUND)
    assert wire.fields()["method"] == "alipay.trade.refund"
    assert wire.content() == {
        "out_trade_no": NUMBER,
        "trade_no": TRADE_NO,
        "refund_amount": "29.00",
        "out_request_no": REFUND_NUMBER,
        "refund_reason": "size",
    }


def test_refund_without_a_reason_sends_none():
    wire = ScriptedWire(refunded())
    make_alipay(wire=wire).refund(replace(REFUND, reason=""))
    assert "refund_reason" not in wire.content()


def test_refund_that_moved_money_is_done_and_its_sum_over_all_refunds_is_no_amount():
    assert make_alipay(vector_reply("refund_ok_fund_change_Y")).refund(REFUND) == DONE
    assert make_alipay(refunded(refund_fee="58.00")).refund(REFUND).amount_minor is None


@pytest.mark.parametrize("fund_change", ["N", None, "", "y", "X"])
def test_refund_that_moved_nothing_is_decided_by_a_query(fund_change):
    wire = ScriptedWire(refunded(fund_change), known())
    report = make_alipay(wire=wire).refund(REFUND)
    assert report == replace(DONE, amount_minor=2900, code="REFUND_SUCCESS")
    assert wire.operations == ["refund", "query_refund"]


@pytest.mark.parametrize("answer", [ABSENT, known("REFUND_PROCESSING"), error("ACQ.SYSTEM_ERROR")], ids=str)
def test_refund_that_moved_nothing_and_is_not_known_is_unknown(answer):
    assert make_alipay(refunded("N"), answer).refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("change", [{"out_trade_no": "ND2"}, {"trade_no": "2026"}, {"out_trade_no": None}])
def test_refund_answer_about_another_trade_is_unknown(change):
    report = make_alipay(refunded(**change)).refund(REFUND)
    assert report == RefundReport(outcome=Outcome.UNKNOWN, number=REFUND_NUMBER, code="about_another")


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "USD"},
        {"amount_minor": 0},
        {"amount_minor": 12901},
        {"number": ""},
        {"number": "N" * 65},
        {"number": "ND/1"},
        {"reason": "r" * 257},
    ],
    ids=str,
)
def test_impossible_refund_is_refused_before_sending(change):
    wire = ScriptedWire()
    with pytest.raises(Refused):
        make_alipay(wire=wire).refund(replace(REFUND, **change))
    assert wire.sent == []


UNDECIDED = sorted(name for name in ERRORS if ERRORS[name] is Meaning.UNDECIDED)
REFUSING = sorted(ERRORS.keys() - set(UNDECIDED))


@pytest.mark.parametrize("sub_code", REFUSING)
@pytest.mark.parametrize("answer", [ABSENT, error("ACQ.TRADE_NOT_EXIST")], ids=["absent", "no trade"])
def test_refund_is_refused_when_alipay_does_not_know_it_either(sub_code, answer):
    wire = ScriptedWire(error(f"ACQ.{sub_code}"), answer)
    with pytest.raises(Refused) as refused:
        make_alipay(wire=wire).refund(REFUND)
    assert refused.value.code == f"ACQ.{sub_code}"
    assert wire.operations == ["refund", "query_refund"]


@pytest.mark.parametrize("sub_code", REFUSING)
def test_refused_refund_that_alipay_knows_is_reported_as_it_stands_there(sub_code):
    report = make_alipay(error(f"ACQ.{sub_code}"), known(refund_amount="30.00")).refund(REFUND)
    assert (report.outcome, report.amount_minor) == (Outcome.SUCCEEDED, 3000)


@pytest.mark.parametrize("age_s", [-5, 0, 10, 14.9])
def test_refusal_of_a_refund_that_alipay_may_not_know_yet_is_unknown(age_s):
    request = replace(REFUND, started_at=NOW - timedelta(seconds=age_s))
    report = make_alipay(error("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"), ABSENT).refund(request)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_refused_refund_without_a_believable_query_is_unknown(name):
    wire = ScriptedWire(error("ACQ.TRADE_HAS_FINISHED"), named(UNBELIEVABLE[name], "query_refund"))
    assert make_alipay(wire=wire).refund(REFUND).outcome is Outcome.UNKNOWN


def test_refusal_of_the_gateway_is_no_refusal_of_a_refund_while_it_does_not_say_what_it_knows():
    unsigned = reply(error("isv.invalid-signature", "40002"), wrapper="error_response", signed=False)
    assert make_alipay(unsigned, unsigned).refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("sub_code", [*UNDECIDED, "NEW_CODE", "AQC.SYSTEM_ERROR"])
def test_undecided_refund_error_is_unknown(sub_code):
    report = make_alipay(error(f"ACQ.{sub_code}")).refund(REFUND)
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, f"ACQ.{sub_code}")


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - UNSENT))
def test_refund_without_a_believable_answer_is_unknown(name):
    assert make_alipay(named(UNBELIEVABLE[name], "refund")).refund(REFUND).outcome is Outcome.UNKNOWN


def test_refund_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_alipay(UNBELIEVABLE["no connection"]).refund(REFUND)


# ---- asking about refunds ----------------------------------------------------------------------------------------


def test_refund_is_asked_for_by_both_numbers():
    wire = ScriptedWire(known())
    assert make_alipay(wire=wire).query_refund(REFUND) == replace(
        DONE, amount_minor=2900, code="REFUND_SUCCESS"
    )
    assert wire.content() == {"out_trade_no": NUMBER, "trade_no": TRADE_NO, "out_request_no": REFUND_NUMBER}


def test_success_of_the_query_with_nothing_in_it_is_not_found():
    report = make_alipay(ABSENT).query_refund(REFUND)
    assert report == RefundReport(outcome=Outcome.NOT_FOUND, number=REFUND_NUMBER, code="absent")


def test_refund_of_a_missing_trade_is_not_found():
    assert make_alipay(error("ACQ.TRADE_NOT_EXIST")).query_refund(REFUND).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"refund_status": None},
        {"refund_status": "REFUND_PROCESSING"},
        {"refund_status": "REFUND_FAIL"},
        {"refund_status": 1},
        {"refund_amount": None},
        {"refund_amount": 29.0},
        {"refund_amount": "0.00"},
        {"refund_amount": "29.001"},
        {"out_request_no": None},
        {"out_request_no": "NDR1"},
        {"out_trade_no": "ND1"},
        {"trade_no": "2026"},
    ],
    ids=str,
)
def test_known_refund_with_a_field_missing_or_wrong_is_unknown(change):
    report = make_alipay(known(**change)).query_refund(REFUND)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, REFUND_NUMBER, None)


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_refund_query_without_a_believable_answer_is_unknown(name):
    report = make_alipay(named(UNBELIEVABLE[name], "query_refund")).query_refund(REFUND)
    assert report.outcome is Outcome.UNKNOWN


# ---- callbacks: genuine ------------------------------------------------------------------------------------------


def test_published_payment_notification_is_read():
    assert make_alipay().read_callback(vector_callback()) == CallbackMessage(
        message_id="2026112101222181034000001234567890", kind="trade_status_sync", report=PAID
    )


@pytest.mark.parametrize(
    ("name", "number", "state"),
    [
        ("partial_refund", "NDR20261122A0000002", "TRADE_SUCCESS"),
        ("full_refund_trade_closed", "NDR20261122A0000003", "TRADE_CLOSED"),
    ],
)
def test_published_refund_notification_is_read_without_an_amount(name, number, state):
    assert make_alipay().read_callback(vector_callback(name)).report == RefundReport(
        outcome=Outcome.SUCCEEDED,
        number=number,
        payment_number=NUMBER,
        trade_number=TRADE_NO,
        amount_minor=None,
        code=state,
    )


def test_refund_that_was_made_in_alipays_console_is_read_under_the_consoles_number():
    report = (
        make_alipay().read_callback(callback("full_refund_trade_closed", out_biz_no="2026112200001")).report
    )
    assert isinstance(report, RefundReport)
    assert (report.outcome, report.number, report.payment_number) == (
        Outcome.SUCCEEDED,
        "2026112200001",
        NUMBER,
    )


@pytest.mark.parametrize(
    "change", [{"out_biz_no": None}, {"trade_no": None}, {"out_trade_no": "a b"}], ids=str
)
def test_refund_notification_that_does_not_name_refund_and_trade_is_unknown(change):
    report = make_alipay().read_callback(callback("partial_refund", **change)).report
    assert isinstance(report, RefundReport)
    assert report.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("state", [*TRADE_STATES, "NEWSTATE"])
def test_trade_status_of_a_notification_is_read_by_the_table(state):
    paid = None if state in ("TRADE_CLOSED", "WAIT_BUYER_PAY") else PAID_TEXT
    report = make_alipay().read_callback(callback(trade_status=state, gmt_payment=paid)).report
    assert isinstance(report, PaymentReport)
    assert (report.outcome, report.number) == (TRADE_STATES.get(state, Outcome.UNKNOWN), NUMBER)


def test_finished_trade_is_paid_although_it_still_tells_its_last_refund():
    report = make_alipay().read_callback(callback("partial_refund", trade_status="TRADE_FINISHED")).report
    assert report == replace(PAID, code="TRADE_FINISHED")


def test_closed_trade_that_was_paid_is_paid_also_without_news_of_a_refund():
    report = make_alipay().read_callback(callback(trade_status="TRADE_CLOSED")).report
    assert report == replace(PAID, code="TRADE_CLOSED", needs_person=True)


def test_genuine_message_of_an_unknown_kind_is_kept_as_unknown():
    message = make_alipay().read_callback(callback(notify_type="open_app_auth_notify"))
    assert message.kind == "open_app_auth_notify"
    assert message.report == PaymentReport(
        outcome=Outcome.UNKNOWN, number=NUMBER, code="open_app_auth_notify"
    )


@pytest.mark.parametrize(
    "change",
    [{"total_amount": None}, {"total_amount": "12,9"}, {"gmt_payment": None}, {"trade_status": None}],
    ids=str,
)
def test_genuine_success_that_cannot_be_read_is_unknown(change):
    report = make_alipay().read_callback(callback(**change)).report
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, "malformed")


def test_amount_is_reported_as_it_came():
    report = make_alipay().read_callback(callback(total_amount="0.01", trans_currency="USD")).report
    assert isinstance(report, PaymentReport)
    assert (report.outcome, report.amount_minor, report.currency) == (Outcome.SUCCEEDED, 1, "USD")


def test_unknown_fields_are_part_of_what_is_signed():
    raw = callback(new_field="新")
    assert make_alipay().read_callback(raw).report == PAID
    assert (
        refused(RawCallback(headers={}, body=raw.body.replace(b"&new_field=%E6%96%B0", b""))) == "signature"
    )


def test_empty_fields_are_not_covered_and_say_nothing():
    raw = vector_callback()
    padded = RawCallback(headers={}, body=raw.body + b"&gmt_refund=&out_biz_no=")
    assert make_alipay().read_callback(padded).report == PAID


@pytest.mark.parametrize("age", [timedelta(days=2), timedelta(days=400), -timedelta(days=1)])
def test_age_of_a_notification_cannot_be_judged(age):
    assert make_alipay(now=NOW + age).read_callback(vector_callback()).report == PAID


# ---- callbacks: not genuine --------------------------------------------------------------------------------------


def refused(raw: RawCallback, **how) -> str:
    with pytest.raises(NotGenuine) as error:
        make_alipay(**how).read_callback(raw)
    return error.value.reason


@pytest.mark.parametrize("name", ["trade_success", "partial_refund", "full_refund_trade_closed"])
def test_no_damage_of_any_byte_changes_what_is_believed(name):
    alipay, raw = make_alipay(), vector_callback(name)
    genuine = alipay.read_callback(raw)
    for place in range(len(raw.body)):
        body = bytearray(raw.body)
        body[place] ^= 1 if place % 2 else 32
        try:
            assert alipay.read_callback(RawCallback(headers={}, body=bytes(body))) == genuine, place
        except NotGenuine:
            continue


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"&",
        lambda body: body + b"&x",
        lambda body: body + b"&x=1",
        lambda body: body + b"&trade_status=TRADE_SUCCESS",
        lambda body: body + b"&sign=AAAA",
        lambda body: body.replace(b"subject=", b"subject=\xe4"),
        lambda body: body.replace(b"subject=", b"subject=%E4"),
        lambda body: body.replace(b"sign_type=RSA2", b"sign_type=RSA"),
        lambda body: body.replace(b"sign_type=RSA2", b"sign_type="),
        lambda body: body.replace(b"&sign=", b"&sing="),
        lambda body: body.replace(b"%2B", b"+"),
        lambda body: body.replace(b"total_amount=129.00", b"total_amount=1.00"),
    ],
)
def test_form_that_was_changed_is_refused(change):
    raw = vector_callback()
    assert change(raw.body) != raw.body
    assert refused(RawCallback(headers={}, body=change(raw.body)))


def test_nothing_about_the_payer_is_kept_of_a_notification():
    told = {
        "buyer_id": "2088100000000001",
        "buyer_logon_id": "138******00",
        "buyer_open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5",
        "fund_bill_list": '[{"amount":"129.00","fundChannel":"BANKCARD","bankCode":"ABC"}]',
        "receiver_address": "1 Nanjing Road",
    }
    message = callback(**told)
    make_alipay().read_callback(message)
    kept = dict(parse_qsl(make_alipay().kept_body(message).decode()))
    assert not set(told) & kept.keys()
    assert not any(value in kept.values() for value in told.values())
    assert "sign" not in kept


def test_what_is_kept_of_a_notification_tells_people_of_its_money():
    kept = dict(parse_qsl(make_alipay().kept_body(vector_callback("partial_refund")).decode()))
    wanted = {
        "out_trade_no": "ND20261121A0000002",
        "trade_no": "2026112122001400001234567890",
        "trade_status": "TRADE_SUCCESS",
        "total_amount": "129.00",
        "refund_fee": "29.00",
        "out_biz_no": "NDR20261122A0000002",
        "gmt_payment": "2026-11-21 18:10:34",
        "notify_id": "2026112201222090103000001234567890",
    }
    assert wanted.items() <= kept.items()


def test_notification_signed_by_another_key_is_refused():
    assert refused(callback(key=APP_KEY)) == "signature"


def test_notification_signed_with_the_fields_of_a_request_is_refused():
    fields = {**vector_fields(), "sign_type": "RSA2"}
    sealed = dict(parse_qsl(sign_form(fields).body.decode()))
    assert refused(RawCallback(headers={}, body=urlencode(sealed).encode())) == "signature"


def test_fields_cannot_move_into_a_neighbour_under_the_same_signature():
    fields = vector_fields("partial_refund")
    hidden = fields.pop("gmt_refund")
    fields["gmt_payment"] += f"&gmt_refund={hidden}"
    body = vector_callback("partial_refund").body.decode()
    sealed = {**fields, "sign_type": "RSA2", "sign": dict(parse_qsl(body))["sign"]}
    assert refused(RawCallback(headers={}, body=urlencode(sealed).encode())) == "ambiguous"


def test_field_cannot_take_its_neighbour_into_its_name():
    fields = vector_fields()
    fields["version=1.0&x"] = "1"
    assert refused(sign_form(fields)) == "form"


@pytest.mark.parametrize("name", ["app_id", "seller_id"])
@pytest.mark.parametrize("value", ["2088000000000000", None])
def test_notification_of_another_account_is_refused_and_says_which_payment_it_names(name, value):
    with pytest.raises(NotGenuine) as error:
        make_alipay().read_callback(callback(**{name: value}))
    assert (error.value.reason, error.value.number) == (name, NUMBER)


@pytest.mark.parametrize(
    "change", [{"notify_id": None}, {"notify_id": "a b"}, {"notify_id": "1" * 65}, {"notify_type": None}]
)
def test_signed_notification_without_a_usable_id_or_kind_is_refused(change):
    assert refused(callback(**change)) == "body"


def test_notification_of_either_known_key_is_believed():
    assert (
        make_alipay(alipay_keys=[APP_PUBLIC, ALIPAY_PUBLIC]).read_callback(vector_callback()).report == PAID
    )


# ---- callbacks: what we answer -----------------------------------------------------------------------------------


def test_acknowledgement_is_exactly_the_word_success():
    answer = make_alipay().acknowledge()
    assert (answer.status, answer.body, answer.content_type) == (200, b"success", "text/plain")


def test_refusal_is_fail():
    answer = make_alipay().refuse_callback("signature")
    assert (answer.status, answer.body) == (400, b"fail")


# ---- statements --------------------------------------------------------------------------------------------------

DAY = date(2026, 11, 21)
PAYMENT_LINE = StatementLine(
    kind=LineKind.PAYMENT,
    number=NUMBER,
    channel_number=TRADE_NO,
    amount_minor=12900,
    currency="CNY",
    fee_minor=77,
    at=PAID_AT,
)
REFUND_LINE = StatementLine(
    kind=LineKind.REFUND,
    number="NDR20261121A0000002",
    channel_number="",
    amount_minor=2900,
    currency="CNY",
    fee_minor=-17,
    payment_number=NUMBER,
    trade_number=TRADE_NO,
    at=datetime(2026, 11, 21, 13, 1, 2, tzinfo=UTC),
)


def fetch(*replies, day: date = DAY) -> tuple[bytes, ScriptedWire]:
    wire, into = ScriptedWire(*replies), io.BytesIO()
    make_alipay(wire=wire).fetch_statement(day, into)
    return into.getvalue(), wire


def read(bill: bytes) -> list[StatementLine]:
    return list(make_alipay().read_statement(io.BytesIO(bill)))


def address(url: object = "https://bill.example/x?token=1") -> dict:
    return {"code": "10000", "bill_download_url": url}


def test_statement_is_ready_the_next_morning_in_beijing():
    assert make_alipay().statement_ready_at(DAY) == datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def test_bill_is_asked_for_by_its_day_and_written_as_it_came():
    content, wire = fetch(address(), raw_reply(BILL))
    assert content == BILL
    assert wire.content() == {"bill_type": "trade", "bill_date": "2026-11-21"}
    assert (wire.sent[1]["method"], wire.sent[1]["url"]) == ("GET", "https://bill.example/x?token=1")


@pytest.mark.parametrize(
    ("told", "fetched"),
    [
        ("http://bill.example/x", "https://bill.example/x"),
        ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
        ("https://bill.example/x", "https://bill.example/x"),
    ],
)
def test_bill_is_never_fetched_over_the_network_by_plain_http(told, fetched):
    assert fetch(address(told), raw_reply(BILL))[1].sent[1]["url"] == fetched


@pytest.mark.parametrize(
    "url", [None, "", 7, "ftp://bill.example/x", "https://u@bill.example/x", "//x", "https://[::1"]
)
def test_unusable_address_of_a_bill_is_unanswered(url):
    with pytest.raises(Unanswered):
        fetch(address(url))


@pytest.mark.parametrize("sub_code", ["isp.bill_not_exist", "ISP.BILL_NOT_EXIST", "ACQ.BILL_NOT_EXIST"])
def test_missing_bill_is_not_ready(sub_code):
    with pytest.raises(NotReady):
        fetch(error(sub_code))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("isv.invalid_arguments", "40002"), Refused),
        (error("isv.invalid_arguments"), Refused),
        (error("isp.unknow-error", "20000"), Unanswered),
        (Unanswered("x", code="timeout"), Unanswered),
        (Unreachable("x", code="unreachable"), Unreachable),
    ],
)
def test_refused_or_missing_answer_writes_nothing(answer, expected):
    with pytest.raises(expected) as caught:
        fetch(answer)
    assert type(caught.value) is expected


def test_bill_whose_address_has_died_is_unanswered():
    with pytest.raises(Unanswered) as unanswered:
        fetch(address(), raw_reply("gone", status=404))
    assert unanswered.value.code == "HTTP404"


def test_published_bill_is_read():
    assert read(BILL) == [PAYMENT_LINE, REFUND_LINE]


def test_name_of_the_file_is_read_in_either_encoding():
    assert read(make_bill()) == [PAYMENT_LINE, REFUND_LINE]


@pytest.mark.parametrize(("told", "fee"), [("-0.77", 77), ("0.77", 77), ("0.00", 0)])
def test_fee_of_a_payment_is_what_alipay_kept_whatever_its_sign(told, fee):
    assert read(make_bill(BILL_TEXT.replace(",-0.77,", f",{told},")))[0].fee_minor == fee


def test_bill_of_a_quiet_day_has_no_lines():
    quiet = "\r\n".join(line for line in BILL_TEXT.splitlines() if TRADE_NO not in line)
    assert read(make_bill(quiet)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(SELLER_ID, "2088000000000000"), "line 5: the bill is not of this account"),
        (lambda text: text.replace("#账号", "#帐号"), "not of this account"),
        (lambda text: text.replace("业务明细列表结束", "业务明细列表"), "has no end"),
        (lambda text: text[: text.index("两件T恤")], "line 6: 4 columns"),
        (lambda text: text[: text.index("#", 400)], "has no end"),
        (lambda text: text.replace(",业务类型,", ",类型,"), "no column 业务类型"),
        (lambda text: text.replace(",备注\r", ",业务类型\r"), "no column 业务类型"),
        (lambda text: text.replace(",交易\t", ",转账\t"), "line 6: 业务类型"),
        (lambda text: text.replace(",129.00,129.00,", ",129.001,129.00,"), "line 6: 订单金额"),
        (lambda text: text.replace(",129.00,129.00,", ",-129.00,129.00,"), "line 6: 订单金额"),
        (lambda text: text.replace(",-29.00,-29.00,", ",29.00,-29.00,"), "line 7: 订单金额"),
        (lambda text: text.replace(",-0.77,", ",free,"), "line 6: 服务费"),
        (lambda text: text.replace(",2026-11-21 18:10:34,", ",21/11/2026,"), "line 6: 完成时间"),
        (
            lambda text: text.replace(f"{TRADE_NO}\t,{NUMBER}\t,交易", f"\t,{NUMBER}\t,交易"),
            "line 6: 支付宝交易号",
        ),
    ],
)
def test_damaged_bill_is_refused_with_the_place(change, message):
    assert change(BILL_TEXT) != BILL_TEXT
    with pytest.raises(BadStatement, match=message):
        read(make_bill(change(BILL_TEXT)))


@pytest.mark.parametrize(
    "bill",
    [
        b"",
        b"PK",
        BILL[:-30],
        BILL[: len(BILL) // 2],
        make_bill(name="readme.txt"),
        make_bill(BILL_TEXT.encode("utf-8")),
    ],
    ids=["empty", "two bytes", "without its end", "half", "other file", "other encoding"],
)
def test_file_that_is_no_bill_is_refused(bill):
    with pytest.raises(BadStatement):
        read(bill)


def test_damage_of_any_byte_of_a_bill_is_seen_or_changes_nothing():
    for place in range(0, len(BILL), 3):
        bill = bytearray(BILL)
        bill[place] ^= 1
        try:
            assert read(bytes(bill)) == [PAYMENT_LINE, REFUND_LINE], place
        except BadStatement:
            continue


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "app.pem").write_text(VECTORS["app"]["private_key_pkcs8_pem"])
    (tmp_path / "one.pem").write_text(VECTORS["alipay"]["public_key_pem"])
    (tmp_path / "two.pem").write_text(VECTORS["app"]["public_key_pem"])
    return {
        "GATEWAY_URL": GATEWAY,
        "APP_ID": APP_ID,
        "SELLER_ID": SELLER_ID,
        "APP_KEY_FILE": str(tmp_path / "app.pem"),
        "ALIPAY_KEY_FILE": f"{tmp_path / 'one.pem'}, {tmp_path / 'two.pem'}",
    }


def test_settings_with_two_keys_make_a_channel_that_believes_either(configured):
    alipay = Alipay.from_settings(configured)
    assert alipay.read_callback(vector_callback()).report == PAID
    assert alipay.read_callback(callback(key=APP_KEY)).report == PAID
    assert len(list_alipay_keys(configured)) == 2


def test_channel_without_usable_keys_is_not_made(configured):
    with pytest.raises(BadKey, match="at least one"):
        make_alipay(alipay_keys=[])
    with pytest.raises(BadKey):
        Alipay.from_settings(configured | {"ALIPAY_KEY_FILE": "/nowhere.pem"})
