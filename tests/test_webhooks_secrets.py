"""The secrets of endpoints: sealed, shown once, and changed without a gap."""

import re
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from standardwebhooks import Webhook

from payments import doctor
from payments.admin.deeds import address_of, page_of
from payments.deeds import find_deed
from payments.models import Case, StaffAction
from shop.alarms import handle_now
from shop.clock import read_now
from shop.models import Alarm, Delivery, Endpoint
from shop.webhooks.endpoints import add_endpoint, change_address, rotate_secret, send_test
from shop.webhooks.errors import BadTime, EndpointIsThere, SecretIsFresh
from shop.webhooks.sending import Answer
from shop.webhooks.signing import FORGET_SECRET, MOST_OLD_FOR_H, signing_secrets
from shop.webhooks.switching import remove_endpoint
from tests.listening import Listener, listening, status
from tests.telling import pass_time, tell, work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(settings) -> Iterator[Listener]:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with listening() as listener:
        yield listener


@pytest.fixture
def ines(client) -> User:
    """Of Integration; the client is hers."""
    ines = User.objects.create_user("ines", is_staff=True)
    ines.groups.set(Group.objects.filter(name="Integration"))
    client.force_login(ines)
    return ines


def last_verifies(receiver: Listener, secret: str) -> bool:
    letter = receiver.letters[-1]
    try:
        Webhook(secret).verify(letter.body, letter.headers)
    except Exception:  # noqa: BLE001 - whatever a receiver's library says, it is a no
        return False
    return True


def test_row_keeps_no_secret_that_can_be_read(receiver):
    made = add_endpoint(receiver.url)
    kept = Endpoint.objects.values_list("secret", flat=True).get()
    assert made.secret not in kept
    assert made.secret.removeprefix("whsec_") not in kept


def test_two_living_endpoints_have_not_one_address(receiver):
    add_endpoint(receiver.url)
    with pytest.raises(EndpointIsThere):
        add_endpoint(receiver.url)


@pytest.mark.parametrize(
    ("url", "again"),
    [
        ("https://erp.example.com/hooks", "https://ERP.example.com/hooks"),
        ("https://erp.example.com/hooks", "HTTPS://erp.example.com/hooks"),
        ("https://erp.example.com/hooks", "https://erp.example.com:443/hooks"),
        ("https://erp.example.com/hooks", "https://erp.example.com./hooks"),
        ("https://erp.example.com/", "https://erp.example.com"),
        ("https://erp.example.com?shop=1", "https://erp.example.com/?shop=1"),
        ("https://[2606:4700::1111]/", "https://[2606:4700:0:0::1111]/"),
    ],
    ids=["letters", "scheme", "port", "dot", "path", "query", "number"],
)
def test_address_that_is_written_otherwise_is_the_same_address(url, again):
    add_endpoint(url)
    moved = add_endpoint("https://other.example.com/")
    with pytest.raises(EndpointIsThere):
        add_endpoint(again)
    with pytest.raises(EndpointIsThere):
        change_address(moved.endpoint.number, again)


def test_addresses_of_one_host_that_are_not_the_same_are_told_apart():
    for rest in ("/hooks", "/Hooks", "/hooks?shop=a", "/hooks?shop=A", "/hooks/", ":8443/hooks"):
        assert add_endpoint(f"https://erp.example.com{rest}").endpoint.url.endswith(rest)


def test_both_secrets_count_for_a_day_after_a_change(receiver):
    former = add_endpoint(receiver.url)
    new = rotate_secret(former.endpoint.number)
    tell("N1")
    work()
    assert last_verifies(receiver, former.secret)
    assert last_verifies(receiver, new.secret)
    pass_time(hours=24)
    tell("N2")
    work()
    assert not last_verifies(receiver, former.secret)
    assert last_verifies(receiver, new.secret)


def test_second_change_that_ends_both_leaves_only_the_newest_which_signs_alone(receiver):
    former = add_endpoint(receiver.url)
    lost = rotate_secret(former.endpoint.number)
    newest = rotate_secret(former.endpoint.number, old_for_h=0)
    tell("N1")
    work()
    verified = [last_verifies(receiver, made.secret) for made in (former, lost, newest)]
    assert verified == [False, False, True]
    assert Endpoint.objects.get().old_secret == ""
    assert not Alarm.objects.filter(kind=FORGET_SECRET).exists()


