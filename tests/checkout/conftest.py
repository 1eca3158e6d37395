"""Shoppers with a browser of their own, as Django's test client plays it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from orders.access import SESSION_KEY
from orders.models import Order
from payments.channels.base import Attempt, Limits
from payments.channels.registry import get_channel
from payments.models import Payment
from tests.factories import make_payment, make_product

CONTACT = {
    "name": "Anna Lin",
    "email": "anna@example.com",
    "phone": "138 0000 0000",
    "address": "1 Garden Road\nHangzhou",
}


# Of the world, as every shopper's: a machine of our own network is none in production.
ADDRESS = "8.8.8.8"


@pytest.fixture
def shopper() -> Client:
    return Client(REMOTE_ADDR=ADDRESS)


def fill_cart(client: Client, quantity: int = 1, **product: Any) -> None:
    """Put a product into the browser's cart through the page."""
    answer = client.post("/cart/add/", {"sku": make_product(**product).sku, "quantity": quantity})
    assert answer.status_code == 302


def form_of(client: Client, currency: str = "", **changed: str) -> dict[str, str]:
    """The checkout form as the page shows it, filled in."""
    shown = client.get("/checkout/", {"currency": currency} if currency else {}).context
    part = shown["part"]
    return {
        "form_token": shown["form_token"],
        "currency": part.currency,
        "seen": part.seen,
        **CONTACT,
        **changed,
    }


def own(client: Client, order: Order) -> str:
    """Let the browser be the one that placed the order. Returns the path of its order page."""
    session = client.session
    session[SESSION_KEY] = [order.number]
    session.save()
    return f"/orders/{order.number}/"


def begin_on_a_phone(order: Order) -> Payment:
    """An open attempt of another kind than the pages offer, with a trade at the sandbox that the wallet can pay."""
    payment = make_payment(order, scene="wap")
    trade = Attempt(
        number=payment.number,
        scene="qr",
        amount_minor=payment.amount,
        currency=payment.currency,
        description="begun on a phone",
        started_at=payment.created_at,
        expires_at=payment.expires_at,
        notify_url=f"{settings.PUBLIC_URL}/notify/wechat/",
        return_url="",
    )
    get_channel("wechat").create(trade)
    return payment


class Offered:
    """A channel that the pages offer, though nothing here may call it."""

    limits = dict.fromkeys(("CNY", "USD", "BRL"), Limits(1, 10_000_000))
    payer_fields: tuple[str, ...] = ()

    def __init__(self, name: str, *scenes: str, payer_fields: tuple[str, ...] = ()) -> None:
        self.name = name
        self.payer_fields = payer_fields
        self.kinds = frozenset(scenes)

    def scenes(self) -> frozenset[str]:
        return self.kinds


WECHAT = Offered("wechat", "qr", "wap", "app")
ALIPAY = Offered("alipay", "qr", "wap", "app")
UNIONPAY = Offered("unionpay", "qr", "wap", "app")
PAYPAL = Offered("paypal", "page", "wap", "app")
BOLETO = Offered(
    "boleto", "voucher", payer_fields=("tax_id", "address.line1", "address.city", "address.state")
)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has these channels offered on the pages, for every currency."""

    def offer_these(*channels: Offered) -> None:
        monkeypatch.setattr("payments.channels.offers.offered_channels", lambda currency: channels)

    return offer_these


@pytest.fixture
def wechat(offer: Callable[..., None]) -> None:
    """WeChat Pay alone is offered."""
    offer(WECHAT)


@pytest.fixture
def five(offer: Callable[..., None]) -> None:
    """All of them are offered."""
    offer(WECHAT, ALIPAY, UNIONPAY, PAYPAL, BOLETO)
