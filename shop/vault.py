"""What must be kept for a while but read by nobody but us: personal data, encrypted at rest, or only as a keyed hash.

AES in the Fernet recipe and HMAC-SHA-256, with keys derived from SECRET_KEY and its fallbacks, so that the key may be changed.
"""

import base64
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotOpen(Exception):
    """It was sealed with a key that is not here any more, or was changed."""


def seal(content: Mapping[str, Any]) -> str:
    """A JSON object as a text that only `unseal` can read."""
    return _box().encrypt(json.dumps(content, ensure_ascii=False).encode()).decode()


def unseal(text: str) -> dict[str, Any]:
    """What was sealed. Raises CannotOpen."""
    try:
        content: dict[str, Any] = json.loads(_box().decrypt(text.encode()))
    except InvalidToken as error:
        raise CannotOpen("sealed with another SECRET_KEY: put that one into SECRET_KEY_FALLBACKS") from error
    return content


def _box() -> MultiFernet:
    return MultiFernet([_key_of(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def keyed_hashes(content: str) -> tuple[str, ...]:
    """The content's hash by SECRET_KEY, then those by its fallbacks, 64 characters each: by one of them it is known again.

    Who steals such a hash cannot try all contents, however few there may be, as of a form that holds a tax number.
    """
    keys = [_derive(key, b"nodrop hashes") for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    return tuple(hmac.digest(key, content.encode("utf-8", "surrogatepass"), "sha256").hex() for key in keys)


@cache
def _key_of(secret: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derive(secret, b"nodrop vault")))


@cache
def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
