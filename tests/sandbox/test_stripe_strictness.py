"""Each part of a call to Stripe damaged in turn: the right status and code, and nothing kept."""

import base64

import pytest

from tests.sandbox.merchant import make_number
from tests.sandbox.stripe_account import INTENTS, error_of


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_call_without_damage_is_accepted(account):
    assert account.call("POST", INTENTS, account.form()).status_code == 200


def test_key_is_accepted_as_a_basic_user_too(account):
    headers = {"Authorization": basic(account.key)}

    assert account.call("POST", INTENTS, account.form(), headers=headers).status_code == 200


@pytest.mark.parametrize("make", [
    lambda key: "", lambda key: "Bearer", lambda key: "Bearer sk_test_other", lambda key: f"Bearer {key}x",
    lambda key: f"Bearer {key[:-1]}", lambda key: key, lambda key: basic("sk_test_other"),
    lambda key: basic(key, "password"), lambda key: basic("", key), lambda key: f"Token {key}", lambda key: "Bearer é",
])  # fmt: skip
def test_wrong_key_is_refused(account, make):
    form = account.form()
    headers = {"Authorization": make(account.key).encode()}
    answer = account.call("POST", INTENTS, form, headers=headers)

    assert error_of(answer) == (401, "invalid_request_error", "")
    assert account.key not in answer.text
    assert account.sandbox.trades(form["metadata[payment_number]"]) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": None}, "parameter_missing"),
        ({"amount": ""}, "parameter_invalid_empty"),
        ({"amount": "129.00"}, "parameter_invalid_integer"),
        ({"amount": "-12900"}, "parameter_invalid_integer"),
        ({"amount": "١٢٩٠٠"}, "parameter_invalid_integer"),
        ({"amount": 499}, "amount_too_small"),
        ({"amount": 5_000_000}, "amount_too_large"),
        ({"currency": None}, "parameter_missing"),
        ({"currency": "usd"}, "payment_intent_invalid_parameter"),
        ({"confirm": ""}, "parameter_invalid_empty"),
        ({"confirm": "yes"}, "parameter_invalid_empty"),
        ({"confirm": "false", "tax_id": None}, "parameter_missing"),
        ({"payment_method_types[0]": "card"}, "payment_intent_invalid_parameter"),
        ({"payment_method_types[1]": "card"}, "parameter_unknown"),
        ({"payment_method_data[type]": None}, "parameter_missing"),
        ({"capture_method": "manual"}, "payment_intent_invalid_parameter"),
        ({"name": None}, "parameter_missing"),
        ({"name": " "}, "parameter_invalid_empty"),
        ({"email": None}, "parameter_missing"),
        ({"email": "maria"}, "email_invalid"),
        ({"line1": None}, "parameter_missing"),
        ({"city": ""}, "parameter_invalid_empty"),
        ({"state": "XX"}, "state_unsupported"),
        ({"state": "São Paulo"}, "state_unsupported"),
        ({"postal_code": "0100"}, "postal_code_invalid"),
        ({"country": "PT"}, "country_code_invalid"),
        ({"tax_id": None}, "parameter_missing"),
        ({"tax_id": "111.444.777-36"}, "tax_id_invalid"),
        ({"tax_id": "111444777-35"}, "tax_id_invalid"),
        ({"tax_id": "11.222.333/0001-82"}, "tax_id_invalid"),
        ({"tax_id": "1114447773"}, "tax_id_invalid"),
        ({"days": 61}, "parameter_invalid_integer"),
        ({"days": "-1"}, "parameter_invalid_integer"),
        ({"days": "soon"}, "parameter_invalid_integer"),
        ({"unknown": "1"}, "parameter_unknown"),
        ({"metadata": "1"}, "parameter_unknown"),
        ({"metadata[a][b]": "1"}, "parameter_unknown"),
        ({"amount[0]": "1"}, "parameter_unknown"),
        ({"amount[": "1"}, "parameter_unknown"),
        ({"metadata[" + "n" * 41 + "]": "1"}, "parameter_invalid_empty"),
        ({"metadata[n]": "v" * 501}, "parameter_invalid_empty"),
        ({"expand[0]": "nothing"}, "parameter_unknown"),
    ],
    ids=str,
)
def test_wrong_parameter_is_refused_and_nothing_is_kept(account, change, code):
    number = make_number()
    answer = account.call("POST", INTENTS, account.form(number, **change), key=number)

    assert error_of(answer) == (400, "invalid_request_error", code)
    assert account.sandbox.trades(number) == []


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 500},
        {"amount": 4_999_999},
        {"tax_id": "11144477735"},
        {"tax_id": "11.222.333/0001-81"},
        {"tax_id": "00.000.000/0000-00"},
        {"postal_code": "01001000"},
        {"days": 0},
        {"expand[0]": "latest_charge"},
        {"payment_method_types[0]": None, "payment_method_types[]": "boleto"},
        {"metadata[" + "n" * 40 + "]": "v" * 500},
        {"receipt_email": "maria@shop.example", "capture_method": "automatic"},
    ],
    ids=str,
)
def test_parameter_at_its_limit_is_accepted(account, change):
    assert account.call("POST", INTENTS, account.form(**change)).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [b"amount=12900&amount=12900", b"amount=%ff", b"&".join(b"metadata[a%d]=1" % n for n in range(600))],
    ids=["twice", "not UTF-8", "too many"],
)
def test_form_that_cannot_be_read_is_refused(account, raw):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    assert account.call("POST", INTENTS, raw, headers=headers).status_code == 400


