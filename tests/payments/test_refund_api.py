"""`POST payments/{number}/refunds` and `GET refunds/{number}`: who may, what is refused, what is answered."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from orders.access import token_of
from payments import recording
from payments.models import Payment, Refund, StaffAction
from payments.settling import settle_payment
from shop.models import Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment() -> Payment:
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    return payment


@pytest.fixture
def staff() -> Client:
    """Somebody of the shop who may give money back."""
    return log_in(hire("sue", "view_payment", "view_refund", "ask_refund"))


def hire(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def log_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def ask(client: Client, payment: Payment, body: Any = None, **headers: str) -> Any:
    body = {"amount": 900, "reason": "broken"} if body is None else body
    path = f"/api/v1/payments/{payment.number}/refunds"
    return client.post(path, body, content_type="application/json", headers=headers)


def test_staff_give_money_back(staff, payment):
    answer = ask(staff, payment)
    assert answer.status_code == 201
    number = Refund.objects.get().number
    assert answer.json() == {
        "number": number,
        "payment": payment.number,
        "status": "REFUNDING",
        "amount": 900,
        "currency": "CNY",
        "reason": "broken",
    }
    assert staff.get(f"/api/v1/refunds/{number}").json() == answer.json()
    assert Refund.objects.get().asked_by == "sue"


def test_refund_above_the_limit_waits_for_approval(staff, payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 899
    assert ask(staff, payment).json()["status"] == "PENDING_APPROVAL"


def test_more_than_is_left_is_refused_with_what_is_left(staff, payment):
    ask(staff, payment)
    answer = ask(staff, payment, {"amount": 12001, "reason": "x"})
    assert (answer.status_code, answer.json()["code"], answer.json()["left"]) == (409, "over_refund", 12000)


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x"},
        {"amount": 900},
        {"amount": 0, "reason": "x"},
        {"amount": -1, "reason": "x"},
        {"amount": "900", "reason": "x"},
        {"amount": 9.5, "reason": "x"},
        {"amount": True, "reason": "x"},
        {"amount": 2**60, "reason": "x"},
        {"amount": 900, "reason": ""},
        {"amount": 900, "reason": "x" * 81},
        {"amount": 900, "reason": "x\ny"},
        {"amount": 900, "reason": "x", "currency": "USD"},
        [],
    ],
)
def test_bad_input_is_refused_and_changes_nothing(staff, payment, body):
    answer = ask(staff, payment, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert not Refund.objects.exists()


def test_shopper_reads_a_refund_and_cannot_make_one(staff, payment):
    ask(staff, payment)
    bearer = {"Authorization": f"Bearer {token_of(payment.order)}"}
    assert ask(Client(), payment, **bearer).status_code == 403
    number = Refund.objects.get().number
    assert Client().get(f"/api/v1/refunds/{number}", headers=bearer).status_code == 200


def test_stranger_finds_nothing(staff, payment):
    ask(staff, payment)
    assert ask(Client(), payment).status_code == 404
    for number in (Refund.objects.get().number, "R00000000000000000000000", "nonsense"):
        assert Client().get(f"/api/v1/refunds/{number}").status_code == 404


def test_staff_without_the_permission_may_not(payment):
    assert ask(log_in(hire("tom", "view_payment")), payment).status_code == 403
    assert not Refund.objects.exists()


def test_staff_who_may_not_see_payments_find_none(payment):
    assert ask(log_in(hire("tom", "ask_refund")), payment).status_code == 404
    assert not Refund.objects.exists()


def test_browser_session_needs_its_csrf_token(payment):
    user = User.objects.create_superuser("root")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert ask(client, payment).status_code == 403
    assert not Refund.objects.exists()


# ---- what staff did stands in both books -------------------------------------------------------------------------


def list_actions() -> list[tuple[str, str, str, bool]]:
    return list(StaffAction.objects.values_list("actor", "action", "reason", "is_done"))


def test_refund_stands_in_the_history_of_staff_and_in_the_log_of_the_admin(staff, payment):
    ask(staff, payment)
    assert list_actions() == [("sue", "refund_payment", "broken", True)]
    action = StaffAction.objects.get()
    assert (action.order_number, action.subject) == (payment.order.number, payment.number)
    logged = LogEntry.objects.get()
    assert (logged.user.username, logged.get_edited_object()) == ("sue", payment)
    for told in (action.result, logged.change_message):
        assert Refund.objects.get().number in told
        assert "¥9.00" in told


def test_same_refund_asked_for_again_is_written_down_once(staff, payment):
    for replayed in (None, "true"):
        answer = ask(staff, payment, **{"Idempotency-Key": "k1"})
        assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (201, replayed)
    assert (StaffAction.objects.count(), LogEntry.objects.count()) == (1, 1)


def test_refund_whose_process_died_before_it_was_written_down_is_written_down_by_the_second_try(
    staff, payment, monkeypatch
):
    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(recording, "write_down", die)
        with pytest.raises(RuntimeError):
            ask(staff, payment, **{"Idempotency-Key": "k1"})
    assert (Refund.objects.count(), list_actions()) == (1, [])
    assert ask(staff, payment, **{"Idempotency-Key": "k1"}).status_code == 201
    assert (Refund.objects.count(), list_actions()) == (1, [("sue", "refund_payment", "broken", True)])


def test_refusal_is_written_down_as_well(staff, payment):
    ask(staff, payment, {"amount": 12901, "reason": "too much"})
    assert list_actions() == [("sue", "refund_payment", "too much", False)]
    assert "refused" in LogEntry.objects.get().change_message


def test_break_off_is_written_down_as_well(staff, payment, monkeypatch):
    def break_off(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(recording, "ask_refund", break_off)
    with pytest.raises(RuntimeError):
        ask(staff, payment)
    assert list_actions() == [("sue", "refund_payment", "broken", False)]
    assert "broke off" in StaffAction.objects.get().result


def test_attempt_of_staff_without_the_permission_is_written_down_and_that_of_a_shopper_is_not(payment):
    ask(Client(), payment, Authorization=f"Bearer {token_of(payment.order)}")
    assert list_actions() == []
    ask(log_in(hire("tom", "view_payment")), payment)
    assert list_actions() == [("tom", "refund_payment", "", False)]
