"""WeChat Pay's trade bill: a Beijing day's payments and refunds as text, plain or packed by gzip.

Pure functions of the ledger's rows. Source: WeChat Pay API v3 documentation, "apply for the trade bill", and published
samples of the file: plain names first, then rows whose every value begins with a backtick. Amounts are yuan.
"""

import gzip
import hashlib
from collections.abc import Sequence

from payments.sandbox.clock import BEIJING, to_datetime
from payments.sandbox.records import Booking, Refund

_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_FEE_PER_MILLE = 6


def write_bill(lines: Sequence[Booking], *, mchid: str, appid: str) -> bytes:
    """The text of a bill of all trades and refunds."""
    paid = sum(line.trade.amount for line in lines if line.refund is None)
    back = sum(line.refund.amount for line in lines if line.refund)
    fees = sum(_find_fee(line) for line in lines)
    totals = [
        str(len(lines)),
        _yuan(paid),
        _yuan(back),
        _yuan(0),
        _yuan(fees) + "000",
        _yuan(paid),
        _yuan(back),
    ]
    rows = [_row(line, mchid, appid) for line in lines]
    texts = [_COLUMNS, *(_join(row) for row in rows), _TOTALS, _join(totals)]
    return "".join(f"{text}\r\n" for text in texts).encode("utf-8-sig")


def pack(content: bytes) -> bytes:
    """The same packed; the time within is left out, so that it is the same at every call."""
    return gzip.compress(content, mtime=0)


def digest(content: bytes) -> str:
    """What a bill is announced with: SHA-1 of its text, packed or not."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _row(line: Booking, mchid: str, appid: str) -> list[str]:
    trade, refund = line.trade, line.refund
    at = f"{to_datetime(line.at, BEIJING):%Y-%m-%d %H:%M:%S}"
    paid = _yuan(0 if refund else trade.amount)
    return [
        *(at, appid, mchid, "0", "", trade.channel_number or "", trade.out_trade_no),
        *(
            f"oSandboxPayer{mchid}",
            trade.notes.get("trade_type", "NATIVE"),
            "REFUND" if refund else "SUCCESS",
        ),
        *("OTHERS", trade.currency, paid, _yuan(0)),
        *_describe_refund(refund),
        *(_one_line(trade.description), _one_line(trade.request.get("attach") or "")),
        *(f"{_yuan(_find_fee(line))}000", f"{_FEE_PER_MILLE / 10:.2f}%"),
        *(paid, _yuan(refund.amount if refund else 0), ""),
    ]


def _describe_refund(refund: Refund | None) -> list[str]:
    if refund is None:
        return ["0", "0", _yuan(0), _yuan(0), "", ""]
    numbers = [refund.channel_number, refund.out_refund_no]
    return [*numbers, _yuan(refund.amount), _yuan(0), "ORIGINAL", refund.status]


def _find_fee(line: Booking) -> int:
    """What the platform keeps, in fen; what it gives back of that with a refund is below zero."""
    return -_rate(line.refund.amount) if line.refund else _rate(line.trade.amount)


def _rate(amount: int) -> int:
    return (amount * _FEE_PER_MILLE + 500) // 1000


def _yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _join(values: Sequence[str]) -> str:
    return ",".join(f"`{value}" for value in values)
