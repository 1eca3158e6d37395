"""What we ask WeChat Pay for: the content of a create and of a refund call, their limits, and what a shopper gets to pay with.

Nothing here is signed or sent; what WeChat could not take is refused before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from .base import Attempt, Impossible, RefundRequest, Scene
from .fields import BadField, read_word
from .wechat_statement import BEIJING
from .wire import is_safe_url


@dataclass(frozen=True, slots=True)
class Product:
    """One of WeChat's ways to pay: where an order is created, and for how long what is answered can be used."""

    path: str
    life: timedelta


PRODUCTS: Mapping[str, Product] = {
    Scene.QR: Product("/v3/pay/transactions/native", timedelta(hours=2)),
    # The link opens for five minutes, the order could be paid for as long as we say. It is to end with its link: so what we
    # show always opens, and who comes later gets a new order with a new link.
    Scene.WAP: Product("/v3/pay/transactions/h5", timedelta(minutes=5)),
    Scene.APP: Product("/v3/pay/transactions/app", timedelta(hours=2)),
}
CURRENCY = "CNY"
LEAST_LIFE = timedelta(minutes=1)  # WeChat lifts a time_expire that is nearer
PAYMENT_NUMBER = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
REFUND_NUMBER = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
MAX_DESCRIPTION = 127  # characters
MAX_REASON = 80  # characters
MAX_NOTIFY_URL = 255


# ---- orders ------------------------------------------------------------------------------------------------------


def check_order(attempt: Attempt, *, now: datetime) -> None:
    """Raises Impossible for the first field that WeChat cannot take."""
    _refuse_unless(
        scene=attempt.scene in PRODUCTS,
        currency=attempt.currency == CURRENCY,
        amount=attempt.amount_minor >= 1,
        number=PAYMENT_NUMBER.fullmatch(attempt.number),
        description=1 <= len(attempt.description) <= MAX_DESCRIPTION,
        notify_url=_is_notify_url(attempt.notify_url),
        return_url=attempt.scene != Scene.WAP or is_safe_url(attempt.return_url),
        payer_ip=attempt.scene != Scene.WAP or _is_ip(attempt.payer.get("ip")),
        # Sent later, WeChat would lift time_expire to a minute from then, beyond the dead_at stored before.
        expires_at=attempt.expires_at > now,
    )


def write_order(attempt: Attempt, *, appid: str, mchid: str) -> dict[str, Any]:
    """The content of the create call. Of the stored attempt alone: under one number no other content is taken."""
    order = {
        "appid": appid,
        "mchid": mchid,
        "description": attempt.description,
        "out_trade_no": attempt.number,
        "time_expire": attempt.expires_at.astimezone(BEIJING).isoformat(timespec="seconds"),
        "notify_url": attempt.notify_url,
        "amount": {"total": attempt.amount_minor, "currency": attempt.currency},
    }
    if attempt.scene == Scene.WAP:
        order["scene_info"] = {"payer_client_ip": attempt.payer["ip"], "h5_info": {"type": "Wap"}}
    return order


def read_action(
    attempt: Attempt, answer: Mapping[str, Any], *, sign_app: Callable[[str], dict[str, str]]
) -> dict[str, Any]:
    """What the shopper does next, by a verified answer to the create call. Raises BadField."""
    if attempt.scene == Scene.WAP:
        return {"type": "redirect", "url": _with_return(answer, attempt.return_url)}
    if attempt.scene == Scene.APP:
        return {"type": "sdk", "params": sign_app(read_word(answer, "prepay_id"))}
    return {"type": "qr", "content": read_word(answer, "code_url", limit=512)}


def _with_return(answer: Mapping[str, Any], return_url: str) -> str:
    """The page that opens the wallet, told where to go back to."""
    url = read_word(answer, "h5_url", limit=2048)
    if not is_safe_url(url) or not urlsplit(url).query or "#" in url:
        raise BadField("h5_url")
    return f"{url}&redirect_url={quote(return_url, safe='')}"


# ---- refunds -----------------------------------------------------------------------------------------------------


def check_refund(request: RefundRequest) -> None:
    """Raises Impossible for the first field that WeChat cannot take."""
    _refuse_unless(
        currency=request.currency == CURRENCY,
        amount=1 <= request.amount_minor <= request.paid_minor,
        number=REFUND_NUMBER.fullmatch(request.number),
        reason=len(request.reason) <= MAX_REASON,
        notify_url=_is_notify_url(request.notify_url),
    )


def write_refund(request: RefundRequest) -> dict[str, Any]:
    """The content of the refund call."""
    reason = {"reason": request.reason} if request.reason else {}  # optional, but never empty
    return reason | {
        # Not out_trade_no: a number that was paid twice has two trades, and it is this one's money that goes back.
        "transaction_id": request.channel_number,
        "out_refund_no": request.number,
        "notify_url": request.notify_url,
        "amount": {
            "refund": request.amount_minor,
            "total": request.paid_minor,  # the whole order's, also for a part
            "currency": request.currency,
        },
    }


# ---- limits ------------------------------------------------------------------------------------------------------


def _refuse_unless(**possible: object) -> None:
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"WeChat cannot take this {name}", code=f"invalid_{name}")


def _is_notify_url(url: str) -> bool:
    return is_safe_url(url) and len(url) <= MAX_NOTIFY_URL and not set(url) & set("?# ")


def _is_ip(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(ip_address(value))
    except ValueError:
        return False