@pytest.mark.parametrize("hours", [-1, MOST_OLD_FOR_H + 1])
def test_former_secret_counts_for_no_time_that_makes_no_sense(receiver, hours):
    made = add_endpoint(receiver.url)
    with pytest.raises(BadTime):
        rotate_secret(made.endpoint.number, old_for_h=hours)
    assert signing_secrets(Endpoint.objects.get(), read_now()) == [made.secret]


def test_endpoint_is_found_by_its_number_in_small_letters_and_its_alarms_go_with_it(receiver):
    number = add_endpoint(receiver.url).endpoint.number
    rotate_secret(number.lower())
    assert Alarm.objects.get().subject == number
    remove_endpoint(number.lower())
    assert not Alarm.objects.exists()


def test_removed_endpoint_keeps_neither_secret(receiver):
    number = add_endpoint(receiver.url).endpoint.number
    rotate_secret(number)
    remove_endpoint(number)
    endpoint = Endpoint.objects.get()
    assert (endpoint.secret, endpoint.old_secret, endpoint.old_until) == ("", "", None)


# ---- that cannot be opened -----------------------------------------------------------------------------------------


@pytest.fixture
def sealed_elsewhere(receiver) -> Endpoint:
    """Of a database that was restored beside another SECRET_KEY."""
    made = add_endpoint(receiver.url, note="stock")
    other = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    Endpoint.objects.update(secret=other)
    return made.endpoint


def test_endpoint_whose_secret_cannot_be_opened_fails_like_any_other(receiver, sealed_elsewhere):
    tell("N1")
    work()
    assert receiver.letters == []
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.tries, delivery.answer) == ("WAITING", 1, "no secret")
    sealed_elsewhere.refresh_from_db()
    assert sealed_elsewhere.failures == 1
    assert not Case.objects.exists()


def test_test_of_an_endpoint_whose_secret_cannot_be_opened_says_so(client, ines, sealed_elsewhere):
    assert send_test(sealed_elsewhere.number) == Answer(0, "no secret")
    assert "was not taken: no secret" in do(client, "test_endpoint", sealed_elsewhere)


def test_former_secret_that_cannot_be_opened_leaves_the_new_one_signing(receiver, sealed_elsewhere):
    new = rotate_secret(sealed_elsewhere.number)
    tell("N1")
    work()
    assert last_verifies(receiver, new.secret)


def test_doctor_names_the_endpoint_whose_secret_cannot_be_opened(sealed_elsewhere):
    [found] = doctor._examine_endpoints()
    assert found.verdict is doctor.Verdict.WRONG
    assert sealed_elsewhere.number in found.detail
    rotate_secret(sealed_elsewhere.number)
    [found] = doctor._examine_endpoints()
    assert found.verdict is doctor.Verdict.FINE


def test_second_change_does_not_kill_the_secret_that_the_receiver_still_has(receiver):
    made = add_endpoint(receiver.url)
    rotate_secret(made.endpoint.number)
    with pytest.raises(SecretIsFresh):
        rotate_secret(made.endpoint.number)
    assert made.secret in signing_secrets(Endpoint.objects.get(), read_now())
    pass_time(hours=24)
    rotate_secret(made.endpoint.number)


def test_former_secret_is_erased_when_its_time_is_over(receiver):
    made = add_endpoint(receiver.url)
    rotate_secret(made.endpoint.number)
    assert Alarm.objects.get(kind=FORGET_SECRET).due_at > read_now()
    handle_now(FORGET_SECRET, made.endpoint.number)
    assert Endpoint.objects.get().old_secret != ""
    pass_time(hours=24)
    handle_now(FORGET_SECRET, made.endpoint.number)
    endpoint = Endpoint.objects.get()
    assert (endpoint.old_secret, endpoint.old_until) == ("", None)
    assert not Alarm.objects.exists()


# ---- in the back office ------------------------------------------------------------------------------------------


def secret_of(page: str) -> str:
    _, _, rest = page.partition('id="secret">')
    return rest.partition("<")[0]


def add(client: Client, url: str, **more: str) -> str:
    form = {"url": url, "note": "stock", **more}
    return client.post(reverse("admin:shop_endpoint_new"), form).content.decode()


def test_secret_is_shown_once_and_kept_in_no_book(client, ines, receiver):
    answer = client.post(reverse("admin:shop_endpoint_new"), {"url": receiver.url, "note": "stock"})
    secret = secret_of(answer.content.decode())
    assert secret.startswith("whsec_")
    assert "no-store" in answer["Cache-Control"]
    endpoint = Endpoint.objects.get()
    page = client.get(reverse("admin:shop_endpoint_change", args=[endpoint.pk])).content.decode()
    assert secret not in page
    assert "whsec_" not in page
    books = [*StaffAction.objects.values_list("result", "reason")]
    books += [*LogEntry.objects.values_list("change_message", "object_repr")]
    books += [*Session.objects.values_list("session_data", "session_key")]
    assert secret not in str(books)
    assert StaffAction.objects.get().action == "add_endpoint"


