"""Applying for payment against the sandbox: one live attempt per order, whatever the channel does."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from orders.models import Order
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from payments import applying
from payments.applying import Applied, apply_for_payment
from payments.channels.base import Attempt, Created, Outcome, Repeat
from payments.channels.registry import get_channel
from payments.channels.wechat import WeChat
from payments.channels.wire import TOTAL_S
from payments.ending import cancel_order
from payments.errors import ChannelUnavailable, NotOffered, OrderIsClosed, OrderIsPaid, PaymentConfirming
from payments.models import Payment
from payments.moves import LEASE_S
from payments.querying import query_payment
from payments.settling import settle_payment
from payments.showing import view_order
from payments.statuses import PaymentStatus
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report, steps
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db(transaction=True)


def apply(order: Order, *, may_supersede: bool = False) -> Applied:
    return apply_for_payment(order.number, channel="wechat", scene="qr", may_supersede=may_supersede)


def read_code(order: Order) -> str:
    """Apply as one of several rivals, on a connection of its own."""
    try:
        return str((apply(order).payment.action or {})["content"])
    finally:
        connection.close()


def fault(sandbox, operation: str, what: str, when: str = "before", **more: object) -> None:
    entry = {"channel": "wechat", "operation": operation, "when": when, "what": what, **more}
    sandbox.set_faults({"script": [entry]})


def end_leases() -> None:
    Payment.objects.update(lease_until=Now() - timedelta(seconds=1))


def test_new_payment_is_paying_with_a_qr_and_an_alarm(sandbox):
    order = make_order()
    applied = apply(order)
    payment = applied.payment
    assert applied.is_new
    assert payment.status == PaymentStatus.PAYING
    assert payment.action["content"].startswith("weixin://wxpay/bizpayurl")
    assert steps(payment.number) == [("", "UNPAID"), ("UNPAID", "PAYING")]
    alarm = Alarm.objects.get(kind="query_payment")
    assert (alarm.subject, alarm.last_at) == (payment.number, payment.dead_at)


def test_the_channel_is_asked_for_the_orders_amount_under_our_number(sandbox):
    order = make_order(quantity=2)
    payment = apply(order).payment
    [trade] = sandbox.trades(payment.number)
    assert (trade["amount"], trade["currency"], trade["status"]) == (25800, "CNY", "OPEN")


def test_applying_again_gives_the_same_qr_without_asking_the_channel(sandbox):
    order = make_order()
    first = apply(order)
    fault(sandbox, "create", "refuse", times=10)
    again = apply(order)
    assert not again.is_new
    assert again.payment.action == first.payment.action


@whatever_redis_does
def test_fifty_applies_at_once_make_one_live_payment_with_one_qr(sandbox):
    order = make_order()

    with ThreadPoolExecutor(10) as pool:
        contents = set(pool.map(read_code, [order] * 50))
    assert len(contents) == 1
    assert Payment.objects.count() == 1
    assert len(sandbox.trades(Payment.objects.get().number)) == 1


def test_another_attempt_of_the_channel_closes_the_first_before_it_starts(sandbox):
    order = make_order()
    first = apply(order).payment
    Payment.objects.update(scene="wap")  # as if the shopper had begun on a phone
    second = apply(order).payment
    assert second.number != first.number
    assert steps(first.number)[-1] == ("PAYING", "CLOSED")
    assert sandbox.trades(first.number)[0]["status"] == "CLOSED"


def test_earlier_attempt_that_was_paid_meanwhile_is_settled_and_said_so(sandbox):
    order = make_order()
    first = apply(order).payment
    sandbox.set_faults({"notify": {"drop": 1.0}})
    sandbox.pay(first.number)
    Payment.objects.update(scene="wap")
    with pytest.raises(OrderIsPaid):
        apply(order)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


def test_unanswered_close_blocks_a_new_attempt_for_a_while_then_the_shopper_may_choose(sandbox):
    order = make_order()
    first = apply(order).payment
    Payment.objects.update(scene="wap")
    fault(sandbox, "close", "status", value=500, times=10)
    with pytest.raises(PaymentConfirming) as refused:
        apply(order, may_supersede=True)
    assert not refused.value.may_supersede
    Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - timedelta(seconds=61))
    with pytest.raises(PaymentConfirming) as refused:
        apply(order)
    assert refused.value.may_supersede
    second = apply(order, may_supersede=True).payment
    first.refresh_from_db()
    assert first.status == PaymentStatus.PAYING
    assert first.superseded_at is not None
    assert second.superseded_at is None


def test_channel_that_cannot_give_money_back_is_never_superseded_on_a_guess(sandbox, monkeypatch):
    monkeypatch.setattr(WeChat, "can_refund", False)
    order = make_order()
    first = apply(order).payment
    Payment.objects.update(scene="wap")
    fault(sandbox, "close", "status", value=500, times=10)
    for waited_s in (0, 61, 3600):
        waited = F("close_unanswered_since") - timedelta(seconds=waited_s)
        Payment.objects.update(close_unanswered_since=waited)
        with pytest.raises(PaymentConfirming) as refused:
            apply(order, may_supersede=True)
        assert not refused.value.may_supersede
        assert not view_order(order).may_supersede
    assert Payment.objects.get().number == first.number


def test_superseded_attempt_stays_watched(sandbox):
    test_unanswered_close_blocks_a_new_attempt_for_a_while_then_the_shopper_may_choose(sandbox)
    assert Alarm.objects.filter(kind="query_payment").count() == 2


def test_create_that_was_refused_for_good_fails_and_another_may_start_at_once(sandbox):
    order = make_order()
    fault(sandbox, "create", "status", value={"status": 403, "code": "NO_AUTH"}, times=1)
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert Payment.objects.get().status == PaymentStatus.FAILED
    assert apply(order).is_new


def test_channel_out_of_reach_is_said_at_once_and_the_same_number_is_tried_again(sandbox, settings):
    order = make_order()
    good = settings.CHANNELS
    settings.CHANNELS = {"wechat": good["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert Payment.objects.get().status == PaymentStatus.PAYING
    settings.CHANNELS = good
    assert apply(order).payment.action is not None
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("what", ["reset", "garbage", "badsign", "truncate"])
def test_create_without_a_believable_answer_stays_paying_and_goes_on_under_the_same_number(sandbox, what):
    order = make_order()
    fault(sandbox, "create", what, when="after", times=1)
    with pytest.raises(PaymentConfirming):
        apply(order)
    payment = Payment.objects.get()
    assert (payment.status, payment.action) == (PaymentStatus.PAYING, None)
    end_leases()
    again = apply(order)
    assert again.payment.number == payment.number
    assert len(sandbox.trades(payment.number)) == 1


def test_refused_repeat_of_an_unanswered_create_is_not_taken_for_a_failure(sandbox):
    order = make_order()
    lost = {"channel": "wechat", "operation": "create", "when": "after", "what": "reset", "nth": 1}
    denied = {"channel": "wechat", "operation": "create", "when": "before", "what": "status", "nth": 2}
    sandbox.set_faults({"script": [lost, denied | {"value": {"status": 403, "code": "NO_AUTH"}}]})
    for _ in range(2):
        with pytest.raises(PaymentConfirming):
            apply(order)
        end_leases()
    assert Payment.objects.get().status == PaymentStatus.PAYING


def test_channel_out_of_reach_at_first_may_refuse_the_next_try_for_good(sandbox, settings):
    order = make_order()
    good = settings.CHANNELS
    settings.CHANNELS = {"wechat": good["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    with pytest.raises(ChannelUnavailable):
        apply(order)
    settings.CHANNELS = good
    fault(sandbox, "create", "status", value={"status": 403, "code": "NO_AUTH"}, times=1)
    with pytest.raises(ChannelUnavailable):
        apply(order)
    assert Payment.objects.get().status == PaymentStatus.FAILED


def test_order_that_is_cancelled_while_its_code_is_made_gives_nobody_the_code(sandbox, monkeypatch):
    order = make_order()
    channel = get_channel("wechat")
    create = channel.create

    def cancel_meanwhile(request: Attempt) -> Created:
        created = create(request)
        Payment.objects.update(superseded_at=Now())
        with transaction.atomic():
            close_order(lock_order(order.number), CloseReason.CANCELLED, source=Source.SHOPPER)
        return created

    monkeypatch.setattr(channel, "create", cancel_meanwhile)
    with pytest.raises(OrderIsClosed):
        apply(order)
    payment = Payment.objects.get()
    assert (payment.status, payment.action) == (PaymentStatus.CLOSED, None)
    assert sandbox.trades(payment.number)[0]["status"] == "CLOSED"


def test_channel_that_does_not_make_a_number_once_is_asked_and_given_a_new_one(sandbox, monkeypatch):
    monkeypatch.setattr(type(get_channel("wechat")), "repeat", Repeat.ASK_THEN_NEW)
    monkeypatch.setattr(type(get_channel("wechat")), "can_close", False)
    order = make_order()
    fault(sandbox, "create", "reset", when="after", times=1)
    with pytest.raises(PaymentConfirming):
        apply(order)
    end_leases()
    second = apply(order).payment
    first = Payment.objects.exclude(pk=second.pk).get()
    assert (first.status, first.superseded_at is None) == (PaymentStatus.PAYING, False)
    assert Alarm.objects.filter(kind="query_payment", subject=first.number).exists()


def test_code_of_the_last_seconds_is_not_renewed_when_a_new_one_would_live_no_longer(sandbox):
    order = make_order()
    Order.objects.update(was_extended=True, expires_at=Now() + timedelta(seconds=14))
    first, second = apply(order).payment, apply(order).payment
    assert first.number == second.number


def test_time_to_wait_is_measured_by_the_database_and_not_ended_by_a_query(sandbox):
    order = make_order()
    first = apply(order).payment
    Payment.objects.update(scene="wap")
    fault(sandbox, "close", "status", value=500, times=20)
    offered = []
    for _ in range(2):
        with pytest.raises(PaymentConfirming) as refused:
            apply(order)
        offered.append(refused.value.may_supersede)
        query_payment(first.number)
        Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - timedelta(seconds=61))
    assert offered == [False, True]


@whatever_redis_does
def test_while_somebody_creates_the_others_wait_for_the_same_action(sandbox):
    order = make_order()
    sandbox.set_faults({"api": {"slow_s": 0.7}, "operations": ["create"]})
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(read_code, [order] * 2)
    assert first == second


def test_an_order_in_its_last_minutes_is_extended_and_so_is_the_code(sandbox):
    order = make_order()
    Order.objects.update(expires_at=Now() + timedelta(seconds=60))
    payment = apply(order).payment
    order.refresh_from_db()
    assert order.was_extended
    assert payment.expires_at == order.expires_at


def test_order_whose_extended_time_is_over_takes_no_payment(sandbox):
    order = make_order()
    Order.objects.update(expires_at=Now() - timedelta(seconds=1), was_extended=True)
    with pytest.raises(OrderIsClosed):
        apply(order)
    assert not Payment.objects.exists()


def test_closed_and_paid_orders_take_no_payment(sandbox):
    closed, paid = make_order(), make_order()
    cancel_order(closed.number)
    sandbox.pay(apply(paid).payment.number)
    query_payment(Payment.objects.get().number)
    with pytest.raises(OrderIsClosed):
        apply(closed)
    with pytest.raises(OrderIsPaid):
        apply(paid)


def test_wrong_amount_in_review_holds_up_every_new_attempt(sandbox):
    order = make_order()
    payment = apply(order).payment
    lie = {"channel": "wechat", "operation": "query", "when": "after", "what": "lie", "value": {"amount": 1}}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [lie]})
    sandbox.pay(payment.number)
    query_payment(payment.number)
    with pytest.raises(PaymentConfirming):
        apply(order)


@pytest.mark.parametrize(
    ("channel", "scene", "field"),
    [("paypal", "qr", "channel"), ("cash", "qr", "channel"), ("wechat", "voucher", "scene")],
)
def test_what_is_not_offered_is_refused(sandbox, channel, scene, field):
    order = make_order()
    with pytest.raises(NotOffered) as refused:
        apply_for_payment(order.number, channel=channel, scene=scene)
    assert refused.value.field == field
    assert not Payment.objects.exists()


def test_wechat_does_not_take_dollars(sandbox):
    with pytest.raises(NotOffered):
        apply(make_order(sku="book", currency="USD"))


def test_nothing_is_started_for_an_order_that_ended_after_the_first_look(sandbox, monkeypatch):
    order, look = make_order(), applying._look
    first = apply(order).payment
    Payment.objects.update(scene="wap")

    def look_and_dawdle(*args: object, **more: object) -> object:
        seen = look(*args, **more)
        cancel_order(order.number)
        return seen

    monkeypatch.setattr(applying, "_look", look_and_dawdle)
    with pytest.raises(OrderIsClosed):
        apply(order)
    assert Payment.objects.get().number == first.number


def test_attempt_of_a_rival_is_not_superseded_in_place_of_the_one_that_was_looked_at():
    order = make_order()
    gone = make_payment(order)
    settle_payment(report(gone, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    rival = make_payment(order)
    applying._supersede(gone)
    rival.refresh_from_db()
    assert rival.superseded_at is None


def test_attempt_whose_code_was_made_meanwhile_is_looked_at_again_and_not_superseded():
    order = make_order()
    made = make_payment(order)
    seen = Payment.objects.select_related("order").get(pk=made.pk)
    seen.action = None  # so it was when somebody else's create call was on its way
    applying._supersede(seen)
    made.refresh_from_db()
    assert made.superseded_at is None


def test_attempt_that_has_no_code_yet_is_superseded():
    order = make_order()
    made = make_payment(order)
    Payment.objects.update(action=None)
    made.refresh_from_db()
    applying._supersede(made)
    made.refresh_from_db()
    assert made.superseded_at is not None


def test_lease_is_longer_than_the_call_that_it_is_for():
    assert LEASE_S > TOTAL_S
