"""What Stripe says, in our words: its intents and their slips, lists, and errors.

Everything read here came over a connection that is Stripe's, or under its signature. What is not as documented is
*unknown*, and nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .base import Outcome, PaymentReport, Unanswered
from .boleto_statement import number_of, read_seconds, word_or_none
from .brazil import barcode_of
from .fields import BadField, is_word, parse_json, read_minor, read_object, read_word
from .wire import Reply, is_safe_url

STATUSES = {
    "succeeded": Outcome.SUCCEEDED,
    "requires_action": Outcome.OPEN,  # the slip is out
    "requires_confirmation": Outcome.OPEN,
    "processing": Outcome.OPEN,
    # Before the slip is made, and again after it has expired without money: the error tells the two apart.
    "requires_payment_method": Outcome.OPEN,
    # Stripe charges a cancelled intent no more (API reference, cancel). A bank's late success would be taken all the same.
    "canceled": Outcome.CLOSED,
}
# What a 400 or 402 may say for good. What is not here decides nothing: the repeat under the same key tells.
REFUSALS = frozenset(
    {
        *("parameter_missing", "parameter_unknown", "parameters_exclusive", "parameter_invalid_empty"),
        *("parameter_invalid_integer", "parameter_invalid_string_blank", "parameter_invalid_string_empty"),
        *("amount_too_small", "amount_too_large", "email_invalid", "tax_id_invalid", "postal_code_invalid"),
        *("country_code_invalid", "country_unsupported", "state_unsupported", "invalid_characters"),
        *("payment_intent_invalid_parameter", "payment_intent_incompatible_payment_method"),
        *("payment_method_invalid_parameter", "payment_method_billing_details_address_missing"),
        *("payment_method_currency_mismatch", "payment_method_unactivated", "payment_method_not_available"),
        *("payment_method_unsupported_type", "payment_method_provider_decline", "livemode_mismatch"),
        *("payment_intent_payment_attempt_failed", "api_key_expired", "testmode_charges_only"),
    }
)
REFUSING_TYPES = frozenset({"invalid_request_error", "card_error"})
# Nothing can be paid while the intent inside an error has one of these.
UNPAYABLE = frozenset({"requires_payment_method", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Stripe answered: `data` of a 200, else `code`; `is_refusal` when it says no for good. Status 0 is none."""

    status: int
    data: Mapping[str, Any]
    code: str = ""
    is_refusal: bool = False


def read_asked(data: Mapping[str, Any]) -> PaymentReport:
    """Read an intent of a query, whose charge was asked for with it and says when the money came."""
    try:
        paid_at = (
            read_seconds(read_object(data, "latest_charge"), "created")
            if data.get("status") == "succeeded"
            else None
        )
    except BadField:
        return unknown(number_of(data), "malformed")
    return read_intent(data, paid_at=paid_at)


def read_intent(data: Mapping[str, Any], *, paid_at: datetime | None) -> PaymentReport:
    """Read an intent that is about us. What is not as documented makes it UNKNOWN."""
    number = number_of(data)
    try:
        status, intent = read_word(data, "status"), read_word(data, "id")
        outcome = STATUSES.get(status, Outcome.UNKNOWN)
        if status == "requires_payment_method" and data.get("last_payment_error"):
            outcome = Outcome.CLOSED  # the slip has expired; which code the error has is not documented
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, channel_number=intent, code=status)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=intent,
            amount_minor=read_minor(data, "amount_received"),
            currency=read_word(data, "currency", limit=3).upper(),
            paid_at=paid_at,
            code=status,
        )
    except BadField:
        return unknown(number, "malformed")


def choose(number: str, reports: list[PaymentReport]) -> PaymentReport:
    """Of all intents under one number the paid one; more than one slip under a number is for a person to look at."""
    if not reports:
        return PaymentReport(outcome=Outcome.NOT_FOUND, number=number)
    order = (Outcome.SUCCEEDED, Outcome.UNKNOWN, Outcome.OPEN, Outcome.CLOSED)
    first = min(reports, key=lambda report: order.index(report.outcome))
    if len(reports) == 1 or first.outcome is not Outcome.SUCCEEDED:
        return first
    return replace(first, code="several_intents", needs_person=True)


def read_voucher(data: Mapping[str, Any]) -> dict[str, Any]:
    """The slip of an intent as an action for the shopper. Raises BadField."""
    details = read_object(read_object(data, "next_action"), "boleto_display_details")
    line = read_word(details, "number")
    pdf_url = read_word(details, "pdf", limit=2048)
    if not is_safe_url(pdf_url):
        raise BadField("pdf")
    try:
        barcode = barcode_of(line)
    except ValueError as error:
        raise BadField("number") from error
    return {
        "type": "voucher",
        "barcode": barcode,
        "digitable_line": line,
        "pdf_url": pdf_url,
        "expires_at": read_seconds(details, "expires_at").isoformat(),
    }


def read_list(answer: Answer, kind: str) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a list or a search, and whether there are more. Raises Unanswered."""
    found, has_more = answer.data.get("data"), answer.data.get("has_more")
    is_list = answer.data.get("object") == kind and type(has_more) is bool
    if not is_list or not isinstance(found, list):
        raise Unanswered("the answer is no list", code=answer.code or "malformed")
    if not all(isinstance(one, dict) and is_word(one.get("id")) for one in found):
        raise Unanswered("the answer lists something unknown", code="malformed")
    return found, bool(has_more)


def read_error(reply: Reply) -> Answer:
    """Read what is no 200; a refusal is only what says so in Stripe's words, with an intent that nobody can pay, if any."""
    try:
        error = read_object(parse_json(reply.body), "error")
    except BadField:
        error = {}
    kind, code = word_or_none(error, "type"), word_or_none(error, "code")
    intent = error.get("payment_intent")
    is_harmless = intent is None or (isinstance(intent, dict) and intent.get("status") in UNPAYABLE)
    # 401 and 403 come before anything is looked at, so there the code adds nothing.
    is_final = reply.status in (401, 403) or (reply.status in (400, 402) and code in REFUSALS)
    return Answer(
        status=reply.status,
        data={},
        code=code or kind or f"HTTP{reply.status}",
        is_refusal=is_final and is_harmless and kind in REFUSING_TYPES,
    )


def unknown(number: str, code: str) -> PaymentReport:
    return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=code)
