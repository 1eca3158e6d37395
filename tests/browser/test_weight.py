"""What the pages of an order cost a phone: few bytes, few requests, and nothing twice. Served as in production, counted by Chromium."""

import re
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.test import Client
from playwright.sync_api import Page

from orders.models import Order
from tests.browser.figures import WEIGHT
from tests.checkout.conftest import own
from tests.factories import make_order, make_payment

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MOST_BYTES = 60 * 1024
MOST_REQUESTS = 6
YEAR_S = 31_536_000


class Silent(WSGIRequestHandler):
    """Answers and tells nobody."""

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def production(settings, tmp_path) -> Iterator[str]:
    """The address of the shop with its static files hashed, compressed and served by WhiteNoise, as without DEBUG."""
    settings.DEBUG = settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = False
    settings.STATIC_ROOT = tmp_path
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]  # the shop's own
    backend = {"BACKEND": "shop.static.HashedStaticFiles"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": backend}
    call_command("collectstatic", interactive=False, verbosity=0)
    server = ThreadedWSGIServer(("127.0.0.1", 0), Silent)
    server.set_app(WSGIHandler())
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Wire:
    """Counts what a page loads: bytes as they came, compressed and with their headers."""

    def __init__(self, page: Page) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.sizes: dict[str, int] = {}
        network = page.context.new_cdp_session(page)
        network.on("Network.responseReceived", self._note_answer)
        network.on("Network.loadingFinished", self._note_size)
        network.send("Network.enable")

    def _note_answer(self, event: dict[str, Any]) -> None:
        self.answers[event["requestId"]] = event["response"]

    def _note_size(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["encodedDataLength"]

    def files(self) -> list[dict[str, Any]]:
        """What has come, in its order; once where it was taken from the cache later. What is still open has no size."""
        files: dict[str, dict[str, Any]] = {}
        for key, size in self.sizes.items():
            file = self._file(self.answers[key], size)
            files[file["name"]] = max(
                file, files.get(file["name"], file), key=lambda each: int(each["bytes"])
            )
        return list(files.values())

    def _file(self, answer: dict[str, Any], size: int) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        name = re.sub(r".*/orders/\w+/", "", answer["url"]).rpartition("/static/")[2] or "page"
        return {
            "name": "page" if name.startswith("pay/") else name,
            "bytes": size,
            "encoding": headers.get("content-encoding", "plain"),
            "cache": headers.get("cache-control", ""),
        }


def load(page: Page, shop: str, order: Order, path: str = "") -> list[dict[str, Any]]:
    """A page of the order, as one who has never been here loads it; its icon with it, which comes when it likes."""
    shopper = Client()
    address = f"{shop}{own(shopper, order)}{path}"
    session = shopper.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": shop}])
    wire = Wire(page)
    page.goto(address)
    page.evaluate("fetch(document.querySelector('link[rel=icon]').href).then((icon) => icon.text())")
    page.wait_for_load_state("load")
    return wire.files()


def check_weight(files: list[dict[str, Any]]) -> None:
    """Within the limits, with the socket that waits for news, or the question in its place.

    The pictures of the goods weigh, and are not counted: there are as many as the order has lines.
    """
    assert sum(file["bytes"] for file in files) < MOST_BYTES
    counted = [file["name"] for file in files if not file["name"].startswith("art/")]
    live = 1
    assert len(counted) + live <= MOST_REQUESTS, counted


def test_pay_page_is_light_and_what_it_loads_is_kept_for_a_year(open_page, production, record_property):
    order = make_order(sku="longjing-tea")
    make_payment(order)
    files = load(open_page(width=390), production, order, "pay/")
    record_property(WEIGHT, files)
    own = [file for file in files if file["name"] != "page"]
    assert {re.sub(r"\.[0-9a-f]{12}\.", ".", file["name"]) for file in own} >= {
        "shop.css",
        "pay.js",
        "favicon.svg",
    }
    for file in own:
        assert re.search(r"\.[0-9a-f]{12}\.", file["name"]), f"{file['name']} has no hash"
        kept = re.search(r"max-age=(\d+)", file["cache"])
        assert kept, f"{file['name']} is not kept"
        assert int(kept[1]) >= YEAR_S
        assert "immutable" in file["cache"]
    assert next(file for file in files if file["name"] == "page")["cache"] == "no-store"
    check_weight(files)


@pytest.mark.usefixtures("every_channel")
@pytest.mark.parametrize(
    ("sku", "path", "shown"),
    [
        ("ceara-hammock", "pay/?choose&channel=boleto&scene=voucher", "main form.fields"),
        ("longjing-tea", "", "main .story"),
    ],
    ids=["payer", "order"],
)
def test_pages_beside_the_code_are_as_light(sku, path, shown, open_page, production):
    page = open_page(width=390)
    files = load(page, production, make_order(sku=sku), path)
    assert page.locator(shown).is_visible()
    check_weight(files)
