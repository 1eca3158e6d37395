"""What other systems do over the API: wait without costing anything, ask what is due, and read again only what has changed."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.test import Client

from orders.access import token_of
from orders.api import find_order_for
from orders.models import Order
from payments.api import orders, payments, status
from payments.api.fields import read_fields
from payments.models import Payment, Refund
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.bell import ring
from shop.keyring import make_key
from shop.models import Source
from shop.vault import unseal
from tests.asgi_server import AsgiServer
from tests.asgi_server import asgi_server as asgi_server
from tests.checkout.test_push import database_connections
from tests.factories import make_order, make_payment, report
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = 50


def system(*scopes: str) -> Client:
    made = make_key("-".join(scopes).replace(":", "-"), scopes)
    return Client(headers={"Authorization": f"Api-Key {made.shown}"})


# ---- waiting -------------------------------------------------------------------------------------------------------


@contextmanager
def waiting(server: AsgiServer, order: Order) -> Iterator[socket.socket]:
    """A status call that waits; what it answers can be read from the socket."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        path = f"/api/v1/orders/{order.number}/status?since={order.version}&wait=30"
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {token_of(order)}",
            "",
            "",
        ]
        connection.sendall("\r\n".join(lines).encode())
        yield connection


def test_fifty_who_wait_hold_no_thread_and_no_connection_and_all_hear_the_news(
    asgi_server, settings, monkeypatch
):
    settings.DB_POOL = True  # as the web process has it: what is closed goes back
    monkeypatch.setattr(status, "READ_EVERY_S", 30.0)
    waits: list[None] = []
    let_go = status._let_thread_go
    monkeypatch.setattr(status, "_let_thread_go", lambda: (let_go(), waits.append(None)))
    order = make_order()
    database_before, threads_before = database_connections(), threading.active_count()
    with ExitStack() as stack:
        sockets = [stack.enter_context(waiting(asgi_server, order)) for _ in range(WAITING)]
        wait_until(lambda: len(waits) == WAITING, within_s=20)
        wait_until(lambda: threading.active_count() <= threads_before + 5, within_s=8)
        wait_until(lambda: database_connections() <= database_before + 1, within_s=8)
        assert select.select(sockets, [], [], 0)[0] == []  # and all of them are still waiting
        Order.objects.update(version=order.version + 1)
        ring(order.number)
        answers = [each.recv(4096) for each in sockets]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


# ---- asking --------------------------------------------------------------------------------------------------------


def test_system_has_the_channel_asked_and_gets_what_it_says(sandbox):
    sandbox.set_faults({"notify": {"drop": 1.0}})
    number = make_order().number
    client = system("orders:read", "payments:write")
    applied = client.post(
        f"/api/v1/orders/{number}/payments",
        {"channel": "wechat", "scene": "qr"},
        content_type="application/json",
    )
    assert applied.status_code == 201, applied.content
    payment = applied.json()["number"]
    sandbox.pay(payment)
    asked = client.generic("POST", f"/api/v1/payments/{payment}/query")
    assert (asked.status_code, asked.json()["status"]) == (200, "PAID")


def test_payment_whose_money_arrives_while_it_is_answered_is_shown_of_one_moment(monkeypatch):
    payment = make_payment(make_order())

    def pay_and_show(found: Payment) -> dict[str, Any]:
        settle_payment(report(payment), channel="wechat", source=Source.QUERY)
        return read_fields(found)

    monkeypatch.setattr(payments, "query_by_person", lambda number: None)
    monkeypatch.setattr(payments, "read_fields", pay_and_show)
    asked = system("payments:write").generic("POST", f"/api/v1/payments/{payment.number}/query")
    assert (asked.json()["status"], asked.json()["action"]) == ("PAYING", payment.action)


def apply_for_wap(payer: dict[str, str], client: Client | None = None) -> Any:
    """As this system, else as the order's shopper."""
    order = make_order()
    shopper = Client(headers={"Authorization": f"Bearer {token_of(order)}"})
    return (client or shopper).post(
        f"/api/v1/orders/{order.number}/payments",
        {"channel": "wechat", "scene": "wap", "payer": payer},
        content_type="application/json",
    )


def test_system_tells_where_the_shopper_is(sandbox):
    applied = apply_for_wap({"ip": "203.0.113.9"}, system("payments:write"))
    assert applied.status_code == 201, applied.content
    assert unseal(Payment.objects.get().payer)["ip"] == "203.0.113.9"


