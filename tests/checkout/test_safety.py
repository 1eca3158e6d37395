"""What every page keeps to: no foreign code, nothing inline, forms that are ours, nothing of an order in a cache."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError
from django.template.loader import render_to_string
from django.test import Client

from orders.models import Order, Product
from payments.showing import Situation
from shop.checkout import doors, pages, paying
from tests.checkout.actions import ACTIONS
from tests.checkout.conftest import CONTACT, fill_cart, form_of, own
from tests.checkout.situations import make_situation
from tests.factories import make_order, make_payment, make_product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("five")]

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
BY_ITSELF = {"400.html", "403.html", "403_csrf.html", "404.html", "500.html", "busy.html"}


class Inline(HTMLParser):
    """Collects what a strict policy would refuse: inline scripts, styles, handlers, foreign addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.labels: set[str] = set()
        self.fields: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "style" or "style" in named or (tag == "script" and not named.get("src")):
            self.found.append(self.get_starttag_text() or tag)
        self.found += [f"{tag} {name}" for name in named if name.startswith("on")]
        if tag in ("script", "link", "img") and re.match(
            r"\w+:|//", named.get("src") or named.get("href") or ""
        ):
            self.found.append(f"{tag} {named}")
        if tag == "label":
            self.labels.add(named.get("for") or "")
        if tag in ("input", "textarea", "select") and named.get("type") != "hidden":
            self.fields.add(named.get("id") or "nameless")


def every_page(client: Client) -> Iterator[tuple[str, str]]:
    """Each page of the shop, as (path, HTML)."""
    fill_cart(client)
    waiting = own(client, make_situation(Situation.WAITING))
    for path in ("/", "/cart/", "/checkout/", waiting, f"{waiting}pay/", "/orders/N000000000000000/"):
        yield path, client.get(path).content.decode()
    yield "errors", client.post("/checkout/", form_of(client, email="wrong")).content.decode()
    for kind, action in ACTIONS.items():
        order = make_order()
        make_payment(order, channel="paypal", action=action)
        yield kind, client.get(f"{own(client, order)}pay/").content.decode()
    wish = f"{own(client, make_order())}pay/?channel=boleto&scene=voucher"
    yield "payer", client.get(wish).content.decode()
    yield from ((name, render_to_string(name)) for name in sorted(BY_ITSELF))


def test_no_page_holds_inline_code_inline_style_or_foreign_files(shopper):
    for path, page in every_page(shopper):
        assert Inline(page).found == [], path


def test_every_field_has_its_label(shopper):
    for path, page in every_page(shopper):
        seen = Inline(page)
        assert seen.fields <= seen.labels, path


def test_every_page_names_its_language_and_has_one_heading(shopper):
    for path, page in every_page(shopper):
        assert '<html lang="en">' in page, path
        assert page.count("<h1") == 1, path


