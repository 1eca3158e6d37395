"""The life of an order at PayPal and of its refunds, as a merchant sees it through the calls."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import requests

from payments.sandbox import paypal as paypal_side
from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.side import Refused
from tests.sandbox.merchant import make_number
from tests.sandbox.paypal_merchant import CONTEXT, ORDERS, PayPalMerchant, told
from tests.waiting import wait_until

ALL = {"Prefer": "return=representation"}


@pytest.fixture
def merchant(sandbox) -> PayPalMerchant:
    return PayPalMerchant(sandbox)


def events_of(shop, count):
    """The next events by their kind: they are sent side by side and may overtake each other."""
    events = [json.loads(shop.take().body) for _ in range(count)]
    assert len({event["event_type"] for event in events}) == count
    return {event["event_type"]: event for event in events}


# Orders


def test_plain_order_is_created_with_its_approval_link(merchant):
    answer = merchant.call("POST", ORDERS, merchant.order())

    document = answer.json()
    assert (answer.status_code, document["status"]) == (201, "CREATED")
    assert re.fullmatch("[A-Z0-9]{17}", document["id"])
    assert set(document) == {"id", "status", "links"}
    assert document["links"][1]["rel"] == "approve"


def test_order_with_a_payment_source_wants_the_payer_to_act(merchant):
    answer = merchant.call("POST", ORDERS, merchant.order(source=True), request_id=make_number())

    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "PAYER_ACTION_REQUIRED")
    assert document["links"][1] == {
        "href": f"{merchant.sandbox.url}/checkoutnow?token={document['id']}",
        "rel": "payer-action",
        "method": "GET",
    }


def test_same_request_id_gets_the_first_answer_and_makes_no_second_order(merchant):
    document, request_id = merchant.order(source=True), make_number()

    first, second = (merchant.call("POST", ORDERS, document, request_id=request_id) for _ in range(2))

    assert first.json() == second.json()
    assert len(merchant.sandbox.trades(document["purchase_units"][0]["invoice_id"])) == 1


def test_replay_of_a_plain_create_is_a_200(merchant):
    document, request_id = merchant.order(), make_number()
    answers = [merchant.call("POST", ORDERS, document, request_id=request_id) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]


def test_without_a_request_id_each_create_is_an_order_and_only_one_is_captured(merchant):
    number = make_number()
    _, first = merchant.create(number)
    _, second = merchant.create(number)
    assert first != second
    for order_id in (first, second):
        merchant.approve(number if order_id == first else second)
    assert merchant.capture(first).status_code == 201
    assert told(merchant.capture(second)) == (422, "DUPLICATE_INVOICE_ID")


def test_query_tells_everything(merchant):
    number, order_id = merchant.create()
    document = merchant.query(order_id).json()
    [unit] = document["purchase_units"]
    assert (document["status"], unit["invoice_id"], unit["amount"]["value"]) == ("CREATED", number, "19.90")
    assert unit["payee"] == {"merchant_id": merchant.env["PAYPAL_MERCHANT_ID"]}
    assert "payments" not in unit


@pytest.mark.parametrize(("value", "amount"), [("19.9", 1990), ("19", 1900), ("0.01", 1)])
def test_amount_may_have_fewer_places(merchant, value, amount):
    number, _ = merchant.create(amount={"currency_code": "BRL", "value": value})
    [trade] = merchant.sandbox.trades(number)
    assert (trade["amount"], trade["currency"]) == (amount, "BRL")


# Approval and capture


def test_approval_moves_no_money_and_is_announced(merchant, shop):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    number, order_id = merchant.create()
    merchant.approve(number)

    event = events_of(shop, 1)["CHECKOUT.ORDER.APPROVED"]

    assert (event["resource"]["id"], event["resource"]["status"]) == (order_id, "APPROVED")
    assert merchant.query(order_id).json()["status"] == "APPROVED"
    [trade] = merchant.sandbox.trades(number)
    assert (trade["status"], trade["paid_at"]) == ("OPEN", None)


@pytest.mark.parametrize("raw", [b"", b"{}"], ids=["empty", "object"])
def test_capture_books_the_money_and_is_announced(merchant, shop, raw):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    number, order_id = merchant.create()
    merchant.approve(number)

    answer = merchant.capture(order_id, raw=raw, **ALL)

    [capture] = answer.json()["purchase_units"][0]["payments"]["captures"]
    assert (answer.status_code, answer.json()["status"], capture["status"]) == (201, "COMPLETED", "COMPLETED")
    assert capture["amount"] == {"currency_code": "USD", "value": "19.90"}
    assert capture["supplementary_data"]["related_ids"]["order_id"] == order_id
    [trade] = merchant.sandbox.trades(number)
    assert (trade["status"], trade["channel_number"]) == ("PAID", capture["id"])
    events = events_of(shop, 2)
    assert events.keys() == {"CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED"}
    assert events["PAYMENT.CAPTURE.COMPLETED"]["resource"] == capture
    assert merchant.call("GET", f"/v2/payments/captures/{capture['id']}").json() == capture


def test_capture_under_the_same_request_id_answers_as_the_first_time(merchant):
    number, order_id = merchant.create()
    merchant.approve(number)
    first, second = (merchant.capture(order_id, "C-" + number) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


@pytest.mark.parametrize("request_id", ["", "other"])
def test_captured_order_is_not_captured_again(merchant, request_id):
    _, order_id, _ = merchant.create_paid()
    assert told(merchant.capture(order_id, request_id)) == (422, "ORDER_ALREADY_CAPTURED")


def test_order_that_nobody_approved_is_not_captured(merchant):
    _, order_id = merchant.create()
    assert told(merchant.capture(order_id)) == (422, "ORDER_NOT_APPROVED")


def test_scripted_issue_is_told_in_the_details(merchant):
    number, order_id = merchant.create()
    merchant.approve(number)
    value = {"status": 422, "code": "INSTRUMENT_DECLINED"}
    entry = {"channel": "paypal", "operation": "capture", "when": "before", "what": "status", "value": value}
    merchant.sandbox.set_faults({"script": [entry]})
    answer = merchant.capture(order_id)
    assert told(answer) == (422, "INSTRUMENT_DECLINED")
    assert answer.json()["name"] == "UNPROCESSABLE_ENTITY"
    assert merchant.capture(order_id).status_code == 201


def test_approving_twice_is_approving_once(merchant, shop):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    number, order_id = merchant.create()
    merchant.approve(number)
    merchant.approve(number)
    merchant.capture(order_id)
    assert events_of(shop, 2).keys() == {"CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED"}


def test_paid_order_cannot_be_approved_again(merchant):
    number, _, _ = merchant.create_paid()
    answer = requests.post(
        f"{merchant.sandbox.url}/_sandbox/trades/paypal/{number}/pay", json={"force": True}, timeout=20
    )
    assert (answer.status_code, answer.json()["error"]) == (409, "paid")


# Time: the sandbox's side without its process, at a clock of our own


class Clockwork:
    """PayPal's side with a ledger in memory and a clock that can be set."""

    def __init__(self, keys, monkeypatch):
        self.ledger = Ledger(":memory:")
        self.side = paypal_side.PayPal(keys, self.ledger, 0)
        self.at = now_us()
        monkeypatch.setattr(paypal_side, "now_us", lambda: self.at)

    def open(self):
        trade = self.ledger.open_trade(
            channel="paypal",
            out_trade_no="P1",
            amount=1990,
            currency="USD",
            description="x",
            notify_url="",
            request={"purchase_units": [{"invoice_id": "P1"}]},
            expires_at=self.at + paypal_side.APPROVAL_US,
        )
        return self.ledger.note(trade, order_id="ORDER", host="http://127.0.0.1", request_id="")

    def pass_hours(self, hours):
        self.at += int(hours * 3600 * SECOND_US)

    def is_known(self):
        try:
            self.side._require_order("ORDER")
        except Refused as refused:
            return refused.reply.status != 404
        return True


