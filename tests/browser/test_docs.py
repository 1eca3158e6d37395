"""The page of the API: readable without a script, in both languages, light and dark, wide and narrow, and for everybody."""

import re
from html.parser import HTMLParser

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client

from shop.schema import make_schema
from tests.browser.conftest import STICKING_OUT, WIDTHS, height_of
from tests.browser.gallery import SCHEMES

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATH = "/api/v1/docs/"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Scripts(HTMLParser):
    """What a page loads and holds inline."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts = self.inline = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.inline += tag == "style" or any(name == "style" or name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_every_door_and_webhook_is_on_the_page_in_the_readers_language(language):
    page = Client(headers={"Accept-Language": language}).get(PATH).content.decode()
    schema = make_schema(language)
    for part in (schema["paths"], schema["webhooks"]):
        for name, item in part.items():
            assert f"<code>{name}</code>" in page
            for said in item.values():
                assert f'id="{said["operationId"]}"' in page


def test_page_needs_no_script_and_holds_nothing_inline():
    page = Scripts(Client().get(PATH).content.decode())
    assert (page.scripts, page.inline) == (0, 0)


def test_names_of_fields_stand_as_code():
    page = Client().get(PATH).content.decode()
    assert "`" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert "<code>Retry-After</code>" in page


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("again", "boolean"),
        ("supersede", "boolean"),
        ("payer", "object"),
        ("payer.ip", "string"),
        ("payer.address.postal_code", "string · required · maxLength 20"),
        ("items", "array · required · minItems 1 · maxItems 50"),
        ("items[].quantity", "integer · required · minimum 1 · maximum 999"),
        ("wait", "integer · minimum 0 · maximum 30"),
        ("Idempotency-Key", "string · minLength 1 · maxLength 255"),
    ],
)
def test_field_and_parameter_stand_there_with_type_and_limits(name, says):
    page = " ".join(Client().get(PATH).content.decode().split())
    row = page.partition(f"<dt><code>{name}</code>")[2].partition("</div>")[0]
    assert f">{says}" in row


def test_page_is_read_and_nothing_else():
    answer = Client().post(PATH)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(("width", "scheme"), list(zip(WIDTHS, SCHEMES, strict=True)))
def test_page_fits_and_axe_finds_nothing(browser, live_server, width, scheme):
    window = browser.new_page(viewport={"width": width, "height": height_of(width)}, color_scheme=scheme)
    window.goto(live_server.url + PATH)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate(STICKING_OUT) == []
    found = Axe().run(window, options={"runOnly": RULES}).response["violations"]
    assert [one["id"] for one in found] == []
    window.close()
