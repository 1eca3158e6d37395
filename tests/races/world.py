"""The shop in which races are run: every round has its own order, product and codes, and the sandbox plays the channel.

Notifications never come by themselves. They are caught, and the parties of a race bring them to our door.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from orders.models import Order, OrderLine
from payments.applying import Applied, apply_for_payment
from payments.audit import audit, audit_trades
from payments.callbacks import TAKE_CALLBACK, take_callback
from payments.channels.base import RawCallback
from payments.models import Callback, Payment, Receipt, Refund
from payments.moves import SEND_REFUND
from payments.querying import close_payment
from payments.refunding import ask_refund
from payments.sandbox.wechat_seals import WeChatKeys
from shop.alarms import claim_due, handle, handle_now
from shop.models import Alarm, Event
from tests.factories import make_order
from tests.sandbox_process import SandboxProcess
from tests.sweep.world import RESTING, Mailbox, Message
from tests.waiting import wait_until

# The tea of `tests.factories`.
PRICE, STOCK = 12900, 10
SILENT = {"notify": {"drop": 1.0}}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What has become of one order: by default paid once and kept. Money in minor units, `trades` at the channel."""

    order: str = "READY_FOR_SHIPMENT"
    payments: tuple[str, ...] = ("PAID",)
    receipts: tuple[str, ...] = ("settled",)
    refunds: tuple[str, ...] = ()
    trades: tuple[str, ...] = ("PAID",)
    kept: int = PRICE
    stock: int = STOCK - 1


PAID = Look()
CLOSED = Look(order="CLOSED", payments=("CLOSED",), receipts=(), trades=("CLOSED",), kept=0, stock=STOCK)
PAID_TWICE = Look(receipts=("settled", "surplus"), refunds=("REFUNDED",), trades=("PAID", "PAID"))
LATE = Look(order="CLOSED", receipts=("late",), refunds=("REFUNDED",), kept=0, stock=STOCK)


