"""What WeChat Pay says, in our words: its states, its error codes and the objects of its answers and notifications.

Everything read here is verified by `wechat`, error answers excepted, which need not be signed. What is not as documented
is *unknown*, and nothing is repaired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from .base import Outcome, PaymentReport, RefundReport
from .fields import BadField, is_word, parse_json, read_minor, read_moment, read_object, read_word
from .wire import Reply

TRADE_STATES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "REFUND": Outcome.SUCCEEDED,  # paid, and a refund was asked since: that does not undo the payment
    "NOTPAY": Outcome.OPEN,  # also after time_expire, until somebody closes it
    "USERPAYING": Outcome.OPEN,
    "ACCEPT": Outcome.OPEN,
    "CLOSED": Outcome.CLOSED,
    "REVOKED": Outcome.CLOSED,
    "PAYERROR": Outcome.REFUSED,
}
REFUND_STATUSES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "PROCESSING": Outcome.OPEN,
    "CLOSED": Outcome.CLOSED,  # no money moved
    "ABNORMAL": Outcome.OPEN,  # the money left the merchant and did not arrive: a person must send it on
}
PAYMENT_KINDS = frozenset({"TRANSACTION.SUCCESS"})
REFUND_KINDS = frozenset({"REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"})
# What is kept of a notification and of what it encloses. Not among it: payer.openid, the payer's bank and account.
KEPT_OF_ENVELOPE = ("id", "create_time", "event_type", "resource_type")
KEPT_OF_CONTENT = (
    *("mchid", "appid", "out_trade_no", "transaction_id", "trade_type", "trade_state", "success_time"),
    *("amount", "out_refund_no", "refund_id", "refund_status"),
)


class Meaning(Enum):
    """What an error code says about what we asked for."""

    MISSING = auto()  # there is no such order or refund
    PAID = auto()
    ENDED = auto()  # closed or reversed before
    REFUSED = auto()  # not done, nor will it be when repeated
    UNDECIDED = auto()  # may be done, or may be done when repeated


# Compared without "_": the spelling varies between the generations of WeChat's own tables. What is not here is UNDECIDED.
ERRORS = {
    **dict.fromkeys(("ORDERNOTEXIST", "RESOURCENOTEXISTS", "REFUNDNOTEXISTS", "NOTFOUND"), Meaning.MISSING),
    "ORDERPAID": Meaning.PAID,
    **dict.fromkeys(("ORDERCLOSED", "ORDERREVERSED"), Meaning.ENDED),
    **dict.fromkeys(("PARAMERROR", "INVALIDREQUEST", "APPIDMCHIDNOTMATCH", "MCHNOTEXISTS"), Meaning.REFUSED),
    **dict.fromkeys(("SIGNERROR", "NOAUTH", "REQUESTBLOCKED", "TRADEERROR", "ACCOUNTERROR"), Meaning.REFUSED),
    "OUTTRADENOUSED": Meaning.UNDECIDED,  # an order stands under our number: ask about it
    "NOTENOUGH": Meaning.UNDECIDED,  # the same refund succeeds when the merchant has money again
    "USERPAYING": Meaning.UNDECIDED,
    **dict.fromkeys(("SYSTEMERROR", "BANKERROR", "ERROR", "BIZERRNEEDRETRY"), Meaning.UNDECIDED),
    **dict.fromkeys(("FREQUENCYLIMITED", "FREQUENCYLIMITEXCEED", "RATELIMITEXCEEDED"), Meaning.UNDECIDED),
    "RULELIMIT": Meaning.UNDECIDED,
}
# "There were no trades" and "it is being made" (bills): ask again later.
NOT_READY = frozenset({"NOSTATEMENTEXIST", "STATEMENTCREATING"})
DECIDING_STATUSES = frozenset({400, 401, 403, 404})  # under any other HTTP status a code decides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that may be believed: `data` of a verified 2xx, else `code` and its `meaning`; status 0 is none."""

    status: int
    data: Mapping[str, Any]
    code: str = ""
    meaning: Meaning = Meaning.UNDECIDED
    is_signed: bool = False

    @property
    def is_missing(self) -> bool:
        """The channel says, signed or not, that there is no such thing."""
        return self.meaning is Meaning.MISSING


def read_payment(data: Mapping[str, Any]) -> PaymentReport:
    """Read a payment object that is verified and of our account. What is not as documented makes it UNKNOWN."""
    try:
        number, state = read_word(data, "out_trade_no"), read_word(data, "trade_state")
        outcome = TRADE_STATES.get(state, Outcome.UNKNOWN)
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=state)
        amount = read_object(data, "amount")
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(data, "transaction_id"),
            amount_minor=read_minor(amount, "total"),  # payer_total is less where WeChat gave a coupon
            currency=read_word(amount, "currency", limit=3),
            paid_at=read_moment(data, "success_time"),
            code=state,
            needs_person=state == "REFUND",  # where this is the first that we hear of the payment
        )
    except BadField:
        number = word_or_empty(data, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def read_refund(data: Mapping[str, Any], status_name: str) -> RefundReport:
    """Read a refund object that is verified; an answer and a notification name its status differently."""
    try:
        status = read_word(data, status_name)
        return RefundReport(
            outcome=REFUND_STATUSES.get(status, Outcome.UNKNOWN),
            number=read_word(data, "out_refund_no"),
            channel_number=read_word(data, "refund_id"),
            payment_number=read_word(data, "out_trade_no"),
            trade_number=word_or_empty(data, "transaction_id"),
            amount_minor=read_minor(read_object(data, "amount"), "refund"),
            code=status,
            needs_person=status == "ABNORMAL",
        )
    except BadField:
        number = word_or_empty(data, "out_refund_no")
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def cut_notice(envelope: Mapping[str, Any], content: Mapping[str, Any]) -> bytes:
    """What is kept of a genuine notification, opened: nothing about the payer, so its signature fits it no more."""
    kept = {name: envelope[name] for name in KEPT_OF_ENVELOPE if name in envelope}
    kept["resource"] = {name: content[name] for name in KEPT_OF_CONTENT if name in content}
    return json.dumps(kept).encode()


def read_error(reply: Reply) -> Answer:
    """Read any answer but a 2xx. Its meaning is UNDECIDED unless code and HTTP status both are documented to decide."""
    code = error_code(reply)
    meaning = ERRORS.get(code, Meaning.UNDECIDED)
    if reply.status not in DECIDING_STATUSES or (meaning is Meaning.MISSING and reply.status != 404):
        meaning = Meaning.UNDECIDED
    is_signed = "wechatpay-signature" in reply.headers  # and a bad one has been refused before
    return Answer(
        status=reply.status, data={}, code=code or f"HTTP{reply.status}", meaning=meaning, is_signed=is_signed
    )


def error_code(reply: Reply) -> str:
    """The code of an error answer, normalised and safe to store and log; "" when there is none."""
    if 200 <= reply.status < 300:
        return ""
    try:
        return read_word(parse_json(reply.body), "code").replace("_", "")
    except BadField:
        return ""


def word_or_empty(data: Mapping[str, Any], name: str) -> str:
    """The field if it is safe to store and log, else ""."""
    value = data.get(name)
    return value if is_word(value) else ""
