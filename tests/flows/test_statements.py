"""Each channel's own statement, over real HTTP: taken in, compared with our books, and repaired from."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from tempfile import TemporaryFile
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from orders.statuses import OrderStatus
from payments.applying import apply_for_payment
from payments.audit import audit
from payments.channels.registry import class_of, get_channel
from payments.models import Case, Difference, Payment, Receipt, Refund, Statement
from payments.querying import query_payment
from payments.reconciling import compare_around
from payments.refunding import ask_refund, send_refund
from payments.repairing import repair_safe
from payments.statements import FETCH_STATEMENT, ask_statement, fetch_statement, take_statement
from payments.statuses import PaymentStatus
from shop.alarms import claim_due, handle
from shop.models import Alarm
from tests.conftest import channel_variables
from tests.factories import make_order
from tests.flows.test_channels import WAYS, Way
from tests.programs import environment
from tests.sandbox_process import SandboxProcess, start_sandbox
from tests.statements import BEIJING, CLEARING
from tests.waiting import wait_for_a_day_that_lasts

pytestmark = pytest.mark.django_db(transaction=True)

ONE_OF_EACH = [
    next(way for way in WAYS if way.channel == name) for name in dict.fromkeys(way.channel for way in WAYS)
]
one_of_each = pytest.mark.parametrize("way", ONE_OF_EACH, ids=str)
told_by_query = pytest.mark.parametrize(
    "way", [way for way in ONE_OF_EACH if not class_of(way.channel).needs_capture], ids=str
)
refundable = pytest.mark.parametrize(
    "way", [way for way in ONE_OF_EACH if class_of(way.channel).can_refund], ids=str
)


@pytest.fixture(scope="module")
def old_sandbox(tmp_path_factory: pytest.TempPathFactory, key_dir: Any) -> Iterator[SandboxProcess]:
    """A sandbox of its own: what happens in it grows older."""
    running = start_sandbox(tmp_path_factory.mktemp("old-sandbox"), key_dir=key_dir, refund_delay=0)
    yield running
    running.stop()


@pytest.fixture
def yesterday(old_sandbox: SandboxProcess, live_server: LiveServer, settings: Any) -> Iterator["Yesterday"]:
    settings.CHANNELS = {name: channel_variables(old_sandbox, name) for name in settings.CHANNEL_KEYS}
    settings.PUBLIC_URL = live_server.url
    settings.SANDBOX_URL = old_sandbox.url
    old_sandbox.set_faults({"notify": {"drop": 1.0}})
    for zone in (UTC, BEIJING, CLEARING):
        wait_for_a_day_that_lasts(zone)
    yield Yesterday(old_sandbox)
    old_sandbox.end_notifications()
    old_sandbox.clear_faults()
    old_sandbox.age(days=5)  # out of the way of the next test


class Yesterday:
    """What happened in the shop on a day that is over."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox

    def pay(self, way: Way, *, is_told: bool = True) -> Payment:
        """A payment that the channel took; the shop was told of it, or not."""
        order = make_order(sku=f"in-{way.currency.lower()}", currency=way.currency)
        wish = way.wish
        payment = apply_for_payment(
            order.number, channel=wish["channel"], scene=wish["scene"], payer=wish.get("payer", {})
        ).payment
        self.sandbox.pay(payment.number, channel=payment.channel)
        if is_told or class_of(payment.channel).needs_capture:
            query_payment(payment.number)
        payment.refresh_from_db()
        return payment

    def pass_by(self) -> None:
        """A night: all of it is a day older, in their books and in ours; but for the moment of an intent, which names it."""
        self.sandbox.age(days=1)
        day = timedelta(days=1)
        Receipt.objects.update(created_at=F("created_at") - day, paid_at=F("paid_at") - day)
        Refund.objects.update(ended_at=F("ended_at") - day)

    def statement(self, payment: Payment) -> Statement:
        """The statement in which the payment stands."""
        channel = class_of(payment.channel)
        moment = timezone.now() - timedelta(days=1)
        day = moment.astimezone(channel.calendar).date()
        start, end = channel.statement_span(day)
        if not start <= moment < end:
            day += timedelta(days=1)
        return fetch_statement(payment.channel, day)


@one_of_each
def test_statement_of_a_day_on_which_all_went_well_agrees(yesterday, way):
    payment = yesterday.pay(way)
    yesterday.pass_by()
    assert list(compare_around(yesterday.statement(payment))) == []
    totals = Statement.objects.get().totals[way.currency]
    assert totals["theirs"]["sales"] == totals["ours"]["sales"] == payment.amount
    assert totals["rest"] == {"sales": 0, "refunds": 0}
    assert totals["bridge"] == []


