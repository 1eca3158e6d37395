"""Taking callbacks: verify the raw bytes, keep the message and settle in one commit, then acknowledge.

Never acknowledge before a commit. A message that does not verify is refused in the channel's own way; it is never
believed, and at most a trace of it is kept for people.
"""

import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from itertools import islice

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from payments.attempts import foreign_request_of, refund_request_of
from payments.calls import heard, heard_as
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
from payments.channels.registry import class_of, get_channel
from payments.errors import PaymentNotFound, RefundNotFound
from payments.models import Call, Callback, Case, Payment, Receipt, Refund, RefusedCallback
from payments.querying import query_payment
from payments.returning import settle_foreign_refund, settle_refund
from payments.settling import settle_payment, settle_unmatched
from payments.statuses import Settled
from shop.alarms import Claim, remove_alarms, send_message, set_alarm
from shop.clock import WITH_NOW
from shop.counting import count
from shop.metrics import Metric
from shop.models import Source
from shop.numbers import ALPHABET
from shop.reads import read_one
from shop.transactions import transactional
from shop.writes import together, write

log = structlog.get_logger("nodrop.callbacks")

TAKE_CALLBACK = "take_callback"
ANSWERS = Metric(
    name="nodrop_callbacks_total",
    help="Messages at the channels' doors: taken, repeated (settled before), refused (not genuine).",
    kind="counter",
    labels=("channel", "result"),
)
KNOWN = """
select 1 from payments_payment payment join payments_receipt receipt on receipt.payment_id = payment.id
 where payment.number = %s and payment.channel = %s and payment.status = 'PAID'
   and receipt.channel_number = %s and receipt.amount = %s and receipt.currency = %s
"""
# A genuine message is a few kilobytes in every channel.
MAX_BODY_BYTES = 64 * 1024
# A callback may come before our own row is committed; after this long, money without a payment becomes a case.
UNMATCHED_AFTER = timedelta(minutes=1)
# A channel that wants its messages confirmed, and does not confirm one, is a case after this long.
CONFIRMED_WITHIN = timedelta(hours=1)
TRY_AGAIN_S = 5
# How many old messages one pass of the scanner looks at.
BATCH = 1000


def take_callback(channel_name: str, raw: RawCallback) -> CallbackReply:
    """Take one message of a channel and say what to answer. Raises UnknownChannel, and database errors before a commit."""
    channel = get_channel(channel_name)
    try:
        message = channel.read_callback(raw)
    except NotGenuine as error:
        log.warning(
            "callback refused",
            channel=channel_name,
            reason=error.reason,
            number=error.number[:64],
            size=len(raw.body),
        )
        _keep_refused(channel, raw, error)
        count(ANSWERS, channel_name, "refused")
        return channel.refuse_callback(error.reason)
    is_known = _is_known(channel, message)
    if not is_known:
        _take(channel, message, raw)
    count(ANSWERS, channel_name, "repeated" if is_known else "taken")
    return channel.acknowledge()


def take_by_alarm(claim: Claim) -> None:
    """Take a kept message that could not be settled when it came."""
    kept = Callback.objects.filter(pk=int(claim.subject), taken_at__isnull=True).first()
    if kept is None:
        remove_alarms([TAKE_CALLBACK], claim.subject)
        return
    _take_kept(kept.pk, is_confirmed=_ask_first(kept))


def replay_callback(pk: int) -> bool:
    """Take a kept message once more, taken or not. False when it still names nothing of ours.

    Raises Callback.DoesNotExist.
    """
    kept = Callback.objects.get(pk=pk)
    return _take_kept(pk, is_confirmed=_ask_first(kept), is_replay=True)


