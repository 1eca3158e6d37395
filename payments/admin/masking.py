"""Messages of channels as they came, for the eyes of who may see them; what proves or unlocks something is masked."""

import json
import re
from collections.abc import Mapping
from typing import Any

SECRET = re.compile(r"sign|sig$|secret|token|ciphertext|password|authorization|v1=", re.IGNORECASE)
# `sign_type` and the like name the way of signing, and are needed to understand the message.
HARMLESS = re.compile(r"type|algorithm|algo|serial|nonce|timestamp|version|method|charset", re.IGNORECASE)
# Ways to write a name and its value in a text: the end may be missing, for what is refused is kept cut off.
FORM_PAIR = re.compile(r"(?P<name>(?<![^&?\s])[^=&?<\s\"]+)=(?P<value>[^&\s\"<>]*)")
# Also inside a string of another JSON, where each quote has a backslash or more before it.
JSON_PAIR = re.compile(
    r'(?P<slashes>\\{0,7})"(?P<name>[^"\\]+)(?P=slashes)"\s*:\s*'
    r'(?:(?P=slashes)"(?P<value>.*?)(?:(?<!\\)(?P=slashes)"|\Z)|(?P<figures>[0-9.]+))',
    re.DOTALL,
)
XML_PAIR = re.compile(r"<(?P<name>[\w:.-]+)(?:\s[^<>]*)?>\s*(?:<!\[CDATA\[)?(?P<value>[^<>\]]*)")
SHOWN = 4


def mask_headers(headers: Mapping[str, Any]) -> str:
    """One header a line."""
    return "\n".join(f"{name}: {_mask(name, value)}" for name, value in sorted(headers.items()))


def mask_body(body: bytes) -> str:
    """JSON indented; whatever else as text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.dumps(_mask_json(json.loads(text)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return _mask_text(text)


def _mask_json(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _mask_json(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_mask_json(each, name) for each in value]
    if _is_secret(name) and not isinstance(value, bool | None):
        return _mask(name, value)
    return _mask_text(value) if isinstance(value, str) else value


def _mask_text(text: str) -> str:
    for pair in (JSON_PAIR, XML_PAIR, FORM_PAIR):
        text = pair.sub(_mask_pair, text)
    return text


def _mask_pair(pair: re.Match[str]) -> str:
    """The pair as it was written, with less of its value; else with what that is made of."""
    part = "value" if pair["value"] is not None else "figures"
    start, end = (place - pair.start() for place in pair.span(part))
    name, value = pair["name"], pair[part]
    # Each JSON inside has more backslashes than the one around it, so this ends after a few.
    shown = _mask(name, value) if _is_secret(name) else JSON_PAIR.sub(_mask_pair, value)
    return f"{pair[0][:start]}{shown}{pair[0][end:]}"


def _mask(name: str, value: Any) -> Any:
    return f"{str(value)[:SHOWN]}…" if _is_secret(name) else value


def _is_secret(name: str) -> bool:
    return bool(SECRET.search(name)) and not HARMLESS.search(name)
