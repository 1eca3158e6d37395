"""Specification of PayPal's webhooks: which are genuine, and what they report; no database and no network."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from typing import Any

import pytest
from cryptography.x509.verification import Store

from payments.channels.base import (
    CallbackMessage,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    Unanswered,
    Unreachable,
)
from payments.channels.paypal import PayPal
from payments.channels.paypal_webhooks import Certificates

from .party import reply
from .paypal_party import (
    ATTEMPT,
    CAPTURE_ID,
    CERT_URL,
    HOST,
    KEY,
    LEAF,
    NOW,
    NUMBER,
    ORDER_ID,
    PAID,
    REFUND_ID,
    REFUNDED,
    ROOT,
    ROOT_KEY,
    VECTORS,
    WEBHOOK_ID,
    CertificateWire,
    ScriptedWire,
    capture,
    error,
    event,
    forge_same_crc,
    issue,
    make_paypal,
    order,
    pem_of,
    refund,
    sealed,
    sent_body,
    sign,
    vector_callback,
)

# ---- webhooks: genuine -------------------------------------------------------------------------------------------


def test_capture_event_of_the_vectors_is_read():
    assert make_paypal().read_callback(vector_callback()) == CallbackMessage(
        message_id="WH-2WR32451HC0233532-67976317FL4543714", kind="PAYMENT.CAPTURE.COMPLETED", report=PAID
    )


def test_approval_event_of_the_vectors_is_read():
    message = make_paypal().read_callback(vector_callback("order_approved"))
    assert message.kind == "CHECKOUT.ORDER.APPROVED"
    assert message.report == PaymentReport(outcome=Outcome.APPROVED, number=NUMBER, code="APPROVED")


def test_refund_event_of_the_vectors_is_read():
    message = make_paypal(now=NOW + timedelta(hours=20)).read_callback(vector_callback("capture_refunded"))
    assert (message.kind, message.report) == ("PAYMENT.CAPTURE.REFUNDED", REFUNDED)


@pytest.mark.parametrize("name", VECTORS["webhooks"])
def test_checksum_of_the_vectors_is_that_of_their_raw_bytes(name):
    found = VECTORS["webhooks"][name]
    assert str(zlib.crc32(found["body"].encode())) == found["crc32_decimal"]


def read(kind: str, resource: Any, **how: Any) -> Any:
    return make_paypal(**how).read_callback(event(kind, resource)).report


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", "COMPLETED", Outcome.SUCCEEDED),
        ("PAYMENT.CAPTURE.COMPLETED", "PENDING", Outcome.OPEN),
        ("PAYMENT.CAPTURE.PENDING", "PENDING", Outcome.OPEN),
        ("PAYMENT.CAPTURE.DENIED", "DECLINED", Outcome.REFUSED),
        ("PAYMENT.CAPTURE.DECLINED", "DECLINED", Outcome.REFUSED),
        ("PAYMENT.CAPTURE.DECLINED", "NEW", Outcome.UNKNOWN),
    ],
)
def test_capture_event_is_read_by_the_status_inside(kind, status, outcome):
    report = read(kind, capture(status))
    assert (report.outcome, report.number) == (outcome, NUMBER)


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        ("PAYMENT.CAPTURE.REFUNDED", "COMPLETED", Outcome.SUCCEEDED),
        ("PAYMENT.CAPTURE.REFUNDED", "PENDING", Outcome.OPEN),
        ("PAYMENT.REFUND.PENDING", "PENDING", Outcome.OPEN),
        ("PAYMENT.REFUND.FAILED", "FAILED", Outcome.REFUSED),
    ],
)
def test_refund_event_is_read_by_the_status_inside(kind, status, outcome):
    assert read(kind, refund(status)) == replace(REFUNDED, outcome=outcome, code=status)


@pytest.mark.parametrize(
    "names",
    [{"custom_id": f"payment:{NUMBER}", "invoice_id": NUMBER}, {"custom_id": None, "invoice_id": None}],
)
def test_refund_made_in_paypals_site_is_named_by_its_own_id(names):
    report = read("PAYMENT.CAPTURE.REFUNDED", refund(**names))
    assert (report.number, report.channel_number, report.trade_number) == (REFUND_ID, REFUND_ID, CAPTURE_ID)
    assert report.payment_number == (NUMBER if names["custom_id"] else "")


def test_reversed_capture_is_for_a_person():
    up = [{"rel": "up", "href": f"https://api.paypal.com/v2/payments/captures/{CAPTURE_ID}"}]
    report = read("PAYMENT.CAPTURE.REVERSED", refund(custom_id=f"payment:{NUMBER}", links=up))
    assert report == PaymentReport(
        outcome=Outcome.UNKNOWN,
        number=NUMBER,
        channel_number=CAPTURE_ID,
        code="PAYMENT.CAPTURE.REVERSED",
        needs_person=True,
    )


def test_approval_that_paypal_took_back_keeps_the_payment_open():
    resource = {"order_id": ORDER_ID, "purchase_units": [{"custom_id": f"payment:{NUMBER}"}]}
    report = read("CHECKOUT.PAYMENT-APPROVAL.REVERSED", resource)
    assert (report.outcome, report.number) == (Outcome.OPEN, NUMBER)


@pytest.mark.parametrize("kind", ["CUSTOMER.DISPUTE.CREATED", "PAYMENT.SALE.COMPLETED", "NEW.EVENT"])
def test_genuine_event_of_an_unknown_kind_is_kept_as_unknown(kind):
    report = read(kind, {"id": "PP-1", "status": "COMPLETED", "invoice_id": NUMBER, "links": 7})
    assert report == PaymentReport(outcome=Outcome.UNKNOWN, number=NUMBER, code=kind)


@pytest.mark.parametrize(
    "change", [{"amount": None}, {"id": 7}, {"create_time": "x"}, {"status": 7}], ids=str
)
def test_genuine_success_that_cannot_be_read_is_unknown(change):
    report = read("PAYMENT.CAPTURE.COMPLETED", capture(**change))
    assert (report.outcome, report.number, report.code) == (Outcome.UNKNOWN, NUMBER, "malformed")


def test_event_signed_for_either_of_two_webhooks_is_genuine():
    raw = vector_callback()
    assert make_paypal(webhook_ids=["OTHER", WEBHOOK_ID]).read_callback(raw).report == PAID
    assert make_paypal(webhook_ids=[WEBHOOK_ID, "OTHER"]).read_callback(raw).report == PAID


PERSON = {
    "payer_id": "QYR5Z8XDVJNXQ",
    "name": {"given_name": "Maria", "surname": "Souza"},
    "email_address": "maria@shop.example",
    "address": {"address_line_1": "Rua das Flores 1", "country_code": "BR"},
    "phone": {"phone_number": {"national_number": "11987654321"}},
}
TELLING = [
    capture(payer=PERSON, note_to_payer="for Maria"),
    order(
        "APPROVED",
        payer=PERSON,
        payment_source={"paypal": PERSON | {"account_id": "QYR5Z8XDVJNXQ"}},
        unit={
            "shipping": {"name": {"full_name": "Maria Souza"}, "address": PERSON["address"]},
            "soft_descriptor": "Maria",
        },
    ),
    order("COMPLETED", capture(payer=PERSON), payer=PERSON),
    {"dispute_id": "PP-1", "disputed_transactions": [{"seller_transaction_id": "3C6", "buyer": PERSON}]},
]


@pytest.mark.parametrize("resource", TELLING, ids=["capture", "approved", "completed", "dispute"])
def test_nothing_about_the_payer_is_kept(resource):
    raw = event("PAYMENT.CAPTURE.COMPLETED", resource, summary="Maria paid", links=[{"href": "/Maria"}])
    kept = make_paypal().kept_body(raw).decode()
    assert "Maria" in raw.body.decode()
    for told in ("Maria", "Souza", "maria@", "QYR5Z8XDVJNXQ", "Flores", "BR", "11987654321"):
        assert told not in kept


def test_what_is_kept_of_an_event_tells_people_of_its_money():
    kept = json.loads(make_paypal().kept_body(vector_callback()))
    assert (kept["id"], kept["event_type"]) == (
        "WH-2WR32451HC0233532-67976317FL4543714",
        "PAYMENT.CAPTURE.COMPLETED",
    )
    found = kept["resource"]
    assert (found["id"], found["status"], found["custom_id"]) == (CAPTURE_ID, "COMPLETED", NUMBER)
    assert found["amount"] == {"currency_code": "USD", "value": "19.90"}
    assert found["supplementary_data"] == {"related_ids": {"order_id": ORDER_ID}}
    [unit] = json.loads(make_paypal().kept_body(vector_callback("order_approved")))["resource"][
        "purchase_units"
    ]
    assert (unit["custom_id"], unit["amount"]["value"]) == (NUMBER, "19.90")


# ---- webhooks: not genuine ---------------------------------------------------------------------------------------


def refused(raw: RawCallback, **how: Any) -> str:
    with pytest.raises(NotGenuine) as error:
        make_paypal(**how).read_callback(raw)
    return error.value.reason


def with_header(raw: RawCallback, name: str, value: str) -> RawCallback:
    return RawCallback(headers={**raw.headers, f"paypal-{name}": value}, body=raw.body)


@pytest.mark.parametrize(
    "name", ["transmission-id", "transmission-time", "transmission-sig", "cert-url", "auth-algo"]
)
@pytest.mark.parametrize(
    "value", [None, "", "1", "x y", "é", "SHA1withRSA", "2026-11-21T10:10:38Z", "2026-11-21"]
)
def test_event_with_a_header_missing_or_changed_is_refused(name, value):
    raw = vector_callback()
    headers = {key: text for key, text in raw.headers.items() if key != f"paypal-{name}"}
    if value is not None:
        headers[f"paypal-{name}"] = value
    assert refused(RawCallback(headers=headers, body=raw.body))


@pytest.mark.parametrize("name", VECTORS["webhooks"])
def test_event_with_any_single_byte_changed_is_refused(name):
    raw = vector_callback(name)
    paypal = make_paypal(now=NOW + timedelta(hours=20))
    for place in range(len(raw.body)):
        body = bytearray(raw.body)
        body[place] ^= 1
        with pytest.raises(NotGenuine, match=r"^signature$"):
            paypal.read_callback(RawCallback(headers=raw.headers, body=bytes(body)))


def test_signature_with_any_character_changed_is_refused():
    raw, paypal = vector_callback(), make_paypal()
    signature = raw.headers["paypal-transmission-sig"]
    for place in range(len(signature)):
        other = "A" if signature[place] != "A" else "B"
        changed = signature[:place] + other + signature[place + 1 :]
        with pytest.raises(NotGenuine, match=r"^signature$"):
            paypal.read_callback(with_header(raw, "transmission-sig", changed))


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"\n", lambda body: b""])
def test_event_cut_or_lengthened_is_refused(change):
    raw = vector_callback()
    assert refused(RawCallback(headers=raw.headers, body=change(raw.body))) == "signature"


def test_event_signed_by_another_key_is_refused():
    body = vector_callback().body
    assert refused(RawCallback(headers=sign(body, key=ROOT_KEY), body=body)) == "signature"


def test_event_signed_for_another_webhook_is_refused():
    body = vector_callback().body
    assert refused(RawCallback(headers=sign(body, webhook_id="WEBHOOKID"), body=body)) == "signature"
    assert refused(vector_callback(), webhook_ids=["OTHER"]) == "signature"


def test_text_cannot_move_between_the_signed_fields():
    raw = vector_callback()
    moved = f"{raw.headers['paypal-transmission-id']}|{raw.headers['paypal-transmission-time']}"
    assert refused(with_header(raw, "transmission-id", moved)) == "transmission_id"


@pytest.mark.parametrize("off", [timedelta(days=4, seconds=4), timedelta(days=40), -timedelta(minutes=6)])
def test_event_outside_the_window_is_refused(off):
    raw = vector_callback()
    assert refused(raw, now=NOW + off) == "transmission_time"


@pytest.mark.parametrize("off", [timedelta(days=3), timedelta(0), -timedelta(minutes=4)])
def test_event_within_the_window_of_paypals_retries_is_read(off):
    assert (
        make_paypal(now=NOW + off, certificates=certificates(always(LONG_LEAF)))
        .read_callback(vector_callback())
        .report
        == PAID
    )


@pytest.mark.parametrize(
    "resource", [capture(payee={"merchant_id": "X"}), order(unit={"payee": {"merchant_id": "X"}})]
)
def test_event_for_another_merchant_is_refused_and_names_the_payment(resource):
    kind = "CHECKOUT.ORDER.APPROVED" if "purchase_units" in resource else "PAYMENT.CAPTURE.COMPLETED"
    with pytest.raises(NotGenuine) as error:
        make_paypal().read_callback(event(kind, resource))
    assert (error.value.reason, error.value.number) == ("merchant", NUMBER)


# One that a reader can still follow, and what cuts it afterwards cannot.
LEVELS: dict[str, Any] = reduce(lambda inner, _: {"resource": inner}, range(600), {})
DEEP = event("PAYMENT.CAPTURE.COMPLETED", capture(resource=LEVELS)).body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id":"1"}',
        b'{"id":"1","event_type":"A","resource":[]}',
        b"\xff",
        b"[" * 60_000,
        DEEP,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_signed_message_that_is_no_event_is_refused(body):
    assert refused(sealed(body)) == "body"


@pytest.mark.parametrize(
    "envelope", [{"id": None}, {"id": 7}, {"id": "x" * 65}, {"id": "a b"}, {"event_type": None}]
)
def test_signed_event_without_a_usable_id_or_kind_is_refused(envelope):
    assert refused(event("PAYMENT.CAPTURE.COMPLETED", capture(), **envelope)) == "body"


def test_forgery_of_the_same_checksum_passes_so_that_only_a_query_is_believed():
    """The signature covers a CRC-32: one genuine message is enough to write others. This is why nothing of a webhook
    settles by itself: the adapter demands a query, and the query tells what is true."""
    genuine = vector_callback()
    claimed = json.loads(genuine.body)
    claimed["resource"]["amount"]["value"] = "9999.00"
    claimed["resource"]["invoice_id"] = claimed["resource"]["custom_id"] = "P-OF-SOMEBODY-ELSE"
    forged = forge_same_crc(json.dumps(claimed).encode(), zlib.crc32(genuine.body))
    paypal = make_paypal(reply(200, order("PAYER_ACTION_REQUIRED")))
    message = paypal.read_callback(RawCallback(headers=genuine.headers, body=forged))
    assert message.report.number == "P-OF-SOMEBODY-ELSE"  # it is this that nobody may believe
    assert paypal.confirms_callbacks_by_query
    assert paypal.query(ATTEMPT).outcome is Outcome.OPEN


# ---- webhooks: the certificate -----------------------------------------------------------------------------------

LONG_LEAF = issue(HOST, KEY, hosts=(HOST,), end=NOW + timedelta(days=300))


def always(*chain: Any) -> Any:
    return CertificateWire(*[reply(200, pem_of(*chain))] * 9)


def certificates(wire: Any) -> Certificates:
    return Certificates(wire, lambda: Store([ROOT]))


def test_certificate_is_fetched_once_a_day_without_our_token():
    wire, now = always(LONG_LEAF), [NOW]
    paypal = make_paypal(certificates=certificates(wire), clock=lambda: now[0])
    for hours in (0, 1, 23, 24, 25):
        now[0] = NOW + timedelta(hours=hours)
        paypal.read_callback(vector_callback())
    assert wire.urls == [CERT_URL] * 2


def test_certificates_of_many_addresses_are_kept_no_more_than_a_few_at_once():
    wire = always(LONG_LEAF)
    kept = certificates(wire)
    for place in range(9):
        kept.find_key(f"https://api.paypal.com/{place}", NOW)
    kept.find_key("https://api.paypal.com/8", NOW)
    kept.find_key("https://api.paypal.com/1", NOW)
    assert len(wire.urls) == 9
    kept.find_key("https://api.paypal.com/0", NOW)
    assert len(wire.urls) == 10


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com/cert",
        "https://paypal.com.evil.example/cert",
        "https://evilpaypal.com/cert",
        "https://evil.example/paypal.com/cert",
        "https://evil.example#.paypal.com/cert",
        "https://paypal.com@evil.example/cert",
        "https://api.paypal.com:8443/cert",
        "https://api.paypal.com/cert?next=https://evil.example",
        "https://api.paypal.com/cert%2e",
        "https://api.paypal.com",
        "https://api.paypal.com\\@evil.example/cert",
        "https://api.paypal.com/cert\n",
        "https://API.PAYPAL.COM/cert",
        "https://аpi.paypal.com/cert",
        "//api.paypal.com/cert",
        "https://api.paypal.com/" + "c" * 500,
    ],
)
def test_certificate_of_a_foreign_address_is_never_fetched(url):
    wire = always(LEAF)
    assert (
        refused(with_header(vector_callback(), "cert-url", url), certificates=certificates(wire))
        == "cert_url"
    )
    assert wire.urls == []


@pytest.mark.parametrize(
    "url", ["https://paypal.com/c", "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1"]
)
def test_certificate_of_paypals_hosts_is_fetched(url):
    assert make_paypal().read_callback(with_header(vector_callback(), "cert-url", url)).report == PAID


def test_certificate_under_an_intermediate_of_its_file_is_trusted():
    middle = issue("Middle", ROOT_KEY, is_ca=True)
    leaf = issue(HOST, KEY, hosts=(HOST,), issuer="Middle")
    assert (
        make_paypal(certificates=certificates(always(leaf, middle))).read_callback(vector_callback()).report
        == PAID
    )


BAD_CHAINS = {
    "expired": [issue(HOST, KEY, hosts=(HOST,), end=NOW - timedelta(hours=1))],
    "not yet valid": [issue(HOST, KEY, hosts=(HOST,), start=NOW + timedelta(hours=1))],
    "of another host": [issue("api.evil.example", KEY, hosts=("api.evil.example",))],
    "of a host that only looks so": [issue("evilpaypal.com", KEY, hosts=("evilpaypal.com",))],
    "with a name that it is not for": [issue(HOST, KEY, hosts=("api.evil.example",))],
    "without names": [issue(HOST, KEY)],
    "of an unknown authority": [issue(HOST, KEY, hosts=(HOST,), issuer="Other", issuer_key=KEY)],
    "signed by itself": [issue(HOST, KEY, hosts=(HOST,), issuer=HOST, issuer_key=KEY)],
    "with a root of its own": [
        issue(HOST, KEY, hosts=(HOST,), issuer="Test Root", issuer_key=KEY),
        issue("Test Root", KEY, issuer_key=KEY, is_ca=True),
    ],
    "under one that is no authority": [issue(HOST, KEY, hosts=(HOST,), issuer=HOST, issuer_key=KEY), LEAF],
    "an authority itself": [ROOT],
}


@pytest.mark.parametrize("name", BAD_CHAINS)
def test_certificate_that_must_not_be_trusted_is_refused(name):
    paypal = {"certificates": certificates(always(*BAD_CHAINS[name]))}
    assert refused(vector_callback(), **paypal) == "certificate"


def test_right_certificate_of_another_key_does_not_verify():
    leaf = issue(HOST, ROOT_KEY, hosts=(HOST,))
    assert refused(vector_callback(), certificates=certificates(always(leaf))) == "signature"


def test_certificate_is_not_trusted_by_the_public_roots_of_a_machine():
    assert refused(vector_callback(), certificates=Certificates(always(LEAF))) == "certificate"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", pem_of(LEAF)[:-40], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"],
)
def test_file_that_holds_no_certificate_is_refused(body):
    assert (
        refused(vector_callback(), certificates=certificates(CertificateWire(reply(200, body))))
        == "certificate"
    )


@pytest.mark.parametrize(
    "answer",
    [Unreachable("x"), Unanswered("x"), reply(404, pem_of(LEAF)), reply(500)],
    ids=lambda one: type(one).__name__,
)
def test_certificate_that_cannot_be_had_now_is_asked_for_at_the_next_try(answer):
    paypal = make_paypal(certificates=certificates(CertificateWire(answer)))
    with pytest.raises(NotGenuine, match="certificate_unavailable"):
        paypal.read_callback(vector_callback())
    assert paypal.read_callback(vector_callback()).report == PAID


# ---- webhooks: by asking PayPal ----------------------------------------------------------------------------------


def asking(*replies: Any, **changes: Any) -> tuple[PayPal, ScriptedWire]:
    wire = ScriptedWire(*replies)
    return make_paypal(wire=wire, certificates=None, **changes), wire


VERIFIED, FAILED = (
    reply(200, {"verification_status": "SUCCESS"}),
    reply(200, {"verification_status": "FAILURE"}),
)


def test_message_is_sent_back_byte_for_byte():
    raw = event("PAYMENT.CAPTURE.COMPLETED", capture(), note="é ü", spaced=[1.50, 1e2])
    paypal, wire = asking(VERIFIED)
    assert paypal.read_callback(raw).report == PAID
    body = wire.sent[0]["body"]
    assert wire.sent[0]["url"].endswith("/v1/notifications/verify-webhook-signature")
    assert body.endswith(b', "webhook_event": ' + raw.body + b"}")
    asked = json.loads(body)
    assert asked.pop("webhook_event") == json.loads(raw.body)
    assert asked == {
        "auth_algo": "SHA256withRSA",
        "cert_url": CERT_URL,
        "transmission_id": raw.headers["paypal-transmission-id"],
        "transmission_sig": raw.headers["paypal-transmission-sig"],
        "transmission_time": raw.headers["paypal-transmission-time"],
        "webhook_id": WEBHOOK_ID,
    }


def test_each_of_two_webhooks_is_asked_about():
    paypal, wire = asking(FAILED, VERIFIED, webhook_ids=["NEW", WEBHOOK_ID])
    assert paypal.read_callback(vector_callback()).report == PAID
    assert [sent_body(wire, place)["webhook_id"] for place in (0, 1)] == ["NEW", WEBHOOK_ID]


@pytest.mark.parametrize("status", ["FAILURE", "success", "", None, True, ["SUCCESS"]])
def test_anything_but_success_is_refused(status):
    paypal, _ = asking(reply(200, {"verification_status": status}))
    with pytest.raises(NotGenuine, match="signature"):
        paypal.read_callback(vector_callback())


@pytest.mark.parametrize(
    "answer",
    [reply(500), reply(404), reply(200, b"<<<"), error(400, "X"), Unanswered("x"), Unreachable("x")],
    ids=str,
)
def test_without_paypals_word_nothing_is_believed(answer):
    paypal, _ = asking(answer)
    with pytest.raises(NotGenuine, match="verification_unavailable"):
        paypal.read_callback(vector_callback())


@pytest.mark.parametrize(
    "body",
    [
        b'{}, "webhook_event": {"id": "WH-genuine"}',
        b'{"a":1}}',
        b'{"a":1} {"b":2}',
        b'{"a":1',
        b"[]",
        b'"text"',
        b"",
        b"\xff",
        b'{"a":1,"a":2}',
    ],
)
def test_body_cannot_write_into_our_question(body):
    paypal, wire = asking(VERIFIED)
    with pytest.raises(NotGenuine, match="body"):
        paypal.read_callback(sealed(body))
    assert wire.sent == []


def test_old_or_foreign_transmission_is_not_even_asked_about():
    paypal, wire = asking(VERIFIED, now=NOW + timedelta(days=5))
    with pytest.raises(NotGenuine, match="transmission_time"):
        paypal.read_callback(vector_callback())
    assert wire.sent == []


# ---- webhooks: strangers who make us ask ---------------------------------------------------------------------------


class Stranger:
    """A wire on which every question waits until `let_go`."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Semaphore(0), threading.Event()

    def send(self, method: str, url: str, **rest: Any) -> Any:
        if url == CERT_URL:
            return reply(200, pem_of(LEAF))
        self.asked.release()
        self.let_go.wait(10)
        return reply(404)


