"""The model: what each order owes, holds and should be, by the rules of the contract and the design alone.

It is told what the shopper and the staff did and hears every word of a channel that arrived; time is a number of
seconds. It knows no alarm, no lock, no supersession and no retry: none of them may change where money ends.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from payments.channels.base import Outcome, PaymentReport, RefundReport
from tests.machine.till import CONSOLE, MARGIN_S, MUST_ASK, Fault, Try, Word

PRICE, STOCK = 100, 2
LIFETIME_S = 1850  # between two ticks of the clock, so that nothing happens exactly on time
TICK_S = 100
APPROVAL_ABOVE = 60
PAID = {"READY_FOR_SHIPMENT", "SHIPPED", "REFUNDED"}
RESERVING = {"PENDING_APPROVAL", "REFUNDING", "REFUNDED"}


@dataclass
class Order:
    buyer: str
    quantity: int
    expires_at: int
    status: str = "UNPAID"
    reason: str = ""
    closed_at: int = 0
    was_extended: bool = False

    @property
    def amount(self) -> int:
        return PRICE * self.quantity


@dataclass
class Payment:
    order: Order
    dead_at: int
    status: str = "PAYING"
    maybe_sent: bool = False
    # Its money is being taken, and we do not know whether it was.
    is_being_captured: bool = False


@dataclass
class Refund:
    amount: int
    status: str
    number: str = ""
    # Asked for by one person, and seen by no second one.
    is_alone: bool = False


@dataclass
class Receipt:
    klass: str
    amount: int
    number: str
    order: Order | None = None
    refunds: list[Refund] = field(default_factory=list)

    @property
    def waits_for_a_person(self) -> bool:
        is_stuck = any(refund.status == "FAILED" for refund in self.refunds) and self.kept > 0
        return self.klass == "mismatch" or (self.klass in ("surplus", "late") and is_stuck)

    @property
    def left(self) -> int:
        return self.amount - sum(refund.amount for refund in self.refunds if refund.status in RESERVING)

    @property
    def kept(self) -> int:
        return self.amount - sum(refund.amount for refund in self.refunds if refund.status == "REFUNDED")


class World:
    """Everything that should be, and in `reached` how often each kind of end came about."""

    def __init__(self, reached: Counter[str]) -> None:
        self.now, self.stock, self.reached = 0, STOCK, reached
        self.orders: dict[str, Order] = {}
        self.payments: dict[tuple[str, str], Payment] = {}
        self.receipts: dict[tuple[str, str], Receipt] = {}
        # In a console somebody gave back what we never knew of: a person has it.
        self.is_disputed = False

    # ---- orders ----

    def place(self, number: str, buyer: str, quantity: int) -> None:
        self.orders[number] = Order(buyer, quantity, self.now + LIFETIME_S)
        self.stock -= quantity

    def end(self, order: Order, reason: str, words: Sequence[Word], *, crashed: bool) -> str:
        """Close at the channel, ask, then decide: what a shopper who cancels is told."""
        if order.status != "UNPAID":
            return "paid" if order.status in PAID else "closed"
        last = {(word.channel, word.report.number): word.report.outcome for word in words}
        is_undecided = Outcome.UNKNOWN in last.values() or any(
            self.payments[key].is_being_captured for key in last
        )
        if crashed or is_undecided or self.is_under_review(order):
            self.reached["not closed on a guess"] += 1
            return "confirming"
        order.status, order.reason, order.closed_at = "CLOSED", reason, self.now
        self.stock += order.quantity
        self.reached[f"order {reason.lower()}"] += 1
        return "closed"

    def is_under_review(self, order: Order) -> bool:
        mine = (receipt for receipt in self.receipts.values() if receipt.order is order)
        return any(receipt.klass == "mismatch" and receipt.kept for receipt in mine)

    # ---- payments ----

    def try_create(self, order: Order, made: Try) -> None:
        """A create call under a number that was committed before it."""
        key = (made.channel, made.number)
        if key not in self.payments:
            if not order.was_extended and order.expires_at - self.now <= 120:
                order.expires_at, order.was_extended = max(order.expires_at, self.now) + 300, True
            self.payments[key] = Payment(order, order.expires_at + MARGIN_S)
        payment = self.payments[key]
        if made.fault is Fault.REFUSED and not payment.maybe_sent and payment.status == "PAYING":
            payment.status = "FAILED"
            self.reached["payment failed"] += 1
        payment.maybe_sent |= made.fault is not Fault.UNREACHABLE

    def hear(self, words: Sequence[Word]) -> None:
        """These words of the channels have arrived and are believed."""
        for word, then in zip_longest(words, words[1:]):
            if isinstance(word.report, RefundReport):
                self._hear_refund(word, word.report)
            elif word.operation == "begin":
                self._begin_capture(self.payments[word.channel, word.report.number])
            elif word.operation != "create" and not _is_taken_up(word, then):
                self._hear_payment(self.payments[word.channel, word.report.number], word, word.report)

    def _begin_capture(self, payment: Payment) -> None:
        order = payment.order
        is_wanted = (order.status, payment.status) == ("UNPAID", "PAYING") and not self.is_under_review(order)
        assert is_wanted, "money is taken that nobody waits for"
        payment.is_being_captured = True
        self.reached["capture begun"] += 1

    def _hear_payment(self, payment: Payment, word: Word, report: PaymentReport) -> None:
        if word.operation == "capture" and report.outcome is not Outcome.UNKNOWN:
            payment.is_being_captured = False
        # Then the answer to a close, which is only our own promise, comes too late.
        is_believed = not (payment.is_being_captured and word.operation == "close")
        if report.outcome is Outcome.SUCCEEDED:
            self._take_money(payment, word.channel, report)
        elif payment.status != "PAYING":
            return
        elif report.outcome is Outcome.REFUSED:
            self._end_payment(payment, "FAILED", "payment failed")
        elif report.outcome is Outcome.CLOSED and is_believed:
            self._end_payment(payment, "CLOSED", "payment closed")
        elif self._is_over(payment, word):
            self._end_payment(payment, "CLOSED", "payment expired")

    def _is_over(self, payment: Payment, word: Word) -> bool:
        """Whether its time has passed and the channel, asked after that, knows of no money."""
        if word.operation != "query" or self.now < payment.dead_at:
            return False
        if not payment.is_being_captured or word.report.outcome is Outcome.NOT_FOUND:
            return word.report.outcome is not Outcome.UNKNOWN
        # A consent that can be used still is used, as long as the order waits for this attempt.
        is_latest = [one for one in self.payments.values() if one.order is payment.order][-1] is payment
        is_wanted = payment.order.status == "UNPAID" and is_latest
        return word.report.outcome is Outcome.APPROVED and not is_wanted

    def _end_payment(self, payment: Payment, status: str, how: str) -> None:
        payment.status, payment.is_being_captured = status, False
        self.reached[how] += 1

    def _take_money(self, payment: Payment, channel: str, report: PaymentReport) -> None:
        key, order = (channel, report.channel_number), payment.order
        if key in self.receipts:
            return
        klass = "mismatch" if report.amount_minor != order.amount else self._use_of(order)
        receipt = Receipt(klass, report.amount_minor or 0, report.number, order)
        self.receipts[key] = receipt
        self.reached[klass] += 1
        if klass == "mismatch":
            return
        self.reached[f"{payment.status} payment paid"] += 1
        payment.status, payment.is_being_captured = "PAID", False
        if klass == "settled":
            order.status = "READY_FOR_SHIPMENT"
        else:
            receipt.refunds.append(Refund(receipt.amount, "REFUNDING"))

    def _use_of(self, order: Order) -> str:
        if order.status in PAID:
            return "surplus"
        if order.status == "UNPAID":
            return "settled"
        hindrance = self._hindrance(order)
        if hindrance:
            self.reached[f"late: {hindrance}"] += 1
            return "late"
        self.stock -= order.quantity
        self.reached["reopened"] += 1
        return "settled"

    def _hindrance(self, order: Order) -> str:
        """Why a closed order is not opened again for money that came late."""
        if order.reason != "EXPIRED":
            return "cancelled"
        if self.now - order.closed_at >= 24 * 3600:
            return "long ago"
        if self._was_bought_again(order):
            return "bought again"
        return "sold out" if self.stock < order.quantity else ""

    def _was_bought_again(self, order: Order) -> bool:
        later = list(self.orders.values())
        later = later[later.index(order) + 1 :]
        same = [one for one in later if (one.buyer, one.quantity) == (order.buyer, order.quantity)]
        return any(one.status in PAID for one in same)

    def find_a_home(self, word: Word) -> bool:
        """A minute has passed over a message that names nothing of ours. False: it waits until that changes."""
        report = word.report
        if isinstance(report, RefundReport):
            return self._find_home_of_refund(word, report)
        if word.channel in MUST_ASK:  # and there is nothing to ask about
            self.is_disputed = True
        elif (word.channel, report.channel_number) not in self.receipts:
            receipt = Receipt("unmatched", report.amount_minor or 0, report.number)
            self.receipts[word.channel, report.channel_number] = receipt
            self.reached["unmatched"] += 1
        return True

    # ---- refunds ----

    def _find_home_of_refund(self, word: Word, report: RefundReport) -> bool:
        receipt = self.receipts.get((word.channel, word.trade))
        if receipt is None:
            is_ours = (word.channel, report.payment_number) in self.payments
            self.is_disputed |= not is_ours
            return not is_ours
        if word.channel in MUST_ASK:  # the answer has said it, or will
            return any(refund.number == report.number for refund in receipt.refunds)
        return self._take_console_refund(receipt, report)

    def _take_console_refund(self, receipt: Receipt, report: RefundReport) -> bool:
        amount = report.amount_minor or 0
        waiting = [refund for refund in receipt.refunds if refund.status == "PENDING_APPROVAL"]
        if amount > receipt.left + sum(refund.amount for refund in waiting):
            self.reached["console refund waited"] += 1
            return False
        while amount > receipt.left:
            waiting.pop().status = "REJECTED"
        receipt.refunds.append(Refund(amount, "REFUNDED", report.number))
        self._count_what_is_left(receipt)
        self.reached["console refund"] += 1
        return True

    def ask(self, receipt: Receipt, amount: int) -> Refund | None:
        """None: that is more than what is left."""
        if amount > receipt.left:
            self.reached["over refund"] += 1
            return None
        alone = [
            refund.amount for refund in receipt.refunds if refund.is_alone and refund.status in RESERVING
        ]
        needs_two = amount + sum(alone) > APPROVAL_ABOVE
        refund = Refund(amount, "PENDING_APPROVAL" if needs_two else "REFUNDING", is_alone=True)
        receipt.refunds.append(refund)
        return refund

    def decide(self, refund: Refund, *, agrees: bool) -> None:
        """A second person has looked at it."""
        refund.status = "REFUNDING" if agrees else "REJECTED"
        refund.is_alone &= not agrees
        [receipt] = [
            one for one in self.receipts.values() if any(refund is its_own for its_own in one.refunds)
        ]
        if not agrees and receipt.klass in ("surplus", "late"):
            receipt.refunds.append(Refund(receipt.left, "REFUNDING"))

    def _hear_refund(self, word: Word, report: RefundReport) -> None:
        receipt = self.receipts.get((word.channel, word.trade))
        if receipt is None:
            return
        known = [refund for refund in receipt.refunds if refund.number == report.number]
        if report.number.startswith(CONSOLE) and not known:
            self._take_console_refund(receipt, report)
            return
        unnamed = known or [refund for refund in receipt.refunds if not refund.number]
        if not unnamed or unnamed[0].status != "REFUNDING":
            return
        refund, refund.number = unnamed[0], report.number
        if report.outcome is Outcome.SUCCEEDED:
            refund.status = "REFUNDED"
            self.reached["refund REFUNDED"] += 1
            self._count_what_is_left(receipt)
        elif report.outcome in (Outcome.REFUSED, Outcome.CLOSED):
            refund.status = "FAILED"
            self.reached["refund FAILED"] += 1

    def _count_what_is_left(self, receipt: Receipt) -> None:
        order = receipt.order
        if receipt.kept or order is None:
            return
        if receipt.klass == "mismatch":
            [payment] = [one for (_, number), one in self.payments.items() if number == receipt.number]
            payment.status = "CLOSED" if payment.status == "PAYING" else payment.status
        if receipt.klass != "settled":
            return
        if order.status == "READY_FOR_SHIPMENT":
            self.stock += order.quantity
        order.status = "REFUNDED"
        self.reached["order refunded"] += 1


def _is_taken_up(word: Word, then: Word | None) -> bool:
    """Whether it was a consent, and the money is taken at once."""
    is_next = then is not None and (then.operation, then.report.number) == ("begin", word.report.number)
    return is_next and word.report.outcome is Outcome.APPROVED
