"""One channel's bad setting: the others sell, nobody is led to it, and its money under way is kept in sight."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from django.db.models.functions import Now
from django.test import Client

from orders.access import token_of
from orders.models import Order
from payments.applying import apply_for_payment
from payments.channels.registry import BrokenChannel
from payments.errors import PaymentConfirming
from payments.models import Case, Payment
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.alarms import claim_due, handle
from shop.models import Alarm, Source
from tests.checkout.conftest import own
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db(transaction=True)

UNIONPAY = {"channel": "unionpay", "scene": "qr"}


@pytest.fixture
def broken(every_channel: Any, settings: Any) -> Any:
    """All channels at the sandbox, but UnionPay's signer was left empty."""
    values = settings.CHANNELS["unionpay"] | {"SIGNER": ""}
    settings.CHANNELS = settings.CHANNELS | {"unionpay": values}
    return every_channel


def offered(page: str) -> list[str]:
    return re.findall(r'name="channel" value="(\w+)"', page)


def test_page_offers_the_others_and_they_sell(broken):
    shopper = Client()
    path = own(shopper, make_order())
    page = shopper.get(f"{path}pay/")
    assert page.status_code == 200
    assert offered(page.content.decode()) == ["wechat", "alipay"]
    assert shopper.post(f"{path}pay/", {"channel": "alipay", "scene": "qr"}).status_code == 302
    assert Payment.objects.get().action


@pytest.mark.parametrize("way", ["page", "api"])
def test_asking_for_it_all_the_same_is_answered_like_any_way_that_is_not_offered(live_server, broken, way):
    shopper, order = Client(), make_order()
    if way == "page":
        assert shopper.post(f"{own(shopper, order)}pay/", UNIONPAY).status_code == 400
    else:
        url = f"{live_server.url}/api/v1/orders/{order.number}/payments"
        headers = {"Authorization": f"Bearer {token_of(order)}", "Idempotency-Key": "one"}
        answer = requests.post(url, json=UNIONPAY, headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "channel")
    assert not Payment.objects.exists()


def run_all() -> dict[str, bool]:
    """Handle every alarm now; whether it went well, by kind."""
    Alarm.objects.update(due_at=Now())
    return {claim.kind: handle(claim) for claim in claim_due(50)}


def test_its_payment_under_way_is_neither_ended_nor_forgotten(broken):
    payment = make_payment(make_order(), channel="unionpay")
    Order.objects.update(expires_at=Now())
    Payment.objects.update(dead_at=Now())
    run_all()
    payment.refresh_from_db()
    assert (payment.status, Order.objects.get().status) == ("PAYING", "UNPAID")
    assert set(Alarm.objects.values_list("kind", flat=True)) == {"query_payment", "expire_order"}
    Alarm.objects.filter(kind="query_payment").update(last_at=Now())
    run_all()
    assert Case.objects.filter(kind=Case.Kind.UNANSWERED, subject=payment.number).exists()


def test_its_refund_under_way_fails_until_a_person_hears_of_it(broken):
    order = make_order()
    payment = make_payment(order, channel="unionpay")
    settle_payment(report(payment), channel="unionpay", source=Source.QUERY)
    refund = ask_refund(payment.number, amount=900, reason="size", actor="amy")
    for _ in range(10):
        assert run_all().get("send_refund") is False
    assert Case.objects.get(kind=Case.Kind.FAILING).evidence["error"] == BrokenChannel.__name__
    refund.refresh_from_db()
    assert refund.status == "REFUNDING"


def test_whoever_began_with_it_may_go_on_with_another_after_a_while(broken, settings):
    order = make_order()
    payment = make_payment(order, channel="unionpay")
    with pytest.raises(PaymentConfirming):
        apply_for_payment(order.number, channel="wechat", scene="qr")
    settings.CONFIRMING_LIMIT_S = 0
    other = apply_for_payment(order.number, channel="wechat", scene="qr", may_supersede=True).payment
    assert other.action
    payment.refresh_from_db()
    assert (payment.status, payment.superseded_at is not None) == ("PAYING", True)


def test_its_messages_are_to_be_sent_again(broken):
    told = Client().post("/notify/unionpay/", b"txnType=01", content_type="application/x-www-form-urlencoded")
    assert told.status_code == 503
