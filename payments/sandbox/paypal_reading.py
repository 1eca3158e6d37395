"""Reading what a merchant sends to PayPal: bodies, amounts, orders, refunds. What breaks a rule is refused, never repaired.

Source: the request schemas of Orders v2 and Payments v2, and "Orders API errors" for the issues.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from werkzeug import Request

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField, is_loopback, read_text, split_url
from payments.sandbox.paypal_documents import CURRENCIES, MONEY_BACK, NO_CENTS, describe_error
from payments.sandbox.records import Refund, Trade
from payments.sandbox.side import Refused, Reply

_VALUE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_INTENTS = ("CAPTURE",)
_REQUEST_ID_MAX = 108
_REFUNDABLE_US = 180 * 24 * 3600 * SECOND_US


def read_document(request: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The JSON object of a body; empty where the call may be made without one. Raises Refused."""
    body = request.get_data()
    if not body and may_be_empty:
        return {}
    if request.mimetype != "application/json":
        raise refused(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
        json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        raise refused(400, "MALFORMED_REQUEST_JSON", "the body is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise refused(400, "MALFORMED_REQUEST_JSON", "the body is not a JSON object")
    return document


def read_order(order: dict[str, Any]) -> tuple[int, str]:
    """The amount and currency of a new order. Raises BadField or Refused."""
    if read_text(order, "intent", longest=255) not in _INTENTS:
        raise refused(422, "UNSUPPORTED_INTENT", "only the intent CAPTURE is offered here", "intent")
    units = order.get("purchase_units")
    if units is None:
        raise BadField("purchase_units", "is required")
    if not isinstance(units, list) or len(units) != 1 or not isinstance(units[0], dict):
        raise BadField("purchase_units", "must be a list of one object")
    _read_names(units[0], {"reference_id": 256, "custom_id": 127, "invoice_id": 127, "description": 127})
    _read_context(order)
    return read_amount(units[0], "amount")


def _read_context(order: dict[str, Any]) -> None:
    """Where the buyer comes back to, with PayPal's own wallet as the one source of money that is offered."""
    source = order.get("payment_source")
    if source is None:
        return
    if not isinstance(source, dict) or not isinstance(source.get("paypal"), dict):
        raise BadField("payment_source.paypal", "is required")
    context = source["paypal"].get("experience_context") or {}
    if not isinstance(context, dict):
        raise BadField("payment_source.paypal.experience_context", "must be an object")
    for name in ("return_url", "cancel_url"):
        address = read_text(context, name, longest=2000, required=False)
        url = split_url(address) if address else None
        if address and (url is None or (url.scheme != "https" and not is_loopback(url.hostname or ""))):
            raise BadField(f"payment_source.paypal.experience_context.{name}", "must be an absolute address")
    _read_words(
        context,
        user_action=("CONTINUE", "PAY_NOW"),
        shipping_preference=("GET_FROM_FILE", "NO_SHIPPING", "SET_PROVIDED_ADDRESS"),
        payment_method_preference=("UNRESTRICTED", "IMMEDIATE_PAYMENT_REQUIRED"),
    )


def read_refund_wish(wish: dict[str, Any]) -> None:
    """The names and the note of a refund; its amount is read with the capture's. Raises BadField."""
    _read_names(wish, {"custom_id": 127, "invoice_id": 127, "note_to_payer": 255})


def read_amount(document: dict[str, Any], field: str) -> tuple[int, str]:
    """A positive decimal string and its currency, in minor units. Raises BadField or Refused."""
    if field not in document:
        raise BadField(field, "is required")
    currency = read_text(document, f"{field}.currency_code", longest=3) or ""
    text = read_text(document, f"{field}.value", longest=32) or ""
    if not _VALUE.fullmatch(text):
        raise BadField(f"{field}.value", "must be a decimal number")
    if currency not in CURRENCIES:
        raise refused(
            422, "CURRENCY_NOT_SUPPORTED", "Currency code is not supported", f"{field}.currency_code"
        )
    value, places = Decimal(text), 0 if currency in NO_CENTS else 2
    if value <= 0:
        raise refused(422, "CANNOT_BE_ZERO_OR_NEGATIVE", "Must be greater than zero", f"{field}.value")
    if places == 0 and "." in text:
        raise refused(422, "DECIMALS_NOT_SUPPORTED", "Currency does not support decimals", f"{field}.value")
    if len(text.partition(".")[2]) > 2:
        raise refused(422, "DECIMAL_PRECISION", "should not be more than 2 decimal places", f"{field}.value")
    return int(value.scaleb(places)), currency


def read_part(wish: dict[str, Any], trade: Trade, refunds: Iterable[Refund]) -> int:
    """How much of a capture is to go back: all that is left where nothing is said. Raises BadField or Refused."""
    left = trade.amount - sum(refund.amount for refund in refunds if refund.status in MONEY_BACK)
    amount, currency = read_amount(wish, "amount") if "amount" in wish else (left, trade.currency)
    if now_us() - (trade.paid_at or 0) > _REFUNDABLE_US:
        raise refused(422, "REFUND_TIME_LIMIT_EXCEEDED", "the capture is older than 180 days")
    if left == 0:
        raise refused(422, "CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded")
    if currency != trade.currency:
        raise refused(422, "REFUND_CAPTURE_CURRENCY_MISMATCH", "must be the capture's currency")
    if amount > left:
        raise refused(422, "REFUND_AMOUNT_EXCEEDED", "must be no more than the remaining amount")
    return amount


def read_request_id(request: Request) -> str:
    """PayPal-Request-Id, empty where there is none. Raises Refused."""
    request_id = request.headers.get("PayPal-Request-Id", "")
    if len(request_id) > _REQUEST_ID_MAX:
        raise refused(400, "INVALID_STRING_MAX_LENGTH", f"PayPal-Request-Id has at most {_REQUEST_ID_MAX}")
    return request_id


def wants_all(request: Request) -> bool:
    """Whether the answer is to hold the whole object."""
    return request.headers.get("Prefer", "").replace(" ", "") == "return=representation"


def cut_out(raw: bytes, field: str) -> bytes:
    """The bytes of one field of a JSON object, as they were sent; the document has been read before."""
    text, decoder = raw.decode(), json.JSONDecoder()
    place = _skip(text, text.index("{") + 1)
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        start = _skip(text, _skip(text, place) + 1)
        _, end = decoder.raw_decode(text, start)
        if name == field:
            return text[start:end].encode()
        place = _skip(text, end)
        place = _skip(text, place + 1) if text[place] == "," else place
    raise BadField(field, "is required")


def join_query(address: str, parameters: dict[str, str]) -> str:
    """An address with more parameters; nothing where there is no address."""
    if not address:
        return ""
    return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"


def refused(status: int, issue: str, message: str, field: str = "") -> Refused:
    """A refusal in PayPal's shape."""
    return Refused(Reply(status, describe_error(status, issue, message, field=field)))


def missing() -> Refused:
    """The refusal of an id or a path that is nobody's."""
    return refused(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist")


def _read_names(document: dict[str, Any], longest: dict[str, int]) -> None:
    for name, length in longest.items():
        read_text(document, name, longest=length, required=False)


def _read_words(document: dict[str, Any], **known: tuple[str, ...]) -> None:
    for name, words in known.items():
        if document.get(name, words[0]) not in words:
            raise BadField(name, f"must be one of {', '.join(words)}")


def _skip(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