@transactional
def take_late_matches() -> int:
    """Take those messages again that named nothing of ours when they came, but do now. Returns how many.

    A payment appears after its message where the database was restored from a copy.
    """
    taken = Callback.objects.filter(payment__isnull=True, taken_at__isnull=False)
    ours = Payment.objects.filter(number=OuterRef("number"), channel=OuterRef("channel"))
    # A refund's message names its payment inside, so only those are looked into that a person has been told of.
    told = Case.objects.filter(
        kind=Case.Kind.UNMATCHED, subject=OuterRef("message_id"), resolved_at__isnull=True
    )
    received = Receipt.objects.filter(
        Q(number=KeyTextTransform("payment_number", OuterRef("report")))
        | Q(channel_number=KeyTextTransform("trade_number", OuterRef("report"))),
        channel=OuterRef("channel"),
    )
    waiting = taken.filter(Exists(ours)) | taken.filter(
        Exists(told), Exists(received), report__about="refund"
    )
    found = list(
        waiting.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:BATCH]
    )
    Callback.objects.filter(pk__in=found).update(taken_at=None)
    for pk in found:
        set_alarm(TAKE_CALLBACK, str(pk))
    return len(found)


@transactional
def forget_old() -> int:
    """Delete messages whose news was settled long ago, and as old traces of refused ones and of our calls.

    What they said is in receipts, refunds and events.
    """
    long_ago = Now() - timedelta(days=settings.CALLBACKS_KEPT_DAYS)
    old = Callback.objects.filter(taken_at__lt=long_ago).order_by("taken_at").values("pk")[:BATCH]
    calls = Call.objects.filter(at__lt=long_ago).order_by("at").values("pk")[:BATCH]
    refused = RefusedCallback.objects.filter(at__lt=long_ago).order_by("at").values("pk")[:BATCH]
    forgotten = Callback.objects.filter(pk__in=old).delete()[0]
    forgotten += Call.objects.filter(pk__in=calls).delete()[0]
    return forgotten + RefusedCallback.objects.filter(pk__in=refused).delete()[0]


def _is_known(channel: Channel, message: CallbackMessage) -> bool:
    """A repeat of a settled success costs this one read, without a lock."""
    report = message.report
    if not isinstance(report, PaymentReport) or report.outcome is not Outcome.SUCCEEDED:
        return False
    told = (report.number, channel.name, report.channel_number, report.amount_minor, report.currency)
    return read_one(KNOWN, *told) is not None


@transactional
def _take(channel: Channel, message: CallbackMessage, raw: RawCallback) -> None:
    """Settle and keep the message, which is the last row to be locked, in one commit."""
    with together():
        if not _must_ask(channel, message.report) and _settle(channel.name, message.report):
            _keep(TAKEN, channel, message, raw, name="kept")
            write(ANSWERED, TAKE_CALLBACK)
            return
    _keep(WAITING, channel, message, raw)
    kept = Callback.objects.filter(
        channel=channel.name, message_id=message.message_id, taken_at__isnull=True
    ).first()
    if kept is not None:
        set_alarm(TAKE_CALLBACK, str(kept.pk), in_s=TRY_AGAIN_S)
        send_message(TAKE_CALLBACK, str(kept.pk))


# One row for each message, however often it comes.
KEEP = """
insert into payments_callback (channel, message_id, kind, number, headers, body, report, payment_id, taken_at)
select %s, %s, %s, %s, %s, %s, %s, (select id from payments_payment where number = %s and channel = %s), {taken}
on conflict (channel, message_id) do {else_}
"""
WAITING = KEEP.format(taken="null::timestamptz", else_="nothing")
TAKEN = KEEP.format(
    taken="statement_timestamp()",
    else_="update set taken_at = excluded.taken_at, payment_id = excluded.payment_id"
    " where payments_callback.taken_at is null returning id",
)
# It may have waited for its payment until now. After the row, on which it depends: in that order like everywhere.
ANSWERED = "delete from shop_alarm where kind = %s and subject in (select id::text from kept)"


