"""The secrets of endpoints: sealed, shown once, and changed without a gap."""

from collections.abc import Iterator

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from standardwebhooks import Webhook

from payments.admin.deeds import address_of
from payments.deeds import find_deed
from payments.models import StaffAction
from shop.alarms import handle_now
from shop.clock import read_now
from shop.models import Alarm, Delivery, Endpoint
from shop.webhooks.endpoints import add_endpoint, rotate_secret
from shop.webhooks.errors import EndpointIsThere, SecretIsFresh
from shop.webhooks.signing import FORGET_SECRET, signing_secrets
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
    first = client.post(url, {"reason": "it was mailed around"}).content.decode()
    assert secret_of(first).startswith("whsec_")
    again = client.post(url, {"reason": "once more"}).content.decode()
    assert secret_of(again) == ""
    assert "the former one counts until" in again


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
    assert (receiver.url in moved.result, f"{receiver.url}/new" in moved.result) == (True, True)
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
