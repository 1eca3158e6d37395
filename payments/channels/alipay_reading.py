"""What Alipay says, in our words: its states, its error codes, and the content of its answers and notifications.

Everything that decides is verified by `alipay` before, refusals of the gateway excepted, which need not be signed. What is
not as documented is *unknown*, and nothing is repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, auto
from typing import Any
from urllib.parse import urlencode

from .alipay_seals import split_members
from .base import LineKind, Outcome, PaymentReport, RefundReport, RefundRequest, Report
from .fields import BadField, is_word, parse_json, read_word
from .wire import Reply

TRADE_STATES = {
    "WAIT_BUYER_PAY": Outcome.OPEN,
    "TRADE_SUCCESS": Outcome.SUCCEEDED,
    "TRADE_FINISHED": Outcome.SUCCEEDED,  # and no refund is possible any more
    "TRADE_CLOSED": Outcome.CLOSED,  # unless it tells when it was paid: then it went back in full since
}
REFUND_DONE = "REFUND_SUCCESS"  # the only status there is; without one the refund was not received or failed
PAYMENT_KIND = "trade_status_sync"
# What is kept of a notification. Not among it: buyer_id, buyer_logon_id, buyer_open_id, and where the money was taken from.
KEPT = (
    *("notify_id", "notify_type", "notify_time", "app_id", "seller_id", "out_trade_no", "trade_no"),
    *("out_biz_no", "trade_status", "total_amount", "trans_currency", "receipt_amount", "invoice_amount"),
    *("buyer_pay_amount", "point_amount", "refund_fee", "gmt_create", "gmt_payment", "gmt_refund"),
    "gmt_close",
)


class Meaning(Enum):
    """What an error code says about what we asked for."""

    MISSING = auto()  # there is no such trade or bill
    PAID = auto()
    ENDED = auto()  # closed before, or in a state that does not allow it
    REFUSED = auto()  # not done, nor will it be when repeated
    UNDECIDED = auto()  # may be done, or may be done when repeated


# By `code`, where no `sub_code` has to be read. What is in neither table is UNDECIDED.
GATEWAY_CODES = dict.fromkeys(("20001", "40001", "40002", "40003", "40006"), Meaning.REFUSED)
# By the end of `sub_code` under 40004: the prefix is ACQ., sometimes AQC. or isp., and the case varies too.
ERRORS = {
    **dict.fromkeys(("TRADE_NOT_EXIST", "BILL_NOT_EXIST"), Meaning.MISSING),
    "TRADE_HAS_SUCCESS": Meaning.PAID,
    "TRADE_HAS_CLOSE": Meaning.ENDED,
    **dict.fromkeys(
        ("TRADE_STATUS_ERROR", "REASON_TRADE_STATUS_INVALID", "REASON_ILLEGAL_STATUS"), Meaning.ENDED
    ),
    **dict.fromkeys(("INVALID_PARAMETER", "ACCESS_FORBIDDEN", "EXIST_FORBIDDEN_WORD"), Meaning.REFUSED),
    **dict.fromkeys(("PARTNER_ERROR", "TOTAL_FEE_EXCEED", "INVALID_ARGUMENTS"), Meaning.REFUSED),
    **dict.fromkeys(("TRADE_HAS_FINISHED", "TRADE_NOT_ALLOW_REFUND"), Meaning.REFUSED),
    **dict.fromkeys(("NOT_ALLOW_PARTIAL_REFUND", "REFUND_AMT_NOT_EQUAL_TOTAL"), Meaning.REFUSED),
    **dict.fromkeys(("REASON_TRADE_REFUND_FEE_ERR", "REFUND_FEE_ERROR"), Meaning.REFUSED),
    "DISCORDANT_REPEAT_REQUEST": Meaning.REFUSED,
    "CONTEXT_INCONSISTENT": Meaning.UNDECIDED,  # a trade stands under our number: ask about it
    **dict.fromkeys(("SYSTEM_ERROR", "REFUND_CHARGE_ERROR"), Meaning.UNDECIDED),
    # The same refund succeeds when the merchant has money again, or the trade is free again.
    **dict.fromkeys(("SELLER_BALANCE_NOT_ENOUGH", "REASON_TRADE_BEEN_FREEZEN"), Meaning.UNDECIDED),
}

BEIJING = timezone(timedelta(hours=8))
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that may be believed: its `data`, and of an error `code` and `meaning`, which is None of a success."""

    data: Mapping[str, Any]
    code: str = ""
    meaning: Meaning | None = None

    @property
    def is_done(self) -> bool:
        """Alipay did what was asked."""
        return self.meaning is None

    @property
    def is_missing(self) -> bool:
        """There is no such thing."""
        return self.meaning is Meaning.MISSING


def read_answer(code: str, data: Mapping[str, Any]) -> Answer:
    """What a verified answer means, by its `code` and `sub_code`."""
    if code == "10000":
        return Answer(data=data)
    sub_code = word_or_none(data, "sub_code")
    meaning = GATEWAY_CODES.get(code, Meaning.UNDECIDED)
    if code == "40004":
        meaning = ERRORS.get(sub_code.rpartition(".")[2].upper(), Meaning.UNDECIDED)
    return Answer(data=data, code=sub_code or code, meaning=meaning)