def test_changed_secret_is_shown_once_and_a_second_change_is_refused_in_words(client, ines, receiver):
    endpoint = add_endpoint(receiver.url).endpoint
    url = reverse("admin:shop_endpoint_secret", args=[endpoint.pk])
    first = client.post(url, {"reason": "it was mailed around", "old_for_h": "24"}).content.decode()
    assert secret_of(first).startswith("whsec_")
    again = client.post(url, {"reason": "once more", "old_for_h": "24"}).content.decode()
    assert secret_of(again) == ""
    assert "the former one counts until" in again


def test_secret_that_nobody_has_kept_is_replaced_by_ending_both_at_once(client, ines, receiver):
    endpoint = add_endpoint(receiver.url).endpoint
    url = reverse("admin:shop_endpoint_secret", args=[endpoint.pk])
    client.post(url, {"reason": "pressed twice", "old_for_h": "24"})
    page = client.post(url, {"reason": "nobody has seen it", "old_for_h": "0"}).content.decode()
    assert secret_of(page) in signing_secrets(Endpoint.objects.get(), read_now())
    assert "No former secret counts any more." in page
    assert Endpoint.objects.get().old_secret == ""


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("https://localhost/", "not in the open world"),
        ("https://2130706433/", "no usual way"),
        ("https://[::ffff:127.0.0.1]/", "not in the open world"),
        ("http://erp.example.com/", "Only https"),
    ],
)
def test_address_that_may_not_be_called_is_refused_beside_its_field(client, ines, settings, url, because):
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    assert because in add(client, url)
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("who", ["Viewer", "Support", "Finance"])
def test_who_may_not_manage_endpoints_sees_them_and_changes_none(client, receiver, who):
    staff = User.objects.create_user("somebody", is_staff=True)
    staff.groups.set(Group.objects.filter(name=who))
    client.force_login(staff)
    endpoint = add_endpoint(receiver.url).endpoint
    page = client.get(reverse("admin:shop_endpoint_change", args=[endpoint.pk]))
    assert page.status_code == 200
    assert b"Change the secret" not in page.content
    for name, args in (("new", []), ("secret", [endpoint.pk])):
        assert client.post(reverse(f"admin:shop_endpoint_{name}", args=args)).status_code == 403


PAGES = (
    "shop_endpoint_changelist",
    "shop_endpoint_change",
    "shop_delivery_changelist",
    "shop_delivery_change",
    "payments_case_changelist",
    "payments_case_change",
    "payments_staffaction_changelist",
)


@pytest.fixture
def moved(client, ines, receiver) -> Endpoint:
    """An endpoint without a note, whose addresses hold secrets of the receiver's: added, moved and switched off."""
    add(client, f"{receiver.url}/aaaa1111?token=bbbb2222", note="erp")
    endpoint = Endpoint.objects.get()
    Endpoint.objects.update(note="")
    do(client, "move_endpoint", endpoint, url=f"{receiver.url}/cccc3333?token=dddd4444")
    receiver.usual = status(410)
    tell("N1")
    work()
    return endpoint


@pytest.mark.parametrize("who", ["Viewer", "Support", "Finance"])
def test_who_may_not_manage_endpoints_sees_on_no_page_what_stands_behind_the_host(client, moved, who):
    staff = User.objects.create_user("somebody", is_staff=True)
    staff.groups.set(Group.objects.filter(name=who))
    client.force_login(staff)
    rows = {"endpoint": moved.pk, "delivery": Delivery.objects.get().pk, "case": Case.objects.get().pk}
    for name in PAGES:
        args = [rows[name.split("_")[1]]] if name.endswith("change") else []
        page = client.get(reverse(f"admin:{name}", args=args))
        assert page.status_code == 200, name
        for secret in (b"aaaa1111", b"bbbb2222", b"cccc3333", b"dddd4444", b"/hooks"):
            assert secret not in page.content, name
    assert "dddd4444" not in str(list(LogEntry.objects.values_list("change_message", "object_repr")))


def test_who_may_manage_endpoints_sees_the_whole_address(client, ines, moved):
    page = client.get(reverse("admin:shop_endpoint_change", args=[moved.pk])).content.decode()
    assert "/cccc3333?token=dddd4444" in page


