"""The flows that are swept. Each says how it begins, what runs, who may interfere, and in words how it must end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from orders.models import Order
from payments.callbacks import replay_callback
from payments.errors import OverRefund, RefundIsDecided
from payments.models import Callback as KeptCallback
from payments.models import Payment, Refund
from payments.refunding import approve_refund, ask_refund
from payments.scanner import scan_payments
from shop.checkout.cart import read_cart
from shop.models import IdempotencyKey
from tests.factories import make_product
from tests.sweep.world import KEY, World
from tests.waiting import wait_until

PRICE = 12900
PART = 900
ABOVE_LIMIT = 200_000  # a refund of so much needs a second person


def paid(order: str = "READY_FOR_SHIPMENT", **changed: Any) -> dict[str, Any]:
    """How a world looks at its end: paid once, settled and told so, unless something is `changed`."""
    settled = {
        "orders": [order],
        "live": 0,
        "payable": 0,
        "receipts": ["settled"],
        "refunds": [],
        "refunds_at_channel": 0,
        "kept_by_channel": PRICE,
        "stock": 9,
        "is_mailed": True,
        "cases": [],
    }
    return settled | changed


def unpaid(*, live: int = 0, payable: int | None = None) -> dict[str, Any]:
    """An order without money; how many codes we offer, and how many the channel would still take money for."""
    at_channel = live if payable is None else payable
    return paid("UNPAID", live=live, payable=at_channel, receipts=[], kept_by_channel=0, is_mailed=False)


def closed(*, payable: int = 0) -> dict[str, Any]:
    """An order that was given up, its goods back on the shelf."""
    return unpaid(payable=payable) | {"orders": ["CLOSED"], "stock": 10}


def given_back(order: str, *receipts: str, **changed: Any) -> dict[str, Any]:
    """One refund was made, at the channel and here."""
    back = {"receipts": list(receipts), "refunds": ["REFUNDED"], "refunds_at_channel": 1}
    return paid(order, **{**back, **changed})


SETTLED = paid()
PAID_TWICE = given_back("READY_FOR_SHIPMENT", "settled", "surplus")
CLOSED = closed()
LATE = given_back("CLOSED", "late", kept_by_channel=0, stock=10, is_mailed=False)
REFUNDED = given_back("REFUNDED", "settled", kept_by_channel=0, stock=10)
# Given back before the receipt was mailed: then nobody is thanked any more.
REFUNDED_SOON = REFUNDED | {"is_mailed": False}


class Flow:
    """Base of all. The docstring of a flow is what is expected of it, and `ends` the looks that fulfil it."""

    rivals: Sequence[str] = ["same", "alarms"]
    ends: Sequence[dict[str, Any]] = [SETTLED]
    # And how it may end besides when the other side was out of reach at the moment.
    ends_out_of_reach: Sequence[dict[str, Any]] = []
    # Whether the channel's callbacks are all lost, for ever.
    is_unheard: bool = False

    @property
    def name(self) -> str:
        return type(self).__name__

    def prepare(self, world: World) -> None:
        """Bring the world to where the flow begins."""

    def run(self, world: World) -> None:
        """What is killed, paused or cut off."""
        raise NotImplementedError

    def again(self, world: World) -> None:
        """What its client does after silence. Nothing: alarms, and a channel that was not acknowledged, come anyway."""

    def judge_repeat(self, world: World) -> Sequence[str]:
        """When all is over its client may come once more, which changes nothing. Returns what is wrong with the answer."""
        return ()


# Who may run while the flow sleeps.
RIVALS: dict[str, Callable[[Flow, World], Any]] = {
    "same": lambda flow, world: flow.run(world),
    "alarms": lambda _, world: scan_payments(),
    "callback": lambda _, world: [world.deliver(message) for message in world.messages],
    "query": lambda _, world: world.query(),
    "apply": lambda _, world: world.apply(),
    "cancel": lambda _, world: world.cancel(),
    "expiry": lambda _, world: _expire(world),
    "payer": lambda _, world: world.pay_oldest(),
    "keyed": lambda _, world: world.order_tea(**KEY),
    "keyless": lambda _, world: world.order_tea(),
}


def _expire(world: World) -> None:
    world.expire()
    scan_payments()


def judge(answer: Any, status: int, *, code: str) -> list[str]:
    """Whether this is the refusal that was to be expected."""
    told = (answer.status_code, answer.json().get("code"))
    return [] if told == (status, code) else [f"a repeat was answered {told}"]


def judge_key(answer: Any) -> list[str]:
    """A key that has made something is answered by that, as the first time; one that has not, by a refusal."""
    made = IdempotencyKey.objects.first()
    told = answer.json()
    if made is None:
        is_refused = answer.status_code == 409 and told["code"] != "in_progress"
        return [] if is_refused else [f"a key that made nothing was answered {answer.status_code} {told}"]
    expected = (made.status, "true", made.subject, None)
    replayed = answer.headers.get("Idempotency-Replayed")
    seen = (answer.status_code, replayed, told.get("number"), made.lease_until)
    return [] if seen == expected else [f"a key that made {expected} was answered {seen}"]


# ---- the shopper -------------------------------------------------------------------------------------------------


class Place(Flow):
    """The form becomes one order, and its goods leave the shelf once."""

    rivals = ["same"]
    ends = [unpaid()]

    def prepare(self, world: World) -> None:
        world.fill_form()

    def run(self, world: World) -> None:
        world.send_form()

    again = run

    def judge_repeat(self, world: World) -> Sequence[str]:
        """The browser comes to the pay page of its order, and the cart is empty."""
        answer, number = world.send_form(), Order.objects.get().number
        wrong = (
            [] if answer.headers.get("Location") == f"/orders/{number}/pay/" else [f"led to {answer.headers}"]
        )
        page = world.shopper.get(f"/orders/{number}/pay/")
        cart = read_cart(world.shopper.session).parts
        return [
            *wrong,
            *([] if page.status_code == 200 else ["no page"]),
            *([f"still {cart}"] if cart else []),
        ]


class PlaceAgain(Flow):
    """Who orders the same again by mistake has ordered it once."""

    rivals = ["same", "keyed"]
    ends = [unpaid()]

    def prepare(self, world: World) -> None:
        make_product()

    def run(self, world: World) -> None:
        world.order_tea()

    again = run

    def judge_repeat(self, world: World) -> Sequence[str]:
        return judge(world.order_tea(), 409, code="duplicate_order")


class PlaceByKey(PlaceAgain):
    """A key becomes one order, and its goods leave the shelf once; or none, where the same was ordered without it."""

    rivals = ["same", "keyless"]

    def run(self, world: World) -> None:
        world.order_tea(**KEY)

    again = run

    def judge_repeat(self, world: World) -> Sequence[str]:
        return judge_key(world.order_tea(**KEY))


class Apply(Flow):
    """There is one live payment, known to the channel once; paid or given up meanwhile, the money is where it belongs."""

    rivals = ["same", "alarms", "expiry", "cancel", "payer"]
    ends = [unpaid(live=1), CLOSED, SETTLED]

    def prepare(self, world: World) -> None:
        world.place()

    def run(self, world: World) -> None:
        world.apply()

    again = run


class ApplyAgain(Apply):
    """The code that is there is shown again, and nothing new is made."""

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()


class ApplyByKey(Apply):
    """A key becomes one payment, known to the channel once, and says for ever what became of it."""

    rivals = [*Apply.rivals, "apply"]

    def run(self, world: World) -> None:
        world.apply_by_key()

    again = run

    def judge_repeat(self, world: World) -> Sequence[str]:
        return judge_key(world.apply_by_key())


class Supersede(Flow):
    """A new code takes the place of one that nobody could close; the old one is watched, or closed after all."""

    rivals = ["same", "alarms", "cancel", "payer"]
    ends = [
        *(unpaid(live=1, payable=payable) for payable in (1, 2)),
        *(closed(payable=payable) for payable in (0, 1, 2)),
        SETTLED,
        PAID_TWICE,
    ]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        Payment.objects.update(is_unsure=True, close_unanswered_since=Now() - timedelta(minutes=2))
        world.set_faults(
            {"channel": "wechat", "operation": "close", "when": "before", "what": "reset", "times": 99}
        )

    def run(self, world: World) -> None:
        world.apply(supersede=True)

    again = run


class Cancel(Flow):
    """The order is closed and its goods are back; money that was faster keeps it, money that was slower goes back."""

    rivals = ["same", "alarms", "expiry", "apply", "payer"]
    ends = [CLOSED, SETTLED, LATE]
    ends_out_of_reach = [closed(payable=1)]  # what could not be closed is watched

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()

    def run(self, world: World) -> None:
        world.cancel()

    again = run


class SettleByQuery(Flow):
    """The order is paid by one settled receipt, and the channel keeps its price once."""

    rivals = ["same", "alarms", "expiry", "callback", "cancel"]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.pay()

    def run(self, world: World) -> None:
        world.query()


class WaitingPage(SettleByQuery):
    """With every callback lost and nobody to handle alarms, an open page finds the money."""

    rivals = ["same", "alarms", "expiry", "cancel"]
    is_unheard = True

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.neglect()

    def run(self, world: World) -> None:
        world.watch_page()


# ---- the channel -------------------------------------------------------------------------------------------------


class Callback(SettleByQuery):
    """The order is paid by one settled receipt, and the channel keeps its price once."""

    rivals = ["same", "alarms", "query", "cancel", "apply"]

    def run(self, world: World) -> None:
        world.deliver(world.messages[0])


class CallbackAgain(Callback):
    """What is settled stays as it is."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.deliver(world.messages[0])