@told_by_query
def test_payment_that_nobody_told_us_of_is_settled_by_the_night(yesterday, way):
    payment = yesterday.pay(way, is_told=False)
    yesterday.pass_by()
    statement = yesterday.statement(payment)
    [difference] = compare_around(statement)
    assert difference.kind == Difference.Kind.UNSETTLED
    assert repair_safe(way.channel, statement.day, actor="night") == {"repaired": 1, "cases": 0}
    payment.refresh_from_db()
    assert (payment.status, payment.order.status) == (PaymentStatus.PAID, OrderStatus.READY_FOR_SHIPMENT)
    assert list(compare_around(statement)) == []
    assert audit() == []


@told_by_query
def test_channel_that_does_not_answer_any_more_is_believed_by_its_statement(yesterday, way):
    payment = yesterday.pay(way, is_told=False)
    yesterday.pass_by()
    statement = yesterday.statement(payment)
    compare_around(statement)
    silent = [{"channel": way.channel, "operation": "query", "when": "before", "what": "reset", "times": 9}]
    yesterday.sandbox.set_faults({"script": silent, "notify": {"drop": 1.0}})
    assert repair_safe(way.channel, statement.day, actor="night") == {"repaired": 1, "cases": 0}
    receipt = Receipt.objects.get()
    assert (receipt.source, receipt.receipt_class) == ("STATEMENT", "settled")
    assert list(compare_around(statement)) == []


@pytest.mark.parametrize("way", ONE_OF_EACH[:1], ids=str)
def test_amount_that_a_repair_has_brought_to_light_is_a_persons_in_the_same_night(yesterday, way):
    payment = yesterday.pay(way, is_told=False)
    yesterday.pass_by()
    lie = {"channel": way.channel, "operation": "statement", "what": "statement_lie", "times": 99}
    yesterday.sandbox.set_faults({"script": [lie], "notify": {"drop": 1.0}})
    statement = yesterday.statement(payment)
    compare_around(statement)
    assert repair_safe(way.channel, statement.day, actor="night") == {"repaired": 1, "cases": 1}
    assert Receipt.objects.get().amount == payment.amount
    assert (Difference.objects.get(ended_at=None).kind, Case.objects.get().kind) == ("amount", "books")


@refundable
def test_refund_made_in_the_channels_console_is_written_down_once(yesterday, way):
    payment = yesterday.pay(way)
    yesterday.sandbox.refund_in_console(payment.number, 900, channel=way.channel)
    yesterday.pass_by()
    statement = yesterday.statement(payment)
    [difference] = compare_around(statement)
    assert (difference.kind, difference.theirs) == (Difference.Kind.REFUND_UNKNOWN, 900)
    assert repair_safe(way.channel, statement.day, actor="night") == {"repaired": 1, "cases": 0}
    refund = Refund.objects.get()
    assert (refund.kind, refund.amount, refund.status) == (Refund.Kind.CONSOLE, 900, "REFUNDED")
    assert Case.objects.get().kind == Case.Kind.CONSOLE_REFUND
    assert list(compare_around(statement)) == []


@refundable
def test_refund_whose_end_nobody_told_us_is_ended_by_the_night(yesterday, way):
    payment = yesterday.pay(way)
    refund = ask_refund(payment.number, amount=900, reason="size", actor="amy")
    lost = [{"channel": way.channel, "operation": "refund", "when": "after", "what": "reset", "times": 9}]
    yesterday.sandbox.set_faults({"script": lost, "notify": {"drop": 1.0}})
    send_refund(refund)
    yesterday.sandbox.set_faults({"notify": {"drop": 1.0}})
    yesterday.pass_by()
    statement = yesterday.statement(payment)
    [difference] = compare_around(statement)
    assert (difference.kind, difference.theirs, difference.ours) == (Difference.Kind.REFUND_STATUS, 900, 900)
    assert repair_safe(way.channel, statement.day, actor="night") == {"repaired": 1, "cases": 0}
    refund.refresh_from_db()
    assert refund.status == "REFUNDED"
    Refund.objects.update(ended_at=F("ended_at") - timedelta(days=1))
    assert list(compare_around(statement)) == []


def test_night_fetches_compares_and_repairs_in_a_process_of_its_own(yesterday, monkeypatch):
    payment = yesterday.pay(ONE_OF_EACH[0], is_told=False)
    yesterday.pass_by()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    day = (timezone.now() - timedelta(days=1)).astimezone(class_of("wechat").calendar).date()
    Alarm.objects.all().delete()
    ask_statement("wechat", day)
    [claim] = claim_due(1, with_long=True)
    assert handle(claim)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PAID
    assert Alarm.objects.get(kind=FETCH_STATEMENT).due_at > timezone.now() + timedelta(hours=19)


def test_file_given_by_hand_is_the_channels_own_once_the_channel_gives_the_same(yesterday):
    payment = yesterday.pay(ONE_OF_EACH[0])
    yesterday.pass_by()
    day = (timezone.now() - timedelta(days=1)).astimezone(class_of("wechat").calendar).date()
    with TemporaryFile() as file:
        get_channel("wechat").fetch_statement(day, file)
        given = take_statement("wechat", day, file, given_by="amy")
    fetched = yesterday.statement(payment)
    assert (fetched, given.origin, fetched.origin) == (given, "file", "fetched")
