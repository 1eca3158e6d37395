"""PayPal's documents in our words: orders, captures, refunds and events.

Pure functions over parsed JSON that is believed already. What is not as documented is *unknown*, never guessed; amounts
are read as they came and judged by nobody here. Source: PayPal's REST reference of Orders v2, Payments v2 and Webhooks
(developer.paypal.com, read November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from .base import Outcome, PaymentReport, RefundReport, Report
from .fields import BadField, is_word, read_moment, read_object, read_word

ORDER_STATUSES = {
    "CREATED": Outcome.OPEN,
    "SAVED": Outcome.OPEN,
    "PAYER_ACTION_REQUIRED": Outcome.OPEN,
    "APPROVED": Outcome.APPROVED,
    "VOIDED": Outcome.CLOSED,
}
CAPTURE_STATUSES = {
    "COMPLETED": Outcome.SUCCEEDED,
    "PARTIALLY_REFUNDED": Outcome.SUCCEEDED,  # paid, and something went back since
    "REFUNDED": Outcome.SUCCEEDED,
    "PENDING": Outcome.OPEN,  # an eCheck or a review: decided hours or days later
    "DECLINED": Outcome.REFUSED,
    "FAILED": Outcome.REFUSED,
}
REFUND_STATUSES = {
    "COMPLETED": Outcome.SUCCEEDED,
    "PENDING": Outcome.OPEN,
    "FAILED": Outcome.REFUSED,
    "CANCELLED": Outcome.CLOSED,
}
CAPTURE_EVENTS = frozenset(
    f"PAYMENT.CAPTURE.{word}" for word in ("COMPLETED", "PENDING", "DENIED", "DECLINED")
)
REFUND_EVENTS = frozenset({"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.REFUND.PENDING", "PAYMENT.REFUND.FAILED"})

# A refund made in PayPal's own site carries the custom_id of its payment (shop plugins find their order by it). The mark
# tells it from a refund of ours.
PAYMENT_MARK = "payment:"

_VALUE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NO_CENTS = frozenset({"HUF", "JPY", "TWD"})  # in PayPal's list of currencies


# ---- money and names ---------------------------------------------------------------------------------------------


def write_money(amount_minor: int, currency: str) -> dict[str, str]:
    """An amount of a currency with two places, as PayPal writes it."""
    return {"currency_code": currency, "value": f"{Decimal(amount_minor).scaleb(-2):.2f}"}


def read_money(data: Mapping[str, Any], name: str) -> tuple[int, str]:
    """Minor units, below 0 where money goes out, and the currency: "19.9" is 1990. Raises BadField."""
    money = read_object(data, name)
    value, currency = money.get("value"), money.get("currency_code")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise BadField(name)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise BadField(name)
    minor = Decimal(value).scaleb(0 if currency in _NO_CENTS else 2)
    if minor != minor.to_integral_value():
        raise BadField(name)
    return int(minor), currency


def _read_amount(data: Mapping[str, Any]) -> tuple[int, str]:
    minor, currency = read_money(data, "amount")
    if minor < 1:
        raise BadField("amount")
    return minor, currency


def word_or_none(data: Mapping[str, Any], name: str) -> str:
    """The text of an optional field; "" when it is not there or not usable."""
    value = data.get(name)
    return value if is_word(value) else ""


def number_of(data: Mapping[str, Any]) -> str:
    """Our payment's number, as an order's purchase unit, a capture or a reversal names it; "" when none does."""
    custom = word_or_none(data, "custom_id")
    if custom.startswith(PAYMENT_MARK):
        return custom.removeprefix(PAYMENT_MARK)
    return word_or_none(data, "invoice_id") or custom


def is_for(resource: Mapping[str, Any], merchant_id: str) -> bool:
    """Whether every payee that a resource names is this merchant; it need not name one."""
    holders = [resource, *read_objects(resource, "purchase_units")]
    payees = [holder["payee"] for holder in holders if isinstance(holder.get("payee"), dict)]
    return all(payee.get("merchant_id", merchant_id) == merchant_id for payee in payees)


def find_link(data: Mapping[str, Any], *rels: str) -> str:
    """The address of the first link with one of these relations; "" when there is no such, or none that is usable."""
    links = data.get("links")
    found = [one for one in links if isinstance(one, dict)] if isinstance(links, list) else []
    href = next((one.get("href") for one in found if one.get("rel") in rels), "")
    return href if is_word(href, limit=2000) else ""


def _captured_id(data: Mapping[str, Any]) -> str:
    """The capture that a refund or a reversal links up to."""
    _, _, last = find_link(data, "up").partition("/payments/captures/")
    return last if is_word(last) else ""


def read_objects(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty when the field is not there. Raises BadField for anything else."""
    found = data.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadField(name)
    return found


# ---- payments ----------------------------------------------------------------------------------------------------