class EarlyCallback(Flow):
    """A callback that names no payment of ours yet is kept, and settles it as soon as it appears."""

    rivals = ["same", "alarms"]

    def prepare(self, world: World) -> None:
        world.place()
        world.open_elsewhere()

    def run(self, world: World) -> None:
        world.deliver(world.messages[0])

    def again(self, world: World) -> None:
        """Our own row is committed at last."""
        world.let_it_appear()


class UnmatchedCallback(EarlyCallback):
    """Money that names nothing of ours has a receipt and a case, once."""

    ends = [unpaid() | {"receipts": ["unmatched"], "kept_by_channel": PRICE, "cases": ["unmatched"]}]

    def again(self, world: World) -> None:
        """It never appears."""


class WrongAmount(Callback):
    """Money of another amount is kept apart with a case; where only the lost message was wrong, the query is right."""

    rivals = ["same", "alarms", "query"]
    ends = [
        *(
            unpaid(live=1, payable=0) | {"receipts": ["mismatch"], "kept_by_channel": PRICE, "cases": cases}
            # The channel may say first this amount, then the right one: a person should know.
            for cases in (["mismatch"], ["disagrees", "mismatch"])
        ),
        SETTLED,
    ]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        lie = {
            "channel": "wechat",
            "operation": "notify",
            "when": "before",
            "what": "lie",
            "value": {"amount": 1},
        }
        world.set_faults(lie)
        world.pay()


