"""The statuses of payments and refunds, and what each word of a channel does to each of them.

Every (status, outcome) pair stands here, also those that do nothing. Nobody else decides by a status.
"""

from enum import StrEnum

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from payments.channels.base import Outcome


class PaymentStatus(TextChoices):
    """One attempt through one channel. UNPAID exists only inside the transaction that goes on to PAYING."""

    UNPAID = "UNPAID", _("Unpaid")
    PAYING = "PAYING", _("Paying")
    PAID = "PAID", _("Paid")
    CLOSED = "CLOSED", _("Closed")
    FAILED = "FAILED", _("Failed")


class RefundStatus(TextChoices):
    PENDING_APPROVAL = "PENDING_APPROVAL", _("Waiting for approval")
    REFUNDING = "REFUNDING", _("On its way")
    REFUNDED = "REFUNDED", _("Refunded")
    FAILED = "FAILED", _("Failed")
    REJECTED = "REJECTED", _("Rejected")


class ReceiptClass(TextChoices):
    """Where the money of one trade belongs. Channel successes are always the sum of the five."""

    SETTLED = "settled", _("Pays the order")
    SURPLUS = "surplus", _("The order was paid already")
    LATE = "late", _("The order was closed")
    MISMATCH = "mismatch", _("Amount or currency differ")
    UNMATCHED = "unmatched", _("No payment of ours")


class Deed(StrEnum):
    """What settling does about one word of a channel."""

    KEEP = "keep"
    PAY = "pay"
    REPEAT = "repeat"  # paid already: look whether it is the same trade
    CLOSE = "close"
    FAIL = "fail"
    CAPTURE = "capture"  # the shopper agreed: ours to take the money, if the order still waits for it


class Settled(StrEnum):
    """What became of one piece of news."""

    MOVED = "moved"
    REPEATED = "repeated"  # known already
    STALE = "stale"  # says nothing new
    CAPTURE = "capture"  # the shopper agreed: the caller takes the money, see `capturing`
    UNDECIDED = "undecided"  # our own promise not to take the money came too late: it is being taken
    REVIEW = "review"  # a case was opened


# CLOSED comes from the channel's word, or from `expired`: verified as unpaid after `dead_at` (see `querying`).
PAYMENT_MOVES: dict[PaymentStatus, frozenset[PaymentStatus]] = {
    PaymentStatus.UNPAID: frozenset({PaymentStatus.PAYING}),
    PaymentStatus.PAYING: frozenset({PaymentStatus.PAID, PaymentStatus.CLOSED, PaymentStatus.FAILED}),
    # A channel may find its money late; nothing ever leaves PAID.
    PaymentStatus.CLOSED: frozenset({PaymentStatus.PAID}),
    PaymentStatus.FAILED: frozenset({PaymentStatus.PAID}),
    PaymentStatus.PAID: frozenset(),
}

PAYMENT_DEEDS: dict[tuple[PaymentStatus, Outcome], Deed] = {
    (PaymentStatus.PAYING, Outcome.SUCCEEDED): Deed.PAY,
    (PaymentStatus.PAYING, Outcome.APPROVED): Deed.CAPTURE,
    (PaymentStatus.PAYING, Outcome.OPEN): Deed.KEEP,
    (PaymentStatus.PAYING, Outcome.CLOSED): Deed.CLOSE,
    (PaymentStatus.PAYING, Outcome.REFUSED): Deed.FAIL,
    (PaymentStatus.PAYING, Outcome.NOT_FOUND): Deed.KEEP,
    (PaymentStatus.PAYING, Outcome.UNKNOWN): Deed.KEEP,
    (PaymentStatus.PAID, Outcome.SUCCEEDED): Deed.REPEAT,
    (PaymentStatus.CLOSED, Outcome.SUCCEEDED): Deed.PAY,
    (PaymentStatus.FAILED, Outcome.SUCCEEDED): Deed.PAY,
    # A weaker word never undoes an end.
    **{
        (status, outcome): Deed.KEEP
        for status in (PaymentStatus.PAID, PaymentStatus.CLOSED, PaymentStatus.FAILED)
        for outcome in Outcome
        if outcome is not Outcome.SUCCEEDED
    },
}

REFUND_MOVES: dict[RefundStatus, frozenset[RefundStatus]] = {
    RefundStatus.PENDING_APPROVAL: frozenset({RefundStatus.REFUNDING, RefundStatus.REJECTED}),
    RefundStatus.REFUNDING: frozenset({RefundStatus.REFUNDED, RefundStatus.FAILED}),
    RefundStatus.REFUNDED: frozenset(),
    RefundStatus.FAILED: frozenset(),
    RefundStatus.REJECTED: frozenset(),
}

# What a channel's word about a refund moves it to; the pairs that are not here leave it as it is.
REFUND_ENDS: dict[Outcome, RefundStatus] = {
    Outcome.SUCCEEDED: RefundStatus.REFUNDED,
    Outcome.REFUSED: RefundStatus.FAILED,
    Outcome.CLOSED: RefundStatus.FAILED,
}
# Money of these refunds is spoken for: their sum never exceeds the receipt.
RESERVING = frozenset({RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING, RefundStatus.REFUNDED})
