"""Rows of the channels' own books: their statements, what stands in them, and where they differ from ours.

A statement is kept as the entries that were read from it and the digest of the file. Nothing here decides anything.
"""

from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from payments.channels.base import LineKind
from payments.channels.registry import list_choices
from shop.money import for_people


class Statement(models.Model):
    """One file of a channel's books for one day of its calendar. One that was restated is a row more, the current one."""

    class Origin(models.TextChoices):
        FETCHED = "fetched", _("From the channel")
        FILE = "file", _("Given by hand")

    channel = models.CharField(max_length=10, choices=list_choices)
    day = models.DateField(help_text=_("of the channel's own calendar"))
    digest = models.CharField(max_length=64, help_text=_("SHA-256 of the file as it came"))
    origin = models.CharField(max_length=10, choices=Origin.choices)
    given_by = models.CharField(max_length=150, blank=True)
    entries = models.PositiveIntegerField()
    is_current = models.BooleanField()
    read_at = models.DateTimeField(db_default=Now())
    compared_at = models.DateTimeField(null=True, blank=True)
    # By currency: their sums and ours in minor units, and what explains each cent between them; see `reconciling`.
    totals = models.JSONField(default=dict)

    class Meta:
        permissions = [
            ("reconcile_statement", gettext_noop("Can take in statements, compare them and run safe repairs"))
        ]
        ordering = ["-day", "channel", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "day", "digest"], name="one_row_per_statement_file"),
            models.UniqueConstraint(
                fields=["channel", "day"], condition=Q(is_current=True), name="one_current_statement_per_day"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.day}"


class Entry(models.Model):
    """One line of a statement: a trade that was paid, or a refund. Amounts are minor units, as in `StatementLine`."""

    # Entries of one statement lie side by side: a BRIN index finds them, and costs nothing while a million are copied.
    statement = models.ForeignKey(Statement, on_delete=models.CASCADE, db_index=False)
    place = models.PositiveIntegerField(help_text=_("in the file, from 1"))
    kind = models.CharField(max_length=10, choices=[(str(kind), str(kind)) for kind in LineKind])
    number = models.CharField(max_length=64)
    channel_number = models.CharField(max_length=64)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    fee = models.BigIntegerField()
    payment_number = models.CharField(max_length=64)
    trade_number = models.CharField(max_length=64)
    at = models.DateTimeField(null=True)
    code = models.CharField(max_length=64)

    class Meta:
        indexes = [
            BrinIndex(fields=["statement"], name="entry_of_statement", autosummarize=True),
            models.Index(fields=["channel_number"], name="entry_of_trade"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.channel_number or self.number}"


class Difference(models.Model):
    """Where a channel's books and ours do not say the same about one trade or refund. Never deleted: it ends."""

    class Kind(models.TextChoices):
        UNSETTLED = "unsettled", _("Paid there, not settled here")
        STRANGER = "stranger", _("Paid there, no payment of ours")
        MISSING = "missing", _("Paid here, not in their books")
        AMOUNT = "amount", _("Another amount")
        CURRENCY = "currency", _("Another currency")
        DOUBLED = "doubled", _("Twice in their books")
        FEE = "fee", _("Another fee than agreed")
        REFUND_UNKNOWN = "refund_unknown", _("Refunded there, unknown here")
        REFUND_STATUS = "refund_status", _("Refunded there, not here")
        REFUND_MISSING = "refund_missing", _("Refunded here, not in their books")
        REFUND_AMOUNT = "refund_amount", _("Another amount went back")

    class Severity(models.IntegerChoices):
        NOTE = 1, _("note")
        LOOK = 2, _("look")
        MONEY = 3, _("money")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        CASE = "case", _("A person decides")
        DECIDED = "decided", _("A person has decided")
        REPAIRED = "repaired", _("Repaired")
        GONE = "gone", _("Not found any more")

    channel = models.CharField(max_length=10, choices=list_choices)
    day = models.DateField(help_text=_("of the statement that shows it"))
    kind = models.CharField(max_length=20, choices=Kind.choices)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices)
    subject = models.CharField(
        max_length=64, help_text=_("the channel's number of the trade or refund, else ours")
    )
    number = models.CharField(max_length=64, blank=True, help_text=_("ours, as far as it is known"))
    currency = models.CharField(max_length=3)
    theirs = models.BigIntegerField(null=True, help_text=_("minor units"))
    ours = models.BigIntegerField(null=True, help_text=_("minor units"))
    note = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN, db_default=State.OPEN)
    # Only a file that somebody has handed in shows it so far: the channel's own may still settle it.
    is_by_hand = models.BooleanField(default=False, db_default=False)
    found_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-severity", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "kind", "subject"],
                condition=Q(ended_at__isnull=True),
                name="one_open_difference_per_subject",
            )
        ]
        indexes = [
            models.Index(fields=["channel", "day"], name="difference_of_day"),
            models.Index(fields=["number"], name="difference_of_number"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

    def as_json(self) -> dict[str, Any]:
        """The difference for programs; amounts in minor units."""
        return {
            "kind": self.kind,
            "severity": Difference.Severity(self.severity).name.lower(),
            "subject": self.subject,
            "number": self.number,
            "currency": self.currency,
            "theirs": self.theirs,
            "ours": self.ours,
            "state": self.state,
            "note": self.note,
        }

    def amount_text(self, amount_minor: int | None) -> str:
        """One of its amounts for people; "" for none."""
        if amount_minor is None:
            return ""
        return for_people(amount_minor, self.currency) if self.currency else str(amount_minor)
