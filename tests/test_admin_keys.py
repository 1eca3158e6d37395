"""API keys in the back office and by command: made, rotated and revoked by who may, the secret shown once and kept nowhere."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments.admin.deeds import address_of
from payments.deeds import find_deed
from payments.models import StaffAction
from shop.keyring import BadKey, find_key, make_key, revoke_key
from shop.models import ApiKey

pytestmark = pytest.mark.django_db
NEW = "/admin/shop/apikey/new/"
SHOWN = re.compile(r"K[0-9A-Z]{11}\.[\w-]{43}")


@pytest.fixture
def ines() -> User:
    """Who looks after the other systems and sees the orders, and does nothing with money."""
    user = User.objects.create_user("ines", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=("Integration", "Viewer")))
    return user


@pytest.fixture
def back_office(ines) -> Client:
    return log_in(ines)


def log_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make(client: Client, **changed: Any) -> Any:
    wanted = {"name": "till", "scopes": ["orders:read"], "ends_on": "", "reason": "A new till."}
    return client.post(NEW, wanted | changed)


def shown_by(page: Any) -> str:
    (shown,) = set(SHOWN.findall(page.content.decode()))
    return str(shown)


def rotate(client: Client, key: ApiKey, **changed: Any) -> Any:
    url = reverse("admin:shop_apikey_secret", args=[key.pk])
    return client.post(url, {"old_for_h": 24, "reason": "It leaked."} | changed)


def everything_kept() -> str:
    rows = [*ApiKey.objects.values(), *StaffAction.objects.values(), *LogEntry.objects.values()]
    return json.dumps(rows, default=str)


# ---- in the back office ------------------------------------------------------------------------------------------


def test_key_is_made_and_shown_once(back_office, ines):
    page = make(back_office, scopes=["orders:read", "events:read"])
    key = find_key(shown_by(page))
    assert (key.name, key.scopes, key.owner) == ("till", ["orders:read", "events:read"], ines)
    assert page["Cache-Control"].startswith("max-age=0")
    secret = shown_by(page).split(".")[1]
    assert secret not in everything_kept()
    assert secret not in back_office.get(reverse("admin:shop_apikey_change", args=[key.pk])).content.decode()


def test_what_was_done_to_a_key_stands_in_the_history_of_staff(back_office):
    make(back_office)
    key = ApiKey.objects.get()
    rotate(back_office, key)
    deed = find_deed("revoke_key", ApiKey)
    back_office.post(address_of(deed, key), {"reason": "The till is gone."})
    told = StaffAction.objects.order_by("id").values_list("actor", "action", "subject", "reason")
    assert list(told) == [
        ("ines", "make_key", key.number, "A new till."),
        ("ines", "rotate_key", key.number, "It leaked."),
        ("ines", "revoke_key", key.number, "The till is gone."),
    ]


def test_last_day_of_a_key_is_whole(back_office):
    day = timezone.localdate() + timedelta(days=3)
    make(back_office, ends_on=day.isoformat())
    left = ApiKey.objects.get().expires_at - timezone.now()
    assert timedelta(days=2) < left <= timedelta(days=5)


@pytest.mark.parametrize(
    "changed",
    [{"name": ""}, {"scopes": []}, {"scopes": ["orders:delete"]}, {"reason": ""}, {"ends_on": "soon"},
     {"ends_on": "2001-01-01"}],
)  # fmt: skip
def test_form_that_makes_no_sense_is_shown_again(back_office, changed):
    assert make(back_office, **changed).status_code == 200
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("scope", ["orders:read", "payments:read", "refunds:read"])
def test_who_may_not_see_something_makes_no_key_that_does_and_is_given_none(ines, scope):
    ines.groups.set(Group.objects.filter(name="Integration"))
    client, key = log_in(ines), make_key("till", ["events:read", scope]).key
    assert scope in make(client, name="other", scopes=["events:read", scope]).content.decode()
    rotate(client, key)
    key.refresh_from_db()
    assert (ApiKey.objects.count(), key.old_hash) == (1, "")


def test_who_may_not_see_something_may_take_it_from_a_key_and_not_give_it(ines):
    ines.groups.set(Group.objects.filter(name="Integration"))
    key = make_key("till", ["orders:read", "events:read"]).key
    wish = address_of(find_deed("change_scopes", ApiKey), key)
    for scopes in (["events:read"], ["events:read", "orders:read"]):
        log_in(ines).post(wish, {"scopes": scopes, "reason": "Less."})
        key.refresh_from_db()
        assert key.scopes == ["events:read"]


def test_who_may_not_give_money_back_makes_no_key_that_does(back_office):
    assert "needs an owner" in make(back_office, scopes=["refunds:write"]).content.decode()
    assert not ApiKey.objects.exists()


def test_nobody_else_gets_a_secret_of_a_key_that_gives_money_back_in_its_owners_name(back_office):
    sue = User.objects.create_user("sue", is_staff=True)
    sue.user_permissions.set(Permission.objects.filter(codename="ask_refund"))
    key = make_key("refunder", ["refunds:write"], owner=sue).key
    assert "only its owner" in rotate(back_office, key).content.decode()
    deed = find_deed("change_scopes", ApiKey)
    other = make_key("reader", ["orders:read"], owner=sue).key
    answer = back_office.post(address_of(deed, other), {"scopes": ["refunds:write"], "reason": "x"})
    assert answer.status_code == 409
    other.refresh_from_db()
    assert other.scopes == ["orders:read"]


def test_new_secret_takes_the_place_of_the_old_one_after_its_time(back_office):
    old = make_key("till", ["orders:read"])
    new = shown_by(rotate(back_office, old.key))
    assert find_key(new) == find_key(old.shown)
    assert "short time ago" in rotate(back_office, old.key).content.decode()
    newest = shown_by(rotate(back_office, old.key, old_for_h=0))
    find_key(newest)
    for shown in (old.shown, new):
        with pytest.raises(BadKey):
            find_key(shown)


def test_scopes_of_a_key_are_changed(back_office):
    key = make_key("till", ["orders:read"]).key
    deed = find_deed("change_scopes", ApiKey)
    back_office.post(address_of(deed, key), {"scopes": ["events:read"], "reason": "It only listens."})
    key.refresh_from_db()
    assert key.scopes == ["events:read"]


def test_help_says_that_reading_orders_shows_personal_data(back_office):
    assert "personal data" in back_office.get(NEW).content.decode()


def test_name_that_would_read_like_an_owner_is_refused_in_the_form(back_office):
    assert "parentheses" in make(back_office, name="till (sue)").content.decode()
    assert not ApiKey.objects.exists()


def test_others_look_and_make_nothing():
    user = User.objects.create_user("vic", is_staff=True)
    user.groups.add(Group.objects.get(name="Viewer"))
    client, key = log_in(user), make_key("till", ["orders:read"]).key
    assert client.get(reverse("admin:shop_apikey_changelist")).status_code == 200
    assert make(client).status_code == 403
    assert rotate(client, key).status_code == 403
    assert ApiKey.objects.count() == 1


# ---- by command --------------------------------------------------------------------------------------------------


def run(capsys: Any, *words: str) -> Any:
    call_command("api_keys", *words)
    return json.loads(capsys.readouterr().out)


def test_command_makes_rotates_and_revokes_a_key(capsys):
    sue = User.objects.create_superuser("sue")
    made = run(capsys, "make", "till", "--scope", "refunds:write", "--owner", "sue", "--days", "90", "--json")
    assert find_key(made["key"]).owner == sue
    rotated = run(capsys, "rotate", made["number"], "--json")
    assert find_key(rotated["key"]) == find_key(made["key"])
    assert [row["name"] for row in run(capsys, "list", "--json")] == ["till"]
    assert run(capsys, "revoke", made["number"], "--json")["revoked_at"]
    assert run(capsys, "--json") == []


def test_what_a_command_does_to_a_key_stands_in_the_history_of_staff_without_its_secret(capsys):
    call_command("api_keys", "make", "till", "--scope", "orders:read")
    key = ApiKey.objects.get()
    call_command("api_keys", "--by", "ines", "rotate", key.number, "--old-for", "0")
    call_command("api_keys", "--by", "ines", "revoke", key.number)
    told = StaffAction.objects.order_by("id").values_list("actor", "action", "subject", "result")
    assert list(told) == [
        ("command line", "make_key", key.number, "till: orders:read"),
        ("ines", "rotate_key", key.number, "old_for_h=0"),
        ("ines", "revoke_key", key.number, "till"),
    ]


def test_list_ends_with_1_while_a_key_ends_soon(capsys):
    make_key("till", ["orders:read"], expires_at=timezone.now() + timedelta(days=3))
    with pytest.raises(SystemExit) as end:
        call_command("api_keys")
    assert end.value.code == 1
    assert "till" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["make", "till (sue)", "--scope", "orders:read"],
        ["make", "till", "--scope", "refunds:write"],
        ["make", "till", "--scope", "refunds:write", "--owner", "nobody"],
        ["make", "till", "--scope", "orders:read", "--days", "0"],
        ["rotate", "K0000000000"],
        ["revoke", "K0000000000"],
    ],
)
def test_wrong_call_of_the_command_ends_with_2(words):
    with pytest.raises(CommandError) as refused:
        call_command("api_keys", *words)
    assert refused.value.returncode == 2
    assert not ApiKey.objects.exists()


def test_revoked_key_is_named_to_nobody(capsys):
    revoke_key(make_key("till", ["orders:read"], expires_at=timezone.now() + timedelta(days=3)).key.number)
    assert run(capsys, "--json") == []
