"""Answers of a moment ago: repeated where that is safe, never believed about anything that moves."""

import json
import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_redis import get_redis_connection

from orders.access import renew_link, token_of
from orders.models import Order
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from payments.applying import apply_for_payment
from payments.cached import (
    FRESH_S,
    keep_state,
    read_state,
    recall_offer,
    recall_state,
    renew_state,
    start_clock,
)
from payments.ending import cancel_order
from payments.errors import OrderIsClosed, OrderIsPaid
from payments.models import Payment
from payments.settling import FOLLOW_UP, settle_payment
from payments.statuses import PaymentStatus
from shop.alarms import handle_now
from shop.events import record
from shop.hints import full_name
from shop.locks import stand_in_line
from shop.models import Source
from tests.factories import make_order, make_payment, report
from tests.redis_states import whatever_redis_does
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Shopper:
    """Asks by HTTP with the order's token."""

    def __init__(self, client: Any, order: Order) -> None:
        self.client = client
        self.order = order
        self.headers = {"Authorization": f"Bearer {token_of(order)}"}

    def status(self) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/orders/{self.order.number}/status", headers=self.headers)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def apply(self) -> tuple[int, dict[str, Any]]:
        answer = self.client.post(
            f"/api/v1/orders/{self.order.number}/payments",
            {"channel": "wechat", "scene": "qr"},
            content_type="application/json",
            headers=self.headers,
        )
        return answer.status_code, answer.json()


@pytest.fixture
def shopper(client, sandbox) -> Shopper:
    return Shopper(client, make_order())


def pay(payment: Payment) -> None:
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)


def put(order: Order, value: str) -> None:
    get_redis_connection("default").set(full_name(f"order:{order.number}"), value, px=1500)


@whatever_redis_does
def test_second_press_shows_the_same_code(shopper):
    first, second = shopper.apply(), shopper.apply()
    assert (first[0], second[0]) == (201, 200)
    assert first[1] == second[1]


@whatever_redis_does
def test_press_after_the_order_was_paid_says_so_at_once(shopper):
    shopper.apply()
    pay(Payment.objects.get())
    assert shopper.apply()[1]["code"] == "order_paid"


@whatever_redis_does
def test_press_after_the_order_was_cancelled_says_so_at_once(shopper):
    shopper.apply()
    cancel_order(shopper.order.number)
    assert shopper.apply()[1]["code"] == "order_closed"


def test_state_of_order_and_payment_is_of_one_moment():
    order = make_order()
    payment = make_payment(order)
    read_before = Order.objects.get(pk=order.pk)
    pay(payment)
    state = read_state(read_before, since=start_clock())
    order.refresh_from_db()
    assert (state.status, state.payment_status) == ("READY_FOR_SHIPMENT", "PAID")
    assert state.version == order.version


@whatever_redis_does
def test_status_is_at_most_two_seconds_old(shopper):
    shopper.apply()
    shopper.status()
    pay(Payment.objects.get())
    paid = wait_until(lambda: shopper.status()["status"] == "READY_FOR_SHIPMENT", within_s=FRESH_S + 1)
    assert paid


def test_follow_up_of_a_settlement_tells_the_cache_before_it_wakes_the_pages(shopper):
    shopper.apply()
    before = shopper.status()
    pay(Payment.objects.get())
    handle_now(FOLLOW_UP, shopper.order.number)
    after = shopper.status()
    assert (after["status"], after["payment_status"]) == ("READY_FOR_SHIPMENT", "PAID")
    assert after["version"] > before["version"]


def test_cancelling_tells_the_cache(shopper):
    shopper.apply()
    shopper.status()
    cancel_order(shopper.order.number)
    assert shopper.status()["status"] == "CLOSED"


