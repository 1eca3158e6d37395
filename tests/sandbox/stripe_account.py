"""A merchant's account at Stripe as the tests need it: writes forms by hand, so that each part can be damaged.

Written against the channel's documentation, not with the sandbox's own functions.
"""

from typing import Any

import requests

from tests.people import MARIA
from tests.sandbox.merchant import Caller, make_number
from tests.sandbox_process import SandboxProcess

INTENTS = "/v1/payment_intents"
PERSON = "payment_method_data[billing_details]"
ADDRESS = MARIA["address"]


class Account(Caller):
    """Calls the Stripe side."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        self.key = self.env["BOLETO_SECRET_KEY"]

    def call(
        self,
        method: str,
        path: str,
        form: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
        **options: Any,
    ) -> requests.Response:
        """A call with the secret key; `key` is an Idempotency-Key."""
        sent = {"Authorization": f"Bearer {self.key}", **({"Idempotency-Key": key} if key else {})}
        return self.http.request(
            method,
            self.sandbox.url + path,
            data=form,
            params=query,
            headers={**sent, **(headers or {})},
            timeout=20,
            allow_redirects=False,
            **options,
        )

    def form(self, number: str | None = None, **changes: Any) -> dict[str, Any]:
        """The parameters of a create; a change to None leaves one out. Names are short: `tax_id`, `city`, `days`."""
        short = {
            "days": "payment_method_options[boleto][expires_after_days]",
            "tax_id": "payment_method_data[boleto][tax_id]",
            "number": "metadata[payment_number]",
            "name": f"{PERSON}[name]",
            "email": f"{PERSON}[email]",
            "phone": f"{PERSON}[phone]",
            **{word: f"{PERSON}[address][{word}]" for word in ADDRESS},
        }
        document = {
            "amount": 12900,
            "currency": "brl",
            "confirm": "true",
            "payment_method_types[0]": "boleto",
            "payment_method_data[type]": "boleto",
            short["name"]: "Maria Silva",
            short["email"]: "maria@shop.example",
            **{short[word]: value for word, value in ADDRESS.items()},
            short["tax_id"]: MARIA["tax_id"],
            short["days"]: 3,
            short["number"]: number or make_number(),
            **{short.get(name, name): value for name, value in changes.items()},
        }
        return {name: value for name, value in document.items() if value is not None}

    def create(self, number: str | None = None, **changes: Any) -> dict[str, Any]:
        """Issue a slip; returns the intent."""
        form = self.form(number, **changes)
        answer = self.call("POST", INTENTS, form, key=form.get("metadata[payment_number]"))
        assert answer.status_code == 200, answer.text
        issued: dict[str, Any] = answer.json()
        return issued

    def retrieve(self, intent: str, **query: Any) -> dict[str, Any]:
        """The intent as it is now."""
        answer = self.call("GET", f"{INTENTS}/{intent}", query=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def search(self, number: str) -> list[str]:
        """The ids of the intents under a number of ours."""
        query = {"query": f"metadata['payment_number']:'{number}'"}
        return [one["id"] for one in self.call("GET", f"{INTENTS}/search", query=query).json()["data"]]


def number_of(intent: dict[str, Any]) -> str:
    """Our number of an intent."""
    return str(intent["metadata"]["payment_number"])


def error_of(answer: requests.Response) -> tuple[int, str, str]:
    """Status, type and code of a refusal."""
    error = answer.json()["error"]
    return answer.status_code, error["type"], error.get("code", "")


def slip_of(intent: dict[str, Any]) -> dict[str, Any]:
    """What the shopper is shown of an intent."""
    slip: dict[str, Any] = intent["next_action"]["boleto_display_details"]
    return slip
