"""What the real PayPal refuses, the sandbox refuses."""

import json
import time

import pytest

from payments.sandbox.keys import Keyring
from payments.sandbox.paypal_seals import PayPalKeys
from tests.sandbox.merchant import make_number
from tests.sandbox.paypal_merchant import ORDERS, PayPalMerchant, told
from tests.sandbox.test_paypal_calls import search

PLACES = [
    ("POST", ORDERS),
    ("GET", f"{ORDERS}/X"),
    ("POST", f"{ORDERS}/X/capture"),
    ("GET", "/v2/payments/captures/X"),
    ("POST", "/v2/payments/captures/X/refund"),
    ("GET", "/v2/payments/refunds/X"),
    ("POST", "/v1/notifications/verify-webhook-signature"),
    ("GET", "/v1/notifications/webhooks-events"),
    ("POST", "/v1/notifications/webhooks-events/X/resend"),
    ("GET", "/v1/reporting/transactions"),
]


@pytest.fixture
def merchant(sandbox) -> PayPalMerchant:
    return PayPalMerchant(sandbox)


# Who is calling


@pytest.mark.parametrize(("method", "path"), PLACES)
@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer A21AAwrong", "Basic QTpC"])
def test_call_without_a_token_of_ours_is_refused(merchant, method, path, authorization):
    assert told(merchant.call(method, path, {}, Authorization=authorization)) == (401, "invalid_token")


def test_token_of_which_one_character_differs_is_refused(merchant):
    merchant.token = merchant.token[:-1] + ("0" if merchant.token[-1] != "0" else "1")
    assert told(merchant.query("X")) == (401, "invalid_token")


def test_token_that_has_expired_is_refused(key_dir, monkeypatch):
    keys = PayPalKeys(Keyring(key_dir))
    token, now = keys.make_token(), time.time()
    assert keys.has_token(f"Bearer {token}")
    monkeypatch.setattr("payments.sandbox.paypal_seals.time.time", lambda: now + 32401)
    assert not keys.has_token(f"Bearer {token}")


def test_token_is_given_for_the_right_secret_only(merchant):
    assert told(merchant.fetch_token("wrong")) == (401, "invalid_client")
    assert merchant.fetch_token(grant_type="password").status_code == 400


# What is sent


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": None}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"amount": {"value": "19.90"}}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"amount": {"currency_code": "USD"}}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"amount": {"currency_code": "USD", "value": 19.9}}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"amount": {"currency_code": "USD", "value": "19,90"}}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"amount": {"currency_code": "USD", "value": "1e3"}}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"amount": {"currency_code": "USD", "value": "19.905"}}, (422, "DECIMAL_PRECISION")),
        ({"amount": {"currency_code": "JPY", "value": "19.90"}}, (422, "DECIMALS_NOT_SUPPORTED")),
        ({"amount": {"currency_code": "USD", "value": "0.00"}}, (422, "CANNOT_BE_ZERO_OR_NEGATIVE")),
        ({"amount": {"currency_code": "USD", "value": "-1.00"}}, (422, "CANNOT_BE_ZERO_OR_NEGATIVE")),
        ({"amount": {"currency_code": "XYZ", "value": "1.00"}}, (422, "CURRENCY_NOT_SUPPORTED")),
        ({"custom_id": "x" * 128}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"invoice_id": "x" * 128}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"description": "x" * 128}, (400, "INVALID_PARAMETER_SYNTAX")),
    ],
    ids=str,
)
def test_order_that_breaks_a_rule_is_refused_and_not_kept(merchant, change, expected):
    document = merchant.order(**change)
    assert told(merchant.call("POST", ORDERS, document)) == expected
    assert merchant.sandbox.trades(document["purchase_units"][0]["invoice_id"]) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"intent": None}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"intent": "AUTHORIZE"}, (422, "UNSUPPORTED_INTENT")),
        ({"purchase_units": None}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"purchase_units": []}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"purchase_units": [7]}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"payment_source": {"card": {}}}, (400, "MISSING_REQUIRED_PARAMETER")),
        (
            {"payment_source": {"paypal": {"experience_context": {"return_url": "/orders/"}}}},
            (400, "INVALID_PARAMETER_SYNTAX"),
        ),
        (
            {"payment_source": {"paypal": {"experience_context": {"user_action": "PAY"}}}},
            (400, "INVALID_PARAMETER_SYNTAX"),
        ),
    ],
    ids=str,
)
def test_order_of_another_shape_is_refused(merchant, change, expected):
    assert (
        told(merchant.call("POST", ORDERS, merchant.order() | change, request_id=make_number())) == expected
    )


@pytest.mark.parametrize("raw", [b"", b"<<<", b"[]", b"\xff", b'{"intent":NaN}', b"[" * 50_000])
def test_body_that_is_no_json_object_is_refused(merchant, raw):
    assert told(merchant.call("POST", ORDERS, raw=raw)) == (400, "MALFORMED_REQUEST_JSON")


