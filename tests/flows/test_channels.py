"""Every channel in every scene, from the order to the refund, over real HTTP against the sandbox.

What the shopper's browser, wallet or bank does is done at the sandbox; the channel's own messages and our alarms do the rest.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db.models import F
from django.db.models.functions import Now

from orders.access import token_of
from orders.models import Order
from orders.statuses import CloseReason, OrderStatus
from payments.audit import audit, audit_trades
from payments.callbacks import replay_callback
from payments.cases import resolve_case
from payments.channels.registry import get_channel
from payments.ending import cancel_order
from payments.errors import AskedTooOften, NotRefundable, PaymentConfirming
from payments.models import Callback, Case, Payment, Receipt, Refund
from payments.querying import keep_asking, query_by_person, query_payment
from payments.refunding import ask_refund
from payments.settling import settle_payment
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus, Settled
from shop.alarms import claim_due, handle
from shop.models import Alarm, Source
from tests.factories import make_order, report
from tests.flows.test_api import Api
from tests.people import MARIA
from tests.sandbox_process import SandboxProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RESTING = ("query_payment", "recheck_payment", "expire_order")


@dataclass(frozen=True)
class Way:
    """One way to pay: a channel in a scene, in a currency that it takes."""

    channel: str
    scene: str
    currency: str = "CNY"
    action: str = "qr"

    def __str__(self) -> str:
        return f"{self.channel} {self.scene} {self.currency}"

    @property
    def wish(self) -> dict[str, Any]:
        payer = {"payer": MARIA} if self.channel == "boleto" else {}
        return {"channel": self.channel, "scene": self.scene} | payer


WAYS = [
    Way("wechat", "qr"),
    Way("wechat", "wap", action="redirect"),
    Way("wechat", "app", action="sdk"),
    Way("alipay", "qr"),
    Way("alipay", "wap", action="redirect"),
    Way("alipay", "app", action="sdk"),
    Way("unionpay", "qr"),
    Way("unionpay", "wap", action="form"),
    Way("unionpay", "app", action="sdk"),
    Way("paypal", "page", "USD", "redirect"),
    Way("paypal", "wap", "USD", "redirect"),
    Way("paypal", "wap", "BRL", "redirect"),
    Way("paypal", "app", "USD", "sdk"),
    Way("boleto", "voucher", "BRL", "voucher"),
]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
one_of_each = pytest.mark.parametrize(
    "way",
    [next(way for way in WAYS if way.channel == name) for name in dict.fromkeys(way.channel for way in WAYS)],
    ids=str,
)
REFUNDING = [
    way for way in WAYS if way.scene in ("qr", "page") or (way.currency == "BRL" and way.channel == "paypal")
]


class Shopper(Api):
    """Who has one order, and a way to pay it."""

    def __init__(self, sandbox: SandboxProcess, url: str) -> None:
        super().__init__(url)
        self.headers["X-Forwarded-For"] = "8.8.8.8"  # whom our proxy has heard
        self.sandbox = sandbox
        self.browser = requests.Session()
        self.browser.trust_env = False

    def order(self, currency: str) -> Order:
        order = make_order(sku=f"in-{currency.lower()}", currency=currency)
        self.headers["Authorization"] = f"Bearer {token_of(order)}"
        return order

    def take(self, order: Order, way: Way, **more: Any) -> Payment:
        """Apply, and arrive where the action leads."""
        answer = self.apply(order.number, **way.wish, **more)
        assert answer.status_code in (200, 201), answer.text
        self.arrive(answer.json()["action"])
        return Payment.objects.get(number=answer.json()["number"])

    def arrive(self, action: dict[str, Any]) -> None:
        """What a browser or an app does with the action, before anybody pays."""
        if action["type"] == "redirect":
            came_from = {"Referer": self.url}  # which WeChat insists on, and a browser sends
            assert self.browser.get(action["url"], headers=came_from, timeout=10).ok
        elif action["type"] == "form":
            assert self.browser.post(action["url"], data=action["fields"], timeout=10).ok
        elif "orderString" in action.get("params", {}):
            gateway = get_channel("alipay")._gateway_url  # type: ignore[attr-defined]
            assert self.browser.get(f"{gateway}?{action['params']['orderString']}", timeout=10).ok

    def pay(self, payment: Payment, *, force: bool = False) -> None:
        self.sandbox.pay(payment.number, channel=payment.channel, force=force)


@pytest.fixture
def shopper(every_channel: SandboxProcess, live_server: Any, settings: Any) -> Shopper:
    settings.TRUSTED_PROXIES = 1
    return Shopper(every_channel, live_server.url)


def come_to_rest() -> bool:
    """Do what waits for nobody; True when nothing of that is left."""
    unfinished = Alarm.objects.exclude(kind__in=RESTING)
    for claim in claim_due(100):
        assert handle(claim), f"the handler of {claim} failed"
    return not unfinished.exists()


def hurry() -> bool:
    Alarm.objects.exclude(kind__in=RESTING).update(due_at=Now())
    return come_to_rest()


def is_settled(order: Order) -> bool:
    hurry()
    order.refresh_from_db()
    return order.status == OrderStatus.READY_FOR_SHIPMENT


def check(sandbox: SandboxProcess) -> None:
    """At rest, every promise about money holds, by our tables and by the channels' own."""
    wait_until(hurry, within_s=30)
    numbers = set(Payment.objects.values_list("number", flat=True))
    trades = [trade for trade in sandbox.trades() if trade["out_trade_no"] in numbers]
    violations = [*audit(), *audit_trades(trades)]
    assert not violations, violations


