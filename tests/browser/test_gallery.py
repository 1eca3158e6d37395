"""Every state a shopper can see, in both languages: true words, a way on, nothing cut off, nothing that axe finds.

With `SCREENSHOTS` naming a folder it writes there the picture of each, light and dark, wide and narrow, and `index.html`.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Page

from payments.showing import Situation
from payments.statuses import RefundStatus
from shop.checkout.words import OPEN, RETURNED
from shop.languages import tag_of
from tests.browser.conftest import STICKING_OUT, WIDTHS, height_of
from tests.browser.figures import AXE
from tests.browser.gallery import CODES, SCHEMES, take_pictures, write_index
from tests.browser.states import GROUPS, STATES, Browser, State
from tests.checkout.actions import ACTIONS
from tests.checkout.conftest import ADDRESS
from tests.reading import read_texts

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_channel"),
]

NARROWEST = 320
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE_OPTIONS = {"runOnly": RULES, "resultTypes": ["violations"]}
AXE_LOOKS = dict(zip(CODES, zip(SCHEMES, WIDTHS, strict=True), strict=True))
AXE_RUN = "(options) => axe.run(options).then((found) => found.violations)"
NEVER = re.compile("failed|unpaid|失败", re.IGNORECASE)
# The page of a state that is an error is one that the browser complains about; so is a socket that nobody answers.
EXPECTED_COMPLAINTS = ("Failed to load resource", "WebSocket connection")
STATUS_LINE = "main .status .told > p:first-child"
WAYS_ON = "main :is(a[href], button:enabled, summary):visible"
# Smaller than a thumb wants it: buttons and fields 44 px high on the phone, all else 24; links in a sentence are as its words.
SMALL = """
[...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter((each) => {
  const { width, height } = each.getBoundingClientRect();
  if (!each.checkVisibility({ visibilityProperty: true }) || !width || each.matches(".skip")) return false;
  if (getComputedStyle(each).display === "inline") return false;
  const least = each.matches("main :is(button, .button, input, select, textarea)") ? 44 : 24;
  return Math.round(width) < 24 || Math.round(height) < least;
}).map((each) => `${each.getBoundingClientRect().height} ${each.outerHTML.slice(0, 70)}`)
"""
# "× 2" stays together.
TORN = """[...document.querySelectorAll(".lines .soft")].filter((each) => each.getClientRects().length > 1).length"""
# Latin words on a Chinese page: names of channels and of the shop, and what the shopper has typed.
TYPED = [
    "nodrop",
    "PayPal",
    "Boleto",
    "CPF",
    "CNPJ",
    "English",
    "Anna",
    "Lin",
    "Garden",
    "Road",
    "Hangzhou",
    "Cookie",
]
LATIN = re.compile(rf"\b(?!(?:{'|'.join(TYPED)})\b)[A-Za-z]{{3,}}\b")
NAMES = re.compile(r"\S+@\S+|https?://\S+|\bN[0-9A-Z]{10,}\b")


class Looking:
    """One browser window that visits states and collects what is wrong with them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.counts = {"pages": 0, "runs": 0, "violations": 0}
        page.emulate_media(reduced_motion="reduce")  # no colour is on its way when it is looked at
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED_COMPLAINTS):
            self.wrong.append(f"{self.page.url}: {message.text}")

    def visit(self, state: State, patch: pytest.MonkeyPatch) -> None:
        """Bring the state about and look at it in every language."""
        client = Client(REMOTE_ADDR=ADDRESS)
        path = state.make(Browser(client=client, patch=patch))
        self.counts["pages"] += 1
        # Or the page of the state before finds its session gone, and loads itself in place of this one.
        self.page.goto("about:blank")
        self.page.set_extra_http_headers({"User-Agent": state.agent})
        self._take_cookies({name: cookie.value for name, cookie in client.cookies.items()})
        for code in CODES:
            self._take_cookies({settings.LANGUAGE_COOKIE_NAME: code}, renew=False)
            self._open(state, path, code)
            self._look(state, code)

    def _take_cookies(self, cookies: dict[str, str], *, renew: bool = True) -> None:
        context = self.page.context
        if renew:
            context.clear_cookies()
        address = settings.PUBLIC_URL
        context.add_cookies([{"name": name, "value": each, "url": address} for name, each in cookies.items()])

    def _open(self, state: State, path: str, code: str) -> None:
        statuses: list[int] = []

        def note(response: Any) -> None:
            if response.request.is_navigation_request():
                statuses.append(response.status)

        self.page.on("response", note)
        self.page.goto(path)
        if state.then:
            state.then(self.page)
        self.page.remove_listener("response", note)
        self._check(state, code, f"answers {statuses}", statuses[-1:] == [state.status])

    def _check(self, state: State, code: str, finding: str, is_well: bool) -> None:
        if not is_well:
            self.wrong.append(f"{state.name} {code}: {finding}")

    def _look(self, state: State, code: str) -> None:
        self._read(state, code)
        self._fit(state, code)
        self._run_axe(state, code)
        if folder := os.environ.get("SCREENSHOTS"):
            take_pictures(self.page, Path(folder), state.name, code)

    def _read(self, state: State, code: str) -> None:
        page = self.page
        told = "\n".join((page.title(), page.inner_text("body"), *read_texts(page.content())))
        self._check(state, code, "says what nobody may say", not NEVER.search(told))
        self._check(state, code, "has no way on", page.locator(WAYS_ON).count() > 0)
        self._check(state, code, "names another language", self._attribute("html", "lang") == tag_of(code))
        if state.situation:
            seen = self._attribute("#live", "data-situation")
            self._check(state, code, f"is in the situation {seen}", seen == state.situation)
        if code == CODES[0]:
            self._check(state, code, f"does not say {state.says!r}", state.says in page.inner_text("main"))
        else:
            self._read_chinese(state, code, told)

    def _read_chinese(self, state: State, code: str, told: str) -> None:
        """Whole lines: half a sentence may say the contrary of it. And no status line that was not read before."""
        lines = {line.strip() for line in self.page.inner_text("main").splitlines()}
        self._check(state, code, f"does not say {set(state.zh) - lines}", lines >= set(state.zh))
        status = set(self.page.locator(STATUS_LINE).all_inner_texts())
        self._check(state, code, f"has the status line {status}", status <= set(state.zh))
        foreign = sorted(set(LATIN.findall(NAMES.sub("", told))))
        self._check(state, code, f"speaks English: {foreign[:8]}", not foreign)

    def _attribute(self, selector: str, name: str) -> str | None:
        return self.page.locator(selector).get_attribute(name)

    def _fit(self, state: State, code: str) -> None:
        """Leaves the window as wide as it was."""
        for width in (NARROWEST, *reversed(WIDTHS)):
            self.page.set_viewport_size({"width": width, "height": height_of(width)})
            scrolls = self.page.evaluate("document.documentElement.scrollWidth") > width
            self._check(state, code, f"scrolls sideways at {width}", not scrolls)
            cut = self.page.evaluate(STICKING_OUT)
            self._check(state, code, f"is cut off at {width}: {cut}", not cut)
            self._check(state, code, f"tears a quantity at {width}", not self.page.evaluate(TORN))
            if width == min(WIDTHS):
                small = self.page.evaluate(SMALL)
                self._check(state, code, f"has targets that are too small: {small}", not small)

    def _run_axe(self, state: State, code: str) -> None:
        """English in the light on a wide screen, Chinese in the dark as on a phone."""
        self.page.evaluate(Axe().axe_script)
        scheme, width = AXE_LOOKS[code]
        self.page.set_viewport_size({"width": width, "height": height_of(width)})
        self.page.emulate_media(color_scheme=scheme)
        found = self.page.evaluate(AXE_RUN, AXE_OPTIONS)
        self.counts["runs"] += 1
        self.counts["violations"] += len(found)
        for each in found:
            nodes = [node["html"][:120] for node in each["nodes"]]
            self.wrong.append(f"{state.name} {scheme} {width}: axe {each['id']}: {each['help']}: {nodes}")


