"""What Alipay says about a trade or a refund: the content of its answers and notifications, not yet sealed.

Functions of the ledger's rows and the clock. Source: Alipay open platform documentation, the pages of each call and of the
asynchronous notifications. Times are Beijing's without an offset, amounts yuan with two places.
"""

from collections.abc import Sequence
from typing import Any

from payments.sandbox.clock import BEIJING, SECOND_US, now_us, to_datetime
from payments.sandbox.records import Notice, Refund, Trade

OK = {"code": "10000", "msg": "Success"}
BUYER = {"buyer_logon_id": "138******00", "buyer_user_id": "2088102100000001"}
MESSAGES = {
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
}
_REFUNDABLE_US = 365 * 24 * 3600 * SECOND_US
_NOTHING = dict.fromkeys(("buyer_pay_amount", "invoice_amount", "point_amount", "receipt_amount"), "0.00")


def describe_failure(sub_code: str, message: str) -> dict[str, Any]:
    """An error; which top-level code it has goes by the family of its own."""
    code = "40004"
    if sub_code.startswith("isv."):
        code = "40001" if sub_code.startswith("isv.missing-") else "40002"
    elif sub_code.endswith("unknow-error"):
        code = "20000"
    return {"code": code, "msg": MESSAGES[code], "sub_code": sub_code, "sub_msg": message}


def describe_missing(out_trade_no: str) -> dict[str, Any]:
    """What a query says besides its error when there is no trade."""
    return {**_NOTHING, "out_trade_no": out_trade_no}


def find_status(trade: Trade, refunds: Sequence[Refund]) -> str:
    """A trade_status. After a year a paid trade is finished: no refund is possible any more."""
    if trade.paid_at is None:
        return "WAIT_BUYER_PAY" if trade.status == "OPEN" else "TRADE_CLOSED"
    if sum_refunds(refunds) == trade.amount:
        return "TRADE_CLOSED"
    return "TRADE_FINISHED" if now_us() - trade.paid_at > _REFUNDABLE_US else "TRADE_SUCCESS"


def describe_trade(trade: Trade, refunds: Sequence[Refund], trade_no: str) -> dict[str, Any]:
    """The query's answer; of money there is nothing to tell before it came."""
    paid = format_yuan(trade.amount)
    amounts = _NOTHING if trade.paid_at is None else {**dict.fromkeys(_NOTHING, paid), "point_amount": "0.00"}
    sent = {} if trade.paid_at is None else {"send_pay_date": format_time(trade.paid_at)}
    return {
        **OK,
        **BUYER,
        **amounts,
        **sent,
        "out_trade_no": trade.out_trade_no,
        "total_amount": paid,
        "trade_no": trade_no,
        "trade_status": find_status(trade, refunds),
    }


def describe_refund(
    trade: Trade, refund: Refund, refunds: Sequence[Refund], *, is_new: bool
) -> dict[str, Any]:
    """The answer to a refund. `refund_fee` is what went back of the trade until now, all refunds together."""
    return {
        **OK,
        **BUYER,
        "fund_change": "Y" if is_new else "N",
        "gmt_refund_pay": format_time(refund.created_at),
        "out_trade_no": trade.out_trade_no,
        "refund_fee": format_yuan(sum_refunds(refunds)),
        "send_back_fee": "0.00",
        "trade_no": trade.channel_number,
    }


def describe_delayed_refund(trade: Trade, refunds: Sequence[Refund]) -> dict[str, Any]:
    """The answer to a refund that does not come about this time."""
    told = {
        "out_trade_no": trade.out_trade_no,
        "fund_change": "N",
        "refund_fee": format_yuan(sum_refunds(refunds)),
    }
    return {**OK, **name_trade(trade), **told}