@every_way
def test_what_the_shopper_pays_settles_the_order_by_the_channels_own_message(shopper, way):
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    assert (payment.action or {})["type"] == way.action
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    receipt = Receipt.objects.get()
    assert (receipt.receipt_class, receipt.amount, receipt.currency) == (
        ReceiptClass.SETTLED,
        order.amount,
        way.currency,
    )
    check(shopper.sandbox)


@one_of_each
def test_payment_whose_every_message_is_lost_is_found_by_asking(shopper, way):
    shopper.sandbox.set_faults({"notify": {"drop": 1.0}})
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    shopper.pay(payment)

    def ask() -> bool:
        shopper.call("POST", f"payments/{payment.number}/query")
        return is_settled(order)

    wait_until(ask, within_s=40, every_s=1)
    check(shopper.sandbox)


@pytest.mark.parametrize("way", REFUNDING, ids=str)
def test_part_of_what_was_paid_goes_back_and_the_channel_has_made_it_once(shopper, way, admin_user):
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    refund = ask_refund(payment.number, amount=900, reason="size", actor="amy")

    def is_done() -> bool:
        hurry()
        refund.refresh_from_db()
        return refund.status == RefundStatus.REFUNDED

    wait_until(is_done, within_s=30, every_s=0.3)
    [trade] = shopper.sandbox.trades(payment.number, channel=way.channel)
    assert [made["amount"] for made in trade["refunds"]] == [900]
    check(shopper.sandbox)


@pytest.mark.parametrize("channel", ["wechat", "alipay", "paypal"])
def test_refund_that_was_made_in_the_channels_console_is_written_down_and_told_to_a_person(shopper, channel):
    way = next(way for way in WAYS if way.channel == channel)
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    shopper.sandbox.refund_in_console(payment.number, 900, channel=channel)

    def is_told() -> bool:
        Callback.objects.update(
            received_at=Now() - timedelta(minutes=2)
        )  # long enough to be nobody's but theirs
        hurry()
        return Case.objects.filter(kind=Case.Kind.CONSOLE_REFUND, order=order).exists()

    wait_until(is_told, within_s=30, every_s=0.3)
    refund = Refund.objects.get()
    assert (refund.kind, refund.amount, refund.status) == (Refund.Kind.CONSOLE, 900, RefundStatus.REFUNDED)
    check(shopper.sandbox)


