"""The other side of the Alipay adapter in these tests: published vectors, and a wire that answers as scripted."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from payments.channels.alipay import Alipay
from payments.channels.base import ChannelError, RawCallback
from payments.channels.seals import load_private_key, load_public_key, sign_rsa_sha256
from payments.channels.wire import Reply

from . import party
from .party import load_vectors, make_attempt, make_refund, without_none

VECTORS = load_vectors("alipay")
APP_KEY = load_private_key(VECTORS["app"]["private_key_pkcs8_pem"])
ALIPAY_KEY = load_private_key(VECTORS["alipay"]["private_key_pkcs8_pem"])
ALIPAY_PUBLIC = load_public_key(VECTORS["alipay"]["public_key_pem"])
APP_PUBLIC = load_public_key(VECTORS["app"]["public_key_pem"])
APP_ID, SELLER_ID = VECTORS["app_id"], VECTORS["seller_id"]

GATEWAY = "https://gateway.example/gateway.do"
NUMBER = "ND20261121A0000002"
REFUND_NUMBER = "NDR20261122A0000002"
TRADE_NO = "2026112122001400001234567890"
NOW = datetime(2026, 11, 21, 10, 10, 5, tzinfo=UTC)  # 18:10:05 in Beijing
EXPIRES_AT = datetime(2026, 11, 21, 10, 40, tzinfo=UTC)

ORDER = make_attempt("alipay", NUMBER, started_at=NOW, expires_at=EXPIRES_AT)
# Asked for long enough ago that Alipay knows by now what an earlier try did.
ASKED_AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
REFUND = make_refund(ORDER, REFUND_NUMBER, channel_number=TRADE_NO, started_at=ASKED_AT)
METHODS = {
    "create": "alipay.trade.precreate",
    "query": "alipay.trade.query",
    "close": "alipay.trade.close",
    "refund": "alipay.trade.refund",
    "query_refund": "alipay.trade.fastpay.refund.query",
    "statement": "alipay.data.dataservice.bill.downloadurl.query",
}


class ScriptedWire(party.ScriptedWire):
    """As of every channel; a document is answered rightly signed, in the wrapper of the call."""

    def send(self, method: str, url: str, **rest: Any) -> Reply:
        if isinstance(self.replies[0], Mapping):
            self.replies[0] = reply(self.replies[0], operation=rest["operation"])
        return super().send(method, url, **rest)

    def fields(self, nth: int = 0) -> dict[str, str]:
        """The form of a call."""
        return dict(parse_qsl(self.sent[nth]["body"].decode(), strict_parsing=True))

    def content(self, nth: int = 0) -> dict[str, Any]:
        """The `biz_content` of a call."""
        content: dict[str, Any] = json.loads(self.fields(nth)["biz_content"])
        return content


def make_alipay(
    *replies: Reply | ChannelError | Mapping[str, Any], wire: Any = None, now: datetime = NOW, **changes: Any
) -> Alipay:
    given: dict[str, Any] = {
        "gateway_url": GATEWAY,
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "app_key": APP_KEY,
        "alipay_keys": [ALIPAY_PUBLIC],
        "wire": wire or ScriptedWire(*replies),
        "clock": lambda: now,
    }
    return Alipay(**given | changes)


def reply(
    document: Any,
    *,
    operation: str = "query",
    key: Any = ALIPAY_KEY,
    wrapper: str = "",
    signed: bool = True,
    status: int = 200,
) -> Reply:
    """An answer as Alipay sends it, signed over the inner text."""
    inner = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    name = wrapper or f"{METHODS[operation].replace('.', '_')}_response"
    seal = f',"sign":"{sign_rsa_sha256(key, inner.encode())}"' if signed else ""
    return raw_reply(f'{{"{name}":{inner}{seal}}}', status=status)


def raw_reply(body: str | bytes, *, status: int = 200) -> Reply:
    return party.reply(status, body if isinstance(body, bytes) else body.encode())


def vector_reply(name: str) -> Reply:
    return raw_reply(VECTORS["responses"][name]["raw"])


def code(**changes: Any) -> dict[str, Any]:
    """The answer to a precreate; a change to None takes the field out."""
    whole = {"code": "10000", "out_trade_no": NUMBER, "qr_code": "https://qr.alipay.com/bax0"}
    return without_none(whole | changes)


def trade(state: str | None = "TRADE_SUCCESS", **changes: Any) -> dict[str, Any]:
    """The answer to a query."""
    whole = {
        "code": "10000",
        "msg": "Success",
        "out_trade_no": NUMBER,
        "trade_no": TRADE_NO,
        "total_amount": "129.00",
        "buyer_pay_amount": "120.00",
        "send_pay_date": "2026-11-21 18:10:34",
        "trade_status": state,
    }
    return without_none(whole | changes)


def closed(**changes: Any) -> dict[str, Any]:
    """The answer to a close."""
    return without_none({"code": "10000", "out_trade_no": NUMBER, "trade_no": TRADE_NO} | changes)


def error(sub_code: str | None, code: str = "40004", **changes: Any) -> dict[str, Any]:
    """A refusal."""
    return without_none({"code": code, "msg": "no", "sub_code": sub_code, "out_trade_no": NUMBER} | changes)


def refunded(fund_change: str | None = "Y", **changes: Any) -> dict[str, Any]:
    """The answer to a refund: refund_fee is the sum of all refunds of the trade."""
    whole = {
        "code": "10000",
        "fund_change": fund_change,
        "out_trade_no": NUMBER,
        "trade_no": TRADE_NO,
        "refund_fee": "58.00",
    }
    return without_none(whole | changes)


def known(status: str | None = "REFUND_SUCCESS", **changes: Any) -> dict[str, Any]:
    """The answer to the query of a refund."""
    whole = {
        "code": "10000",
        "out_request_no": REFUND_NUMBER,
        "out_trade_no": NUMBER,
        "trade_no": TRADE_NO,
        "refund_amount": "29.00",
        "refund_status": status,
    }
    return without_none(whole | changes)


ABSENT = {"code": "10000", "msg": "Success"}


def vector_callback(name: str = "trade_success") -> RawCallback:
    return RawCallback(headers={}, body=VECTORS["notifications"][name]["body_urlencoded"].encode())


def vector_fields(name: str = "trade_success") -> dict[str, str]:
    """The fields of a published notification but for the two that its signature does not cover."""
    params = VECTORS["notifications"][name]["params"]
    return {key: value for key, value in params.items() if key not in ("sign", "sign_type")}


def callback(name: str = "trade_success", *, key: Any = ALIPAY_KEY, **changes: str | None) -> RawCallback:
    """A genuine notification, with changes to a published one."""
    return sign_form(without_none(vector_fields(name) | changes), key=key)


def sign_form(fields: Mapping[str, str], *, key: Any = ALIPAY_KEY) -> RawCallback:
    text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value)
    sealed = {**fields, "sign_type": "RSA2", "sign": sign_rsa_sha256(key, text.encode())}
    return RawCallback(headers={}, body=urlencode(sealed).encode())


BILL = base64.b64decode(VECTORS["bill"]["zip_base64"])
BILL_TEXT = base64.b64decode(VECTORS["bill"]["detail_csv_gbk_base64"]).decode("gbk")


def make_bill(
    text: str | bytes = BILL_TEXT, *, name: str = "20880098765432100156_20261121_业务明细.csv"
) -> bytes:
    """A ZIP with one file, its name in UTF-8 and marked so."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text if isinstance(text, bytes) else text.encode("gbk"))
    return target.getvalue()
