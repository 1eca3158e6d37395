"""What other systems are told of a settlement: each event is written, published and promised to each endpoint, once."""

from collections.abc import Sequence

from django.db.models.functions import Now

from shop.models import Alarm, BusinessEvent, Endpoint
from shop.webhooks.publishing import DELIVER, publish
from tests.sweep.channel import Callback
from tests.sweep.world import World

TOLD = ["payment.settled", "order.paid"]


class SettleTold(Callback):
    """Whatever becomes of the settlement, the endpoint is to be told of it once, in the order in which it became true."""

    rivals = ["same", "alarms"]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        # Switched off: what it is to be told is kept, and nothing leaves the house.
        Endpoint.objects.create(url="https://partner.example/", secret="sealed", off_at=Now())

    def judge_repeat(self, world: World) -> Sequence[str]:
        publish()
        placed = BusinessEvent.objects.filter(stream=world.order.number).order_by("position")
        seen = list(placed.values_list("position", "sequence", "type"))
        kept = list(Endpoint.objects.get().deliveries.order_by("id").values_list("event__type", flat=True))
        expected = [(nth, nth, event_type) for nth, event_type in enumerate(TOLD, start=1)]
        promised = Alarm.objects.filter(kind=DELIVER, subject__endswith=f":{world.order.number}").count()
        right = (seen, kept, promised) == (expected, TOLD, 1)
        return [] if right else [f"told was {seen}, kept {kept}, with {promised} alarms"]


class PublishTold(SettleTold):
    """Whatever becomes of a publisher, another one goes on where it stopped."""

    rivals = ["same", "alarms"]

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.deliver(world.messages[-1])

    def run(self, world: World) -> None:
        publish()
