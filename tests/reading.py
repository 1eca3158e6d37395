"""What of a page is read by somebody."""

import re
from html.parser import HTMLParser

# What a reader of pages reads besides the text.
READ_ATTRIBUTES = {
    "alt",
    "title",
    "placeholder",
    "aria-label",
    "aria-description",
    "aria-roledescription",
    "aria-valuetext",
    "data-asking",
    "data-done",
    "data-missing",
    "data-mistaken",
}


class Visible(HTMLParser):
    """The text, and the attributes that a screen reader, the browser or our scripts tell."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in ("script", "style", "svg")
        self.texts += [value for name, value in attrs if name in READ_ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("script", "style", "svg")

    def handle_data(self, data: str) -> None:
        if not self.silent and data.strip():
            self.texts.append(data.strip())


def read_texts(html: str) -> list[str]:
    """The visible texts of a piece of HTML."""
    reader = Visible()
    reader.feed(html)
    return reader.texts


def without_tokens(html: str) -> str:
    """The page without what is new each time that it is written."""
    return re.sub(r'(name="csrfmiddlewaretoken" value=)"\w+"', r"\1", html)
