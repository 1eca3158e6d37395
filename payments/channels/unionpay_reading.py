"""What UnionPay's codes and messages mean in our words: pure reading of parameters that are verified already.

Amounts are reported as they came and judged by nobody here. `respCode` of a query says how the query went, `origRespCode`
how the trade went; of a notification, `respCode` is the trade's own. What is not as documented is UNKNOWN, never a failure.
Source: UnionPay's dictionary of response codes (open.unionpay.com) and the comments in its demo packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from .base import Outcome, PaymentReport, RefundReport, Report
from .fields import BadField, is_word, read_word
from .unionpay_statement import BEIJING, place_in_year

DONE, DONE_WITH_A_FLAW, TAKEN_TOO_LATE = "00", "A6", "42"
DUPLICATE, NOT_THERE, NO_FILE = "12", "34", "98"
# Of one trade: `origRespCode` of a query. What is not here is UNKNOWN, above all 03 (timed out), 04 (unclear: the statement
# tells), 06 (busy), 37 (asked too often), 83 (the issuer is still at it), 99, and of a payment what is CHARGED.
# OPEN after `dead_at` ends an attempt as unpaid, and it is looked at for some days more. For 05 that relies on comments in UnionPay's demo packages of the gateway
# product, beside payTimeout and the query (public copies of 5.0.0 and 5.1.0, read November 2026): until payTimeout, "failed",
# "in process" and "not there" may all pass; after it an answer is final, and what is neither 00 nor A6 may be judged failed.
# By that 03 and 04 would end it too; but the dictionary calls them unclear, so they wait for a person. Of codes (QR) nothing
# of the kind was found, and no live answer was seen: if money comes all the same, the closed payment takes it.
TRADE_CODES = {
    DONE: Outcome.SUCCEEDED,
    # Money arrived, and UnionPay calls it irregular. A1 is no such code: in the network's own table it is a refusal
    # (Q/CUP 006.6, "currencies of a transfer differ").
    DONE_WITH_A_FLAW: Outcome.SUCCEEDED,
    "05": Outcome.OPEN,  # taken, not decided: with the bank, or with a shopper who has not paid
    "70": Outcome.OPEN,  # waits for the cardholder's input
    **dict.fromkeys(("01", "02", "10", "11", "13"), Outcome.REFUSED),
    **dict.fromkeys(("30", "31", "32", "33", "35", "36", "38", "39", "40", "45"), Outcome.REFUSED),
    # The cardholder's and the issuer's. 83: the issuer is still at it.
    **{str(code): Outcome.REFUSED for code in range(60, 85) if code not in (70, 74, 75, 83)},
}
# Of a payment: the shopper's money was taken, and the shop does not get it by this trade, so it is neither paid nor refused.
# 42: after payTimeout, and UnionPay gives it back by itself. 74, 75: the bill behind it is not settled. 45, 46: it went back.
CHARGED = frozenset({TAKEN_TOO_LATE, "74", "75", "45", "46"})
# Of one request: with these in a signed answer, nothing was begun.
REFUSING = frozenset(code for code, outcome in TRADE_CODES.items() if outcome is Outcome.REFUSED)
# A refund's original may be missing; and with 02 (closed for now) the same refund succeeds another time.
REFUND_REFUSING = REFUSING - {"02"} | {NOT_THERE}
WRONG_REQUEST = frozenset({"10", "11", "13", "31", "32"})  # the same request will never be taken
CURRENCIES = {"156": "CNY"}
PAY, REFUND, UNDO, QUERY, FILE = "01", "04", "31", "00", "76"
AMOUNT = re.compile(r"[1-9][0-9]{0,11}")
# What is kept of a notification. Not among it: the card (accNo, payCardNo), its kind and bank, and customerInfo.
KEPT = (
    *("merId", "txnType", "txnSubType", "bizType", "orderId", "txnTime", "queryId", "origQryId"),
    *("respCode", "respMsg", "txnAmt", "currencyCode", "settleAmt", "settleCurrencyCode", "settleDate"),
    *("exchangeRate", "exchangeDate", "traceNo", "traceTime"),
)


def read_code(answer: Mapping[str, str]) -> str:
    """How the request itself went, which says nothing about the trade that it asks about."""
    code = answer.get("respCode")
    return code if is_word(code) else "malformed"


def _outcome_of(answer: Mapping[str, str]) -> tuple[Outcome, str]:
    """What a query's answer says about the trade, and by which code."""
    code = read_code(answer)
    if code == NOT_THERE:
        return Outcome.NOT_FOUND, code
    if code != DONE:
        return Outcome.UNKNOWN, code
    code = answer.get("origRespCode", "")
    return TRADE_CODES.get(code, Outcome.UNKNOWN), code if is_word(code) else "malformed"


