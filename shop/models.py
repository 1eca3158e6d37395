"""Rows of the ground, used by every floor: alarms, events, heartbeats. They name their subject by its public number."""

from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from shop.numbers import new_endpoint_number, new_event_number, new_key_number


class Source(models.TextChoices):
    """Who told us, or who wanted it."""

    SHOPPER = "SHOPPER", _("Shopper")
    API = "API", _("Another system")  # by its key, in the shopper's place
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
    subject = models.CharField(max_length=100, help_text=_("public number or id of what is unfinished"))
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


class Tally(models.Model):
    """What has been counted of the rows of one table, up to an id: so that a metric of a million rows costs its last ones."""

    name = models.CharField(max_length=100, unique=True)
    up_to = models.PositiveBigIntegerField(default=0)
    # Pairs of labels and of what was counted under them.
    counts = models.JSONField(default=list)

    class Meta:
        verbose_name_plural = "tallies"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} to {self.up_to}"


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


class BusinessEvent(models.Model):
    """Something that the shop's other systems are told of, written in the transaction that makes it true.

    `stream` is the order's number, or what stands for it where there is no order; the database counts `sequence` within it,
    from 1 without a gap. `position` is its place in the feed of all: given later by one publisher at a time, so that whoever
    has read up to a position has read everything before it.
    """

    number = models.CharField(max_length=32, unique=True, default=new_event_number, editable=False)
    stream = models.CharField(max_length=64)
    sequence = models.PositiveIntegerField(db_default=0, editable=False)
    type = models.CharField(max_length=30)
    subject = models.CharField(max_length=64, help_text=_("public number of what it is about"))
    data = models.JSONField(default=dict)
    position = models.PositiveBigIntegerField(null=True, blank=True, unique=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["stream", "sequence"], name="one_place_in_a_stream")]
        indexes = [
            models.Index(fields=["id"], condition=Q(position__isnull=True), name="event_unpublished"),
            models.Index(fields=["at"], name="business_event_at"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.stream}/{self.sequence}"


class Horizon(models.Model):
    """How far back the feed reaches: one row, or none as long as nothing was forgotten.

    Of what lies before it only the last event of each stream is left, from which the stream is counted on.
    """

    forgotten_to = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_horizon")]

    def __str__(self) -> str:
        return str(self.forgotten_to)


class Endpoint(models.Model):
    """Where another system wants to be told. Its secrets are sealed; the former one signs as well until `old_until`."""

    class OffWhy(models.TextChoices):
        """Why nothing is sent to it."""

        STAFF = "STAFF", _("by staff")
        FAILING = "FAILING", _("it took nothing for days")
        GONE = "GONE", _("it said that it is gone (410)")

    number = models.CharField(max_length=32, unique=True, default=new_endpoint_number, editable=False)
    url = models.CharField(max_length=500)
    note = models.CharField(max_length=100, blank=True)
    # What it wants to be told of; empty for everything.
    types = models.JSONField(default=list, blank=True)
    secret = models.TextField(editable=False)
    old_secret = models.TextField(blank=True, editable=False)
    old_until = models.DateTimeField(null=True, blank=True)
    # The first of the failures since it last took something; None while all is well.
    failing_since = models.DateTimeField(null=True, blank=True)
    # The last failure, and how many there were since it last took something.
    failed_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, db_default=0)
    # While it fails again and again nothing is sent before this; then one message tries.
    rests_until = models.DateTimeField(null=True, blank=True)
    # When it last took something after such a rest.
    well_since = models.DateTimeField(null=True, blank=True)
    # Switched off, by a person or after failing for long: nothing is sent, what happens is kept for it.
    off_at = models.DateTimeField(null=True, blank=True)
    off_why = models.CharField(max_length=10, choices=OffWhy.choices, blank=True, default="")
    # Nothing is kept for it any more, and it is shown nowhere but in history.
    removed_at = models.DateTimeField(null=True, blank=True)
    # What is published from here on is its own.
    since_position = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        permissions = [("manage_endpoint", gettext_noop("Can add, change and switch webhook endpoints"))]

    def __str__(self) -> str:
        # Behind the host there may be a secret of the receiver's, and this stands everywhere.
        return self.note or urlsplit(self.url).hostname or self.number


class Delivery(models.Model):
    """One event for one endpoint. Within a stream the earlier one goes first."""

    class Status(models.TextChoices):
        WAITING = "WAITING", _("Waiting")
        TAKEN = "TAKEN", _("Taken")
        DEAD = "DEAD", _("Given up")  # a person has a case about it

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="deliveries")
    event = models.ForeignKey(BusinessEvent, on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    # Tries of this event at this endpoint, and when the first was made.
    tries = models.PositiveIntegerField(default=0, db_default=0)
    first_tried_at = models.DateTimeField(null=True, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    # What came of the last try: the HTTP status, or in a word why there was none.
    answer = models.CharField(max_length=100, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="one_delivery_for_each_endpoint")
        ]
        indexes = [
            models.Index(fields=["endpoint", "id"], condition=Q(status="WAITING"), name="delivery_waiting"),
            models.Index(fields=["endpoint", "id"], condition=Q(status="DEAD"), name="delivery_dead"),
        ]

    def __str__(self) -> str:
        return gettext("%(event)s to %(endpoint)s") % {"event": self.event, "endpoint": self.endpoint}


class ApiKey(models.Model):
    """What another system shows to be let in. Only a hash of it is kept; it is shown once, when it is made.

    `owner` is who answers for it: it may do no more than its scopes, nor than what its owner may do at the moment.
    """

    number = models.CharField(max_length=32, unique=True, default=new_key_number, editable=False)
    name = models.CharField(max_length=100)
    secret_hash = models.CharField(max_length=64, editable=False)
    # The former secret counts until `old_until`, so that a system can be given the new one without a gap.
    old_hash = models.CharField(max_length=64, blank=True, editable=False)
    old_until = models.DateTimeField(null=True, blank=True)
    scopes = models.JSONField(default=list)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "API key"
        ordering = ["id"]
        permissions = [("manage_key", gettext_noop("Can make, rotate and revoke API keys"))]

    def __str__(self) -> str:
        return self.name
