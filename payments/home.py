"""What needs a person now, and how the day goes: everything that the back office's first page shows, read at once.

A fixed number of set-based statements, however many rows there are. Nothing is changed, nothing is asked of a channel.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, Min, OuterRef, Q, Sum
from django.db.models.functions import Coalesce

from orders.models import Order
from orders.statuses import PAID
from payments.channels.registry import UnknownChannel, class_of, get_channel
from payments.models import Case, Difference, Payment, Proposal, Receipt, Refund, Statement
from payments.reconciling import OPEN
from payments.statements import FETCH_STATEMENT
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from shop.clock import read_now
from shop.health import SILENT_AFTER_S
from shop.keyring import list_ending
from shop.models import Alarm, ApiKey, Event, Heartbeat

# Every guardian, and how long each may be silent. The scanner comes every minute and stops itself after some seconds.
GUARDIANS = {
    "watch": timedelta(seconds=SILENT_AFTER_S),
    "cluster": timedelta(seconds=SILENT_AFTER_S),
    "scanner": timedelta(minutes=3),
}
# A channel may be late with its statement by so much before somebody should look.
STATEMENT_GRACE = timedelta(hours=6)
# An attempt ends before it is dead or soon after, unless the shop was down for longer.
ENDS_WITHIN = timedelta(days=1)
KEPT = (ReceiptClass.MISMATCH, ReceiptClass.UNMATCHED)
GOING_BACK = (ReceiptClass.SURPLUS, ReceiptClass.LATE)
UNSETTLED = (Difference.Kind.UNSETTLED, Difference.Kind.STRANGER)

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cases:
    """The open cases of one kind."""

    kind: Case.Kind
    count: int
    oldest: timedelta
    late: int
    mine: int


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Money that is not where it belongs, in minor units by currency.

    `unsettled`: in a channel's books and not in ours. `kept`: here, for no payment or of a wrong amount. `going_back`:
    surplus and late money that has not gone back yet.
    """

    unsettled: Amounts
    kept: Amounts
    going_back: Amounts


@dataclass(frozen=True, slots=True)
class Guardian:
    """How long one of them has been silent; None: it was never heard, or not for a day."""

    name: str
    silent_for: timedelta | None
    is_missing: bool


@dataclass(frozen=True, slots=True)
class Books:
    """The last current statement of one channel, its open differences of whatever day, and the next statement."""

    channel: str
    title: str
    last: Statement | None
    differences: int
    next_day: date | None
    next_at: datetime | None
    is_late: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """The attempts of one channel that ended today."""

    channel: str
    title: str
    paid: int
    ended: int

    @property
    def percent(self) -> int:
        return 100 * self.paid // self.ended


@dataclass(frozen=True, slots=True)
class Home:
    """Everything at one moment, by the database's clock. Today begins at midnight in the zone of the shop."""

    now: datetime
    today: datetime
    cases: list[Cases] = field(default_factory=list)
    at_risk: AtRisk = field(default_factory=lambda: AtRisk({}, {}, {}))
    refunds_waiting: int = 0
    proposals_waiting: int = 0
    paying: Payment | None = None
    guardians: list[Guardian] = field(default_factory=list)
    books: list[Books] = field(default_factory=list)
    keys_ending: list[ApiKey] = field(default_factory=list)
    orders: int = 0
    orders_paid: int = 0
    rates: list[Rate] = field(default_factory=list)

    @property
    def paying_for(self) -> timedelta | None:
        """How old the oldest PAYING payment is."""
        return self.now - self.paying.created_at if self.paying else None


def read_home(user: User) -> Home:
    """Everything the first page shows to `user`, whose cases are counted as theirs. A fixed number of statements."""
    now = read_now()
    zone = ZoneInfo(settings.DISPLAY_TIME_ZONE)
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    orders, orders_paid = _read_orders(today)
    return Home(
        now=now,
        today=today,
        cases=_read_cases(user, now),
        at_risk=_read_at_risk(),
        refunds_waiting=Refund.objects.filter(status=RefundStatus.PENDING_APPROVAL).count(),
        proposals_waiting=Proposal.objects.filter(status=Proposal.Status.WAITING).count(),
        paying=Payment.objects.filter(status=PaymentStatus.PAYING).order_by("id").first(),
        guardians=_read_guardians(now),
        books=read_books(now),
        keys_ending=list_ending(),
        orders=orders,
        orders_paid=orders_paid,
        rates=_read_rates(today),
    )


def _read_cases(user: User, now: datetime) -> list[Cases]:
    """Whose deadline passed longest ago stands first."""
    kinds = Case.objects.filter(resolved_at__isnull=True).order_by().values("kind")
    found = kinds.annotate(
        count=Count("id"),
        opened=Min("opened_at"),
        late=Count("id", filter=Q(deadline__lt=now)),
        mine=Count("id", filter=Q(owner=user)),
        nearest=Min("deadline"),
    ).order_by("nearest")
    return [
        Cases(Case.Kind(row["kind"]), row["count"], now - row["opened"], row["late"], row["mine"])
        for row in found
    ]


# ---- money -------------------------------------------------------------------------------------------------------


