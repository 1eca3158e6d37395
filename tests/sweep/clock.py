"""What time brings: an order runs out, an alarm asks, and what follows a settlement is done."""

from tests.sweep.flows import CLOSED, SETTLED, Flow, closed, paid, unpaid
from tests.sweep.shopper import SettleByQuery
from tests.sweep.world import World


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
