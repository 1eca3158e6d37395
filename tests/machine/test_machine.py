"""Any sequence of what shoppers, staff, channels, clocks and crashes do ends with every cent where the model has it.

After each step the database must equal the model and break no invariant; at the end everything heals and is compared
with the channels' own ledger. The normal run is short and always the same; a long one on fresh paths, whose failures
hypothesis prints as a list of steps: `NODROP_MACHINE=200 pytest tests/machine -n 2`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import ClassVar, TypeVar

import hypothesis.strategies as st
import pytest
from django.apps import apps
from django.db import DatabaseError, models, transaction
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import payments.models as db
from orders.errors import OutOfStock
from orders.models import Order, Product
from orders.moves import lock_order, move_order
from orders.placing import Item, place_order
from orders.statuses import OrderStatus
from payments import applying
from payments.applying import apply_for_payment
from payments.audit import audit, audit_trades
from payments.callbacks import take_callback
from payments.channels import registry
from payments.channels.base import PaymentReport
from payments.ending import cancel_order
from payments.errors import OrderIsClosed, OrderIsPaid, OverRefund, PaymentConfirming, PaymentError
from payments.querying import query_payment
from payments.refunding import approve_refund, ask_refund, reject_refund
from shop.alarms import Claim, claim_due, handle
from shop.events import record
from shop.models import Alarm, Source
from shop.webhooks.publishing import publish
from tests.emptying import empty_tables
from tests.factories import ContactFactory, make_product
from tests.machine import till, world
from tests.machine.days import DAYS
from tests.machine.till import CONSOLE, MUST_ASK, Back, Crash, Fault, Ledger, Message, Trade, Word
from tests.machine.world import World

# How many examples for each beginning, on fresh paths; 0 is the short run, which is always the same.
EXAMPLES = int(os.environ.get("NODROP_MACHINE", "0"))
UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
SHORT = settings(UNHURRIED, max_examples=3, stateful_step_count=15, database=None, phases=[Phase.generate])
LONG = settings(UNHURRIED, max_examples=max(1, EXAMPLES), stateful_step_count=50)

HOURS_S = 3600
T = TypeVar("T")
FAULTS = st.lists(st.sampled_from([*Fault, *[Fault.NONE] * 5]), max_size=2)
WHICH = st.integers(0, 5)


class Machine(RuleBasedStateMachine):
    """Rules are what happens; `WHICH` picks one of what is there."""

    ledger: ClassVar[Ledger] = Ledger()
    reached: ClassVar[Counter[str]] = Counter()
    day: ClassVar[Callable[["Machine"], None]]
    _steps = 0

    @initialize(refunds_end_at_once=st.booleans())
    def begin(self, *, refunds_end_at_once: bool) -> None:
        empty_tables()
        self.ledger.clear()
        self.ledger.refunds_end_at_once = refunds_end_at_once
        self.world = World(self.reached)
        self.unread: dict[str, int] = {}
        make_product(price=world.PRICE, stock=world.STOCK)
        self.place("Anna", 1)
        type(self).day(self)

    # ---- shoppers ----

    @precondition(lambda self: len(self.world.orders) < 4)
    @rule(buyer=st.sampled_from(["Anna", "Ben"]), quantity=st.integers(1, 2))
    def place(self, buyer: str, quantity: int) -> None:
        is_there = self.world.stock >= quantity
        try:
            order = place_order([Item("tea", quantity)], ContactFactory.create(name=buyer), again=True)
        except OutOfStock:
            assert not is_there
        else:
            self.world.place(order.number, buyer, quantity)

    @precondition(lambda self: self.world.orders)
    @rule(which=WHICH, channel=st.sampled_from(sorted(till.CLASSES)), insists=st.booleans(), faults=FAULTS)
    def apply(self, which: int, channel: str, faults: list[Fault], *, insists: bool) -> None:
        number, order = pick(list(self.world.orders.items()), which)
        refusal: PaymentError | None = None
        shown = ""
        with self._step(faults):
            try:
                applied = apply_for_payment(number, channel=channel, scene="qr", may_supersede=insists)
                shown = applied.payment.number
            except PaymentError as error:
                refusal = error
        self._hear(order)
        if isinstance(refusal, OrderIsPaid):
            assert order.status in world.PAID
        elif isinstance(refusal, OrderIsClosed):
            assert order.status == "CLOSED" or (order.was_extended and order.expires_at <= self.world.now)
        elif shown:
            payment = self.world.payments[channel, shown]
            assert (payment.order, payment.status, order.status) == (order, "PAYING", "UNPAID")
            assert not self.world.is_under_review(order)

    @precondition(lambda self: self.world.orders)
    @rule(which=WHICH, faults=FAULTS)
    def cancel(self, which: int, faults: list[Fault]) -> None:
        number, order = pick(list(self.world.orders.items()), which)
        answer = "crashed"
        with self._step(faults):
            try:
                cancel_order(number)
                answer = "closed"
            except OrderIsPaid:
                answer = "paid"
            except PaymentConfirming:
                answer = "confirming"
        self._hear(order)
        expected = self.world.end(order, "CANCELLED", self.ledger.words, crashed=answer == "crashed")
        assert answer in (expected, "crashed")

    # ---- channels ----

    @precondition(lambda self: self.ledger.trades)
    @rule(which=WHICH, amount=st.sampled_from([None] * 6 + [1, 999]), is_told=st.booleans())
    def pay(self, which: int, amount: int | None, *, is_told: bool) -> None:
        """The shopper's money arrives, or the consent to take it: in time, late, or twice."""
        trade = pick(self.ledger.trades, which)
        if trade.channel == "paypal":
            self.ledger.agree(trade)
        elif trade.status == "PAID" and trade.channel == "unionpay":
            return  # asked about a number, a channel names one trade: of the other only a statement can tell
        else:
            self.ledger.pay(trade, amount=None if trade.status == "PAID" else amount)
        if is_told and self.ledger.messages:
            self._deliver(self.ledger.messages[-1])

    @precondition(lambda self: self.ledger.messages)
    @rule(which=WHICH)
    def deliver(self, which: int) -> None:
        """Any message, in any order, any number of times."""
        self._deliver(pick(self.ledger.messages, which))

    @precondition(lambda self: self._open_backs())
    @rule(which=WHICH, status=st.sampled_from(["SUCCESS", "SUCCESS", "CLOSED", "ABNORMAL"]))
    def end_refund(self, which: int, status: str) -> None:
        trade, back = pick(self._open_backs(), which)
        self.ledger.end_refund(trade, back, status)

    @precondition(lambda self: self.ledger.messages)
    @rule(
        which=WHICH,
        what=st.sampled_from(["closed by the channel", "forged", "astray", "ours astray", "console"]),
    )
    def see_something_odd(self, which: int, what: str) -> None:
        if what == "closed by the channel":
            trade = pick(self.ledger.trades, which)
            trade.status = "CLOSED" if trade.status == "OPEN" else trade.status
        elif what == "forged":
            self._deliver(pick(self.ledger.messages, which), is_genuine=False)
        elif what == "console":
            self._refund_in_the_console(which)
        else:
            self._pay_astray(which, is_ours=what == "ours astray")

    def _pay_astray(self, which: int, *, is_ours: bool) -> None:
        """Money under a number of nobody, or under one of ours at another channel."""
        channel, number = pick(list(self.world.payments), which)
        other = "unionpay" if is_ours and channel == "wechat" else "wechat"
        number = number if is_ours else f"STRAY{len(self.ledger.messages)}"
        self.ledger.pay(self.ledger.open(other, number, world.PRICE))

    def _refund_in_the_console(self, which: int) -> None:
        paid = [trade for trade in self.ledger.trades if trade.status == "PAID" and trade.left]
        if paid:
            trade, number = pick(paid, which), f"{CONSOLE}{len(self.ledger.messages):04}"
            back = self.ledger.give_back(trade, number, trade.left if which % 2 else 1, status="PROCESSING")
            self.ledger.end_refund(trade, back, "SUCCESS")

    # ---- time, workers, crashes ----

    @rule(by_s=st.sampled_from([100, 300, 1900, 1900, 3 * HOURS_S, 25 * HOURS_S]))
    def pass_time(self, by_s: int) -> None:
        self.world.now += by_s
        self.ledger.now = self.world.now
        publish()
        age_everything(by_s)

    @rule(faults=FAULTS)
    def look(self, faults: list[Fault]) -> None:
        """A worker handles what is due, until it dies."""
        self.ledger.begin(faults)
        for _ in range(30):
            claims = claim_due(1)
            if not claims or not self._handle(claims[0]):
                return

    @precondition(lambda self: self.world.payments)
    @rule(which=WHICH, faults=FAULTS)
    def query(self, which: int, faults: list[Fault]) -> None:
        _, number = pick(list(self.world.payments), which)
        with self._step(faults):
            query_payment(number)
        self._hear()

    # ---- staff ----

    @precondition(lambda self: self.world.receipts)
    @rule(which=WHICH, what=st.sampled_from(["all", "all", "a part", "too much"]))
    def ask_refund(self, which: int, what: str) -> None:
        (_, number), receipt = pick(list(self.world.receipts.items()), which)
        wanted = {"all": receipt.left, "a part": receipt.left // 3, "too much": receipt.left + 1}
        amount = max(1, wanted[what])
        expected = self.world.ask(receipt, amount)
        if expected is None:
            with pytest.raises(OverRefund):
                ask_refund(number, amount=amount, reason="wish", actor="Ann")
        else:
            expected.number = ask_refund(number, amount=amount, reason="wish", actor="Ann").number

    @precondition(lambda self: self._waiting())
    @rule(which=WHICH, agrees=st.booleans())
    def decide(self, which: int, *, agrees: bool) -> None:
        refund = pick(self._waiting(), which)
        if agrees:
            approve_refund(refund.number, actor="Bob")
            self.reached["refund approved"] += 1
        else:
            reject_refund(refund.number, actor="Bob", reason="no")
            self.reached["refund REJECTED"] += 1
        self.world.decide(refund, agrees=agrees)

    @precondition(
        lambda self: any(order.status == "READY_FOR_SHIPMENT" for order in self.world.orders.values())
    )
    @rule(which=WHICH)
    def ship(self, which: int) -> None:
        ready = [item for item in self.world.orders.items() if item[1].status == "READY_FOR_SHIPMENT"]
        number, order = pick(ready, which)
        mine = [one for one in self.world.receipts.values() if one.order is order and one.klass == "settled"]
        try:
            with transaction.atomic():
                record([move_order(lock_order(number), OrderStatus.SHIPPED, source=Source.STAFF)])
        except DatabaseError:
            assert mine[0].left == 0, "refused though its money is kept"
            self.reached["not shipped"] += 1
        else:
            assert mine[0].left > 0, "shipped though all of it goes back"
            order.status = "SHIPPED"
            self.reached["shipped"] += 1

    # ---- what must hold ----

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        assert read_database() == describe(self.world)
        self._steps += 1
        if self._steps % 3 == 0:  # it takes as long as all the rest
            assert audit() == []
        paid = {(trade.channel, trade.channel_number, trade.amount) for trade in self.ledger.trades}
        assert set(db.Receipt.objects.values_list("channel", "channel_number", "amount")) <= paid
        assert all(trade.left >= 0 for trade in self.ledger.trades), "more went back than came in"

    def teardown(self) -> None:
        """The bad days are over: every message comes, twice, every alarm is heard, and the books are compared."""
        if not hasattr(self, "world"):
            return
        self.ledger.refunds_end_at_once = True
        for trade, back in self._open_backs():
            self.ledger.end_refund(trade, back, "SUCCESS")
        for message in [*self.ledger.messages, *self.ledger.messages]:
            self._deliver(message)
        for hours in [1] * 12 + [6] * 18:  # days in the end: what could not be closed is looked at so long
            self.pass_time(hours * HOURS_S)
            self.look([])
            if not unfinished_alarms():
                break
        assert unfinished_alarms() == []
        self.all_is_as_it_should_be()
        assert audit() == []
        if not self.world.is_disputed:
            assert audit_trades(self.ledger.as_json()) == []
            check_money(self.world, self.ledger)

    # ---- how steps are made ----

    @contextmanager
    def _step(self, faults: Sequence[Fault]) -> Iterator[None]:
        self.ledger.begin(faults)
        try:
            yield
        except Crash:
            self.reached["crashed"] += 1

    def _hear(self, order: world.Order | None = None) -> None:
        self.world.hear(self.ledger.words)
        for made in self.ledger.tries:
            assert order is not None, "only applying creates"
            self.world.try_create(order, made)

    def _handle(self, claim: Claim) -> bool:
        """One alarm; False when the worker died of it."""
        before, has_worked = len(self.ledger.words), False
        message = self._find_message(claim)
        with suppress(Crash):
            assert handle(claim), f"the handler of {claim.kind} failed"
            has_worked = True
        words = self.ledger.words[before:]
        self.world.hear(words)
        if claim.kind == "expire_order":
            self._expire(claim.subject, words, crashed=not has_worked)
        elif message and self._is_read(message, has_worked=has_worked):
            del self.unread[message.id]
        self.reached["crashed"] += not has_worked
        return has_worked

    def _is_read(self, message: Message, *, has_worked: bool) -> bool:
        """Whether a message that settled nothing when it came has found its home now."""
        is_old = self.unread[message.id] < self.world.now
        return is_old and has_worked and self.world.find_a_home(message.word)

    def _expire(self, number: str, words: Sequence[Word], *, crashed: bool) -> None:
        order = self.world.orders[number]
        if order.expires_at <= self.world.now:
            self.world.end(order, "EXPIRED", words, crashed=crashed)

    def _find_message(self, claim: Claim) -> Message | None:
        if claim.kind != "take_callback":
            return None
        wanted = db.Callback.objects.values_list("message_id", flat=True).get(pk=claim.subject)
        return next((one for one in self.ledger.messages if one.id == wanted and wanted in self.unread), None)

    def _deliver(self, message: Message, *, is_genuine: bool = True) -> None:
        self.ledger.begin()
        reply = take_callback(message.word.channel, message.seal(is_genuine=is_genuine))
        assert reply.status == (204 if is_genuine else 401)
        self.reached["forged"] += not is_genuine
        if not is_genuine:
            return
        if not self._is_ours(message.word):
            self.unread.setdefault(message.id, self.world.now)
        elif message.word.channel not in MUST_ASK:
            self.world.hear([message.word])

    def _is_ours(self, word: Word) -> bool:
        if isinstance(word.report, PaymentReport):
            return (word.channel, word.report.number) in self.world.payments
        return not word.report.number.startswith(CONSOLE)

    def _open_backs(self) -> list[tuple[Trade, Back]]:
        return [
            (trade, back)
            for trade in self.ledger.trades
            for back in trade.refunds
            if back.status in ("PROCESSING", "ABNORMAL")
        ]

    def _waiting(self) -> list[world.Refund]:
        refunds = (refund for receipt in self.world.receipts.values() for refund in receipt.refunds)
        return [refund for refund in refunds if refund.status == "PENDING_APPROVAL"]


def pick(things: Sequence[T], which: int) -> T:
    return things[which % len(things)]


# ---- both worlds in the same words -------------------------------------------------------------------------------


def describe(model: World) -> dict[str, object]:
    return {
        "stock": model.stock,
        "orders": {number: order.status for number, order in model.orders.items()},
        "payments": {number: payment.status for (_, number), payment in model.payments.items()},
        "receipts": {number: (one.klass, one.amount) for (_, number), one in model.receipts.items()},
        "refunds": sorted(
            (number, refund.status, refund.amount)
            for (_, number), receipt in model.receipts.items()
            for refund in receipt.refunds
        ),
    }


def read_database() -> dict[str, object]:
    receipts = db.Receipt.objects.values_list("channel_number", "receipt_class", "amount")
    return {
        "stock": Product.objects.get().stock,
        "orders": dict(Order.objects.values_list("number", "status")),
        "payments": dict(db.Payment.objects.values_list("number", "status")),
        "receipts": {number: (klass, amount) for number, klass, amount in receipts},
        "refunds": sorted(db.Refund.objects.values_list("receipt__channel_number", "status", "amount")),
    }


def check_money(model: World, ledger: Ledger) -> None:
    """At rest every trade has its receipt, and what the channels keep for an order is its price, less what went back."""
    paid = {(trade.channel, trade.channel_number): trade for trade in ledger.trades if trade.status == "PAID"}
    assert paid.keys() == model.receipts.keys()
    for order in model.orders.values():
        mine = {key: one for key, one in model.receipts.items() if one.order is order}
        if not any(one.waits_for_a_person for one in mine.values()):
            owed = sum(one.kept for one in mine.values() if one.klass == "settled")
            assert sum(paid[key].kept for key in mine) == owed


def unfinished_alarms() -> list[tuple[str, str]]:
    """What is still to do. Money of a wrong amount keeps its payment and order waiting until a person has decided."""
    asked = db.Case.objects.filter(kind="mismatch", resolved_at=None).values("subject")
    wrong = db.Receipt.objects.filter(channel_number__in=asked)
    rest = Alarm.objects.exclude(kind="query_payment", subject__in=wrong.values("number"))
    reviewed = Order.objects.filter(receipts__in=wrong).values("number")
    return list(rest.exclude(kind="expire_order", subject__in=reviewed).values_list("kind", "subject"))


# ---- the clock, and a fresh start --------------------------------------------------------------------------------

TABLES = [
    model
    for name in ("shop", "orders", "payments", "django_q")
    for model in apps.get_app_config(name).get_models()
]


def age_everything(by_s: int) -> None:
    """Time passes: everything lies further back. History is append-only and keeps its own."""
    for model in TABLES:
        times = [
            field.name
            for field in model._meta.fields
            if isinstance(field, models.DateTimeField) and field.name != "paid_at"
        ]
        if times and model._meta.label not in ("shop.Event", "shop.BusinessEvent", "django_q.Schedule"):
            ago = {name: models.F(name) - timedelta(seconds=by_s) for name in times}
            model._default_manager.update(**ago)


# ---- the run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(registry, "CLASSES", till.CLASSES)
    monkeypatch.setattr(applying, "WAIT_FOR_ACTION_S", 0)  # nobody else is making the call
    settings.CHANNELS = {name: {"LEDGER": Machine.ledger} for name in till.CLASSES}
    settings.ORDER_LIFETIME_S = world.LIFETIME_S
    settings.REFUND_APPROVAL_ABOVE = world.APPROVAL_ABOVE


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.__name__)
def test_every_cent_has_a_home_whatever_happens_after(channels, day):
    machine = type("Machine", (Machine,), {"day": day, "reached": Counter()})
    if not EXAMPLES:
        seed(list(DAYS).index(day))(machine)
    run_state_machine_as_test(machine, settings=LONG if EXAMPLES else SHORT)
    assert DAYS[day] - machine.reached.keys() == set(), "the run never came to these, so it proves nothing"
