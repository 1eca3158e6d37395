"""What WeChat Pay says about a trade or a refund: the JSON of its answers and notifications, not yet sealed.

Pure functions of the ledger's rows. Source: WeChat Pay API v3 documentation, the pages of each call and of
the payment and refund notifications. Times are Beijing's, amounts fen.
"""

import json
from typing import Any

from payments.sandbox.clock import BEIJING, to_datetime
from payments.sandbox.records import Notice, Refund, Trade

TRADE_STATES = {"OPEN": "NOTPAY", "PAID": "SUCCESS", "CLOSED": "CLOSED"}

_STATE_WORDS = {"SUCCESS": "支付成功", "REFUND": "转入退款", "NOTPAY": "订单未支付", "CLOSED": "订单已关闭"}
_REFUND_WORDS = {"SUCCESS": "退款成功", "ABNORMAL": "退款异常", "CLOSED": "退款关闭"}
_REFUND_NOTICE_FIELDS = (
    "out_trade_no",
    "transaction_id",
    "out_refund_no",
    "refund_id",
    "success_time",
    "user_received_account",
)
_REFUND_NOTICE_AMOUNTS = ("total", "refund", "payer_total", "payer_refund")


def describe_trade(trade: Trade, state: str, *, mchid: str, appid: str) -> dict[str, Any]:
    """The query's answer and the content of a payment's notification; unpaid, some fields are absent."""
    document = {
        "appid": appid,
        "mchid": mchid,
        "out_trade_no": trade.out_trade_no,
        "trade_type": trade.notes.get("trade_type", "NATIVE"),
        "trade_state": state,
        "trade_state_desc": _STATE_WORDS[state],
        "attach": trade.request.get("attach") or "",
        "amount": {"total": trade.amount, "currency": trade.currency},
    }
    if trade.paid_at is None:
        return document
    return document | {
        "transaction_id": trade.channel_number,
        "success_time": _to_beijing(trade.paid_at),
        "bank_type": "OTHERS",
        "payer": {"openid": f"oSandboxPayer{mchid}"},
        "amount": {
            "total": trade.amount,
            "payer_total": trade.amount,
            "currency": trade.currency,
            "payer_currency": trade.currency,
        },
    }


def describe_refund(trade: Trade, refund: Refund) -> dict[str, Any]:
    """The answer to a refund and to its query."""
    document = {
        "refund_id": refund.channel_number,
        "out_refund_no": refund.out_refund_no,
        "transaction_id": trade.channel_number,
        "out_trade_no": trade.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": _to_beijing(refund.created_at),
        "status": refund.status,
        "funds_account": "AVAILABLE",
        "amount": {
            "total": trade.amount,
            "refund": refund.amount,
            "payer_total": trade.amount,
            "payer_refund": refund.amount,
            "settlement_total": trade.amount,
            "settlement_refund": refund.amount,
            "discount_refund": 0,
            "currency": trade.currency,
        },
    }
    if refund.status == "SUCCESS" and refund.done_at is not None:
        document["success_time"] = _to_beijing(refund.done_at)
    return document


def describe_refund_notice(trade: Trade, refund: Refund, *, mchid: str) -> dict[str, Any]:
    """The content of a refund's notification: fewer fields than the query, without appid and currency."""
    full = describe_refund(trade, refund)
    return {
        "mchid": mchid,
        **{name: full[name] for name in _REFUND_NOTICE_FIELDS if name in full},
        "refund_status": refund.status,
        "amount": {name: full["amount"][name] for name in _REFUND_NOTICE_AMOUNTS},
    }


def wrap_notice(notice: Notice, refund: Refund | None, resource: dict[str, str]) -> dict[str, Any]:
    """The envelope around an encrypted resource."""
    event, summary = "TRANSACTION.SUCCESS", _STATE_WORDS["SUCCESS"]
    if refund is not None:
        event, summary = f"REFUND.{refund.status}", _REFUND_WORDS[refund.status]
    return {
        "id": notice.id,
        "create_time": _to_beijing(notice.created_at),
        "resource_type": "encrypt-resource",
        "event_type": event,
        "summary": summary,
        "resource": resource,
    }


def bend_document(document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    """A copy of a document above, with the fields of a lie (see `plans.LIES`) in place of the true ones."""
    is_refund = "out_refund_no" in document
    state = next(name for name in ("trade_state", "refund_status", "status") if name in document)
    names = {
        "merchant": "mchid",
        "app": "appid",
        "out_trade_no": "out_trade_no",
        "channel_number": "refund_id" if is_refund else "transaction_id",
        "status": state,
    }
    amounts = {"amount": "refund" if is_refund else "total", "currency": "currency"}
    return document | {
        **{names[word]: told for word, told in lie.items() if word in names},
        "amount": document["amount"] | {amounts[word]: told for word, told in lie.items() if word in amounts},
    }


def to_json(document: Any) -> bytes:
    """JSON in UTF-8 without blanks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _to_beijing(moment_us: int) -> str:
    return to_datetime(moment_us, BEIJING).isoformat(timespec="seconds")
