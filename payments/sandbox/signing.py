"""RSA as three of the channels sign with it; what they sign is their own affair."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_SPELLING = (padding.PKCS1v15(), hashes.SHA256())


def sign(key: rsa.RSAPrivateKey, text: bytes) -> str:
    """RSA PKCS#1 v1.5 with SHA-256, in Base64."""
    return base64.b64encode(key.sign(text, *_SPELLING)).decode()


def is_signed(key: rsa.RSAPublicKey, text: bytes, signature: str) -> bool:
    """Whether a Base64 signature over the text is this key's."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, *_SPELLING)
    except (InvalidSignature, ValueError):
        return False
    return True