def test_case_about_an_endpoint_says_in_words_why_it_is_off(client, ines, moved, admin_client):
    page = admin_client.get(reverse("admin:payments_case_change", args=[Case.objects.get().pk]))
    assert "it said that it is gone (410)" in page.content.decode()
    assert "GONE" not in page.content.decode()


def test_removed_endpoint_is_listed_only_for_who_asks_for_it(client, ines, receiver):
    endpoint = add_endpoint(receiver.url, note="old stock").endpoint
    tell("N1")
    remove_endpoint(endpoint.number)
    url = reverse("admin:shop_endpoint_changelist")
    seen = ["old stock" in client.get(url, asked).content.decode() for asked in ({}, {"removed": "yes"})]
    assert seen == [False, True]
    assert client.get(reverse("admin:shop_endpoint_change", args=[endpoint.pk])).status_code == 200


def test_times_of_endpoints_and_deliveries_are_written_as_elsewhere(client, ines, receiver):
    endpoint = add_endpoint(receiver.url).endpoint
    tell("N1")
    work()
    delivery = Delivery.objects.get()
    endpoint.refresh_from_db()
    for row, at in ((endpoint, endpoint.created_at), (delivery, delivery.tried_at)):
        page = client.get(page_of(row)).content.decode()
        assert re.search(rf"\d{{4}}-\d\d-\d\d \d\d:{at:%M:%S}", page)


def test_title_of_a_delivery_is_in_the_language_of_whoever_reads(receiver):
    add_endpoint(receiver.url, note="stock")
    tell("N1")
    assert str(Delivery.objects.get()) == "order.paid N1/1 to stock"


def do(client: Client, name: str, row: Endpoint | Delivery, **form: str) -> str:
    answer = client.post(
        address_of(find_deed(name, type(row)), row), {"reason": "because", **form}, follow=True
    )
    return answer.content.decode()


def test_staff_test_switch_move_and_remove_and_the_history_says_so(client, ines, receiver):
    endpoint = add_endpoint(receiver.url, note="stock").endpoint
    assert "has taken the test" in do(client, "test_endpoint", endpoint)
    receiver.usual = status(503)
    assert "was not taken: 503" in do(client, "test_endpoint", endpoint)
    assert "is switched off" in do(client, "switch_off_endpoint", endpoint)
    assert "is switched on" in do(client, "switch_on_endpoint", endpoint)
    do(client, "move_endpoint", endpoint, url=f"{receiver.url}/new")
    moved = StaffAction.objects.get(action="move_endpoint")
    assert moved.result == "From 127.0.0.1 to 127.0.0.1"
    do(client, "remove_endpoint", endpoint)
    assert "This endpoint was removed" in do(client, "test_endpoint", endpoint)
    assert StaffAction.objects.filter(subject=endpoint.number, is_done=True).count() == 5


def test_reason_of_a_person_is_sent_to_nobody(client, ines, receiver):
    endpoint = add_endpoint(receiver.url).endpoint
    do(client, "test_endpoint", endpoint, reason="they are hopeless")
    do(client, "switch_off_endpoint", endpoint, reason="they are hopeless")
    assert all(b"hopeless" not in letter.body for letter in receiver.letters)


def test_page_of_an_endpoint_tells_how_it_fares(client, ines, receiver):
    endpoint = add_endpoint(receiver.url, note="stock").endpoint
    receiver.usual = status(503)
    tell("N1", "N2")
    work()
    Delivery.objects.filter(event__stream="N2").update(status="DEAD")
    page = client.get(reverse("admin:shop_endpoint_change", args=[endpoint.pk])).content.decode()
    assert "Failing" in page
    assert "503" in page
    assert "Send again what was given up" in page
    listed = client.get(reverse("admin:shop_endpoint_changelist")).content.decode()
    assert "stock" in listed
    assert "Add an endpoint" in listed


def test_delivery_that_was_given_up_is_sent_again_from_its_page(client, ines, receiver):
    add_endpoint(receiver.url)
    tell("N1")
    Delivery.objects.update(status="DEAD")
    delivery = Delivery.objects.get()
    page = client.get(reverse("admin:shop_delivery_change", args=[delivery.pk])).content.decode()
    assert "Send now" in page
    do(client, "resend_delivery", delivery)
    work()
    assert Delivery.objects.get().status == "TAKEN"
    listed = client.get(reverse("admin:shop_delivery_changelist"), {"q": "N1"}).content.decode()
    assert delivery.event.number in listed
