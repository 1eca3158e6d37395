"""WeChat Pay's seals: whose key signs what, over which text, and how a notification's content is encrypted.

Pure functions over bytes, with the throwaway identities of the sandbox's merchant and platform beside them.
Source: WeChat Pay API v3 documentation, "Generate a signature", "Verify a signature", "Certificate and
callback decryption".
"""

import base64
import secrets
import string
import time
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.signing import sign

SCHEME = "WECHATPAY2-SHA256-RSA2048"

# Marks of the sandbox's identities: real merchant ids begin with 1, and production can refuse these prefixes.
MCHID_PREFIX = "99"
SERIAL_PREFIX = "5A4DB0C5"
APIV3_KEY_PREFIX = "nodropSandbox"


class WeChatKeys:
    """The identities of the one merchant and of the platform, and a stranger's key for forgeries."""

    def __init__(self, keyring: Keyring) -> None:
        self.mchid = keyring.text("wechat_mchid", lambda: MCHID_PREFIX + make_digits(8))
        self.appid = keyring.text("wechat_appid", lambda: f"wx{SERIAL_PREFIX.lower()}{secrets.token_hex(4)}")
        self.apiv3_key = keyring.text("wechat_apiv3_key", lambda: APIV3_KEY_PREFIX + make_letters(19))
        self.merchant_key = keyring.private_key("wechat_merchant_key.pem")
        self.platform_key = keyring.private_key("wechat_platform_private.pem")
        self.stranger_key = keyring.private_key("wechat_stranger.pem")
        self.platform_key_id = keyring.text(
            "wechat_platform_key_id", lambda: f"PUB_KEY_ID_01{self.mchid}{make_digits(22)}"
        )
        merchant = keyring.certificate(
            "wechat_merchant_cert.pem", self.merchant_key, self.mchid, SERIAL_PREFIX
        )
        self._merchant_cert_file = keyring.path("wechat_merchant_cert.pem")
        self.merchant_serial = f"{merchant.serial_number:040X}"
        self.platform_certificate = keyring.certificate(
            "wechat_platform_cert.pem", self.platform_key, "WeChat Pay platform", SERIAL_PREFIX
        )
        self.platform_serial = f"{self.platform_certificate.serial_number:040X}"
        self._merchant_key_file = keyring.path("wechat_merchant_key.pem")
        self._platform_key_file = keyring.public_key("wechat_platform_public.pem", self.platform_key)

    def read_environment(self) -> dict[str, str]:
        """The merchant's half of the identities, as variables."""
        return {
            "WECHAT_MCHID": self.mchid,
            "WECHAT_APPID": self.appid,
            "WECHAT_MERCHANT_SERIAL": self.merchant_serial,
            "WECHAT_MERCHANT_KEY_FILE": str(self._merchant_key_file),
            "WECHAT_MERCHANT_CERT_FILE": str(self._merchant_cert_file),
            "WECHAT_APIV3_KEY": self.apiv3_key,
            "WECHAT_PLATFORM_KEY_ID": self.platform_key_id,
            "WECHAT_PLATFORM_KEY_FILE": str(self._platform_key_file),
        }

    def seal(self, body: bytes, *, serial: str | None = None, is_forged: bool = False) -> dict[str, str]:
        """The headers that the platform puts beside a body; forged ones are made with a stranger's key."""
        timestamp, nonce = str(int(time.time())), make_letters(32)
        key = self.stranger_key if is_forged else self.platform_key
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": sign(key, build_answer_text(timestamp, nonce, body)),
            "Wechatpay-Signature-Type": SCHEME,
            # A client in certificate mode names the certificate that it can verify with.
            "Wechatpay-Serial": serial if serial == self.platform_serial else self.platform_key_id,
            "Request-ID": uuid.uuid4().hex.upper(),
        }


def build_request_text(method: str, path_qs: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """What a merchant signs: method, path with query as sent, time, nonce, body; a line feed after each."""
    return f"{method}\n{path_qs}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def build_app_text(appid: str, timestamp: str, nonce: str, prepay_id: str) -> bytes:
    """What a merchant signs for the parameters that its app hands to WeChat's SDK."""
    return f"{appid}\n{timestamp}\n{nonce}\n{prepay_id}\n".encode()


def build_answer_text(timestamp: str, nonce: str, body: bytes) -> bytes:
    """What the platform signs in answers and notifications; a 204 is signed over the empty body."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def encrypt(apiv3_key: str, plain: bytes, associated_data: str) -> dict[str, str]:
    """AES-256-GCM as in `resource` and `encrypt_certificate`: nonce of 12 characters, tag at the end."""
    nonce = make_letters(12)
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), plain, associated_data.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated_data,
        "nonce": nonce,
    }


def make_letters(length: int) -> str:
    """Random letters and digits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
