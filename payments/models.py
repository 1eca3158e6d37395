"""Payments, receipts, refunds, callbacks and cases. Amounts are integers in the currency's minor unit.

Only `payments.moves` writes a status. What must never be, the database refuses: see the constraints.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from orders.models import CURRENCY_CHOICES, Order
from payments.books import Difference as Difference
from payments.books import Entry as Entry
from payments.books import Statement as Statement
from payments.channels.registry import list_choices
from payments.history import Call as Call
from payments.history import Proposal as Proposal
from payments.history import RefusedCallback as RefusedCallback
from payments.history import StaffAction as StaffAction
from payments.statuses import PaymentStatus, ReceiptClass, RefundStatus
from shop.models import Source
from shop.money import for_people
from shop.numbers import new_payment_number, new_refund_number

# How it ends where a system asked: with the owner of its key, see shop.keyring.actor_of.
OF_KEY = Concat(Value(" ("), F("approved_by"), Value(")"))
SCENE_CHOICES = [
    ("qr", _("qr")),
    ("page", _("page")),
    ("wap", _("wap")),
    ("app", _("app")),
    ("voucher", _("voucher")),
]


class Payment(models.Model):
    """One attempt to pay one order through one channel. *Live* while it may still take money."""

    number = models.CharField(max_length=32, unique=True, default=new_payment_number, editable=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments")
    channel = models.CharField(max_length=10, choices=list_choices)
    scene = models.CharField(max_length=10, choices=SCENE_CHOICES)
    status = models.CharField(max_length=10, choices=PaymentStatus.choices)
    amount = models.PositiveBigIntegerField(help_text=_("minor units"))
    currency = models.CharField(max_length=3, choices=CURRENCY_CHOICES)
    # Everything the create call carries, so that a repeat sends the very same content.
    request = models.JSONField()
    # What the channel must know of the person, sealed (see shop.vault); erased when the attempt is final.
    payer = models.TextField(blank=True, db_default="", editable=False)
    # What the shopper does next; None until the channel has answered.
    action = models.JSONField(null=True, blank=True)
    # The channel's own name of the attempt, where it needs one to be asked about it.
    handle = models.CharField(max_length=64, blank=True, db_default="")
    channel_number = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    # After this moment the channel takes no money for this payment, margin included.
    dead_at = models.DateTimeField()
    # While it runs, somebody is making the create call; afterwards another may go on.
    lease_until = models.DateTimeField()
    # Another attempt took its place, but it may still take money and stays watched.
    superseded_at = models.DateTimeField(null=True, blank=True)
    # A close had no believable answer, and the channel has not been heard since.
    is_unsure = models.BooleanField(default=False)
    # Since when no close has been decided: how long this attempt may hold up the next one is measured from here.
    close_unanswered_since = models.DateTimeField(null=True, blank=True)
    # No try of the create call has left this machine yet, so its refusal is final.
    nothing_sent = models.BooleanField(default=False)
    # The shopper agreed and we are taking the money: until that is decided nobody closes the attempt.
    capture_asked_at = models.DateTimeField(null=True, blank=True)
    # How often that was begun; each time has an id of its own at the channel.
    captures = models.PositiveSmallIntegerField(default=0, db_default=0)
    queried_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # The database's clock, where the query that read the row asked for it.
    now: datetime

    class Meta:
        permissions = [
            ("ask_payment", gettext_noop("Can ask the channel about a payment")),
            ("close_payment", gettext_noop("Can close a payment at its channel")),
            ("propose_settlement", gettext_noop("Can propose to settle a payment by evidence")),
            ("approve_settlement", gettext_noop("Can approve what another proposed to settle")),
            ("export_rows", gettext_noop("Can export orders, payments, refunds and differences")),
        ]
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order"],
                condition=Q(status=PaymentStatus.PAYING, superseded_at__isnull=True),
                name="one_live_payment_per_order",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[*PaymentStatus.values[1:]]), name="payment_is_never_seen_unpaid"
            ),
            models.CheckConstraint(condition=Q(amount__gte=1), name="payment_has_an_amount"),
        ]
        indexes = [
            models.Index(  # what the scanner looks for among millions that have ended
                fields=["dead_at"],
                condition=Q(status__in=[PaymentStatus.CLOSED, PaymentStatus.FAILED]),
                name="ended_payment",
            ),
            # what people look for among a million
            models.Index(fields=["channel_number"], condition=~Q(channel_number=""), name="payment_of_trade"),
            models.Index(fields=["status", "-id"], name="payment_by_status"),
            models.Index(fields=["channel", "-id"], name="payment_by_channel"),
            models.Index(fields=["created_at"], name="payment_by_date"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.currency)

    @property
    def is_live(self) -> bool:
        return self.status == PaymentStatus.PAYING

    @property
    def is_payable(self) -> bool:
        """Whether its action may still be shown to the shopper."""
        return self.is_live and self.superseded_at is None and self.capture_asked_at is None

    def is_undecided_for_long(self, now: datetime) -> bool:
        """Whether a close has had no answer for so long that the shopper may choose to go on without one."""
        if not self.is_live or self.close_unanswered_since is None:
            return False
        return now - self.close_unanswered_since >= timedelta(seconds=settings.CONFIRMING_LIMIT_S)


class Receipt(models.Model):
    """One trade that a channel says was paid. Every cent a channel took for us is in exactly one."""

    channel = models.CharField(max_length=10, choices=list_choices)
    channel_number = models.CharField(max_length=64)
    # As the channel named it: ours, or whatever an unmatched trade carries.
    number = models.CharField(max_length=64)
    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="receipts", null=True, blank=True
    )
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="receipts", null=True, blank=True)
    receipt_class = models.CharField(max_length=10, choices=ReceiptClass.choices)
    amount = models.BigIntegerField(help_text=_("minor units, as reported"))
    currency = models.CharField(max_length=3, help_text=_("as reported"))
    source = models.CharField(max_length=10, choices=Source.choices)
    paid_at = models.DateTimeField(null=True, blank=True, help_text=_("as reported"))
    # When the shopper was sent a mail about it, or nobody is any more: the address was refused, the money went back.
    mailed_at = models.DateTimeField(null=True, blank=True)
    # How often a person had it sent once more; each time is a mail of its own.
    resends = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "channel_number"], name="one_receipt_per_trade"),
            models.CheckConstraint(condition=~Q(channel_number=""), name="receipt_names_its_trade"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="receipt_amount_is_not_negative"),
            models.CheckConstraint(
                condition=Q(receipt_class__in=ReceiptClass.values), name="receipt_class_is_known"
            ),
            models.UniqueConstraint(
                fields=["order"],
                condition=Q(receipt_class=ReceiptClass.SETTLED),
                name="one_settled_receipt_per_order",
            ),
            models.CheckConstraint(
                condition=Q(receipt_class=ReceiptClass.UNMATCHED, payment__isnull=True, order__isnull=True)
                | Q(payment__isnull=False, order__isnull=False) & ~Q(receipt_class=ReceiptClass.UNMATCHED),
                name="unmatched_receipt_has_no_payment",
            ),
        ]

        indexes = [
            models.Index(
                fields=["order"],
                condition=Q(receipt_class=ReceiptClass.SETTLED, mailed_at__isnull=True),
                name="receipt_to_be_mailed",
            ),
            models.Index(fields=["channel_number"], name="receipt_of_trade"),
            models.Index(fields=["channel", "created_at"], name="receipt_by_date"),
            models.Index(
                fields=["receipt_class"],
                condition=Q(receipt_class__in=ReceiptClass.values[1:]),
                name="receipt_astray",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.channel_number}"

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.currency) if self.currency else str(self.amount)


class Refund(models.Model):
    """One attempt to give back a part of a receipt. Its number is made once and never anew while it is not final."""

    class Kind(models.TextChoices):
        AUTOMATIC = "AUTOMATIC", _("Surplus or late money")
        ASKED = "ASKED", _("Asked for")
        CONSOLE = "CONSOLE", _("Made in the channel's own console")
        BY_HAND = "BY_HAND", _("Paid back by hand")

    # Ours, or the channel's own for a refund that was made in its console.
    number = models.CharField(max_length=64, unique=True, default=new_refund_number, editable=False)
    receipt = models.ForeignKey(Receipt, on_delete=models.PROTECT, related_name="refunds")
    channel = models.CharField(max_length=10, choices=list_choices)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    status = models.CharField(max_length=20, choices=RefundStatus.choices)
    amount = models.PositiveBigIntegerField(help_text=_("minor units"))
    reason = models.CharField(max_length=80)
    # Who asked and who agreed, where people did: never the same person.
    asked_by = models.CharField(max_length=150, blank=True, db_default="")
    approved_by = models.CharField(max_length=150, blank=True, db_default="")
    channel_number = models.CharField(max_length=64, blank=True)
    # Set before the first call: from then on the channel is asked before anything is sent again.
    sent_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # False while its shopper is still to be told by mail that money which paid nothing is back.
    is_told = models.BooleanField(db_default=True, default=True)
    created_at = models.DateTimeField(db_default=Now())
    # The database's clock, where the query that read the row asked for it.
    now: datetime
    # Whether the request that this answers had been answered before.
    is_replay: bool = False

    class Meta:
        permissions = [
            ("ask_refund", gettext_noop("Can ask for a refund")),
            ("approve_refund", gettext_noop("Can approve or reject what another wants to refund")),
        ]
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=1), name="refund_has_an_amount"),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~(Q(approved_by=F("asked_by")) | Q(asked_by__endswith=OF_KEY)),
                name="nobody_approves_their_own",
            ),
            models.UniqueConstraint(
                fields=["channel", "channel_number"],
                condition=~Q(channel_number=""),
                name="one_refund_per_channel_number",
            ),
            models.CheckConstraint(
                condition=Q(status__in=RefundStatus.values), name="refund_status_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["channel_number"], condition=~Q(channel_number=""), name="refund_of_trade"),
            models.Index(fields=["status", "-id"], name="refund_by_status"),
            models.Index(fields=["channel", "ended_at"], name="refund_by_end"),
            models.Index(fields=["number"], condition=Q(is_told=False), name="refund_untold"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.receipt.currency)


class Callback(models.Model):
    """A verified message of a channel, kept once as it came. `taken_at` says that its news has been settled."""

    channel = models.CharField(max_length=10, choices=list_choices)
    message_id = models.CharField(max_length=128)
    kind = models.CharField(max_length=64)
    # Our number as the message names it; the payment may not be there (yet).
    number = models.CharField(max_length=64)
    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="callbacks", null=True, blank=True
    )
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    # What the message reports, in our words: a message is verified once, when it comes, and its time window passes.
    report = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    taken_at = models.DateTimeField(null=True, blank=True)
    # The database's clock, where the query that read the row asked for it.
    now: datetime

    class Meta:
        permissions = [
            ("view_raw_callback", gettext_noop("Can see messages of channels as they came")),
            ("replay_callback", gettext_noop("Can take a kept message once more")),
        ]
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["channel", "message_id"], name="one_row_per_message")]
        indexes = [
            models.Index(fields=["number"], name="callback_of_number"),
            models.Index(fields=["taken_at"], name="callback_taken"),
            models.Index(
                fields=["number"], condition=Q(payment__isnull=True), name="callback_without_payment"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.message_id}"


class Case(models.Model):
    """What a machine cannot decide. The payment or refund keeps its true status meanwhile."""

    class Kind(models.TextChoices):
        MISMATCH = "mismatch", _("Amount or currency differ")
        UNMATCHED = "unmatched", _("Money for no payment of ours")
        UNANSWERED = "unanswered", _("The channel gave no answer until the last query")
        REFUND = "refund", _("A refund needs a person")
        APPROVAL = "approval", _("A refund waits for a second person")
        DISAGREES = "disagrees", _("Order and receipts do not agree")
        CONSOLE_REFUND = "console_refund", _("Refunded in the channel's own console")
        MAIL = "mail", _("A receipt cannot be delivered to the address")
        NO_ALARM = "no_alarm", _("Something unfinished had no alarm")
        FAILING = "failing", _("An alarm fails again and again")
        PAYOUT = "payout", _("Money to be given back by hand")
        IRREGULAR = "irregular", _("The channel itself calls it irregular")
        BOOKS = "books", _("The channel's books and ours differ")
        PROPOSAL = "proposal", _("A settlement waits for a second person")
        WEBHOOK = "webhook", _("Another system could not be told")

    kind = models.CharField(max_length=20, choices=Kind.choices)
    subject = models.CharField(max_length=64, help_text=_("public number of what it is about"))
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="cases", null=True, blank=True)
    evidence = models.JSONField(default=dict)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    deadline = models.DateTimeField()
    opened_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=300, blank=True)

    class Meta:
        permissions = [("decide_case", gettext_noop("Can take, assign and resolve cases"))]
        ordering = ["deadline"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(resolved_at__isnull=True),
                name="one_open_case_per_subject",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

    def as_json(self) -> dict[str, Any]:
        """The case for programs; times in ISO 8601."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "order": self.order.number if self.order else None,
            "owner": self.owner.get_username() if self.owner else None,
            "opened_at": self.opened_at.isoformat(),
            "deadline": self.deadline.isoformat(),
            "evidence": self.evidence,
        }
