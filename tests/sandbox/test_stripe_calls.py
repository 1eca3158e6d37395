"""What Stripe's calls do to an intent and to its money, over HTTP."""

import json
import re
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.sandbox.merchant import make_number
from tests.sandbox.stripe_account import INTENTS, Account, error_of, number_of, slip_of
from tests.waiting import wait_until

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
DAY_S = 24 * 3600


# ---- create ------------------------------------------------------------------------------------------------------


def test_intent_is_confirmed_and_its_slip_issued_at_once(account):
    number = make_number()
    intent = account.create(number)

    assert intent["status"] == "requires_action"
    assert (intent["amount"], intent["amount_received"], intent["currency"]) == (12900, 0, "brl")
    assert (intent["livemode"], intent["latest_charge"]) == (False, None)
    assert intent["metadata"] == {"payment_number": number}
    [trade] = account.sandbox.trades(number, "boleto")
    assert (trade["amount"], trade["currency"], trade["status"]) == (12900, "BRL", "OPEN")


@pytest.mark.parametrize("days", [0, 3, 60])
def test_slip_expires_at_the_end_of_its_last_day_in_sao_paulo(account, days):
    before = datetime.now(SAO_PAULO)
    expires_at = datetime.fromtimestamp(slip_of(account.create(days=days))["expires_at"], SAO_PAULO)
    after = datetime.now(SAO_PAULO)

    assert expires_at.strftime("%H:%M:%S") == "23:59:59"
    assert expires_at.date() - timedelta(days=days) in {before.date(), after.date()}


def test_typing_line_tells_amount_and_due_date(account):
    slip = slip_of(account.create(amount=4_999_999))

    assert re.fullmatch(r"0019[0-9]{43}", slip["number"])
    assert slip["number"].endswith("0004999999")
    factor = int(slip["number"][33:37])
    due = datetime.fromtimestamp(slip["expires_at"], SAO_PAULO).date()
    assert factor - 1000 == (due - datetime(2025, 2, 22).date()).days  # noqa: DTZ001


def test_days_are_three_when_nobody_says(account):
    assert slip_of(account.create(days=None))["expires_at"] == slip_of(account.create())["expires_at"]


def test_answers_have_an_id_and_stand_on_several_lines(account):
    answer = account.call("POST", INTENTS, account.form(), headers={"Stripe-Version": "2026-10-28.endive"})

    assert re.fullmatch(r"req_[0-9A-Za-z]{14}", answer.headers["Request-Id"])
    assert answer.headers["Stripe-Version"] == "2026-10-28.endive"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.text.startswith('{\n  "id": "pi_3')


# ---- idempotency -------------------------------------------------------------------------------------------------


def test_same_key_and_content_get_the_first_answer_again(account):
    form = account.form()
    first = account.call("POST", INTENTS, form, key="K" + make_number())
    key = first.request.headers["Idempotency-Key"]
    account.sandbox.pay(form["metadata[payment_number]"], channel="boleto")
    again = account.call("POST", INTENTS, form, key=key)

    assert again.json() == first.json()
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    assert len(account.sandbox.trades(form["metadata[payment_number]"])) == 1


@pytest.mark.parametrize("change", [{"amount": 12901}, {"city": "Rio"}, {"description": "x"}], ids=str)
def test_same_key_with_other_content_is_an_error(account, change):
    form = account.form()
    key = form["metadata[payment_number]"]
    account.call("POST", INTENTS, form, key=key)
    answer = account.call("POST", INTENTS, account.form(key, **change), key=key)

    assert error_of(answer) == (400, "idempotency_error", "")
    assert account.sandbox.trades(key)[0]["amount"] == 12900


def test_refused_create_leaves_its_key_free(account):
    number = make_number()
    assert account.call("POST", INTENTS, account.form(number, amount=1), key=number).status_code == 400
    answer = account.call("POST", INTENTS, account.form(number), key=number)

    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers


def test_other_key_makes_a_second_intent_under_the_same_number(account):
    number = make_number()
    first = account.create(number)
    second = account.call("POST", INTENTS, account.form(number), key="another").json()

    assert second["id"] != first["id"]
    assert account.search(number) == [first["id"], second["id"]]
    account.sandbox.pay(second["id"], channel="boleto")
    assert account.retrieve(second["id"])["status"] == "succeeded"
    assert account.retrieve(first["id"])["status"] == "requires_action"


def test_intent_without_a_number_of_ours_goes_by_its_own(account):
    intent = account.call(
        "POST", INTENTS, account.form(number=None) | {"metadata[payment_number]": ""}
    ).json()

    account.sandbox.pay(intent["id"], channel="boleto")
    assert account.retrieve(intent["id"])["status"] == "succeeded"


