"""Specification of the boleto adapter, by tables and recorded webhooks; no database and no network."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.channels.base import (
    BadPayer,
    CallbackMessage,
    ChannelError,
    Impossible,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    Refused,
    Repeat,
    Unanswered,
    Unreachable,
)
from payments.channels.boleto import Boleto
from payments.channels.boleto_reading import REFUSALS, STATUSES
from payments.channels.seals import BadKey
from payments.channels.wire import Reply

from .boleto_party import (
    ATTEMPT,
    CREATED_AT,
    EXPIRES_AT,
    INTENT,
    NOTIFIED_AT,
    NUMBER,
    OWN_SLIP,
    PAYER,
    REFUND,
    SECRET_KEY,
    VECTORS,
    WEBHOOK_SECRET,
    ScriptedWire,
    asked,
    callback,
    error,
    found,
    intent,
    make_boleto,
    reply,
    sign,
    vector_callback,
)

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
PAID = PaymentReport(
    outcome=Outcome.SUCCEEDED,
    number=NUMBER,
    channel_number=INTENT,
    amount_minor=12900,
    currency="BRL",
    paid_at=NOTIFIED_AT,
    code="succeeded",
)
FOUND_BY_NAME = replace(ATTEMPT, handle="")
# Every way in which an answer may not be what was asked for: nothing of it may be believed.
UNBELIEVABLE: dict[str, Reply | ChannelError] = {
    "no connection": Unreachable("x", code="unreachable"),
    "no answer": Unanswered("x", code="timeout"),
    "accepted only": reply(202, asked("succeeded")),
    "empty": reply(200),
    "garbage": reply(200, b"<<<"),
    "cut": reply(200, json.dumps(asked("succeeded")).encode()[:-1]),
    "a list": reply(200, b"[]"),
    "a name twice": reply(200, b'{"id":"a","id":"a"}'),
    "of another intent": reply(200, asked("succeeded", id="pi_3Other")),
    "of another number": reply(200, asked("succeeded", metadata={"payment_number": "NDP2"})),
    "of no number": reply(200, asked("succeeded", metadata={})),
    "of the other mode": reply(200, asked("succeeded", livemode=True)),
    "of no mode": reply(200, asked("succeeded", livemode=...)),
    "of another kind": reply(200, asked("succeeded", object="charge")),
    "missing": error(404, "resource_missing"),
    "of a proxy": reply(502, b"<html>502</html>"),
}


def details(**changes) -> dict:
    whole = intent()["next_action"]["boleto_display_details"] | changes
    return {"boleto_display_details": {name: value for name, value in whole.items() if value is not ...}}


# ---- create ------------------------------------------------------------------------------------------------------


def test_created_slip_is_a_voucher_with_line_barcode_and_pdf():
    answer = intent(next_action=details(number=OWN_SLIP["digitable_line"]))
    created = make_boleto(reply(200, answer)).create(ATTEMPT)
    assert created.action == {
        "type": "voucher",
        "barcode": OWN_SLIP["barcode"],
        "digitable_line": OWN_SLIP["digitable_line"],
        "pdf_url": "https://payments.stripe.com/boleto/voucher/test_throwaway/pdf",
        "expires_at": "2026-11-25T02:59:59+00:00",
    }
    assert created.handle == INTENT


def test_recorded_slip_of_the_test_mode_is_not_refused_for_its_check_digits():
    created = make_boleto(reply(200, intent())).create(ATTEMPT)
    assert created.action["digitable_line"] == VECTORS["boleto_line"]["stripe_test_number"]


def test_create_is_one_form_that_makes_and_confirms():
    wire = ScriptedWire(reply(200, intent()))
    make_boleto(wire=wire).create(ATTEMPT)
    assert (wire.sent[0]["method"], wire.sent[0]["url"]) == ("POST", "https://api.example/v1/payment_intents")
    person = "payment_method_data[billing_details]"
    assert wire.form == {
        "amount": "12900",
        "currency": "brl",
        "confirm": "true",
        "description": "2 shirts & [socks]",
        "payment_method_types[0]": "boleto",
        "payment_method_data[type]": "boleto",
        f"{person}[name]": "Maria Silva",
        f"{person}[email]": "maria@shop.example",
        f"{person}[address][line1]": "Rua A 1",
        f"{person}[address][city]": "São Paulo",
        f"{person}[address][state]": "SP",
        f"{person}[address][postal_code]": "01001000",
        f"{person}[address][country]": "BR",
        "payment_method_data[boleto][tax_id]": "000.000.000-00",
        "payment_method_options[boleto][expires_after_days]": "3",
        "metadata[payment_number]": NUMBER,
    }


def test_create_has_key_version_and_our_number_in_its_headers():
    wire = ScriptedWire(reply(200, intent()))
    make_boleto(wire=wire).create(ATTEMPT)
    assert wire.sent[0]["headers"] == {
        "Authorization": f"Bearer {SECRET_KEY}",
        "Idempotency-Key": NUMBER,
        "Stripe-Version": "2026-10-28.endive",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": "nodrop",
    }


def test_repeated_create_sends_the_very_same_content_whatever_time_and_setting_say():
    sent = []
    for now, days in ((CREATED_AT, 3), (CREATED_AT + timedelta(hours=23), 7)):
        wire = ScriptedWire(reply(200, intent()))
        make_boleto(wire=wire, now=now, expires_after_days=days).create(ATTEMPT)
        sent.append(wire.sent[0])
    assert sent[0] == {**sent[1], "code_of": sent[0]["code_of"]}


ADDRESS = ("line1", "city", "state", "postal_code", "country")


def payer(**changes) -> dict:
    """The payer with another part of the address or another field of their own."""
    changed: dict = deepcopy(PAYER)
    for path, value in changes.items():
        (changed["address"] if path in ADDRESS else changed)[path] = value
    return changed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scene": "qr"}, "scene"),
        ({"currency": "USD"}, "currency"),
        ({"amount_minor": 499}, "amount"),
        ({"amount_minor": 5_000_000}, "amount"),
        ({"number": ""}, "number"),
        ({"number": "N'1"}, "number"),
        ({"number": "N" * 65}, "number"),
        ({"description": ""}, "description"),
        ({"expires_at": CREATED_AT - timedelta(days=1)}, "expires_at"),
        ({"expires_at": CREATED_AT + timedelta(days=61)}, "expires_at"),
        ({"started_at": CREATED_AT - timedelta(hours=24)}, "started_at"),
        ({"payer": {}}, "payer"),
        ({"payer": payer(name="")}, "payer"),
        ({"payer": payer(email=None)}, "payer"),
        ({"payer": payer(tax_id="111.444.777-36")}, "payer"),
    ],
    ids=str,
)
def test_impossible_slip_is_refused_before_sending(change, field):
    wire = ScriptedWire()
    with pytest.raises(Impossible, match=field) as refused:
        make_boleto(wire=wire).create(replace(ATTEMPT, **change))
    assert (refused.value.code, wire.sent) == (f"invalid_{field}", [])


@pytest.mark.parametrize("amount", [500, 4_999_999])
def test_amount_at_the_limits_is_sent(amount):
    answer = reply(200, intent(amount=amount))
    assert make_boleto(answer).create(replace(ATTEMPT, amount_minor=amount)).handle == INTENT


@pytest.mark.parametrize("code", sorted(REFUSALS))
@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (402, "card_error")])
def test_create_is_refused_by_a_code_that_is_known_as_final(code, status, kind):
    with pytest.raises(Refused) as refused:
        make_boleto(error(status, code, kind=kind)).create(ATTEMPT)
    assert refused.value.code == code


@pytest.mark.parametrize("status", [401, 403])
def test_create_is_refused_for_a_wrong_key(status):
    with pytest.raises(Refused) as refused:
        make_boleto(error(status, None)).create(ATTEMPT)
    assert refused.value.code == "invalid_request_error"


@pytest.mark.parametrize("held", ["requires_payment_method", "canceled"])
def test_create_whose_intent_was_left_without_a_slip_is_refused(held):
    with pytest.raises(Refused):
        make_boleto(error(400, "tax_id_invalid", payment_intent={"status": held})).create(ATTEMPT)


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "some_new_code"),
        error(400, None),
        error(400, "idempotency_key_in_use"),
        error(400, "parameter_missing", kind="idempotency_error"),
        error(400, "parameter_missing", kind="api_error"),
        error(400, "parameter_missing", kind="a_new_type"),
        error(400, "tax_id_invalid", payment_intent={"status": "requires_action"}),
        error(400, "tax_id_invalid", payment_intent={"status": "succeeded"}),
        error(400, "tax_id_invalid", payment_intent="pi_3"),
        error(404, "resource_missing"),
        error(404, "parameter_missing"),
        error(409, "idempotency_key_in_use"),
        error(409, "lock_timeout"),
        error(409, "parameter_missing"),
        error(429, "rate_limit"),
        error(500, "parameter_missing"),
        error(500, None, kind="api_error"),
        error(503, None, kind="api_error"),
        reply(400, b"<html>"),
        reply(401, b""),
        reply(403, b'{"message":"no"}'),
        reply(400, {"error": "no"}),
        reply(400, {"error": {"type": ["invalid_request_error"], "code": "parameter_missing"}}),
    ],
)  # fmt: skip
def test_any_other_error_leaves_a_create_unanswered(answer):
    with pytest.raises(Unanswered):
        make_boleto(answer).create(ATTEMPT)


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE.keys() - {"no connection"}))
def test_create_without_a_believable_answer_is_unanswered(name):
    with pytest.raises(Unanswered):
        make_boleto(UNBELIEVABLE[name]).create(ATTEMPT)


def test_create_without_a_connection_is_unreachable():
    with pytest.raises(Unreachable):
        make_boleto(UNBELIEVABLE["no connection"]).create(ATTEMPT)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 12901},
        {"amount": 12900.0},
        {"currency": "usd"},
        {"id": "a b"},
        {"next_action": None},
        {"next_action": {"type": "redirect_to_url"}},
        {"next_action": details(number="0" * 46)},
        {"next_action": details(number=...)},
        {"next_action": details(pdf="http://payments.stripe.com/x")},
        {"next_action": details(pdf="javascript:alert(1)")},
        {"next_action": details(pdf=None)},
        {"next_action": details(expires_at="soon")},
        {"next_action": details(expires_at=True)},
        {"next_action": details(expires_at=10**12)},
    ],
    ids=str,
)
def test_answer_of_another_payment_or_without_a_usable_slip_is_unanswered(change):
    with pytest.raises(Unanswered):
        make_boleto(reply(200, intent(**change))).create(ATTEMPT)


def test_live_key_believes_live_answers_only():
    live = make_boleto(reply(200, intent(livemode=True)), secret_key="sk_live_1")
    assert live.create(replace(ATTEMPT, payer=payer(tax_id="529.982.247-25"))).handle == INTENT
    with pytest.raises(Unanswered):
        make_boleto(reply(200, intent(livemode=True))).create(ATTEMPT)


# ---- the life of a slip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "days", "last_day"),
    [
        ("2026-11-21T12:00", 3, "2026-11-24"),
        ("2026-11-21T00:00", 3, "2026-11-24"),
        ("2026-11-21T23:59:59", 3, "2026-11-24"),
        ("2026-11-21T23:59:59", 0, "2026-11-21"),
        ("2026-12-30T12:00", 60, "2027-02-28"),
    ],
)
def test_slip_expires_at_the_end_of_a_day_in_sao_paulo(now, days, last_day):
    moment = datetime.fromisoformat(now).replace(tzinfo=SAO_PAULO).astimezone(UTC)
    expires_at = make_boleto(expires_after_days=days).expires_at(
        scene="voucher", order_expires_at=moment + timedelta(minutes=30), now=moment
    )
    assert expires_at.astimezone(SAO_PAULO).isoformat() == f"{last_day}T23:59:59-03:00"
    assert expires_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("last_day", "dead_day"),
    [
        ("2026-11-24", "2026-12-01"),  # Tuesday: a day for midnight, then Thu, Fri, Mon, Tue
        ("2026-11-26", "2026-12-03"),  # Thursday
        ("2026-11-27", "2026-12-03"),  # Friday
        ("2026-11-28", "2026-12-03"),  # Saturday
        (
            "2027-02-05",
            "2027-02-11",
        ),  # the Friday before Carnival: two business days are Wednesday and Thursday
    ],
)
def test_slip_is_dead_after_two_business_days_also_over_carnival(last_day, dead_day):
    expires_at = datetime.fromisoformat(f"{last_day}T23:59:59").replace(tzinfo=SAO_PAULO).astimezone(UTC)
    dead_at = make_boleto().dead_at(scene="voucher", expires_at=expires_at, now=CREATED_AT)
    assert dead_at.astimezone(SAO_PAULO).isoformat() == f"{dead_day}T23:59:59-03:00"


def test_declarations_say_what_a_boleto_cannot_do():
    boleto = make_boleto()
    assert boleto.scenes() == {"voucher"}
    assert boleto.currencies == {"BRL"}
    assert (boleto.can_close, boleto.can_refund, boleto.needs_capture) == (False, False, False)
    assert (boleto.repeat, boleto.repeats_for) == (Repeat.SAME_NUMBER, timedelta(hours=24))


# ---- the payer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tax_id": "52998224725"},
        {"tax_id": " 11.222.333/0001-81 "},
        {"tax_id": "00.000.000/0000-00"},
        {"state": "rj"},
        {"postal_code": "20040002"},
        {"country": "br"},
    ],
    ids=str,
)
def test_payer_in_brazil_passes(change):
    make_boleto().check_payer(payer(**change))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tax_id": None}, "tax_id"),
        ({"tax_id": " "}, "tax_id"),
        ({"tax_id": 52998224725}, "tax_id"),
        ({"tax_id": "529.982.247"}, "tax_id"),
        ({"tax_id": "529.982.247-26"}, "tax_id"),
        ({"tax_id": "111.111.111-11"}, "tax_id"),
        ({"tax_id": "11.222.333/0001-82"}, "tax_id"),
        ({"line1": ""}, "address.line1"),
        ({"city": None}, "address.city"),
        ({"state": "XX"}, "address.state"),
        ({"state": "São Paulo"}, "address.state"),
        ({"postal_code": "0100-100"}, "address.postal_code"),
        ({"country": "PT"}, "address.country"),
        ({"address": None}, "address.line1"),
        ({"address": "Rua A 1"}, "address.line1"),
    ],
    ids=str,
)
def test_payer_with_something_missing_or_wrong_is_told_the_field(change, field):
    with pytest.raises(BadPayer) as bad:
        make_boleto().check_payer(payer(**change))
    assert bad.value.field == field
    assert str(bad.value).endswith(".")


@pytest.mark.parametrize("tax_id", ["000.000.000-00", "00.000.000/0000-00"])
def test_test_number_does_not_pass_with_a_live_key(tax_id):
    with pytest.raises(BadPayer):
        make_boleto(secret_key="sk_live_1").check_payer(payer(tax_id=tax_id))


# ---- query by the intent ------------------------------------------------------------------------------------------


def test_query_of_a_paid_slip_reports_everything():
    assert make_boleto(reply(200, asked("succeeded"))).query(ATTEMPT) == replace(
        PAID, paid_at=NOTIFIED_AT - timedelta(seconds=1)
    )


def test_query_asks_for_the_intent_with_its_charge():
    wire = ScriptedWire(reply(200, asked()))
    make_boleto(wire=wire).query(ATTEMPT)
    url = f"https://api.example/v1/payment_intents/{INTENT}?expand%5B0%5D=latest_charge"
    assert (wire.sent[0]["method"], wire.sent[0]["url"], wire.sent[0]["body"]) == ("GET", url, None)
    assert "Idempotency-Key" not in wire.sent[0]["headers"]


@pytest.mark.parametrize("status", [*STATUSES, "requires_capture", "new_status", "SUCCEEDED", "succeeded "])
def test_status_is_read_by_the_table(status):
    report = make_boleto(reply(200, asked(status, last_payment_error=None))).query(ATTEMPT)
    assert report.outcome is STATUSES.get(status, Outcome.UNKNOWN)
    assert report.number == NUMBER


def test_statuses_are_those_of_the_documentation():
    assert Counter(STATUSES.values()) == {Outcome.SUCCEEDED: 1, Outcome.OPEN: 4, Outcome.CLOSED: 1}
    assert "requires_capture" not in STATUSES


@pytest.mark.parametrize(
    "code",
    ["payment_intent_payment_attempt_expired", "payment_intent_payment_attempt_failed", "a_new_code", None],
)
def test_expired_slip_is_closed_whatever_code_its_error_has(code):
    expired = asked("requires_payment_method", last_payment_error={"code": code, "type": "x"})
    report = make_boleto(reply(200, expired)).query(ATTEMPT)
    assert (report.outcome, report.code) == (Outcome.CLOSED, "requires_payment_method")


def test_error_of_an_earlier_try_closes_nothing_while_a_slip_is_out():
    report = make_boleto(reply(200, asked(last_payment_error={"code": "x"}))).query(ATTEMPT)
    assert report.outcome is Outcome.OPEN


@pytest.mark.parametrize(
    "change",
    [
        {"status": None},
        {"status": ["succeeded"]},
        {"amount_received": None},
        {"amount_received": 0},
        {"amount_received": "12900"},
        {"amount_received": 12900.0},
        {"amount_received": True},
        {"currency": None},
        {"currency": "real"},
        {"latest_charge": None},
        {"latest_charge": "py_3ThrowawayNodrop0001"},
        {"latest_charge": {"created": "now"}},
    ],
    ids=str,
)
def test_success_with_a_field_missing_or_of_a_wrong_type_is_unknown(change):
    report = make_boleto(reply(200, asked("succeeded") | change)).query(ATTEMPT)
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


@pytest.mark.parametrize(("amount", "currency"), [(1, "brl"), (12900, "usd"), (25800, "brl")])
def test_amount_and_currency_are_reported_as_they_came(amount, currency):
    report = make_boleto(reply(200, asked("succeeded", amount_received=amount, currency=currency))).query(
        ATTEMPT
    )
    assert (report.outcome, report.amount_minor) == (Outcome.SUCCEEDED, amount)
    assert report.currency == currency.upper()


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
@pytest.mark.parametrize("operation", ["query", "close"])
def test_query_without_a_believable_answer_is_unknown(name, operation):
    report = getattr(make_boleto(UNBELIEVABLE[name]), operation)(ATTEMPT)
    assert (report.outcome, report.number) == (Outcome.UNKNOWN, NUMBER)


# ---- query by our number ------------------------------------------------------------------------------------------


def test_query_without_a_handle_searches_by_our_number():
    wire = ScriptedWire(reply(200, found(asked("succeeded"))))
    assert make_boleto(wire=wire).query(FOUND_BY_NAME).outcome is Outcome.SUCCEEDED
    assert wire.sent[0]["url"].startswith(
        "https://api.example/v1/payment_intents/search?query=metadata%5B%27"
    )
    assert wire.words() == {
        "query": f"metadata['payment_number']:'{NUMBER}'",
        "expand[0]": "data.latest_charge",
    }


def test_search_without_a_result_is_not_found():
    report = make_boleto(reply(200, found())).query(FOUND_BY_NAME)
    assert report == PaymentReport(outcome=Outcome.NOT_FOUND, number=NUMBER)


@pytest.mark.parametrize(
    "answer",
    [
        found(object="list"),
        found(object=...) | {"object": None},
        found(has_more=True),
        found(has_more=None),
        found(has_more=0),
        found() | {"data": None},
        found() | {"data": {}},
        found() | {"data": ["pi_3"]},
        {},
    ],
    ids=str,
)
def test_search_that_is_no_whole_result_is_unknown(answer):
    assert make_boleto(reply(200, answer)).query(FOUND_BY_NAME).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", sorted(UNBELIEVABLE))
def test_search_without_a_believable_answer_is_unknown(name):
    assert make_boleto(UNBELIEVABLE[name]).query(FOUND_BY_NAME).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("change", [{"metadata": {"payment_number": "NDP2"}}, {"livemode": True}], ids=str)
def test_search_that_finds_something_else_is_unknown(change):
    answer = found(asked(), asked("succeeded", **change))
    assert make_boleto(reply(200, answer)).query(FOUND_BY_NAME).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("places", [(0, 1), (1, 0)])
def test_of_several_intents_the_paid_one_counts_and_a_person_is_told(places):
    both = [asked("requires_action", id="pi_3Second"), asked("succeeded")]
    report = make_boleto(reply(200, found(*(both[place] for place in places)))).query(FOUND_BY_NAME)
    assert (report.outcome, report.channel_number) == (Outcome.SUCCEEDED, INTENT)
    assert (report.needs_person, report.code, report.amount_minor) == (True, "several_intents", 12900)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        (["canceled", "requires_action"], Outcome.OPEN),
        (["requires_action", "a_new_status"], Outcome.UNKNOWN),
        (["canceled", "canceled"], Outcome.CLOSED),
        (["a_new_status", "succeeded"], Outcome.SUCCEEDED),
    ],
)
def test_of_several_intents_none_is_closed_while_another_can_be_paid(statuses, outcome):
    answer = found(*(asked(status, id=f"pi_{place}") for place, status in enumerate(statuses)))
    assert make_boleto(reply(200, answer)).query(FOUND_BY_NAME).outcome is outcome


# ---- close and refund, which there are not -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("requires_action", Outcome.OPEN), ("succeeded", Outcome.SUCCEEDED), ("canceled", Outcome.CLOSED)],
)
def test_close_only_asks_what_has_become_of_the_slip(status, outcome):
    wire = ScriptedWire(reply(200, asked(status)))
    assert make_boleto(wire=wire).close(ATTEMPT).outcome is outcome
    assert [sent["method"] for sent in wire.sent] == ["GET"]


def test_refund_is_refused_without_asking():
    wire = ScriptedWire()
    with pytest.raises(Impossible) as refused:
        make_boleto(wire=wire).refund(REFUND)
    assert (refused.value.code, wire.sent) == ("no_refund_on_this_rail", [])


def test_no_refund_is_ever_found():
    report = make_boleto().query_refund(REFUND)
    assert report == RefundReport(
        outcome=Outcome.NOT_FOUND, number=REFUND.number, code="no_refund_on_this_rail"
    )


# ---- webhooks: genuine -------------------------------------------------------------------------------------------


def test_recorded_success_is_read():
    assert make_boleto(now=NOTIFIED_AT).read_callback(vector_callback()) == CallbackMessage(
        message_id="evt_1ThrowawayNodrop0002", kind="payment_intent.succeeded", report=PAID
    )


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("requires_action", Outcome.OPEN),
        ("succeeded", Outcome.SUCCEEDED),
        ("payment_failed", Outcome.CLOSED),
        ("canceled", Outcome.CLOSED),
        ("succeeded_two_v1_during_secret_roll", Outcome.SUCCEEDED),
    ],
)
def test_recorded_webhook_of_each_kind_is_read(name, outcome):
    now = datetime.fromtimestamp(VECTORS["webhooks"][name]["timestamp"], UTC)
    report = make_boleto(now=now).read_callback(vector_callback(name)).report
    assert (report.outcome, report.number) == (outcome, NUMBER)


def read(raw: RawCallback, **how) -> PaymentReport:
    report = make_boleto(now=NOTIFIED_AT, **how).read_callback(raw).report
    assert isinstance(report, PaymentReport)
    return report


@pytest.mark.parametrize("status", [*STATUSES, "requires_capture", "new_status"])
def test_status_inside_decides_not_the_kind_outside(status):
    content = intent("succeeded") | {"status": status}
    assert read(callback("payment_intent.succeeded", content)).outcome is STATUSES.get(
        status, Outcome.UNKNOWN
    )


@pytest.mark.parametrize(
    "kind",
    [
        "payment_intent.created",
        "payment_intent.processing",
        "payment_intent.a_new_kind",
        "charge.succeeded",
        "charge.pending",
    ],
)
def test_event_that_says_nothing_about_the_end_keeps_the_payment_open(kind):
    unmade = intent("requires_payment_method", object="charge")
    assert read(callback(kind, unmade)) == PaymentReport(outcome=Outcome.OPEN, number=NUMBER, code=kind)


@pytest.mark.parametrize("metadata", [None, {}, {"order": "7"}, {"payment_number": 7}, "x"], ids=str)
def test_event_of_another_system_on_the_account_names_nothing_of_ours(metadata):
    report = read(callback("payment_intent.succeeded", intent("succeeded", metadata=metadata)))
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.OPEN, "", None)


def test_money_that_a_bank_takes_back_is_for_a_person():
    report = read(callback("charge.dispute.created", {"object": "dispute", "payment_intent": INTENT}))
    assert (report.outcome, report.code) == (Outcome.UNKNOWN, "charge.dispute.created")


@pytest.mark.parametrize(
    "change",
    [{"amount_received": ...}, {"id": ...}, {"currency": 7}, {"object": "charge"}, {"livemode": True}],
    ids=str,
)
def test_genuine_success_that_cannot_be_read_is_unknown(change):
    report = read(callback("payment_intent.succeeded", intent("succeeded", **change)))
    assert (report.outcome, report.number, report.amount_minor) == (Outcome.UNKNOWN, NUMBER, None)


def test_amount_of_a_webhook_is_reported_as_it_came():
    content = intent("succeeded", amount_received=1, currency="usd")
    report = read(callback("payment_intent.succeeded", content))
    assert (report.outcome, report.amount_minor, report.currency) == (Outcome.SUCCEEDED, 1, "USD")


@pytest.mark.parametrize("secrets", [("whsec_new", WEBHOOK_SECRET), (WEBHOOK_SECRET, "whsec_new")])
def test_either_of_two_secrets_verifies(secrets):
    assert read(vector_callback(), webhook_secrets=secrets) == PAID


def test_signatures_of_other_schemes_beside_a_good_one_are_ignored():
    raw = vector_callback()
    header = f"{raw.headers['stripe-signature']},v0=00,v2=00,x"
    assert read(RawCallback(headers={"stripe-signature": header}, body=raw.body)) == PAID


@pytest.mark.parametrize("off_s", [-300, 0, 300])
def test_webhook_within_the_window_is_read(off_s):
    boleto = make_boleto(now=NOTIFIED_AT + timedelta(seconds=off_s))
    assert boleto.read_callback(vector_callback()).report == PAID


# ---- webhooks: not genuine ---------------------------------------------------------------------------------------


def refused(raw: RawCallback, *, now: datetime = NOTIFIED_AT, **how) -> NotGenuine:
    with pytest.raises(NotGenuine) as caught:
        make_boleto(now=now, **how).read_callback(raw)
    return caught.value


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "timestamp"),
        ("", "timestamp"),
        ("v1={v1}", "timestamp"),
        ("t=,v1={v1}", "timestamp"),
        ("t=x,v1={v1}", "timestamp"),
        ("t=-1795514405,v1={v1}", "timestamp"),
        ("t=1795514405.0,v1={v1}", "timestamp"),
        ("t=１795514405,v1={v1}", "timestamp"),
        ("t=1795514405,t=1795514405,v1={v1}", "timestamp"),
        ("t=1795514406,v1={v1}", "signature"),
        ("t=01795514405,v1={v1}", "signature"),
        ("t=1795514405", "signature"),
        ("t=1795514405,v1=", "signature"),
        ("t=1795514405,v0={v1}", "signature"),
        ("t=1795514405,v1 ={v1}", "signature"),
        ("t=1795514405,v1={v1}0", "signature"),
        ("t=1795514405,v1={V1}", "signature"),
        ("t=1795514405,v1=é", "signature"),
    ],
)
def test_webhook_with_another_header_is_refused(header, reason):
    v1 = VECTORS["webhooks"]["succeeded"]["v1_hex"]
    told = {} if header is None else {"stripe-signature": header.format(v1=v1, V1=v1.upper())}
    assert refused(RawCallback(headers=told, body=vector_callback().body)).reason == reason


def test_webhook_with_any_single_byte_changed_is_refused():
    boleto, raw = make_boleto(now=NOTIFIED_AT), vector_callback()
    for place in range(len(raw.body)):
        body = bytearray(raw.body)
        body[place] ^= 1
        with pytest.raises(NotGenuine, match=r"^signature$"):
            boleto.read_callback(RawCallback(headers=raw.headers, body=bytes(body)))


def test_signature_with_any_single_byte_changed_is_refused():
    raw = vector_callback()
    header = raw.headers["stripe-signature"]
    for place, byte in enumerate(header):
        damaged = header[:place] + chr(ord(byte) ^ 1) + header[place + 1 :]
        refused(RawCallback(headers={"stripe-signature": damaged}, body=raw.body))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 1000), st.integers(0, 60))
def test_webhook_with_a_piece_replaced_is_refused(piece, place, length):
    raw = vector_callback()
    body = raw.body[:place] + piece + raw.body[place + length :]
    if body != raw.body:
        assert refused(RawCallback(headers=raw.headers, body=body)).reason == "signature"


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"\n", lambda body: b""])
def test_webhook_cut_or_lengthened_is_refused(change):
    raw = vector_callback()
    assert refused(RawCallback(headers=raw.headers, body=change(raw.body))).reason == "signature"


def test_reformatted_webhook_is_refused_though_it_says_the_same():
    raw = vector_callback()
    compact = json.dumps(json.loads(raw.body)).encode()
    assert refused(RawCallback(headers=raw.headers, body=compact)).reason == "signature"


def test_webhook_signed_with_another_secret_is_refused():
    raw = sign(vector_callback().body, secret="whsec_another")
    assert refused(raw).reason == "signature"
    assert refused(vector_callback(), webhook_secrets=("whsec_a", "whsec_b")).reason == "signature"


def test_secret_without_its_prefix_is_another_key():
    raw = sign(vector_callback().body, secret=WEBHOOK_SECRET.removeprefix("whsec_"))
    assert refused(raw).reason == "signature"


@pytest.mark.parametrize("off_s", [-301, 301, -86_400, 86_400])
def test_webhook_outside_the_window_is_refused(off_s):
    assert refused(vector_callback(), now=NOTIFIED_AT + timedelta(seconds=off_s)).reason == "timestamp"


@pytest.mark.parametrize(
    ("event", "reason"),
    [({"livemode": True}, "livemode"), ({"livemode": ...}, "livemode"), ({"account": "acct_1"}, "account")],
    ids=str,
)
def test_genuine_event_that_is_not_for_us_is_refused_with_its_number(event, reason):
    not_ours = refused(callback("payment_intent.succeeded", intent("succeeded"), **event))
    assert (not_ours.reason, not_ours.number) == (reason, NUMBER)


def test_live_endpoint_refuses_an_event_of_the_test_mode():
    assert refused(vector_callback(), secret_key="rk_live_1").reason == "livemode"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 60_000,
        b'{"id":"evt_1","id":"evt_2"}',
        b'{"id":"evt_1","type":"a","created":1795514405,"data":[]}',
        b'{"id":"evt_1","type":"a","created":1795514405,"data":{"object":"x"}}',
        b'{"id":"evt_1","type":"a","created":"x","data":{"object":{}}}',
        b'{"id":"a b","type":"a","created":1795514405,"data":{"object":{}}}',
        b'{"id":"evt_1","type":7,"created":1795514405,"data":{"object":{}}}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_signed_body_that_is_no_event_is_refused(body):
    assert refused(sign(body)).reason == "body"


# ---- webhooks: what we answer ------------------------------------------------------------------------------------


def test_acknowledgement_is_an_empty_200():
    answer = make_boleto().acknowledge()
    assert (answer.status, answer.body) == (200, b"")


def test_refusal_is_a_400_with_the_reason():
    answer = make_boleto().refuse_callback("signature")
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "signature"})


# ---- configuration -----------------------------------------------------------------------------------------------

CONFIGURED = {
    "BASE_URL": "https://api.example/",
    "SECRET_KEY": SECRET_KEY,
    "WEBHOOK_SECRET": f"{WEBHOOK_SECRET}, whsec_old",
    "EXPIRES_AFTER_DAYS": "5",
}


def test_settings_make_a_channel_with_two_secrets_and_its_own_days():
    boleto = Boleto.from_settings(CONFIGURED)
    assert boleto.expires_at(
        scene="voucher", order_expires_at=CREATED_AT, now=CREATED_AT
    ) == EXPIRES_AT + timedelta(days=2)
    assert boleto._webhook_secrets == (WEBHOOK_SECRET, "whsec_old")


@pytest.mark.parametrize(
    "change",
    [
        {"SECRET_KEY": "pk_test_1"},
        {"SECRET_KEY": "sk_prod_1"},
        {"SECRET_KEY": "sk_test_1\nX: y"},
        {"WEBHOOK_SECRET": "hidden-one"},
        {"WEBHOOK_SECRET": "whsec_1,"},
        {"WEBHOOK_SECRET": "whsec_1, whsec_"},
        {"EXPIRES_AFTER_DAYS": "61"},
        {"EXPIRES_AFTER_DAYS": "-1"},
        {"EXPIRES_AFTER_DAYS": "three"},
        {"EXPIRES_AFTER_DAYS": ""},
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_make_no_channel(change):
    with pytest.raises(BadKey) as bad:
        Boleto.from_settings(CONFIGURED | change)
    assert not any(value and value in str(bad.value) for value in change.values() if len(value) > 5)


def test_channel_without_a_webhook_secret_is_not_made():
    with pytest.raises(BadKey, match="whsec_"):
        make_boleto(webhook_secrets=())
