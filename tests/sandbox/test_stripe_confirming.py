"""An intent that is made first and confirmed by a call of its own: only then there is a slip."""

import pytest

from tests.sandbox.merchant import make_number
from tests.sandbox.stripe_account import INTENTS, error_of, number_of, slip_of

METHOD = ("payment_method_data", "payment_method_options")


def confirm(account, intent, form=None, **options):
    return account.call("POST", f"{INTENTS}/{intent['id']}/confirm", form or {}, **options)


def create_without_method(account, number=None):
    """An intent without a payment method, and the form that gives it one."""
    form = account.form(number, confirm=None)
    method = {name: form.pop(name) for name in list(form) if name.startswith(METHOD)}
    return account.call("POST", INTENTS, form).json(), method


@pytest.mark.parametrize("word", [None, "false"])
def test_intent_that_is_not_confirmed_has_no_slip(account, webhook, word):
    intent = account.create(confirm=word)

    assert (intent["status"], intent["next_action"]) == ("requires_confirmation", None)
    assert intent["payment_method"].startswith("pm_")
    assert account.retrieve(intent["id"]) == intent
    for wish in ({}, {"force": True}):
        deed = f"{account.sandbox.url}/_sandbox/trades/boleto/{number_of(intent)}/pay"
        refused = account.http.post(deed, json=wish, timeout=10)
        assert (refused.status_code, refused.json()["error"]) == (409, "unconfirmed")
    assert account.sandbox.trades(number_of(intent))[0]["notifications"] == []


def test_confirmation_issues_the_slip_which_is_paid_as_ever(account, webhook):
    intent = account.create(confirm=None)
    issued = confirm(account, intent).json()

    assert (issued["id"], issued["status"]) == (intent["id"], "requires_action")
    assert slip_of(issued) == slip_of(account.retrieve(intent["id"]))
    assert slip_of(issued)["expires_at"] == slip_of(account.create())["expires_at"]
    assert webhook()["data"]["object"] == issued
    account.sandbox.pay(number_of(intent), channel="boleto")
    assert account.retrieve(intent["id"])["status"] == "succeeded"


def test_payment_method_may_come_with_the_confirmation(account):
    intent, method = create_without_method(account)
    assert (intent["status"], intent["last_payment_error"]) == ("requires_payment_method", None)
    assert confirm(account, intent, method).json()["status"] == "requires_action"

    account.sandbox.pay(number_of(intent), channel="boleto")
    paid = account.retrieve(intent["id"], **{"expand[0]": "latest_charge"})
    assert paid["latest_charge"]["billing_details"]["name"] == "Maria Silva"
    assert paid["metadata"] == intent["metadata"]


def test_confirmation_without_a_payment_method_is_refused(account):
    intent, _ = create_without_method(account)
    answer = confirm(account, intent)

    assert error_of(answer) == (400, "invalid_request_error", "payment_intent_unexpected_state")
    assert account.retrieve(intent["id"]) == intent


def test_method_of_the_confirmation_takes_the_place_of_the_first(account):
    intent = account.create(confirm=None, phone="1")
    _, method = create_without_method(account)
    confirm(account, intent, method | {"payment_method_data[billing_details][name]": "Ana"})
    account.sandbox.pay(number_of(intent), channel="boleto")

    charge = account.retrieve(intent["id"], **{"expand[0]": "latest_charge"})["latest_charge"]
    assert (charge["billing_details"]["name"], charge["billing_details"]["phone"]) == ("Ana", None)


@pytest.mark.parametrize("state", ["requires_action", "succeeded", "requires_payment_method", "canceled"])
def test_intent_that_has_gone_on_is_not_confirmed(account, state):
    intent = account.create(
        confirm=None if state == "canceled" else "true",
        email="expire_immediately@shop.example" if state == "requires_payment_method" else "m@shop.example",
    )
    if state == "succeeded":
        account.sandbox.pay(number_of(intent), channel="boleto")
    if state == "canceled":
        cancelled = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})
        assert cancelled.json()["status"] == "canceled"
    answer = confirm(account, intent)

    assert error_of(answer) == (400, "invalid_request_error", "payment_intent_unexpected_state")
    assert answer.json()["error"]["payment_intent"]["status"] == state


def test_repeated_confirmation_gets_the_first_answer_again(account):
    intent, key = account.create(confirm=None), "C" + make_number()
    first = confirm(account, intent, key=key)
    account.sandbox.pay(number_of(intent), channel="boleto")
    again = confirm(account, intent, key=key)

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_key_belongs_to_one_call_and_content(account):
    number = make_number()
    intent = account.create(number, confirm=None)
    assert error_of(confirm(account, intent, key=number)) == (400, "idempotency_error", "")
    assert confirm(account, intent, key="C" + number).status_code == 200
    other = {"receipt_email": "maria@shop.example"}
    assert error_of(confirm(account, intent, other, key="C" + number)) == (400, "idempotency_error", "")


def test_create_repeated_after_its_confirmation_is_answered_without_the_slip(account):
    number = make_number()
    intent = account.create(number, confirm=None)
    confirm(account, intent)

    assert account.create(number, confirm=None) == intent