class ReplayedCallback(EarlyCallback):
    """Unmatched money settles the payment that appeared, and its case is answered."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.deliver(world.messages[0])
        world.let_time_pass()
        world.run_alarms()
        world.let_it_appear()

    def run(self, world: World) -> None:
        replay_callback(KeptCallback.objects.get().pk)

    def again(self, world: World) -> None:
        """Staff press the button again."""
        self.run(world)


class Surplus(Flow):
    """The second trade of one number is surplus and goes back, in one refund."""

    rivals = ["same", "alarms", "callback"]
    ends = [PAID_TWICE]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.set_faults({"channel": "wechat", "operation": "pay", "when": "before", "what": "two_trades"})
        world.pay()
        world.deliver(world.messages[0])

    def run(self, world: World) -> None:
        world.deliver(world.messages[1])


class SurplusBack(Surplus):
    """There is exactly one refund at the channel."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.deliver(world.messages[1])
        world.let_time_pass()

    def run(self, world: World) -> None:
        world.run_alarms("send_refund")


class TwoAttemptsPaid(Flow):
    """Of two attempts that were both paid one settles the order, and the other goes back in one refund."""

    rivals = ["same", "alarms", "callback"]
    ends = [PAID_TWICE]

    def prepare(self, world: World) -> None:
        world.open_two()
        world.pay_all()

    def run(self, world: World) -> None:
        for message in world.messages:
            world.deliver(message)


class LateMoney(Flow):
    """Money that comes after the shopper gave up goes back, in one refund."""

    ends = [LATE]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.cancel()
        world.pay(force=True)

    def run(self, world: World) -> None:
        world.deliver(world.messages[0])


class ReopeningMoney(LateMoney):
    """Money that comes soon after the order expired still has what it paid for."""

    ends = [SETTLED]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.expire()
        world.run_alarms("expire_order")
        world.pay(force=True)


# ---- time --------------------------------------------------------------------------------------------------------


class Expire(Flow):
    """The order is closed and its goods are back, unless the shopper applied once more in the last moment or paid."""

    rivals = ["same", "alarms", "apply", "cancel", "payer"]
    ends = [CLOSED, unpaid(live=1), SETTLED]
    ends_out_of_reach = [closed(payable=1)]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.expire()

    def run(self, world: World) -> None:
        world.run_alarms("expire_order")


