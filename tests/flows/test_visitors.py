"""The shopper's address on its way to WeChat, through the API and through the page, under every kind of server."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from orders.access import token_of
from orders.models import Order
from payments.attempts import attempt_of
from payments.models import Payment
from shop.models import Alarm
from tests.checkout.conftest import own
from tests.factories import make_order

pytestmark = pytest.mark.django_db(transaction=True)

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
)
SHOPPER, FORGED = "8.8.8.8", "8.8.4.4"
SOCKET, PROXY = None, ("10.0.0.5", 4711)


class Server(AsyncClient):
    """An ASGI server that names this peer."""

    def __init__(self, peer: Any) -> None:
        super().__init__()
        self.peer = peer

    def _base_scope(self, **request: Any) -> Any:
        return super()._base_scope(**request) | {"client": self.peer}  # type: ignore[misc]


def apply(order: Order, scene: str, *, client: Any, heard: str = "", channel: str = "wechat") -> Any:
    """By the API, under an ASGI server that names `client` as its peer."""
    headers = {"Authorization": f"Bearer {token_of(order)}"} | ({"X-Forwarded-For": heard} if heard else {})
    return async_to_sync(Server(client).post)(
        f"/api/v1/orders/{order.number}/payments",
        {"channel": channel, "scene": scene},
        content_type="application/json",
        headers=headers,
    )


def choose(order: Order, **server: str) -> Any:
    """WeChat on the page, with a phone."""
    phone, wish = Client(), {"channel": "wechat", "scene": "wap"}
    return phone.post(f"{own(phone, order)}pay/", wish, headers={"User-Agent": IPHONE}, **server)  # type: ignore[arg-type]


def address_told() -> str:
    return str(attempt_of(Payment.objects.get()).payer["ip"])


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_server_without_a_clients_address_takes_payments_that_need_none(every_channel, channel):
    answer = apply(make_order(), "qr", client=SOCKET, channel=channel)
    assert answer.status_code == 201, answer.content


@pytest.mark.parametrize("way", ["api", "page"])
def test_h5_of_a_shopper_without_an_address_is_refused_before_anything_is_stored(every_channel, way):
    order = make_order()
    alarms = Alarm.objects.count()
    answer = apply(order, "wap", client=SOCKET) if way == "api" else choose(order, REMOTE_ADDR="")
    assert answer.status_code == 400
    assert "needs your network address" in answer.content.decode()
    assert (Payment.objects.count(), Alarm.objects.count()) == (0, alarms)


def test_h5_behind_a_socket_carries_what_the_proxy_heard(every_channel, settings):
    settings.TRUSTED_PROXIES = 1
    assert apply(make_order(), "wap", client=SOCKET, heard=f"{FORGED}, {SHOPPER}").status_code == 201
    assert address_told() == SHOPPER


def test_h5_of_the_page_carries_what_the_proxy_heard(every_channel, settings):
    settings.TRUSTED_PROXIES = 1
    heard = f"{FORGED}, {SHOPPER}"
    assert choose(make_order(), REMOTE_ADDR="10.0.0.5", HTTP_X_FORWARDED_FOR=heard).status_code == 302
    assert address_told() == SHOPPER


def test_h5_without_a_proxy_of_ours_carries_the_peer_whatever_it_says(every_channel, settings):
    settings.TRUSTED_PROXIES = 0
    assert apply(make_order(), "wap", client=(SHOPPER, 4711), heard=FORGED).status_code == 201
    assert address_told() == SHOPPER


def test_h5_behind_a_proxy_never_carries_the_proxys_own_address(every_channel, settings):
    settings.TRUSTED_PROXIES = 1
    assert apply(make_order(), "wap", client=PROXY).status_code == 400
    assert not Payment.objects.exists()