# ---- paying, expiring, cancelling ---------------------------------------------------------------------------------


def test_paid_slip_is_a_success_with_its_charge(account):
    intent = account.create()
    before = int(time.time())
    account.sandbox.pay(number_of(intent), channel="boleto")

    paid = account.retrieve(intent["id"])
    assert (paid["status"], paid["amount_received"], paid["next_action"]) == ("succeeded", 12900, None)
    assert paid["latest_charge"] == "py_" + intent["id"].removeprefix("pi_")
    charge = account.retrieve(intent["id"], **{"expand[0]": "latest_charge"})["latest_charge"]
    assert (charge["payment_intent"], charge["metadata"]) == (intent["id"], intent["metadata"])
    assert before <= charge["created"] <= time.time()
    [trade] = account.sandbox.trades(number_of(intent))
    assert (trade["status"], trade["channel_number"]) == ("PAID", intent["id"])


def test_slip_that_expires_unpaid_needs_another_payment_method(account, webhook):
    intent = account.create(email="expire_immediately@shop.example")
    told = {event["type"]: event["data"]["object"] for event in (webhook(), webhook())}

    assert told.keys() == {"payment_intent.requires_action", "payment_intent.payment_failed"}
    assert told["payment_intent.payment_failed"]["status"] == "requires_payment_method"
    now = account.retrieve(intent["id"])
    assert (now["status"], now["next_action"]) == ("requires_payment_method", None)
    assert now["last_payment_error"]["code"] == "payment_intent_payment_attempt_expired"


def test_expired_slip_is_still_out_until_stripe_gives_it_up(account):
    intent = account.create(email="expire_with_delay@shop.example")

    assert 175 <= slip_of(intent)["expires_at"] - time.time() <= 180
    assert account.retrieve(intent["id"])["status"] == "requires_action"


def test_address_of_the_test_mode_pays_at_once(account):
    intent = account.create(email="x_succeed_immediately@shop.example")

    assert intent["status"] == "requires_action"
    assert account.retrieve(intent["id"])["status"] == "succeeded"


def test_slip_that_is_out_cannot_be_cancelled(account):
    intent = account.create()
    answer = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})

    assert error_of(answer) == (400, "invalid_request_error", "payment_intent_unexpected_state")
    assert answer.json()["error"]["payment_intent"]["status"] == "requires_action"
    assert account.retrieve(intent["id"])["status"] == "requires_action"


def test_cancel_of_a_paid_slip_says_that_it_is_paid(account):
    intent = account.create()
    account.sandbox.pay(number_of(intent), channel="boleto")
    answer = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})

    assert error_of(answer)[2] == "payment_intent_unexpected_state"
    assert answer.json()["error"]["payment_intent"]["status"] == "succeeded"


def test_expired_slip_can_be_cancelled_once(account, webhook):
    intent = account.create(email="expire_immediately@shop.example")
    webhook(), webhook()
    answer = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {"cancellation_reason": "abandoned"})

    assert (answer.json()["status"], answer.json()["cancellation_reason"]) == ("canceled", "abandoned")
    assert webhook()["type"] == "payment_intent.canceled"
    again = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})
    assert again.json()["error"]["payment_intent"]["status"] == "canceled"


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_money_comes_also_after_the_end(account, webhook, is_cancelled):
    intent = account.create(email="expire_immediately@shop.example")
    webhook(), webhook()
    if is_cancelled:
        account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})
        webhook()
    account.sandbox.pay(number_of(intent), channel="boleto", force=True)

    assert webhook()["data"]["object"]["status"] == "succeeded"
    assert account.retrieve(intent["id"])["amount_received"] == 12900


@pytest.mark.parametrize(("when", "held"), [("before", "succeeded"), ("after", "requires_action")])
def test_shopper_may_pay_while_the_merchant_cancels(account, when, held):
    intent = account.create()
    entry = {"channel": "boleto", "operation": "close", "what": "paid_meanwhile", "when": when}
    account.sandbox.set_faults({"script": [entry]})
    answer = account.call("POST", f"{INTENTS}/{intent['id']}/cancel", {})

    assert answer.json()["error"]["payment_intent"]["status"] == held
    assert account.retrieve(intent["id"])["status"] == "succeeded"