def _read_at_risk() -> AtRisk:
    """A refund that failed gave nothing back. Money for no payment that a person has decided about may stay here."""
    open_ones = Difference.objects.filter(
        kind__in=UNSETTLED, state__in=OPEN, ended_at__isnull=True
    ).order_by()
    unsettled = open_ones.values("currency").annotate(amount=Sum("theirs")).filter(amount__gt=0)
    went_back = Refund.objects.filter(receipt=OuterRef("pk"), status=RefundStatus.REFUNDED).order_by()
    sums = went_back.values("receipt").annotate(amount=Sum("amount")).values("amount")
    receipts = Receipt.objects.filter(receipt_class__in=(*KEPT, *GOING_BACK)).order_by()
    decided = Case.objects.filter(
        kind=Case.Kind.UNMATCHED, subject=OuterRef("channel_number"), resolved_at__isnull=False
    )
    is_decided = Q(receipt_class=ReceiptClass.UNMATCHED) & Exists(decided)
    left = receipts.exclude(is_decided).annotate(left=F("amount") - Coalesce(sums, 0)).filter(left__gt=0)
    by_class = left.values("receipt_class", "currency").annotate(amount=Sum("left"))
    kept, going_back = Counter[str](), Counter[str]()
    for row in by_class:
        (kept if row["receipt_class"] in KEPT else going_back)[row["currency"]] += row["amount"]
    return AtRisk({row["currency"]: row["amount"] for row in unsettled}, kept, going_back)


def _read_orders(today: datetime) -> tuple[int, int]:
    """How many were placed today, and how many of these are paid by now."""
    counts = Order.objects.filter(created_at__gte=today).aggregate(
        placed=Count("id"), paid=Count("id", filter=Q(status__in=PAID))
    )
    return counts["placed"], counts["paid"]


def _read_rates(today: datetime) -> list[Rate]:
    """Ended today: says the event. What may have ended today is found by the indexes of receipts and ended attempts."""
    ended = Event.objects.filter(
        subject_kind="payment", subject=OuterRef("number"), to_status=OuterRef("status"), at__gte=today
    )
    channels = list(settings.CHANNELS)
    receipts = Receipt.objects.filter(channel__in=channels, created_at__gte=today)
    paid = Payment.objects.filter(pk__in=receipts.values("payment"), status=PaymentStatus.PAID)
    unpaid = Payment.objects.filter(
        status__in=(PaymentStatus.CLOSED, PaymentStatus.FAILED), dead_at__gte=today - ENDS_WITHIN
    )
    counts = [
        Counter(dict(some.filter(Exists(ended)).order_by().values_list("channel").annotate(Count("id"))))
        for some in (paid, unpaid)
    ]
    return [
        Rate(name, class_of(name).title, counts[0][name], counts[0][name] + counts[1][name])
        for name in channels
        if counts[0][name] + counts[1][name]
    ]


# ---- guardians and books -----------------------------------------------------------------------------------------


def _read_guardians(now: datetime) -> list[Guardian]:
    heard: dict[str, datetime] = {}
    for name, at in Heartbeat.objects.values_list("name", "at"):
        kind = name.partition(" ")[0]
        heard[kind] = max(at, heard.get(kind, at))
    silences = {name: now - heard[name] if name in heard else None for name in GUARDIANS}
    return [
        Guardian(name, silence, is_missing=silence is None or silence > GUARDIANS[name])
        for name, silence in silences.items()
    ]


def read_books(now: datetime) -> list[Books]:
    """Of every channel that is configured, also of one that cannot be used: its books are still there."""
    current = Statement.objects.filter(is_current=True).order_by("channel", "-day").distinct("channel")
    last = {statement.channel: statement for statement in current}
    open_ones = Difference.objects.filter(state__in=OPEN, ended_at__isnull=True).order_by()
    counts = dict(open_ones.values_list("channel").annotate(Count("id")))
    missing = _list_missing()
    return [
        _books_of(name, last.get(name), counts.get(name, 0), missing.get(name), now)
        for name, configured in settings.CHANNELS.items()
        if configured is not None and class_of(name).has_statement
    ]


def _list_missing() -> dict[str, date]:
    """By channel the first day whose statement was promised and has not come. A day without trades is never promised."""
    promised = (
        Alarm.objects.filter(kind=FETCH_STATEMENT).order_by("subject").values_list("subject", flat=True)
    )
    days = [(channel, date.fromisoformat(day)) for channel, _, day in (s.partition(":") for s in promised)]
    since = min((day for _, day in days), default=date.max)
    came = set(Statement.objects.filter(day__gte=since, is_current=True).values_list("channel", "day"))
    return dict(pair for pair in reversed(days) if pair not in came)


def _books_of(
    name: str, last: Statement | None, differences: int, missing: date | None, now: datetime
) -> Books:
    """The next statement is one that is missing, else that of the channel's present day."""
    channel = class_of(name)
    next_day = missing or now.astimezone(channel.calendar).date()
    try:
        next_at = get_channel(name).statement_ready_at(next_day).astimezone(UTC)
    except UnknownChannel:
        return Books(name, channel.title, last, differences, None, None, is_late=True)
    return Books(
        name, channel.title, last, differences, next_day, next_at, is_late=now > next_at + STATEMENT_GRACE
    )
