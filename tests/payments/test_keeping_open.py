"""An order waits, with its goods, for a slip that is paid days later: never shorter than for it, and never without one."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from orders.models import Order, Product
from orders.moves import EXTEND_BY, keep_open, lock_order
from payments.applying import apply_for_payment
from payments.channels.base import Outcome
from payments.channels.registry import get_channel
from payments.errors import ChannelUnavailable, NotOffered, PaymentConfirming
from payments.models import Payment, Receipt
from payments.querying import query_payment
from payments.settling import settle_payment
from payments.statuses import PaymentStatus
from shop.alarms import claim_due, handle
from shop.models import Alarm, Source
from tests.factories import make_order, report
from tests.people import MARIA

pytestmark = pytest.mark.django_db(transaction=True)

ONE_DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _silent(every_channel) -> None:
    every_channel.set_faults({"notify": {"drop": 1.0}})


def break_create(sandbox, what: str, **fault: object) -> None:
    script = [{"channel": "boleto", "operation": "create", "what": what, "times": 1} | fault]
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": script})


def make_brl(**product: int) -> Order:
    return make_order(sku="in-brl", currency="BRL", **product)


def apply(order: Order, channel: str = "boleto") -> Payment:
    scene, payer = ("voucher", MARIA) if channel == "boleto" else ("page", None)
    return apply_for_payment(order.number, channel=channel, scene=scene, payer=payer).payment


def tell(payment: Payment, outcome: Outcome) -> None:
    settle_payment(report(payment, outcome), channel=payment.channel, source=Source.CALLBACK)


def end_of(order: Order):
    """When the order ends; its alarm says the same."""
    order.refresh_from_db()
    assert Alarm.objects.get(kind="expire_order", subject=order.number).due_at == order.expires_at
    return order.expires_at


def let_days_pass(order: Order, days: int = 4) -> None:
    """So long ago the order was placed, and its times with it."""
    times = ("created_at", "expires_at", "usual_expires_at")
    Order.objects.filter(pk=order.pk).update(**{name: F(name) - timedelta(days=days) for name in times})


def expire(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))
    Alarm.objects.filter(kind="expire_order").update(due_at=Now() - timedelta(seconds=1))
    for claim in claim_due(10):
        assert handle(claim)
    order.refresh_from_db()


# ---- as long as the slip -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "days"),
    [(timedelta(minutes=30), "3"), (timedelta(days=5), "3"), (ONE_DAY * 2, "0"), (ONE_DAY * 60, "3")],
    ids=str,
)
def test_order_ends_no_earlier_than_its_slip_whatever_the_settings(settings, lifetime, days):
    settings.ORDER_LIFETIME_S = lifetime.total_seconds()
    settings.CHANNELS = settings.CHANNELS | {
        "boleto": settings.CHANNELS["boleto"] | {"EXPIRES_AFTER_DAYS": days}
    }
    order = make_brl()
    own_end, slip = order.expires_at, apply(order)
    assert end_of(order) == max(slip.dead_at, own_end)


def test_slip_that_ends_on_the_evening_of_its_own_day_is_waited_for_until_the_banks_word(settings):
    """BOLETO_EXPIRES_AFTER_DAYS is 0, it is shortly before midnight: the slip ends before its order does."""
    settings.CHANNELS = settings.CHANNELS | {
        "boleto": settings.CHANNELS["boleto"] | {"EXPIRES_AFTER_DAYS": "0"}
    }
    order = make_brl()
    last_moment = get_channel("boleto").expires_at(
        scene="voucher", order_expires_at=order.expires_at, now=order.created_at
    )
    Order.objects.update(expires_at=last_moment + timedelta(minutes=20))
    slip = apply(order)
    assert slip.expires_at <= last_moment + timedelta(minutes=20)
    order.refresh_from_db()
    assert order.expires_at == slip.dead_at


@pytest.mark.parametrize("channel", ["wechat", "alipay", "unionpay"])
def test_order_does_not_wait_for_the_minutes_that_other_channels_take_after_its_end(channel):
    order = make_order()
    own_end = order.expires_at
    payment = apply_for_payment(order.number, channel=channel, scene="qr").payment
    assert payment.dead_at > own_end
    assert end_of(order) == own_end


def test_slip_that_is_paid_after_the_usual_end_of_its_order_has_its_goods(every_channel):
    order = make_brl(stock=1)
    slip = apply(order)
    let_days_pass(order, 2)
    Alarm.objects.filter(kind="expire_order").update(due_at=Now())
    for claim in claim_due(10):
        assert handle(claim)
    every_channel.pay(slip.number, channel="boleto")
    query_payment(slip.number)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


# ---- but once ----------------------------------------------------------------------------------------------------


def test_second_slip_that_would_outlive_what_its_order_is_kept_for_is_refused_and_nothing_is_made():
    order = make_brl()
    slip = apply(order)
    tell(slip, Outcome.CLOSED)
    let_days_pass(order)
    Order.objects.update(expires_at=Now() + ONE_DAY * 4)  # longer than the second slip can be paid
    with pytest.raises(NotOffered, match="has waited for Boleto once"):
        apply(order)
    assert Payment.objects.get() == slip


def test_second_slip_is_given_where_the_order_lasts_as_long(settings):
    settings.ORDER_LIFETIME_S = 60 * ONE_DAY.total_seconds()
    order = make_brl()
    tell(apply(order), Outcome.CLOSED)
    second = apply(order)
    assert second.action is not None
    assert end_of(order) >= second.dead_at


def test_order_is_not_kept_open_slip_after_slip():
    order = make_brl()
    tell(apply(order), Outcome.CLOSED)
    end = end_of(order)
    for _ in range(3):
        with pytest.raises(NotOffered):
            apply(order)
    assert end_of(order) == end


# ---- and not without a slip --------------------------------------------------------------------------------------


def test_slip_that_stripe_refuses_leaves_its_order_as_it_was_and_may_be_tried_again(every_channel):
    order = make_brl()
    own_end = order.expires_at
    break_create(every_channel, "status", when="before", value={"status": 401, "code": "api_key_expired"})
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert Payment.objects.get().status == PaymentStatus.FAILED
    assert end_of(order) == own_end
    assert end_of(order) < apply(order).dead_at
    order.refresh_from_db()
    assert order.expires_at == Payment.objects.last().dead_at


def test_who_is_refused_a_slip_at_the_last_moment_has_the_minutes_to_pay_in_another_way(every_channel):
    order = make_brl()
    Order.objects.update(expires_at=Now() + timedelta(seconds=30))
    order.refresh_from_db()
    break_create(every_channel, "status", when="before", value={"status": 401, "code": "api_key_expired"})
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert end_of(order) - EXTEND_BY >= order.created_at
    assert apply(order, "paypal").action is not None


def test_stripe_that_is_out_of_reach_holds_no_goods_for_days(settings):
    order = make_brl(stock=1)
    own_end = order.expires_at
    good = settings.CHANNELS
    settings.CHANNELS = good | {"boleto": good["boleto"] | {"BASE_URL": "http://127.0.0.1:9"}}
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert end_of(order) == own_end
    settings.CHANNELS = good
    slip = apply(order)
    assert end_of(order) == slip.dead_at


@pytest.mark.parametrize(("when", "status"), [("before", "CLOSED"), ("after", "UNPAID")])
def test_order_waits_for_a_slip_whose_answer_was_lost_if_stripe_has_made_it(every_channel, when, status):
    order = make_brl(stock=1)
    own_end = order.expires_at
    break_create(every_channel, "reset", when=when)
    with pytest.raises(PaymentConfirming):
        apply(order)
    assert end_of(order) == own_end
    expire(order)
    assert order.status == status
    assert Product.objects.get().stock == (1 if status == "CLOSED" else 0)
    if status == "UNPAID":
        slip = Payment.objects.get()
        assert (slip.superseded_at, end_of(order)) == (None, slip.dead_at)
        every_channel.pay(slip.number, channel="boleto")
        query_payment(slip.number)
        assert Receipt.objects.get().receipt_class == "settled"


# ---- nor longer than the slip ------------------------------------------------------------------------------------


def test_order_ends_as_usual_once_its_slip_is_over():
    order = make_brl()
    own_end, slip = order.expires_at, apply(order)
    assert end_of(order) > own_end
    tell(slip, Outcome.CLOSED)
    assert end_of(order) == own_end


def test_shopper_whose_slip_is_over_after_days_has_the_minutes_to_pay_in_another_way():
    order = make_brl(stock=1)
    slip = apply(order)
    let_days_pass(order)
    tell(slip, Outcome.CLOSED)
    left = end_of(order) - Order.objects.annotate(clock=Now()).get().clock
    assert timedelta(minutes=4) < left <= EXTEND_BY
    paypal = apply(order, "paypal")
    assert paypal.action is not None
    expire(order)
    assert (order.status, Product.objects.get().stock) == ("CLOSED", 1)


def test_order_waits_for_the_way_that_was_chosen_instead_as_long_as_was_said():
    order = make_brl()
    slip, paypal = apply(order), apply(order, "paypal")
    tell(slip, Outcome.CLOSED)
    order.refresh_from_db()
    assert end_of(order) == max(paypal.expires_at, order.usual_expires_at)
    tell(paypal, Outcome.CLOSED)
    assert end_of(order) == order.usual_expires_at


def test_order_waits_for_its_slip_though_another_way_was_given_up():
    order = make_brl()
    slip, paypal = apply(order), apply(order, "paypal")
    tell(paypal, Outcome.CLOSED)
    assert end_of(order) == slip.dead_at
    assert apply(order).pk == slip.pk  # and it is shown again


def test_end_that_was_brought_forward_is_never_put_off_by_what_else_ends():
    order = make_brl()
    slip = apply(order)
    let_days_pass(order)
    tell(slip, Outcome.CLOSED)
    end = end_of(order) - timedelta(minutes=2, seconds=30)
    with transaction.atomic():
        Order.objects.update(expires_at=end)
    paypal = apply(order, "paypal")
    tell(paypal, Outcome.CLOSED)
    order.refresh_from_db()
    assert order.expires_at == end


def test_what_an_order_would_have_been_is_kept_with_it():
    order = make_brl()
    own_end = order.expires_at
    with transaction.atomic():
        keep_open(lock_order(order.number), until=own_end + ONE_DAY)
    order.refresh_from_db()
    assert (order.usual_expires_at, order.expires_at) == (own_end, own_end + ONE_DAY)
