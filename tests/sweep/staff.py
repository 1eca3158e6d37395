"""What staff do, here or in a channel's own console: they give money back."""

from collections.abc import Sequence
from contextlib import suppress

from payments.callbacks import TAKE_CALLBACK
from payments.errors import OverRefund, RefundIsDecided
from payments.models import Refund
from payments.refunding import approve_refund, ask_refund
from tests.sweep.flows import PRICE, REFUNDED, REFUNDED_SOON, Flow, given_back, judge_key
from tests.sweep.world import World
from tests.waiting import wait_until

PART = 900
ABOVE_LIMIT = 200_000  # a refund of so much needs a second person


class AskRefund(Flow):
    """The whole amount goes back in one refund, and the goods that were not shipped are on the shelf again."""

    ends = [REFUNDED, REFUNDED_SOON]
    price = PRICE

    def prepare(self, world: World) -> None:
        world.place(price=self.price)
        world.apply()
        world.pay()
        world.deliver(world.messages[-1])
        world.run_alarms(TAKE_CALLBACK)  # where the channel has to be asked first
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