@pytest.fixture
def clockwork(key_dir, monkeypatch):
    return Clockwork(Keyring(key_dir), monkeypatch)


def test_order_that_nobody_approves_disappears_after_three_hours(clockwork):
    clockwork.open()
    clockwork.pass_hours(2.99)
    assert clockwork.is_known()
    clockwork.pass_hours(0.02)
    assert not clockwork.is_known()


def test_order_that_is_approved_but_never_captured_disappears_three_hours_later(clockwork):
    trade = clockwork.open()
    clockwork.pass_hours(2.9)
    clockwork.side.pay(trade)
    clockwork.pass_hours(2.9)
    assert clockwork.is_known()
    clockwork.pass_hours(0.2)
    assert not clockwork.is_known()
    assert clockwork.ledger.get_trade(trade.id).status == "OPEN"


def test_forced_approval_comes_although_it_is_too_late(clockwork):
    trade = clockwork.open()
    clockwork.pass_hours(4)
    with pytest.raises(paypal_side.NotPayable):
        clockwork.side.pay(trade)
    clockwork.side.pay(trade, is_forced=True)
    assert clockwork.is_known()


# The browser


def test_approval_link_leads_to_the_wallet(merchant):
    _, order_id = merchant.create()
    page = merchant.http.get(f"{merchant.sandbox.url}/checkoutnow?token={order_id}", timeout=20)
    assert page.url.startswith(f"{merchant.sandbox.url}/_sandbox/wallet?content=")
    assert "two shirts" in page.text


