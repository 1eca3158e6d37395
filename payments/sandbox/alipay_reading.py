"""How Alipay reads what a merchant sends: which calls there are, the parameters of each, and how it refuses.

Pure functions of a request, its content or a row; nothing here touches the ledger. Source: as of `alipay`.
"""

import json
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from werkzeug import Request

from payments.sandbox.alipay_documents import describe_failure
from payments.sandbox.clock import BEIJING, SECOND_US, now_us, to_datetime, to_us
from payments.sandbox.fields import BadField, read_text
from payments.sandbox.records import Trade, find_hindrance
from payments.sandbox.side import Refused, Reply

NUMBER = r"[0-9A-Za-z_]{1,64}"
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_YUAN = re.compile(r"\d{1,9}(\.\d{1,2})?")
_LIFE = re.compile(r"(\d{1,5})([mhd])")
_LIFE_UNITS_US = {"m": 60 * SECOND_US, "h": 3600 * SECOND_US, "d": 24 * 3600 * SECOND_US}
_LONGEST_LIFE_US = 15 * 24 * 3600 * SECOND_US
_MOST_FEN = 10**10
# In the order in which the gateway misses them.
_REQUIRED = {
    "method": "method",
    "app_id": "app-id",
    "sign_type": "signature-type",
    "sign": "signature",
    "timestamp": "timestamp",
    "version": "version",
}
# How far a timestamp may be off is not documented, and a client in wide use sends its own zone's time.
_FORMATS = {
    "sign_type": ("RSA2", "signature-type"),
    "charset": ("(?i:utf-8)", "charset"),
    "timestamp": (_TIME, "timestamp"),
    "version": (r"1\.0", "version"),
}


@dataclass(frozen=True)
class Method:
    """One call behind the gateway's only address. `product_codes`: those it takes, where it must have one.

    A page is no call of a server's: faults leave it alone.
    """

    operation: str
    handler: str
    product_codes: tuple[str, ...] = ()
    is_page: bool = False


METHODS = {
    "alipay.trade.precreate": Method("create", "precreate"),
    "alipay.trade.page.pay": Method("", "open_page", ("FAST_INSTANT_TRADE_PAY",), is_page=True),
    # The second spelling is that of a client in wide use.
    "alipay.trade.wap.pay": Method("", "open_page", ("QUICK_WAP_WAY", "QUICK_WAP_PAY"), is_page=True),
    # No server is called with it in real life: what comes here is what the wallet on the phone would do with it.
    "alipay.trade.app.pay": Method("", "open_page", ("QUICK_MSECURITY_PAY",), is_page=True),
    "alipay.trade.query": Method("query", "query"),
    "alipay.trade.close": Method("close", "close"),
    "alipay.trade.cancel": Method("close", "cancel"),
    "alipay.trade.refund": Method("refund", "refund"),
    "alipay.trade.fastpay.refund.query": Method("query_refund", "query_refund"),
    "alipay.data.dataservice.bill.downloadurl.query": Method("statement", "query_bill"),
}


def refused(sub_code: str, message: str, *, is_sealed: bool = True) -> Refused:
    """A refusal in Alipay's shape, to be raised."""
    return Refused(Reply(200, describe_failure(sub_code, message), is_sealed=is_sealed))


def check_common(fields: dict[str, str], app_id: str) -> None:
    """The parameters that every call has. Raises Refused."""
    for name, code in _REQUIRED.items():
        if not fields.get(name):
            raise refused(f"isv.missing-{code}", f"{name} is required", is_sealed=False)
    if fields["app_id"] != app_id:
        raise refused("isv.invalid-app-id", "no such app", is_sealed=False)
    if fields["method"] not in METHODS:
        raise refused("isv.invalid-method", "no such method", is_sealed=False)
    for name, (pattern, code) in _FORMATS.items():
        if not re.fullmatch(pattern, fields.get(name) or "utf-8"):
            raise refused(f"isv.invalid-{code}", f"{name} must match {pattern}", is_sealed=False)


def read_fields(request: Request) -> dict[str, str]:
    """The parameters of query and body together, each once. Raises Refused."""
    pairs = [*request.args.items(multi=True), *request.form.items(multi=True)]
    if len(dict(pairs)) != len(pairs):
        raise refused("isv.invalid-parameter", "a parameter is there twice", is_sealed=False)
    return dict(pairs)


def read_method(request: Request) -> str:
    return request.args.get("method") or request.form.get("method") or ""


def read_content(request: Request) -> dict[str, Any]:
    """`biz_content`, with numbers as they were written. Raises BadField."""
    text = read_fields(request).get("biz_content", "")
    try:
        content = json.loads(
            text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:
        raise BadField("biz_content", "must be JSON") from error
    if not isinstance(content, dict):
        raise BadField("biz_content", "must be an object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_fen(content: dict[str, Any], field: str) -> int:
    """Yuan with at most two places, as a string or, as some clients write them, as a number."""
    value = content.get(field)
    if type(value) in (int, Decimal):
        value = str(value)
    if not isinstance(value, str) or not _YUAN.fullmatch(value):
        raise BadField(field, "must be yuan with at most two places")
    fen = int(Decimal(value) * 100)
    if not 1 <= fen <= _MOST_FEN:
        raise BadField(field, "must be from 0.01 to 100000000")
    return fen


def read_life(content: dict[str, Any], field: str, usual: str) -> int:
    """How long something lives, in microseconds."""
    text = read_text(content, field, longest=6, required=False) or usual
    if text == "1c":
        tomorrow = to_datetime(now_us(), BEIJING).date() + timedelta(days=1)
        return to_us(datetime.combine(tomorrow, datetime.min.time(), BEIJING)) - now_us()
    found = _LIFE.fullmatch(text)
    life = int(found[1]) * _LIFE_UNITS_US[found[2]] if found else 0
    if not _LIFE_UNITS_US["m"] <= life <= _LONGEST_LIFE_US:
        raise BadField(field, "must be from 1m to 15d, or 1c")
    return life


def read_expiry(order: dict[str, Any], until: int) -> int:
    """The very last moment at which an order can be paid whose trade begins at `until` or earlier."""
    text = read_text(order, "time_expire", longest=19, pattern=_TIME, required=False)
    if text is None:
        return until + read_life(order, "timeout_express", "15d")
    try:
        expires_at = to_us(datetime.fromisoformat(text).replace(tzinfo=BEIJING))
    except ValueError as error:
        raise BadField("time_expire", "is not a moment that exists") from error
    if expires_at <= now_us():
        raise BadField("time_expire", "is over")
    return expires_at


def read_day(content: dict[str, Any]) -> date | None:
    """`bill_date`, a day until today; None for what has no bill here: a month, or a day to come."""
    text = read_text(content, "bill_date", longest=10, pattern=r"\d{4}-\d\d(-\d\d)?") or ""
    if len(text) != 10:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise BadField("bill_date", "is not a day that exists") from error
    return day if day <= to_datetime(now_us(), BEIJING).date() else None


def check_same_order(trade: Trade, amount: int, subject: str) -> Trade:
    """An order may come again while it is open, with the same amount and subject. Raises Refused."""
    if trade.status == "PAID":
        raise refused("ACQ.TRADE_HAS_SUCCESS", "the trade is paid")
    if trade.status == "CLOSED" or find_hindrance(trade, now_us()):
        raise refused("ACQ.TRADE_HAS_CLOSE", "the trade is closed; use a new out_trade_no")
    if (trade.amount, trade.description) != (amount, subject):
        raise refused("ACQ.CONTEXT_INCONSISTENT", "out_trade_no is taken by a trade with other content")
    return trade