def test_body_of_another_type_is_refused(merchant):
    answer = merchant.call("POST", ORDERS, merchant.order(), Content_Type="text/plain")
    assert told(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_payment_source_needs_a_request_id(merchant):
    assert told(merchant.call("POST", ORDERS, merchant.order(source=True))) == (
        400,
        "PAYPAL_REQUEST_ID_REQUIRED",
    )


def test_request_id_of_109_characters_is_refused(merchant):
    answer = merchant.call("POST", ORDERS, merchant.order(), request_id="x" * 109)
    assert told(answer) == (400, "INVALID_STRING_MAX_LENGTH")


def test_request_id_is_good_for_one_content(merchant):
    request_id = make_number()
    merchant.call("POST", ORDERS, merchant.order(), request_id=request_id)
    answer = merchant.call("POST", ORDERS, merchant.order(), request_id=request_id)
    assert told(answer) == (422, "DUPLICATE_REQUEST_ID")


@pytest.mark.parametrize(("method", "path"), PLACES[1:6])
def test_what_does_not_exist_is_404(merchant, method, path):
    answer = merchant.call(method, path, {} if method == "POST" else None)
    assert told(answer) == (404, "INVALID_RESOURCE_ID")
    assert answer.json()["name"] == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/notifications/webhooks"),
        ("DELETE", "/v1/reporting/transactions"),
        ("POST", "/v1/oauth2/token/terminate"),
        ("PUT", "/v2/checkout/orders"),
        ("GET", "/v2/invoicing/invoices"),
    ],
)
def test_what_is_no_call_is_refused_in_the_words_of_paypal(merchant, method, path):
    answer = merchant.call(method, path)

    assert told(answer) == (404, "INVALID_RESOURCE_ID")
    assert answer.json()["name"] == "RESOURCE_NOT_FOUND"


# Refunds


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"amount": {"currency_code": "USD", "value": "19.91"}}, (422, "REFUND_AMOUNT_EXCEEDED")),
        ({"amount": {"currency_code": "BRL", "value": "1.00"}}, (422, "REFUND_CAPTURE_CURRENCY_MISMATCH")),
        ({"amount": {"currency_code": "USD", "value": "0"}}, (422, "CANNOT_BE_ZERO_OR_NEGATIVE")),
        ({"amount": {"currency_code": "USD", "value": "1.001"}}, (422, "DECIMAL_PRECISION")),
        ({"amount": "1.00"}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"note_to_payer": "x" * 256}, (400, "INVALID_PARAMETER_SYNTAX")),
    ],
    ids=str,
)
def test_refund_that_breaks_a_rule_is_refused_and_moves_nothing(merchant, wish, expected):
    number, _, capture_id = merchant.create_paid()
    assert told(merchant.refund(capture_id, wish)) == expected
    assert merchant.sandbox.trades(number)[0]["refunds"] == []


def test_refund_of_an_invoice_that_was_refunded_is_refused(merchant):
    number, _, capture_id = merchant.create_paid()
    wish = {"amount": {"currency_code": "USD", "value": "1.00"}, "invoice_id": "R" + number}
    assert merchant.refund(capture_id, wish, "one").status_code == 201
    assert told(merchant.refund(capture_id, wish, "two")) == (422, "DUPLICATE_INVOICE_ID")
    assert told(merchant.refund(capture_id, wish | {"note_to_payer": "x"}, "one")) == (
        422,
        "DUPLICATE_REQUEST_ID",
    )


def test_console_refuses_more_than_is_left_or_was_never_captured(merchant):
    number, _, _ = merchant.create_paid()
    with pytest.raises(AssertionError, match="409"):
        merchant.sandbox.refund_in_console(number, 1991, channel="paypal")
    number, _ = merchant.create()
    with pytest.raises(AssertionError, match="409"):
        merchant.sandbox.refund_in_console(number, 1, channel="paypal")


# Verification and search


@pytest.mark.parametrize("document", [{}, {"webhook_event": {}}, {"auth_algo": 7}])
def test_incomplete_verification_is_refused(merchant, document):
    answer = merchant.call(
        "POST", "/v1/notifications/verify-webhook-signature", raw=json.dumps(document).encode()
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"start_date": None},
        {"end_date": None},
        {"start_date": "2026-11-20"},
        {"end_date": "2020-01-01T00:00:00Z"},
        {"start_date": "2020-01-01T00:00:00Z"},
        {"page_size": "501"},
        {"page_size": "0"},
        {"page": "0"},
        {"page": "x"},
    ],
    ids=str,
)
def test_search_that_breaks_a_rule_is_refused(merchant, change):
    assert search(merchant, **change).status_code == 400
