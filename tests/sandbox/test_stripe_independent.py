"""Stripe's own package, which knows nothing of us, works against the sandbox with only its host changed."""

from typing import Any

import pytest
import stripe
from stripe import StripeClient, Webhook

from tests.sandbox.merchant import make_number


@pytest.fixture
def client(sandbox) -> StripeClient:
    return StripeClient(sandbox.env["BOLETO_SECRET_KEY"], base_addresses={"api": sandbox.url})


@pytest.fixture
def read_event(sandbox, shop):
    """Takes the next event and verifies it with the package."""
    sandbox.set_webhooks(boleto=shop.url)

    def read() -> Any:
        received = shop.take()
        return Webhook.construct_event(
            received.body, received.headers["Stripe-Signature"], sandbox.env["BOLETO_WEBHOOK_SECRET"]
        )

    return read


def params(number: str, **changes: Any) -> Any:
    address = {
        "line1": "Rua A 1",
        "city": "São Paulo",
        "state": "SP",
        "postal_code": "01001000",
        "country": "BR",
    }
    person = {"name": "Maria Silva", "email": "maria@shop.example", "address": address}
    return {
        "amount": 12900,
        "currency": "brl",
        "confirm": True,
        "payment_method_types": ["boleto"],
        "payment_method_data": {
            "type": "boleto",
            "billing_details": person,
            "boleto": {"tax_id": "000.000.000-00"},
        },
        "payment_method_options": {"boleto": {"expires_after_days": 3}},
        "metadata": {"payment_number": number},
        **changes,
    }


def create(client: StripeClient, number: str | None = None) -> Any:
    return client.v1.payment_intents.create(params(number or make_number()))


def test_it_issues_a_slip(client):
    intent = create(client)

    assert intent.status == "requires_action"
    assert len(intent.next_action.boleto_display_details.number) == 47


def test_it_gets_the_same_slip_under_the_same_key(client, sandbox):
    number = make_number()
    made = [
        client.v1.payment_intents.create(params(number), options={"idempotency_key": number})
        for _ in range(2)
    ]

    assert made[0] == made[1]
    assert made[1].last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.payment_intents.create(params(number, amount=500), options={"idempotency_key": number})


def test_its_own_repeats_after_an_error_make_one_slip(sandbox):
    client = StripeClient(
        sandbox.env["BOLETO_SECRET_KEY"], base_addresses={"api": sandbox.url}, max_network_retries=2
    )
    number = make_number()
    fault = {"channel": "boleto", "operation": "create", "what": "syserr", "when": "after"}
    sandbox.set_faults({"script": [fault]})

    assert create(client, number).status == "requires_action"
    assert len(sandbox.trades(number)) == 1


def test_it_retrieves_searches_and_lists(client, sandbox):
    number = make_number()
    intent = create(client, number)
    sandbox.pay(number, channel="boleto")

    paid = client.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (paid.status, paid.latest_charge.payment_intent) == ("succeeded", intent.id)
    found = client.v1.payment_intents.search({"query": f"metadata['payment_number']:'{number}'"})
    assert [one.id for one in found.auto_paging_iter()] == [intent.id]
    listed = client.v1.payment_intents.list({"limit": 1, "created": {"gte": intent.created}})
    assert intent.id in [one.id for one in listed.auto_paging_iter()]


def test_it_walks_through_the_bookings(client, sandbox):
    intents = []
    for _ in range(3):
        number = make_number()
        intents.append(create(client, number).id)
        sandbox.pay(number, channel="boleto")

    wanted = {"limit": 2, "created": {"gte": 1}, "expand": ["data.source"]}
    lines = list(client.v1.balance_transactions.list(wanted).auto_paging_iter())
    assert set(intents) <= {line.source.payment_intent for line in lines}
    assert {line.type for line in lines} == {"payment"}


def test_it_verifies_our_events(client, sandbox, read_event):
    number = make_number()
    intent = create(client, number)
    assert read_event().type == "payment_intent.requires_action"
    sandbox.pay(number, channel="boleto")

    event = read_event()
    assert (event.type, event.livemode) == ("payment_intent.succeeded", False)
    assert (event.data.object.id, event.data.object.amount_received) == (intent.id, 12900)
    assert event.id in [one.id for one in client.v1.events.list({"limit": 100}).auto_paging_iter()]


@pytest.mark.parametrize("rate", ["forge", "tamper"])
def test_it_refuses_a_forged_or_changed_event(client, sandbox, read_event, rate):
    sandbox.set_faults({"notify": {rate: 1}})
    create(client)

    with pytest.raises(stripe.SignatureVerificationError):
        read_event()


def test_it_reads_our_refusals(client, sandbox):
    number = make_number()
    intent = create(client, number)
    with pytest.raises(stripe.InvalidRequestError) as cancelled:
        client.v1.payment_intents.cancel(intent.id)
    assert cancelled.value.code == "payment_intent_unexpected_state"
    assert cancelled.value.error.payment_intent.id == intent.id
    sandbox.pay(number, channel="boleto")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_not_refundable"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_nothing")
    assert (missing.value.code, missing.value.http_status) == ("resource_missing", 404)
    assert missing.value.request_id.startswith("req_")


def test_it_is_refused_with_another_key(sandbox):
    stranger = StripeClient("sk_test_stranger", base_addresses={"api": sandbox.url})

    with pytest.raises(stripe.AuthenticationError):
        create(stranger)
