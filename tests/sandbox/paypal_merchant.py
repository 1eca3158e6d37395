"""A merchant of PayPal as the tests need one: every header by hand, so that each can be left out or damaged."""

from __future__ import annotations

import base64
import json
from typing import Any

import requests

from tests.sandbox.merchant import Caller, make_number
from tests.sandbox_process import SandboxProcess

ORDERS = "/v2/checkout/orders"
CONTEXT = {"return_url": "https://shop.example/orders/1/", "cancel_url": "https://shop.example/orders/1/pay/"}


class PayPalMerchant(Caller):
    """Calls the PayPal side."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        self.token = self.fetch_token().json()["access_token"]

    def fetch_token(self, secret: str | None = None, **form: str) -> requests.Response:
        told = f"{self.env['PAYPAL_CLIENT_ID']}:{secret or self.env['PAYPAL_CLIENT_SECRET']}"
        headers = {"Authorization": "Basic " + base64.b64encode(told.encode()).decode()}
        data = {"grant_type": "client_credentials"} | form
        return self.http.post(f"{self.sandbox.url}/v1/oauth2/token", data=data, headers=headers, timeout=20)

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        request_id: str = "",
        raw: bytes | None = None,
        **headers: str | None,
    ) -> requests.Response:
        body = raw if raw is not None else b"" if document is None else json.dumps(document).encode()
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "PayPal-Request-Id": request_id or None,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.http.request(
            method, self.sandbox.url + path, data=body, headers=sent, timeout=20, allow_redirects=False
        )

    def order(self, number: str = "", *, source: bool = False, **unit: Any) -> dict[str, Any]:
        """The body of a create call; a change to None leaves a field of the purchase unit out."""
        number = number or make_number("P")
        whole = {
            "reference_id": "default",
            "custom_id": number,
            "invoice_id": number,
            "description": "two shirts",
            "amount": {"currency_code": "USD", "value": "19.90"},
        } | unit
        units = [{name: value for name, value in whole.items() if value is not None}]
        document: dict[str, Any] = {"intent": "CAPTURE", "purchase_units": units}
        if source:
            document["payment_source"] = {"paypal": {"experience_context": CONTEXT}}
        return document

    def create(self, number: str = "", **unit: Any) -> tuple[str, str]:
        """Make an order; returns its number and PayPal's id."""
        document = self.order(number, **unit)
        answer = self.call("POST", ORDERS, document)
        assert answer.status_code == 201, answer.text
        return document["purchase_units"][0].get("invoice_id", ""), answer.json()["id"]

    def approve(self, number: str, **how: Any) -> None:
        self.sandbox.pay(number, channel="paypal", **how)

    def query(self, order_id: str) -> requests.Response:
        return self.call("GET", f"{ORDERS}/{order_id}")

    def capture(self, order_id: str, request_id: str = "", **how: Any) -> requests.Response:
        return self.call("POST", f"{ORDERS}/{order_id}/capture", request_id=request_id, **how)

    def create_paid(self, **unit: Any) -> tuple[str, str, str]:
        """A captured order; returns its number, PayPal's id and the capture's."""
        number, order_id = self.create(**unit)
        self.approve(number)
        answer = self.capture(order_id).json()
        return number, order_id, answer["purchase_units"][0]["payments"]["captures"][0]["id"]

    def refund(
        self, capture_id: str, document: Any = None, request_id: str = "", **how: Any
    ) -> requests.Response:
        return self.call(
            "POST", f"/v2/payments/captures/{capture_id}/refund", document, request_id=request_id, **how
        )


def told(answer: requests.Response) -> tuple[int, str]:
    """Status and issue of an error."""
    document = answer.json()
    return answer.status_code, document["details"][0]["issue"] if "details" in document else document["error"]
