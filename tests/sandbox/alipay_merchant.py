"""A merchant of Alipay's as the tests need it: signs calls by hand, so that each part can be damaged.

Written against the channel's documentation, not with the sandbox's own functions.
"""

from __future__ import annotations

import base64
import json
import queue
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.merchant import Answer, Caller, Listener, Received, make_number
from tests.sandbox_process import SandboxProcess

BEIJING = timezone(timedelta(hours=8))
SHA256_PKCS1 = (padding.PKCS1v15(), hashes.SHA256())
PRECREATE, QUERY, CLOSE = "alipay.trade.precreate", "alipay.trade.query", "alipay.trade.close"
CANCEL, REFUND = "alipay.trade.cancel", "alipay.trade.refund"
REFUND_QUERY = "alipay.trade.fastpay.refund.query"
WAP, APP, PAGE = "alipay.trade.wap.pay", "alipay.trade.app.pay", "alipay.trade.page.pay"
BILL = "alipay.data.dataservice.bill.downloadurl.query"


def beijing(minutes: float = 0) -> str:
    """A time of Beijing as Alipay writes it."""
    return (datetime.now(BEIJING) + timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S")


class AlipayMerchant(Caller):
    """Calls the Alipay side."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        self.url = self.env["ALIPAY_GATEWAY_URL"]
        key = Path(self.env["ALIPAY_APP_KEY_FILE"]).read_bytes()
        self.key: Any = serialization.load_pem_private_key(key, password=None)
        public = Path(self.env["ALIPAY_ALIPAY_KEY_FILE"]).read_bytes()
        self.alipay_key: Any = serialization.load_pem_public_key(public)

    def fields(self, method: str, content: Any = None, /, **changes: str | None) -> dict[str, str]:
        """The signed parameters of a call; a change to None leaves one out."""
        fields = {
            "app_id": self.env["ALIPAY_APP_ID"],
            "method": method,
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": beijing(),
            "version": "1.0",
            "biz_content": content if isinstance(content, str) else json.dumps(content or {}),
            **changes,
        }
        return self.sign({name: value for name, value in fields.items() if value is not None})

    def sign(self, fields: dict[str, str]) -> dict[str, str]:
        text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value)
        return fields | {"sign": base64.b64encode(self.key.sign(text.encode(), *SHA256_PKCS1)).decode()}

    def send(self, fields: dict[str, str], *, in_query: tuple[str, ...] = ()) -> requests.Response:
        """Parameters in the body, but for those named."""
        query = {name: value for name, value in fields.items() if name in in_query}
        body = {name: value for name, value in fields.items() if name not in in_query}
        return self.http.post(self.url, params=query, data=body, timeout=20)

    def call(self, method: str, content: Any = None, **changes: str | None) -> dict[str, Any]:
        """A signed call; what the answer says inside, after its signature was verified."""
        answer = self.send(self.fields(method, content, **changes))
        assert answer.status_code == 200, answer.text
        return self.open(answer.text, method)

    def open(self, text: str, method: str) -> dict[str, Any]:
        """The inner document of a rightly signed answer, which is verified over its text as sent."""
        start = len(f'{{"{method.replace(".", "_")}_response":')
        assert text.startswith(f'{{"{method.replace(".", "_")}_response":'), text
        inner, _, rest = text[start:].rpartition(',"sign":"')
        assert rest.endswith('"}'), text
        assert self.is_sealed(inner, rest.removesuffix('"}')), text
        document: dict[str, Any] = json.loads(inner)
        return document

    def is_sealed(self, text: str, signature: str) -> bool:
        """Whether Alipay's signature fits a text."""
        try:
            self.alipay_key.verify(base64.b64decode(signature), text.encode(), *SHA256_PKCS1)
        except InvalidSignature:
            return False
        return True

    def order(self, number: str | None = None, **changes: Any) -> dict[str, Any]:
        """The content of a precreate; a change to None leaves a field out."""
        content = {
            "out_trade_no": number or make_number(),
            "total_amount": "129.00",
            "subject": "两件T恤 x2",
            **changes,
        }
        return {name: value for name, value in content.items() if value is not None}

    def create(self, *, notify_url: str = "http://127.0.0.1:9/notify/alipay/", **changes: Any) -> str:
        """Make a code; returns the order's number."""
        content = self.order(**changes)
        said = self.call(PRECREATE, content, notify_url=notify_url)
        assert said["code"] == "10000", said
        return str(content["out_trade_no"])

    def pay(self, **changes: Any) -> str:
        """Make a code and pay it; returns the order's number."""
        number = self.create(**changes)
        self.sandbox.pay(number, channel="alipay")
        return number

    def scan(self, number: str) -> None:
        self.sandbox.scan(number, channel="alipay")

    def query(self, number: str) -> dict[str, Any]:
        return self.call(QUERY, {"out_trade_no": number})

    def refund(self, number: str, amount: str, request_no: str, **changes: Any) -> dict[str, Any]:
        """Ask for a refund."""
        content = {"out_trade_no": number, "refund_amount": amount, "out_request_no": request_no, **changes}
        return self.call(REFUND, {name: value for name, value in content.items() if value is not None})

    def query_refund(self, number: str, request_no: str) -> dict[str, Any]:
        return self.call(REFUND_QUERY, {"out_trade_no": number, "out_request_no": request_no})

    def read_notice(self, body: bytes) -> dict[str, str]:
        """The fields of a notification after its signature was verified."""
        fields = dict(parse_qsl(body.decode("ascii"), strict_parsing=True))
        signature = fields.pop("sign")
        assert fields.pop("sign_type") == "RSA2"
        text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        assert self.is_sealed(text, signature)
        return fields

    def link(self, method: str, content: dict[str, Any], **common: str) -> str:
        """The address that a browser opens to pay."""
        return f"{self.url}?{urlencode(self.fields(method, content, **common))}"


class AlipayShop(Listener):
    """Takes notifications and answers each with `answer` (status and body)."""

    path = "/notify/alipay/"

    def __init__(self) -> None:
        self.received: queue.Queue[bytes] = queue.Queue()
        self.answer = (200, b"success")
        super().__init__()

    def take(self, timeout_s: float = 10) -> bytes:
        """The body of the next notification."""
        return self.received.get(timeout=timeout_s)

    def answer_to(self, received: Received) -> Answer:
        self.received.put(received.body)
        return Answer(*self.answer)
