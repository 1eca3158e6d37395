from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payments.channels.seals import (
    BadKey,
    BadSeal,
    decode_base64,
    load_private_key,
    load_public_key,
    open_aes_gcm,
    read_private_key,
    read_public_key,
    sign_rsa_sha256,
    verify_rsa_sha256,
)

from .unionpay_party import CERTIFICATE, of_no_version
from .wechat_party import MERCHANT, MERCHANT_KEY, PLATFORM, PLATFORM_PUBLIC, VECTORS

REQUESTS = VECTORS["requests"]
SIGNED = {**VECTORS["responses"], "certificates": VECTORS["certificates_200"]} | {
    name: VECTORS["notifications"][name] for name in ("payment_success", "refund_success")
}
KEY, NONCE = b"k" * 32, b"n" * 12
SEALED = AESGCM(KEY).encrypt(NONCE, b"129.00", b"aad")


def pem_of(key, password: bytes | None = None) -> str:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, lock).decode()


@pytest.mark.parametrize("name", REQUESTS)
def test_signature_equals_the_published_one(name):
    assert (
        sign_rsa_sha256(MERCHANT_KEY, REQUESTS[name]["string_to_sign"].encode())
        == REQUESTS[name]["signature"]
    )


@pytest.mark.parametrize("name", SIGNED)
def test_published_signature_verifies(name):
    signature = SIGNED[name]["headers"]["Wechatpay-Signature"]
    assert verify_rsa_sha256(PLATFORM_PUBLIC, signature, SIGNED[name]["string_to_sign"].encode())


def test_signature_of_another_key_does_not_verify():
    signature = sign_rsa_sha256(MERCHANT_KEY, b"text")
    assert verify_rsa_sha256(MERCHANT_KEY.public_key(), signature, b"text")
    assert not verify_rsa_sha256(PLATFORM_PUBLIC, signature, b"text")


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "é", "=", "A" * 344])
def test_malformed_signature_does_not_verify(signature):
    assert not verify_rsa_sha256(PLATFORM_PUBLIC, signature, b"text")


def test_sealed_bytes_open():
    assert open_aes_gcm(KEY, nonce=NONCE, ciphertext=SEALED, associated_data=b"aad") == b"129.00"


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"j" * 32},
        {"nonce": b"m" * 12},
        {"nonce": b""},
        {"nonce": b"short"},
        {"associated_data": b""},
        {"ciphertext": b""},
        {"ciphertext": SEALED[:-1]},
        {"ciphertext": SEALED[:10]},
        {"ciphertext": bytes([SEALED[0] ^ 1]) + SEALED[1:]},
    ],
)
def test_changed_seal_does_not_open(change):
    given = {"key": KEY, "nonce": NONCE, "ciphertext": SEALED, "associated_data": b"aad"} | change
    key = given.pop("key")
    with pytest.raises(BadSeal):
        open_aes_gcm(key, **given)


def test_seal_needs_a_key_of_32_bytes():
    with pytest.raises(BadKey, match="32 bytes"):
        open_aes_gcm(b"k" * 16, nonce=NONCE, ciphertext=SEALED, associated_data=b"aad")


def test_canonical_base64_is_decoded():
    assert decode_base64("AQI=") == b"\x01\x02"
    assert decode_base64("") == b""


@pytest.mark.parametrize(
    "text", ["AQI", "AQJ=", "AQI==", "AQ I=", "AQI=\n", "-_8=", "AQI=AQI=", "AQI=x", "é", "A", "\ud800"]
)
def test_base64_in_any_other_spelling_is_refused(text):
    with pytest.raises(BadSeal):
        decode_base64(text)


def test_public_key_is_read_from_a_key_and_from_a_certificate():
    from_key, from_certificate = (
        load_public_key(PLATFORM["public_key_pem"]),
        load_public_key(PLATFORM["cert_pem"]),
    )
    assert from_key.public_numbers() == from_certificate.public_numbers()


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        ("", "not a private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
        (PLATFORM["public_key_pem"], "not a private key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"), "encrypted"),
    ],
    ids=["empty", "garbage", "public", "elliptic", "short", "encrypted"],
)
def test_unusable_private_key_says_what_is_wrong_with_it(pem, says):
    with pytest.raises(BadKey, match=says):
        load_private_key(pem)


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        ("", "not a public key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a public key"),
        (MERCHANT["private_key_pkcs8_pem"], "not a public key"),
        (of_no_version(CERTIFICATE), "not a public key"),
    ],
    ids=["empty", "garbage", "private", "of no version"],
)
def test_unusable_public_key_says_what_is_wrong_with_it(pem, says):
    with pytest.raises(BadKey, match=says):
        load_public_key(pem)


def test_elliptic_public_key_is_refused():
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(BadKey, match="not an RSA key"):
        load_public_key(key.public_bytes(serialization.Encoding.PEM, spki).decode())


def test_key_files_are_read(tmp_path):
    (tmp_path / "private.pem").write_text(MERCHANT["private_key_pkcs8_pem"])
    (tmp_path / "public.pem").write_text(PLATFORM["public_key_pem"])
    private = read_private_key(str(tmp_path / "private.pem"))
    assert private.private_numbers() == MERCHANT_KEY.private_numbers()
    public = read_public_key(str(tmp_path / "public.pem"))
    assert public.public_numbers() == PLATFORM_PUBLIC.public_numbers()


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe", b"text"], ids=["missing", "empty", "binary", "text"]
)
def test_unusable_key_file_is_named(tmp_path, content):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadKey, match=r"key\.pem"):
        read_private_key(str(path))


def test_error_about_a_key_holds_nothing_of_it():
    body = base64.b64encode(b"very secret key material").decode()
    with pytest.raises(BadKey) as caught:
        load_private_key(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    assert body[:8] not in str(caught.value)
