"""Everything that may be wrong in a world: one hand for each branch of each invariant, with what the audit must say of it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from orders.models import Order, Product
from orders.moves import EXPIRE_ORDER
from payments.callbacks import TAKE_CALLBACK
from payments.cases import DAILY_S, open_case
from payments.channels.base import Outcome
from payments.models import Case, Payment, Receipt
from payments.moves import QUERY_PAYMENT, RECHECK_PAYMENT, SEND_REFUND
from shop.alarms import remove_alarms, set_alarm
from shop.business import announce
from shop.models import Alarm, BusinessEvent, Delivery, Endpoint, Event, IdempotencyKey
from shop.webhooks.publishing import DELIVER, publish
from tests.factories import make_order, make_payment
from tests.payments.audit_world import (
    PRICE,
    World,
    ask,
    change,
    change_news,
    close,
    copy,
    finish,
    forget,
    make_key,
    news_of,
    order_of,
    pay,
    payment_of,
    run,
    tell,
)

PLANTS: list[Any] = []


def plant(invariant: str, words: str) -> Callable[[Callable[[World], str]], Callable[[World], str]]:
    """Register a hand that spoils the world; it returns whom the audit must name, with these words in the detail."""

    def register(spoil: Callable[[World], str]) -> Callable[[World], str]:
        PLANTS.append(pytest.param(spoil, invariant, words, id=f"{invariant}-{spoil.__name__}"))
        return spoil

    return register


# ---- I1 ----------------------------------------------------------------------------------------------------------


@plant("I1", "has 2 settled receipts: ")
def order_is_settled_twice(world: World) -> str:
    copy(world.settled, channel_number="4200TWICE")
    return world.paid.number


@plant("I1", f"costs {PRICE} CNY, its settled receipt ")
def settled_receipt_has_another_amount(world: World) -> str:
    change(world.settled, amount=PRICE + 1)
    return world.paid.number


@plant("I1", f"is of {PRICE} USD")
def settled_receipt_has_another_currency(world: World) -> str:
    change(world.settled, currency="USD")
    return world.paid.number


@plant("I1", ", which is PAYING")
def settled_payment_is_not_paid(world: World) -> str:
    change(payment_of(world.settled), status="PAYING", superseded_at=Now())
    forget(payment_of(world.settled), "PAID")
    set_alarm(QUERY_PAYMENT, world.settled.number)
    return world.paid.number


# ---- I2 ----------------------------------------------------------------------------------------------------------


@plant("I2", "is READY_FOR_SHIPMENT without a settled receipt")
def order_is_ready_without_money(world: World) -> str:
    change(world.unpaid, status="READY_FOR_SHIPMENT")
    tell(world.unpaid, "UNPAID", "READY_FOR_SHIPMENT")
    remove_alarms([EXPIRE_ORDER], world.unpaid.number)
    return world.unpaid.number


@plant("I2", "is CLOSED, but receipt ")
def closed_order_has_a_settled_receipt(world: World) -> str:
    change(world.late, receipt_class="settled")
    change_news(news_of(world.late.number, "payment.surplus"), type="payment.settled")
    return order_of(world.late).number


@plant("I2", "is UNPAID, but receipt ")
def unpaid_order_has_a_settled_receipt(world: World) -> str:
    order = order_of(pay(make_payment(make_order())))
    change(order, status="UNPAID")
    forget(order, "READY_FOR_SHIPMENT")
    set_alarm(EXPIRE_ORDER, order.number)
    return order.number


@plant("I2", "is UNPAID, which nobody may see")
def payment_is_seen_unpaid(world: World) -> str:
    change(world.paying, status="UNPAID")
    forget(world.paying, "PAYING")
    remove_alarms([QUERY_PAYMENT], world.paying.number)
    return world.paying.number


@plant("I2", 'is PAID by trade "", of which it has no receipt')
def payment_is_paid_without_a_receipt(world: World) -> str:
    change(world.paying, status="PAID")
    tell(world.paying, "PAYING", "PAID")
    remove_alarms([QUERY_PAYMENT], world.paying.number)
    return world.paying.number


@plant("I2", 'is PAID by trade "4200OTHER", of which it has no receipt')
def payment_is_paid_by_another_trade_than_its_receipt(world: World) -> str:
    change(payment_of(world.settled), channel_number="4200OTHER")
    return world.settled.number


@plant("I2", "is CLOSED, but its receipt ")
def late_money_left_its_payment_closed(world: World) -> str:
    change(payment_of(world.late), status="CLOSED", dead_at=Now())
    forget(payment_of(world.late), "PAID")
    return world.late.number


# ---- I3 ----------------------------------------------------------------------------------------------------------


@plant("I3", "has 2 live payments: ")
def order_has_two_live_payments(world: World) -> str:
    make_payment(world.unpaid)
    return world.unpaid.number


# ---- I4 ----------------------------------------------------------------------------------------------------------


@plant("I4", f"is of {PRICE}, but its refunds together are of {PRICE + 1}")
def more_goes_back_than_came(world: World) -> str:
    change(world.surplus.refunds.get(), amount=PRICE + 1)
    return world.surplus.channel_number


def ship(order: Order) -> str:
    change(order, status="SHIPPED")
    tell(order, "READY_FOR_SHIPMENT", "SHIPPED")
    return order.number


@plant("I4", f"was shipped while all of its {PRICE} was going back")
def order_is_shipped_while_all_of_it_goes_back(world: World) -> str:
    receipt = pay(make_payment(make_order()))
    ask(receipt, PRICE)
    return ship(order_of(receipt))


@plant("I4", f"was shipped while all of its {PRICE} was going back")
def order_is_shipped_while_the_last_of_two_refunds_waits(world: World) -> str:
    receipt = pay(make_payment(make_order()))
    finish(ask(receipt, PRICE - 500))
    ask(receipt, 500, waits=True)
    return ship(order_of(receipt))


@plant("I4", f"is REFUNDED, but 600 of its {PRICE} went back")
def order_is_refunded_in_part_only(world: World) -> str:
    finish(ask(world.settled, 200))
    change(world.paid, status="REFUNDED", holds_stock=False)
    tell(world.paid, "READY_FOR_SHIPMENT", "REFUNDED")
    Product.objects.update(stock=F("stock") + 1)
    return world.paid.number


@plant("I4", f"is READY_FOR_SHIPMENT, but {PRICE} of its {PRICE} went back")
def order_is_ready_though_all_of_it_went_back(world: World) -> str:
    order = order_of(world.refunded)
    change(order, status="READY_FOR_SHIPMENT", holds_stock=True)
    forget(order, "REFUNDED")
    Product.objects.update(stock=F("stock") - 1)
    return order.number


# ---- I5 ----------------------------------------------------------------------------------------------------------


@plant("I5", "order took a step from SHIPPED, but it was READY_FOR_SHIPMENT")
def order_leaves_a_step_out(world: World) -> str:
    change(world.paid, status="COMPLETED")
    tell(world.paid, "SHIPPED", "COMPLETED")
    return world.paid.number


@plant("I5", "refund took a step from PENDING_APPROVAL, but it was not there yet")
def refund_has_no_beginning(world: World) -> str:
    forget(world.on_its_way, "PENDING_APPROVAL")
    return world.on_its_way.number


@plant("I5", 'order took the step "CLOSED" to UNPAID, which the table does not have')
def order_takes_a_step_that_there_is_not(world: World) -> str:
    change(world.closed, status="CLOSED")
    tell(world.closed, "CLOSED", "UNPAID", "CLOSED")
    return world.closed.number


@plant("I5", 'payment took the step "FAILED" to CLOSED, which the table does not have')
def payment_takes_a_step_that_there_is_not(world: World) -> str:
    change(world.ended, status="CLOSED")
    forget(world.ended, "CLOSED")
    tell(world.ended, "PAYING", "FAILED", "CLOSED")
    return world.ended.number


@plant("I5", 'refund took the step "REFUNDING" to REJECTED, which the table does not have')
def refund_takes_a_step_that_there_is_not(world: World) -> str:
    change(world.on_its_way, status="REJECTED")
    tell(world.on_its_way, "REFUNDING", "REJECTED")
    remove_alarms([SEND_REFUND], world.on_its_way.number)
    return world.on_its_way.number


@plant("I5", 'payment took the step "" to PAYING, which the table does not have')
def payment_begins_in_the_middle(world: World) -> str:
    forget(world.paying, "UNPAID")
    forget(world.paying, "PAYING")
    tell(world.paying, "", "PAYING")
    return world.paying.number


@plant("I5", "order is SHIPPED, its last event says READY_FOR_SHIPMENT")
def order_has_a_status_without_an_event(world: World) -> str:
    change(world.paid, status="SHIPPED")
    return world.paid.number


@plant("I5", "payment is FAILED, its last event says CLOSED")
def payment_has_a_status_without_an_event(world: World) -> str:
    change(world.ended, status="FAILED")
    return world.ended.number


@plant("I5", "refund is REJECTED, its last event says PENDING_APPROVAL")
def refund_has_a_status_without_an_event(world: World) -> str:
    forget(world.rejected, "REJECTED")
    return world.rejected.number


@plant("I5", "order is CLOSED, its last event says nothing")
def order_has_no_event_at_all(world: World) -> str:
    return copy(world.closed, number="NEVENTLESS", status="CLOSED").number


@plant("I5", "refund is not there, its last event says PENDING_APPROVAL")
def event_is_about_nothing(world: World) -> str:
    Event.objects.create(
        subject_kind="refund", subject="RNOBODY", to_status="PENDING_APPROVAL", source="STAFF"
    )
    return "RNOBODY"


@plant("I5", "does not keep the events from being changed")
def guard_of_history_is_off(world: World) -> str:
    run("alter table shop_event disable trigger events_are_append_only")
    return "events_are_append_only"


@plant("I5", "does not keep the events from being changed")
def guard_of_history_is_gone(world: World) -> str:
    run("drop trigger events_are_kept on shop_event")
    return "events_are_kept"


# ---- I6 ----------------------------------------------------------------------------------------------------------


@plant("I6", "is unfinished, but has no alarm query_payment")
def nobody_asks_about_a_payment(world: World) -> str:
    remove_alarms([QUERY_PAYMENT], world.paying.number)
    return world.paying.number


@plant("I6", "is unfinished, but has no alarm recheck_payment")
def nobody_looks_again_at_what_ended_early(world: World) -> str:
    remove_alarms([RECHECK_PAYMENT], world.ended.number)
    return world.ended.number


@plant("I6", "has an alarm recheck_payment, but it is finished or not there")
def paid_payment_is_looked_at_again(world: World) -> str:
    return wake(RECHECK_PAYMENT, payment_of(world.late).number)


@plant("I6", "is unfinished, but has no alarm send_refund")
def nobody_sends_a_refund(world: World) -> str:
    remove_alarms([SEND_REFUND], world.on_its_way.number)
    return world.on_its_way.number


@plant("I6", "is unfinished, but has no alarm take_callback")
def nobody_takes_a_callback(world: World) -> str:
    remove_alarms([TAKE_CALLBACK], str(world.waiting.pk))
    return str(world.waiting.pk)


@plant("I6", "is unfinished, but has no alarm expire_order")
def nobody_lets_an_order_expire(world: World) -> str:
    remove_alarms([EXPIRE_ORDER], world.unpaid.number)
    return world.unpaid.number


@plant("I6", "is unfinished, but has no alarm deliver")
def nobody_tells_another_system(world: World) -> str:
    endpoint = Endpoint.objects.create(url="https://partner.example/", secret="sealed")
    event = BusinessEvent.objects.filter(stream=world.paid.number).earliest("pk")
    Delivery.objects.create(endpoint=endpoint, event=event)
    return f"{endpoint.pk}:{event.stream}"


@plant("I6", "has an alarm deliver, but it is finished or not there")
def endpoint_that_is_not_there_is_told(world: World) -> str:
    return wake("deliver", f"0:{world.paid.number}")


def wake(kind: str, subject: str) -> str:
    set_alarm(kind, subject)
    return subject


@plant("I6", "has an alarm query_payment, but it is finished or not there")
def ended_payment_is_asked_about(world: World) -> str:
    return wake(QUERY_PAYMENT, world.ended.number)


@plant("I6", "has an alarm send_refund, but it is finished or not there")
def refund_that_is_done_is_sent(world: World) -> str:
    return wake(SEND_REFUND, world.console.number)


@plant("I6", "has an alarm send_refund, but it is finished or not there")
def refund_that_waits_for_approval_is_sent(world: World) -> str:
    return wake(SEND_REFUND, ask(world.settled, 1, waits=True).number)


@plant("I6", "has an alarm take_callback, but it is finished or not there")
def taken_callback_is_taken(world: World) -> str:
    return wake(TAKE_CALLBACK, str(world.taken.pk))


@plant("I6", "has an alarm expire_order, but it is finished or not there")
def paid_order_expires(world: World) -> str:
    return wake(EXPIRE_ORDER, world.paid.number)


@plant("I6", "has an alarm follow_up, but it is finished or not there")
def order_that_is_not_there_is_followed_up(world: World) -> str:
    return wake("follow_up", "NOBODYSORDER")


@plant("I6", "has an alarm dream, which nobody handles")
def alarm_has_a_kind_of_its_own(world: World) -> str:
    return wake("dream", world.unpaid.number)


@plant("I6", "has more than one alarm query_payment")
def payment_has_two_alarms(world: World) -> str:
    run("alter table shop_alarm drop constraint one_alarm_per_subject")
    copy(Alarm.objects.get(kind=QUERY_PAYMENT, subject=world.paying.number))
    return world.paying.number


def delay(kind: str, subject: str, *, by_s: float) -> str:
    Alarm.objects.filter(kind=kind, subject=subject).update(due_at=Now() + timedelta(seconds=by_s))
    return subject


@plant("I6", "has an alarm fetch_statement, but it is finished or not there")
def statement_of_no_day_is_fetched(world: World) -> str:
    return wake("fetch_statement", "wechat:yesterday")


@plant("I6", "which is later than")
def statement_is_fetched_in_a_week(world: World) -> str:
    set_alarm("fetch_statement", "wechat:2026-11-21", in_s=7 * DAILY_S)
    return "wechat:2026-11-21"


@plant("I6", "which is later than")
def payment_is_asked_about_after_it_is_dead(world: World) -> str:
    return delay(QUERY_PAYMENT, world.paying.number, by_s=1800 + 60 + 60 + 5)


@plant("I6", "which is later than")
def payment_with_much_time_left_is_not_asked_about(world: World) -> str:
    change(world.paying, dead_at=Now() + timedelta(days=9))
    return delay(QUERY_PAYMENT, world.paying.number, by_s=2 * 3600)


@plant("I6", "which is later than")
def dead_payment_is_not_asked_about_every_day(world: World) -> str:
    change(world.paying, dead_at=Now() - timedelta(days=1))
    return delay(QUERY_PAYMENT, world.paying.number, by_s=DAILY_S + 5)


@plant("I6", "which is later than")
def refund_sleeps(world: World) -> str:
    return delay(SEND_REFUND, world.on_its_way.number, by_s=3605)


@plant("I6", "which is later than")
def callback_sleeps(world: World) -> str:
    return delay(TAKE_CALLBACK, str(world.waiting.pk), by_s=3605)


@plant("I6", "which is later than")
def order_expires_late(world: World) -> str:
    change(world.unpaid, expires_at=Now() - timedelta(hours=1))
    return delay(EXPIRE_ORDER, world.unpaid.number, by_s=305)


@plant("I6", "which is later than")
def order_is_followed_up_late(world: World) -> str:
    return delay("follow_up", world.paid.number, by_s=305)


@plant("I6", "which is later than")
def receipt_is_mailed_late(world: World) -> str:
    set_alarm("mail_receipt", world.paid.number, in_s=3605)
    return world.paid.number


@plant("I6", "which is later than")
def link_is_mailed_late(world: World) -> str:
    set_alarm("mail_link", world.paid.number, in_s=3605)
    return world.paid.number


@plant("I6", "has an alarm mail_returned, but it is finished or not there")
def shopper_is_to_be_told_of_money_that_is_not_back(world: World) -> str:
    set_alarm("mail_returned", world.on_its_way.number, in_s=5)
    return world.on_its_way.number


# ---- I7 ----------------------------------------------------------------------------------------------------------


@plant("I7", "was supplied 30, but has ")
def thing_appears_on_the_shelf(world: World) -> str:
    Product.objects.update(stock=F("stock") + 1)
    return "tea"


@plant("I7", "was supplied 3, but has -1 and orders hold 4")
def less_than_nothing_is_on_the_shelf(world: World) -> str:
    Product.objects.update(stock=-1, supplied=3)
    return "tea"


@plant("I7", "is CLOSED and never shipped, but holds its goods")
def closed_order_holds_goods(world: World) -> str:
    change(world.closed, holds_stock=True)
    Product.objects.update(stock=F("stock") - 1)
    return world.closed.number


@plant("I7", "is UNPAID and never shipped, but does not hold its goods")
def open_order_holds_nothing(world: World) -> str:
    change(world.unpaid, holds_stock=False)
    Product.objects.update(stock=F("stock") + 1)
    return world.unpaid.number


@plant("I7", "is REFUNDED and never shipped, but holds its goods")
def refunded_order_that_was_not_shipped_holds_goods(world: World) -> str:
    change(order_of(world.refunded), holds_stock=True)
    Product.objects.update(stock=F("stock") - 1)
    return order_of(world.refunded).number


@plant("I7", "is REFUNDED, but does not hold its goods")
def goods_of_a_shipped_order_are_back_on_the_shelf(world: World) -> str:
    finish(world.shipped.refunds.get())
    change(order_of(world.shipped), holds_stock=False)
    Product.objects.update(stock=F("stock") + 1)
    return order_of(world.shipped).number


# ---- I8 ----------------------------------------------------------------------------------------------------------


@plant("I8", "names 2 orders")
def order_number_is_used_twice(world: World) -> str:
    copy(world.closed)
    return world.closed.number


@plant("I8", "names 2 payments")
def payment_number_is_used_twice(world: World) -> str:
    change(world.ended, dead_at=Now())
    remove_alarms([RECHECK_PAYMENT], world.ended.number)
    copy(world.ended)
    return world.ended.number


@plant("I8", "names 2 refunds")
def refund_number_is_used_twice(world: World) -> str:
    copy(world.rejected)
    return world.rejected.number


@plant("I8", "names 2 payments of wechat")
def two_payments_have_one_trade(world: World) -> str:
    change(world.ended, channel_number=world.settled.channel_number)
    return world.settled.channel_number


@plant("I8", "names 2 receipts of wechat")
def two_receipts_have_one_trade(world: World) -> str:
    copy(world.unmatched)
    return world.unmatched.channel_number


@plant("I8", "names 2 refunds of wechat")
def two_refunds_have_one_number_of_the_channel(world: World) -> str:
    change(world.rejected, channel_number=world.console.channel_number)
    return world.console.channel_number


@plant("I8", "names 2 callbacks of wechat")
def callback_is_kept_twice(world: World) -> str:
    copy(world.taken)
    return world.taken.message_id


@plant("I8", "is a receipt of wechat for PSTRANGE, but hangs on payment wechat ")
def receipt_hangs_on_a_payment_of_another_number(world: World) -> str:
    change(world.settled, number="PSTRANGE")
    return world.settled.channel_number


@plant("I8", "but hangs on payment alipay ")
def receipt_hangs_on_a_payment_of_another_channel(world: World) -> str:
    change(payment_of(world.mismatch), channel="alipay")
    return world.mismatch.channel_number


@plant("I8", "is of another")
def receipt_is_of_another_order_than_its_payment(world: World) -> str:
    change(world.late, order=world.closed)
    return world.late.channel_number


@plant("I8", "is unmatched, hangs on a payment and an order")
def unmatched_receipt_has_a_payment(world: World) -> str:
    change(world.unmatched, payment=world.paying, order=world.unpaid, number=world.paying.number)
    return world.unmatched.channel_number


@plant("I8", "is mismatch, hangs on no payment and no order")
def matched_receipt_has_no_payment(world: World) -> str:
    change(world.mismatch, payment=None, order=None)
    return world.mismatch.channel_number


@plant("I8", "is mismatch, hangs on a payment and no order")
def matched_receipt_has_no_order(world: World) -> str:
    change(world.mismatch, order=None)
    return world.mismatch.channel_number


@plant("I8", "goes over alipay, but its receipt ")
def refund_goes_another_way_than_the_money_came(world: World) -> str:
    change(world.rejected, channel="alipay")
    return world.rejected.number


# ---- I9 ----------------------------------------------------------------------------------------------------------


def name_of(key: IdempotencyKey) -> str:
    return f"key {key.pk}"


@plant("I9", "has made nothing of payments, and nobody is at work on it")
def key_in_progress_has_no_lease(world: World) -> str:
    change(world.begun_key, lease_until=None)
    return name_of(world.begun_key)


@plant("I9", "says that it made NOBODYSORDER of orders, which is not there")
def key_says_that_it_made_an_order_that_is_not_there(world: World) -> str:
    change(world.order_key, subject="NOBODYSORDER")
    return name_of(world.order_key)


@plant("I9", " of form, which is not there")
def form_says_that_it_made_a_payment(world: World) -> str:
    change(world.form_key, subject=world.paying.number)
    return name_of(world.form_key)


@plant("I9", " of payments, which is not there")
def key_made_the_payment_of_another_order(world: World) -> str:
    change(world.payment_key, subject=world.ended.number)
    return name_of(world.payment_key)


@plant("I9", " of payments, which is not there")
def payment_that_a_lease_has_begun_is_not_there(world: World) -> str:
    change(world.begun_key, subject="NOBODYSPAYMENT")
    return name_of(world.begun_key)


@plant("I9", " of refunds, which is not there")
def key_made_the_refund_of_another_payment(world: World) -> str:
    change(world.refund_key, subject=world.surplus.refunds.get().number)
    return name_of(world.refund_key)


@plant("I9", " of dreams, which is not there")
def key_made_what_nobody_makes(world: World) -> str:
    return name_of(make_key("dreams", world.paid.number + "?"))


@plant("I9", "has 2 answers")
def key_has_two_answers(world: World) -> str:
    copy(world.payment_key)
    return name_of(world.payment_key)


@plant("I9", "was made by 2 keys: ")
def order_was_made_by_a_key_and_a_form(world: World) -> str:
    change(world.form_key, subject=world.paid.number)
    return world.paid.number


@plant("I9", "was made by 2 keys: ")
def refund_was_made_by_two_keys(world: World) -> str:
    copy(world.refund_key, key="another")
    return world.on_its_way.number


# ---- I13 ---------------------------------------------------------------------------------------------------------


def keep(receipt: Receipt) -> str:
    kept = copy(receipt, channel_number="4200KEPT")
    data = {"channel": kept.channel, "trade": kept.channel_number}
    announce("payment.surplus", stream=order_of(receipt).number, subject=kept.number, data=data)
    return kept.channel_number


@plant("I13", f"is late money of {PRICE} CNY, but only 0 goes back, and it is no case")
def late_money_is_kept(world: World) -> str:
    return keep(world.late)


@plant("I13", f"is surplus money of {PRICE} CNY, but only 0 goes back, and it is no case")
def surplus_money_is_kept(world: World) -> str:
    return keep(world.surplus)


@plant("I13", f"but only {PRICE - 1} goes back, and it is no case")
def surplus_money_is_kept_in_part(world: World) -> str:
    change(world.surplus.refunds.get(), amount=PRICE - 1)
    return world.surplus.channel_number


@plant("I6", "is unfinished, but has no alarm deliver")
def nobody_tells_an_endpoint(world: World) -> str:
    endpoint = Endpoint.objects.create(url="https://partner.example/", secret="sealed")
    publish()
    subject = f"{endpoint.pk}:{world.paid.number}"
    remove_alarms([DELIVER], subject)
    return subject


# ---- I14 ---------------------------------------------------------------------------------------------------------


@plant("I14", "happened 1 times, and 1 since events are kept, but has 0 events order.paid")
def nobody_is_told_of_a_paid_order(world: World) -> str:
    order = order_of(pay(make_payment(make_order())))
    news_of(order.number, "order.paid").delete()
    return order.number


@plant("I14", "since events are kept, but has 2 events order.paid")
def others_are_told_twice_of_a_paid_order(world: World) -> str:
    announce("order.paid", stream=world.paid.number, subject=world.paid.number, data={})
    return world.paid.number


@plant("I14", "happened 0 times, and 0 since events are kept, but has 1 events order.shipped")
def others_are_told_of_what_did_not_happen(world: World) -> str:
    announce("order.shipped", stream=world.unpaid.number, subject=world.unpaid.number, data={})
    return world.unpaid.number


@plant("I14", "but has 0 events refund.failed")
def nobody_is_told_of_a_refund_that_failed(world: World) -> str:
    refund = finish(ask(pay(make_payment(make_order())), 100), Outcome.REFUSED)
    stream = news_of(refund.number, "refund.failed").stream
    BusinessEvent.objects.filter(subject=refund.number).delete()
    assert not BusinessEvent.objects.filter(stream=stream, sequence__gt=2).exists()
    return refund.number


@plant("I14", "is money, but has 0 events payment.surplus")
def nobody_is_told_of_late_money(world: World) -> str:
    order = make_order()
    late = make_payment(order)
    close(order)
    receipt = pay(late)
    news_of(late.number, "payment.surplus").delete()
    return receipt.channel_number


@plant("I14", "is money, but has 2 events payment.settled")
def others_are_told_twice_of_settled_money(world: World) -> str:
    told = news_of(world.settled.number, "payment.settled")
    announce(told.type, stream=told.stream, subject=told.subject, data=told.data)
    return world.settled.channel_number


@plant("I14", "is no such money, but has 1 events payment.settled")
def others_are_told_of_money_that_is_not_there(world: World) -> str:
    data = {"channel": "wechat", "trade": "NOTHERE"}
    announce("payment.settled", stream=world.unpaid.number, subject=world.paying.number, data=data)
    return "NOTHERE"


@plant("I14", "is a case, but has 0 events case.opened")
def nobody_is_told_of_a_case(world: World) -> str:
    news_of(world.unmatched.channel_number, "case.opened").delete()
    return world.unmatched.channel_number


@plant("I14", "is a case, but has 2 events case.opened")
def others_are_told_twice_of_a_case(world: World) -> str:
    told = news_of(world.unmatched.channel_number, "case.opened")
    announce(told.type, stream=told.stream, subject=told.subject, data=told.data)
    return told.subject


@plant("I14", "is no case, but has 1 events case.opened")
def others_are_told_of_a_case_that_is_not_there(world: World) -> str:
    announce("case.opened", stream="case:0", subject="NOTHERE", data={"case": 0, "kind": "mail"})
    return "NOTHERE"


@plant("I14", "is published, but has no delivery for endpoint ")
def endpoint_is_passed_over(world: World) -> str:
    Endpoint.objects.create(url="https://partner.example/", secret="sealed", types=["order.paid"])
    publish()
    told = news_of(world.paid.number, "order.paid")
    told.deliveries.all().delete()
    return told.number


@plant("I14", "has 1 events from 2 to 2")
def stream_has_a_gap(world: World) -> str:
    case = Case.objects.get(kind=Case.Kind.UNMATCHED)
    change_news(BusinessEvent.objects.get(stream=f"case:{case.pk}"), sequence=2)
    return f"case:{case.pk}"


@plant("I14", "events from 1 to ")
def feed_has_a_gap(world: World) -> str:
    publish()
    last = BusinessEvent.objects.order_by("position").reverse()[0]
    change_news(last, position=F("position") + 1)
    return "feed"


@plant("I14", "was published before what came before it in ")
def feed_tells_what_came_later_first(world: World) -> str:
    publish()
    first, second = BusinessEvent.objects.filter(stream=world.paid.number).order_by("sequence")[:2]
    places = first.position, second.position
    change_news(first, position=None)
    change_news(second, position=places[0])
    change_news(first, position=places[1])
    return second.number


@plant("I14", "was not published within five minutes")
def nobody_publishes(world: World) -> str:
    publish()
    event = news_of(order_of(pay(make_payment(make_order()))).number, "order.paid")
    change_news(event, at=Now() - timedelta(minutes=6))
    return event.number


# ---- I15 ---------------------------------------------------------------------------------------------------------


def close_case(kind: Case.Kind, subject: str) -> str:
    """As the machine does; a person would have left a name."""
    Case.objects.filter(kind=kind, subject=subject).update(resolved_at=Now(), resolution="?")
    return subject


@plant("I15", f"is mismatch money of {PRICE - 1}, but no case about it is open")
def nobody_decides_about_a_mismatch(world: World) -> str:
    return close_case(Case.Kind.MISMATCH, world.mismatch.channel_number)


@plant("I15", "is unmatched money of 500, but no case about it is open")
def nobody_decides_about_unmatched_money(world: World) -> str:
    return close_case(Case.Kind.UNMATCHED, world.unmatched.channel_number)


@plant("I15", f"is FAILED, and {PRICE - 400} of its receipt is still here, but no case about it is open")
def nobody_decides_about_a_failed_refund(world: World) -> str:
    return close_case(Case.Kind.REFUND, world.failed.number)


@plant("I15", "was made in the console of the channel, but no case about it is open")
def nobody_hears_of_a_refund_made_in_the_console(world: World) -> str:
    change(Case.objects.get(kind=Case.Kind.CONSOLE_REFUND), subject="another", resolved_at=Now())
    return world.console.number


def ask_for_the_last_time(payment: Payment) -> str:
    """As it stands some minutes after its last query had no answer."""
    change(payment, dead_at=Now() - timedelta(hours=2))
    tried_at = Now() - timedelta(hours=1)
    due_at = tried_at + timedelta(seconds=DAILY_S)
    Alarm.objects.filter(subject=payment.number).update(tried_at=tried_at, due_at=due_at)
    return payment.number


@plant("I15", "is PAYING after its last query, but no case about it is open")
def nobody_decides_about_a_payment_without_an_answer(world: World) -> str:
    return ask_for_the_last_time(world.paying)


@plant("I15", "may have been paid when it ended, and nobody could say, but no case about it is open")
def nobody_decides_about_a_closed_payment_without_an_answer(world: World) -> str:
    Alarm.objects.filter(subject=world.ended.number).update(last_at=Now() - timedelta(hours=2))
    return ask_for_the_last_time(world.ended)


@plant("I15", "has 2 open cases mismatch")
def mismatch_is_two_cases(world: World) -> str:
    twin = copy(Case.objects.get(kind=Case.Kind.MISMATCH))
    announce("case.opened", stream=f"case:{twin.pk}", subject=twin.subject, data={"case": twin.pk})
    return world.mismatch.channel_number


def ask_people(kind: Case.Kind, subject: str, **evidence: Any) -> str:
    open_case(kind, subject, order=None, evidence=evidence)
    return subject


@plant("I15", "has an open case mismatch, but is decided or not there")
def money_that_fits_is_a_mismatch(world: World) -> str:
    return ask_people(Case.Kind.MISMATCH, world.settled.channel_number)


@plant("I15", "has an open case unmatched, but is decided or not there")
def unmatched_money_that_went_back_is_still_a_case(world: World) -> str:
    finish(ask(world.unmatched, 500))
    return ask_people(Case.Kind.UNMATCHED, world.unmatched.channel_number)


@plant("I15", "has an open case unmatched, but is decided or not there")
def callback_that_found_its_payment_is_still_a_case(world: World) -> str:
    change(world.taken, payment=payment_of(world.settled), report={"outcome": "succeeded"})
    return ask_people(Case.Kind.UNMATCHED, world.taken.message_id, callback=world.taken.pk)


@plant("I15", "has an open case refund, but is decided or not there")
def refund_that_is_done_is_still_a_case(world: World) -> str:
    return ask_people(Case.Kind.REFUND, world.console.number)


@plant("I15", "has an open case refund, but is decided or not there")
def failed_refund_of_money_that_went_back_is_still_a_case(world: World) -> str:
    receipt = pay(make_payment(make_order()))
    failed = ask(receipt, 1)
    change(failed, status="FAILED")
    tell(failed, "REFUNDING", "FAILED")
    remove_alarms([SEND_REFUND], failed.number)
    finish(ask(receipt, PRICE))
    return ask_people(Case.Kind.REFUND, failed.number)


@plant("I15", "has an open case console_refund, but is decided or not there")
def refund_of_ours_is_a_case_of_the_console(world: World) -> str:
    return ask_people(Case.Kind.CONSOLE_REFUND, world.rejected.number)


@plant("I15", "has an open case unanswered, but is decided or not there")
def payment_that_ended_is_still_unanswered(world: World) -> str:
    return ask_people(Case.Kind.UNANSWERED, world.ended.number)


@plant("I15", "has an open case unanswered, but is decided or not there")
def order_that_was_closed_still_waits_for_an_answer(world: World) -> str:
    return ask_people(Case.Kind.UNANSWERED, world.closed.number)


@plant("I15", "has an open case failing, but is decided or not there")
def alarm_that_went_well_is_still_failing(world: World) -> str:
    return ask_people(Case.Kind.FAILING, world.paid.number, alarm=EXPIRE_ORDER)
