"""PayPal's seals: the credentials of the one REST app, its tokens, and the signature of webhooks.

Source: PayPal's REST documentation, "Authentication" and "Integrate webhooks". A token needs no storage: it carries its
own end and a keyed hash.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
import time
import uuid
import zlib
from collections.abc import Mapping

from payments.sandbox.keys import Keyring
from payments.sandbox.signing import is_signed, sign

# Marks of the sandbox's identities: production can refuse them.
CLIENT_ID_PREFIX = "AnodropSandbox"
TOKEN_LIFE_S = 32400
ALGORITHM = "SHA256withRSA"
# Nothing is served there: a gateway has no address under paypal.com, so its webhooks are verified by asking it.
CERT_URL = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-nodrop-sandbox"
_TOKEN = re.compile(r"A21AA([0-9]{10})\.([0-9a-f]{64})")


class PayPalKeys:
    """The identities of the one merchant, and a stranger's key for forgeries."""

    def __init__(self, keyring: Keyring) -> None:
        self.client_id = keyring.text("paypal_client_id", lambda: CLIENT_ID_PREFIX + make_letters(66))
        self.client_secret = keyring.text("paypal_client_secret", lambda: "E" + make_letters(79))
        self.merchant_id = keyring.text("paypal_merchant_id", lambda: "NODROP" + make_id(7))
        self.webhook_id = keyring.text("paypal_webhook_id", lambda: make_id(17))
        self._key = keyring.private_key("paypal_webhook_private.pem")
        self._stranger_key = keyring.private_key("paypal_stranger.pem")

    def read_environment(self) -> dict[str, str]:
        """The merchant's half of the identities, as variables."""
        return {
            "PAYPAL_CLIENT_ID": self.client_id,
            "PAYPAL_CLIENT_SECRET": self.client_secret,
            "PAYPAL_MERCHANT_ID": self.merchant_id,
            "PAYPAL_WEBHOOK_ID": self.webhook_id,
        }

    def has_secret(self, authorization: str) -> bool:
        """Whether a Basic header holds the app's id and secret."""
        scheme, _, told = authorization.partition(" ")
        try:
            given = base64.b64decode(told, validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self.client_id}:{self.client_secret}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, expected)

    def make_token(self) -> str:
        """A token that is good from now for its life."""
        until = str(int(time.time()) + TOKEN_LIFE_S)
        return f"A21AA{until}.{self._hash(until)}"

    def has_token(self, authorization: str) -> bool:
        """Whether a Bearer header holds a token of this app that has not expired."""
        scheme, _, token = authorization.partition(" ")
        found = _TOKEN.fullmatch(token)
        if (
            scheme.lower() != "bearer"
            or found is None
            or not hmac.compare_digest(found[2], self._hash(found[1]))
        ):
            return False
        return time.time() < int(found[1])

    def _hash(self, until: str) -> str:
        return hmac.new(self.client_secret.encode(), until.encode(), hashlib.sha256).hexdigest()

    def seal(self, body: bytes, *, is_forged: bool = False) -> dict[str, str]:
        """The headers beside a webhook's body; forged ones are made with a stranger's key."""
        transmission_id = str(uuid.uuid4())
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = build_text(transmission_id, at, self.webhook_id, body)
        return {
            "PAYPAL-TRANSMISSION-ID": transmission_id,
            "PAYPAL-TRANSMISSION-TIME": at,
            "PAYPAL-TRANSMISSION-SIG": sign(self._stranger_key if is_forged else self._key, text),
            "PAYPAL-CERT-URL": CERT_URL,
            "PAYPAL-AUTH-ALGO": ALGORITHM,
            "PAYPAL-AUTH-VERSION": "v2",
        }

    def is_sealed(self, asked: Mapping[str, str], body: bytes) -> bool:
        """Whether the fields of a verification call are ours for exactly this body."""
        text = build_text(asked["transmission_id"], asked["transmission_time"], asked["webhook_id"], body)
        is_ours = (asked["webhook_id"], asked["cert_url"], asked["auth_algo"]) == (
            self.webhook_id,
            CERT_URL,
            ALGORITHM,
        )
        return is_ours and is_signed(self._key.public_key(), text, asked["transmission_sig"])


def build_text(transmission_id: str, at: str, webhook_id: str, body: bytes) -> bytes:
    """What is signed: of the body only its CRC-32, in decimal."""
    return f"{transmission_id}|{at}|{webhook_id}|{zlib.crc32(body)}".encode()


def make_id(length: int = 17) -> str:
    """Upper-case letters and digits, as PayPal names orders, captures and refunds."""
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(length))


def make_letters(length: int) -> str:
    """Random letters and digits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
