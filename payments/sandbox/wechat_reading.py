"""How WeChat Pay reads what a merchant sends, how it refuses, and what it hands out to be paid by.

Pure functions of a request, a document or a row; nothing here touches the ledger. Source: as of `wechat`.
"""

import json
import re
import secrets
from datetime import date, timedelta
from ipaddress import ip_address
from typing import Any

from werkzeug import Request

from payments.sandbox.clock import BEIJING, now_us, to_datetime
from payments.sandbox.fields import BadField, read_text
from payments.sandbox.keys import make_digits
from payments.sandbox.records import Trade
from payments.sandbox.side import Refused, Reply
from payments.sandbox.wechat_documents import to_json
from payments.sandbox.wechat_seals import SCHEME, make_letters

H5_PAGE = "/cgi-bin/mmpayweb-bin/checkmweb"
_PAIR = re.compile(r'(\w+)="([^"]*)"')
_PAIRS = {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}
_H5_TYPES = "Wap|iOS|Android"
_BILLS_BACK_DAYS = 92


def make_handle(product: str) -> str:
    """What leads a shopper to the order: the content of the code, or the prepay_id of a page or an app."""
    if product == "native":
        return f"weixin://wxpay/bizpayurl?pr={make_letters(9)}"
    return f"wx{to_datetime(now_us(), BEIJING):%d%H%M%S}{secrets.token_hex(13)}"


def show_handle(product: str, content: str, request: Request) -> dict[str, str]:
    """The answer to the call that created the order."""
    if product == "native":
        return {"code_url": content}
    if product == "app":
        return {"prepay_id": content}
    return {"h5_url": f"{request.host_url}{H5_PAGE[1:]}?prepay_id={content}&package={make_digits(10)}"}


def check_scene(order: dict[str, Any]) -> None:
    """H5 orders say who pays and how; an address with a port or a name is none."""
    address = read_text(order, "scene_info.payer_client_ip", longest=45) or ""
    try:
        ip_address(address)
    except ValueError as error:
        raise BadField("scene_info.payer_client_ip", "must be an IP address") from error
    read_text(order, "scene_info.h5_info.type", longest=32, pattern=_H5_TYPES)


def read_day(text: str) -> date:
    """A day of the last three months until today."""
    today = to_datetime(now_us(), BEIJING).date()
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise BadField("bill_date", "is not a day that exists") from error
    if not today - timedelta(days=_BILLS_BACK_DAYS) <= day <= today:
        raise BadField("bill_date", "must be a day of the last three months")
    return day


def check_same_order(trade: Trade, order: dict[str, Any], trade_type: str) -> None:
    """An order may be created again while it is open, with the same content and for the same scene. Raises Refused."""
    if trade.status == "PAID":
        raise refused(400, "ORDERPAID", "the order is paid")
    if trade.status == "CLOSED":
        raise refused(400, "ORDERCLOSED", "the order is closed; use a new out_trade_no")
    if now_us() >= trade.expires_at:
        raise refused(400, "INVALID_REQUEST", "the time to pay is over; use a new out_trade_no")
    if trade.request != order or trade.notes.get("trade_type", "NATIVE") != trade_type:
        raise refused(400, "INVALID_REQUEST", "out_trade_no is taken by an order with other parameters")


def parse_authorization(header: str) -> dict[str, str]:
    """The five pairs, in any order."""
    scheme, _, rest = header.partition(" ")
    parts = [_PAIR.fullmatch(part.strip()) for part in rest.split(",")]
    pairs = {part[1]: part[2] for part in parts if part}
    if scheme != SCHEME or set(pairs) != _PAIRS or len(parts) != len(_PAIRS):
        raise unsigned(f"Authorization must be {SCHEME} with {', '.join(sorted(_PAIRS))}, once each")
    return pairs


def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises Refused, 400 PARAM_ERROR."""
    if request.mimetype != "application/json":
        raise refused(400, "PARAM_ERROR", "Content-Type must be application/json")
    try:
        document = json.loads(request.get_data().decode(), parse_constant=_refuse_constant)
        to_json(document)  # a lone surrogate can be escaped in JSON but is no text
    except (ValueError, RecursionError) as error:
        raise refused(400, "PARAM_ERROR", "the body is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise refused(400, "PARAM_ERROR", "the body is not a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def refuse_page(words: str, reason: str) -> Reply:
    """What the shopper reads in the browser; the reason is for developers, the real page keeps it to itself."""
    page = f"<!doctype html><meta charset=utf-8><title>{words}</title><p>{words}</p><!-- {reason} -->"
    return Reply(400, page.encode(), is_sealed=False, content_type="text/html; charset=utf-8")


def refused(status: int, code: str, message: str, detail: dict[str, str] | None = None) -> Refused:
    """An error answer, to be raised."""
    return Refused(Reply(status, {"code": code, "message": message} | ({"detail": detail} if detail else {})))


def unsigned(message: str, status: int = 401, code: str = "SIGN_ERROR") -> Refused:
    """A caller who did not sign gets no signature either."""
    return Refused(Reply(status, {"code": code, "message": message}, is_sealed=False))
