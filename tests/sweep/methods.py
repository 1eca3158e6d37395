"""What channels other than the first do differently: a code that nobody can close, a number that is not made twice, a slip
that is paid days later and cannot be given back. And two methods for one order."""

from payments.models import Payment
from tests.sweep.channel import LateMoney
from tests.sweep.flows import (
    CLOSED,
    LATE_BY_HAND,
    PAID_TWICE,
    PAID_TWICE_BY_HAND,
    SETTLED,
    Flow,
    unpaid,
)
from tests.sweep.shopper import Cancel
from tests.sweep.ways import ALIPAY, BOLETO, PAYPAL, SCANNED, UNIONPAY, WECHAT
from tests.sweep.world import World


class CancelScanned(Cancel):
    """A code that was scanned is a trade, which the channel closes; without an answer it is watched."""

    way = SCANNED
    rivals = ["same", "alarms", "expiry", "payer"]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.scan()


class CancelVoucher(Cancel):
    """The order is closed though its slip cannot be taken back; who pays it all the same gets the money from a person."""

    way = BOLETO
    ends = [CLOSED, SETTLED, LATE_BY_HAND]


class LateVoucher(LateMoney):
    """Who pays a slip after giving up gets the money back from a person: the channel cannot."""

    way = BOLETO
    ends = [LATE_BY_HAND]


class SupersedeUnscanned(Flow):
    """Another method takes the place of a code that nobody scanned; who pays both gets one back."""

    way = ALIPAY
    rivals = ["same", "alarms", "cancel", "payer"]
    ends = [unpaid(live=1), CLOSED, SETTLED, PAID_TWICE]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()

    def run(self, world: World) -> None:
        world.apply(WECHAT)

    again = run


class AskThenNew(Flow):
    """Where a number is not made twice, silence about one is asked about, and then another is made."""

    way = UNIONPAY
    rivals = ["same", "alarms", "expiry", "cancel", "payer"]
    ends = [unpaid(live=1), CLOSED, SETTLED, PAID_TWICE]

    def prepare(self, world: World) -> None:
        world.place()
        lost = {"channel": "unionpay", "operation": "create", "when": "after", "what": "reset"}
        world.set_faults(lost)
        world.apply()
        world.set_faults()
        world.let_time_pass()

    def run(self, world: World) -> None:
        world.apply()

    again = run


# ---- a slip, and another method ----------------------------------------------------------------------------------


class VoucherThenPayPal(Flow):
    """Another method takes the place of a slip, which is watched to its end; who pays both gets one back."""

    way = BOLETO
    rivals = ["same", "alarms", "cancel", "payer"]
    ends = [unpaid(live=1), CLOSED, SETTLED, PAID_TWICE_BY_HAND]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()

    def run(self, world: World) -> None:
        world.apply(PAYPAL)

    again = run


class VoucherAgainstCapture(Flow):
    """Of a slip that was paid and a consent that was given one pays the order, and the slip's money is never lost."""

    way = BOLETO
    rivals = ["same", "alarms", "callback", "cancel"]
    # Whoever is second is surplus: the slip, or what was on its way when the bank told of the slip.
    ends = [SETTLED, PAID_TWICE_BY_HAND, PAID_TWICE, LATE_BY_HAND]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.apply(PAYPAL)
        world.pay()
        world.pay(Payment.objects.earliest("id"))

    def run(self, world: World) -> None:
        world.query()


class SurplusVoucher(VoucherAgainstCapture):
    """The slip of an order that was paid otherwise is surplus, which a person gives back."""

    rivals = ["same", "alarms", "callback"]
    ends = [PAID_TWICE_BY_HAND]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.query()

    def run(self, world: World) -> None:
        of_the_slip = [message for message in world.messages if message.channel == BOLETO.channel]
        world.deliver(of_the_slip[-1])
