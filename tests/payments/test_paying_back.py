"""Money whose channel has no way back: a person pays it back by hand, another one agrees, and then it counts as gone."""

from typing import Any

import pytest

from orders.models import Product
from orders.moves import close_order, lock_order
from orders.statuses import CloseReason
from payments.audit import audit, audit_trades
from payments.channels.base import Outcome, PaymentReport
from payments.errors import AllGoesBack, ChannelRefunds, OverRefund, OwnApproval, PaymentNotFound
from payments.models import Case, Payment, Receipt, Refund
from payments.refunding import approve_refund, ask_payback, reject_refund
from payments.settling import settle_payment, settle_unmatched
from payments.shipping import ship_order
from payments.statuses import ReceiptClass
from shop.alarms import handle_now
from shop.events import record
from shop.models import Alarm, Event, Source
from tests.factories import make_order, make_payment, report, steps
from tests.payments.audit_world import NOON, PRICE, order_of
from tests.payments.audit_world import pay as pay_by_wechat

pytestmark = pytest.mark.django_db


def apply(**how: Any) -> Payment:
    return make_payment(make_order(currency="BRL", sku="mate"), channel="boleto", scene="voucher", **how)


def pay(payment: Payment, **changed: Any) -> Receipt:
    told = report(payment, paid_at=NOON, **changed)
    settle_payment(told, channel="boleto", source=Source.QUERY)
    return Receipt.objects.get(channel_number=told.channel_number)


def pay_order() -> Receipt:
    receipt = pay(apply())
    handle_now("follow_up", order_of(receipt).number)
    handle_now("mail_receipt", order_of(receipt).number)
    return receipt


def pay_late() -> Receipt:
    payment = apply()
    settle_payment(report(payment, Outcome.CLOSED), channel="boleto", source=Source.QUERY)
    record([close_order(lock_order(payment.order.number), CloseReason.CANCELLED, source=Source.SHOPPER)])
    return pay(payment)


def pay_wrong() -> Receipt:
    return pay(apply(), amount_minor=PRICE - 1)


def pay_nobody() -> Receipt:
    told = PaymentReport(
        outcome=Outcome.SUCCEEDED,
        number="NOBODYSNUMBER",
        channel_number="py_NOBODY",
        amount_minor=PRICE,
        currency="BRL",
        paid_at=NOON,
    )
    settle_unmatched(told, channel="boleto", source=Source.CALLBACK)
    return Receipt.objects.get()


PAID = {"settled": pay_order, "late": pay_late, "mismatch": pay_wrong, "unmatched": pay_nobody}
of_every_class = pytest.mark.parametrize("paid", PAID.values(), ids=PAID)


def ask(receipt: Receipt) -> Refund:
    return ask_payback(receipt.channel_number, reason="by bank transfer", actor="sue")


def pay_back(receipt: Receipt) -> Refund:
    refund = approve_refund(ask(receipt).number, actor="tom")
    refund.refresh_from_db()
    return refund


def open_cases() -> list[str]:
    return list(Case.objects.filter(resolved_at__isnull=True).values_list("kind", flat=True))


def trades() -> list[dict[str, Any]]:
    """What the channel lists: all of it was paid, and nothing went back there."""
    return [
        {
            "channel": receipt.channel,
            "out_trade_no": receipt.number,
            "channel_number": receipt.channel_number,
            "amount": receipt.amount,
            "currency": receipt.currency,
            "status": "PAID",
            "paid_at": NOON.isoformat(),
            "refunds": [],
        }
        for receipt in Receipt.objects.all()
    ]


@of_every_class
def test_what_was_paid_back_by_hand_waits_for_a_second_person(paid):
    receipt = paid()
    refund = ask(receipt)
    assert (refund.kind, refund.status, refund.amount) == ("BY_HAND", "PENDING_APPROVAL", receipt.amount)
    assert Case.objects.get(kind="approval", resolved_at__isnull=True).subject == refund.number
    assert (audit(), audit_trades(trades())) == ([], [])


@of_every_class
def test_what_two_people_say_was_paid_back_has_gone_and_nobody_is_asked_any_more(paid):
    refund = pay_back(paid())
    assert (refund.status, refund.asked_by, refund.approved_by) == ("REFUNDED", "sue", "tom")
    assert steps(refund.number)[1:] == [("PENDING_APPROVAL", "REFUNDING"), ("REFUNDING", "REFUNDED")]
    assert refund.ended_at is not None
    assert open_cases() == []
    assert not Alarm.objects.filter(kind="send_refund").exists()
    assert (audit(), audit_trades(trades())) == ([], [])


def test_order_is_refunded_by_who_agreed_and_its_goods_are_for_sale_again():
    receipt = pay_order()
    pay_back(receipt)
    assert order_of(receipt).status == "REFUNDED"
    assert Event.objects.get(subject=order_of(receipt).number, to_status="REFUNDED").actor == "tom"
    product = Product.objects.get()
    assert product.stock == product.supplied


def test_order_is_not_shipped_while_it_may_have_been_paid_back():
    receipt = pay_order()
    ask(receipt)
    with pytest.raises(AllGoesBack):
        ship_order(order_of(receipt).number, actor="sue")


def test_attempt_that_took_a_wrong_amount_ends_when_that_was_paid_back():
    receipt = pay_wrong()
    pay_back(receipt)
    assert Payment.objects.get().status == "CLOSED"


def test_nobody_agrees_that_they_paid_it_back_themselves():
    receipt = pay_order()
    refund = ask(receipt)
    with pytest.raises(OwnApproval):
        approve_refund(refund.number, actor="sue")
    assert order_of(receipt).status == "READY_FOR_SHIPMENT"


def test_late_money_that_was_not_paid_back_after_all_is_still_somebodys_to_pay_out():
    reject_refund(ask(pay_late()).number, actor="tom", reason="nothing arrived")
    assert open_cases() == ["payout"]
    assert audit() == []


def test_it_is_paid_back_once():
    receipt = pay_order()
    ask(receipt)
    with pytest.raises(OverRefund):
        ask(receipt)
    assert Refund.objects.count() == 1


def test_channel_that_gives_money_back_itself_is_asked_for_a_refund():
    receipt = pay_by_wechat(make_payment(make_order()))
    with pytest.raises(ChannelRefunds, match="WeChat Pay gives money back itself"):
        ask(receipt)
    assert not Refund.objects.exists()


def test_unknown_trade_is_not_found():
    with pytest.raises(PaymentNotFound):
        ask_payback("py_UNKNOWN", reason="x", actor="sue")


def test_money_that_was_paid_back_pays_no_order_when_its_payment_appears():
    payment = apply()
    told = report(payment, paid_at=NOON)
    settle_unmatched(told, channel="boleto", source=Source.CALLBACK)
    refund = ask(Receipt.objects.get())
    settle_payment(told, channel="boleto", source=Source.QUERY)
    approve_refund(refund.number, actor="tom")
    assert Receipt.objects.get().receipt_class == ReceiptClass.SURPLUS
    assert order_of(Receipt.objects.get()).status == "UNPAID"
    assert (open_cases(), audit(), audit_trades(trades())) == ([], [], [])


def test_audit_finds_a_refund_by_hand_that_the_channel_would_have_to_have_made():
    """Its kind is what makes the difference."""
    pay_back(pay_order())
    Refund.objects.update(kind=Refund.Kind.ASKED)
    assert {found.invariant for found in audit_trades(trades())} == {"I11", "I12", "I16"}
