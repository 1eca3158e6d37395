"""What may go wrong with a payment. Late and repeated news from a channel are answers, not errors.

PaymentError
├── PaymentNotFound        no such payment, or not this person's (404)
├── OrderIsPaid            nothing left to pay or to cancel (409 order_paid)
├── OrderIsClosed          too late (409 order_closed)
├── PaymentIsDecided       it is not open any more: nothing to close, or nothing to settle
├── CannotClose            the channel lets a payment end by itself only
├── PaymentConfirming      an earlier attempt must be decided first (409, Retry-After)
├── NotOffered             channel, scene and currency do not go together (400)
├── ChannelUnavailable     the channel could not be reached, or refused (503)
├── AskedTooOften          the channel was asked a moment ago (429)
├── RefundNotFound         no such refund, or not this person's (404)
├── OverRefund             more than what is left of a receipt (409 over_refund)
├── NotRefundable          the channel has no way back for money (409 not_refundable)
├── ChannelRefunds         it has one: nobody pays back by hand
├── AllGoesBack            nothing is shipped whose money is on its way back
├── OwnApproval            nobody approves what they asked for (403 own_approval)
├── RefundIsDecided        it is not waiting for approval any more (409 refund_decided)
├── ProposalNotFound       no such proposal
├── ProposalWaits          another about this payment must be decided first
├── ProposalIsDecided      it has been approved or rejected already
├── BadEvidence            it does not show what it should; the message says why
├── NothingToMail          no receipt that anybody should be sent
├── CaseIsTaken            somebody else looks after it
├── CaseIsResolved         somebody else has decided
├── CaseStaysOpen          money hangs on it: not for a person to close by a word
├── MayNotDecide           a case is given only to who may decide it
└── IllegalPaymentMove     a bug: the table has no such move

Messages are lazy: `str(error)` is in the language of whoever asks for it.
"""

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say

OTHER_PERSON = _("A refund is approved by somebody else than who asked for it.")


class PaymentError(Exception):
    """Base of all."""


class PaymentNotFound(PaymentError):
    """Foreign and missing look the same."""


class OrderIsPaid(PaymentError):
    """The order has been paid."""


class OrderIsClosed(PaymentError):
    """The order is closed and takes no payment."""


class PaymentIsDecided(PaymentError):
    """`became` is the status of payment `number`."""

    def __init__(self, number: str, status: str) -> None:
        super().__init__(say(_("This payment is not open any more: it is %(status)s."), status=status))
        self.number = number
        self.became = status


class CannotClose(PaymentError):
    """A payment over `channel` ends by itself, or is paid."""

    def __init__(self, channel: str) -> None:
        words = _("%(channel)s cannot close a payment: it ends by itself when its time is over.")
        super().__init__(say(words, channel=channel))
        self.channel = channel


class PaymentConfirming(PaymentError):
    """An attempt of this order may still turn out paid. Ask again after `retry_after_s`.

    `may_supersede`: the shopper may choose to go on all the same.
    """

    def __init__(self, number: str, *, retry_after_s: int, may_supersede: bool = False) -> None:
        super().__init__(_("An earlier payment of this order is being confirmed."))
        self.number = number
        self.retry_after_s = retry_after_s
        self.may_supersede = may_supersede


class NotOffered(PaymentError):
    """`field`: channel or scene."""

    def __init__(self, message: Words, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class ChannelUnavailable(PaymentError):
    """`channel` cannot take a payment now. Nothing was charged."""

    def __init__(self, channel: str) -> None:
        words = _("%(channel)s cannot take a payment at the moment. Nothing was charged.")
        super().__init__(say(words, channel=channel))
        self.channel = channel


class AskedTooOften(PaymentError):
    """Ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(_("The channel was asked a moment ago."))
        self.retry_after_s = retry_after_s


class RefundNotFound(PaymentError):
    """Foreign and missing look the same."""


class OverRefund(PaymentError):
    """`left_minor` is what may still be given back, in minor units: nothing, where nothing was paid."""

    def __init__(self, number: str, *, left_minor: int) -> None:
        super().__init__(_("That is more than what may still be given back."))
        self.number = number
        self.left_minor = left_minor


class NotRefundable(PaymentError):
    """`channel` cannot give money back: it has to be sent by a bank transfer."""

    def __init__(self, channel: str) -> None:
        words = _("%(channel)s cannot give money back: send it by bank transfer.")
        super().__init__(say(words, channel=channel))
        self.channel = channel


class ChannelRefunds(PaymentError):
    """`channel` gives money back itself."""

    def __init__(self, channel: str) -> None:
        super().__init__(say(_("%(channel)s gives money back itself: ask for a refund."), channel=channel))
        self.channel = channel


class AllGoesBack(PaymentError):
    """All that was paid for the order is on its way back, or waits for approval."""

    def __init__(self, number: str) -> None:
        words = _("All the money of order %(number)s is going back: see how its refund ends first.")
        super().__init__(say(words, number=number))
        self.number = number


class OwnApproval(PaymentError):
    """A second person has to look at it."""

    def __init__(self, number: str, words: Words = OTHER_PERSON) -> None:
        super().__init__(words)
        self.number = number


class RefundIsDecided(PaymentError):
    """It has been approved or rejected already; `became` is its status."""

    def __init__(self, number: str, status: str) -> None:
        words = _("This refund is not waiting for approval any more: it is %(status)s.")
        super().__init__(say(words, status=status))
        self.number = number
        self.became = status


class ProposalNotFound(PaymentError):
    """There is no proposal of this number."""


class ProposalWaits(PaymentError):
    """`number` is the proposal that waits for a decision about the same payment."""

    def __init__(self, number: str) -> None:
        words = _("Proposal %(number)s about this payment waits for a decision.")
        super().__init__(say(words, number=number))
        self.number = number


class ProposalIsDecided(PaymentError):
    """It has been approved or rejected already; `became` is its status."""

    def __init__(self, number: str, status: str) -> None:
        super().__init__(say(_("This proposal is not waiting any more: it is %(status)s."), status=status))
        self.number = number
        self.became = status


class BadEvidence(PaymentError):
    """A payment cannot be settled by this; the message says what is wrong with it."""


class NothingToMail(PaymentError):
    """The order `number` is not paid, or its money went back."""

    def __init__(self, number: str) -> None:
        words = _("Order %(number)s has no receipt to be sent: it is not paid, or its money went back.")
        super().__init__(say(words, number=number))
        self.number = number


class CaseIsTaken(PaymentError):
    """`owner`: the name of who looks after it."""

    def __init__(self, owner: str) -> None:
        super().__init__(say(_("%(owner)s looks after this case."), owner=owner))
        self.owner = owner


class CaseIsResolved(PaymentError):
    """Nothing is left to decide. `resolution`: how it ended."""

    def __init__(self, resolution: str) -> None:
        super().__init__(say(_("This case is closed: %(resolution)s"), resolution=resolution))
        self.resolution = resolution


class CaseStaysOpen(PaymentError):
    """What money hangs on is closed by what happens to the money; the message says what has to be done instead."""


class MayNotDecide(PaymentError):
    """`name` is not an active member of the staff who may decide cases."""

    def __init__(self, name: str) -> None:
        super().__init__(say(_("%(name)s may not decide cases, and can be given none."), name=name))
        self.name = name


class CannotRepair(PaymentError):
    """No machine can put this difference right now; the message says why, or who has to."""


class IllegalPaymentMove(PaymentError):
    """The status table has no such move."""

    def __init__(self, number: str, from_status: str, to_status: str) -> None:
        super().__init__(f"{number} cannot go from {from_status} to {to_status}")
