"""Rows of the ground, used by every floor: alarms, events, heartbeats. They name their subject by its public number."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Source(models.TextChoices):
    """Who told us, or who wanted it."""

    SHOPPER = "SHOPPER", _("Shopper")
    STAFF = "STAFF", _("Staff")
    SYSTEM = "SYSTEM", _("System")  # our own rules: expiry, compensation
    RESPONSE = "RESPONSE", _("Response")  # the channel's answer to our own request
    CALLBACK = "CALLBACK", _("Callback")
    QUERY = "QUERY", _("Query")
    STATEMENT = "STATEMENT", _("Statement")


class Alarm(models.Model):
    """The durable time to look again at something unfinished. Exactly one for each such thing.

    Written in the transaction that makes the thing unfinished, removed in the one that finishes it.
    """

    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=64, help_text=_("public number or id of what is unfinished"))
    due_at = models.DateTimeField()
    # The last moment of the kind's schedule, e.g. when a payment is dead. None: the schedule has no end.
    last_at = models.DateTimeField(null=True, blank=True)
    # How often it was claimed: the fencing token of each try.
    attempts = models.PositiveIntegerField(default=0)
    # How often it came by its schedule, and whether its next moment is an earlier one: that costs no place in it.
    place = models.PositiveIntegerField(default=0, db_default=0)
    is_hurried = models.BooleanField(default=False, db_default=False)
    # How often its handler has failed since it last went well.
    failures = models.PositiveIntegerField(default=0, db_default=0)
    tried_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "subject"], name="one_alarm_per_subject")]
        indexes = [models.Index(fields=["due_at"], name="alarm_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Event(models.Model):
    """One change of one status, for ever. The database refuses to update or delete a row."""

    order_number = models.CharField(max_length=32, blank=True)
    subject_kind = models.CharField(
        max_length=10,
        choices=[(kind, _(kind)) for kind in ("order", "payment", "refund", "link", "mail")],
    )
    subject = models.CharField(max_length=64)
    from_status = models.CharField(max_length=20, blank=True)
    to_status = models.CharField(max_length=20)
    source = models.CharField(max_length=10, choices=Source.choices)
    actor = models.CharField(max_length=150, blank=True)
    note = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(from_status=F("to_status")), name="event_is_a_change")
        ]
        indexes = [
            models.Index(fields=["order_number", "id"], name="event_of_order"),
            models.Index(fields=["subject_kind", "subject", "id"], name="event_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.from_status or '·'} → {self.to_status}"


class Heartbeat(models.Model):
    """The last sign of life of one guardian: a watch, the cluster, the scanner."""

    name = models.CharField(max_length=100, primary_key=True)
    at = models.DateTimeField()
    note = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.name} {self.at:%H:%M:%S}"


class IdempotencyKey(models.Model):
    """What became of one request that its client may send again: `subject` is the public number of what it made.

    Written in the transaction that makes the subject. While a lease runs, somebody is at work on it.
    """

    scope = models.CharField(
        max_length=100, help_text=_("what is made, and for whom: two clients may use one key")
    )
    key = models.CharField(max_length=255)
    body_hash = models.CharField(max_length=64, blank=True)
    subject = models.CharField(max_length=64, blank=True)
    status = models.PositiveSmallIntegerField(help_text=_("of the first answer"))
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "key"], name="one_row_per_key"),
            models.CheckConstraint(
                condition=~Q(subject="") | Q(lease_until__isnull=False),
                name="key_has_made_something_or_a_lease",
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="key_created")]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
