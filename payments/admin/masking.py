"""Messages of channels as they came, for the eyes of who may see them; what proves or unlocks something is masked."""

import json
import re
from collections.abc import Mapping
from typing import Any

SECRET = re.compile(r"sign|sig$|secret|token|ciphertext|password|authorization|v1=", re.IGNORECASE)
# `sign_type` and the like name the way of signing, and are needed to understand the message.
HARMLESS = re.compile(r"type|algorithm|algo|serial|nonce|timestamp|version|method|charset", re.IGNORECASE)
FORM_PAIR = re.compile(r"(?<=[&?])([^=&\s]+)=([^&\s]*)")
SHOWN = 4


def mask_headers(headers: Mapping[str, Any]) -> str:
    """One header a line."""
    return "\n".join(f"{name}: {_mask(name, value)}" for name, value in sorted(headers.items()))


def mask_body(body: bytes) -> str:
    """JSON indented, a form as it is; whatever else as text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(_mask_json(json.loads(text)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        pass
    masked = FORM_PAIR.sub(lambda pair: f"{pair[1]}={_mask(pair[1], pair[2])}", f"&{text}")
    return masked[1:]


def _mask_json(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _mask_json(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_mask_json(each, name) for each in value]
    return _mask(name, value) if isinstance(value, str) else value


def _mask(name: str, value: Any) -> Any:
    if not SECRET.search(name) or HARMLESS.search(name):
        return value
    return f"{str(value)[:SHOWN]}…"