@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        "1:{}",
        '99:{"number":"N","status":"FREE","payment_status":null,"version":99,"offer":null}',
        '99:{"number":"N","status":"UNPAID","payment_status":"RICH","version":99,"offer":null}',
        '99:{"number":"N","status":"UNPAID","payment_status":null,"version":"x","offer":null}',
        "9:" + "[" * 100_000,
        '9:{"number":"%s","status":"UNPAID","payment_status":null,"version":Infinity,"offer":null}',
        '99:{"number":"N","status":["UNPAID"],"payment_status":null,"version":1,"offer":7}',
        '99:{"number":"N","status":"UNPAID","payment_status":null,"version":99,"offer":{"channel":"wechat","scene":"qr"}}',
    ],
)
def test_what_makes_no_sense_in_the_cache_is_read_from_the_database(shopper, value):
    shopper.apply()
    shopper.status()
    value = value.replace("%s", shopper.order.number)
    put(shopper.order, value)
    if '"offer":{' not in value:
        assert shopper.status()["payment_status"] == "PAYING"
        put(shopper.order, value)
    status, body = shopper.apply()
    assert (status, body["status"]) == (200, "PAYING")


@pytest.mark.parametrize("lie", ["READY_FOR_SHIPMENT", "CLOSED"])
def test_lie_in_the_cache_decides_nothing(sandbox, lie):
    order = make_order()
    value = {"number": order.number, "status": lie, "payment_status": None, "version": 99, "offer": None}
    put(order, f"99:{json.dumps(value)}")
    payment = apply_for_payment(order.number, channel="wechat", scene="qr", version=order.version).payment
    pay(payment)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


def test_code_of_an_older_version_is_not_shown_any_more(sandbox):
    order = make_order()
    apply_for_payment(order.number, channel="wechat", scene="qr")
    order.refresh_from_db()
    wanted = {"channel": "wechat", "scene": "qr"}
    assert recall_offer(order.number, **wanted, version=order.version)
    assert recall_offer(order.number, **wanted, version=order.version + 1) is None
    assert recall_offer(order.number, channel="wechat", scene="wap", version=order.version) is None


def test_code_that_ends_soon_is_not_kept(sandbox):
    order = make_order()
    make_payment(order, lives_s=16)
    renew_state(order.number)
    assert recall_offer(order.number, channel="wechat", scene="qr", version=0) is None


def test_what_is_shown_again_is_what_the_database_has(sandbox):
    order = make_order()
    payment = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    shown = recall_offer(order.number, channel="wechat", scene="qr", version=0)
    assert shown is not None
    for name in ("number", "channel", "scene", "status", "amount", "currency", "action", "expires_at"):
        assert getattr(shown, name) == getattr(payment, name)


def test_state_is_recalled_for_nobody_who_was_not_let_in(sandbox):
    order = make_order()
    renew_state(order.number)
    assert recall_state(order.number, "somebody") is None


def test_stranger_is_not_answered_from_a_warm_cache(client, shopper):
    shopper.apply()
    shopper.status()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = client.get(f"/api/v1/orders/{shopper.order.number}/status", headers=headers)
        assert answer.status_code == 404


def test_old_link_is_not_answered_from_a_warm_cache_once_there_is_a_new_one(shopper, client):
    path, headers = f"/api/v1/orders/{shopper.order.number}/status", dict(shopper.headers)
    assert [shopper.status()["version"] for _ in range(2)] == [shopper.order.version] * 2
    renewed = renew_link(shopper.order.number)
    renew_state(renewed.number)
    assert client.get(path, headers=headers).status_code == 404
    assert Shopper(client, renewed).status()["version"] == renewed.version
    assert client.get(path, headers=headers).status_code == 404


def test_open_page_has_the_channel_asked_though_others_are_answered_from_the_cache(shopper):
    """What is answered from the cache does not keep the pace of the queries; what fills it does, every two seconds."""
    shopper.apply()
    time.sleep(FRESH_S)
    with CaptureQueriesContext(connection) as seen:
        shopper.status()
    assert any("shop_alarm" in query["sql"] for query in seen.captured_queries)


@whatever_redis_does
def test_follow_up_ends_whatever_redis_does(sandbox):
    order = make_order()
    pay(make_payment(order))
    handle_now(FOLLOW_UP, order.number)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


