"""The day itself: the plays are carried out at the shop's own flows and at the sandbox, until all of it is yesterday."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from orders.placing import Contact, Item, place_order
from payments.applying import apply_for_payment
from payments.attempts import notify_url
from payments.channels.base import Attempt
from payments.channels.registry import class_of, get_channel
from payments.ending import cancel_order
from payments.models import Receipt, Refund
from payments.querying import query_payment
from payments.refunding import ask_refund, send_refund
from shop.models import Alarm
from shop.numbers import new_payment_number
from tests.badnight.crew import Crew
from tests.badnight.plays import WAYS, Kind, Play
from tests.factories import ContactFactory, make_product
from tests.sandbox_process import SandboxProcess

SILENCE: dict[str, Any] = {"notify": {"drop": 1.0}}
FOR_EVER = 10**9
# A refund is sent, and asked about until it has ended.
REFUND_STEPS = 5
DAY = timedelta(days=1)
PAID = frozenset(Kind) - {Kind.NEVER, Kind.TWICE}
HEARD = frozenset({Kind.TOLD, Kind.TWICE, Kind.RETURNED, Kind.LOST_END, Kind.CONSOLE})


class Day:
    """One day of the shop and its channels."""

    def __init__(self, sandbox: SandboxProcess, crew: Crew) -> None:
        self.sandbox, self.crew = sandbox, crew

    def live(self, plays: Sequence[Play]) -> None:
        """All that happens, in the order in which it has to."""
        self.sandbox.set_faults(SILENCE)
        for way in WAYS:
            make_product(_sku(way.currency), currency=way.currency, stock=10**6)
        self.crew.each(_of(plays, frozenset(Kind) - {Kind.STRANGER}), self._apply)
        self.crew.each(_of(plays, {Kind.STRANGER}), self._appear)
        self.crew.each(_of(plays, {Kind.LATE}), lambda play: cancel_order(play.order_number))
        self.crew.each(_of(plays, PAID), self._pay)
        self._with_fault("pay", "two_trades", _of(plays, {Kind.TWICE}), self._pay, when="before")
        self.crew.each(_of(plays, HEARD), lambda play: query_payment(play.number))
        # PayPal's money is taken by a call of ours: nobody tells us when its answer is lost.
        untold = [play for play in _of(plays, {Kind.UNTOLD}) if class_of(play.way.channel).needs_capture]
        self._with_fault("capture", "reset", untold, lambda play: query_payment(play.number))
        self.crew.each(_of(plays, {Kind.RETURNED}), _refund)
        self._with_fault("refund", "reset", _of(plays, {Kind.LOST_END}), _send_refund)
        self.crew.each(_of(plays, {Kind.CONSOLE}), self._refund_in_console)

    def pass_by(self) -> None:
        """A night: all of it is a day older, in the channels' books and in ours; but for the moment of an intent, which
        names it at UnionPay.
        """
        self.sandbox.end_notifications()
        self.sandbox.age(days=1)
        Receipt.objects.update(created_at=F("created_at") - DAY, paid_at=F("paid_at") - DAY)
        Refund.objects.update(ended_at=F("ended_at") - DAY)
        Alarm.objects.update(due_at=F("due_at") - DAY)

    def _with_fault(
        self,
        operation: str,
        what: str,
        plays: Iterable[Play],
        deed: Callable[[Play], Any],
        *,
        when: str = "after",
    ) -> None:
        fault = {"operation": operation, "what": what, "when": when, "times": FOR_EVER}
        script = [fault | {"channel": way.channel} for way in WAYS]
        self.sandbox.set_faults(SILENCE | {"script": script})
        self.crew.each(plays, deed)
        self.sandbox.set_faults(SILENCE)

    def _apply(self, play: Play) -> None:
        order = place_order([Item(_sku(play.way.currency), play.quantity)], _somebody(), again=True)
        wish = play.way.wish
        applied = apply_for_payment(
            order.number, channel=wish["channel"], scene=wish["scene"], payer=wish.get("payer", {})
        )
        play.number, play.order_number = applied.payment.number, order.number

    def _appear(self, play: Play) -> None:
        """Another system of the merchant's makes a payment of its own at the channel."""
        attempt = _attempt_of(play)
        play.number = attempt.number
        play.handle = get_channel(play.way.channel).create(attempt).handle

    def _pay(self, play: Play) -> None:
        self.sandbox.pay(play.number, channel=play.way.channel, force=play.kind is Kind.LATE)
        channel = get_channel(play.way.channel)
        if play.kind is Kind.STRANGER and channel.needs_capture:
            channel.capture(_attempt_of(play))

    def _refund_in_console(self, play: Play) -> None:
        self.sandbox.refund_in_console(play.number, play.back_minor, channel=play.way.channel)


def _of(plays: Iterable[Play], kinds: Iterable[Kind]) -> list[Play]:
    return [play for play in plays if play.kind in kinds]


def _sku(currency: str) -> str:
    return f"in-{currency.lower()}"


def _somebody() -> Contact:
    contact: Contact = ContactFactory.create()
    return contact


def _attempt_of(play: Play) -> Attempt:
    now, channel, wish = timezone.now(), get_channel(play.way.channel), play.way.wish
    person = {"name": "Ben Zhou", "email": "ben@example.com"} | wish.get("payer", {})
    return Attempt(
        number=play.number or new_payment_number(),
        scene=play.way.scene,
        amount_minor=12900 * play.quantity,
        currency=play.way.currency,
        description="of another system",
        started_at=now,
        expires_at=channel.expires_at(scene=play.way.scene, order_expires_at=now + DAY, now=now),
        notify_url=notify_url(play.way.channel),
        return_url="http://127.0.0.1:9/",
        payer={key: person[key] for key in channel.payer_keys if key in person},
        handle=play.handle,
        capture_id=f"{play.number}C1" if play.number else "",
    )


def _ask_refund(play: Play) -> Refund:
    return ask_refund(play.number, amount=play.back_minor, reason="does not fit", actor="amy")


def _send_refund(play: Play) -> None:
    send_refund(_ask_refund(play))


def _refund(play: Play) -> None:
    refund = _ask_refund(play)
    for _ in range(REFUND_STEPS):
        send_refund(refund)
        refund.refresh_from_db()
        if refund.status == "REFUNDED":
            return
    raise AssertionError(f"{refund.number} has not ended")
