"""Stripe's own package as an independent party: what it signs we read, what we write it would have written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import stripe
from stripe import Webhook, WebhookSignature
from stripe._encode import _api_encode

from payments.channels.base import NotGenuine, Outcome, RawCallback
from payments.channels.boleto import API_VERSION
from payments.channels.boleto_reading import REFUSALS

from .boleto_party import (
    ATTEMPT,
    NOTIFIED_AT,
    NUMBER,
    PAYER,
    WEBHOOK_SECRET,
    ScriptedWire,
    intent,
    make_boleto,
    reply,
    vector_callback,
)

BODY = vector_callback().body.decode()
SIGNED_AT = int(NOTIFIED_AT.timestamp())


def sign(body: str = BODY, *, secret: str = WEBHOOK_SECRET, at: int = SIGNED_AT) -> RawCallback:
    header = WebhookSignature.generate_signature_header(body, secret, timestamp=at)
    return RawCallback(headers={"stripe-signature": header}, body=body.encode())


@pytest.fixture
def at_package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Read with the package at a moment after the signature."""

    def read(raw: RawCallback, *, late_s: int = 0) -> Any:
        monkeypatch.setattr("stripe._webhook.time.time", lambda: SIGNED_AT + late_s)
        return Webhook.construct_event(raw.body, raw.headers["stripe-signature"], WEBHOOK_SECRET)

    return read


def test_webhook_signed_by_the_package_is_read():
    message = make_boleto(now=NOTIFIED_AT).read_callback(sign())
    assert (message.report.outcome, message.report.number) == (Outcome.SUCCEEDED, NUMBER)


def test_webhook_signed_by_the_package_with_another_secret_is_refused():
    with pytest.raises(NotGenuine, match="signature"):
        make_boleto(now=NOTIFIED_AT).read_callback(sign(secret="whsec_another"))


def test_text_beyond_ascii_is_signed_alike():
    raw = sign(json.dumps(json.loads(BODY) | {"note": "São João"}, ensure_ascii=False))
    assert make_boleto(now=NOTIFIED_AT).read_callback(raw).report.number == NUMBER


@pytest.mark.parametrize("name", ["succeeded", "succeeded_two_v1_during_secret_roll"])
def test_recorded_webhook_is_read_alike(name, at_package):
    theirs = at_package(vector_callback(name))
    ours = make_boleto(now=NOTIFIED_AT).read_callback(vector_callback(name))
    assert (ours.message_id, ours.kind) == (theirs.id, theirs.type)
    inside = theirs.data.object
    assert ours.report.number == inside.metadata["payment_number"]
    assert ours.report.channel_number == inside.id
    assert (ours.report.amount_minor, ours.report.code) == (inside.amount_received, inside.status)


@pytest.mark.parametrize("late_s", [0, 299, 300])
def test_webhook_of_this_age_is_genuine_to_both(late_s, at_package):
    assert at_package(vector_callback(), late_s=late_s).id
    assert make_boleto(now=NOTIFIED_AT + timedelta(seconds=late_s)).read_callback(vector_callback())


@pytest.mark.parametrize("late_s", [301, 3600])
def test_webhook_of_this_age_is_refused_by_both(late_s, at_package):
    with pytest.raises(stripe.SignatureVerificationError):
        at_package(vector_callback(), late_s=late_s)
    with pytest.raises(NotGenuine):
        make_boleto(now=NOTIFIED_AT + timedelta(seconds=late_s)).read_callback(vector_callback())


def test_form_is_what_the_package_would_send():
    wire = ScriptedWire(reply(200, intent()))
    make_boleto(wire=wire).create(ATTEMPT)
    address = PAYER["address"] | {"postal_code": "01001000"}
    params = {
        "amount": 12900,
        "currency": "brl",
        "confirm": True,
        "description": ATTEMPT.description,
        "payment_method_types": ["boleto"],
        "payment_method_data": {
            "type": "boleto",
            "billing_details": {"name": PAYER["name"], "email": PAYER["email"], "address": address},
            "boleto": {"tax_id": PAYER["tax_id"]},
        },
        "payment_method_options": {"boleto": {"expires_after_days": 3}},
        "metadata": {"payment_number": NUMBER},
    }
    assert wire.form == {name: str(value) for name, value in _api_encode(params)}
    assert b"payment_method_data[boleto][tax_id]=000.000.000-00" in wire.sent[0]["body"]


def test_version_is_that_of_the_package():
    assert stripe.api_version == API_VERSION


def test_intent_of_our_test_party_is_one_to_the_package():
    read = stripe.PaymentIntent.construct_from(intent(), "sk_test_1")
    assert read.next_action.boleto_display_details.number
    assert read.status == "requires_action"


def test_final_codes_are_codes_that_the_package_knows():
    error = stripe.PaymentIntent.LastPaymentError.__annotations__["code"]
    assert (
        sorted(code for code in REFUSALS if f"'{code}'" not in str(error) and f'"{code}"' not in str(error))
        == []
    )