def read_order(order: Mapping[str, Any]) -> PaymentReport:
    """What an order says about its payment: first by its captures, for a COMPLETED order need not be paid."""
    try:
        unit = _only_unit(order)
        captures = read_objects(read_object(unit, "payments"), "captures") if "payments" in unit else []
        number = _only_number(unit, *captures)
        return _judge(read_word(order, "status"), number, [read_capture(one, number) for one in captures])
    except BadField:
        return PaymentReport(outcome=Outcome.UNKNOWN, number="", code="malformed")


def _only_unit(order: Mapping[str, Any]) -> Mapping[str, Any]:
    units = read_objects(order, "purchase_units")
    if len(units) > 1:  # ours have one
        raise BadField("purchase_units")
    return units[0] if units else {}


def _only_number(*holders: Mapping[str, Any]) -> str:
    """The number that all name who name one. Raises BadField when they do not agree."""
    numbers = {number_of(holder) for holder in holders} - {""}
    if len(numbers) > 1:
        raise BadField("custom_id")
    return numbers.pop() if numbers else ""


def _judge(status: str, number: str, captures: list[PaymentReport]) -> PaymentReport:
    outcomes = {capture.outcome for capture in captures}
    # Money first: whatever else an order says, what was captured was captured.
    for outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN, Outcome.OPEN):
        if outcome in outcomes:
            return _first(captures, outcome)
    if status == "COMPLETED":  # with nothing but refused captures, or with none, which is documented nowhere
        unknown = PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=status)
        return _first(captures, Outcome.REFUSED) if captures else unknown
    return PaymentReport(outcome=ORDER_STATUSES.get(status, Outcome.UNKNOWN), number=number, code=status)


def _first(captures: list[PaymentReport], outcome: Outcome) -> PaymentReport:
    found = [capture for capture in captures if capture.outcome is outcome]
    # An order is captured once: two payments under one number are for a person.
    is_twice = outcome is Outcome.SUCCEEDED and len(found) > 1
    return replace(found[0], needs_person=is_twice or found[0].needs_person)


def read_capture(capture: Mapping[str, Any], number: str = "") -> PaymentReport:
    """What a capture says about a payment; `number` is the payment's where the capture does not name it."""
    number = number_of(capture) or number
    try:
        status = read_word(capture, "status")
        outcome = CAPTURE_STATUSES.get(status, Outcome.UNKNOWN)
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=status)
        amount_minor, currency = _read_amount(capture)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(capture, "id"),
            amount_minor=amount_minor,
            currency=currency,
            paid_at=read_moment(capture, "create_time"),
            code=status,
            needs_person=status
            != "COMPLETED",  # something went back: where this is the first that we hear of it
        )
    except BadField:
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


# ---- refunds -----------------------------------------------------------------------------------------------------


def read_refund(refund: Mapping[str, Any], number: str = "") -> RefundReport:
    """What a refund says; `number` is its own where that is known."""
    refund_id = word_or_none(refund, "id")
    named, payment_number = name_refund(refund, "custom_id", refund_id)
    number = number or named
    try:
        status = read_word(refund, "status")
        return RefundReport(
            outcome=REFUND_STATUSES.get(status, Outcome.UNKNOWN),
            number=number,
            channel_number=read_word(refund, "id"),
            payment_number=payment_number,
            trade_number=_captured_id(refund),
            amount_minor=_read_amount(refund)[0] if "amount" in refund else None,
            code=status,
        )
    except BadField:
        # The id is kept: without it PayPal cannot be asked about this refund.
        return RefundReport(
            outcome=Outcome.UNKNOWN, number=number, channel_number=refund_id, code="malformed"
        )


def name_refund(data: Mapping[str, Any], custom_name: str, refund_id: str) -> tuple[str, str]:
    """A refund's own number and its payment's: one made in PayPal's site has only PayPal's id for a number."""
    custom = word_or_none(data, custom_name)
    if custom.startswith(PAYMENT_MARK):
        return refund_id, custom.removeprefix(PAYMENT_MARK)
    return custom or word_or_none(data, "invoice_id") or refund_id, ""


# ---- events ------------------------------------------------------------------------------------------------------


def read_event(kind: str, resource: Mapping[str, Any]) -> Report:
    """What a webhook reports. A kind that we cannot read is UNKNOWN, for a person."""
    if kind in REFUND_EVENTS:
        return read_refund(resource)
    if kind in CAPTURE_EVENTS:
        return read_capture(resource)
    if kind.startswith("CHECKOUT.ORDER."):
        return read_order(resource)
    if (
        kind == "CHECKOUT.PAYMENT-APPROVAL.REVERSED"
    ):  # not captured in time: the consent is gone, nothing was taken
        units = resource.get("purchase_units")
        unit = units[0] if isinstance(units, list) and units and isinstance(units[0], dict) else {}
        return PaymentReport(outcome=Outcome.OPEN, number=number_of(unit), code=kind[:64])
    # Among the others: PAYMENT.CAPTURE.REVERSED, money that PayPal took back, and disputes.
    return PaymentReport(
        outcome=Outcome.UNKNOWN,
        number=number_of(resource),
        channel_number=_captured_id(resource),
        code=kind,
        needs_person=kind == "PAYMENT.CAPTURE.REVERSED",
    )
