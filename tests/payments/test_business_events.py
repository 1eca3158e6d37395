"""Each business event comes from the flow that makes it true, once, in order, and says no more than it should."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now

from orders.models import Order, Product
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from payments.channels.base import Outcome, RefundReport
from payments.models import Case, Receipt, Refund
from payments.refunding import ask_refund
from payments.returning import settle_foreign_refund, settle_refund
from payments.settling import settle_payment, settle_unmatched
from payments.shipping import complete_order, ship_order
from shop.business import TYPES
from shop.events import record
from shop.models import BusinessEvent, Source
from tests.factories import ANNA, make_order, make_payment, report

pytestmark = pytest.mark.django_db

PRICE = 12900


def pay(order: Order, **changed: Any) -> Receipt:
    told = report(make_payment(order), **changed)
    settle_payment(told, channel="wechat", source=Source.CALLBACK)
    return Receipt.objects.get(channel_number=told.channel_number)


def close(order: Order, reason: CloseReason = CloseReason.EXPIRED) -> None:
    record([close_order(lock_order(order.number), reason, source=Source.SYSTEM)])


def end(refund: Refund, outcome: Outcome = Outcome.SUCCEEDED) -> None:
    told = RefundReport(outcome=outcome, number=refund.number, amount_minor=refund.amount)
    settle_refund(told, channel=refund.channel, source=Source.QUERY)


def told_of(stream: str) -> list[str]:
    found = BusinessEvent.objects.filter(stream=stream).order_by("id")
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    return [event.type for event in found]


def event_of(event_type: str) -> BusinessEvent:
    return BusinessEvent.objects.get(type=event_type)


# ---- money -------------------------------------------------------------------------------------------------------


def test_money_that_pays_an_order_is_settled_and_the_order_paid():
    order = make_order()
    receipt = pay(order, paid_at=order.created_at)
    order.refresh_from_db()
    assert told_of(order.number) == ["payment.settled", "order.paid"]
    assert event_of("payment.settled").data == {
        "payment": receipt.number,
        "channel": "wechat",
        "scene": "qr",
        "trade": receipt.channel_number,
        "class": "settled",
        "amount": PRICE,
        "currency": "CNY",
        "paid_at": order.created_at.isoformat(),
        "source": "CALLBACK",
    }
    assert event_of("order.paid").data == {
        "status": "READY_FOR_SHIPMENT",
        "amount": PRICE,
        "currency": "CNY",
        "version": order.version,
    }


def test_second_success_is_surplus():
    order = make_order()
    pay(order)
    surplus = pay_again(order)
    assert told_of(order.number) == ["payment.settled", "order.paid", "payment.surplus"]
    assert event_of("payment.surplus").data["class"] == "surplus"
    end(surplus.refunds.get())
    assert told_of(order.number)[3:] == ["refund.succeeded"]


def pay_again(order: Order) -> Receipt:
    """The number of the first payment is paid once more."""
    first = order.payments.get()
    settle_payment(report(first, channel_number="twice"), channel="wechat", source=Source.CALLBACK)
    return Receipt.objects.get(channel_number="twice")


def test_money_that_comes_too_late_is_told_when_it_comes_and_when_it_went_back():
    order = make_order()
    late = make_payment(order)
    close(order, CloseReason.CANCELLED)
    settle_payment(report(late), channel="wechat", source=Source.QUERY)
    assert told_of(order.number) == ["order.closed", "payment.surplus"]
    assert event_of("payment.surplus").data["class"] == "late"
    end(Refund.objects.get())
    assert told_of(order.number)[2:] == ["refund.succeeded"]
    assert event_of("refund.succeeded").data["reason"] == "paid after the order closed"


def test_late_money_that_reopens_its_order_is_one_fact_and_one_event():
    order = make_order()
    late = make_payment(order)
    close(order)
    settle_payment(report(late), channel="wechat", source=Source.QUERY)
    assert told_of(order.number) == ["order.closed", "payment.settled", "order.reopened"]


def test_repeated_report_is_no_news():
    order = make_order()
    pay(order)
    settle_payment(report(order.payments.get()), channel="wechat", source=Source.QUERY)
    assert told_of(order.number) == ["payment.settled", "order.paid"]


def test_wrong_amount_is_a_case_and_no_settlement():
    order = make_order()
    receipt = pay(order, amount_minor=1)
    assert told_of(order.number) == ["case.opened"]
    opened = event_of("case.opened")
    assert opened.subject == receipt.channel_number
    assert opened.data == {"case": Case.objects.get().pk, "kind": "mismatch"}


def test_money_of_no_order_has_streams_of_its_own():
    settle_unmatched(
        report(make_payment(make_order()), number="STRANGE", channel_number="4200"),
        channel="wechat",
        source=Source.CALLBACK,
    )
    assert told_of(f"case:{Case.objects.get().pk}") == ["case.opened"]
    receipt = Receipt.objects.get()
    for amount in (100, 200):
        end(ask_refund("4200", amount=amount, reason="strange", actor="amy"))
    assert told_of(f"receipt:{receipt.pk}") == ["refund.succeeded", "refund.succeeded"]


def test_case_that_is_open_already_is_no_news():
    order = make_order()
    pay(order, amount_minor=1, channel_number="4200")
    settle_payment(
        report(order.payments.get(), amount_minor=1, channel_number="4200"),
        channel="wechat",
        source=Source.QUERY,
    )
    assert told_of(order.number) == ["case.opened"]


# ---- orders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(CloseReason))
def test_closed_order_says_why(reason):
    order = make_order()
    close(order, reason)
    order.refresh_from_db()
    assert told_of(order.number) == ["order.closed"]
    assert event_of("order.closed").data == {
        "status": "CLOSED",
        "amount": PRICE,
        "currency": "CNY",
        "version": order.version,
        "reason": str(reason),
    }


def test_shipped_order_is_told_once_and_its_completion_not():
    order = make_order()
    pay(order)
    ship_order(order.number, actor="amy")
    complete_order(order.number, actor="amy")
    assert told_of(order.number)[2:] == ["order.shipped"]


# ---- refunds -----------------------------------------------------------------------------------------------------


def test_full_refund_ends_and_the_order_is_refunded():
    order = make_order()
    receipt = pay(order)
    refund = ask_refund(
        receipt.number, amount=PRICE, reason="Mrs Lin, 13800000000, did not like it", actor="amy"
    )
    end(refund)
    assert told_of(order.number)[2:] == ["refund.succeeded", "order.refunded"]
    assert event_of("refund.succeeded").data == {
        "refund": refund.number,
        "payment": receipt.number,
        "channel": "wechat",
        "trade": receipt.channel_number,
        "class": "settled",
        "kind": "ASKED",
        "reason": "",
        "amount": PRICE,
        "currency": "CNY",
    }


def test_part_of_the_money_leaves_the_order_as_it_is():
    order = make_order()
    end(ask_refund(pay(order).number, amount=1, reason="scratch", actor="amy"))
    assert told_of(order.number)[2:] == ["refund.succeeded"]


def test_refund_that_failed_is_told_with_the_case_about_it():
    order = make_order()
    end(ask_refund(pay(order).number, amount=1, reason="scratch", actor="amy"), Outcome.REFUSED)
    assert set(told_of(order.number)[2:]) == {"refund.failed", "case.opened"}


def test_refund_of_the_console_is_told():
    order = make_order()
    receipt = pay(order)
    told = RefundReport(
        outcome=Outcome.SUCCEEDED, number="console-1", amount_minor=1, trade_number=receipt.channel_number
    )
    settle_foreign_refund(told, channel="wechat", source=Source.CALLBACK)
    assert set(told_of(order.number)[2:]) == {"refund.succeeded", "case.opened"}
    assert event_of("refund.succeeded").data["kind"] == "CONSOLE"


# ---- all of them -------------------------------------------------------------------------------------------------


def ship() -> None:
    order = make_order()
    pay(order)
    ship_order(order.number, actor="amy")


def refund(outcome: Outcome) -> None:
    end(ask_refund(pay(make_order()).number, amount=PRICE, reason="size", actor="amy"), outcome)


def reopen() -> None:
    order = make_order()
    payment = make_payment(order)
    close(order)
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)


def pay_twice() -> None:
    order = make_order()
    pay(order)
    pay_again(order)


FLOWS: dict[str, Callable[[], object]] = {
    "order.paid": lambda: pay(make_order()),
    "order.closed": lambda: close(make_order()),
    "order.reopened": reopen,
    "order.shipped": ship,
    "order.refunded": lambda: refund(Outcome.SUCCEEDED),
    "payment.settled": lambda: pay(make_order()),
    "payment.surplus": pay_twice,
    "refund.succeeded": lambda: refund(Outcome.SUCCEEDED),
    "refund.failed": lambda: refund(Outcome.REFUSED),
    "case.opened": lambda: pay(make_order(), amount_minor=1),
}


@pytest.mark.parametrize("event_type", TYPES)
def test_every_type_is_told_by_somebody_and_tells_nothing_about_a_person(event_type):
    FLOWS[event_type]()
    data = str(event_of(event_type).data)
    assert not [word for word in (ANNA.name, ANNA.email, ANNA.phone, ANNA.address, "size") if word in data]


@pytest.mark.parametrize("event_type", TYPES)
def test_flow_that_is_undone_tells_nothing(event_type):
    with transaction.atomic():
        FLOWS[event_type]()
        assert BusinessEvent.objects.exists()
        transaction.set_rollback(True)
    assert not BusinessEvent.objects.exists()


def test_order_that_its_goods_have_left_is_not_reopened_and_says_so():
    order = make_order()
    payment = make_payment(order)
    close(order)
    Product.objects.update(stock=0)
    Order.objects.filter(pk=order.pk).update(closed_at=Now() - timedelta(hours=1))
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    assert told_of(order.number) == ["order.closed", "payment.surplus"]
