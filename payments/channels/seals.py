"""Seals: signing, verifying and opening bytes, and loading the keys for it. Nothing here knows a channel or the clock;
every refusal names the check that failed, never the data.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate

MIN_RSA_BITS = 2048  # every channel issues 2048 or more


class BadSeal(ValueError):
    """Bytes that do not open or are not written as they must be."""


class BadKey(ValueError):
    """A key that cannot be used. The message says what is wrong with it and holds nothing of it."""


# ---- RSA, PKCS#1 v1.5 with SHA-256 -------------------------------------------------------------------------------
# Signature checks need no constant time: all they compare is public.


def sign_rsa_sha256(key: RSAPrivateKey, data: bytes) -> str:
    """The signature of `data`, in Base64."""
    return base64.b64encode(key.sign(data, padding.PKCS1v15(), hashes.SHA256())).decode("ascii")


def verify_rsa_sha256(key: RSAPublicKey, signature: str, data: bytes) -> bool:
    """Whether `signature` (strict Base64) is the key's over exactly these bytes. Never raises for bad input."""
    try:
        key.verify(decode_base64(signature), data, padding.PKCS1v15(), hashes.SHA256())
    except (BadSeal, InvalidSignature):
        return False
    return True


# ---- AES-256-GCM -------------------------------------------------------------------------------------------------


def open_aes_gcm(key: bytes, *, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """The plain bytes of `ciphertext` (data followed by its 16-byte tag). `key` is 32 bytes.

    Raises BadSeal when anything was changed, BadKey for a key of another length.
    """
    if len(key) != 32:
        raise BadKey("an AES-256 key has 32 bytes")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated_data)
    except (InvalidTag, ValueError) as error:
        raise BadSeal("the encrypted part does not open") from error


def decode_base64(text: str) -> bytes:
    """Decode the one canonical spelling: no blanks, full padding, no stray bits. Raises BadSeal."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSeal("not Base64") from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise BadSeal("not canonical Base64")
    return raw


# ---- keys --------------------------------------------------------------------------------------------------------


def read_private_key(path: str) -> RSAPrivateKey:
    """Load an RSA private key from a PEM file. Raises BadKey, naming the file."""
    return read_file(path, load_private_key)


def read_public_key(path: str) -> RSAPublicKey:
    """Load an RSA public key from a PEM file, also a certificate. Raises BadKey, naming the file."""
    return read_file(path, load_public_key)


def load_private_key(pem: str) -> RSAPrivateKey:
    """Read an unencrypted RSA private key in PEM. Raises BadKey."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError as error:
        raise BadKey("the private key is encrypted; store it without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("not a private key in PEM") from error
    if not isinstance(key, RSAPrivateKey):
        raise BadKey("not an RSA key")
    return _long_enough(key)


def load_public_key(pem: str) -> RSAPublicKey:
    """Read an RSA public key in PEM, or that of a PEM certificate. Raises BadKey.

    A certificate's dates and issuer are not looked at: the file is trusted because the operator put it there.
    """
    try:
        is_certificate = "BEGIN CERTIFICATE" in pem
        key: object = (
            load_pem_x509_certificate(pem.encode()).public_key()
            if is_certificate
            else serialization.load_pem_public_key(pem.encode())
        )
    except (ValueError, UnsupportedAlgorithm, InvalidVersion) as error:
        raise BadKey("not a public key or certificate in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise BadKey("not an RSA key")
    return _long_enough(key)


_Key = TypeVar("_Key", RSAPrivateKey, RSAPublicKey)
_Loaded = TypeVar("_Loaded")


def read_file(path: str, load: Callable[[str], _Loaded]) -> _Loaded:
    """What `load` makes of the file's text in PEM. Raises BadKey, naming the file."""
    try:
        return load(Path(path).read_text(encoding="ascii"))
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadKey(f"{path}: not a text in PEM") from error
    except BadKey as error:
        raise BadKey(f"{path}: {error}") from error


def _long_enough(key: _Key) -> _Key:
    if key.key_size < MIN_RSA_BITS:
        raise BadKey(f"the RSA key has {key.key_size} bits, fewer than {MIN_RSA_BITS}")
    return key
