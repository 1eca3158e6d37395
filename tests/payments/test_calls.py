"""What our calls to channels came to is kept for people, and never stands in the way of the money."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from orders.models import Order
from payments.applying import apply_for_payment
from payments.callbacks import MAX_REFUSED, forget_old
from payments.calls import heard
from payments.channels.base import Outcome, PaymentReport, Refused
from payments.errors import PaymentConfirming
from payments.models import Call, Payment, Receipt, RefusedCallback
from payments.moves import SEND_REFUND
from payments.querying import close_payment, query_payment
from payments.refunding import ask_refund
from payments.statuses import PaymentStatus
from shop.alarms import handle_now
from shop.models import Source
from shop.numbers import new_payment_number
from tests.factories import make_order, make_payment

pytestmark = pytest.mark.django_db(transaction=True)

LOST = {"notify": {"drop": 1.0}}


@pytest.fixture
def order(sandbox) -> Order:
    sandbox.set_faults(LOST)
    return make_order()


@pytest.fixture
def payment(order) -> Payment:
    return apply_for_payment(order.number, channel="wechat", scene="qr").payment


def calls() -> list[tuple[str, str]]:
    return list(Call.objects.values_list("operation", "outcome"))


def fail(sandbox, operation: str, what: str, *, value: object = None) -> None:
    entry = {"channel": "wechat", "operation": operation, "when": "before", "what": what}
    sandbox.set_faults({**LOST, "script": [entry | ({"value": value} if value is not None else {})]})


def test_query_is_kept_with_its_answer_and_who_wanted_it(order, payment):
    query_payment(payment.number)
    call = Call.objects.get()
    assert (call.operation, call.outcome, call.subject) == ("query", "open", payment.number)
    assert (call.order_number, call.channel, call.source) == (order.number, "wechat", Source.QUERY)
    assert call.took_ms < 60_000
    assert call.code


def test_query_without_an_answer_is_kept_as_unknown(sandbox, payment):
    fail(sandbox, "query", "reset")
    query_payment(payment.number)
    assert calls() == [("query", "unknown")]


def test_close_is_kept(payment):
    close_payment(payment)
    assert calls() == [("close", "closed")]


def test_refund_and_the_question_about_it_are_kept_under_its_number(sandbox, order, payment):
    sandbox.pay(payment.number)
    query_payment(payment.number)
    refund = ask_refund(payment.number, amount=100, reason="broken", actor="sue")
    handle_now(SEND_REFUND, refund.number)
    handle_now(SEND_REFUND, refund.number)
    kept = Call.objects.filter(subject=refund.number, order_number=order.number)
    assert list(kept.values_list("operation", flat=True))[:2] == ["refund", "query_refund"]


def test_create_that_succeeds_tells_itself(payment):
    assert calls() == []


def test_create_without_an_answer_is_kept(sandbox, order):
    fail(sandbox, "create", "reset")
    with suppress(PaymentConfirming):
        apply_for_payment(order.number, channel="wechat", scene="qr")
    assert calls() == [("create", "unknown")]


def test_error_of_the_channel_is_kept_and_goes_on(order):
    payment = make_payment(order)
    with pytest.raises(Refused), heard("create", payment, source=Source.RESPONSE):
        raise Refused("no", code="PARAM_ERROR")
    call = Call.objects.get()
    assert (call.outcome, call.code) == ("refused", "PARAM_ERROR")


def lose_the_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("alter table payments_call rename to payments_call_gone")


def find_the_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("alter table payments_call_gone rename to payments_call")


def test_row_that_cannot_be_written_does_not_hold_up_the_money(sandbox, payment):
    sandbox.pay(payment.number)
    lose_the_table()
    try:
        assert query_payment(payment.number)[0] is Outcome.SUCCEEDED
    finally:
        find_the_table()
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAID
    assert Receipt.objects.count() == 1


def test_code_that_is_too_long_is_cut(order):
    payment = make_payment(order)
    with heard("query", payment, source=Source.QUERY) as hearing:
        hearing.take(PaymentReport(outcome=Outcome.OPEN, number=payment.number, code="X" * 200))
    assert Call.objects.get().code == "X" * 64


def make_call() -> Call:
    return Call.objects.create(
        subject="P1", channel="wechat", operation="query", outcome="open", took_ms=1, source=Source.QUERY
    )


def make_refused() -> RefusedCallback:
    return RefusedCallback.objects.create(
        order_number="N1", channel="wechat", number="P1", reason="x", body=b""
    )


@pytest.mark.parametrize("make", [make_call, make_refused])
def test_traces_are_forgotten_when_callbacks_are(make: Callable[[], Call | RefusedCallback], settings):
    row, recent = make(), make()
    type(row).objects.filter(pk=row.pk).update(at=Now() - timedelta(days=settings.CALLBACKS_KEPT_DAYS + 1))
    assert forget_old() == 1
    assert list(type(row).objects.all()) == [recent]


# ---- messages that are refused -----------------------------------------------------------------------------------


FORGED = {
    "wechatpay-timestamp": "1",
    "wechatpay-signature": "c2VjcmV0",
    "cookie": "session=1",
    "wechatpay-nonce": "n",
}


def post(client: Client, body: bytes, channel: str = "wechat") -> int:
    """A message that nobody signed, at the door of a channel."""
    answer = client.post(f"/notify/{channel}/", body, content_type="application/json", headers=FORGED)
    return int(answer.status_code)


def test_refused_message_with_a_number_of_ours_leaves_a_trace_in_its_order(client, order, payment):
    assert post(client, f'{{"out_trade_no": "{payment.number}", "openid": "oUpF8"}}'.encode()) == 401
    kept = RefusedCallback.objects.get()
    assert (kept.order_number, kept.number, kept.channel) == (order.number, payment.number, "wechat")
    assert kept.reason
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAYING


def test_number_is_found_behind_percent_signs_too(client, payment):
    post(client, f"passback=%22{payment.number}%22".encode())
    assert RefusedCallback.objects.count() == 1


def test_of_its_headers_only_harmless_ones_are_kept_and_of_its_body_nothing_about_a_person(client, payment):
    body = f'{{"out_trade_no": "{payment.number}", "openid": "oUpF8"}}'.encode()
    post(client, body)
    kept = RefusedCallback.objects.get()
    assert kept.headers["wechatpay-signature"] == "…"
    assert "cookie" not in kept.headers
    assert json.loads(bytes(kept.body)) == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_message_without_a_number_of_ours_costs_no_statement(client, payment, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert post(client, b'{"out_trade_no": "4711", "P": "PABC"}') == 401


def test_number_that_we_never_gave_out_leaves_nothing(client, payment, django_assert_num_queries):
    with django_assert_num_queries(1):
        post(client, new_payment_number().encode())
    assert not RefusedCallback.objects.exists()


def test_flood_of_forged_messages_ends_in_twenty_rows(client, payment):
    for _ in range(MAX_REFUSED + 5):
        assert post(client, payment.number.encode()) == 401
    assert RefusedCallback.objects.count() == MAX_REFUSED


def test_refusal_is_the_same_when_no_trace_can_be_kept(client, payment):
    with connection.cursor() as cursor:
        cursor.execute("alter table payments_refusedcallback rename to refused_gone")
    try:
        assert post(client, payment.number.encode()) == 401
    finally:
        with connection.cursor() as cursor:
            cursor.execute("alter table refused_gone rename to payments_refusedcallback")
