"""Alipay's trade bill: a day's payments and refunds as GBK text, in a ZIP whose names are GBK too.

Pure functions of the ledger's rows, and the shelf where a bill waits to be fetched. Source: Alipay open platform
documentation, bill download, and published samples. Amounts are yuan, those of refunds below zero; numbers end with a tab.
"""

import csv
import io
import secrets
import zipfile
from collections.abc import Sequence
from datetime import date, timedelta

from payments.sandbox.alipay_documents import format_time, format_yuan
from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.records import Booking

_COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,"
    "商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_FEE_PER_MILLE = 6
_BILL_LIFE_US = 30 * SECOND_US


class BillShelf:
    """Bills made on demand, each behind a token that is good for half a minute."""

    def __init__(self) -> None:
        self._bills: dict[str, tuple[bytes, int]] = {}  # by token, with the moment until which it is good

    def put(self, content: bytes) -> str:
        """Keep a bill; returns its token."""
        now, token = now_us(), secrets.token_hex(16)
        for old in [key for key, (_, until) in list(self._bills.items()) if until < now]:
            self._bills.pop(old, None)
        self._bills[token] = content, now + _BILL_LIFE_US
        return token

    def get(self, token: str) -> bytes | None:
        """The bill, while its token is good."""
        content, until = self._bills.get(token, (b"", 0))
        return content if now_us() < until else None


class _GbkName(zipfile.ZipInfo):
    """An entry whose name is written in GBK; the standard library would write UTF-8 and say so."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  the library's own hook
        return self.filename.encode("gbk"), self.flag_bits & ~0x800


def write_bill(account: str, day: date, lines: Sequence[Booking]) -> bytes:
    """The ZIP: single lines, and the summary that nobody here reads."""
    name = f"{account}_{day:%Y%m%d}_业务明细"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for suffix, text in (
            ("", _write_details(account, day, lines)),
            ("(汇总)", "#支付宝业务汇总查询\r\n"),
        ):
            entry = _GbkName(f"{name}{suffix}.csv")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode("gbk", errors="replace"))
    return target.getvalue()


def _write_details(account: str, day: date, lines: Sequence[Booking]) -> str:
    text = io.StringIO()
    text.write("#支付宝业务明细查询\r\n")
    text.write(f"#账号：[{account}]\r\n")
    text.write(
        f"#起始日期：[{_name_midnight(day)}]   终止日期：[{_name_midnight(day + timedelta(days=1))}]\r\n"
    )
    text.write(f"#{'-' * 41}业务明细列表{'-' * 40}\r\n")
    text.write(f"{_COLUMNS}\r\n")
    csv.writer(text).writerows(_write_row(line) for line in lines)
    text.write(f"#{'-' * 41}业务明细列表结束{'-' * 36}\r\n")
    text.write(_write_total("交易", "商家实收", "商家优惠", [line for line in lines if line.refund is None]))
    text.write(
        _write_total(
            "退款", "商家实收退款", "商家优惠退款", [line for line in lines if line.refund is not None]
        )
    )
    text.write(f"#导出时间：[{_name_midnight(day)[:-9]} {format_time(now_us())[11:]}]\r\n")
    return text.getvalue()


def _write_row(line: Booking) -> list[str]:
    trade, refund = line.trade, line.refund
    fen = trade.amount if refund is None else -refund.amount
    return [
        f"{trade.channel_number}\t",
        f"{trade.out_trade_no}\t",
        "交易" if refund is None else "退款",
        trade.description,
        format_time(trade.notes.get("scanned_at", trade.created_at)),
        format_time(line.at),
        *("\t", "\t", "\t", "\t"),
        "*三(138******00)\t",
        *(format_yuan(fen), format_yuan(fen)),
        *("0.00", "0.00", "0.00", "0.00", "0.00", "", "0.00\t", "0.00"),
        "\t" if refund is None else f"{refund.request['out_request_no']}\t",
        format_yuan(-_find_fee(fen)),
        "0.00",
        "" if refund is None else str(refund.request.get("refund_reason") or ""),
    ]


def _find_fee(fen: int) -> int:
    """What Alipay keeps of a payment, rounded half up; below zero what it gives back with a refund."""
    fee = (abs(fen) * _FEE_PER_MILLE + 500) // 1000
    return fee if fen > 0 else -fee


def _write_total(kind: str, received: str, discount: str, lines: Sequence[Booking]) -> str:
    fen = sum(line.trade.amount if line.refund is None else -line.refund.amount for line in lines)
    return f"#{kind}合计：{len(lines)}笔，{received}共{format_yuan(fen)}元，{discount}共0.00元\r\n"


def _name_midnight(day: date) -> str:
    return f"{day.year}年{day.month:02d}月{day.day:02d}日 00:00:00"