@one_of_each
def test_order_that_is_given_up_is_closed_and_late_money_goes_back_or_to_a_person(shopper, way):
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    answer = shopper.call("POST", f"orders/{order.number}/cancel")
    assert answer.status_code == 200, answer.text
    order.refresh_from_db()
    assert (order.status, order.close_reason) == (OrderStatus.CLOSED, CloseReason.CANCELLED)
    shopper.pay(payment, force=True)

    def is_answered() -> bool:
        hurry()
        back = Refund.objects.filter(status=RefundStatus.REFUNDED).exists()
        by_hand = Case.objects.filter(kind=Case.Kind.PAYOUT).exists()
        [trade] = shopper.sandbox.trades(payment.number, channel=way.channel)
        return (
            back
            or by_hand
            or (
                trade["status"] != "PAID"
                and way.channel == "paypal"
                and not Alarm.objects.filter(kind="take_callback").exists()
            )
        )

    wait_until(is_answered, within_s=30, every_s=0.3)
    order.refresh_from_db()
    assert order.status == OrderStatus.CLOSED
    if way.channel == "paypal":  # consent alone moves nothing, and nobody captures for a closed order
        assert not Receipt.objects.exists()
    check(shopper.sandbox)


@one_of_each
def test_applying_again_in_the_same_way_shows_the_same_action(shopper, way):
    order = shopper.order(way.currency)
    first, second = (shopper.apply(order.number, **way.wish) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


# ---- one order, two methods --------------------------------------------------------------------------------------


def test_voucher_that_is_pending_is_still_watched_after_its_shopper_pays_by_paypal(shopper):
    order = shopper.order("BRL")
    voucher = shopper.take(order, Way("boleto", "voucher", "BRL"))
    paypal = shopper.take(order, Way("paypal", "page", "BRL"))
    voucher.refresh_from_db()
    assert (voucher.status, voucher.superseded_at is None) == (PaymentStatus.PAYING, False)
    shopper.pay(paypal)
    wait_until(lambda: is_settled(order), within_s=30)
    shopper.pay(voucher)
    wait_until(lambda: Receipt.objects.count() == 2, within_s=30)
    surplus = Receipt.objects.get(payment=voucher)
    assert surplus.receipt_class == ReceiptClass.SURPLUS
    assert not Refund.objects.exists()  # a boleto has no way back
    case = Case.objects.get(kind=Case.Kind.PAYOUT)
    assert (case.subject, case.evidence["amount"]) == (surplus.channel_number, order.amount)
    check(shopper.sandbox)


def test_paypal_that_was_agreed_to_after_the_voucher_was_paid_is_not_captured(shopper):
    order = shopper.order("BRL")
    voucher = shopper.take(order, Way("boleto", "voucher", "BRL"))
    paypal = shopper.take(order, Way("paypal", "page", "BRL"))
    shopper.pay(voucher)
    wait_until(lambda: is_settled(order), within_s=30)
    shopper.sandbox.pay(paypal.number, channel="paypal", force=True)
    wait_until(hurry, within_s=30)
    assert Receipt.objects.get().payment == voucher
    check(shopper.sandbox)


@pytest.mark.parametrize("second", ["alipay", "unionpay"])
def test_code_of_one_wallet_is_closed_or_watched_when_another_is_chosen(shopper, second):
    order = shopper.order("CNY")
    first = shopper.take(order, Way("wechat", "qr"))
    other = shopper.take(order, Way(second, "qr"))
    first.refresh_from_db()
    assert first.status == PaymentStatus.CLOSED
    third = shopper.take(order, Way("wechat", "wap"))
    other.refresh_from_db()
    # A code of Alipay that nobody scanned, and every one of UnionPay's, cannot be closed: it may be paid still.
    assert (other.status, other.superseded_at is None) == (PaymentStatus.PAYING, False)
    shopper.pay(third)
    wait_until(lambda: is_settled(order), within_s=30)
    shopper.pay(other, force=True)

    def went_back() -> bool:
        hurry()
        return Refund.objects.filter(status=RefundStatus.REFUNDED, receipt__payment=other).exists()

    wait_until(went_back, within_s=30, every_s=0.3)
    check(shopper.sandbox)


# ---- what is told about the person -------------------------------------------------------------------------------


def test_voucher_needs_to_know_who_pays(shopper):
    order = shopper.order("BRL")
    answer = shopper.apply(order.number, channel="boleto", scene="voucher")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "payer.tax_id"
    assert not Payment.objects.exists()


def test_person_who_cannot_be_is_refused_also_where_the_voucher_is_there(shopper):
    order = shopper.order("BRL")
    wish = Way("boleto", "voucher", "BRL").wish
    assert shopper.apply(order.number, **wish).status_code == 201
    answer = shopper.apply(order.number, **wish | {"payer": wish["payer"] | {"tax_id": "1"}})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "payer.tax_id"


def test_tax_number_is_kept_sealed_and_only_while_it_is_needed(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    assert payment.payer
    assert "000.000" not in payment.payer
    assert "000.000" not in str(payment.request)
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    payment.refresh_from_db()
    assert payment.payer == ""


def test_voucher_keeps_its_order_and_the_goods_until_nobody_can_pay_it_any_more(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    order.refresh_from_db()
    assert order.expires_at == payment.dead_at
    assert payment.expires_at < payment.dead_at


def test_amount_that_a_channel_does_not_take_is_refused_before_anything_is_stored(shopper):
    order = make_order(sku="sticker", currency="BRL", price=499)
    shopper.headers["Authorization"] = f"Bearer {token_of(order)}"
    answer = shopper.apply(order.number, **Way("boleto", "voucher").wish)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "channel")
    assert not Payment.objects.exists()


def test_refund_of_a_voucher_is_refused_with_the_way_that_there_is(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    with pytest.raises(NotRefundable):
        ask_refund(payment.number, amount=900, reason="size", actor="amy")
    assert not Refund.objects.exists()


# ---- dead ends ---------------------------------------------------------------------------------------------------


def test_voucher_that_can_be_paid_still_is_shown_again_and_no_second_one_is_made(shopper):
    order = shopper.order("BRL")
    voucher = shopper.take(order, Way("boleto", "voucher", "BRL"))
    shopper.take(order, Way("paypal", "page", "BRL"))
    again = shopper.take(order, Way("boleto", "voucher", "BRL"))
    assert (again.number, again.superseded_at) == (voucher.number, None)
    assert Payment.objects.filter(channel="boleto").count() == 1


def test_voucher_whose_last_day_is_over_is_decided_before_there_is_another(shopper):
    order = shopper.order("BRL")
    shopper.take(order, Way("boleto", "voucher", "BRL"))
    Payment.objects.update(expires_at=Now())
    Order.objects.update(version=F("version") + 1)  # what was shown a moment ago is not shown again
    answer = shopper.apply(order.number, **Way("boleto", "voucher").wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_confirming")
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("channel", ["alipay", "unionpay", "paypal", "boleto"])
def test_channel_that_was_taken_out_of_the_configuration_is_waited_for(shopper, settings, channel):
    way = next(way for way in WAYS if way.channel == channel)
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    settings.CHANNELS = settings.CHANNELS | {channel: None}
    assert shopper.call("POST", f"payments/{payment.number}/query").status_code == 200
    answer = shopper.call("POST", f"orders/{order.number}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_confirming")
    other = "wechat" if way.currency == "CNY" else "paypal" if channel == "boleto" else "boleto"
    if way.currency != "USD":
        ask = {"channel": other, "scene": "qr" if other == "wechat" else "page"}
        assert shopper.apply(order.number, **ask).json()["code"] == "payment_confirming"


def test_shopper_is_told_that_a_person_sends_the_money_of_a_second_voucher_back(shopper, client):
    order = shopper.order("BRL")
    voucher = shopper.take(order, Way("boleto", "voucher", "BRL"))
    paypal = shopper.take(order, Way("paypal", "page", "BRL"))
    shopper.pay(paypal)
    wait_until(lambda: is_settled(order), within_s=30)
    shopper.pay(voucher)
    wait_until(lambda: Receipt.objects.count() == 2, within_s=30)
    page = client.get(f"/orders/{order.number}/?token={token_of(order)}", follow=True).content.decode()
    assert "You paid twice" in page
    assert "person" in page


def test_tax_number_does_not_stay_in_the_inbox_either(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    shopper.pay(payment)
    wait_until(lambda: is_settled(order), within_s=30)
    bodies = [bytes(kept.body) for kept in Callback.objects.all()]
    assert bodies
    assert not any(b"billing_details" in body or b"tax_id" in body for body in bodies)


# What the sandbox's sides tell about a payer; WeChat's is sealed, and would be told by whoever has the key.
TELLING = (
    b'"payer"',
    b"buyer_id",
    b"logon",
    b"openid",
    b"ciphertext",
    b"buyer@",
    b"accNo",
    b"billing_details",
)


@one_of_each
def test_inbox_keeps_numbers_and_amounts_and_nothing_about_the_payer(shopper, way):
    order = shopper.order(way.currency)
    payment = shopper.take(order, way)
    shopper.pay(payment)
    wait_until(lambda: is_settled(order) and Callback.objects.exists(), within_s=30)
    bodies = [bytes(kept.body) for kept in Callback.objects.all()]
    assert [word for body in bodies for word in TELLING if word in body] == []
    assert all(payment.number.encode() in body for body in bodies)


def test_message_can_be_taken_again_though_nothing_about_its_payer_was_kept(shopper):
    order = shopper.order("CNY")
    payment = shopper.take(order, Way("alipay", "qr"))
    shopper.pay(payment)
    wait_until(lambda: is_settled(order) and Callback.objects.exists(), within_s=30)
    assert replay_callback(Callback.objects.get().pk)
    check(shopper.sandbox)


def test_payment_that_was_charged_too_late_is_never_told_as_not_charged(shopper, client):
    order = shopper.order("CNY")
    payment = shopper.take(order, Way("unionpay", "qr"))
    lie = {"what": "lie", "when": "after", "value": {"status": "42"}, "times": 9}
    shopper.sandbox.set_faults({"script": [{"channel": "unionpay", "operation": "query", **lie}]})
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))
    Payment.objects.filter(pk=payment.pk).update(dead_at=Now() - timedelta(seconds=1))
    query_payment(payment.number)  # a fresh trade may be invisible to the first
    query_payment(payment.number)
    with pytest.raises(PaymentConfirming):
        cancel_order(order.number)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAYING
    case = Case.objects.get(kind=Case.Kind.IRREGULAR, subject=payment.number)
    assert case.evidence["code"] == "42"
    page = client.get(f"/orders/{order.number}/?token={token_of(order)}", follow=True).content.decode()
    assert "Nothing was charged" not in page
    assert "refused" not in page


def test_voucher_is_asked_about_every_quarter_of_an_hour_at_the_soonest_also_while_somebody_looks(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    alarm = Alarm.objects.filter(kind="query_payment", subject=payment.number)
    alarm.update(due_at=Now())
    for claim in claim_due(9):
        assert handle(claim)
    assert not keep_asking(order)
    left = alarm.annotate(left=F("due_at") - Now()).get().left
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


def test_person_who_checks_a_voucher_is_answered_at_once(shopper):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    shopper.sandbox.set_faults({"notify": {"drop": 1.0}})
    shopper.pay(payment)
    assert query_by_person(payment.number) is Settled.MOVED
    with pytest.raises(AskedTooOften):
        query_by_person(payment.number)


def test_money_of_a_voucher_of_a_wrong_amount_can_be_settled_by_a_person_alone(shopper, admin_user):
    order = shopper.order("BRL")
    payment = shopper.take(order, Way("boleto", "voucher", "BRL"))
    settle_payment(report(payment, amount_minor=1), channel="boleto", source=Source.QUERY)
    case = Case.objects.get(kind=Case.Kind.MISMATCH)
    resolve_case(case.pk, actor=admin_user, resolution="sent back by bank transfer")
    assert shopper.call("POST", f"orders/{order.number}/cancel").status_code == 200


def test_number_whose_create_had_no_answer_is_never_sent_again_to_a_channel_that_would_make_it_twice(shopper):
    way = next(way for way in WAYS if way.channel == "unionpay")
    lost = {"channel": "unionpay", "operation": "create", "when": "after", "what": "reset"}
    shopper.sandbox.set_faults({"script": [lost]})
    order = shopper.order(way.currency)
    assert shopper.apply(order.number, **way.wish).status_code == 409
    Payment.objects.update(lease_until=Now())  # its maker has had the time of a call
    second = shopper.take(order, way, supersede=True)
    first = Payment.objects.exclude(pk=second.pk).get()
    assert first.superseded_at is not None
    created = [trade["out_trade_no"] for trade in shopper.sandbox.trades(first.number)]
    assert created == [first.number]
