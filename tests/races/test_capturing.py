"""Capturing against everybody who would end the attempt: the money is taken for an order that waits for it, or not at all."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orders.models import Order
from orders.moves import EXPIRE_ORDER
from payments.applying import Applied, apply_for_payment
from payments.ending import cancel_order
from payments.errors import OrderIsClosed, OrderIsPaid, PaymentConfirming
from payments.models import Payment
from payments.moves import CAPTURE_PAYMENT
from payments.querying import query_payment
from payments.sandbox.keys import Keyring
from payments.sandbox.wechat_seals import WeChatKeys
from shop.alarms import handle_now
from tests.factories import make_order
from tests.people import MARIA
from tests.races.racing import patiently
from tests.races.world import CLOSED, PAID, World
from tests.redis_states import whatever_redis_does
from tests.sandbox_process import SandboxProcess
from tests.sweep.world import Mailbox

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]

# The channel is never told that we do not want the money: it has nothing to close.
GIVEN_UP = replace(CLOSED, trades=("OPEN",))


class PayPalWorld(World):
    """Orders in a currency that PayPal and a boleto both take; PayPal's messages are all lost."""

    def place(self, **product: Any) -> Order:
        return make_order(sku=self.new_sku(), currency="BRL", **product)

    def apply(self, order: Order, **more: Any) -> Applied:
        return apply_for_payment(order.number, channel="paypal", scene="page", **more)

    def place_agreed(self) -> tuple[Order, Payment]:
        """An order whose shopper has agreed to pay it, of which we have not heard."""
        order = self.place()
        payment = self.apply(order).payment
        self.sandbox.pay(payment.number, channel="paypal")
        return order, payment


@pytest.fixture
def world(every_channel: SandboxProcess, settings: Any, key_dir: Path) -> Any:
    mailbox = Mailbox()
    every_channel.set_webhooks(paypal=f"{mailbox.url}/notify/paypal/", boleto=f"{mailbox.url}/notify/boleto/")
    settings.PUBLIC_URL = mailbox.url
    yield PayPalWorld(every_channel, mailbox, WeChatKeys(Keyring(key_dir)))
    mailbox.close()


def was_paid(payment: Payment) -> bool:
    payment.refresh_from_db()
    return payment.status == "PAID"


def test_consent_that_five_hear_of_at_once_is_captured_once(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        race(
            *[partial(query_payment, payment.number)] * 4,
            partial(handle_now, CAPTURE_PAYMENT, payment.number),
        )
        world.check()
        assert world.look(order) == PAID


def test_capture_against_cancel_pays_the_order_or_takes_nothing(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        _, told = race(partial(query_payment, payment.number), partial(cancel_order, order.number))
        is_paid = was_paid(payment)
        assert isinstance(told, (OrderIsPaid, PaymentConfirming)) if is_paid else told is None
        race.ended("paid" if is_paid else "closed", of=("paid", "closed"))
        world.check()
        assert world.look(order) == (PAID if is_paid else GIVEN_UP)


def test_capture_against_expiry_pays_the_order_that_was_agreed_to_in_time(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        world.run_out(order)
        race(partial(query_payment, payment.number), partial(handle_now, EXPIRE_ORDER, order.number))
        world.check()
        assert world.look(order) == PAID


def test_capture_against_another_way_to_pay_leaves_one_that_can_be_paid_or_is(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        voucher = partial(apply_for_payment, order.number, channel="boleto", scene="voucher", payer=MARIA)
        _, told = race(partial(query_payment, payment.number), voucher)
        is_paid = was_paid(payment)
        assert isinstance(told, (OrderIsPaid, PaymentConfirming) if is_paid else Applied)
        race.ended("paid" if is_paid else "voucher", of=("paid", "voucher"))
        world.check()
        look = world.look(order)
        if is_paid:
            assert look == PAID
        else:
            assert (look.order, look.payments, look.kept) == ("UNPAID", ("CLOSED", "PAYING"), 0)


def test_capture_against_applying_in_the_same_way_again_is_one_payment(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        race(partial(query_payment, payment.number), partial(world.apply, order))
        world.check()
        assert world.look(order) == PAID


def test_consent_against_two_who_give_up_is_never_money_for_a_closed_order(world, race):
    for _ in race.rounds(usually=2):
        order, payment = world.place_agreed()
        give_up = patiently(partial(cancel_order, order.number))
        told = race(
            partial(query_payment, payment.number), partial(_cancel, give_up), partial(_cancel, give_up)
        )
        is_paid = was_paid(payment)
        race.ended("paid" if is_paid else "closed", of=("paid", "closed"))
        world.check()
        assert told[1:] == ["paid" if is_paid else "closed"] * 2
        assert world.look(order) == (PAID if is_paid else GIVEN_UP)


def _cancel(give_up: Any) -> str:
    try:
        give_up()
    except OrderIsPaid:
        return "paid"
    except OrderIsClosed:
        return "closed"
    return "closed"
