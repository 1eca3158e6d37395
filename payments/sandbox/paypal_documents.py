"""What PayPal says about an order, a capture or a refund: the JSON of its answers, events and transaction search.

Pure functions of the ledger's rows. Source: PayPal's REST reference of Orders v2, Payments v2, Webhooks and Transaction
Search. Amounts are decimal strings with the places of their currency, times are UTC.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from payments.sandbox.clock import SECOND_US, to_datetime
from payments.sandbox.paypal_seals import TOKEN_LIFE_S, make_id
from payments.sandbox.records import Booking, Refund, Trade

NO_CENTS = frozenset({"HUF", "JPY", "TWD"})
CURRENCIES = NO_CENTS | frozenset(
    [
        "AUD",
        "BRL",
        "CAD",
        "CHF",
        "CNY",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "ILS",
        "MXN",
        "MYR",
        "NOK",
        "NZD",
        "PHP",
        "PLN",
        "SEK",
        "SGD",
        "THB",
        "USD",
    ]
)
REFUND_STATUSES = {
    "PROCESSING": "PENDING",
    "SUCCESS": "COMPLETED",
    "ABNORMAL": "FAILED",
    "CLOSED": "CANCELLED",
}
MONEY_BACK = ("PROCESSING", "SUCCESS")  # refunds that the captured money is spoken for by
_NAMES = {
    400: "INVALID_REQUEST",
    403: "NOT_AUTHORIZED",
    404: "RESOURCE_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_ENTITY",
    429: "RATE_LIMIT_REACHED",
}
_SUMMARIES = {
    "CHECKOUT.ORDER.APPROVED": "An order has been approved by buyer",
    "PAYMENT.CAPTURE.COMPLETED": "Payment completed for {}",
    "PAYMENT.CAPTURE.REFUNDED": "A {} capture payment was refunded",
    "PAYMENT.REFUND.FAILED": "A {} refund failed",
}


def to_json(document: Any) -> bytes:
    """JSON in UTF-8 without blanks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def write_money(amount: int, currency: str) -> dict[str, str]:
    """Minor units as PayPal writes them."""
    places = 0 if currency in NO_CENTS else 2
    return {
        "currency_code": currency,
        "value": str(Decimal(amount).scaleb(-places).quantize(Decimal(10) ** -places)),
    }


def write_time(moment_us: int) -> str:
    """RFC 3339 in UTC with whole seconds."""
    return to_datetime(moment_us - moment_us % SECOND_US).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_token(token: str) -> dict[str, Any]:
    """What the app gets for its secret."""
    return {
        "scope": "https://uri.paypal.com/services/payments/payment https://uri.paypal.com/services/reporting/search/read",
        "access_token": token,
        "token_type": "Bearer",
        "app_id": "APP-NODROPSANDBOX",
        "expires_in": TOKEN_LIFE_S,
        "nonce": f"2026-11-21T00:00:00Z{make_id()}",
    }


# Orders, captures, refunds


def describe_order(
    trade: Trade,
    status: str,
    captures: list[dict[str, Any]],
    refunds: list[dict[str, Any]],
    *,
    merchant_id: str,
    host: str,
) -> dict[str, Any]:
    """The whole order; `host` is the address that its links lead to."""
    order_id = trade.notes["order_id"]
    unit = {**trade.request["purchase_units"][0], "payee": {"merchant_id": merchant_id}}
    unit.setdefault("reference_id", "default")
    if captures:
        unit["payments"] = {"captures": captures} | ({"refunds": refunds} if refunds else {})
    document = {
        "id": order_id,
        "intent": "CAPTURE",
        "status": status,
        "purchase_units": [unit],
        "create_time": write_time(trade.created_at),
        "links": [_link(f"{host}/v2/checkout/orders/{order_id}", "self", "GET")],
    }
    if "payment_source" in trade.request:
        document["payment_source"] = {"paypal": {}}
    if status in ("CREATED", "PAYER_ACTION_REQUIRED"):
        rel = "approve" if status == "CREATED" else "payer-action"
        document["links"].append(_link(find_approval_link(trade, host), rel, "GET"))
    else:
        document["payer"] = {"payer_id": "SANDBOXPAYER1", "email_address": "buyer@shop.example"}
    return document


