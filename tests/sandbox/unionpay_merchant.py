"""A UnionPay merchant as the tests need it: signs calls by hand, so that each part can be damaged.

Written against the channel's documentation, not with the sandbox's own functions.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.merchant import Caller, make_number
from tests.sandbox_process import SandboxProcess

BEIJING = timezone(timedelta(hours=8))
BACK, FRONT = "/gateway/api/backTransReq.do", "/gateway/api/frontTransReq.do"
APP, QUERY = "/gateway/api/appTransReq.do", "/gateway/api/queryTrans.do"
PRODUCTS = {
    "qr": {"txnType": "01", "txnSubType": "07", "bizType": "000000"},
    "wap": {"txnType": "01", "txnSubType": "01", "bizType": "000201"},
    "app": {"txnType": "01", "txnSubType": "01", "bizType": "000201"},
}
SPELLING = (padding.PKCS1v15(), hashes.SHA256())


def in_seconds(seconds: float) -> str:
    """A moment from now as the channel writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def write(value: Any) -> str:
    return in_seconds(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def hash_text(params: dict[str, str]) -> bytes:
    text = "&".join(
        f"{name}={params[name]}" for name in sorted(params) if name != "signature" and params[name]
    )
    return hashlib.sha256(text.encode()).hexdigest().encode()


def read_answer(text: str) -> dict[str, str]:
    """An answer's parameters: no value is url-encoded, and brackets may hold ampersands."""
    parts = re.findall(r"(\w+)=((?:\[[^\]]*\]|\{[^}]*\}|[^&\[\]{}])*)(?:&|$)", text)
    return dict(parts)


class UnionPayMerchant(Caller):
    """Calls the UnionPay side."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        self.key: Any = serialization.load_pem_private_key(
            Path(self.env["UNIONPAY_KEY_FILE"]).read_bytes(), password=None
        )
        self.certificate = self.load("CERT_FILE")

    def load(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(Path(self.env[f"UNIONPAY_{name}"]).read_bytes())

    # Calls

    def sign(self, params: dict[str, Any]) -> dict[str, str]:
        """The parameters with what belongs to all, signed; None leaves one out, a timedelta is a moment from now."""
        whole = {
            "version": "5.1.0",
            "encoding": "UTF-8",
            "signMethod": "01",
            "certId": str(self.certificate.serial_number),
            "merId": self.env["UNIONPAY_MER_ID"],
            "accessType": "0",
            **params,
        }
        whole = {name: write(value) for name, value in whole.items() if value is not None}
        return whole | {"signature": base64.b64encode(self.key.sign(hash_text(whole), *SPELLING)).decode()}

    def post(self, path: str, params: dict[str, str] | bytes, **how: Any) -> requests.Response:
        body = params if isinstance(params, bytes) else urlencode(params).encode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            **how.pop("headers", {}),
        }
        return self.http.post(
            self.sandbox.url + path, data=body, headers=headers, timeout=20, allow_redirects=False, **how
        )

    def call(self, path: str, params: dict[str, Any], **damage: str) -> dict[str, str]:
        """The answer to a signed call, verified; `damage` replaces parameters after signing."""
        answer = self.post(path, self.sign(params) | damage)
        assert answer.status_code == 200, answer.text
        told = read_answer(answer.content.decode())
        if "signature" in told:
            self.verify(told)
        return told

    def verify(self, told: dict[str, str]) -> None:
        """Raises unless UnionPay signed these parameters, by a certificate of its authority."""
        signer = x509.load_pem_x509_certificate(told["signPubKeyCert"].encode())
        middle, root = self.load("MIDDLE_CERT_FILE"), self.load("ROOT_CERT_FILE")
        signer.verify_directly_issued_by(middle)
        middle.verify_directly_issued_by(root)
        key: Any = signer.public_key()
        key.verify(base64.b64decode(told["signature"]), hash_text(told), *SPELLING)

    # Payments

    def order(self, scene: str = "qr", **changes: Any) -> dict[str, Any]:
        """The parameters of a payment."""
        front = {"frontUrl": "http://127.0.0.1:9/orders/?number=1"} if scene == "wap" else {}
        return {
            **PRODUCTS[scene],
            **front,
            "channelType": "08",
            "orderId": make_number(),
            "txnTime": in_seconds(0),
            "txnAmt": "12900",
            "currencyCode": "156",
            "backUrl": "http://127.0.0.1:9/notify/unionpay/",
            "payTimeout": in_seconds(1800),
            **changes,
        }

    def create(self, scene: str = "qr", **changes: Any) -> dict[str, Any]:
        """Make a payment; returns what was asked for."""
        order = self.order(scene, **changes)
        told = self.call({"qr": BACK, "app": APP}[scene], order)
        assert told["respCode"] == "00", told
        return order

    def paid(self, scene: str = "qr", **changes: Any) -> tuple[dict[str, Any], str]:
        """Make a payment and pay it; returns what was asked for and the queryId."""
        order = self.create(scene, **changes)
        [trade] = self.sandbox.pay(order["orderId"], channel="unionpay")
        return order, trade["channel_number"]

    def query(self, order: dict[str, Any], path: str = QUERY, **changes: Any) -> dict[str, str]:
        """Ask about a payment or a refund, once more where it is too fresh to be seen."""
        asked = {
            "txnType": "00",
            "txnSubType": "00",
            "bizType": order["bizType"],
            "orderId": order["orderId"],
            "txnTime": order["txnTime"],
            **changes,
        }
        return self.call(path, asked)

    # Refunds

    def refund_wish(
        self, order: dict[str, Any], query_id: str, amount: int, **changes: Any
    ) -> dict[str, Any]:
        """The parameters of a refund."""
        return {
            "txnType": "04",
            "txnSubType": "00",
            "bizType": order["bizType"],
            "channelType": "08",
            "orderId": make_number("R"),
            "txnTime": in_seconds(0),
            "txnAmt": str(amount),
            "currencyCode": "156",
            "origQryId": query_id,
            "backUrl": order["backUrl"],
            **changes,
        }

    def refund(self, order: dict[str, Any], query_id: str, amount: int, **changes: Any) -> dict[str, str]:
        return self.call(BACK, self.refund_wish(order, query_id, amount, **changes))

    def statement(self, settle_date: str, **changes: Any) -> dict[str, str]:
        """Ask for the file of a clearing day, `MMDD`."""
        asked = {
            "txnType": "76",
            "txnSubType": "01",
            "bizType": "000000",
            "txnTime": in_seconds(0),
            "settleDate": settle_date,
            "fileType": "00",
        }
        path = self.env["UNIONPAY_STATEMENT_URL"].removeprefix(self.sandbox.url)
        return self.call(path, asked | changes)


def read_notice(body: bytes) -> dict[str, str]:
    """The parameters of a notification, an ordinary form."""
    return dict(parse_qsl(body.decode(), strict_parsing=True))