@contextmanager
def strangers(paypal: PayPal, wire: Stranger) -> Iterator[None]:
    """As many as may ask at once name certificates at slow addresses."""
    slow = [with_header(vector_callback(), "cert-url", f"https://api.paypal.com/{n}") for n in range(4)]
    threads = [threading.Thread(target=refused_by, args=(paypal, raw)) for raw in slow]
    for thread in threads:
        thread.start()
        assert wire.asked.acquire(timeout=10)
    yield
    wire.let_go.set()
    for thread in threads:
        thread.join(10)


def refused_by(paypal: PayPal, raw: RawCallback) -> str:
    with pytest.raises(NotGenuine) as error:
        paypal.read_callback(raw)
    return error.value.reason


def test_event_under_a_kept_certificate_is_read_while_strangers_have_us_fetch_others():
    wire = Stranger()
    paypal = make_paypal(certificates=certificates(wire))
    assert paypal.read_callback(vector_callback()).report == PAID
    with strangers(paypal, wire):
        assert paypal.read_callback(vector_callback()).report == PAID


def test_no_more_than_a_few_certificates_are_fetched_at_once():
    wire = Stranger()
    paypal = make_paypal(certificates=certificates(wire))
    with strangers(paypal, wire):
        assert refused_by(paypal, vector_callback()) == "busy"
    assert paypal.read_callback(vector_callback()).report == PAID


# ---- webhooks: what we answer ------------------------------------------------------------------------------------


def test_acknowledgement_is_an_empty_200():
    answer = make_paypal().acknowledge()
    assert (answer.status, answer.body) == (200, b"")


def test_refusal_has_paypal_try_again():
    answer = make_paypal().refuse_callback("signature")
    assert answer.status == 401
    assert json.loads(answer.body) == {"message": "signature"}
