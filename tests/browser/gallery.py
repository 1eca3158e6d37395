"""The pictures of every state, side by side in one page, in the folder that `SCREENSHOTS` names."""

import html
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from shop.languages import LANGUAGES
from tests.browser.conftest import WIDTHS, Scheme, height_of

CODES = [code for code, _ in LANGUAGES]
SCHEMES: Sequence[Scheme] = ("light", "dark")
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; background: #fff; color: #17181a }
table { border-collapse: collapse } th, td { padding: 8px; vertical-align: top; text-align: left; border-top: 1px solid #ddd }
img { display: block; border: 1px solid #ddd; max-height: 420px; object-fit: cover; object-position: top }
.w1280 { width: 300px } .w390 { width: 110px }
"""


def picture_name(state: str, language: str, scheme: str, width: int) -> str:
    """The file of one picture."""
    return f"{state}-{language}-{scheme}-{width}.png"


def take_pictures(page: Page, folder: Path, state: str, language: str) -> None:
    """The page as it stands, in every scheme and width."""
    usual = page.viewport_size
    assert usual
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": height_of(width)})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            path = folder / picture_name(state, language, scheme, width)
            page.screenshot(path=path, full_page=True, animations="disabled")
    page.set_viewport_size(usual)
    page.emulate_media(color_scheme="light")


def write_index(folder: Path, states: Sequence[str]) -> None:
    """The table of all pictures. It knows their names beforehand, so every worker may write the same one."""
    kinds = [(code, scheme, width) for code in CODES for scheme in SCHEMES for width in WIDTHS]
    head = "".join(f"<th>{code} {scheme} {width}</th>" for code, scheme, width in kinds)
    rows = "".join(f"<tr><th id={state}>{state}</th>{_cells(state, kinds)}</tr>\n" for state in states)
    page = f"<!doctype html><meta charset=utf-8><title>Every state</title><style>{STYLE}</style>"
    page += f"<h1>{len(states)} states</h1>\n<table><tr><th>state</th>{head}</tr>\n{rows}</table>\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _cells(state: str, kinds: Sequence[tuple[str, str, int]]) -> str:
    return "".join(_cell(picture_name(state, *kind), kind[-1]) for kind in kinds)


def _cell(name: str, width: int) -> str:
    name = html.escape(name)
    return f'<td><a href="{name}"><img class="w{width}" src="{name}" alt="{name}" loading="lazy"></a></td>'
