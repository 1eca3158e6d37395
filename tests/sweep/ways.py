"""The ways to pay that flows are swept on, and the little that a flow must know of a channel's habits.

A flow that names no way goes by WeChat's QR code.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.people import MARIA


def _read_json_id(body: bytes) -> str:
    return str(json.loads(body)["id"])


def _read_notify_id(body: bytes) -> str:
    return parse_qs(body.decode())["notify_id"][0]


def _read_trade_id(body: bytes) -> str:
    """UnionPay's messages have no id of their own: number, time and trade name one."""
    fields = parse_qs(body.decode())
    return ".".join(fields[name][0] for name in ("orderId", "txnTime", "queryId"))


@dataclass(frozen=True)
class Way:
    """One way to pay. `read_id` finds a message's own id, the same over all tries, in its body.

    `closes`: what we end, the channel takes no money for any more. Where it cannot promise that, a trade that nobody waits
    for may be payable for ever.
    """

    channel: str
    scene: str
    currency: str = "CNY"
    closes: bool = False
    read_id: Callable[[bytes], str] = _read_json_id
    payer: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.channel

    @property
    def wish(self) -> dict[str, Any]:
        """What applying for it says."""
        payer = {"payer": dict(self.payer)} if self.payer else {}
        return {"channel": self.channel, "scene": self.scene} | payer


WECHAT = Way("wechat", "qr", closes=True)
ALIPAY = Way("alipay", "qr", read_id=_read_notify_id)
# Alipay closes a trade, which comes into being with the scan of its code.
SCANNED = Way("alipay", "qr", closes=True, read_id=_read_notify_id, name="alipay-scanned")
UNIONPAY = Way("unionpay", "qr", read_id=_read_trade_id)
# Both take BRL, so that one order can be paid by the other as well.
PAYPAL = Way("paypal", "page", "BRL")
BOLETO = Way("boleto", "voucher", "BRL", payer=MARIA)

WAYS = {way.channel: way for way in (WECHAT, ALIPAY, UNIONPAY, PAYPAL, BOLETO)}
