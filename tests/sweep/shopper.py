"""What the shopper does: orders, applies, gives up, asks whether the money has come."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models.functions import Now

from orders.models import Order
from payments.models import Payment
from shop.checkout.cart import read_cart
from tests.factories import make_product
from tests.sweep.flows import CLOSED, LATE, PAID_TWICE, SETTLED, Flow, closed, judge, judge_key, unpaid
from tests.sweep.world import KEY, World


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


class CancelWhilePaid(Cancel):
    """Money that came in the very moment of the close, of which no message ever comes, is found and goes back."""

    rivals = ["same", "alarms", "expiry", "apply"]
    is_unheard = True

    def prepare(self, world: World) -> None:
        super().prepare(world)
        entry = {"channel": "wechat", "operation": "close", "what": "paid_meanwhile", "when": "after"}
        world.set_faults(entry)


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
