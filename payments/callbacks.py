"""Taking callbacks: verify the raw bytes, keep the message and settle in one commit, then acknowledge.

Never acknowledge before a commit. A message that does not verify is refused in the channel's own way and leaves nothing
but a log line.
"""

from contextlib import suppress
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from payments.cases import close_cases, open_case
from payments.channels.base import (
    CallbackMessage,
    CallbackReply,
    Channel,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    Report,
    report_from_json,
    report_to_json,
)
from payments.channels.registry import get_channel
from payments.errors import PaymentNotFound, RefundNotFound
from payments.models import Callback, Case, Payment
from payments.querying import query_payment
from payments.settling import settle_foreign_refund, settle_payment, settle_refund, settle_unmatched
from payments.statuses import PaymentStatus
from shop.alarms import Claim, remove_alarms, send_message, set_alarm
from shop.clock import WITH_NOW
from shop.models import Source
from shop.transactions import transactional

log = structlog.get_logger("nodrop.callbacks")

TAKE_CALLBACK = "take_callback"
# A genuine message is a few kilobytes in every channel.
MAX_BODY_BYTES = 64 * 1024
# A callback may come before our own row is committed; after this long, money without a payment becomes a case.
UNMATCHED_AFTER = timedelta(minutes=1)
TRY_AGAIN_S = 5
# How many old messages one pass of the scanner looks at.
BATCH = 1000
# What is kept of a message's headers: enough to verify it again.
KEPT_HEADERS = ("content-type", "wechatpay-")


def take_callback(channel_name: str, raw: RawCallback) -> CallbackReply:
    """Take one message of a channel and say what to answer. Raises UnknownChannel, and database errors before a commit."""
    channel = get_channel(channel_name)
    try:
        message = channel.read_callback(raw)
    except NotGenuine as error:
        log.warning("callback refused", channel=channel_name, reason=error.reason, size=len(raw.body))
        return channel.refuse_callback(error.reason)
    if not _is_known(channel, message):
        _take(channel, message, raw)
    return channel.acknowledge()


def take_by_alarm(claim: Claim) -> None:
    """Take a kept message that could not be settled when it came."""
    kept = Callback.objects.filter(pk=int(claim.subject), taken_at__isnull=True).first()
    if kept is None:
        remove_alarms([TAKE_CALLBACK], claim.subject)
        return
    is_confirmed = False
    if _must_ask(get_channel(kept.channel), report_from_json(kept.report)):
        is_confirmed = _confirm(kept)
    _take_kept(kept.pk, is_confirmed=is_confirmed)


def replay_callback(pk: int) -> bool:
    """Take a kept message once more, taken or not. False when it still names nothing of ours.

    Raises Callback.DoesNotExist.
    """
    kept = Callback.objects.get(pk=pk)
    is_confirmed = _must_ask(get_channel(kept.channel), report_from_json(kept.report)) and _confirm(kept)
    return _take_kept(pk, is_confirmed=is_confirmed, is_replay=True)


@transactional
def take_late_matches() -> int:
    """Take those messages again that named no payment of ours when they came, but do now. Returns how many.

    A payment appears after its message where the database was restored from a copy.
    """
    ours = Payment.objects.filter(number=OuterRef("number"), channel=OuterRef("channel"))
    waiting = Callback.objects.filter(Exists(ours), payment__isnull=True, taken_at__isnull=False)
    found = list(
        waiting.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:BATCH]
    )
    Callback.objects.filter(pk__in=found).update(taken_at=None)
    for pk in found:
        set_alarm(TAKE_CALLBACK, str(pk))
    return len(found)


@transactional
def forget_old() -> int:
    """Delete messages whose news was settled long ago; what they said is in receipts, refunds and events."""
    long_ago = Now() - timedelta(days=settings.CALLBACKS_KEPT_DAYS)
    old = Callback.objects.filter(taken_at__lt=long_ago).order_by("taken_at").values("pk")[:BATCH]
    return Callback.objects.filter(pk__in=old).delete()[0]


def _is_known(channel: Channel, message: CallbackMessage) -> bool:
    """A repeat of a settled success costs this one read, without a lock."""
    report = message.report
    if not isinstance(report, PaymentReport) or report.outcome is not Outcome.SUCCEEDED:
        return False
    return Payment.objects.filter(
        number=report.number,
        channel=channel.name,
        status=PaymentStatus.PAID,
        channel_number=report.channel_number,
    ).exists()


