"""What UnionPay says about a trade or a refund: the parameters of its answers and notifications, not yet sealed.

Pure functions of the ledger's rows and of plain values. Source: API lists of UnionPay's online gateway 5.1.0 and its
dictionary of response codes. Times are Beijing's, amounts fen.
"""

from datetime import date, datetime, timedelta
from typing import Any

from payments.sandbox.clock import BEIJING, SECOND_US, to_datetime, to_us
from payments.sandbox.records import Refund, Trade

WORDS = {
    "00": "成功",
    "02": "系统未开放或暂时关闭，请稍后再试",
    "03": "交易通讯超时，请发起查询交易",
    "04": "交易状态未明，请查询对账结果",
    "05": "交易已受理，请稍后查询交易结果",
    "06": "系统繁忙，请稍后再试",
    "10": "报文格式错误",
    "11": "验证签名失败",
    "12": "重复交易",
    "13": "报文交易要素缺失",
    "31": "商户状态不正确",
    "32": "商户无此交易权限",
    "34": "查无此交易",
    "35": "原交易不存在或状态不正确",
    "36": "与原交易信息不符",
    "37": "已超过最大查询次数或操作过于频繁",
    "39": "交易不在受理时间范围内",
    "42": "扣款成功但交易超过规定支付时间",
    "45": "已被成功退货或已被成功撤销",
    "60": "交易失败，详情请咨询您的发卡行",
    "64": "卡上的余额不足",
    "98": "文件不存在",
    "99": "通用错误",
}
# How a refund's end is told to a query; ABNORMAL: nobody knows where the money is.
REFUND_CODES = {"PROCESSING": "05", "SUCCESS": "00", "CLOSED": "60", "ABNORMAL": "04"}
CURRENCY_CODES = {"CNY": "156", "USD": "840", "BRL": "986"}
_CLEARING_ENDS_H = 23
_FULL_WIDTH = str.maketrans("&={}[]\"'", "＆＝｛｝【】“‘")


def say(code: str, words: str = "") -> str:
    """The text beside a code. What has a meaning in an answer is written full-width, as UnionPay advises."""
    told = (words or WORDS.get(code, "交易失败")).translate(_FULL_WIDTH)
    return f"{told}[{code:0<7}]"


def describe_trade(trade: Trade) -> dict[str, str]:
    """What a query and a notification tell of a payment; unpaid, some parameters are absent."""
    request = trade.request
    described = {
        "txnType": "01",
        "txnSubType": request["txnSubType"],
        "bizType": request["bizType"],
        "orderId": trade.out_trade_no,
        "txnTime": request["txnTime"],
        "txnAmt": str(trade.amount),
        "currencyCode": CURRENCY_CODES[trade.currency],
        "reqReserved": request.get("reqReserved", ""),
    }
    if trade.paid_at is None:
        return described
    return described | _describe_settled(trade.channel_number, trade.paid_at, trade.amount)


def describe_refund(trade: Trade, refund: Refund) -> dict[str, str]:
    """What a query and a notification tell of a refund or an undo."""
    request = refund.request
    described = {
        "txnType": request["txnType"],
        "txnSubType": "00",
        "bizType": request["bizType"],
        "orderId": refund.out_refund_no,
        "txnTime": request["txnTime"],
        "txnAmt": str(refund.amount),
        "currencyCode": CURRENCY_CODES[trade.currency],
        "origQryId": trade.channel_number or "",
        "reqReserved": request.get("reqReserved", ""),
    }
    if refund.done_at is None:
        return described
    return described | _describe_settled(refund.channel_number, refund.done_at, refund.amount)


def _describe_settled(channel_number: str | None, at_us: int, amount: int) -> dict[str, str]:
    query_id = channel_number or ""
    return {
        "queryId": query_id,
        "traceNo": query_id[14:20],
        "traceTime": write_time(at_us)[4:],
        "settleAmt": str(amount),
        "settleCurrencyCode": "156",
        "settleDate": f"{find_clearing_day(at_us):%m%d}",
    }


def bend_document(document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
    """A copy with the words of a lie (see `plans.LIES`) in place of the true ones; UnionPay knows no app."""
    names = {
        "amount": "txnAmt",
        "currency": "currencyCode",
        "status": "origRespCode" if "origRespCode" in document else "respCode",
        "out_trade_no": "orderId",
        "channel_number": "queryId",
        "merchant": "merId",
    }
    told = {names[word]: str(value) for word, value in lie.items() if word in names}
    if "currencyCode" in told:
        told["currencyCode"] = CURRENCY_CODES.get(told["currencyCode"], told["currencyCode"])
    return document | told


def write_answer(params: dict[str, str]) -> bytes:
    """`k=v` joined by `&`, raw: no value is encoded."""
    return "&".join(f"{name}={value}" for name, value in params.items()).encode()


def write_time(moment_us: int) -> str:
    """`YYYYMMDDhhmmss` in Beijing."""
    return to_datetime(moment_us, BEIJING).strftime("%Y%m%d%H%M%S")


def read_time(text: str) -> int:
    """The moment of a `YYYYMMDDhhmmss` in Beijing. Raises ValueError."""
    if len(text) != 14 or not (text.isascii() and text.isdigit()):
        raise ValueError("not YYYYMMDDhhmmss")
    return to_us(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING))


def find_clearing_day(moment_us: int) -> date:
    """The clearing day, which ends at 23:00, in which a moment lies."""
    return (to_datetime(moment_us, BEIJING) + timedelta(hours=24 - _CLEARING_ENDS_H)).date()


def find_clearing_window(day: date) -> tuple[int, int]:
    """From when to before when a clearing day lasts, in microseconds."""
    end_us = to_us(datetime(day.year, day.month, day.day, _CLEARING_ENDS_H, tzinfo=BEIJING))
    return end_us - 24 * 3600 * SECOND_US, end_us