def describe_known_refund(trade: Trade, refund: Refund) -> dict[str, Any]:
    """The answer to the query of a refund that was made."""
    return {
        **OK,
        "out_request_no": refund.request["out_request_no"],
        "out_trade_no": trade.out_trade_no,
        "refund_amount": format_yuan(refund.amount),
        "refund_status": "REFUND_SUCCESS",
        "total_amount": format_yuan(trade.amount),
        "trade_no": trade.channel_number,
    }


def describe_notice(
    trade: Trade, refund: Refund | None, refunds: Sequence[Refund], *, app_id: str, seller_id: str
) -> dict[str, Any]:
    """The fields of a notification but for its own id, time and signature. `refunds`: until that of the notification."""
    paid = format_yuan(trade.amount)
    fields = {
        "app_id": app_id,
        "auth_app_id": app_id,
        "buyer_id": BUYER["buyer_user_id"],
        "buyer_logon_id": BUYER["buyer_logon_id"],
        "buyer_pay_amount": paid,
        "charset": "utf-8",
        "fund_bill_list": f'[{{"amount":"{paid}","fundChannel":"ALIPAYACCOUNT"}}]',
        "gmt_create": format_time(trade.notes.get("scanned_at", trade.created_at)),
        "gmt_payment": format_time(trade.paid_at or trade.created_at),
        "invoice_amount": paid,
        "notify_type": "trade_status_sync",
        "out_trade_no": trade.out_trade_no,
        "point_amount": "0.00",
        "receipt_amount": paid,
        "seller_email": "merchant@sandbox.example",
        "seller_id": seller_id,
        "subject": trade.description,
        "total_amount": paid,
        "trade_no": trade.channel_number,
        "trade_status": "TRADE_SUCCESS",
        "version": "1.0",
    }
    return fields if refund is None else fields | _describe_news(trade, refund, refunds)


def _describe_news(trade: Trade, refund: Refund, refunds: Sequence[Refund]) -> dict[str, Any]:
    at = refund.done_at or refund.created_at
    news = {
        "gmt_refund": f"{format_time(at)}.{at // 1000 % 1000:03d}",
        "out_biz_no": refund.request["out_request_no"],
        "refund_fee": format_yuan(sum_refunds(refunds)),
    }
    if sum_refunds(refunds) < trade.amount:
        return news
    return news | {"trade_status": "TRADE_CLOSED", "gmt_close": format_time(at)}


def number_notice(notice: Notice) -> str:
    """The notification's id, the same over all tries: its day and 26 digits."""
    day = to_datetime(notice.created_at, BEIJING).strftime("%Y%m%d")
    return f"{day}{int(notice.id.replace('-', ''), 16) % 10**26:026d}"


def bend_document(document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    """A copy of a document above, with the fields of a lie (see `plans.LIES`) in place of the true ones."""
    is_refund = "refund_status" in document
    names = {
        "amount": "refund_amount" if is_refund else "total_amount",
        "status": "refund_status" if is_refund else "trade_status",
        "currency": "trans_currency",  # which only trades of other currencies tell
        "out_trade_no": "out_trade_no",
        "channel_number": "trade_no",
        "merchant": "seller_id",
        "app": "app_id",
    }
    told = {word: format_yuan(value) if word == "amount" else value for word, value in lie.items()}
    return document | {names[word]: value for word, value in told.items()}


def name_trade(trade: Trade) -> dict[str, str]:
    """Its trade_no, when it has one: since the scan, or since money came a second time."""
    number = trade.channel_number or trade.notes.get("trade_no")
    return {"trade_no": str(number)} if number else {}


def sum_refunds(refunds: Sequence[Refund]) -> int:
    """What went back, in fen."""
    return sum(refund.amount for refund in refunds)


def format_yuan(fen: int) -> str:
    """Fen as yuan with two places, also below zero."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def format_time(moment_us: int) -> str:
    """A stored moment in Beijing."""
    return to_datetime(moment_us, BEIJING).strftime("%Y-%m-%d %H:%M:%S")
