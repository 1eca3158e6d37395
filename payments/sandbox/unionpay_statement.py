"""UnionPay's statement: the ZM book of a clearing day as fixed-width GBK lines, in a ZIP, packed once more, in Base64.

Pure functions of the ledger's bookings. Source: file interface of UnionPay's online gateway 5.1.0, "ZM" files.
"""

import base64
import io
import zipfile
import zlib
from datetime import date

from payments.sandbox.records import Booking
from payments.sandbox.unionpay_documents import write_time

# Width in bytes of each of the 41 fields; one blank stands between two.
_FIELDS = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2),
    *(2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
)
_FEE_PERMILLE = 6  # what UnionPay keeps of a payment, rounded down, and gives back with a refund
_MADE_AT = (2026, 1, 1, 0, 0, 0)  # the same file for the same trades


def pack_book(lines: list[Booking], day: date, mer_id: str) -> str:
    """`fileContent` of a clearing day: Base64 of a zlib stream of a ZIP with the trades and the (empty) adjustments."""
    book = "".join(_write_line(line, mer_id) + "\r\n" for line in lines).encode("gbk")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for kind, content in (("ZM", book), ("ZME", b"")):
            name = f"INN{day:%y%m%d}88{kind}_{mer_id}"
            archive.writestr(zipfile.ZipInfo(name, _MADE_AT), content, zipfile.ZIP_DEFLATED)
    return base64.b64encode(zlib.compress(target.getvalue())).decode()


def _write_line(line: Booking, mer_id: str) -> str:
    values = _describe_refund(line) if line.refund else _describe_payment(line)
    values |= {5: write_time(line.at)[4:], 28: mer_id}
    return " ".join(values.get(number, "").ljust(width) for number, width in enumerate(_FIELDS, start=1))


def _describe_payment(line: Booking) -> dict[int, str]:
    trade = line.trade
    fee = trade.amount * _FEE_PERMILLE // 1000
    return {
        1: "S22",
        4: _trace_number(trade.channel_number),
        7: f"{trade.amount:012d}",
        10: trade.channel_number or "",
        12: trade.out_trade_no,
        16: f"D{fee:012d}",
        17: f"C{trade.amount - fee:012d}",
        20: "01",
        21: trade.request["txnSubType"],
        22: trade.request["bizType"],
        33: f"C{trade.amount - fee:012d}",
    }


def _describe_refund(line: Booking) -> dict[int, str]:
    trade, refund = line.trade, line.refund
    if refund is None:
        raise ValueError("a payment")
    fee = refund.amount * _FEE_PERMILLE // 1000
    return {
        1: "S30",
        4: _trace_number(refund.channel_number),
        7: f"{refund.amount:012d}",
        10: refund.channel_number,
        12: refund.out_refund_no,
        14: _trace_number(trade.channel_number),
        15: write_time(trade.paid_at or 0)[4:],
        16: f"C{fee:012d}",
        17: f"D{refund.amount - fee:012d}",
        20: "04",
        21: "00",
        22: refund.request["bizType"],
        27: trade.channel_number or "",
        33: f"D{refund.amount - fee:012d}",
        41: trade.out_trade_no,
    }


def _trace_number(channel_number: str | None) -> str:
    return (channel_number or "")[14:20]
