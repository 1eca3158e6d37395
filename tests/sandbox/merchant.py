"""WeChat's merchant and its shop as the tests need them, and what the merchants of all channels share.

Calls are signed by hand, so that each part can be damaged: written against the channel's documentation, not with the
sandbox's own functions.
"""

import base64
import json
import queue
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.sandbox_process import SandboxProcess

NATIVE = "/v3/pay/transactions/native"
REFUNDS = "/v3/refund/domestic/refunds"
SHA256_PKCS1 = (padding.PKCS1v15(), hashes.SHA256())


class Caller:
    """Calls one sandbox with its throwaway credentials, whatever proxies this machine has."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox, self.env = sandbox, sandbox.env
        self.http = requests.Session()
        self.http.trust_env = False


class Merchant(Caller):
    """Calls the WeChat side."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        key_pem = Path(self.env["WECHAT_MERCHANT_KEY_FILE"]).read_bytes()
        self.key: Any = serialization.load_pem_private_key(key_pem, password=None)
        self.platform_key: Any = serialization.load_pem_public_key(
            Path(self.env["WECHAT_PLATFORM_KEY_FILE"]).read_bytes()
        )

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        headers: dict[str, str | None] | None = None,
        raw: bytes | None = None,
        timeout: float = 20,
        **damage: str,
    ) -> requests.Response:
        """A signed call. `damage` replaces pairs of the Authorization after signing."""
        body = raw if raw is not None else b"" if document is None else json.dumps(document).encode()
        pairs = {**self.sign(method, path, body), **damage}
        text = ",".join(f'{name}="{value}"' for name, value in pairs.items())
        sent = {
            "Authorization": f"WECHATPAY2-SHA256-RSA2048 {text}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "test",
            **(headers or {}),
        }
        return self.http.request(
            method, self.sandbox.url + path, data=body, headers=sent, timeout=timeout, allow_redirects=False
        )

    def sign(
        self, method: str, path: str, body: bytes, *, age_s: int = 0, nonce: str | None = None
    ) -> dict[str, str]:
        """The five pairs of a right Authorization."""
        timestamp, nonce = str(int(time.time()) - age_s), nonce or secrets.token_hex(16)
        text = f"{method}\n{path}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        return {
            "mchid": self.env["WECHAT_MCHID"],
            "nonce_str": nonce,
            "timestamp": timestamp,
            "serial_no": self.env["WECHAT_MERCHANT_SERIAL"],
            "signature": base64.b64encode(self.key.sign(text, *SHA256_PKCS1)).decode(),
        }

    def order(self, number: str | None = None, **changes: Any) -> dict[str, Any]:
        """The body of a create call; a change to None leaves a field out."""
        document = {
            "appid": self.env["WECHAT_APPID"],
            "mchid": self.env["WECHAT_MCHID"],
            "description": "two shirts 两件",
            "out_trade_no": number or make_number(),
            "notify_url": "http://127.0.0.1:9/notify/wechat/",
            "amount": {"total": 12900, "currency": "CNY"},
            **changes,
        }
        return {name: value for name, value in document.items() if value is not None}

    def create(self, **changes: Any) -> str:
        """Make an order; returns its number."""
        document = self.order(**changes)
        answer = self.call("POST", NATIVE, document)
        assert answer.status_code == 200, answer.text
        return str(document["out_trade_no"])

    def create_code(self, **changes: Any) -> tuple[str, str]:
        """Make an order; returns its number and what the QR code says."""
        document = self.order(**changes)
        return document["out_trade_no"], self.call("POST", NATIVE, document).json()["code_url"]

    def query(self, number: str, **options: Any) -> requests.Response:
        """Ask for an order by the merchant's number."""
        path = f"/v3/pay/transactions/out-trade-no/{number}?mchid={self.env['WECHAT_MCHID']}"
        return self.call("GET", path, **options)

    def close(self, number: str, **options: Any) -> requests.Response:
        """Close an order."""
        path = f"/v3/pay/transactions/out-trade-no/{number}/close"
        return self.call("POST", path, {"mchid": self.env["WECHAT_MCHID"]}, **options)

    def refund_wish(
        self, number: str, refund: int, refund_number: str | None = None, **changes: Any
    ) -> dict[str, Any]:
        """The body of a refund call."""
        document = {
            "out_trade_no": number,
            "out_refund_no": refund_number or make_number("R"),
            "reason": "size",
            "amount": {"refund": refund, "total": 12900, "currency": "CNY"},
            **changes,
        }
        return {name: value for name, value in document.items() if value is not None}

    def refund(
        self, number: str, refund: int, refund_number: str | None = None, **changes: Any
    ) -> requests.Response:
        """Ask for a refund."""
        return self.call("POST", REFUNDS, self.refund_wish(number, refund, refund_number, **changes))

    def query_refund(self, refund_number: str) -> requests.Response:
        """Ask for a refund by the merchant's number."""
        return self.call("GET", f"{REFUNDS}/{refund_number}")

    def is_sealed(self, headers: Any, body: bytes) -> bool:
        """Whether the platform's signature fits headers and body."""
        text = f"{headers['Wechatpay-Timestamp']}\n{headers['Wechatpay-Nonce']}\n".encode() + body + b"\n"
        try:
            self.platform_key.verify(base64.b64decode(headers["Wechatpay-Signature"]), text, *SHA256_PKCS1)
        except InvalidSignature:
            return False
        return headers["Wechatpay-Serial"] == self.env["WECHAT_PLATFORM_KEY_ID"]

    def open_notice(self, body: bytes) -> dict[str, Any]:
        """What a notification says inside."""
        sealed = json.loads(body)["resource"]
        plain = AESGCM(self.env["WECHAT_APIV3_KEY"].encode()).decrypt(
            sealed["nonce"].encode(),
            base64.b64decode(sealed["ciphertext"]),
            sealed["associated_data"].encode(),
        )
        content: dict[str, Any] = json.loads(plain)
        return content


class Received(NamedTuple):
    """One call as it came."""

    at: float
    path: str
    headers: Any
    body: bytes


class Answer(NamedTuple):
    """What is answered to it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Listener(ABC):
    """Listens on a free port and answers every POST by `answer_to`."""

    path = ""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.path}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @abstractmethod
    def answer_to(self, received: Received) -> Answer | None:
        """The answer, or None for none at all."""

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _make_handler(listener) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = listener.answer_to(Received(time.monotonic(), self.path, self.headers, body))
                if answer is None:
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *words: Any) -> None:
                pass

        return Handler


class Shop(Listener):
    """Takes notifications; `answer` decides the status of each by its count (0: no answer for a while)."""

    path = "/notify/wechat/"

    def __init__(self) -> None:
        self.received: queue.Queue[Received] = queue.Queue()
        self.answer: Callable[[int], int] = lambda count: 204
        self.hold = threading.Event()
        self._count = 0
        super().__init__()

    def take(self, timeout_s: float = 10) -> Received:
        """The next notification."""
        return self.received.get(timeout=timeout_s)

    def answer_to(self, received: Received) -> Answer | None:
        self._count += 1
        status = self.answer(self._count)
        self.received.put(received)
        if status == 0:
            self.hold.wait(20)
            return None
        return Answer(status, headers={"Location": "/elsewhere"})

    def close(self) -> None:
        self.hold.set()
        super().close()


def make_number(prefix: str = "ND") -> str:
    """A number that no other test uses."""
    return prefix + secrets.token_hex(10).upper()
