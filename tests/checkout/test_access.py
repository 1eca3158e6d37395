"""Who sees an order's pages: the browser that placed it, whoever holds its link, and staff. Nobody else."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from orders.access import OPENED_KEY, token_of
from orders.models import Order
from payments.models import Call, Payment
from shop.models import Event
from tests.checkout.conftest import fill_cart, form_of, own
from tests.factories import make_order, make_payment
from tests.reading import without_tokens

pytestmark = pytest.mark.django_db

MISSING = "N000000000000000"
PATHS = ["", "pay/"]


@pytest.mark.parametrize("path", PATHS)
def test_foreign_and_missing_orders_look_the_same(shopper, path):
    number = make_order().number
    foreign = shopper.get(f"/orders/{number}/{path}")
    missing = shopper.get(f"/orders/{MISSING}/{path}")
    assert foreign.status_code == missing.status_code == 404
    pages = [without_tokens(answer.content.decode()) for answer in (foreign, missing)]
    assert pages[0] == pages[1].replace(MISSING, number)


@pytest.mark.parametrize("number", ["x", "n0000000000000000", "N" * 33, "%00", "N00000000000000.", "é" * 16])
def test_senseless_number_is_not_found(shopper, number):
    assert shopper.get(f"/orders/{number}/").status_code == 404


@pytest.mark.parametrize("path", ["pay/", "check/", "cancel/"])
def test_stranger_changes_nothing(shopper, path):
    order = make_order()
    answer = shopper.post(f"/orders/{order.number}/{path}", {"channel": "wechat", "scene": "qr"})
    assert answer.status_code == 404
    order.refresh_from_db()
    assert (order.status, order.version) == ("UNPAID", 1)


def test_browser_that_placed_the_order_sees_it(shopper):
    fill_cart(shopper)
    shopper.post("/checkout/", form_of(shopper))
    assert shopper.get(f"/orders/{Order.objects.get().number}/").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_link_opens_the_order_once_and_leaves_a_clean_address(shopper, path):
    order = make_order()
    answer = shopper.get(f"/orders/{order.number}/{path}", {"token": token_of(order)})
    assert (answer.status_code, answer.url) == (302, f"/orders/{order.number}/{path}")
    assert answer["Referrer-Policy"] == "same-origin"
    assert shopper.get(answer.url).status_code == 200
    assert Client().get(answer.url).status_code == 404


def test_link_opened_twice_is_remembered_once(shopper):
    order = make_order()
    for _ in range(2):
        shopper.get(f"/orders/{order.number}/", {"token": token_of(order)})
    assert list(shopper.session[OPENED_KEY]) == [order.number]


@pytest.mark.parametrize("token", ["x", "A" * 27, "é", "\x00"])
def test_wrong_token_opens_nothing(shopper, token):
    order = make_order()
    assert shopper.get(f"/orders/{order.number}/", {"token": token}).status_code == 404
    assert OPENED_KEY not in shopper.session


def test_token_of_another_order_opens_nothing(shopper):
    order, other = make_order(), make_order()
    assert shopper.get(f"/orders/{order.number}/", {"token": token_of(other)}).status_code == 404


def test_revoked_link_opens_nothing(shopper):
    order = make_order()
    token = token_of(order)
    Order.objects.update(token_salt="another")
    assert shopper.get(f"/orders/{order.number}/", {"token": token}).status_code == 404


def test_wrong_token_does_not_shut_out_the_owner(shopper):
    path = own(shopper, make_order())
    assert shopper.get(path, {"token": "wrong"}, follow=True).status_code == 200


@pytest.mark.parametrize(
    ("kind", "permission", "status"),
    [
        ({"is_staff": True, "is_superuser": True}, None, 200),
        ({"is_staff": True}, "view_order", 200),
        ({"is_staff": True}, None, 404),
        ({"is_staff": True}, "view_product", 404),
        ({"is_staff": False}, "view_order", 404),
        ({"is_staff": False}, None, 404),
    ],
)
@pytest.mark.parametrize("path", ["/orders/{}/", "/api/v1/orders/{}", "/api/v1/orders/{}/status"])
def test_staff_with_the_permission_see_every_order_and_others_who_logged_in_do_not(
    shopper, kind, permission, status, path
):
    user = get_user_model().objects.create_user("somebody", **kind)
    user.user_permissions.set(Permission.objects.filter(codename=permission))
    shopper.force_login(user)
    assert shopper.get(path.format(make_order().number)).status_code == status


# ---- staff look, and do nothing in the shopper's place -----------------------------------------------------------


@pytest.fixture
def vic(shopper) -> Client:
    """The browser of somebody who may see every order and payment. The deeds of the back office are given as well: they are no way in."""
    user = get_user_model().objects.create_user("vic", is_staff=True)
    names = ["view_order", "view_payment", "cancel_order", "ask_payment"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    shopper.force_login(user)
    return shopper


@pytest.mark.parametrize("path", ["pay/", "pay/?choose", "check/", "cancel/"])
def test_staff_press_nothing_on_a_shoppers_pages_and_are_sent_to_the_admin(vic, wechat, path):
    order = make_order()
    make_payment(order)
    before = read_rows()
    answer = vic.post(f"/orders/{order.number}/{path}", {"channel": "wechat", "scene": "qr"})
    assert answer.status_code == 403
    assert f'href="/admin/orders/order/{order.pk}/change/"' in answer.content.decode()
    assert read_rows() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("orders/{order}/cancel", {}),
        ("orders/{order}/payments", {"channel": "wechat", "scene": "qr"}),
        ("payments/{payment}/query", {}),
    ],
)
def test_staff_do_nothing_in_the_shoppers_place_over_the_api(vic, wechat, path, body):
    order = make_order()
    path = path.format(order=order.number, payment=make_payment(order).number)
    before = read_rows()
    answer = vic.post(f"/api/v1/{path}", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "in the admin" in answer.json()["detail"]
    assert read_rows() == before


def read_rows() -> list[Any]:
    """Whatever a shopper's button would change."""
    return [list(model.objects.values()) for model in (Order, Payment, Call, Event)]


@pytest.mark.parametrize("path", ["", "pay/", "pay/?choose&channel=wechat&scene=qr"])
@pytest.mark.parametrize("has_begun", [True, False])
def test_page_offers_staff_no_button_and_tells_them_no_link_that_would_make_them_the_shopper(
    vic, five, path, has_begun
):
    order = make_order()
    if has_begun:
        make_payment(order, action={"type": "redirect", "url": "https://pay.example/"})
    page = vic.get(f"/orders/{order.number}/{path}").content.decode()
    assert f'action="/orders/{order.number}' not in page
    assert token_of(order) not in page
    assert f'href="/admin/orders/order/{order.pk}/change/"' in page


def test_staff_who_placed_the_order_are_its_shopper(vic, wechat):
    order = make_order()
    path = own(vic, order)
    page = vic.get(path).content.decode()
    assert f'action="{path}cancel/"' in page
    assert "/admin/" not in page
    assert vic.post(f"{path}cancel/").status_code == 302
    order.refresh_from_db()
    assert order.status == "CLOSED"


def test_staff_who_hold_the_token_are_its_shopper_over_the_api(vic):
    order = make_order()
    bearer = {"Authorization": f"Bearer {token_of(order)}"}
    cancelled = vic.generic("POST", f"/api/v1/orders/{order.number}/cancel", headers=bearer)
    assert cancelled.status_code == 200
    order.refresh_from_db()
    assert order.status == "CLOSED"