@transactional
def _take(channel: Channel, message: CallbackMessage, raw: RawCallback) -> None:
    kept = _keep(channel, message, raw)
    if kept.taken_at is not None:
        return
    if not _must_ask(channel, message.report) and _settle(channel.name, message.report):
        _mark_taken(kept)
        return
    set_alarm(TAKE_CALLBACK, str(kept.pk), in_s=TRY_AGAIN_S)
    send_message(TAKE_CALLBACK, str(kept.pk))


def _keep(channel: Channel, message: CallbackMessage, raw: RawCallback) -> Callback:
    """One row per message; a rival with the same message waits here until the first has committed."""
    row = Callback(
        channel=channel.name,
        message_id=message.message_id,
        kind=message.kind,
        number=message.report.number,
        headers={name: value for name, value in raw.headers.items() if name.startswith(KEPT_HEADERS)},
        body=raw.body,
        report=report_to_json(message.report),
    )
    Callback.objects.bulk_create([row], ignore_conflicts=True)
    return Callback.objects.select_for_update().get(channel=channel.name, message_id=message.message_id)


def _settle(channel_name: str, report: Report) -> bool:
    """Settle by the message itself; False when it names nothing of ours (yet)."""
    try:
        if isinstance(report, RefundReport):
            settle_refund(report, channel=channel_name, source=Source.CALLBACK)
        else:
            settle_payment(report, channel=channel_name, source=Source.CALLBACK)
    except (PaymentNotFound, RefundNotFound):
        return False
    return True


def _must_ask(channel: Channel, report: Report) -> bool:
    """Whether the message alone settles nothing: its channel wants it confirmed, or we could not read it."""
    return channel.confirms_callbacks_by_query or report.outcome is Outcome.UNKNOWN


def _confirm(kept: Callback) -> bool:
    """Ask the channel about the payment that the message names, and settle; False when that decided nothing."""
    if not _find_payment(kept).exists():
        return False
    return query_payment(kept.number)[0] is not Outcome.UNKNOWN


def _find_payment(kept: Callback) -> QuerySet[Payment]:
    return Payment.objects.filter(number=kept.number, channel=kept.channel)


@transactional
def _take_kept(pk: int, *, is_confirmed: bool, is_replay: bool = False) -> bool:
    """Settle by a kept message; True when it is about something of ours."""
    kept = Callback.objects.select_for_update().annotate(**WITH_NOW).get(pk=pk)
    if kept.taken_at is not None and not is_replay:
        return True
    channel, report = get_channel(kept.channel), report_from_json(kept.report)
    if is_confirmed or (not _must_ask(channel, report) and _settle(kept.channel, report)):
        close_cases(Case.Kind.UNMATCHED, kept.message_id, resolution="it has been settled")
        _mark_taken(kept)
        return True
    is_young = kept.now - kept.received_at < UNMATCHED_AFTER
    if is_young or (channel.confirms_callbacks_by_query and _find_payment(kept).exists()):
        return False  # asked again at the alarm's next moment
    is_ours = _give_a_home(kept, report)
    _mark_taken(kept)
    return is_ours


def _give_a_home(kept: Callback, report: Report) -> bool:
    """A minute has settled nothing: money that names no payment gets a receipt, and a person decides.

    True when it was a refund of our money that somebody made in the channel's console.
    """
    if isinstance(report, PaymentReport) and report.outcome is Outcome.SUCCEEDED:
        settle_unmatched(report, channel=kept.channel, source=Source.CALLBACK)
        return False
    if isinstance(report, RefundReport) and report.outcome is Outcome.SUCCEEDED:
        with suppress(RefundNotFound):
            settle_foreign_refund(report, channel=kept.channel, source=Source.CALLBACK)
            return True
    open_case(Case.Kind.UNMATCHED, kept.message_id, order=None, evidence={"callback": kept.pk, **kept.report})
    return False


def _mark_taken(kept: Callback) -> None:
    payment = Subquery(_find_payment(kept).values("pk"))
    Callback.objects.filter(pk=kept.pk).update(taken_at=Now(), payment=payment)
    remove_alarms([TAKE_CALLBACK], str(kept.pk))
