"""How UnionPay reads what a merchant sends, call by call, and how it refuses.

Pure functions of a request or its parameters; nothing here touches the ledger. Source: as of `unionpay`.
"""

from datetime import date
from urllib.parse import parse_qsl

from werkzeug import Request

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField, read_notify_url, read_text
from payments.sandbox.side import Refused, Reply
from payments.sandbox.unionpay_documents import find_clearing_day, read_time, say

FORM = "application/x-www-form-urlencoded"
ORDER_ID = r"[0-9A-Za-z]{8,32}"
_AMOUNT = r"[1-9][0-9]{0,11}"
TEXT = r"[^&={}\[\]\"']+"
_NOT_OF_A_QUESTION = ("txnAmt", "currencyCode", "backUrl", "frontUrl", "payTimeout", "channelType")
# txnType, txnSubType, bizType of each product.
_PRODUCTS = {"qr": ("01", "07", "000000"), "front": ("01", "01", "000201"), "app": ("01", "01", "000201")}
# "Far-off values are refused": how far is not documented.
_CLOCK_US = 3600 * SECOND_US
_FORM_WAITS_US = 2 * 3600 * SECOND_US  # a page lies in the browser for a while before it is sent
_LIFE_US = 2 * 3600 * SECOND_US  # without payTimeout


def refused(code: str, message: str = "", *, is_sealed: bool = True) -> Refused:
    """A code of UnionPay's and words of ours, to be raised."""
    return Refused(Reply(200, {"respCode": code, "respMsg": say(code, message)}, is_sealed=is_sealed))


def read_form(request: Request) -> dict[str, str]:
    """The parameters that are not empty. Raises Refused."""
    if request.mimetype != FORM:
        raise refused("10", f"Content-Type must be {FORM}")
    try:
        pairs = parse_qsl(
            request.get_data().decode(), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError as error:
        raise refused("10", "the body is not a form in UTF-8") from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise refused("10", "a parameter stands twice")
    return {name: value for name, value in pairs if value != ""}


def read_order(params: dict[str, str], product: str) -> int:
    """Check the parameters of a payment; returns when it can be paid no more, in microseconds."""
    _check_product(params, _PRODUCTS[product])
    read_text(params, "orderId", longest=32, pattern=ORDER_ID)
    read_text(params, "channelType", longest=2, pattern="0[78]")
    read_text(params, "txnAmt", longest=12, pattern=_AMOUNT)
    read_text(params, "currencyCode", longest=3, pattern="156")
    read_text(params, "orderDesc", longest=32, pattern=TEXT, required=False)
    read_text(params, "reqReserved", longest=1024, pattern=TEXT, required=False)
    read_notify_url(params, "backUrl", longest=256)
    if product == "front":
        read_text(params, "frontUrl", longest=256, pattern=r"https?://\S+")
    started_at = read_moment(params, "txnTime")
    _check_now(started_at, _FORM_WAITS_US if product == "front" else _CLOCK_US)
    expires_at = read_moment(params, "payTimeout") if "payTimeout" in params else started_at + _LIFE_US
    if expires_at <= now_us():
        raise refused("39", "payTimeout is over")
    return expires_at


def read_question(params: dict[str, str]) -> str:
    """Check the parameters of a query; returns the orderId that it asks about."""
    _check_product(params, ("00", "00", None))
    _check_absent(params, *_NOT_OF_A_QUESTION)
    order_id = read_text(params, "orderId", longest=32, pattern=ORDER_ID) or ""
    read_moment(params, "txnTime")
    return order_id


def read_refund(params: dict[str, str], txn_type: str) -> None:
    """Check the parameters of a refund (04) or an undo (31), but for the trade that it names."""
    _check_product(params, (txn_type, "00", None))
    read_text(params, "orderId", longest=32, pattern=ORDER_ID)
    read_text(params, "channelType", longest=2, pattern="0[78]")
    read_text(params, "txnAmt", longest=12, pattern=_AMOUNT)
    read_text(params, "currencyCode", longest=3, pattern="156", required=False)
    read_text(params, "reqReserved", longest=1024, pattern=TEXT, required=False)
    read_notify_url(params, "backUrl", longest=256)
    _check_now(read_moment(params, "txnTime"), _CLOCK_US)


def read_settle_date(params: dict[str, str]) -> date:
    """Check the parameters of a statement; returns the latest day of that month and day until the present clearing day."""
    _check_product(params, ("76", "01", "000000"))
    _check_absent(params, "orderId", *_NOT_OF_A_QUESTION)
    read_text(params, "fileType", longest=2, pattern="00")
    _check_now(read_moment(params, "txnTime"), _CLOCK_US)
    text = read_text(params, "settleDate", longest=4, pattern=r"[0-9]{4}") or ""
    today = find_clearing_day(now_us())
    for year in range(today.year, today.year - 9, -1):
        try:
            day = date(year, int(text[:2]), int(text[2:]))
        except ValueError:
            continue
        if day <= today:
            return day
    raise BadField("settleDate", "must be MMDD")


def _check_product(params: dict[str, str], product: tuple[str, str, str | None]) -> None:
    for name, expected in zip(("txnType", "txnSubType", "bizType"), product, strict=True):
        value = read_text(params, name, longest=6, pattern=r"[0-9]{2,6}")
        if expected not in (None, value):
            raise refused("10", f"{name} must be {expected} here")


def _check_absent(params: dict[str, str], *names: str) -> None:
    for name in names:
        if name in params:
            raise BadField(name, "does not belong here")


def _check_now(moment_us: int, window_us: int) -> None:
    if abs(now_us() - moment_us) > window_us:
        raise BadField("txnTime", "is too far from now")


def read_moment(params: dict[str, str], name: str) -> int:
    text = read_text(params, name, longest=14) or ""
    try:
        return read_time(text)
    except ValueError as error:
        raise BadField(name, "must be YYYYMMDDhhmmss") from error