def _keep(how: str, channel: Channel, message: CallbackMessage, raw: RawCallback, *, name: str = "") -> None:
    report, number = message.report, message.report.number
    write(
        how,
        channel.name,
        message.message_id,
        message.kind,
        number,
        Jsonb(_kept_headers(raw)),
        channel.kept_body(raw),
        Jsonb(report_to_json(report)),
        number,
        channel.name,
        name=name,
    )


# What is kept of a message's headers: when it was signed, and with which key.
KEPT_HEADERS = ("content-type", "wechatpay-", "paypal-", "stripe-signature")


def _kept_headers(raw: RawCallback) -> dict[str, str]:
    return {name: value for name, value in raw.headers.items() if name.startswith(KEPT_HEADERS)}


# ---- what is refused ---------------------------------------------------------------------------------------------

# A payment's number (`shop.numbers`), also where what stands before it is percent-encoded.
NUMBER = re.compile(rb"(?=(P[%s]{23}))" % ALPHABET.encode())
# Nobody fills our disk: a message counts only with a number that we gave out, and so many of one payment are enough.
MAX_NUMBERS = 5
MAX_REFUSED = 20
MAX_REFUSED_HEADERS = 20
MAX_REFUSED_BYTES = 4 * 1024
KEEP_REFUSED = """
insert into payments_refusedcallback (order_number, channel, number, reason, headers, body)
select placed.number, %s, payment.number, %s, %s, %s
  from payments_payment payment join orders_order placed on placed.id = payment.order_id
 where payment.number = any(%s)
   and (select count(*) from payments_refusedcallback kept
         where kept.order_number = placed.number and kept.number = payment.number) < %s
 limit 1
"""


def _keep_refused(channel: Channel, raw: RawCallback, error: NotGenuine) -> None:
    """A trace of a message that names a payment of ours, for people: one statement, and none where nothing is named.

    The bytes are searched and never parsed. That no trace can be written changes nothing about the answer.
    """
    named = {match[1].decode() for match in islice(NUMBER.finditer(raw.body), MAX_NUMBERS)}
    if error.number:
        named.add(error.number)
    if not named:
        return
    facts = (channel.name, error.reason[:100], Jsonb(_masked_headers(raw)), _trace_of(channel, raw))
    try:
        write(KEEP_REFUSED, *facts, list(named), MAX_REFUSED)
    except DatabaseError as lost:
        log.warning("refused callback not kept", channel=channel.name, error=type(lost).__name__)
        connection.close_if_unusable_or_obsolete()


def _masked_headers(raw: RawCallback) -> dict[str, str]:
    """Of a signature only that there was one."""
    kept = islice(_kept_headers(raw).items(), MAX_REFUSED_HEADERS)
    return {name[:100]: "…" if "sig" in name else value[:200] for name, value in kept}


def _trace_of(channel: Channel, raw: RawCallback) -> bytes:
    """The beginning of the body; of a channel whose messages tell about persons, what was not verified cannot be cut to
    what is harmless, so only its size and digest.
    """
    if type(channel).kept_body is Channel.kept_body:
        return raw.body[:MAX_REFUSED_BYTES]
    digest = hashlib.sha256(raw.body).hexdigest()
    return json.dumps({"bytes": len(raw.body), "sha256": digest}).encode()


# ---- settling by a message ---------------------------------------------------------------------------------------


def _settle(channel_name: str, report: Report) -> bool:
    """Settle by the message itself; False when it names nothing of ours (yet)."""
    if report.outcome is Outcome.OPEN and not report.number:
        return True  # an event of the account that is about no payment of ours, and about no money
    try:
        if isinstance(report, RefundReport):
            settle_refund(report, channel=channel_name, source=Source.CALLBACK)
        else:
            settle_payment(report, channel=channel_name, source=Source.CALLBACK)
    except (PaymentNotFound, RefundNotFound):
        return False
    return True


