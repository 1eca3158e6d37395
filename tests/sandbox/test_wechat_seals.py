"""The sandbox's own seal functions against known vectors made with other code."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payments.sandbox.signing import is_signed, sign
from payments.sandbox.wechat_seals import build_answer_text, build_request_text, encrypt

VECTORS = json.loads(
    (Path(__file__).parent.parent / "payments" / "channels" / "vectors" / "wechat.json").read_text()
)


def load_key(owner: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(VECTORS[owner]["private_key_pkcs8_pem"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


MERCHANT_KEY, PLATFORM_KEY = load_key("merchant"), load_key("platform")
ANSWERS = {
    **VECTORS["responses"],
    **VECTORS["notifications"],
    "certificates_200": VECTORS["certificates_200"],
}
GENUINE = {name: answer for name, answer in ANSWERS.items() if "probe" not in name}


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_request_text_and_signature_are_the_vectors(name):
    vector = VECTORS["requests"][name]

    text = build_request_text(
        vector["method"],
        vector["url_path_with_query"],
        vector["timestamp"],
        vector["nonce_str"],
        vector["body"].encode(),
    )

    assert text == vector["string_to_sign"].encode()
    assert sign(MERCHANT_KEY, text) == vector["signature"]


@pytest.mark.parametrize("name", GENUINE)
def test_answer_text_and_signature_are_the_vectors(name):
    headers = GENUINE[name]["headers"]
    text = build_answer_text(
        headers["Wechatpay-Timestamp"], headers["Wechatpay-Nonce"], GENUINE[name]["body"].encode()
    )

    assert text == GENUINE[name]["string_to_sign"].encode()
    assert sign(PLATFORM_KEY, text) == headers["Wechatpay-Signature"]


def test_signature_of_one_key_is_not_anothers():
    assert is_signed(MERCHANT_KEY.public_key(), b"text", sign(MERCHANT_KEY, b"text"))
    assert not is_signed(PLATFORM_KEY.public_key(), b"text", sign(MERCHANT_KEY, b"text"))
    assert not is_signed(MERCHANT_KEY.public_key(), b"texts", sign(MERCHANT_KEY, b"text"))


def test_encrypted_content_is_opened_by_the_apiv3_key():
    sealed = encrypt(VECTORS["apiv3_key"], "两件".encode(), "transaction")

    opened = AESGCM(VECTORS["apiv3_key"].encode()).decrypt(
        sealed["nonce"].encode(), base64.b64decode(sealed["ciphertext"]), b"transaction"
    )

    assert opened.decode() == "两件"
    assert len(sealed["nonce"]) == 12