class World:
    """One test's shop. Every round begins with `place`, and ends with `check`."""

    def __init__(self, sandbox: SandboxProcess, mailbox: Mailbox, keys: WeChatKeys) -> None:
        self.sandbox, self.mailbox, self._keys = sandbox, mailbox, keys
        self._products = 0
        self._trades: dict[str, list[dict[str, Any]]] = {}
        self.let_channel_fail()

    def let_channel_fail(self, *script: dict[str, Any]) -> None:
        """What goes wrong at the channel from now on; nothing, without a script."""
        self.sandbox.set_faults(SILENT | {"script": list(script)})

    # ---- the shopper ----

    def new_sku(self) -> str:
        """The name of a product that is not there yet."""
        self._products += 1
        return f"tea{self._products}"

    def place(self, **product: Any) -> Order:
        """A new order of one unit of a new product: ten teas, unless it is `product`."""
        return make_order(sku=self.new_sku(), **product)

    def apply(self, order: Order, **more: Any) -> Applied:
        """Get a code to pay with, as the doors do, who have just read the order."""
        version = Order.objects.values_list("version", flat=True).get(pk=order.pk)
        return apply_for_payment(order.number, channel="wechat", scene="qr", version=version, **more)

    def apply_twice(self, order: Order) -> tuple[Payment, Payment]:
        """Two codes that can be paid, the first one superseded because nobody could close it."""
        first = self.apply(order).payment
        self.leave_undecided(first)
        second = self.apply(order, may_supersede=True).payment
        self.let_channel_fail()
        return first, second

    def pay(self, *payments: Payment) -> list[Message]:
        """Pay in the wallet, also what is closed or paid already. The channel's messages, not delivered yet."""
        for payment in payments:
            self.sandbox.pay(payment.number, force=True)
        numbers = dict.fromkeys(payment.number for payment in payments)
        return [message for number in numbers for message in self.mailbox.catch(self.sandbox, number)]

    def try_to_pay(self, payment: Payment) -> None:
        """Pay in the wallet unless the channel says that it is too late, and bring its message at once."""
        wallet = f"{self.sandbox.url}/_sandbox/trades/wechat/{payment.number}/pay"
        if self.sandbox.http.post(wallet, json={}, timeout=10).ok:
            [message] = self.mailbox.catch(self.sandbox, payment.number)
            self.deliver(message)

    def is_open(self, payment: Payment) -> bool:
        """Whether the channel would take money for it."""
        return any(trade["status"] == "OPEN" for trade in self.sandbox.trades(payment.number))

    def place_and_pay(self, **product: Any) -> tuple[Order, Payment, Message]:
        """An order that is paid at the channel, of which we have not heard."""
        order = self.place(**product)
        payment = self.apply(order).payment
        [message] = self.pay(payment)
        return order, payment, message

    def place_settled(self, **product: Any) -> tuple[Order, Payment]:
        """A paid order, and we know it."""
        order, payment, message = self.place_and_pay(**product)
        self.deliver(message)
        self.come_to_rest()
        return order, payment

    def place_and_pay_closed(self, **product: Any) -> tuple[Order, Payment, Message]:
        """An unpaid order whose only code was closed, and paid all the same: no call to the channel stops this money."""
        order = self.place(**product)
        payment = self.apply(order).payment
        close_payment(payment)
        [message] = self.pay(payment)
        return order, payment, message

    @contextmanager
    def unknown(self, payment: Payment) -> Iterator[None]:
        """In the block the payment's row is not there yet."""
        Payment.objects.filter(pk=payment.pk).update(number="PNOTYETCOMMITTED00000000")
        yield
        Payment.objects.filter(pk=payment.pk).update(number=payment.number)

    def hear_too_early(self, payment: Payment, message: Message) -> Callback:
        """The payment's message comes before its row is there. What is kept of it."""
        with self.unknown(payment):
            self.deliver(message)
        return Callback.objects.get(message_id=message.id)

    def tell_of_strange_money(self, payment: Payment, message: Message) -> Receipt:
        """The same, and the row is not there for so long that a person is told."""
        kept = self.hear_too_early(payment, message)
        Callback.objects.filter(pk=kept.pk).update(received_at=Now() - timedelta(minutes=2))
        with self.unknown(payment):
            handle_now(TAKE_CALLBACK, str(kept.pk))
        return Receipt.objects.get(number=payment.number)

    def place_with_refund_at_channel(self) -> tuple[Order, Refund, Message]:
        """A refund of all the money has been made, of which we have not heard; and the channel's message about it."""
        order, payment = self.place_settled()
        refund = ask_refund(payment.number, amount=payment.amount, reason="size", actor="amy")
        handle_now(SEND_REFUND, refund.number)
        wait_until(lambda: self.sandbox.trades(payment.number)[0]["refunds"][0]["status"] == "SUCCESS")
        [message] = self.mailbox.catch(self.sandbox, payment.number, refund.number)
        return order, refund, message

    def leave_undecided(self, payment: Payment) -> None:
        """Its close has had no answer for minutes, so that its shopper may choose to go on without one."""
        long_ago = Now() - timedelta(minutes=2)
        Payment.objects.filter(pk=payment.pk).update(is_unsure=True, close_unanswered_since=long_ago)
        self.let_channel_fail(
            {"channel": "wechat", "operation": "close", "when": "before", "what": "status", "value": 500}
            | {"times": 1000}
        )

    # ---- time and the healers ----

    def run_out(self, order: Order) -> None:
        """The order's time was over a second ago."""
        Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))

    def deliver(self, message: Message) -> int:
        """Bring a message to our door. The status that it is answered with."""
        return take_callback("wechat", RawCallback(headers=message.headers, body=message.body)).status

    def rewrite(self, message: Message) -> Message:
        """The same news in another message of the channel, with an id and a signature of its own."""
        body = json.dumps(json.loads(message.body) | {"id": str(uuid.uuid4())}).encode()
        seal = {name.lower(): value for name, value in self._keys.seal(body).items()}
        return Message(dict(message.headers) | seal, body)

    def come_to_rest(self) -> None:
        """Do all that waits for nobody, again and again."""
        wait_until(self._has_come_to_rest, within_s=60, every_s=0.01)

    def _has_come_to_rest(self) -> bool:
        unfinished = Alarm.objects.exclude(kind__in=RESTING)
        unfinished.update(due_at=Now())
        for claim in claim_due(100):
            assert handle(claim), f"the handler of {claim} failed"
        return not unfinished.exists()

    # ---- how it ended ----

    def look(self, order: Order) -> Look:
        """What our tables and the channel say about the order."""
        payments = Payment.objects.filter(order=order)
        trades = self._read_trades(payments)
        paid = sum(trade["amount"] for trade in trades if trade["status"] == "PAID")
        back = [made for trade in trades for made in trade["refunds"] if made["status"] == "SUCCESS"]
        refunds = Refund.objects.filter(receipt__order=order)
        return Look(
            order=Order.objects.get(pk=order.pk).status,
            payments=_sorted(payments, "status"),
            receipts=_sorted(Receipt.objects.filter(order=order), "receipt_class"),
            refunds=_sorted(refunds, "status"),
            trades=tuple(sorted(trade["status"] for trade in trades)),
            kept=paid - sum(made["amount"] for made in back),
            stock=OrderLine.objects.select_related("product").get(order=order).product.stock,
        )

    def mover(self, moved: Payment | Refund) -> str:
        """By which way the news came that ended a payment or a refund well."""
        return Event.objects.get(subject=moved.number, to_status__in=("PAID", "REFUNDED")).source

    def trade_of(self, message: Message) -> str:
        """The channel's number of the trade that a message tells of."""
        report: dict[str, Any] = Callback.objects.get(message_id=message.id).report
        return str(report["channel_number"])

    def check(self) -> None:
        """At rest, every promise about money holds, by our own tables and against the channel's."""
        self.come_to_rest()
        self._read_trades(Payment.objects.exclude(number__in=self._trades))
        trades = [trade for found in self._trades.values() for trade in found]
        violations = [*audit(), *audit_trades(trades)]
        assert not violations, violations

    def _read_trades(self, payments: Any) -> list[dict[str, Any]]:
        now = {number: self.sandbox.trades(number) for number in payments.values_list("number", flat=True)}
        self._trades |= now
        return [trade for found in now.values() for trade in found]


def _sorted(rows: Any, column: str) -> tuple[str, ...]:
    return tuple(sorted(rows.values_list(column, flat=True)))