def _must_ask(channel: Channel | type[Channel], report: Report) -> bool:
    """Whether the message alone settles nothing: its channel wants it confirmed, or we could not read it."""
    return channel.confirms_callbacks_by_query or report.outcome is Outcome.UNKNOWN


def _ask_first(kept: Callback) -> bool:
    """Ask the channel where the message alone does not do; True when that has settled what the message says."""
    report = report_from_json(kept.report)
    if isinstance(report, RefundReport):
        _learn_of_payment(kept.channel, report)
        # Some channels do not say in their message how much went back.
        is_vague = report.amount_minor is None or _must_ask(class_of(kept.channel), report)
        return is_vague and _ask_about_refund(kept, report)
    if not _must_ask(class_of(kept.channel), report) or not _find_payment(kept).exists():
        return False
    outcome = query_payment(kept.number)[0]
    if report.outcome is Outcome.SUCCEEDED:  # of this very trade: a number that was paid twice has two
        return Receipt.objects.filter(channel=kept.channel, channel_number=report.channel_number).exists()
    return outcome is not Outcome.UNKNOWN


def _learn_of_payment(channel: str, report: RefundReport) -> None:
    """Money went back of a payment that we do not know as paid yet: it must have been."""
    unpaid = Payment.objects.filter(number=report.payment_number, channel=channel, receipts__isnull=True)
    if unpaid.exists():
        query_payment(report.payment_number)


def _ask_about_refund(kept: Callback, report: RefundReport) -> bool:
    """Ask about the refund that a message names, ours or one of the channel's console; True when that has settled it."""
    refunds = Refund.objects.select_related("receipt__order", "receipt__payment")
    ours = refunds.filter(channel=kept.channel, number=report.number).first()
    if ours is not None:
        with heard("query_refund", ours, source=Source.QUERY) as hearing:
            told = hearing.take(get_channel(kept.channel).query_refund(refund_request_of(ours)))
        settled = settle_refund(told, channel=kept.channel, source=Source.QUERY)
        return settled is not Settled.STALE or told.outcome is Outcome.OPEN
    asked = foreign_request_of(report, heard_at=kept.received_at)
    with heard_as(_foreign_call(kept, report)) as hearing:
        told = hearing.take(get_channel(kept.channel).query_refund(asked))
    if told.outcome is not Outcome.SUCCEEDED:
        return False
    # An answer may say less about the trade than the message has said.
    trade = told.trade_number or report.trade_number, told.payment_number or report.payment_number
    told = replace(told, trade_number=trade[0], payment_number=trade[1])
    try:
        settled = settle_foreign_refund(told, channel=kept.channel, source=Source.QUERY)
    except RefundNotFound:
        return False
    return settled is not Settled.STALE


def _foreign_call(kept: Callback, report: RefundReport) -> Call:
    """The call about a refund that is not ours, told in the story of the order whose payment it names."""
    payments = Payment.objects.filter(number=report.payment_number, channel=kept.channel)
    order_number = payments.values_list("order__number", flat=True).first() or ""
    call = Call(operation="query_refund", subject=report.number, channel=kept.channel, source=Source.QUERY)
    call.order_number = order_number
    return call


def _find_payment(kept: Callback) -> QuerySet[Payment]:
    return Payment.objects.filter(number=kept.number, channel=kept.channel)