def read_payment(answer: Mapping[str, str], number: str) -> PaymentReport:
    outcome, code = _outcome_of(answer)
    if outcome is Outcome.SUCCEEDED:
        return _read_success(answer, number, code)
    if read_code(answer) == DONE and code in CHARGED:
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=code, needs_person=True)
    return PaymentReport(outcome=outcome, number=number, code=code)


def _read_success(params: Mapping[str, str], number: str, code: str) -> PaymentReport:
    """A payment that succeeded; what is not as documented makes it UNKNOWN."""
    try:
        _require_kind(params, PAY)
        currency = read_word(params, "currencyCode", limit=3)
        return PaymentReport(
            outcome=Outcome.SUCCEEDED,
            number=number,
            channel_number=read_word(params, "queryId"),
            amount_minor=_read_amount(params),  # settleAmt may be in the cardholder's currency
            currency=CURRENCIES.get(currency, currency),
            paid_at=_read_moment(params),
            code=code,
            needs_person=code == DONE_WITH_A_FLAW,
        )
    except BadField:
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def read_refund(answer: Mapping[str, str], number: str) -> RefundReport:
    outcome, code = _outcome_of(answer)
    if outcome is Outcome.SUCCEEDED:
        return _read_refunded(answer, number, code)
    return RefundReport(outcome=outcome, number=number, code=code)


def _read_refunded(params: Mapping[str, str], number: str, code: str) -> RefundReport:
    try:
        _require_kind(params, REFUND, UNDO)
        return RefundReport(
            outcome=Outcome.SUCCEEDED,
            number=number,
            channel_number=read_word(params, "queryId"),
            trade_number=params["origQryId"] if is_word(params.get("origQryId")) else "",
            amount_minor=_read_amount(params),
            code=code,
            needs_person=code == DONE_WITH_A_FLAW,
        )
    except BadField:
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def read_accepted(answer: Mapping[str, str], number: str) -> RefundReport:
    theirs = answer.get("queryId")
    return RefundReport(
        outcome=Outcome.OPEN, number=number, channel_number=theirs if is_word(theirs) else "", code=DONE
    )


def read_notice(params: Mapping[str, str], number: str) -> Report:
    """What a genuine notification says. UnionPay tells of successes only, and here respCode is the trade's own."""
    code, kind = read_code(params), params["txnType"]
    if code in (DONE, DONE_WITH_A_FLAW) and kind == PAY:
        return _read_success(params, number, code)
    if code in (DONE, DONE_WITH_A_FLAW) and kind in (REFUND, UNDO):
        return _read_refunded(params, number, code)
    if kind in (REFUND, UNDO):
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code=code)
    return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=code if kind == PAY else kind)


def cut_notice(params: Mapping[str, str]) -> bytes:
    """What is kept of a genuine notification, as a form: nothing about the payer, so its signature fits it no more."""
    return urlencode({name: params[name] for name in KEPT if name in params}).encode()


def _require_kind(params: Mapping[str, str], *kinds: str) -> None:
    if params.get("txnType") not in kinds:
        raise BadField("txnType")


def _read_amount(params: Mapping[str, str]) -> int:
    text = params.get("txnAmt", "")
    if not AMOUNT.fullmatch(text):
        raise BadField("txnAmt")
    return int(text)


def _read_moment(params: Mapping[str, str]) -> datetime:
    """traceTime, when the trade was made, has no year; it lies within a year after the order was sent."""
    try:
        sent = datetime.strptime(read_word(params, "txnTime"), "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        return place_in_year(read_word(params, "traceTime"), latest=sent + timedelta(days=180))
    except (ValueError, OverflowError) as error:
        raise BadField("traceTime") from error
