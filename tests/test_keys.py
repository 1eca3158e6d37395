"""API keys: shown once and kept as a hash, at an end some day, rotated without a gap, and never more than their owner."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, transaction
from django.test import AsyncClient, Client
from django.utils import timezone

from orders.models import Order
from payments.doctor import _examine_keys
from payments.errors import OwnApproval
from payments.models import Payment, Refund, StaffAction
from payments.refunding import approve_refund
from payments.settling import settle_payment
from shop.keyring import (
    BadKey,
    Issued,
    KeyRefused,
    change_scopes,
    find_key,
    list_ending,
    make_key,
    note_use,
    revoke_key,
    rotate_key,
)
from shop.models import ApiKey, Event, Source
from tests.factories import make_order, make_payment, make_product, report
from tests.flows.test_api import CONTACT

pytestmark = pytest.mark.django_db


def make(*scopes: str, name: str = "till", **more: Any) -> Issued:
    return make_key(name, scopes or ["orders:read"], **more)


def hire(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def by(issued: Issued) -> Client:
    return Client(headers={"Authorization": f"Api-Key {issued.shown}"})


def move_time(key: ApiKey, **columns: Any) -> None:
    ApiKey.objects.filter(pk=key.pk).update(**columns)


def hours(count: float) -> Any:
    return timezone.now() + timedelta(hours=count)


# ---- what is kept ------------------------------------------------------------------------------------------------


def test_only_a_hash_of_the_secret_is_kept():
    issued = make()
    number, secret = issued.shown.split(".")
    assert number == issued.key.number
    assert len(secret) == 43  # 256 bits
    assert not any(secret in str(value) for value in ApiKey.objects.values().get().values())
    assert find_key(issued.shown) == issued.key


@pytest.mark.parametrize(
    "shown",
    ["", ".", "K", "{number}", "{number}.", "{number}.x", "K0000000000.{secret}", "{secret}", "\x00.{secret}",
     "{number}.{secret}x", "{number}.\udcff", " {number}.{secret}", "{number}.{secret}."],
)  # fmt: skip
def test_anything_else_lets_nobody_in(shown):
    number, secret = make().shown.split(".")
    with pytest.raises(BadKey):
        find_key(shown.format(number=number, secret=secret))


@pytest.mark.parametrize(
    ("name", "scopes", "says"),
    [
        ("", ["orders:read"], "name"),
        ("x" * 61, ["orders:read"], "name"),
        ("a\nb", ["orders:read"], "name"),
        ("till (sue)", ["orders:read"], "parentheses"),
        ("till \uff08sue\uff09", ["orders:read"], "parentheses"),
        ("till", [], "without any scope"),
        ("till", ["orders:delete"], "orders:delete"),
        ("till", ["refunds:write"], "owner"),
        ("taken", ["orders:read"], "already"),
    ],
)
def test_key_that_makes_no_sense_is_not_made(name, scopes, says):
    make(name="taken")
    with pytest.raises(KeyRefused, match=says):
        make_key(name, scopes)
    assert ApiKey.objects.count() == 1


def test_last_use_is_written_once_a_minute(django_assert_num_queries):
    issued = make()
    note_use(find_key(issued.shown))
    used = find_key(issued.shown)
    with django_assert_num_queries(0):
        note_use(used)
    move_time(issued.key, last_used_at=hours(-1))
    note_use(find_key(issued.shown))
    used.refresh_from_db()
    assert timezone.now() - used.last_used_at < timedelta(minutes=1)


# ---- its end -----------------------------------------------------------------------------------------------------


def test_expired_key_and_revoked_key_let_nobody_in():
    expired, revoked = make(expires_at=hours(1)), make(name="other")
    find_key(expired.shown)
    move_time(expired.key, expires_at=hours(-1))
    revoke_key(revoked.key.number)
    for issued in (expired, revoked):
        with pytest.raises(BadKey, match="ended"):
            find_key(issued.shown)


def test_old_secret_counts_for_its_time_beside_the_new_one():
    old = make()
    new = rotate_key(old.key.number)
    assert find_key(old.shown) == find_key(new.shown)
    move_time(old.key, old_until=hours(-1))
    find_key(new.shown)
    with pytest.raises(BadKey, match="another secret"):
        find_key(old.shown)


def test_rotating_again_in_that_time_is_refused_because_the_system_may_show_the_old_secret_still():
    old = make()
    new = rotate_key(old.key.number)
    with pytest.raises(KeyRefused, match="short time ago"):
        rotate_key(old.key.number)
    assert find_key(old.shown) == find_key(new.shown)


def test_both_secrets_end_at_once_where_that_is_wanted():
    old = make()
    new = rotate_key(old.key.number)
    newest = rotate_key(old.key.number, old_for_h=0)
    find_key(newest.shown)
    for issued in (old, new):
        with pytest.raises(BadKey):
            find_key(issued.shown)


def test_ended_key_is_not_changed_any_more():
    issued = make()
    revoke_key(issued.key.number)
    for change in (
        lambda: rotate_key(issued.key.number),
        lambda: change_scopes(issued.key.number, ["orders:read"]),
        lambda: revoke_key(issued.key.number),
        lambda: revoke_key("K0000000000"),
    ):
        with pytest.raises(KeyRefused):
            change()


def test_keys_that_end_within_two_weeks_or_have_ended_are_named():
    make(name="for ever")
    make(name="in a year", expires_at=hours(24 * 365))
    make(name="next week", expires_at=hours(24 * 7))
    move_time(make(name="yesterday", expires_at=hours(1)).key, expires_at=hours(-24))
    revoke_key(make(name="revoked", expires_at=hours(1)).key.number)
    assert [key.name for key in list_ending()] == ["yesterday", "next week"]


def test_doctor_names_keys_that_end_and_keys_whose_owner_may_not_any_more():
    assert told_by_doctor() == ["none ends within 14 days"]
    sue = hire("sue", "ask_refund")
    make(name="next week", expires_at=hours(24 * 7))
    make("refunds:write", name="refunder", owner=sue)
    sue.user_permissions.clear()
    ending, orphaned = told_by_doctor()
    assert "next week" in ending
    assert "refunder" in orphaned


def told_by_doctor() -> list[str]:
    return [finding.detail for finding in _examine_keys()]


def test_home_page_names_keys_that_end_to_who_may_see_them():
    make(name="next week", expires_at=hours(24 * 7))
    move_time(make(name="yesterday", expires_at=hours(1)).key, expires_at=hours(-24))
    for user, is_told in ((hire("vic", "view_apikey"), True), (hire("tom"), False)):
        client = Client()
        client.force_login(user)
        page = client.get("/admin/").content.decode()
        assert [name in page for name in ("next week", "yesterday", "has ended")] == [is_told] * 3


# ---- what is done by a key ---------------------------------------------------------------------------------------


def place(client: Client, **headers: str) -> Any:
    body = {"items": [{"sku": make_product().sku, "quantity": 1}], "contact": CONTACT}
    return client.post("/api/v1/orders", body, content_type="application/json", headers=headers)


def test_history_names_the_key_that_placed_and_cancelled_an_order():
    system = by(make("orders:write", owner=hire("sue")))
    number = place(system).json()["number"]
    assert (
        system.post(f"/api/v1/orders/{number}/cancel", content_type="application/json").json()["status"]
        == "CLOSED"
    )
    told = Event.objects.filter(subject=number).values_list("to_status", "source", "actor")
    assert list(told) == [("UNPAID", "API", "key till (sue)"), ("CLOSED", "API", "key till (sue)")]


def test_history_names_the_key_that_applied_for_payment(sandbox):
    order = make_order()
    wish = {"channel": "wechat", "scene": "qr"}
    path = f"/api/v1/orders/{order.number}/payments"
    answer = by(make("payments:write")).post(path, wish, content_type="application/json")
    assert answer.status_code == 201
    told = Event.objects.filter(subject=answer.json()["number"]).values_list("source", "actor")
    assert list(told) == [("API", "key till")] * 2


def test_two_systems_may_use_the_same_idempotency_key():
    one, other = by(make("orders:write")), by(make("orders:write", name="other"))
    numbers = {place(client, **{"Idempotency-Key": "1"}).json()["number"] for client in (one, other, one)}
    assert len(numbers) == Order.objects.count() == 2


def test_system_that_names_its_requests_may_place_two_alike_orders():
    system = by(make("orders:write"))
    statuses = [place(system, **{"Idempotency-Key": key}).status_code for key in ("1", "2")]
    assert statuses == [201, 201]


@pytest.mark.parametrize(
    ("scopes", "is_named"), [(["orders:write"], False), (["orders:write", "orders:read"], True)]
)
def test_duplicate_order_is_named_to_a_key_that_may_see_it(scopes, is_named):
    system = by(make(*scopes))
    first, again = place(system).json(), place(system)
    assert (again.status_code, again.json()["code"]) == (409, "duplicate_order")
    assert again.json().get("order") == (first["number"] if is_named else None)


# ---- money is given back in the name of its owner ---------------------------------------------------------------


@pytest.fixture
def payment() -> Payment:
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    return payment


@pytest.fixture
def sue() -> User:
    return hire("sue", "ask_refund", "approve_refund")


def refund(client: Client, payment: Payment, amount: int = 900) -> Any:
    path = f"/api/v1/payments/{payment.number}/refunds"
    return client.post(path, {"amount": amount, "reason": "broken"}, content_type="application/json")


def test_refund_is_asked_for_by_the_key_and_its_owner(payment, sue):
    assert refund(by(make("refunds:write", owner=sue)), payment).status_code == 201
    assert Refund.objects.get().asked_by == "key till (sue)"
    assert set(Event.objects.filter(subject=Refund.objects.get().number).values_list("source")) == {("API",)}
    action = StaffAction.objects.get()
    assert (action.actor, action.is_done) == ("sue", True)
    assert "key till (sue)" in action.result


def test_owner_does_not_approve_what_their_key_has_asked_for(payment, sue, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund(by(make("refunds:write", owner=sue)), payment)
    number = Refund.objects.get().number
    with pytest.raises(OwnApproval):
        approve_refund(number, actor="sue")
    assert approve_refund(number, actor="tom").approved_by == "tom"


def test_database_refuses_that_too(payment, sue, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    refund(by(make("refunds:write", owner=sue)), payment)
    with pytest.raises(IntegrityError), transaction.atomic():
        Refund.objects.update(approved_by="sue")
    Refund.objects.update(approved_by="ue")


def lose_permission(user: User) -> None:
    user.user_permissions.clear()


def leave(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_work(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=False)


@pytest.mark.parametrize("happens", [lose_permission, leave, change_work])
def test_key_gives_nothing_back_once_its_owner_may_not(payment, sue, happens):
    system = by(make("refunds:write", owner=sue))
    happens(sue)
    assert refund(system, payment).status_code == 403
    assert not Refund.objects.exists()


# ---- while it waits ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_long_poll_of_a_key_that_is_revoked_meanwhile_ends_with_401():
    issued, order = make(), make_order()

    async def wait() -> tuple[int, float]:
        client, loop = AsyncClient(), asyncio.get_running_loop()
        began = loop.time()
        path = f"/api/v1/orders/{order.number}/status?since={order.version}&wait=20"
        polling = asyncio.create_task(client.get(path, headers={"Authorization": f"Api-Key {issued.shown}"}))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(revoke_key, issued.key.number)
        return (await polling).status_code, loop.time() - began

    status, took_s = asyncio.run(wait())
    assert status == 401
    assert took_s < 10