def test_unknown_approval_link_leads_nowhere(merchant):
    answer = merchant.http.get(f"{merchant.sandbox.url}/checkoutnow?token=NONE", timeout=20)
    assert answer.status_code == 404


@pytest.mark.parametrize(("deed", "name"), [("pay", "return_url"), ("decline", "cancel_url")])
def test_wallet_leads_back_to_the_address_of_the_outcome(merchant, deed, name):
    answer = merchant.call("POST", ORDERS, merchant.order(source=True), request_id=make_number()).json()
    link = answer["links"][1]["href"]
    wallet = f"{merchant.sandbox.url}/_sandbox/wallet"
    page = merchant.http.post(wallet, data={"content": link, "deed": deed}, timeout=20)
    assert f"{CONTEXT[name]}?token={answer['id']}" in page.text


# Refunds


def test_part_goes_back_under_the_merchants_number_at_once(merchant, shop):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    number, order_id, capture_id = merchant.create_paid()
    wish = {
        "amount": {"currency_code": "USD", "value": "5.00"},
        "invoice_id": "R" + number,
        "custom_id": "R" + number,
    }

    answer = merchant.refund(capture_id, wish, "R" + number, **ALL)

    document = answer.json()
    assert (answer.status_code, document["status"], document["custom_id"]) == (201, "COMPLETED", "R" + number)
    assert merchant.call("GET", f"/v2/payments/refunds/{document['id']}").json() == document
    assert events_of(shop, 3)["PAYMENT.CAPTURE.REFUNDED"]["resource"] == document
    [unit] = merchant.query(order_id).json()["purchase_units"]
    assert unit["payments"]["captures"][0]["status"] == "PARTIALLY_REFUNDED"
    assert unit["payments"]["refunds"] == [document]
    [trade] = merchant.sandbox.trades(number)
    assert trade["refunds"] == [{"out_refund_no": "R" + number, "amount": 500, "status": "SUCCESS"}]


@pytest.mark.parametrize("raw", [b"", b"{}"], ids=["empty", "object"])
def test_refund_of_nothing_said_is_all_that_is_left(merchant, raw):
    number, _, capture_id = merchant.create_paid()
    merchant.refund(capture_id, {"amount": {"currency_code": "USD", "value": "5.00"}})
    merchant.refund(capture_id, raw=raw)
    [trade] = merchant.sandbox.trades(number)
    assert [refund["amount"] for refund in trade["refunds"]] == [500, 1490]
    assert told(merchant.refund(capture_id)) == (422, "CAPTURE_FULLY_REFUNDED")


def test_same_request_id_refunds_once_and_none_refunds_twice(merchant):
    number, _, capture_id = merchant.create_paid()
    wish = {"amount": {"currency_code": "USD", "value": "5.00"}}
    first, second = (merchant.refund(capture_id, wish, "R" + number) for _ in range(2))
    assert (first.status_code, second.status_code, first.json()) == (201, 200, second.json())
    merchant.refund(capture_id, wish)
    merchant.refund(capture_id, wish)
    assert len(merchant.sandbox.trades(number)[0]["refunds"]) == 3


def test_console_refund_carries_the_payments_names(merchant, shop):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    number, _, _ = merchant.create_paid()
    merchant.sandbox.refund_in_console(number, 500, channel="paypal")
    event = events_of(shop, 3)["PAYMENT.CAPTURE.REFUNDED"]
    assert (event["resource"]["custom_id"], event["resource"]["invoice_id"]) == (number, number)


@pytest.mark.parametrize(("end", "status"), [("ABNORMAL", "FAILED"), ("CLOSED", "CANCELLED")])
def test_refund_that_will_fail_is_pending_first_and_leaves_the_money(merchant, end, status):
    _, _, capture_id = merchant.create_paid()
    entry = {"channel": "paypal", "operation": "refund", "what": "refund_abnormal", "value": end}
    merchant.sandbox.set_faults({"script": [entry]})
    answer = merchant.refund(capture_id).json()
    assert answer["status"] == "PENDING"
    refund = f"/v2/payments/refunds/{answer['id']}"
    wait_until(lambda: merchant.call("GET", refund).json()["status"] == status)
    assert merchant.refund(capture_id).json()["status"] == "COMPLETED"


# Webhooks