class ExpireAgainstPayment(Expire):
    """Money that came before the order was closed settles it."""

    rivals = ["same", "alarms", "callback", "query", "cancel"]
    ends = [SETTLED]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.pay()


class QueryByAlarm(SettleByQuery):
    """With every callback lost the alarm finds the money."""

    rivals = ["same", "alarms", "cancel"]
    is_unheard = True

    def run(self, world: World) -> None:
        world.run_alarms("query_payment")


class FollowUp(Flow):
    """The other code of a paid order is closed, the receipt is mailed, and nothing is left to do."""

    ends_out_of_reach = [
        paid(live=1, payable=1)
    ]  # it is closed once; who pays it all the same gets the money back

    def prepare(self, world: World) -> None:
        world.open_two()
        world.pay_oldest()

    def run(self, world: World) -> None:
        world.run_alarms("follow_up")


class Mail(FollowUp):
    """The receipt is mailed at least once, and nothing is left to do."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.run_alarms("follow_up")

    def run(self, world: World) -> None:
        world.run_alarms("mail_receipt")


# ---- staff -------------------------------------------------------------------------------------------------------


class AskRefund(Flow):
    """The whole amount goes back in one refund, and the goods that were not shipped are on the shelf again."""

    ends = [REFUNDED, REFUNDED_SOON]
    price = PRICE

    def prepare(self, world: World) -> None:
        world.place(price=self.price)
        world.apply()
        world.pay()
        world.deliver(world.messages[0])
        world.run_alarms("follow_up")

    def run(self, world: World) -> None:
        with suppress(OverRefund):  # what somebody asked before
            ask_refund(world.payment.number, amount=self.price, reason="wrong size", actor="anna")

    again = run


class RefundByKey(AskRefund):
    """A key becomes one refund of a part, though there would be money for more."""

    ends = [given_back("READY_FOR_SHIPMENT", "settled", kept_by_channel=PRICE - PART)]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.log_in()

    def run(self, world: World) -> None:
        world.refund_by_key(PART)

    again = run

    def judge_repeat(self, world: World) -> Sequence[str]:
        return judge_key(world.refund_by_key(PART))


class ApproveRefund(AskRefund):
    """A large refund goes back once after a second person agreed."""

    price = ABOVE_LIMIT

    def prepare(self, world: World) -> None:
        super().prepare(world)
        super().run(world)

    def run(self, world: World) -> None:
        with suppress(RefundIsDecided):
            approve_refund(Refund.objects.get().number, actor="bo")

    again = run


class SendRefund(AskRefund):
    """There is exactly one refund at the channel, and it is ours."""

    rivals = ["same", "alarms", "callback"]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        super().run(world)
        world.let_time_pass()

    def run(self, world: World) -> None:
        world.run_alarms("send_refund")

    def again(self, world: World) -> None:
        """Its alarm does."""


class RefundCallback(SendRefund):
    """The channel's word that the refund is done is taken once."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.run_alarms("send_refund")
        wait_until(lambda: world.look()["refunds_at_channel"])
        world.messages = world.catch_all()

    def run(self, world: World) -> None:
        world.deliver(world.messages[-1])


class ConsoleRefund(AskRefund):
    """A refund that somebody made in the channel's console is recorded once, and a person hears of it."""

    ends = [
        given_back("READY_FOR_SHIPMENT", "settled", kept_by_channel=PRICE - PART, cases=["console_refund"]),
    ]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.sandbox.refund_in_console(world.payment.number, PART)
        wait_until(lambda: world.look()["refunds_at_channel"])
        world.messages = world.catch_all()

    def run(self, world: World) -> None:
        world.deliver(world.messages[-1])

    def again(self, world: World) -> None:
        """The channel does, when it was not acknowledged."""


FLOWS: list[Flow] = [
    Place(),
    PlaceAgain(),
    PlaceByKey(),
    Apply(),
    ApplyAgain(),
    ApplyByKey(),
    Supersede(),
    Cancel(),
    SettleByQuery(),
    WaitingPage(),
    Callback(),
    CallbackAgain(),
    WrongAmount(),
    EarlyCallback(),
    UnmatchedCallback(),
    ReplayedCallback(),
    Surplus(),
    SurplusBack(),
    TwoAttemptsPaid(),
    LateMoney(),
    ReopeningMoney(),
    Expire(),
    ExpireAgainstPayment(),
    QueryByAlarm(),
    FollowUp(),
    Mail(),
    AskRefund(),
    RefundByKey(),
    ApproveRefund(),
    SendRefund(),
    RefundCallback(),
    ConsoleRefund(),
]