def test_every_page_has_the_strict_policy(shopper):
    fill_cart(shopper)
    path = own(shopper, make_situation(Situation.WAITING))
    for page in ("/", "/cart/", "/checkout/", path, f"{path}pay/", "/orders/N000000000000000/"):
        policy = shopper.get(page)["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


def test_pages_about_an_order_are_kept_by_no_cache(shopper):
    fill_cart(shopper)
    path = own(shopper, make_situation(Situation.WAITING))
    for page in ("/cart/", "/checkout/", path, f"{path}pay/"):
        assert shopper.get(page)["Cache-Control"] == "no-store"


def test_names_are_escaped_everywhere(shopper):
    make_product()
    Product.objects.update(name=EVIL[:100], description=EVIL, picture="x")
    fill_cart(shopper)
    shopper.post("/checkout/", form_of(shopper, name=EVIL[:100], address=EVIL))
    path = f"/orders/{Order.objects.get().number}/"
    fill_cart(shopper)
    for page in ("/", "/cart/", "/checkout/", path, f"{path}pay/"):
        html = shopper.get(page).content.decode()
        assert "<script>alert" not in html, page
        assert "<img src=x" not in html, page
        assert "&lt;script&gt;alert(1)" in html, page


def test_wrong_input_is_escaped_when_it_is_shown_again(shopper):
    fill_cart(shopper)
    html = shopper.post("/checkout/", form_of(shopper, email=EVIL)).content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("path", ["/cart/add/", "/cart/change/", "/checkout/", "pay/", "cancel/"])
def test_form_from_elsewhere_is_refused_and_changes_nothing(path):
    browser = Client(enforce_csrf_checks=True)
    order = make_situation(Situation.TO_PAY)
    mine = own(browser, order)
    answer = browser.post(
        path if path.startswith("/") else mine + path, {"sku": "tea", "quantity": 1, **CONTACT}
    )
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()
    assert "cart" not in browser.session
    order.refresh_from_db()
    assert (order.status, order.version, Order.objects.count()) == ("UNPAID", 1, 1)


def test_our_own_form_passes():
    browser = Client(enforce_csrf_checks=True)
    make_product()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/").content.decode())
    assert token
    answer = browser.post("/cart/add/", {"sku": "tea", "quantity": 1, "csrfmiddlewaretoken": token[1]})
    assert answer.status_code == 302


def test_oversized_form_is_refused(shopper):
    make_product()
    answer = shopper.post("/cart/add/", {"sku": "tea", "quantity": 1, "more": "x" * 70_000})
    assert answer.status_code == 400


def test_busy_database_is_said_calmly(shopper, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(pages.Product.objects, "filter", fail)
    answer = shopper.get("/")
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "The shop is busy" in answer.content.decode()


def test_busy_database_promises_nothing_about_what_was_to_be_changed(shopper, monkeypatch):
    """The order may have been placed before the database went away."""

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(pages, "find_placed", fail)
    fill_cart(shopper)
    page = shopper.post("/checkout/", form_of(shopper)).content.decode()
    assert "It may have worked: please look before you do it again." in page
    assert "Nothing was" not in page


def test_bug_of_ours_is_said_calmly(monkeypatch, settings):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    settings.DEBUG = False
    monkeypatch.setattr(pages.Product.objects, "filter", fail)
    answer = Client(raise_request_exception=False).get("/")
    assert answer.status_code == 500
    assert "That was our mistake" in answer.content.decode()
    assert "secret detail" not in answer.content.decode()


def test_bug_of_ours_on_an_order_leads_back_to_it_under_the_shops_name(shopper, monkeypatch, settings):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    settings.DEBUG, settings.SHOP_NAME = False, "Tea House"
    path = own(shopper, make_order())
    monkeypatch.setattr(paying, "view_order", fail)
    shopper.raise_request_exception = False
    page = shopper.get(f"{path}pay/").content.decode()
    assert f'href="{path}pay/">Try again' in page
    assert "That was our mistake · Tea House" in page


def test_address_that_cannot_be_read_is_refused_under_the_shops_name(shopper, settings):
    settings.DEBUG, settings.SHOP_NAME = False, "Tea House"
    answer = shopper.get("/", headers={"Host": "bad_host!"})
    assert answer.status_code == 400
    assert "We did not understand that · Tea House" in answer.content.decode()


def test_busy_page_leads_back_by_the_whole_address(shopper, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(doors, "find_order", fail)
    answer = shopper.get("/orders/N000000000000000/", {"token": "a b", "still": ""})
    assert answer.status_code == 503
    assert 'href="/orders/N000000000000000/?token=a+b&amp;still=">Try again' in answer.content.decode()


@pytest.mark.parametrize("name", sorted(BY_ITSELF))
def test_error_page_says_something_about_the_money_and_offers_a_way_on(name):
    page = render_to_string(name)
    assert re.search("money|pay", page.partition("<main")[2].partition("</main>")[0])
    assert 'class="button primary"' in page


def test_hashed_files_of_production_are_all_there(shopper, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": backend}}
    settings.DEBUG = False
    call_command("collectstatic", interactive=False, verbosity=0)
    call_command("load_catalogue", stdout=StringIO())
    Product.objects.filter(sku="longjing-tea").update(picture="no-such-drawing")
    page = shopper.get("/").content.decode()
    assert re.search(r"/static/shop\.[0-9a-f]{12}\.css", page)
    assert len(re.findall(r"/static/art/\w+\.[0-9a-f]{12}\.svg", page)) == 8
    assert "Longjing tea" in page
    waiting = own(shopper, make_situation(Situation.WAITING))
    assert re.search(r"/static/pay\.[0-9a-f]{12}\.js", shopper.get(waiting).content.decode())


def test_what_a_browser_loads_is_small():
    static = settings.BASE_DIR / "static"
    assert sum(path.stat().st_size for path in static.glob("*.js")) < 16 * 1024
    assert (static / "shop.css").stat().st_size < 19 * 1024
