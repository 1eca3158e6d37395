"""What a channel may send that must not be believed, over real HTTP: nothing is trusted, nothing is changed, the log
names the payment, and when the channel has come to its senses the same payment settles.
"""

import base64
import json
import logging
import time
import tracemalloc
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db.models.functions import Now

from orders.models import Order
from payments.applying import apply_for_payment
from payments.channels.seals import sign_rsa_sha256
from payments.models import Callback, Case, Payment, Receipt, Refund
from payments.querying import query_payment
from payments.refunding import ask_refund, send_refund
from payments.statuses import Settled
from shop.models import Alarm, Event
from tests.factories import make_order
from tests.flows.test_api import Api, problem
from tests.payments.channels.raw_server import Peer, RawServer
from tests.redis_states import whatever_redis_does
from tests.sandbox_process import SandboxProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SILENT = {"drop": 1.0}
# What the wire or the adapter must not believe. Each is said once the channel has done what it was asked for.
UNBELIEVABLE: dict[str, dict[str, Any]] = {
    "garbage": {"what": "garbage"},
    "truncated": {"what": "truncate"},
    "signed by a stranger": {"what": "badsign"},
    "redirect": {"what": "redirect"},
    "100 MB": {"what": "flood"},
    "HTML of a proxy": {"what": "status", "value": 502},
    "error of the channel": {"what": "syserr"},
    "reset": {"what": "reset"},
}


def break_calls(sandbox: SandboxProcess, operations: list[str], **fault: Any) -> None:
    """Each call of the operations meets the fault; no notification helps out."""
    common = {"channel": "wechat", "when": "after", "times": 100}
    script = [common | {"operation": operation} | fault for operation in operations]
    sandbox.set_faults({"notify": SILENT, "script": script})


def everything() -> dict[str, Any]:
    """All that money is written down in."""
    return {
        "orders": list(Order.objects.values("number", "status", "holds_stock")),
        "payments": list(Payment.objects.values("number", "status", "action", "channel_number")),
        "receipts": list(Receipt.objects.values()),
        "refunds": list(Refund.objects.values("number", "status", "channel_number")),
        "cases": list(Case.objects.values("kind", "subject")),
        "events": Event.objects.count(),
    }


@pytest.fixture
def api(sandbox, live_server) -> Api:
    return Api(live_server.url)


@pytest.fixture
def payment(api, sandbox) -> Payment:
    """A code that is shown, applied for by the API; no notification comes of itself."""
    sandbox.set_faults({"notify": SILENT})
    number = api.apply(api.place()["number"]).json()["number"]
    return Payment.objects.select_related("order").get(number=number)


@pytest.fixture
def paid(payment, sandbox) -> Payment:
    """Paid at the channel, which we have not heard of."""
    sandbox.pay(payment.number)
    return payment


@pytest.fixture
def refund(paid) -> Refund:
    """On its way to a channel that has not heard of it."""
    query_payment(paid.number)
    return ask_refund(paid.number, amount=2900, reason="size", actor="Ann")


def status_of(row: Payment | Refund | Order) -> str:
    row.refresh_from_db()
    return str(row.status)


def ask_again(api: Api, payment: Payment) -> requests.Response:
    """As a page does; not held back by the last time somebody asked."""
    Payment.objects.update(queried_at=None)
    return api.call("POST", f"payments/{payment.number}/query")


# ---- the five calls: not believed, then settled ------------------------------------------------------------------


def create_is_not_believed(sandbox: SandboxProcess, api: Api, said: dict[str, Any]) -> str:
    number = api.place()["number"]
    break_calls(sandbox, ["create"], **said)
    assert problem(api.apply(number)) == (409, "payment_confirming")
    payment = Payment.objects.get()
    assert (payment.status, payment.action) == ("PAYING", None)
    assert not Receipt.objects.exists()

    sandbox.set_faults({"notify": SILENT})
    Payment.objects.update(lease_until=Now())  # its maker has had the time of a call
    assert api.apply(number).json()["number"] == payment.number
    sandbox.pay(payment.number)
    assert ask_again(api, payment).json()["status"] == "PAID"
    return payment.number