def test_closed_and_paid_are_said_by_the_database_to_who_has_read_nothing(sandbox):
    closed, paid = make_order(), make_order()
    cancel_order(closed.number)
    pay(make_payment(paid))
    with pytest.raises(OrderIsClosed):
        apply_for_payment(closed.number, channel="wechat", scene="qr")
    with pytest.raises(OrderIsPaid):
        apply_for_payment(paid.number, channel="wechat", scene="qr")
    assert Payment.objects.get().status == PaymentStatus.PAID


def test_choice_to_go_on_is_never_answered_from_the_cache(sandbox):
    order = make_order()
    apply_for_payment(order.number, channel="wechat", scene="qr")
    order.refresh_from_db()
    with CaptureQueriesContext(connection) as seen:
        apply_for_payment(
            order.number, channel="wechat", scene="qr", version=order.version, may_supersede=True
        )
    assert any("FOR UPDATE" in query["sql"] for query in seen.captured_queries)


def test_what_was_read_too_long_ago_is_not_kept(sandbox):
    order = make_order()
    payment = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    get_redis_connection("default").delete(full_name(f"order:{order.number}"))
    keep_state(order, payment, since=time.monotonic() - FRESH_S, may_offer=True)
    assert recall_offer(order.number, channel="wechat", scene="qr", version=0) is None


@pytest.mark.parametrize("end", ["paid", "cancelled"])
def test_who_waited_in_line_is_not_shown_what_ended_meanwhile(sandbox, end):
    """The code was kept before somebody ended it, and the one who waits had read the order before that."""
    order = make_order()
    payment = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    order.refresh_from_db()
    kept = order.version
    refused: list[type[Exception]] = []

    def press() -> None:
        try:
            apply_for_payment(order.number, channel="wechat", scene="qr", version=kept)
        except (OrderIsPaid, OrderIsClosed) as error:
            refused.append(type(error))
        finally:
            connection.close()

    name = full_name(f"order:{order.number}")
    redis = get_redis_connection("default")
    value = redis.get(name)
    with stand_in_line(f"order:{order.number}"):
        redis.delete(name)  # the first look finds nothing
        rival = threading.Thread(target=press)
        rival.start()
        time.sleep(0.3)
        if end == "paid":
            pay(payment)
        else:
            with transaction.atomic():
                locked = lock_order(order.number)
                record([close_order(locked, CloseReason.CANCELLED, source=Source.SHOPPER)])
        redis.set(name, value, px=2000)  # and the second one something old
    rival.join()
    assert refused == [OrderIsPaid if end == "paid" else OrderIsClosed]


def test_code_is_not_offered_again_while_a_wrong_amount_is_in_review(shopper):
    number = shopper.apply()[1]["number"]
    payment = Payment.objects.get()
    settle_payment(report(payment, amount_minor=1), channel="wechat", source=Source.CALLBACK)
    shopper.status()
    assert shopper.apply()[1]["code"] == "payment_confirming"
    shown = shopper.client.get(f"/api/v1/payments/{number}", headers=shopper.headers).json()
    assert (shown["status"], shown["action"]) == ("PAYING", None)


def test_nobody_is_let_in_by_a_wrong_token_beside_a_session_that_was_let_in(client, sandbox):
    order = make_order()
    session = client.session
    session["orders"] = [order.number]
    session.save()
    path, junk = f"/api/v1/orders/{order.number}/status", {"Authorization": "Bearer null"}
    assert client.get(path).status_code == 200
    assert client.get(path, headers=junk).status_code == 404
    assert Client().get(path, headers=junk).status_code == 404


def test_lie_in_the_cache_is_bound_to_no_key(shopper):
    shopper.apply()
    order = Order.objects.get()
    offer = {"number": "P" + "0" * 23, "channel": "wechat", "scene": "qr", "amount": 1, "currency": "CNY"}
    offer |= {"action": {"type": "qr", "content": "x"}, "expires_at": order.expires_at.isoformat()}
    value = {
        "number": order.number,
        "status": "UNPAID",
        "payment_status": "PAYING",
        "version": 99,
        "offer": offer,
    }
    put(order, f"99:{json.dumps(value)}")
    shopper.headers["Idempotency-Key"] = "k1"
    assert shopper.apply()[1]["number"] == Payment.objects.get().number