def test_body_of_another_type_is_refused(account):
    answer = account.call("POST", INTENTS, None, json={"amount": 12900})

    assert error_of(answer)[:2] == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 500}, "parameter_unknown"),
        ({"confirm": "true"}, "parameter_unknown"),
        ({"payment_method_data[type]": "boleto"}, "parameter_missing"),
        ({"payment_method_options[boleto][expires_after_days]": 61}, "parameter_invalid_integer"),
    ],
    ids=str,
)
def test_wrong_parameter_of_a_confirmation_is_refused_and_issues_nothing(account, change, code):
    intent = account.create(confirm=None)
    answer = account.call("POST", f"{INTENTS}/{intent['id']}/confirm", change)

    assert error_of(answer) == (400, "invalid_request_error", code)
    assert account.retrieve(intent["id"]) == intent


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers"),
        ("GET", "/v1/customers/cus_1/sources"),
        ("PUT", INTENTS),
        ("DELETE", f"{INTENTS}/pi_1"),
        ("GET", f"{INTENTS}/"),
        ("POST", f"{INTENTS}//confirm"),
        ("PATCH", "/v1/refunds"),
    ],
)
def test_what_is_no_call_is_refused_in_the_words_of_stripe(account, method, path):
    answer = account.call(method, path)

    assert error_of(answer) == (404, "invalid_request_error", "")
    assert answer.json()["error"]["message"].startswith(f"Unrecognized request URL ({method}: {path}).")
    assert answer.headers["Request-Id"].startswith("req_")


def test_what_is_no_call_needs_a_key_too(account):
    assert account.call("GET", "/v1/customers", headers={"Authorization": ""}).status_code == 401


def test_parameters_of_a_post_stand_in_its_body(account):
    answer = account.call("POST", INTENTS, None, query=account.form())

    assert error_of(answer)[2] == "parameter_unknown"


def test_key_of_idempotency_has_255_signs_at_most(account):
    assert account.call("POST", INTENTS, account.form(), key="k" * 256).status_code == 400
    assert account.call("POST", INTENTS, account.form(), key="k" * 225 + make_number()).status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        (INTENTS, {"limit": 0}, "parameter_invalid_integer"),
        (INTENTS, {"limit": 101}, "parameter_invalid_integer"),
        (INTENTS, {"created[gte]": "now"}, "parameter_invalid_integer"),
        (INTENTS, {"created": "1"}, "parameter_unknown"),
        (INTENTS, {"expand[0]": "data.customer"}, "parameter_unknown"),
        ("/v1/balance_transactions", {"day": "2026-11-21"}, "parameter_unknown"),
        ("/v1/balance_transactions", {"expand[0]": "source"}, "parameter_unknown"),
        ("/v1/balance_transactions", {"starting_after": "txn_x"}, "resource_missing"),
        ("/v1/events", {"limit": "all"}, "parameter_invalid_integer"),
    ],
    ids=str,
)
def test_wrong_word_of_a_list_is_refused(account, path, query, code):
    assert error_of(account.call("GET", path, query=query)) == (400, "invalid_request_error", code)


def test_reason_of_a_cancel_is_one_of_four(account):
    intent = account.create(email="expire_immediately@shop.example")
    path = f"{INTENTS}/{intent['id']}/cancel"

    assert account.call("POST", path, {"cancellation_reason": "mood"}).status_code == 400
    assert account.call("POST", path, {"cancellation_reason": "duplicate"}).status_code == 200


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"what": "syserr"}, (500, "api_error", "")),
        ({"what": "notfound", "operation": "query"}, (404, "invalid_request_error", "resource_missing")),
        (
            {"what": "status", "value": {"status": 409, "code": "lock_timeout"}},
            (409, "invalid_request_error", "lock_timeout"),
        ),
        (
            {"what": "status", "value": {"status": 402, "code": "payment_method_provider_decline"}},
            (402, "card_error", "payment_method_provider_decline"),
        ),
    ],
    ids=str,
)
def test_faults_speak_in_the_words_of_stripe(account, fault, expected):
    intent = account.create()
    entry = {"channel": "boleto", "operation": "query", "when": "after"} | fault
    account.sandbox.set_faults({"script": [entry]})

    assert error_of(account.call("GET", f"{INTENTS}/{intent['id']}")) == expected
    assert account.retrieve(intent["id"])["status"] == "requires_action"


@pytest.mark.parametrize(
    ("lie", "path"),
    [
        ({"amount": 1}, ("amount_received", 1)),
        ({"currency": "usd"}, ("currency", "usd")),
        ({"status": "succeeded"}, ("status", "succeeded")),
        ({"out_trade_no": "X"}, ("metadata", {"payment_number": "X"})),
        ({"channel_number": "pi_x"}, ("id", "pi_x")),
        ({"merchant": "x"}, ("livemode", True)),
        ({"app": "ca_1"}, ("application", "ca_1")),
    ],
    ids=str,
)
def test_query_and_search_can_be_made_to_lie(account, lie, path):
    intent = account.create()
    entry = {
        "channel": "boleto",
        "operation": "query",
        "what": "lie",
        "when": "after",
        "value": lie,
        "times": 2,
    }
    account.sandbox.set_faults({"script": [entry]})
    told = account.retrieve(intent["id"])
    query = {"query": f"metadata['payment_number']:'{intent['metadata']['payment_number']}'"}
    [found] = account.call("GET", f"{INTENTS}/search", query=query).json()["data"]

    assert told[path[0]] == found[path[0]] == path[1]