def query_is_not_believed(sandbox: SandboxProcess, api: Api, paid: Payment, said: dict[str, Any]) -> str:
    break_calls(sandbox, ["query"], **said)
    before = everything()
    assert ask_again(api, paid).json()["status"] == "PAYING"
    assert everything() == before

    sandbox.set_faults({"notify": SILENT})
    assert ask_again(api, paid).json()["status"] == "PAID"
    return paid.number


def close_is_not_believed(sandbox: SandboxProcess, api: Api, payment: Payment, said: dict[str, Any]) -> str:
    break_calls(sandbox, ["close", "query"], **said)
    before = everything()
    assert problem(api.call("POST", f"orders/{payment.order.number}/cancel")) == (409, "payment_confirming")
    assert everything() == before

    sandbox.set_faults({"notify": SILENT})
    sandbox.pay(payment.number, force=True)  # the channel had closed it, and takes money all the same
    assert ask_again(api, payment).json()["status"] == "PAID"
    return payment.number


def refund_is_not_believed(sandbox: SandboxProcess, refund: Refund, said: dict[str, Any]) -> str:
    break_calls(sandbox, ["refund"], **said)
    before = everything()
    assert send_refund(refund) is Settled.STALE
    assert everything() == before
    return goes_back_once(sandbox, refund)


def query_refund_is_not_believed(sandbox: SandboxProcess, refund: Refund, said: dict[str, Any]) -> str:
    break_calls(sandbox, ["refund"], what="reset")
    send_refund(refund)
    break_calls(sandbox, ["query_refund"], **said)
    before = everything()
    assert send_refund(fresh(refund)) is Settled.STALE
    assert everything() == before
    return goes_back_once(sandbox, refund)


def fresh(refund: Refund) -> Refund:
    return Refund.objects.select_related("receipt__payment").get(pk=refund.pk)


def goes_back_once(sandbox: SandboxProcess, refund: Refund) -> str:
    sandbox.set_faults({"notify": SILENT})
    wait_until(lambda: send_refund(fresh(refund)) and status_of(refund) == "REFUNDED", every_s=0.1)
    [made] = [made for trade in sandbox.trades(refund.receipt.number) for made in trade["refunds"]]
    assert (made["out_refund_no"], made["amount"]) == (refund.number, refund.amount)
    return refund.number


def logged_failures(caplog: pytest.LogCaptureFixture, operation: str) -> set[str]:
    """The numbers of the calls that the wire or the adapter did not believe."""
    lines = [line for line in caplog.records if line.name == "nodrop.wire"]
    return {vars(line)["number"] for line in lines if vars(line)["operation"] == operation}


OPERATIONS = ("create", "query", "close", "refund", "query_refund")
# A close is answered by 204: there is no body to cut off or to flood.
WITHOUT_BODY = {("close", "truncated"), ("close", "100 MB")}


@pytest.mark.parametrize(
    ("operation", "said"), [pair for pair in product(OPERATIONS, UNBELIEVABLE) if pair not in WITHOUT_BODY]
)
def test_answer_that_cannot_be_believed_changes_nothing_and_the_truth_is_settled_later(
    operation, said, request, sandbox, api, caplog
):
    caplog.set_level(logging.INFO)
    tell = UNBELIEVABLE[said]
    if operation == "create":
        number = create_is_not_believed(sandbox, api, tell)
    elif operation == "query":
        number = query_is_not_believed(sandbox, api, request.getfixturevalue("paid"), tell)
    elif operation == "close":
        number = close_is_not_believed(sandbox, api, request.getfixturevalue("payment"), tell)
    elif operation == "refund":
        number = refund_is_not_believed(sandbox, request.getfixturevalue("refund"), tell)
    else:
        number = query_refund_is_not_believed(sandbox, request.getfixturevalue("refund"), tell)
    assert number in logged_failures(caplog, operation)


