"""Alipay's trade bill: where it is to be had, and the CSV of one Beijing day inside its ZIP, read a line at a time.

Nothing here calls anybody or verifies a signature. Source: the open platform's documentation of
alipay.data.dataservice.bill.downloadurl.query, and published samples of bills.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from shop.sentences import say

from .alipay_reading import read_fen, read_time, to_fen
from .base import BadStatement, LineKind, StatementLine, Unanswered
from .fields import BadField, read_word
from .wire import is_loopback, is_safe_url

# All that reading a damaged archive has been seen to raise.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    ValueError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)
_KINDS = {"交易": LineKind.PAYMENT, "退款": LineKind.REFUND}
_COLUMNS = (
    *("支付宝交易号", "商户订单号", "业务类型", "完成时间"),
    *("订单金额（元）", "退款批次号/请求号", "服务费（元）"),
)


def bill_address(data: Mapping[str, Any]) -> str:
    """Where the bill is. Documented addresses begin with http; nothing is fetched by it but on this machine.

    Raises Unanswered.
    """
    try:
        url = read_word(data, "bill_download_url", limit=2048)
        is_plain = urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or "")
    except ValueError as error:
        raise Unanswered("the answer names no address", code="malformed") from error
    url = f"https{url.removeprefix('http')}" if is_plain else url
    if not is_safe_url(url):
        raise Unanswered("the answer names no address", code="malformed")
    return url


def read_bill(file: BinaryIO, *, seller_id: str) -> Iterator[StatementLine]:
    """The payments and refunds of the account's bill, one at a time. Raises BadStatement, also after some of them."""
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(_find_details(archive)) as raw,
            # A superset of the GBK that it is written in. newline="": csv wants to see them all.
            io.TextIOWrapper(raw, encoding="gb18030", newline="") as text,
        ):
            yield from _read_lines(text, seller_id)
    except BadStatement:
        raise
    except _DAMAGED as error:
        raise BadStatement(say(_("the bill cannot be read: %(why)s"), why=type(error).__name__)) from error


def _read_lines(text: io.TextIOWrapper, seller_id: str) -> Iterator[StatementLine]:
    names: list[str] = []
    is_ours = is_whole = False
    for line, row in enumerate(csv.reader(text), start=1):
        cells = [cell.strip() for cell in row]  # a number ends with a tab, which keeps spreadsheets off it
        if not cells or cells[0].startswith("#"):
            remark = "".join(cells)
            is_ours = is_ours or remark.startswith(f"#账号：[{seller_id}")
            is_whole = is_whole or "业务明细列表结束" in remark
        elif not is_ours:
            raise BadStatement.in_line(line, _("the bill is not of this account"))
        elif not names:
            names = _check_columns(cells)
        elif len(cells) != len(names):
            words = _("%(count)d columns in place of %(wanted)d")
            raise BadStatement.in_line(line, say(words, count=len(cells), wanted=len(names)))
        else:
            yield _read_line(line, dict(zip(names, cells, strict=True)))
    if not is_whole:
        raise BadStatement(_("the bill has no end"))


def _find_details(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The file of single lines beside the summary. Names are GBK, which zipfile takes for its old default."""
    for entry in archive.infolist():
        is_marked = entry.flag_bits & 0x800
        name = entry.filename if is_marked else entry.filename.encode("cp437").decode("gb18030")
        if name.endswith("_业务明细.csv"):
            return entry
    raise BadStatement(_("the bill holds no file of trades"))


def _check_columns(cells: list[str]) -> list[str]:
    missing = [name for name in _COLUMNS if cells.count(name) != 1]
    if missing:
        raise BadStatement(say(_("the bill has no column %(name)s"), name=missing[0]))
    return cells


def _read_line(line: int, cells: Mapping[str, str]) -> StatementLine:
    kind = _KINDS.get(cells["业务类型"])
    if kind is None:
        raise BadStatement.in_line(line, say(_("%(name)s is unknown"), name="业务类型"))
    try:
        fen, fee = read_fen(cells, "订单金额（元）", sign=kind), abs(to_fen(cells, "服务费（元）"))
        trade_number, at = read_word(cells, "支付宝交易号"), read_time(cells, "完成时间")
    except BadField as error:
        raise BadStatement.in_line(line, say(_("%(name)s is not as documented"), name=error)) from error
    ours = cells["商户订单号"]
    if kind is LineKind.PAYMENT:
        return StatementLine(
            kind=kind, number=ours, channel_number=trade_number, amount_minor=fen, currency="CNY",
            fee_minor=fee, at=at,
        )  # fmt: skip
    return StatementLine(
        kind=kind, number=cells["退款批次号/请求号"], channel_number="", amount_minor=fen, currency="CNY",
        fee_minor=-fee, payment_number=ours, trade_number=trade_number, at=at,
    )  # fmt: skip