@pytest.mark.parametrize(
    "payer", [{}, {"ip": "somewhere"}, {"ip": ""}], ids=["nothing", "no address", "empty"]
)
def test_system_that_does_not_tell_where_the_shopper_is_is_told_to(sandbox, payer):
    refused = apply_for_wap(payer, system("payments:write"))
    assert refused.status_code == 400
    assert [each["field"] for each in refused.json()["errors"]] == ["payer.ip"]


def test_shopper_is_where_the_request_comes_from_and_nowhere_else(sandbox):
    refused = apply_for_wap({"ip": "203.0.113.9"})
    assert refused.status_code == 400
    assert [each["field"] for each in refused.json()["errors"]] == ["payer.ip"]


@pytest.mark.parametrize("path", ["orders/{order}/cancel", "payments/{payment}/query"])
@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("[]", "application/json", 400),
        ('{"reason": "late"}', "application/json", 400),
        ("{", "application/json", 400),
        ("x=1", "application/x-www-form-urlencoded", 415),
        ("x", "text/plain", 415),
    ],
)
def test_call_that_takes_no_body_refuses_one_and_does_nothing(
    path, body, content_type, expected, monkeypatch
):
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was done")

    monkeypatch.setattr("payments.api.orders.cancel_order", never)
    monkeypatch.setattr("payments.api.payments.query_by_person", never)
    payment = make_payment(make_order())
    address = f"/api/v1/{path.format(order=payment.order.number, payment=payment.number)}"
    answer = system("orders:write", "payments:write").generic("POST", address, body, content_type)
    assert answer.status_code == expected


# ---- reading again -------------------------------------------------------------------------------------------------


@pytest.fixture
def refund() -> Refund:
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    return ask_refund(payment.number, amount=100, reason="size", actor="Ann")


@pytest.mark.parametrize("path", ["orders/{order}", "payments/{payment}", "refunds/{refund}"])
def test_what_is_known_is_not_sent_again(refund, path):
    client = system("orders:read", "payments:read", "refunds:read")
    payment = refund.receipt.payment
    address = (
        f"/api/v1/{path.format(order=payment.order.number, payment=payment.number, refund=refund.number)}"
    )
    first = client.get(address)
    for known in (first["ETag"], f'"other", W/{first["ETag"]}', "*"):
        again = client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_tag_of_an_order_changes_when_a_refund_of_it_is_asked_for():
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    client, address = system("orders:read", "refunds:read"), f"/api/v1/orders/{payment.order.number}"
    known = client.get(address)["ETag"]
    ask_refund(payment.number, amount=100, reason="size", actor="Ann")
    again = client.get(address, headers={"If-None-Match": known})
    assert again.status_code == 200
    assert len(again.json()["refunds"]) == 1


def test_order_whose_money_arrives_while_it_is_read_is_shown_of_one_moment(monkeypatch):
    payment = make_payment(make_order())

    def find_and_pay(asker: Any, number: str) -> Order:
        found = find_order_for(asker, number)
        settle_payment(report(payment), channel="wechat", source=Source.QUERY)
        return found

    monkeypatch.setattr(orders, "find_order_for", find_and_pay)
    answer = system("orders:read", "payments:read").get(f"/api/v1/orders/{payment.order.number}")
    shown, order = answer.json(), Order.objects.get()
    assert (shown["status"], shown["version"]) == ("READY_FOR_SHIPMENT", order.version)
    assert [each["status"] for each in shown["payments"]] == ["PAID"]
    assert answer["ETag"].startswith(f'"{order.version}-')


def test_tag_begins_with_the_version_and_changes_with_the_language():
    order = make_order(name="Tea", name_zh_hans="茶")
    client, address = system("orders:read"), f"/api/v1/orders/{order.number}"
    english, chinese = (client.get(address, headers={"Accept-Language": code}) for code in ("en", "zh-CN"))
    assert english["ETag"].startswith(f'"{order.version}-')
    assert english["ETag"] != chinese["ETag"]


@pytest.mark.parametrize(("scopes", "sees"), [(("orders:read",), True), ((), False)])
def test_contact_is_shown_to_systems_and_not_to_whoever_holds_the_link(scopes, sees):
    order = make_order()
    holder = Client(headers={"Authorization": f"Bearer {token_of(order)}"})
    answer = (system(*scopes) if scopes else holder).get(f"/api/v1/orders/{order.number}")
    assert ("contact" in answer.json()) == sees
