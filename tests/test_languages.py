"""Nothing is said in English only: what is marked is translated, what a page shows is marked, and each reader gets theirs.

The catalogue is renewed by `manage.py makemessages -l zh_Hans --no-location --no-wrap --no-obsolete --ignore=tests
--ignore=payments/sandbox` and `manage.py compilemessages -l zh_Hans`.
"""

import re
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

from tests.reading import read_texts

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "shop" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
ROOMS = ("shop", "orders", "payments")
# The same in every language.
NAMES = re.compile(r"nodrop|OpenAPI|JSON|YAML|Authorization: Api-Key|QR|UTC|PDF|CSV|PayPal|Boleto|\bms\b")
# What a template marks, and the blocks that fill an attribute.
TOLD_OR_CLASS = re.compile(
    r"{% blocktranslate.*?{% endblocktranslate %}|{% comment.*?{% endcomment %}|{% block (width|bodyclass) %}.*?{% endblock %}",
    re.DOTALL,
)
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")


def sources() -> Iterator[tuple[Path, str]]:
    """Every file of ours that may speak to a person, as Python."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if not {"sandbox", "migrations"} & set(path.relative_to(ROOT).parts):
                yield path, path.read_text()
    for path in templates():
        marked = templatize(path.read_text(), origin=str(path))
        yield path, re.sub(r"^[ \t]+", "", marked, flags=re.MULTILINE)


def templates() -> list[Path]:
    return [path for path in sorted((ROOT / "templates").rglob("*")) if path.suffix in {".html", ".txt"}]


def marked_in(source: str) -> Iterator[tuple[str, ...]]:
    """The messages of one file: (context, singular) or (context, singular, plural)."""
    file = BytesIO(source.encode())
    for _line, message, _comments, context in extract(
        "python", file, KEYWORDS, options={"encoding": "utf-8"}
    ):
        yield (context or "", *([message] if isinstance(message, str) else message))


def forms_of(texts: object) -> tuple[str, ...]:
    """A message of one form or several, as a row of them."""
    return (texts,) if isinstance(texts, str) else tuple(map(str, texts))  # type: ignore[call-overload]


def edges(text: str) -> tuple[str, str]:
    """The blanks at both ends; of what has no words, as a comma between two, none."""
    if not any(map(str.isalpha, text)):
        return "", ""
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


@cache
def marked() -> set[tuple[str, ...]]:
    """Every message that is marked anywhere."""
    return {message for _path, source in sources() for message in marked_in(source)}


@cache
def told() -> dict[tuple[str, ...], Message]:
    """The catalogue, by the same keys."""
    with CATALOGUE.open("rb") as file:
        return {key_of(said): said for said in read_po(file) if said.id}


def key_of(said: Message) -> tuple[str, ...]:
    """Context, singular, plural; Babel reads the context of an .mo as bytes."""
    context: str | bytes = said.context or ""
    return (context.decode() if isinstance(context, bytes) else context, *forms_of(said.id))


def test_every_marked_message_is_translated():
    assert sorted(marked() - told().keys()) == []
    assert sorted(key for key, said in told().items() if not all(forms_of(said.string or ""))) == []


def test_no_translation_is_left_over_and_none_is_a_guess():
    assert sorted(told().keys() - marked()) == []
    assert [said.id for said in told().values() if said.fuzzy] == []


def test_translation_has_the_placeholders_and_the_blanks_of_its_message():
    # A plural may name a number that its singular does not.
    pairs = [
        (forms[-1], text)
        for (_context, *forms), said in told().items()
        for text in forms_of(said.string)
        if text
    ]
    assert [
        (message, text)
        for message, text in pairs
        if {*PLACEHOLDER.findall(text)} != {*PLACEHOLDER.findall(message)} or edges(text) != edges(message)
    ] == []


def test_what_is_installed_says_what_the_catalogue_says():
    with CATALOGUE.with_suffix(".mo").open("rb") as compiled:
        installed = {key_of(said): forms_of(said.string) for said in read_mo(compiled) if said.id}
    assert installed == {key: forms_of(said.string) for key, said in told().items()}


def test_translation_is_chinese_with_chinese_punctuation():
    """Full-width marks, no exclamation, and the polite 你 of a shop that speaks plainly."""
    wrong = []
    for text in chain.from_iterable(forms_of(said.string) for said in told().values()):
        bare = PLACEHOLDER.sub("", re.sub(r"<[^>]*>", "", text))
        if re.search(r"[\u4e00-\u9fff] ?[,;?!:]|[!！您]", bare) or re.search(r"[\u4e00-\u9fff]\.$", bare):
            wrong.append(text)
    assert wrong == []


@pytest.mark.parametrize("path", templates(), ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_template_says_nothing_that_is_not_marked(path):
    bare = TOLD_OR_CLASS.sub("", path.read_text())
    bare = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", bare, flags=re.DOTALL)
    if not bare.lstrip().startswith("<"):
        bare = re.sub(r'[\w-]+="[^"]*"', "", bare)  # attributes of the tag that includes it
    assert [text for text in read_texts(bare) if re.search(r"[^\W\d_]{2}", NAMES.sub("", text))] == []
