"""`paypal-server-sdk`, PayPal's own client that knows nothing of us, works against the sandbox with only its host changed."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.payment_source import PaymentSource
from paypalserversdk.models.paypal_experience_user_action import PaypalExperienceUserAction
from paypalserversdk.models.paypal_wallet import PaypalWallet
from paypalserversdk.models.paypal_wallet_experience_context import PaypalWalletExperienceContext
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from tests.sandbox.merchant import make_number

WHOLE = "return=representation"


@pytest.fixture
def client(sandbox, monkeypatch) -> PaypalServersdkClient:
    hosts = {Environment.SANDBOX: {Server.DEFAULT: sandbox.url}}
    monkeypatch.setattr(Configuration, "environments", hosts)
    return make_client(sandbox, sandbox.env["PAYPAL_CLIENT_SECRET"])


def make_client(sandbox, secret) -> PaypalServersdkClient:
    credentials = ClientCredentialsAuthCredentials(
        o_auth_client_id=sandbox.env["PAYPAL_CLIENT_ID"], o_auth_client_secret=secret
    )
    return PaypalServersdkClient(
        client_credentials_auth_credentials=credentials, environment=Environment.SANDBOX
    )


def create(client, number="", source=None):
    number = number or make_number("P")
    unit = PurchaseUnitRequest(
        amount=AmountWithBreakdown(currency_code="USD", value="19.90"),
        custom_id=number,
        invoice_id=number,
        description="两件T恤 x2",
    )
    body = OrderRequest(intent=CheckoutPaymentIntent.CAPTURE, purchase_units=[unit], payment_source=source)
    return number, client.orders.create_order(
        {"body": body, "paypal_request_id": number, "prefer": WHOLE}
    ).body


def capture(client, order, request_id=""):
    wish = {"id": order.id, "prefer": WHOLE, "paypal_request_id": request_id or str(uuid.uuid4())}
    return client.orders.capture_order(wish).body


def test_it_creates_and_queries_an_order(client):
    number, order = create(client)
    assert [link.rel for link in order.links] == ["self", "approve"]
    found = client.orders.get_order({"id": order.id}).body
    assert (found.status, found.purchase_units[0].invoice_id) == ("CREATED", number)


def test_it_creates_an_order_for_paypals_own_wallet(client):
    context = PaypalWalletExperienceContext(
        return_url="https://shop.example/", user_action=PaypalExperienceUserAction.PAY_NOW
    )
    number, order = create(client, source=PaymentSource(paypal=PaypalWallet(experience_context=context)))
    assert (order.status, order.links[1].rel) == ("PAYER_ACTION_REQUIRED", "payer-action")
    assert (
        create(client, number, PaymentSource(paypal=PaypalWallet(experience_context=context)))[1].id
        == order.id
    )


def test_it_captures_an_approved_order(client, sandbox):
    number, order = create(client)
    sandbox.pay(number, channel="paypal")
    [captured] = capture(client, order).purchase_units[0].payments.captures
    assert (captured.status, captured.amount.value, captured.invoice_id) == ("COMPLETED", "19.90", number)
    assert client.payments.get_captured_payment({"capture_id": captured.id}).body.id == captured.id
    assert sandbox.trades(number)[0]["channel_number"] == captured.id


def test_it_is_told_why_an_order_is_not_captured(client):
    _, order = create(client)
    with pytest.raises(ErrorException) as refused:
        capture(client, order)
    assert refused.value.response_code == 422
    assert [detail.issue for detail in refused.value.details] == ["ORDER_NOT_APPROVED"]


def test_it_refunds_a_part_and_the_rest_and_queries_the_refund(client, sandbox):
    number, order = create(client)
    sandbox.pay(number, channel="paypal")
    [captured] = capture(client, order).purchase_units[0].payments.captures
    body = RefundRequest(amount=Money(currency_code="USD", value="5.00"), invoice_id="R" + number)
    wish = {"capture_id": captured.id, "paypal_request_id": "R" + number, "prefer": WHOLE}

    part = client.payments.refund_captured_payment({**wish, "body": body}).body
    rest = client.payments.refund_captured_payment({**wish, "paypal_request_id": "rest" + number}).body

    assert (part.status, part.amount.value, part.invoice_id) == ("COMPLETED", "5.00", "R" + number)
    assert rest.amount.value == "14.90"
    assert client.payments.get_refund({"refund_id": part.id}).body.status == "COMPLETED"
    assert client.payments.get_captured_payment({"capture_id": captured.id}).body.status == "REFUNDED"


def test_it_searches_the_transactions(client, sandbox):
    number, order = create(client)
    sandbox.pay(number, channel="paypal")
    capture(client, order)
    now = datetime.now(UTC)
    start, end = ((now + timedelta(minutes=off)).isoformat(timespec="seconds") for off in (-5, 5))
    page = client.transaction_search.search_transactions(
        {"start_date": start, "end_date": end, "fields": "all", "page_size": 500, "page": 1}
    ).body
    infos = [one.transaction_info for one in page.transaction_details]
    assert [one.transaction_amount.value for one in infos if one.invoice_id == number] == ["19.90"]


def test_it_reads_the_order_that_our_webhook_tells(client, sandbox, shop):
    sandbox.set_webhooks(paypal=shop.url)
    number, order = create(client)
    sandbox.pay(number, channel="paypal")
    event = json.loads(shop.take().body)
    assert event["resource"]["id"] == order.id
    assert client.orders.get_order({"id": event["resource"]["id"]}).body.status == "APPROVED"


def test_its_wrong_secret_gets_no_token(client, sandbox):
    wrong = make_client(sandbox, "wrong")
    with pytest.raises(Exception, match=r"(?i)client|credential|token|unauthori"):
        create(wrong)