def verification(merchant, received, **changes):
    headers = {name.upper(): value for name, value in received.headers.items()}
    asked = {
        "auth_algo": headers["PAYPAL-AUTH-ALGO"],
        "cert_url": headers["PAYPAL-CERT-URL"],
        "transmission_id": headers["PAYPAL-TRANSMISSION-ID"],
        "transmission_sig": headers["PAYPAL-TRANSMISSION-SIG"],
        "transmission_time": headers["PAYPAL-TRANSMISSION-TIME"],
        "webhook_id": merchant.env["PAYPAL_WEBHOOK_ID"],
    } | changes
    body = json.dumps(asked).encode()[:-1] + b',"webhook_event":' + received.body + b"}"
    answer = merchant.call("POST", "/v1/notifications/verify-webhook-signature", raw=body)
    return answer.json()["verification_status"]


@pytest.fixture
def received(merchant, shop):
    merchant.sandbox.set_webhooks(paypal=shop.url)
    merchant.approve(merchant.create()[0])
    return shop.take()


def test_own_message_is_verified(merchant, received):
    assert verification(merchant, received) == "SUCCESS"


@pytest.mark.parametrize(
    "name",
    ["auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time", "webhook_id"],
)
def test_message_with_a_field_changed_is_not(merchant, received, name):
    assert verification(merchant, received, **{name: "2026-11-21T10:10:37Z"}) == "FAILURE"


@pytest.mark.parametrize(
    "change",
    [lambda body: body.replace(b"APPROVED", b"approved"), lambda body: json.dumps(json.loads(body)).encode()],
    ids=["content", "spelling"],
)
def test_message_with_other_bytes_is_not(merchant, received, change):
    assert verification(merchant, received._replace(body=change(received.body))) == "FAILURE"


def test_each_try_is_a_transmission_of_the_same_event(merchant, received, shop):
    number = json.loads(received.body)["resource"]["purchase_units"][0]["invoice_id"]
    merchant.sandbox.notify(number, channel="paypal")
    again = shop.take()
    assert json.loads(again.body) == json.loads(received.body)
    assert again.headers["PAYPAL-TRANSMISSION-ID"] != received.headers["PAYPAL-TRANSMISSION-ID"]


def test_missed_event_is_listed_and_sent_again(merchant, received, shop):
    event = json.loads(received.body)
    listed = merchant.call("GET", "/v1/notifications/webhooks-events").json()["events"]
    assert event["id"] in [one["id"] for one in listed]
    answer = merchant.call("POST", f"/v1/notifications/webhooks-events/{event['id']}/resend")
    assert answer.status_code == 202
    assert json.loads(shop.take().body)["id"] == event["id"]
    assert told(merchant.call("POST", "/v1/notifications/webhooks-events/WH-NONE/resend")) == (
        404,
        "INVALID_RESOURCE_ID",
    )


# Transaction search


def search(merchant, **changes):
    now = datetime.now(UTC)
    asked = {
        "start_date": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end_date": (now + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "page_size": "500",
        "fields": "transaction_info",
    } | changes
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    return merchant.call("GET", f"/v1/reporting/transactions?{query}")


def test_search_finds_payment_and_refund(merchant):
    number, _, capture_id = merchant.create_paid()
    refund_id = merchant.refund(capture_id, {"amount": {"currency_code": "USD", "value": "5.00"}}).json()[
        "id"
    ]
    page = search(merchant).json()
    found = [one["transaction_info"] for one in page["transaction_details"]]
    payment, refund = (one for one in found if one.get("invoice_id") == number)
    assert (payment["transaction_id"], payment["transaction_event_code"]) == (capture_id, "T0006")
    assert (payment["transaction_amount"]["value"], payment["fee_amount"]["value"]) == ("19.90", "-1.18")
    assert (refund["transaction_id"], refund["transaction_amount"]["value"]) == (refund_id, "-5.00")
    assert (refund["paypal_reference_id"], refund["paypal_reference_id_type"]) == (capture_id, "TXN")
    assert page["account_number"] == merchant.env["PAYPAL_MERCHANT_ID"]


def test_search_is_paged(merchant):
    for _ in range(3):
        merchant.create_paid()
    whole = search(merchant).json()
    pages = [
        search(merchant, page_size=2, page=page).json()
        for page in range(1, -(-whole["total_items"] // 2) + 1)
    ]
    assert [one for page in pages for one in page["transaction_details"]] == whole["transaction_details"]
    assert {page["total_pages"] for page in pages} == {len(pages)}


@pytest.mark.parametrize(("what", "count"), [("statement_omit", -1), ("statement_double", 1)])
def test_search_can_lack_a_line_or_have_one_twice(merchant, what, count):
    merchant.create_paid()
    before = search(merchant).json()["total_items"]
    merchant.sandbox.set_faults({"script": [{"channel": "paypal", "operation": "statement", "what": what}]})
    assert search(merchant).json()["total_items"] == before + count
