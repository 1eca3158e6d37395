"""A real Chromium: the system's own, found on PATH or named by `CHROMIUM`. Missing is an error, never a skip."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The browser speaks to this machine only, also when nobody asked it to.
ARGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# What reaches over the right edge of its card or of the window.
STICKING_OUT = """
[...document.querySelectorAll("main *")].filter((each) => {
  const card = each.parentElement.closest(".card");
  const edge = card ? card.getBoundingClientRect().right : innerWidth;
  return each.getBoundingClientRect().right > edge + 0.5;
}).map((each) => each.outerHTML.slice(0, 80))
"""
# Two cores may be busy with other tests.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)

WIDTHS = (1280, 390)
Scheme = Literal["light", "dark"]


def height_of(width: int) -> int:
    """Of a window that is so wide: a phone's or a PC's."""
    return 844 if width < 600 else 800


def find_browser() -> str:
    """The path of Chromium. Fails with one clear sentence when there is none."""
    named = os.environ.get("CHROMIUM", "")
    found = named or next(filter(None, map(shutil.which, NAMES)), "")
    if not found or not shutil.which(found):
        pytest.fail(
            f"The browser tests need Chromium: install it or name it by CHROMIUM (now {named or 'not set'}).",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file.

    Playwright's loop runs in this thread for as long, so Django must be told that it may use the database here.
    """
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_browser(), args=ARGS)
        yield chromium
        chromium.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")
    if before is not None:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@pytest.fixture(autouse=True)
def _goods(sandbox) -> None:
    call_command("load_catalogue")


@pytest.fixture
def open_page(browser: Browser, live_server) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser window of its own; every complaint of the browser fails the test at its end."""
    contexts, complaints = [], []

    def open_one(
        *,
        width: int = 1280,
        javascript: bool = True,
        user_agent: str | None = None,
        locale: str | None = None,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height_of(width)},
            base_url=live_server.url,
            java_script_enabled=javascript,
            user_agent=user_agent,
            locale=locale,
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        context.on("console", lambda m: complaints.append(m.text) if "Security Policy" in m.text else None)
        context.on("weberror", lambda e: complaints.append(str(e.error)))
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def photograph() -> Callable[..., None]:
    """Sees to it that no page scrolls sideways in windows of these widths, its own if none is given.

    And keeps a picture of each where `SCREENSHOTS` names a folder, in these color schemes.
    """

    def take(page: Page, name: str, *, widths: Sequence[int] = (), schemes: Sequence[Scheme] = ()) -> None:
        page.wait_for_load_state("load")
        usual = page.viewport_size
        assert usual
        for width in widths or [usual["width"]]:
            page.set_viewport_size({"width": width, "height": height_of(width)})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
            assert page.evaluate(STICKING_OUT) == [], f"{name} is cut off in a window of {width} px"
            if folder := os.environ.get("SCREENSHOTS"):
                _keep_picture(page, Path(folder) / f"{name}-{width}.png", schemes)
        page.set_viewport_size(usual)

    return take


def _keep_picture(page: Page, path: Path, schemes: Sequence[Scheme]) -> None:
    if not schemes:
        page.screenshot(path=path, full_page=True)
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=path.with_stem(f"{path.stem}-{scheme}"), full_page=True, animations="disabled")