def find_status(trade: Trade) -> str:
    """The status of an order as it is now."""
    if trade.status == "PAID":
        return "COMPLETED"
    if trade.status == "OPEN" and "approved_at" in trade.notes:
        return "APPROVED"
    return "PAYER_ACTION_REQUIRED" if "payment_source" in trade.request else "CREATED"


def find_approval_link(trade: Trade, host: str) -> str:
    """The page on which the buyer agrees."""
    return f"{host}/checkoutnow?token={trade.notes['order_id']}"


def describe_capture(
    trade: Trade, refunds: Iterable[Refund], *, merchant_id: str, host: str
) -> dict[str, Any]:
    """One capture; its status says how much of it has gone back."""
    back = sum(refund.amount for refund in refunds if refund.status == "SUCCESS")
    status = "COMPLETED" if back == 0 else "REFUNDED" if back >= trade.amount else "PARTIALLY_REFUNDED"
    unit, at = trade.request["purchase_units"][0], write_time(trade.paid_at or 0)
    fee, href = find_fee(trade), f"{host}/v2/payments/captures/{trade.channel_number}"
    return {
        "id": trade.channel_number,
        "amount": write_money(trade.amount, trade.currency),
        "final_capture": True,
        "seller_receivable_breakdown": {
            "gross_amount": write_money(trade.amount, trade.currency),
            "paypal_fee": write_money(fee, trade.currency),
            "net_amount": write_money(trade.amount - fee, trade.currency),
        },
        **{name: unit[name] for name in ("custom_id", "invoice_id") if name in unit},
        "status": status,
        "supplementary_data": {"related_ids": {"order_id": trade.notes["order_id"]}},
        "payee": {"merchant_id": merchant_id},
        "create_time": at,
        "update_time": at,
        "links": [
            _link(href, "self", "GET"),
            _link(f"{href}/refund", "refund", "POST"),
            _link(f"{host}/v2/checkout/orders/{trade.notes['order_id']}", "up", "GET"),
        ],
    }