@transactional
def _take_kept(pk: int, *, is_confirmed: bool, is_replay: bool = False) -> bool:
    """Settle by a kept message; True when it is about something of ours."""
    # Without a lock: settling has its own, of the order first, and whoever comes second finds it settled.
    kept = Callback.objects.annotate(**WITH_NOW).get(pk=pk)
    if kept.taken_at is not None and not is_replay:
        return True
    channel, report = class_of(kept.channel), report_from_json(kept.report)
    if isinstance(report, PaymentReport) and report.needs_person and is_confirmed:
        # What a query says now does not answer what the message has told.
        evidence = {"callback": kept.pk, **kept.report}
        open_case(Case.Kind.IRREGULAR, kept.message_id, order=None, evidence=evidence)
    if is_confirmed or (not _must_ask(channel, report) and _settle(kept.channel, report)):
        close_cases(Case.Kind.UNMATCHED, kept.message_id, resolution="it has been settled")
        _mark_taken(kept, payment=_find_payment(kept))
        return True
    if kept.now - kept.received_at < UNMATCHED_AFTER:
        return False  # asked again at the alarm's next moment
    home = _find_home(kept, report)
    if home is not Home.LATER:
        # Whose payment may appear at this very moment is not looked for: its row would be locked after the receipt's.
        _mark_taken(kept, payment=None if home is Home.NOWHERE else _find_payment(kept))
    return home is Home.OURS


class Home(Enum):
    """Where the news of a message belongs that a minute has not settled."""

    OURS = auto()
    NOBODYS = auto()
    NOWHERE = auto()  # money without a payment: settled as unmatched, and again when its payment appears
    LATER = auto()  # the alarm tries again, once an hour in the end


def _find_home(kept: Callback, report: Report) -> Home:
    """Give money that names no payment a receipt; a person looks at whatever could not be settled."""
    if report.outcome not in (Outcome.SUCCEEDED, Outcome.UNKNOWN) and not report.needs_person:
        return Home.NOBODYS  # no money has moved, and what is ours is asked about by its own alarm
    must_ask = class_of(kept.channel).confirms_callbacks_by_query
    if report.outcome is not Outcome.SUCCEEDED or (must_ask and not _is_ours(kept, report)):
        # Where its word alone moves no money, and there is nothing to ask about, a person looks.
        _open_case(kept)
        return Home.NOBODYS
    if isinstance(report, RefundReport) and not must_ask:
        return _find_home_of_refund(kept, report)
    if isinstance(report, PaymentReport) and not _find_payment(kept).exists():
        settle_unmatched(report, channel=kept.channel, source=Source.CALLBACK)
        return Home.NOWHERE
    # Its channel wants it confirmed, and says something else, or nothing.
    if kept.now - kept.received_at > CONFIRMED_WITHIN:
        _open_case(kept)
    return Home.LATER


def _is_ours(kept: Callback, report: Report) -> bool:
    """Whether the channel can be asked about it: it names a payment of ours, or a refund of one."""
    if isinstance(report, PaymentReport):
        return _find_payment(kept).exists()
    asked = Refund.objects.filter(channel=kept.channel, number=report.number)
    named = Payment.objects.filter(channel=kept.channel, number=report.payment_number)
    receipts = Receipt.objects.filter(channel=kept.channel, channel_number=report.trade_number)
    return asked.exists() or named.exists() or receipts.exists()


def _find_home_of_refund(kept: Callback, report: RefundReport) -> Home:
    """Nobody here asked for it: somebody made it in the channel's console."""
    try:
        settled = settle_foreign_refund(report, channel=kept.channel, source=Source.CALLBACK)
    except RefundNotFound:
        _open_case(kept)
        # Of a payment of ours, it waits until that is known as paid, or until its amount is known.
        return Home.LATER if _is_ours(kept, report) else Home.NOBODYS
    if settled is Settled.STALE:
        return Home.LATER
    close_cases(Case.Kind.UNMATCHED, kept.message_id, resolution="it has been settled")
    return Home.OURS


def _open_case(kept: Callback) -> None:
    open_case(Case.Kind.UNMATCHED, kept.message_id, order=None, evidence={"callback": kept.pk, **kept.report})


def _mark_taken(kept: Callback, *, payment: QuerySet[Payment] | None) -> None:
    found = Subquery(payment.values("pk")) if payment is not None else None
    Callback.objects.filter(pk=kept.pk).update(taken_at=Now(), payment=found)
    remove_alarms([TAKE_CALLBACK], str(kept.pk))