@pytest.fixture
def looking(open_page: Callable[..., Page], record_property: Any) -> Looking:
    eyes = Looking(open_page())
    record_property(AXE, eyes.counts)  # now: at the end of the fixture the test has been reported
    return eyes


@pytest.mark.parametrize("group", GROUPS)
def test_states_are_told_truly_in_both_languages_and_open_to_everybody(group, looking):
    for state in GROUPS[group]:
        with pytest.MonkeyPatch.context() as patch:
            looking.visit(state, patch)
    if folder := os.environ.get("SCREENSHOTS"):
        write_index(Path(folder), [state.name for state in STATES])
    assert not looking.wrong, "\n".join(looking.wrong)


def test_gallery_has_every_situation():
    assert {state.situation for state in STATES} - {None} == set(Situation)


def test_gallery_has_every_way_to_pay_that_is_waited_for():
    opened = {state.opens for state in STATES if state.situation is Situation.WAITING}
    assert opened == set(ACTIONS)
    assert set(OPEN) - {""} < opened


def test_gallery_has_every_stage_of_money_that_goes_back():
    stages = {(state.situation, state.returns) for state in STATES if state.returns}
    going = {(situation, RefundStatus.REFUNDING) for situation, _ in RETURNED}
    assert stages == set(RETURNED) | going


def test_states_have_names_of_their_own():
    names = [state.name for state in STATES]
    assert len(set(names)) == len(names)
    assert re.fullmatch(r"[a-z0-9-]+", "".join(names))