def test_a_byte_a_second_costs_no_more_than_the_wires_own_time(sandbox, api, paid):
    break_calls(sandbox, ["query"], what="drip")
    before, started = everything(), time.monotonic()
    assert ask_again(api, paid).json()["status"] == "PAYING"
    assert time.monotonic() - started < 10
    assert everything() == before


def test_100_mb_are_not_read(sandbox, paid):
    break_calls(sandbox, ["query"], what="flood", value=100 * 2**20)
    tracemalloc.start()
    try:
        query_payment(paid.number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
    assert status_of(paid) == "PAYING"


# ---- genuine, and not about this payment -------------------------------------------------------------------------


def another_number() -> str:
    return apply_for_payment(make_order().number, channel="wechat", scene="qr").payment.number


ELSEWHERE: dict[str, Callable[[], dict[str, Any]]] = {
    "another order": lambda: {"out_trade_no": another_number()},
    "another merchant": lambda: {"merchant": "1900000001"},
    "another app": lambda: {"app": "wx0000000000000001"},
    "a state nobody knows": lambda: {"status": "PAID"},
    "a state in lower case": lambda: {"status": "success"},
    "no trade": lambda: {"channel_number": ""},
}


@pytest.mark.parametrize("about", ELSEWHERE)
def test_signed_answer_of_a_query_about_something_else_is_unknown(about, sandbox, api, paid, caplog):
    caplog.set_level(logging.INFO)
    break_calls(sandbox, ["query"], what="lie", value=ELSEWHERE[about]())
    before = everything()
    assert ask_again(api, paid).json()["status"] == "PAYING"
    assert everything() == before
    assert [line["outcome"] for line in queried(caplog, paid)] == ["unknown"]

    sandbox.set_faults({"notify": SILENT})
    assert ask_again(api, paid).json()["status"] == "PAID"


def queried(caplog: pytest.LogCaptureFixture, payment: Payment) -> list[dict[str, Any]]:
    lines = [
        line.msg for line in caplog.records if line.name == "nodrop.querying" and isinstance(line.msg, dict)
    ]
    return [line for line in lines if line["payment"] == payment.number]


@pytest.mark.parametrize("lie", [{"amount": 1}, {"amount": 12901}, {"currency": "USD"}, {"currency": "cny"}])
def test_signed_answer_of_a_query_with_another_amount_ships_nothing_and_is_for_a_person(
    lie, sandbox, api, paid
):
    break_calls(sandbox, ["query"], what="lie", value=lie)
    assert ask_again(api, paid).json()["status"] == "PAYING"
    assert status_of(paid.order) == "UNPAID"
    assert Receipt.objects.get().receipt_class == "mismatch"
    assert Case.objects.get().kind == Case.Kind.MISMATCH
    assert problem(api.apply(paid.order.number)) == (409, "payment_confirming")


@pytest.mark.parametrize(
    "lie", [{"out_trade_no": "P0000000000000000000000X"}, {"amount": 1}, {"status": "DONE"}]
)
def test_signed_answer_of_a_refund_query_that_does_not_fit_ends_nothing(lie, sandbox, refund):
    break_calls(sandbox, ["refund"], what="reset")
    send_refund(refund)
    break_calls(sandbox, ["query_refund"], what="lie", value=lie)
    send_refund(fresh(refund))
    assert status_of(refund) == "REFUNDING"
    goes_back_once(sandbox, refund)


# ---- callbacks: signed with the channel's own key, their meaning changed ----------------------------------------


class Impostor:
    """Whoever holds the channel's keys: seals what it likes."""

    def __init__(self, sandbox: SandboxProcess, shop_url: str) -> None:
        self.env, self.address = sandbox.env, f"{shop_url}/notify/wechat/"
        public = Path(self.env["WECHAT_PLATFORM_KEY_FILE"])
        pem = (public.parent / "wechat_platform_private.pem").read_bytes()
        self.key: Any = serialization.load_pem_private_key(pem, password=None)

    def content(self, payment: Payment, **changed: Any) -> dict[str, Any]:
        """What a genuine message about this payment says, with some of it changed."""
        return {
            "appid": self.env["WECHAT_APPID"],
            "mchid": self.env["WECHAT_MCHID"],
            "out_trade_no": payment.number,
            "transaction_id": "4200000000202611210000000001",
            "trade_state": "SUCCESS",
            "success_time": "2026-11-21T18:10:34+08:00",
            "amount": {"total": payment.amount, "currency": "CNY"},
        } | changed

    def post(
        self, content: Any, *, kind: str = "TRANSACTION.SUCCESS", headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a message with this content, sealed as the channel seals."""
        plain = content if isinstance(content, bytes) else json.dumps(content).encode()
        sealed = AESGCM(self.env["WECHAT_APIV3_KEY"].encode()).encrypt(b"abcdefghijkl", plain, b"transaction")
        resource = {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": "abcdefghijkl",
            "associated_data": "transaction",
            "ciphertext": base64.b64encode(sealed).decode(),
        }
        envelope = {"id": "EV-1", "event_type": kind, "resource": resource}
        return self.send(json.dumps(envelope).encode(), headers=headers)

    def send(
        self, body: bytes, *, signed: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send these bytes under a signature of `signed`, by default of themselves; `headers` take its place."""
        seal = self.seal(body if signed is None else signed) | dict(headers or {})
        return requests.post(self.address, data=body, headers=seal, timeout=10)

    def answer_always(self, body: bytes) -> Callable[[Peer], None]:
        """A server's behaviour: whatever is asked, this is the answer, 200 and rightly signed."""

        def behave(peer: Peer) -> None:
            while peer.read_request():
                headers = self.seal(body) | {"Content-Length": str(len(body))}
                lines = [f"{name}: {value}" for name, value in headers.items()]
                peer.send("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body)

        return behave

    def seal(self, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": "nonce",
            "Wechatpay-Serial": self.env["WECHAT_PLATFORM_KEY_ID"],
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
            "Wechatpay-Signature": sign_rsa_sha256(self.key, f"{stamp}\nnonce\n".encode() + body + b"\n"),
        }


@pytest.fixture
def impostor(sandbox, live_server) -> Impostor:
    return Impostor(sandbox, live_server.url)


def settles_after_all(sandbox: SandboxProcess, payment: Payment) -> None:
    """The genuine message, and the money is where it belongs."""
    sandbox.clear_faults()
    sandbox.pay(payment.number)
    sandbox.notify(payment.number)
    wait_until(lambda: status_of(payment.order) == "READY_FOR_SHIPMENT")
    assert Receipt.objects.filter(receipt_class="settled", amount=payment.amount).count() == 1


def test_impostor_speaks_as_the_channel_does(impostor, payment):
    assert impostor.post(impostor.content(payment)).status_code == 204
    assert status_of(payment.order) == "READY_FOR_SHIPMENT"


SENSELESS: dict[str, dict[str, Any]] = {
    "another merchant": {"mchid": "1900000001"},
    "another app": {"appid": "wx0000000000000001"},
    "no merchant": {"mchid": None},
    "a list of merchants": {"mchid": ["1900000001"]},
    "amount as text": {"amount": {"total": "12900", "currency": "CNY"}},
    "amount as a fraction": {"amount": {"total": 12900.0, "currency": "CNY"}},
    "amount as true": {"amount": {"total": True, "currency": "CNY"}},
    "negative amount": {"amount": {"total": -12900, "currency": "CNY"}},
    "endless amount": {"amount": {"total": 10**30, "currency": "CNY"}},
    "amount null": {"amount": None},
    "amount as a list": {"amount": [12900, "CNY"]},
    "only what the payer paid": {"amount": {"payer_total": 12900, "currency": "CNY"}},
    "currency in a list": {"amount": {"total": 12900, "currency": ["CNY"]}},
    "number with a blank": {"out_trade_no": "{number} "},
    "number in lower case": {"out_trade_no": "{lower}"},
    "number in wide letters": {"out_trade_no": "{wide}"},
    "number in a list": {"out_trade_no": ["{number}"]},
    "no trade": {"transaction_id": ""},
    "trade as a number": {"transaction_id": 42},
    "state in lower case": {"trade_state": "success"},
    "state of a refund": {"trade_state": "PROCESSING"},
    "not paid": {"trade_state": "NOTPAY"},
    "paid on no day": {"success_time": "2026-02-30T18:10:34+08:00"},
}


def fill_in(value: Any, number: str) -> Any:
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in number)
    if isinstance(value, list):
        return [fill_in(each, number) for each in value]
    return value.format(number=number, lower=number.lower(), wide=wide) if isinstance(value, str) else value


@pytest.mark.parametrize("name", SENSELESS)
def test_sealed_message_whose_meaning_was_changed_pays_nothing(name, impostor, payment, sandbox):
    changed = {field: fill_in(value, payment.number) for field, value in SENSELESS[name].items()}
    before = everything()
    answer = impostor.post(impostor.content(payment, **changed))
    assert answer.status_code in (204, 401)
    assert everything() == before
    settles_after_all(sandbox, payment)


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[]",
    "cut off": b'{"out_trade_no": "',
    "not UTF-8": b"\xff\xfe{}",
    "deep": b"[" * 20_000,
    "no number at all": b"NaN",
    "HTML": b"<html>200 OK</html>",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_sealed_message_without_readable_content_is_refused(name, impostor, payment, sandbox):
    before = everything()
    assert impostor.post(MALFORMED[name]).status_code == 401
    assert impostor.send(MALFORMED[name]).status_code == 401
    assert everything() == before
    assert not Callback.objects.exists()
    settles_after_all(sandbox, payment)


def test_repeated_field_cannot_say_two_things(impostor, payment):
    """Whichever of the two is read, the amount that is compared is the amount that is booked."""
    whole = json.dumps(impostor.content(payment, amount={"total": 1, "currency": "CNY"}))
    impostor.post(f'{whole[:-1]}, "amount": {{"total": 12900, "currency": "CNY"}}}}'.encode())
    booked = list(Receipt.objects.values_list("receipt_class", "amount"))
    assert booked in ([], [("mismatch", 1)], [("settled", 12900)])


@pytest.mark.parametrize("total", [1, 12899, 12901])
def test_genuine_message_of_another_amount_ships_nothing(total, impostor, payment, caplog):
    caplog.set_level(logging.INFO)
    assert (
        impostor.post(impostor.content(payment, amount={"total": total, "currency": "CNY"})).status_code
        == 204
    )
    assert status_of(payment.order) == "UNPAID"
    assert Receipt.objects.get().receipt_class == "mismatch"
    case = Case.objects.get()
    assert (case.kind, case.evidence["number"], case.evidence["amount"]) == (
        "mismatch",
        payment.number,
        total,
    )


def test_genuine_message_of_another_currency_ships_nothing(impostor, payment):
    assert (
        impostor.post(impostor.content(payment, amount={"total": 12900, "currency": "USD"})).status_code
        == 204
    )
    assert status_of(payment.order) == "UNPAID"
    assert Case.objects.get().kind == Case.Kind.MISMATCH


def test_number_of_ours_under_another_channel_is_nobodys(impostor, payment):
    Payment.objects.update(channel="alipay")
    assert impostor.post(impostor.content(payment)).status_code == 204
    assert status_of(payment.order) == "UNPAID"
    assert not Receipt.objects.exists()
    assert Alarm.objects.filter(kind="take_callback").count() == 1


def test_message_about_a_refund_cannot_pay(impostor, payment):
    for kind in ("REFUND.SUCCESS", "REFUND.CLOSED", "TRANSACTION.FAIL", "transaction.success"):
        assert impostor.post(impostor.content(payment), kind=kind).status_code < 500
        assert status_of(payment.order) == "UNPAID"
    assert not Receipt.objects.exists()


def test_message_about_a_payment_cannot_refund(impostor, refund):
    content = impostor.content(
        refund.receipt.payment, out_refund_no=refund.number, refund_id="503", status="SUCCESS"
    )
    assert impostor.post(content).status_code == 204
    assert status_of(refund) == "REFUNDING"


def test_message_is_refused_whichever_of_its_bits_is_flipped(impostor, payment, sandbox):
    """A bit of every thirtieth byte; that each of them counts is the seal's own test."""
    body = json.dumps(
        {"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": {"nonce": "x" * 400}}
    ).encode()
    before = everything()
    for place in range(0, len(body), 30):
        flipped = body[:place] + bytes([body[place] ^ 1 << place % 8]) + body[place + 1 :]
        assert impostor.send(flipped, signed=body).status_code == 401
    assert everything() == before
    settles_after_all(sandbox, payment)


@pytest.mark.parametrize("header", ["Timestamp", "Nonce", "Serial", "Signature", "Signature-Type"])
def test_message_with_a_broken_header_is_refused(header, impostor, payment):
    for value in ("", "0", "%00", "é", "9" * 400):
        headers = {f"Wechatpay-{header}": value.encode().decode("latin-1")}
        assert impostor.post(impostor.content(payment), headers=headers).status_code == 401
    assert status_of(payment.order) == "UNPAID"
    assert not Callback.objects.exists()


@whatever_redis_does
@pytest.mark.parametrize("notify", [{"forge": 1.0}, {"tamper": 1.0}], ids=["forged", "tampered"])
def test_refused_message_changes_nothing_and_the_genuine_one_settles(notify, sandbox, payment):
    sandbox.set_faults({"notify": notify})
    before = everything()
    sandbox.pay(payment.number)
    tries = wait_until(lambda: sandbox.trades(payment.number)[0]["notifications"])
    assert tries[0]["status"] == 401
    assert everything() == before
    sandbox.clear_faults()
    sandbox.notify(payment.number)
    wait_until(lambda: status_of(payment.order) == "READY_FOR_SHIPMENT")


# ---- 200 with an error body --------------------------------------------------------------------------------------

ERRORS_AS_SUCCESS: dict[str, bytes] = {
    "error": b'{"code": "SYSTEM_ERROR", "message": "busy"}',
    "not found": b'{"code": "ORDERNOTEXIST", "message": "no such order"}',
    "empty object": b"{}",
    "nothing": b"",
}
FLOWS: dict[str, Callable[[Api, Any], Any]] = {
    "create": lambda api, order: api.apply(order.number),
    "query": lambda api, paid: ask_again(api, paid),
    "close": lambda api, payment: api.call("POST", f"orders/{payment.order.number}/cancel"),
    "refund": lambda api, refund: send_refund(refund),
    "query_refund": lambda api, refund: send_refund(fresh(refund)),
}


@pytest.mark.parametrize("name", ERRORS_AS_SUCCESS)
@pytest.mark.parametrize("operation", FLOWS)
def test_error_that_is_answered_and_signed_as_a_success_decides_nothing(
    operation, name, request, api, sandbox, settings, impostor
):
    subject = request.getfixturevalue(SUBJECTS[operation])
    if operation == "query_refund":
        Refund.objects.update(sent_at=Now())
    before, good = everything(), settings.CHANNELS
    with RawServer(impostor.answer_always(ERRORS_AS_SUCCESS[name])) as liar:
        settings.CHANNELS = {"wechat": good["wechat"] | {"BASE_URL": liar.url}}
        FLOWS[operation](api, subject)
    settings.CHANNELS = good
    if operation != "create":
        assert everything() == before
    else:
        assert Payment.objects.get().status == "PAYING"
        assert Payment.objects.get().action is None


# What each flow begins with.
SUBJECTS = {
    "create": "placed",
    "query": "paid",
    "close": "payment",
    "refund": "refund",
    "query_refund": "refund",
}


@pytest.fixture
def placed(api) -> Order:
    return Order.objects.get(number=api.place()["number"])
