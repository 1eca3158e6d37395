"""What must be kept for a while but read by nobody but us: personal data, encrypted at rest.

AES in the Fernet recipe, with keys derived from SECRET_KEY and its fallbacks, so that the key may be changed.
"""

import base64
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


@cache
def _key_of(secret: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nodrop vault").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