def test_number_that_is_paid_twice_has_two_intents(account, webhook):
    account.sandbox.set_faults({"script": [{"channel": "boleto", "operation": "pay", "what": "two_trades"}]})
    number = number_of(account.create())
    webhook()
    account.sandbox.pay(number, channel="boleto")

    told = {webhook()["data"]["object"]["id"] for _ in range(2)}
    assert told == {trade["channel_number"] for trade in account.sandbox.trades(number)}
    assert len(told) == 2
    assert all(account.retrieve(intent)["metadata"]["payment_number"] == number for intent in told)


# ---- finding -----------------------------------------------------------------------------------------------------


def test_intents_are_found_by_our_number(account):
    intent = account.create()

    assert account.search(number_of(intent)) == [intent["id"]]
    assert account.search(make_number()) == []


@pytest.mark.parametrize(
    "query", ["", "status:'succeeded'", "metadata['x']:'1'", "metadata['payment_number']:'a\"", None]
)
def test_search_that_cannot_be_read_is_refused(account, query):
    answer = account.call("GET", f"{INTENTS}/search", query={} if query is None else {"query": query})

    assert error_of(answer)[:2] == (400, "invalid_request_error")


def test_intents_are_listed_newest_first_page_by_page(account):
    since = int(time.time())
    made = [account.create()["id"] for _ in range(3)]
    window = {"created[gte]": since}

    whole = account.call("GET", INTENTS, query=window | {"limit": 100}).json()
    first = account.call("GET", INTENTS, query=window | {"limit": 1}).json()
    ids = [one["id"] for one in whole["data"]]
    assert [one for one in ids if one in made] == made[::-1]
    assert (first["has_more"], first["data"][0]["id"]) == (True, ids[0])
    rest = account.call("GET", INTENTS, query=window | {"limit": 100, "starting_after": ids[0]}).json()
    assert [one["id"] for one in rest["data"]] == ids[1:]
    assert (
        account.call("GET", INTENTS, query={"created[lt]": since, "starting_after": "pi_x"}).status_code
        == 400
    )


@pytest.mark.parametrize("call", [("GET", ""), ("POST", "/cancel")], ids=str)
def test_intent_that_does_not_exist_is_missing(account, call):
    answer = account.call(call[0], f"{INTENTS}/pi_3Nothing{call[1]}")

    assert error_of(answer) == (404, "invalid_request_error", "resource_missing")


# ---- refunds, statement, slip --------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["payment_intent", "charge"])
def test_boleto_cannot_be_refunded(account, named):
    intent = account.create()
    account.sandbox.pay(number_of(intent), channel="boleto")
    name = account.retrieve(intent["id"])["latest_charge"] if named == "charge" else intent["id"]
    answer = account.call("POST", "/v1/refunds", {named: name, "amount": 100, "metadata[a]": "b"})

    assert error_of(answer) == (400, "invalid_request_error", "charge_not_refundable")
    assert account.sandbox.trades(number_of(intent))[0]["refunds"] == []


def test_refund_that_does_not_exist_is_missing(account):
    assert error_of(account.call("GET", "/v1/refunds/re_1"))[2] == "resource_missing"
    assert error_of(account.call("POST", "/v1/refunds", {"payment_intent": "pi_1"}))[2] == "resource_missing"
    assert error_of(account.call("POST", "/v1/refunds", {}))[2] == "parameter_missing"


