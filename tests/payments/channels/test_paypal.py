"""Specification of the PayPal adapter's calls, by tables; no database and no network."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payments.channels.base import (
    ChannelError,
    Outcome,
    PaymentReport,
    RefundReport,
    Refused,
    Unanswered,
    Unreachable,
)
from payments.channels.fields import BadField
from payments.channels.paypal import CAPTURE_ISSUES, REFUND_REFUSALS, PayPal
from payments.channels.paypal_reading import (
    CAPTURE_STATUSES,
    ORDER_STATUSES,
    REFUND_STATUSES,
    read_money,
    write_money,
)
from payments.channels.seals import BadKey
from payments.channels.wire import Reply

from .party import reply
from .paypal_party import (
    ATTEMPT,
    CAPTURE_ID,
    CREATED,
    LINK,
    MERCHANT_ID,
    NOW,
    NUMBER,
    ORDER_ID,
    PAID,
    REFUND,
    REFUND_ID,
    REFUND_NUMBER,
    REFUNDED,
    USD,
    VECTORS,
    WEBHOOK_ID,
    ScriptedWire,
    capture,
    error,
    make_paypal,
    order,
    refund,
    sent_body,
    token,
)

WITHOUT_HANDLE = replace(ATTEMPT, handle="")
# Every way in which an answer may not be what was asked for: nothing of it may be believed.
UNBELIEVABLE: dict[str, Reply | ChannelError] = {
    "no connection": Unreachable("x", code="unreachable"),
    "no answer": Unanswered("x", code="timeout"),
    "accepted only": reply(202, order("COMPLETED", capture())),
    "empty": reply(200),
    "no content": reply(204),
    "garbage": reply(200, b"<<<"),
    "a list": reply(200, b"[]"),
    "an id twice": reply(200, b'{"id":"1","id":"2"}'),
    "a proxy's page": reply(404, b"<html>not found</html>"),
    "another 404": reply(404, {"name": "NO_SUCH_ROUTE"}),
    "of another order": reply(200, order("COMPLETED", capture(), id="X")),
    "of another payment": reply(200, order("COMPLETED", capture(), unit={"custom_id": "payment:P2"})),
    "of captures that name another": reply(200, order("COMPLETED", capture(custom_id="payment:P2"))),
    "of another merchant": reply(200, order("COMPLETED", capture(), unit={"payee": {"merchant_id": "X"}})),
    **{
        str(status): reply(status, {"name": "INTERNAL_SERVER_ERROR"})
        for status in (500, 502, 503, 504, 429, 409)
    },
}
BAD_AMOUNTS: list[Any] = [
    None, 19.9, 1990, "", "19.90 ", "19.905", "1e3", "NaN", "-19.90", "0", "0.00", "١٩.٩٠", "19,90", "+1", "1" * 13
]  # fmt: skip


# ---- create ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("rel", ["payer-action", "approve"])
@pytest.mark.parametrize("scene", ["page", "wap"])
def test_order_becomes_a_redirect_to_its_link(status, rel, scene):
    links = [{"rel": "self", "href": "https://api.example/o"}, {"rel": rel, "href": LINK}]
    created = make_paypal(reply(status, CREATED | {"links": links})).create(replace(ATTEMPT, scene=scene))
    assert created.action == {"type": "redirect", "url": LINK}
    assert created.handle == ORDER_ID


def test_app_gets_order_and_client_id():
    created = make_paypal(reply(200, {"id": ORDER_ID, "status": "CREATED"})).create(
        replace(ATTEMPT, scene="app")
    )
    assert created.action == {
        "type": "sdk",
        "params": {"orderId": ORDER_ID, "clientId": VECTORS["client_id"]},
    }
    assert created.handle == ORDER_ID


def test_order_is_written_as_the_protocol_says():
    wire = ScriptedWire(reply(200, CREATED))
    make_paypal(wire=wire).create(ATTEMPT)
    sent = wire.sent[0]
    assert (sent["method"], sent["url"]) == ("POST", "https://api.example/v2/checkout/orders")
    assert sent["headers"]["PayPal-Request-Id"] == NUMBER
    assert sent["headers"]["Authorization"] == "Bearer A21AA1"
    assert sent_body(wire) == {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "reference_id": "default",
                "custom_id": f"payment:{NUMBER}",
                "invoice_id": NUMBER,
                "description": "2 x T-shirt",
                "amount": {"currency_code": "USD", "value": "19.90"},
            }
        ],
        "payment_source": {
            "paypal": {
                "experience_context": {
                    "return_url": "https://shop.example/orders/1/",
                    "cancel_url": "https://shop.example/orders/1/",
                    "user_action": "PAY_NOW",
                    "shipping_preference": "NO_SHIPPING",
                    "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED",
                }
            }
        },
    }


def test_repeated_create_sends_the_very_same():
    wire = ScriptedWire(reply(200, CREATED), reply(200, CREATED))
    paypal = make_paypal(wire=wire)
    assert paypal.create(ATTEMPT) == paypal.create(ATTEMPT)
    assert wire.sent[0] == wire.sent[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scene": "qr"}, "scene"),
        ({"currency": "CNY"}, "currency"),
        ({"amount_minor": 0}, "amount"),
        ({"number": ""}, "number"),
        ({"number": "N" * 109}, "number"),
        ({"number": "ND 1"}, "number"),
        ({"number": "ND1\r\nX: 1"}, "number"),
        ({"description": ""}, "description"),
        ({"description": "x" * 128}, "description"),
        ({"return_url": "/orders/1/"}, "return_url"),
    ],
)
def test_impossible_order_is_refused_before_sending(change, field):
    wire = ScriptedWire()
    with pytest.raises(Refused) as refused:
        make_paypal(wire=wire).create(replace(ATTEMPT, **change))
    assert refused.value.code == f"invalid_{field}"
    assert wire.sent == []


@pytest.mark.parametrize(
    ("status", "name"), [(400, "INVALID_REQUEST"), (403, "NOT_AUTHORIZED"), (422, "UNPROCESSABLE_ENTITY")]
)
def test_create_is_refused_by_paypals_own_error(status, name):
    with pytest.raises(Refused) as refused:
        make_paypal(error(status, "CURRENCY_NOT_SUPPORTED", name)).create(ATTEMPT)
    assert refused.value.code == "CURRENCY_NOT_SUPPORTED"


@pytest.mark.parametrize("status", [404, 405, 408, 409, 429, 500, 502, 503])
def test_other_errors_refuse_no_create(status):
    with pytest.raises(Unanswered):
        make_paypal(error(status, "X", "INVALID_REQUEST")).create(ATTEMPT)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"name":7}', b'{"name":"OTHER"}', b"\xff"])
def test_error_that_is_not_paypals_refuses_no_create(body):
    with pytest.raises(Unanswered) as unanswered:
        make_paypal(reply(400, body)).create(ATTEMPT)
    assert unanswered.value.code in ("HTTP400", "OTHER")


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "a b"},
        {"links": None},
        {"links": "x"},
        {"links": [7]},
        {"links": [{"rel": "self", "href": LINK}]},
        {"links": [{"rel": "approve", "href": "http://www.paypal.example/"}]},
        {"links": [{"rel": "approve", "href": "javascript:alert(1)"}]},
        {"links": [{"rel": "approve", "href": 7}]},
    ],
    ids=str,
)
def test_created_order_without_a_way_to_pay_is_unanswered(change):
    with pytest.raises(Unanswered) as unanswered:
        make_paypal(reply(200, CREATED | change)).create(ATTEMPT)
    assert unanswered.value.code == "malformed"


# ---- token -------------------------------------------------------------------------------------------------------


def test_token_is_asked_for_with_the_apps_secret_and_then_kept():
    wire = ScriptedWire(*[reply(200, order("APPROVED"))] * 3)
    paypal = make_paypal(wire=wire)
    for _ in range(3):
        paypal.query(ATTEMPT)
    [asked] = wire.tokens_sent
    assert asked["headers"]["Authorization"] == VECTORS["basic_authorization"]
    assert asked["body"] == VECTORS["token_request_body"].encode()
    assert {sent["headers"]["Authorization"] for sent in wire.sent} == {"Bearer A21AA1"}


def test_token_is_fetched_anew_before_it_expires():
    now = [NOW]
    wire = ScriptedWire(
        *[reply(200, order("APPROVED"))] * 2, tokens=[token("one", expires_in=100), token("two")]
    )
    paypal = make_paypal(wire=wire, clock=lambda: now[0])
    paypal.query(ATTEMPT)
    now[0] += timedelta(seconds=41)
    paypal.query(ATTEMPT)
    assert [sent["headers"]["Authorization"] for sent in wire.sent] == ["Bearer one", "Bearer two"]


def test_refused_token_is_replaced_once_and_the_call_repeated_under_its_request_id():
    wire = ScriptedWire(reply(401, {"error": "invalid_token"}), reply(200, CREATED))
    make_paypal(wire=wire).create(ATTEMPT)
    first, second = wire.sent
    assert [first["headers"]["Authorization"], second["headers"]["Authorization"]] == [
        "Bearer A21AA1",
        "Bearer A21AA2",
    ]
    assert first["headers"]["PayPal-Request-Id"] == second["headers"]["PayPal-Request-Id"] == NUMBER
    assert first["body"] == second["body"]


def test_token_that_is_refused_again_says_that_nothing_was_done():
    wire = ScriptedWire(*[reply(401, {"error": "invalid_token"})] * 2)
    with pytest.raises(Unreachable) as failed:
        make_paypal(wire=wire).create(ATTEMPT)
    assert failed.value.code == "invalid_token"
    assert len(wire.sent) == 2


@pytest.mark.parametrize(
    "answer",
    [
        reply(401, {"error": "invalid_client"}),
        reply(500),
        reply(200, b"<<<"),
        token(access_token=None),
        token("a\nb"),
        token(expires_in=None),
        token(expires_in="32400"),
        token(expires_in=0),
        token(expires_in=True),
        Unanswered("x", code="timeout"),
        Unreachable("x", code="unreachable"),
    ],
)
def test_without_a_token_nothing_is_sent(answer):
    wire = ScriptedWire(tokens=[answer, answer])
    paypal = make_paypal(wire=wire)
    with pytest.raises(Unreachable):
        paypal.refund(REFUND)
    assert paypal.query(ATTEMPT).outcome is Outcome.UNKNOWN
    assert wire.sent == []


# ---- query -------------------------------------------------------------------------------------------------------


def test_query_of_a_captured_order_reports_everything():
    wire = ScriptedWire(reply(200, order("COMPLETED", capture())))
    assert make_paypal(wire=wire).query(ATTEMPT) == PAID
    assert (wire.sent[0]["method"], wire.sent[0]["url"]) == (
        "GET",
        f"https://api.example/v2/checkout/orders/{ORDER_ID}",
    )
    assert wire.sent[0]["body"] is None
    assert "PayPal-Request-Id" not in wire.sent[0]["headers"]


def test_query_without_an_order_id_asks_nobody():
    wire = ScriptedWire()
    assert make_paypal(wire=wire).query(WITHOUT_HANDLE).outcome is Outcome.NOT_FOUND
    assert (wire.sent, wire.tokens_sent) == ([], [])


def test_order_id_cannot_lead_elsewhere():
    wire = ScriptedWire(reply(500))
    make_paypal(wire=wire).query(replace(ATTEMPT, handle="../a?b"))
    assert wire.sent[0]["url"].endswith("/v2/checkout/orders/..%2Fa%3Fb")


@pytest.mark.parametrize("status", [*ORDER_STATUSES, "NEWSTATUS", "approved", "COMPLETED"])
def test_order_that_is_not_captured_is_read_by_the_table(status):
    report = make_paypal(reply(200, order(status))).query(ATTEMPT)
    assert report.outcome is ORDER_STATUSES.get(status, Outcome.UNKNOWN)
    assert (report.number, report.code) == (NUMBER, status)


def test_order_statuses_are_those_of_the_documentation():
    assert ORDER_STATUSES == {
        "CREATED": Outcome.OPEN,
        "SAVED": Outcome.OPEN,
        "PAYER_ACTION_REQUIRED": Outcome.OPEN,
        "APPROVED": Outcome.APPROVED,
        "VOIDED": Outcome.CLOSED,
    }


@pytest.mark.parametrize("status", [*CAPTURE_STATUSES, "NEWSTATUS", "completed"])
def test_completed_order_is_read_by_its_capture(status):
    report = make_paypal(reply(200, order("COMPLETED", capture(status)))).query(ATTEMPT)
    assert report.outcome is CAPTURE_STATUSES.get(status, Outcome.UNKNOWN)
    assert report.code == status
    assert (report.amount_minor is not None) == (report.outcome is Outcome.SUCCEEDED)


def test_capture_statuses_are_those_of_the_documentation():
    paid = {name for name, outcome in CAPTURE_STATUSES.items() if outcome is Outcome.SUCCEEDED}
    assert paid == {"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"}
    assert {name for name, outcome in CAPTURE_STATUSES.items() if outcome is Outcome.OPEN} == {"PENDING"}
    assert {name for name, outcome in CAPTURE_STATUSES.items() if outcome is Outcome.REFUSED} == {
        "DECLINED",
        "FAILED",
    }


@pytest.mark.parametrize("status", ["APPROVED", "CREATED", "VOIDED", "NEWSTATUS"])
def test_captured_money_counts_whatever_the_order_says(status):
    assert make_paypal(reply(200, order(status, capture()))).query(ATTEMPT) == PAID


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        (("DECLINED", "COMPLETED"), Outcome.SUCCEEDED),
        (("DECLINED", "PENDING"), Outcome.OPEN),
        (("PENDING", "NEW"), Outcome.UNKNOWN),
        (("DECLINED", "FAILED"), Outcome.REFUSED),
    ],
)
def test_of_several_captures_the_one_with_money_counts(statuses, outcome):
    captures = [capture(status) for status in statuses]
    report = make_paypal(reply(200, order("COMPLETED", *captures))).query(ATTEMPT)
    assert (report.outcome, report.needs_person) == (outcome, False)


def test_two_paid_captures_are_for_a_person():
    answer = order("COMPLETED", capture(), capture(id="SECOND"))
    assert make_paypal(reply(200, answer)).query(ATTEMPT) == replace(PAID, needs_person=True)


def test_declined_capture_leaves_an_approved_order_approved():
    assert (
        make_paypal(reply(200, order("APPROVED", capture("DECLINED")))).query(ATTEMPT).outcome
        is Outcome.APPROVED
    )


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_query_without_a_believable_answer_is_unknown(name):
    report = make_paypal(UNBELIEVABLE[name]).query(ATTEMPT)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


def test_answer_cut_off_anywhere_is_unknown():
    whole = json.dumps(order("COMPLETED", capture())).encode()
    answers = [reply(200, whole[:place]) for place in range(len(whole))]
    paypal = make_paypal(*answers)
    assert {paypal.query(ATTEMPT).outcome for _ in answers} == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    "answer",
    [error(404, "INVALID_RESOURCE_ID"), reply(404, {"name": "RESOURCE_NOT_FOUND"})],
    ids=["issue", "name"],
)
def test_missing_order_is_not_found(answer):
    assert make_paypal(answer).query(ATTEMPT).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_nothing_but_404_says_that_an_order_is_missing(status):
    assert make_paypal(error(status, "INVALID_RESOURCE_ID")).query(ATTEMPT).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        *({"amount": USD | {"value": value}} for value in BAD_AMOUNTS),
        *({"amount": USD | {"currency_code": code}} for code in (None, "", "usd", "USDX", "US", 840)),
        {"amount": None},
        {"amount": "19.90"},
        {"amount": {"currency_code": "JPY", "value": "19.9"}},
        {"id": None},
        {"id": 7},
        {"id": "x" * 65},
        {"create_time": None},
        {"create_time": "2026-11-21"},
        {"create_time": "2026-11-21T10:10:34"},
        {"status": None},
        {"status": ["COMPLETED"]},
    ],
    ids=str,
)
def test_success_with_a_field_missing_or_of_a_wrong_type_is_unknown(change):
    report = make_paypal(reply(200, order("COMPLETED", capture(**change)))).query(ATTEMPT)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize(
    "change",
    [
        {"purchase_units": None},
        {"purchase_units": {}},
        {"purchase_units": [7]},
        {"purchase_units": [{}, {}]},
        {"purchase_units": [{"custom_id": f"payment:{NUMBER}", "payments": []}]},
        {"purchase_units": [{"custom_id": f"payment:{NUMBER}", "payments": {"captures": [7]}}]},
        {"status": None},
    ],
    ids=str,
)
def test_order_that_is_not_as_documented_is_unknown(change):
    report = make_paypal(reply(200, order() | change)).query(ATTEMPT)
    assert (report.outcome, report.number) == (Outcome.UNKNOWN, NUMBER)


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        ("19.9", "USD", 1990),
        ("19.90", "BRL", 1990),
        ("19", "USD", 1900),
        ("0.01", "USD", 1),
        ("1990", "JPY", 1990),
    ],
)
def test_amount_is_read_as_a_decimal_of_its_currency(value, currency, minor):
    assert read_money({"amount": {"currency_code": currency, "value": value}}, "amount") == (minor, currency)


@pytest.mark.parametrize("minor", [1, 9, 10, 99, 100, 1990, 10**9, 10**13 + 1])
def test_written_amount_is_read_as_it_was(minor):
    written = write_money(minor, "BRL")
    assert read_money({"amount": written}, "amount") == (minor, "BRL")
    assert written["value"] == f"{minor // 100}.{minor % 100:02}"


def test_money_of_the_wrong_shape_is_no_money():
    with pytest.raises(BadField):
        read_money({"amount": ["19.90"]}, "amount")


# ---- capture -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201])
def test_capture_takes_the_money_under_its_fixed_id(status):
    wire = ScriptedWire(reply(status, order("COMPLETED", capture())))
    assert make_paypal(wire=wire).capture(ATTEMPT) == PAID
    sent = wire.sent[0]
    assert (sent["method"], sent["url"]) == (
        "POST",
        f"https://api.example/v2/checkout/orders/{ORDER_ID}/capture",
    )
    assert (sent["headers"]["PayPal-Request-Id"], sent["body"]) == (f"{NUMBER}C1", b"{}")


def test_short_capture_answer_names_the_payment_in_its_capture():
    units = [{"reference_id": "default", "payments": {"captures": [capture()]}}]
    answer = {"id": ORDER_ID, "status": "COMPLETED", "purchase_units": units}
    assert make_paypal(reply(201, answer)).capture(ATTEMPT) == PAID


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("PENDING", Outcome.OPEN),
        ("DECLINED", Outcome.REFUSED),
        ("FAILED", Outcome.REFUSED),
        ("NEW", Outcome.UNKNOWN),
    ],
)
def test_capture_of_a_completed_order_is_read_by_its_status(status, outcome):
    answer = reply(201, order("COMPLETED", capture(status)))
    assert make_paypal(answer).capture(ATTEMPT).outcome is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("APPROVED", Outcome.APPROVED),
        ("PAYER_ACTION_REQUIRED", Outcome.NOT_FOUND),
        ("CREATED", Outcome.NOT_FOUND),
        ("COMPLETED", Outcome.UNKNOWN),
    ],
)
def test_capture_answered_without_a_capture(status, outcome):
    assert make_paypal(reply(200, order(status))).capture(ATTEMPT).outcome is outcome


@pytest.mark.parametrize(
    ("says", "outcome"), [("APPROVED", Outcome.NOT_FOUND), ("COMPLETED", Outcome.UNKNOWN)]
)
def test_capture_issue_that_nobody_knows_is_decided_by_what_the_order_says(says, outcome):
    wire = ScriptedWire(error(422, "NEW_ISSUE"), reply(200, order(says)))
    report = make_paypal(wire=wire).capture(ATTEMPT)
    assert (report.outcome, report.code) == (outcome, "NEW_ISSUE")


@pytest.mark.parametrize("issue", [*CAPTURE_ISSUES, "DUPLICATE_INVOICE_ID"])
def test_capture_issue_is_read_by_the_table(issue):
    wire = ScriptedWire(error(422, issue))
    report = make_paypal(wire=wire).capture(ATTEMPT)
    assert report.outcome is CAPTURE_ISSUES.get(issue, Outcome.UNKNOWN)
    assert (report.code, report.needs_person) == (issue, issue == "DUPLICATE_INVOICE_ID")
    assert len(wire.sent) == 1


def test_capture_issues_are_those_of_the_documentation():
    gone = {issue for issue, outcome in CAPTURE_ISSUES.items() if outcome is Outcome.NOT_FOUND}
    final = {issue for issue, outcome in CAPTURE_ISSUES.items() if outcome is Outcome.REFUSED}
    assert gone == {
        "ORDER_NOT_APPROVED",
        "PAYER_ACTION_REQUIRED",
        "INSTRUMENT_DECLINED",
        "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING",
    }
    assert final == {
        "TRANSACTION_REFUSED",
        "PAYER_CANNOT_PAY",
        "COMPLIANCE_VIOLATION",
        "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",
    }


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
@pytest.mark.parametrize("issue", [*CAPTURE_ISSUES, "ORDER_ALREADY_CAPTURED"])
def test_capture_issue_under_another_status_decides_nothing(status, issue):
    wire = ScriptedWire(error(status, issue))
    assert make_paypal(wire=wire).capture(ATTEMPT).outcome is Outcome.UNKNOWN
    assert wire.operations == ["capture"]


def test_order_that_has_gone_has_no_consent_any_more():
    assert make_paypal(error(404, "INVALID_RESOURCE_ID")).capture(ATTEMPT).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (order("COMPLETED", capture()), Outcome.SUCCEEDED),
        (order("COMPLETED", capture("PENDING")), Outcome.OPEN),
        (order("COMPLETED", capture("DECLINED")), Outcome.REFUSED),
        (order("APPROVED"), Outcome.UNKNOWN),
        (order("PAYER_ACTION_REQUIRED"), Outcome.UNKNOWN),
        (order("VOIDED"), Outcome.UNKNOWN),
    ],
)
def test_order_captured_before_is_asked_about(answer, outcome):
    wire = ScriptedWire(error(422, "ORDER_ALREADY_CAPTURED"), reply(200, answer))
    assert make_paypal(wire=wire).capture(ATTEMPT).outcome is outcome
    assert wire.operations == ["capture", "query"]


@pytest.mark.parametrize("answer", [error(404, "INVALID_RESOURCE_ID"), *UNBELIEVABLE.values()], ids=str)
def test_order_captured_before_that_cannot_be_asked_about_is_unknown(answer):
    paypal = make_paypal(error(422, "ORDER_ALREADY_CAPTURED"), answer)
    assert paypal.capture(ATTEMPT).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_capture_without_a_believable_answer_is_unknown(name):
    report = make_paypal(UNBELIEVABLE[name]).capture(ATTEMPT)
    assert (report.outcome, report.amount_minor) == (Outcome.UNKNOWN, None)


def test_capture_without_a_fixed_id_is_never_sent():
    wire = ScriptedWire()
    with pytest.raises(ValueError, match="twice"):
        make_paypal(wire=wire).capture(replace(ATTEMPT, capture_id=""))
    assert wire.sent == []


def test_capture_without_an_order_id_finds_no_consent():
    assert make_paypal().capture(WITHOUT_HANDLE).outcome is Outcome.NOT_FOUND


# ---- close -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(200, order("CREATED")), Outcome.CLOSED),
        (reply(200, order("PAYER_ACTION_REQUIRED")), Outcome.CLOSED),
        (reply(200, order("APPROVED")), Outcome.CLOSED),
        (reply(200, order("VOIDED")), Outcome.CLOSED),
        (reply(200, order("COMPLETED", capture("DECLINED"))), Outcome.CLOSED),
        (error(404, "INVALID_RESOURCE_ID"), Outcome.CLOSED),
        (reply(200, order("COMPLETED", capture("PENDING"))), Outcome.OPEN),
        (reply(200, order("COMPLETED", capture())), Outcome.SUCCEEDED),
        (reply(200, order("NEWSTATUS")), Outcome.UNKNOWN),
    ],
)
def test_close_only_asks_what_was_captured(answer, outcome):
    wire = ScriptedWire(answer)
    report = make_paypal(wire=wire).close(ATTEMPT)
    assert report.outcome is outcome
    assert [sent["method"] for sent in wire.sent] == ["GET"]
    if outcome is Outcome.CLOSED:
        assert report == PaymentReport(outcome=Outcome.CLOSED, number=NUMBER, code="not_captured")


def test_close_without_an_order_id_needs_no_call():
    assert make_paypal().close(WITHOUT_HANDLE).outcome is Outcome.CLOSED


@pytest.mark.parametrize("name", UNBELIEVABLE)
def test_close_without_a_believable_answer_is_unknown(name):
    assert make_paypal(UNBELIEVABLE[name]).close(ATTEMPT).outcome is Outcome.UNKNOWN


# ---- what it declares ----------------------------------------------------------------------------------------------


def test_what_is_offered():
    paypal = make_paypal()
    assert paypal.scenes() == {"page", "wap", "app"}
    assert paypal.currencies == {"USD", "BRL"}
    assert (paypal.needs_capture, paypal.confirms_callbacks_by_query, paypal.can_refund) == (True, True, True)
    assert (paypal.repeats_for, paypal.action_life) == (timedelta(hours=6), timedelta(hours=3))


def test_attempt_lives_no_longer_than_paypal_waits_for_an_approval():
    times = {"order_expires_at": NOW + timedelta(days=1), "now": NOW}
    expires_at = make_paypal().expires_at(scene="page", **times)
    assert expires_at == NOW + timedelta(hours=3)
    assert make_paypal().dead_at(scene="page", expires_at=expires_at, now=NOW) > expires_at


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_refund_is_written_as_the_protocol_says():
    wire = ScriptedWire(reply(201, refund()))
    assert make_paypal(wire=wire).refund(replace(REFUND, handle="")) == REFUNDED
    sent = wire.sent[0]
    assert sent["url"] == f"https://api.example/v2/payments/captures/{CAPTURE_ID}/refund"
    assert sent["headers"]["PayPal-Request-Id"] == REFUND_NUMBER
    assert sent_body(wire) == {
        "amount": {"currency_code": "USD", "value": "5.00"},
        "custom_id": REFUND_NUMBER,
        "invoice_id": REFUND_NUMBER,
        "note_to_payer": "size",
    }


def test_refund_without_a_reason_has_no_note():
    wire = ScriptedWire(reply(201, refund()))
    make_paypal(wire=wire).refund(replace(REFUND, reason=""))
    assert "note_to_payer" not in sent_body(wire)


@pytest.mark.parametrize("status", [*REFUND_STATUSES, "NEWSTATUS"])
def test_refund_status_is_read_by_the_table(status):
    outcome = REFUND_STATUSES.get(status, Outcome.UNKNOWN)
    expected = replace(REFUNDED, outcome=outcome, code=status)
    assert make_paypal(reply(201, refund(status))).refund(REFUND) == expected
    assert make_paypal(reply(200, refund(status))).query_refund(REFUND) == expected


def test_refund_statuses_are_those_of_the_documentation():
    assert REFUND_STATUSES == {
        "COMPLETED": Outcome.SUCCEEDED,
        "PENDING": Outcome.OPEN,
        "FAILED": Outcome.REFUSED,
        "CANCELLED": Outcome.CLOSED,
    }


def test_short_refund_answer_is_enough():
    answer = {"id": REFUND_ID, "status": "COMPLETED"}
    report = make_paypal(reply(200, answer)).refund(REFUND)
    assert report == replace(REFUNDED, trade_number="", amount_minor=None)


@pytest.mark.parametrize("issue", sorted(REFUND_REFUSALS))
def test_refund_is_refused_by_a_final_issue(issue):
    with pytest.raises(Refused) as refused:
        make_paypal(error(422, issue)).refund(REFUND)
    assert refused.value.code == issue


@pytest.mark.parametrize(
    ("status", "issue"),
    [
        (422, "REFUND_FAILED_INSUFFICIENT_FUNDS"),
        (422, "DUPLICATE_INVOICE_ID"),
        (422, "NEW_ISSUE"),
        (400, "REFUND_NOT_ALLOWED"),
        (403, "REFUND_NOT_ALLOWED"),
        (404, "INVALID_RESOURCE_ID"),
        (409, "PREVIOUS_REQUEST_IN_PROGRESS"),
        (500, "REFUND_NOT_ALLOWED"),
    ],
)
def test_refund_error_that_is_not_final_is_unknown(status, issue):
    report = make_paypal(error(status, issue)).refund(replace(REFUND, handle=""))
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, issue)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_refund_without_a_believable_answer_is_unknown(name):
    assert make_paypal(UNBELIEVABLE[name]).refund(REFUND).outcome is Outcome.UNKNOWN
    assert make_paypal(UNBELIEVABLE[name]).query_refund(REFUND).outcome is Outcome.UNKNOWN


def test_refund_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_paypal(UNBELIEVABLE["no connection"]).refund(REFUND)
    assert make_paypal(UNBELIEVABLE["no connection"]).query_refund(REFUND).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "CNY"},
        {"amount_minor": 0},
        {"amount_minor": 1991},
        {"number": ""},
        {"number": "N" * 109},
        {"channel_number": ""},
        {"reason": "r" * 256},
    ],
    ids=str,
)
def test_impossible_refund_is_refused_before_sending(change):
    wire = ScriptedWire()
    with pytest.raises(Refused):
        make_paypal(wire=wire).refund(replace(REFUND, **change))
    assert wire.sent == []


@pytest.mark.parametrize(("days", "calls"), [(44, 1), (45, 0), (400, 0)])
def test_refund_is_not_repeated_when_paypal_has_forgotten_its_number(days, calls):
    wire = ScriptedWire(reply(200, refund()))
    request = replace(REFUND, started_at=NOW - timedelta(days=days), handle="")
    report = make_paypal(wire=wire).refund(request)
    assert len(wire.sent) == calls
    assert report.outcome is (Outcome.SUCCEEDED if calls else Outcome.UNKNOWN)


def test_refund_without_its_id_is_sent_again_instead_of_asked_about():
    wire = ScriptedWire()
    assert make_paypal(wire=wire).query_refund(replace(REFUND, handle="")).outcome is Outcome.NOT_FOUND
    assert wire.sent == []


def test_missing_refund_is_not_found():
    assert make_paypal(error(404, "INVALID_RESOURCE_ID")).query_refund(REFUND).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"custom_id": "R2"},
        {"custom_id": None, "invoice_id": "R2"},
        {"custom_id": f"payment:{NUMBER}"},
        {"id": "OTHER"},
        {"links": [{"rel": "up", "href": "https://api.paypal.com/v2/payments/captures/OTHER"}]},
    ],
    ids=str,
)
def test_refund_answer_about_another_is_unknown(change):
    report = make_paypal(reply(200, refund(**change))).query_refund(REFUND)
    assert report == RefundReport(outcome=Outcome.UNKNOWN, number=REFUND_NUMBER, code="about_another")


@pytest.mark.parametrize(
    "change",
    [{"status": None}, {"amount": {}}, {"amount": "5.00"}, {"amount": USD | {"value": "-5.00"}}],
    ids=str,
)
def test_refund_answer_with_a_field_missing_or_wrong_is_unknown_but_keeps_its_id(change):
    report = make_paypal(reply(200, refund(**change))).query_refund(REFUND)
    assert (report.outcome, report.number, report.channel_number) == (
        Outcome.UNKNOWN,
        REFUND_NUMBER,
        REFUND_ID,
    )


# ---- configuration -----------------------------------------------------------------------------------------------

CONFIGURED = {
    "BASE_URL": "https://api-m.paypal.com/",
    "CLIENT_ID": "A1",
    "CLIENT_SECRET": "E1",
    "MERCHANT_ID": MERCHANT_ID,
    "WEBHOOK_ID": f"{WEBHOOK_ID}, 0AB12345CD678901E",
    "VERIFY_WEBHOOKS": "certificate",
}


def test_settings_with_two_webhooks_make_a_channel():
    assert PayPal.from_settings(CONFIGURED)._webhook_ids == (WEBHOOK_ID, "0AB12345CD678901E")


@pytest.mark.parametrize(
    "change", [{"WEBHOOK_ID": ""}, {"WEBHOOK_ID": "A,"}, {"VERIFY_WEBHOOKS": "never"}], ids=str
)
def test_unusable_settings_make_no_channel(change):
    with pytest.raises(BadKey):
        PayPal.from_settings(CONFIGURED | change)
