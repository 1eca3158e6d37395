"""The sockets of the pages about an order: told at once of its news, and nothing else, whatever Redis or a client does."""

import json
from contextlib import ExitStack, closing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as shop_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client
from django_redis import get_redis_connection
from websockets import ConnectionClosed
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection as Socket
from websockets.sync.client import connect
from websockets.typing import Origin

from orders.access import token_of
from orders.models import Order
from payments.channels.base import Outcome
from payments.models import Payment
from payments.settling import settle_payment
from shop import bell, hints
from shop.alarms import handle_now
from shop.bell import group_of, ring
from shop.checkout import push
from shop.keyring import make_key, revoke_key
from shop.models import Source
from tests.asgi_server import AsgiServer
from tests.asgi_server import asgi_server as asgi_server
from tests.checkout.conftest import own
from tests.factories import make_order, make_payment, report
from tests.ground.test_bell import lead_to
from tests.redis_states import listen_and_be_silent, refuse_connections
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MISSING = "N000000000000000"


@pytest.fixture
def order() -> Order:
    return make_order()


@pytest.fixture
def cookie(order: Order) -> str:
    """The session of the browser that placed the order."""
    return session_of(order)


def session_of(order: Order) -> str:
    client = Client()
    own(client, order)
    return client.cookies["session"].value


def open_socket(
    server: AsgiServer, number: str, cookie: str = "", *, origin: str = "", key: str = ""
) -> Socket:
    headers = {"Cookie": f"session={cookie}"} if cookie else {}
    return connect(
        server.url.replace("http", "ws") + f"/ws/orders/{number}/",
        origin=Origin(origin or server.url),
        additional_headers=headers | ({"Authorization": f"Api-Key {key}"} if key else {}),
        proxy=None,
        max_size=1024,
    )


def hear(socket: Socket, within_s: float = 10) -> int:
    """The version that the next message tells, which says nothing else."""
    told = json.loads(socket.recv(timeout=within_s))
    assert set(told) == {"version"}
    return int(told["version"])


def test_page_hears_at_once_how_it_stands_and_then_of_the_settlement(asgi_server, order, cookie):
    payment = make_payment(order)
    order.refresh_from_db()
    with open_socket(asgi_server, order.number, cookie) as socket:
        assert hear(socket) == order.version
        settle(payment)
        order.refresh_from_db()
        assert order.status == "READY_FOR_SHIPMENT"
        assert hear(socket, within_s=push.LOOK_S / 2) == order.version


def settle(payment: Payment) -> None:
    """And what follows by the alarm, which rings the bell."""
    settle_payment(report(payment), channel=payment.channel, source=Source.CALLBACK)
    handle_now("follow_up", payment.order.number)


def test_news_of_the_moment_before_anybody_listens_is_told(asgi_server, order, cookie, monkeypatch):
    payment = make_payment(order)

    def refuse() -> None:
        settle_payment(report(payment, Outcome.REFUSED), channel=payment.channel, source=Source.QUERY)
        connection.close()

    class Listening(bell.Listening):
        async def __aenter__(self) -> Any:
            await sync_to_async(refuse)()
            return await super().__aenter__()

    monkeypatch.setattr(push, "Listening", Listening)
    monkeypatch.setattr(push, "LOOK_S", 3600.0)
    with open_socket(asgi_server, order.number, cookie) as socket:
        told = hear(socket)
    order.refresh_from_db()
    assert told == order.version


def test_second_payment_of_a_paid_order_is_told_too(asgi_server, order, cookie):
    first = make_payment(order)
    Payment.objects.update(superseded_at=order.created_at)
    settle(make_payment(order, scene="wap"))
    with open_socket(asgi_server, order.number, cookie) as socket:
        before = hear(socket)
        settle(first)
        assert hear(socket, within_s=push.LOOK_S / 2) > before


# ---- who may listen ------------------------------------------------------------------------------------------------


