"""Rows of what was said and done around the money: our calls to channels, messages that were refused, what staff did and
proposed. Together with events and callbacks they are the story of an order; nothing decides by them.
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from payments.channels.registry import list_choices
from shop.models import Source
from shop.money import for_people


class Call(models.Model):
    """One call to a channel about a payment or a refund, and what it answered. Kept as long as callbacks are."""

    order_number = models.CharField(max_length=32, blank=True)
    subject = models.CharField(max_length=64, help_text=_("our number of the payment or refund"))
    channel = models.CharField(max_length=10, choices=list_choices)
    operation = models.CharField(max_length=20)
    outcome = models.CharField(max_length=20)
    code = models.CharField(max_length=64, blank=True)
    took_ms = models.PositiveIntegerField()
    source = models.CharField(max_length=10, choices=Source.choices)
    at = models.DateTimeField(db_default=Now(), help_text=_("of the answer"))

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["order_number", "id"], name="call_of_order"),
            models.Index(fields=["at"], name="call_at"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.subject} {self.outcome}"


class RefusedCallback(models.Model):
    """A message that did not verify and carries a number of ours: shown, never believed. Only a few are kept of each."""

    order_number = models.CharField(max_length=32)
    channel = models.CharField(max_length=10, choices=list_choices)
    number = models.CharField(max_length=64)
    reason = models.CharField(max_length=100)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["order_number", "id"], name="refused_of_order"),
            models.Index(fields=["at"], name="refused_at"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.number} {self.reason}"


class StaffAction(models.Model):
    """What a person did in the back office, why, and what came of it. The database refuses to change or delete a row."""

    order_number = models.CharField(max_length=32, blank=True)
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=64, help_text=_("public number of what it was done to"))
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=300, blank=True)
    is_done = models.BooleanField(help_text=_("false: it was refused"))
    result = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["order_number", "id"], name="action_of_order")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class Proposal(models.Model):
    """One person holds that a payment was paid, by some evidence; another one must agree before it is settled."""

    class Evidence(models.TextChoices):
        ENTRY = "entry", _("A line of the channel's statement")
        CALLBACK = "callback", _("A message of the channel")
        WORD = "word", _("What somebody says")

    class Status(models.TextChoices):
        WAITING = "WAITING", _("Waits for a second person")
        APPROVED = "APPROVED", _("Approved")
        REJECTED = "REJECTED", _("Rejected")

    number = models.CharField(max_length=32, unique=True)
    payment = models.ForeignKey("payments.Payment", on_delete=models.PROTECT, related_name="proposals")
    evidence = models.CharField(max_length=10, choices=Evidence.choices)
    source = models.CharField(
        max_length=100, blank=True, help_text=_("which line or message, or who said it")
    )
    channel_number = models.CharField(max_length=64, help_text=_("of the trade, at the channel"))
    amount = models.PositiveBigIntegerField(help_text=_("minor units"))
    currency = models.CharField(max_length=3)
    paid_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300)
    asked_by = models.CharField(max_length=150)
    decided_by = models.CharField(max_length=150, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    asked_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)
    # What settling by it came to, in our words.
    result = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(decided_by="") | Q(status="REJECTED") | ~Q(decided_by=F("asked_by")),
                name="nobody_agrees_with_themselves",
            ),
            models.UniqueConstraint(
                fields=["payment"], condition=Q(status="WAITING"), name="one_waiting_proposal_per_payment"
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def amount_text(self) -> str:
        return for_people(self.amount, self.currency)