def list_bookings(account, **query):
    answer = account.call("GET", "/v1/balance_transactions", query=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_paid_slip_is_booked_with_its_fee(account):
    intent = account.create()
    account.sandbox.pay(number_of(intent), channel="boleto")
    listed = list_bookings(account, **{"limit": "100", "expand[0]": "data.source"})

    [line] = [one for one in listed["data"] if one["source"]["payment_intent"] == intent["id"]]
    assert (line["type"], line["amount"], line["currency"]) == ("payment", 12900, "brl")
    assert (line["fee"], line["net"]) == (345, 12555)
    assert line["source"]["metadata"] == intent["metadata"]


def test_bookings_are_listed_by_time_and_by_page(account):
    since = int(time.time())
    numbers = [number_of(account.create()) for _ in range(3)]
    for number in numbers:
        account.sandbox.pay(number, channel="boleto")

    window = {"created[gte]": since, "created[lt]": since + DAY_S}
    whole = list_bookings(account, limit="100", **window)
    assert whole["has_more"] is False
    ids = [one["id"] for one in whole["data"]]
    pages = list_bookings(account, limit="2", **window)
    assert pages["has_more"] is True
    rest = list_bookings(account, limit="100", starting_after=pages["data"][-1]["id"], **window)
    assert [one["id"] for one in pages["data"] + rest["data"]] == ids
    assert all(isinstance(one["source"], str) for one in whole["data"])
    earlier = list_bookings(account, **{"limit": "100", "created[lte]": since - 1, "created[gt]": since - 60})
    assert not {one["id"] for one in earlier["data"]} & set(ids)


@pytest.mark.parametrize(("what", "times"), [("statement_omit", 0), ("statement_double", 2)])
def test_statement_may_lack_a_line_or_have_one_twice(own_sandbox, what, times):
    account = Account(own_sandbox())
    intents = [account.create()["id"] for _ in range(2)]
    for intent in intents:
        account.sandbox.pay(number_of(account.retrieve(intent)), channel="boleto")
    account.sandbox.set_faults({"script": [{"channel": "boleto", "operation": "statement", "what": what}]})
    listed = list_bookings(account, **{"expand[0]": "data.source"})

    named = [one["source"]["payment_intent"] for one in listed["data"]]
    assert (named.count(intents[0]), named.count(intents[1])) == (times, 1)


def test_events_are_listed(account, webhook):
    number_of(account.create())
    event = webhook()
    listed = account.call("GET", "/v1/events", query={"type": event["type"], "limit": 100}).json()

    assert event["id"] in [one["id"] for one in listed["data"]]
    assert {one["type"] for one in listed["data"]} == {event["type"]}


def test_page_of_the_slip_leads_to_the_wallet_where_it_is_paid(account):
    intent = account.create()
    page = account.http.get(slip_of(intent)["hosted_voucher_url"], timeout=10)

    assert page.status_code == 200
    assert "129,00" in page.text
    form = {"content": slip_of(intent)["number"], "deed": "pay"}
    account.http.post(f"{account.sandbox.url}/_sandbox/wallet", data=form, timeout=10)
    assert account.retrieve(intent["id"])["status"] == "succeeded"


def test_pdf_of_the_slip_shows_its_line(account):
    slip = slip_of(account.create(description="two (2) shirts"))
    answer = account.http.get(slip["pdf"], timeout=10)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/pdf")
    assert answer.content.startswith(b"%PDF-1.4")
    assert slip["number"].encode() in answer.content
    start = int(answer.content.rstrip().rsplit(b"\n", 2)[1])
    assert answer.content[start:].startswith(b"xref")


def test_slip_that_does_not_exist_has_no_page(account):
    for path in ("/boleto/voucher/test_x", "/boleto/voucher/test_x/pdf"):
        assert account.http.get(account.sandbox.url + path, timeout=10).status_code == 404


# ---- webhooks ----------------------------------------------------------------------------------------------------


def test_success_is_announced_as_it_was(account, webhook):
    intent = account.create()
    issued = webhook()
    account.sandbox.pay(number_of(intent), channel="boleto")
    event = webhook()

    assert issued["data"]["object"]["next_action"] == intent["next_action"]
    assert (event["object"], event["type"], event["livemode"]) == ("event", "payment_intent.succeeded", False)
    assert event["data"]["object"] == account.retrieve(intent["id"])
    assert event["id"].startswith("evt_")


def test_every_try_of_an_event_is_signed_anew_under_the_same_id(account, shop):
    shop.answer = lambda count: 500 if count == 1 else 200
    account.sandbox.set_webhooks(boleto=shop.url)
    account.create()
    first, second = shop.take(), shop.take()

    assert first.body != b""
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
    assert first.headers["Stripe-Signature"] != second.headers["Stripe-Signature"]


def test_late_try_of_an_event_tells_the_state_of_then(account, shop):
    shop.answer = lambda count: 500 if count == 1 else 200
    account.sandbox.set_webhooks(boleto=shop.url)
    intent = account.create()
    shop.take()
    account.sandbox.pay(number_of(intent), channel="boleto")
    late = [json.loads(shop.take().body) for _ in range(2)]

    states = {event["type"]: event["data"]["object"]["status"] for event in late}
    assert states == {
        "payment_intent.succeeded": "succeeded",
        "payment_intent.requires_action": "requires_action",
    }


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_ends_the_tries(account, shop, status):
    shop.answer = lambda count: status
    account.sandbox.set_webhooks(boleto=shop.url)
    intent = account.create()
    shop.take()

    [made] = wait_until(lambda: account.sandbox.trades(number_of(intent))[0]["notifications"])
    assert (made["status"], made["acknowledged"]) == (status, True)


def test_nothing_is_sent_where_no_webhook_is_entered(own_sandbox):
    account = Account(own_sandbox())
    number = number_of(account.create())

    assert account.sandbox.pay(number, channel="boleto")[0]["notifications"] == []