def test_staff_who_may_see_orders_may_listen(asgi_server, order):
    client = Client()
    staff = get_user_model().objects.create_user("viewer", password="x", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_order"))
    client.force_login(staff)
    with open_socket(asgi_server, order.number, client.cookies["session"].value) as socket:
        assert hear(socket) == order.version


@pytest.mark.parametrize("number", ["", MISSING, "x", "%00", "%F0%9F%8D%B5"])
def test_stranger_and_missing_order_get_the_same_refusal(asgi_server, order, number):
    refusals = []
    for cookie in ("", "x", "%00", session_of(make_order())):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(asgi_server, number or order.number, cookie)
        refusals.append((refused.value.response.status_code, bytes(refused.value.response.body or b"")))
    assert set(refusals) == {(403, b"")}


def test_key_that_lets_nobody_in_gets_the_refusal_of_a_stranger(asgi_server, order):
    for key in ("x.y", "", make_key("stock", ["events:read"]).shown):
        with pytest.raises(InvalidStatus) as refused:
            open_socket(asgi_server, order.number, key=key)
        assert refused.value.response.status_code == 403


def test_system_whose_key_is_revoked_hears_no_more(asgi_server, order, monkeypatch):
    monkeypatch.setattr(push, "LOOK_S", 0.1)
    issued = make_key("app", ["orders:read"])
    with open_socket(asgi_server, order.number, key=issued.shown) as socket:
        assert hear(socket) == order.version
        revoke_key(issued.key.number)
        assert code_at_the_end_of(socket) == 4404


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_page_of_another_origin_is_refused(asgi_server, order, cookie, origin):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(asgi_server, order.number, cookie, origin=origin)
    assert refused.value.response.status_code == 403


def test_our_own_address_is_our_origin_behind_a_proxy_that_calls_us_otherwise(
    asgi_server, order, cookie, settings
):
    settings.PUBLIC_URL = "https://shop.example"
    with open_socket(asgi_server, order.number, cookie, origin="https://shop.example") as socket:
        assert hear(socket) == order.version


def test_other_paths_are_refused(asgi_server):
    with pytest.raises(InvalidStatus) as refused:
        connect(asgi_server.url.replace("http", "ws") + "/ws/", origin=Origin(asgi_server.url), proxy=None)
    assert refused.value.response.status_code == 403


def test_who_may_not_see_the_order_any_more_is_told_so(asgi_server, order, cookie, monkeypatch):
    monkeypatch.setattr(push, "LOOK_S", 0.1)
    with open_socket(asgi_server, order.number, cookie) as socket:
        hear(socket)
        Session.objects.all().delete()
        assert code_at_the_end_of(socket) == 4404


def test_browser_that_came_by_a_link_loses_the_order_with_it_at_once(asgi_server, order, cookie, monkeypatch):
    monkeypatch.setattr(push, "LOOK_S", 60)
    other, owner = Client(), Client()
    other.get(f"/orders/{order.number}/", {"token": token_of(order)})
    own(owner, order)
    with open_socket(asgi_server, order.number, other.cookies["session"].value) as socket:
        hear(socket)
        assert owner.post(f"/orders/{order.number}/link/new/").status_code == 302
        assert code_at_the_end_of(socket) == 4404


# ---- what a client may do ------------------------------------------------------------------------------------------


def code_at_the_end_of(socket: Socket) -> int:
    """How the server closes it."""
    try:
        while True:
            socket.recv(timeout=10)
    except ConnectionClosed as closed:
        return int(closed.rcvd.code) if closed.rcvd else 0


@pytest.mark.parametrize(("said", "code"), [("hello", 1008), (b"\0", 1008), ("x" * 2000, 1009)])
def test_client_that_says_anything_is_closed(asgi_server, order, cookie, said, code):
    with open_socket(asgi_server, order.number, cookie) as socket:
        hear(socket)
        socket.send(said)
        assert code_at_the_end_of(socket) == code


def test_socket_ends_after_its_time_so_that_the_page_comes_again(asgi_server, order, cookie, monkeypatch):
    monkeypatch.setattr(push, "LIFE_S", 0.3)
    with open_socket(asgi_server, order.number, cookie) as socket:
        assert code_at_the_end_of(socket) == 1012


def test_quiet_socket_beats(asgi_server, order, cookie, monkeypatch):
    monkeypatch.setattr(push, "LOOK_S", 0.05)
    with open_socket(asgi_server, order.number, cookie) as socket:
        assert [hear(socket) for _ in range(3)] == [order.version] * 3


def test_server_that_stops_says_so_and_the_page_comes_again_to_the_next_one(asgi_server, order, cookie):
    with open_socket(asgi_server, order.number, cookie) as socket:
        hear(socket)
        asgi_server.stop()
        assert code_at_the_end_of(socket) == 1012
    asgi_server.start()
    with open_socket(asgi_server, order.number, cookie) as socket:
        assert hear(socket) == order.version


# ---- what it costs, and what it bears ------------------------------------------------------------------------------


def test_many_sockets_hold_one_connection_to_redis_and_none_to_the_database(asgi_server, order, cookie):
    database_before = database_connections()
    with ExitStack() as stack:
        sockets = [stack.enter_context(open_socket(asgi_server, order.number, cookie)) for _ in range(30)]
        for socket in sockets:
            hear(socket)
        assert connections_that_hear_of(order.number) == 1
        wait_until(lambda: database_connections() <= database_before)
        ring(order.number)
        Order.objects.filter(pk=order.pk).update(version=7)
        ring(order.number)
        assert {hear(socket) for socket in sockets} == {7}


def connections_that_hear_of(number: str) -> int:
    layer: Any = shop_settings.CHANNEL_LAYERS["default"]
    channel = f"{layer['CONFIG']['prefix']}__group__{group_of(number)}"
    [(_, count)] = get_redis_connection("default").pubsub_numsub(channel)
    return int(count)


def database_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("trouble", [refuse_connections, listen_and_be_silent])
def test_without_redis_a_socket_opens_and_finds_the_news_by_looking(
    asgi_server, order, cookie, settings, monkeypatch, trouble
):
    monkeypatch.setattr(push, "LOOK_S", 0.2)
    monkeypatch.setattr(hints, "_rests_until", {})
    with closing(trouble()) as party:
        lead_to(settings, f"redis://127.0.0.1:{party.getsockname()[1]}/0")
        with open_socket(asgi_server, order.number, cookie) as socket:
            assert hear(socket) == order.version
            settle(make_payment(order))
            wait_until(lambda: hear(socket) >= Order.objects.get().version)


def test_database_that_is_busy_for_a_moment_closes_no_socket(asgi_server, order, cookie, monkeypatch):
    monkeypatch.setattr(push, "LOOK_S", 0.1)
    with open_socket(asgi_server, order.number, cookie) as socket:
        hear(socket)
        with monkeypatch.context() as busy:
            looks: list[str] = []
            busy.setattr(push, "_request_of", lambda scope: looks.append("") or fail())
            wait_until(lambda: len(looks) > 2)
        assert hear(socket) == order.version


def fail() -> None:
    raise OperationalError("away")
