"""Where the shopper's consent moves no money: we take it, once, for an order that waits for it, or not at all."""

from datetime import timedelta

from django.db.models.functions import Now

from payments.models import Payment
from payments.moves import CAPTURE_PAYMENT
from tests.sweep.channel import Callback, LateMoney
from tests.sweep.clock import Expire
from tests.sweep.flows import CLOSED, SETTLED, Flow, unpaid
from tests.sweep.shopper import Cancel, SettleByQuery
from tests.sweep.ways import BOLETO, PAYPAL
from tests.sweep.world import World

# What becomes of an order whose shopper has agreed, and of which we have not heard.
TAKEN_OR_NOT = [SETTLED, CLOSED]


class Capture(SettleByQuery):
    """The consent that a query finds becomes money once; or the order was given up first, and nothing is taken."""

    way = PAYPAL
    rivals = ["same", "alarms", "expiry", "callback", "cancel", "apply"]
    ends = TAKEN_OR_NOT


class CaptureByCallback(Callback):
    """The channel's word of the consent leads to money once; or the order was given up first, and nothing is taken."""

    way = PAYPAL
    rivals = [*Callback.rivals, "expiry"]
    ends = TAKEN_OR_NOT


class CaptureDeclined(Capture):
    """A consent that the channel could not use is no end: the next one becomes money, once, unless nobody waits for it."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        decline = {"status": 422, "code": "INSTRUMENT_DECLINED"}
        world.set_faults(fail("capture", "status", value=decline))


class CaptureAgain(Flow):
    """A capture whose answer was lost has taken the money once, and nobody ends its payment otherwise."""

    way = PAYPAL
    rivals = ["same", "alarms", "expiry", "callback", "query", "cancel", "apply"]
    lost = "after"

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.pay()
        world.set_faults(fail("capture", "reset", when=self.lost))
        world.query()
        world.set_faults()
        world.let_time_pass()
        world.messages = world.catch_all()

    def run(self, world: World) -> None:
        world.run_alarms(CAPTURE_PAYMENT)


class CaptureUnsent(CaptureAgain):
    """A capture that was begun takes the money once, though its first call never arrived."""

    lost = "before"


class CapturedCallback(CaptureAgain):
    """The channel's word that the money was taken settles what no answer of its has."""

    def run(self, world: World) -> None:
        world.deliver(world.messages[-1])


class CancelBeforeConsent(Cancel):
    """The order is closed and nothing is ever taken, or the consent was faster and the order is paid."""

    way = PAYPAL
    ends = TAKEN_OR_NOT


class ExpireAgainstConsent(Expire):
    """Who has agreed in time has what was ordered, though nobody heard of it before the order's time was over."""

    way = PAYPAL
    rivals = ["same", "alarms", "callback", "query"]
    ends = [SETTLED]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.pay()


class LateConsent(LateMoney):
    """Nothing is taken of who agrees after giving up."""

    way = PAYPAL
    ends = [CLOSED]


class AgreedThenAnother(Flow):
    """Who agrees and then chooses another method pays by one of both."""

    way = PAYPAL
    rivals = ["same", "alarms", "callback", "query", "cancel"]
    ends = [unpaid(live=1), CLOSED, SETTLED]

    def prepare(self, world: World) -> None:
        world.place()
        world.apply()
        world.pay()

    def run(self, world: World) -> None:
        world.apply(BOLETO)

    again = run


class SupersedeAgreed(AgreedThenAnother):
    """The money of an attempt whose place was taken is not, though the channel was silent and the shopper had agreed."""

    def prepare(self, world: World) -> None:
        super().prepare(world)
        Payment.objects.update(is_unsure=True, close_unanswered_since=Now() - timedelta(minutes=2))
        world.set_faults(fail("query", "reset", times=99))

    def run(self, world: World) -> None:
        world.apply(BOLETO, supersede=True)

    again = run


def fail(operation: str, what: str, *, when: str = "before", **more: object) -> dict[str, object]:
    """A line of the channel's script: what goes wrong, once unless it says more."""
    return {"channel": PAYPAL.channel, "operation": operation, "when": when, "what": what, **more}