def error_code(reply: Reply) -> str:
    """The code of an error answer, safe to store and log; "" when there is none."""
    try:
        members = split_members(reply.body)
        inner = parse_json(next(iter(members.values())).encode())
        code = read_word(inner, "code")
    except BadField:
        return ""
    return "" if code == "10000" else word_or_none(inner, "sub_code") or code


def read_payment(data: Mapping[str, Any], *, paid_at: str) -> PaymentReport:
    """Read a trade that is verified and ours. What is not as documented makes it UNKNOWN."""
    try:
        number, state = read_word(data, "out_trade_no"), read_word(data, "trade_status")
        outcome = TRADE_STATES.get(state, Outcome.UNKNOWN)
        if outcome is Outcome.CLOSED and data.get(paid_at):
            outcome = Outcome.SUCCEEDED  # paid, and all of it went back since: that does not undo the payment
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=state)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(data, "trade_no"),
            amount_minor=read_fen(data, "total_amount"),  # buyer_pay_amount is less after a discount
            # Only cross-border trades name the currency of total_amount.
            currency=read_word(data, "trans_currency", limit=3) if "trans_currency" in data else "CNY",
            paid_at=read_time(data, paid_at),
            code=state,
            needs_person=state == "TRADE_CLOSED",  # where this is the first that we hear of the payment
        )
    except BadField:
        number = word_or_none(data, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def read_refund_status(data: Mapping[str, Any], request: RefundRequest) -> RefundReport:
    """Read a verified answer about a refund. What is not about it, or not as documented, is UNKNOWN."""
    if not is_about(data, out_request_no=request.number, **trade_of(request)):
        return unknown_refund(request, "about_another")
    try:
        status, amount = read_word(data, "refund_status"), read_fen(data, "refund_amount")
    except BadField:
        return unknown_refund(request, "malformed")
    if status != REFUND_DONE:
        return unknown_refund(request, status)
    return done_refund(request, code=status, amount_minor=amount)


def done_refund(request: RefundRequest, *, code: str, amount_minor: int | None = None) -> RefundReport:
    # Alipay gives a refund no number of its own.
    return RefundReport(
        outcome=Outcome.SUCCEEDED,
        number=request.number,
        payment_number=request.payment_number,
        trade_number=request.channel_number,
        amount_minor=amount_minor,
        code=code,
    )


def unknown_refund(request: RefundRequest, code: str) -> RefundReport:
    return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=code)


def read_notification(kind: str, fields: Mapping[str, str]) -> Report:
    """What a genuine notification says. `kind` is its notify_type."""
    state = fields.get("trade_status", "")
    if kind != PAYMENT_KIND:  # genuine, but we cannot read it: kept, and nothing follows from it
        number = word_or_none(fields, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=kind)
    # A finished trade still tells its last refund, but is no news of it.
    if state in ("TRADE_SUCCESS", "TRADE_CLOSED") and ("gmt_refund" in fields or "out_biz_no" in fields):
        return _read_refund_notice(state, fields)
    return read_payment(fields, paid_at="gmt_payment")


def _read_refund_notice(state: str, fields: Mapping[str, str]) -> RefundReport:
    """A refund, ours or made in Alipay's console, went back.

    Its amount is not in the message: refund_fee is the sum of all refunds of the trade. For ours that is enough, as
    Alipay takes one number with one amount only; of another one the amount has to be asked for.
    """
    number = word_or_none(fields, "out_biz_no")
    is_told = bool(number) and is_word(fields.get("out_trade_no")) and is_word(fields.get("trade_no"))
    return RefundReport(
        outcome=Outcome.SUCCEEDED if is_told else Outcome.UNKNOWN,
        number=number,
        payment_number=word_or_none(fields, "out_trade_no"),
        trade_number=word_or_none(fields, "trade_no"),
        code=state if is_told else "malformed",
    )


def cut_notification(fields: Mapping[str, str]) -> bytes:
    """What is kept of a genuine notification, as a form: nothing about the payer, so its signature fits it no more."""
    return urlencode({name: fields[name] for name in KEPT if name in fields}).encode()


# ---- single fields -----------------------------------------------------------------------------------------------


def to_fen(data: Mapping[str, Any], name: str) -> int:
    """Yuan as written, with at most two places, in fen."""
    value = data.get(name)
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise BadField(name)
    return int(Decimal(value) * 100)


def read_fen(data: Mapping[str, Any], name: str, *, sign: LineKind = LineKind.PAYMENT) -> int:
    """A positive amount; in a bill that of a refund is written negative."""
    fen = to_fen(data, name) * (-1 if sign is LineKind.REFUND else 1)
    if fen < 1:
        raise BadField(name)
    return fen


def read_time(data: Mapping[str, Any], name: str) -> datetime:
    """A time of Beijing, written without its offset, in UTC."""
    value = data.get(name)
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise BadField(name)
    try:
        return datetime.fromisoformat(value).replace(tzinfo=BEIJING).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadField(name) from error


def is_about(data: Mapping[str, Any], **expected: str) -> bool:
    return all(data.get(name) == value for name, value in expected.items())


def word_or_none(data: Mapping[str, Any], name: str) -> str:
    """The field if it is safe to store and log, else ""."""
    value = data.get(name)
    return value if is_word(value) else ""


def trade_of(request: RefundRequest) -> dict[str, str]:
    """Which trade. By both numbers: a payment that was paid twice has two trades, and it is this one's money."""
    numbers = {"out_trade_no": request.payment_number, "trade_no": request.channel_number}
    return {name: number for name, number in numbers.items() if number}
