"""What the channel tells: of money in time, late, twice, of a wrong amount, and of money that names nothing of ours."""

from payments.callbacks import replay_callback
from payments.models import Callback as KeptCallback
from tests.sweep.flows import LATE, PAID_TWICE, PRICE, SETTLED, Flow, unpaid
from tests.sweep.shopper import SettleByQuery
from tests.sweep.world import World


class Callback(SettleByQuery):
    """The order is paid by one settled receipt, and the channel keeps its price once."""

    rivals = ["same", "alarms", "query", "cancel", "apply"]

    def run(self, world: World) -> None:
        world.deliver(world.messages[-1])


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
        world.deliver(world.messages[-1])


class ReopeningMoney(LateMoney):
    """Money that comes soon after the order expired still has what it paid for."""

    ends = [SETTLED]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.expire()
        world.run_alarms("expire_order")
        world.pay(force=True)
