"""Alipay's seals: which text a request, an answer and a notification are signed over, and by whom.

Pure functions over text, with the throwaway identities of the sandbox's merchant and of Alipay beside them. Source: Alipay
open platform documentation, the pages on signing requests and on verifying answers and asynchronous notifications.
"""

import json
from collections.abc import Mapping
from typing import Any

from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.signing import sign

# Marks of the sandbox's identities: Alipay's own sandbox has apps of this prefix, production has not.
APP_ID_PREFIX = "9021"
SELLER_ID_PREFIX = "20887210"


class AlipayKeys:
    """The identities of the one merchant and of Alipay, and a stranger's key for forgeries."""

    def __init__(self, keyring: Keyring) -> None:
        self.app_id = keyring.text("alipay_app_id", lambda: APP_ID_PREFIX + make_digits(12))
        self.seller_id = keyring.text("alipay_seller_id", lambda: SELLER_ID_PREFIX + make_digits(8))
        self.app_key = keyring.private_key("alipay_app_key.pem")
        self.alipay_key = keyring.private_key("alipay_private.pem")
        self.stranger_key = keyring.private_key("alipay_stranger.pem")
        self._app_key_file = keyring.path("alipay_app_key.pem")
        self._alipay_key_file = keyring.public_key("alipay_public.pem", self.alipay_key)

    def read_environment(self) -> dict[str, str]:
        """The merchant's half of the identities, as variables."""
        return {
            "ALIPAY_APP_ID": self.app_id,
            "ALIPAY_SELLER_ID": self.seller_id,
            "ALIPAY_APP_KEY_FILE": str(self._app_key_file),
            "ALIPAY_ALIPAY_KEY_FILE": str(self._alipay_key_file),
        }

    def seal_answer(self, wrapper: str, document: dict[str, Any], *, is_forged: bool = False) -> bytes:
        """An answer with its signature, which stands last and covers the inner text as it is sent."""
        inner = write_json(document)
        signature = sign(self.stranger_key if is_forged else self.alipay_key, inner.encode())
        return f'{{"{wrapper}":{inner},"sign":"{signature}"}}'.encode()

    def seal_form(self, fields: Mapping[str, str], *, is_forged: bool = False) -> dict[str, str]:
        """The fields of a notification or of a browser's return, with the two that its signature does not cover."""
        key = self.stranger_key if is_forged else self.alipay_key
        return {**fields, "sign_type": "RSA2", "sign": sign(key, build_text(fields))}


def build_text(fields: Mapping[str, str]) -> bytes:
    """What is signed: `name=value` by name with `&` between, values raw, without those that are empty."""
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value != "").encode()


def write_json(document: dict[str, Any]) -> str:
    """JSON as Alipay writes it: no blanks, and each slash escaped."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