def find_fee(trade: Trade) -> int:
    """What the sandbox keeps of a payment: 3.49 % and 49 cents, but never all of it."""
    return min(trade.amount * 349 // 10_000 + 49, trade.amount - 1)


def describe_refund(trade: Trade, refund: Refund, *, host: str) -> dict[str, Any]:
    """One refund. What the merchant did not name anew is the payment's."""
    unit, wish = trade.request["purchase_units"][0], refund.request
    money = write_money(refund.amount, trade.currency)
    at = write_time(refund.done_at or refund.created_at)
    return {
        "id": refund.channel_number,
        "amount": money,
        **{
            name: wish.get(name) or unit[name]
            for name in ("custom_id", "invoice_id")
            if name in wish or name in unit
        },
        "status": REFUND_STATUSES[refund.status],
        **{name: wish[name] for name in ("note_to_payer",) if name in wish},
        "seller_payable_breakdown": {
            "gross_amount": money,
            "net_amount": money,
            "total_refunded_amount": money,
        },
        "create_time": write_time(refund.created_at),
        "update_time": at,
        "links": [
            _link(f"{host}/v2/payments/refunds/{refund.channel_number}", "self", "GET"),
            _link(f"{host}/v2/payments/captures/{trade.channel_number}", "up", "GET"),
        ],
    }


def shorten(document: dict[str, Any]) -> dict[str, Any]:
    """What `Prefer: return=minimal`, the usual, leaves of an answer. Captures stay in a captured order's."""
    names = ("id", "status", "payment_source", "links")
    kept: dict[str, Any] = {name: document[name] for name in names if name in document}
    units = [unit for unit in document.get("purchase_units", []) if "payments" in unit]
    if units:
        kept["purchase_units"] = [
            {"reference_id": unit["reference_id"], "payments": unit["payments"]} for unit in units
        ]
    return kept


def _link(href: str, rel: str, method: str) -> dict[str, str]:
    return {"href": href, "rel": rel, "method": method}


# Events


def describe_event(kind: str, resource: dict[str, Any]) -> dict[str, Any]:
    """What a webhook says, without the id and time of the event."""
    amount = resource.get("amount", {})
    resource_type = "checkout-order" if kind.startswith("CHECKOUT.") else "refund"
    if kind.startswith("PAYMENT.CAPTURE.") and not kind.endswith("REFUNDED"):
        resource_type = "capture"
    return {
        "event_version": "1.0",
        "resource_type": resource_type,
        "resource_version": "2.0",
        "event_type": kind,
        "summary": _SUMMARIES[kind].format(f"{amount.get('value')} {amount.get('currency_code')}"),
        "resource": resource,
    }


# Errors and lies


def describe_error(
    status: int, issue: str, description: str, *, field: str = "", debug_id: str = ""
) -> dict[str, Any]:
    """An error in PayPal's shape; what has to do with the token has another one."""
    if status == 401:
        return {"error": issue, "error_description": description}
    name = _NAMES.get(status, "INTERNAL_SERVER_ERROR")
    detail = {"issue": issue, "description": description}
    where = {"field": "/" + field.replace(".", "/"), "location": "body"} if field else {}
    return {
        "name": name,
        "message": description,
        "debug_id": debug_id,
        "details": [detail | where],
        "links": [],
    }


def bend_document(document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    """A copy of an order, capture, refund or event with the fields of a lie (see `plans.LIES`) in place of the true ones."""
    if "resource" in document:
        return document | {"resource": bend_document(document["resource"], lie)}
    if "purchase_units" not in document:
        return _bend(document, lie)
    units = [_bend_unit(unit, lie) for unit in document["purchase_units"]]
    is_paid = any("payments" in unit for unit in units)
    status = {"status": lie["status"]} if "status" in lie and not is_paid else {}
    return document | {"purchase_units": units} | status


def _bend_unit(unit: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    about_order = {word: told for word, told in lie.items() if word not in ("status", "channel_number")}
    bent = _bend(unit, about_order)
    if "payments" in unit:
        captures = [_bend(capture, lie) for capture in unit["payments"]["captures"]]
        bent["payments"] = unit["payments"] | {"captures": captures}
    return bent


def _bend(document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    told = {name: lie[word] for word, name in (("status", "status"), ("channel_number", "id")) if word in lie}
    if "out_trade_no" in lie:
        told |= {"custom_id": lie["out_trade_no"], "invoice_id": lie["out_trade_no"]}
    if "merchant" in lie:
        told["payee"] = {"merchant_id": lie["merchant"]}
    if "amount" in lie or "currency" in lie:
        currency = lie.get("currency", document["amount"]["currency_code"])
        value = (
            write_money(lie["amount"], currency)["value"] if "amount" in lie else document["amount"]["value"]
        )
        told["amount"] = {"currency_code": currency, "value": value}
    return document | told


# Transaction search


def describe_booking(line: Booking) -> dict[str, Any]:
    """One transaction: a payment, or a refund with a negative amount."""
    trade, refund = line.trade, line.refund
    unit = trade.request["purchase_units"][0]
    named = unit if refund is None else {**unit, **refund.request}
    info = {
        "transaction_id": trade.channel_number if refund is None else refund.channel_number,
        "transaction_event_code": "T0006" if refund is None else "T1107",
        "transaction_initiation_date": write_time(line.at),
        "transaction_updated_date": write_time(line.at),
        "transaction_amount": write_money(trade.amount if refund is None else -refund.amount, trade.currency),
        "transaction_status": "S",
    }
    if refund is None:
        info["fee_amount"] = write_money(-find_fee(trade), trade.currency)
    else:
        info |= {"paypal_reference_id": trade.channel_number, "paypal_reference_id_type": "TXN"}
    names = {"custom_field": named.get("custom_id"), "invoice_id": named.get("invoice_id")}
    return {"transaction_info": info | {name: value for name, value in names.items() if value}}
