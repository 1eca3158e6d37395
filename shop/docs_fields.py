"""The fields of a body and the parameters of a call, as rows of the page for people. Limits stand there by the words of JSON
schema, which are the same in every language.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Part = Mapping[str, Any]

LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def list_fields(schema: Part, shape: Part, within: str = "") -> Iterator[dict[str, Any]]:
    """Each field with those inside it: `items`, then `items[].sku`. `text` is not escaped yet."""
    shape = _open(schema, shape)
    for name, said in shape.get("properties", {}).items():
        said = _open(schema, said)
        yield {
            "name": within + name,
            "is_required": name in shape.get("required", ()),
            **describe_value(said),
        }
        inner, mark = (said["items"], "[].") if "items" in said else (said, ".")
        yield from list_fields(schema, inner, f"{within}{name}{mark}")


def describe_value(said: Part) -> dict[str, Any]:
    """The type with its format, the limits, and the words that are allowed, of a parameter or field."""
    kinds = said.get("type", "")
    kind = kinds if isinstance(kinds, str) else " | ".join(kinds)
    return {
        "type": " ".join(filter(None, (kind, said.get("format", "")))),
        "limits": [f"{word} {said[word]}" for word in LIMITS if word in said],
        "values": [said["const"]] if "const" in said else said.get("enum", ()),
        "text": said.get("description", ""),
    }


def _open(schema: Part, shape: Part) -> dict[str, Any]:
    """The shape with what it refers to."""
    parts = [*shape.get("allOf", ()), shape]
    if "$ref" in shape:
        parts.insert(0, schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]])
    opened: dict[str, Any] = {}
    for part in parts:
        part = part if part is shape else _open(schema, part)
        properties = _join(opened.get("properties", {}), part.get("properties", {}))
        opened = {**opened, **part} | ({"properties": properties} if properties else {})
    return opened


def _join(some: Part, more: Part) -> dict[str, Any]:
    return {**some, **{name: {**some.get(name, {}), **said} for name, said in more.items()}}
