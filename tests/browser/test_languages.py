"""The language of the pages: the browser's own, until its user chooses another one."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WIDTHS

pytestmark = [pytest.mark.browser, pytest.mark.django_db]


@pytest.mark.parametrize("width", WIDTHS)
def test_browser_that_asks_for_chinese_gets_it_until_its_user_switches(open_page, width):
    page = open_page(width=width, locale="zh-CN")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.get_by_role("heading", name="龙井茶")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Longjing tea")).to_be_visible()
    page.goto("/cart/")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your cart")
