"""Staff read everything about money in the admin, and edit none of it."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from orders.models import Order, OrderLine, Product
from payments.models import Callback, Case, Payment, Receipt, Refund
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.models import Alarm, Event, Heartbeat, IdempotencyKey, Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db

MONEY = [Order, Payment, Receipt, Refund, Callback, Case, Alarm, Event, Heartbeat, IdempotencyKey]


@pytest.fixture
def order() -> Order:
    order = make_order()
    IdempotencyKey.objects.create(scope="orders", key="k1", subject=order.number, status=201)
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    settle_payment(report(payment, channel_number="second"), channel="wechat", source=Source.CALLBACK)
    Callback.objects.create(
        channel="wechat", message_id="m", kind="TRANSACTION.SUCCESS", number=payment.number,
        payment=payment, body=b'{"<b>": 1}', report={},
    )  # fmt: skip
    Case.objects.create(kind="mismatch", subject="x", order=order, deadline=order.created_at)
    Heartbeat.objects.create(name="watch", at=order.created_at)
    return order


def url(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", MONEY)
def test_list_and_page_can_be_read(admin_client, order, model):
    assert admin_client.get(url(model, "changelist")).status_code == 200
    row = model.objects.first()
    assert admin_client.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", MONEY)
def test_superuser_can_neither_add_nor_change_nor_delete(admin_client, order, model):
    row = model.objects.first()
    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "change", row.pk), {}).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", MONEY)
def test_nobody_else_sees_it(client, order, model):
    assert client.get(url(model, "changelist")).status_code == 302


def test_every_model_of_ours_is_in_the_admin_or_part_of_a_page():
    registered = {
        model for model in admin.site._registry if model._meta.app_label in {"shop", "orders", "payments"}
    }
    assert registered == {*MONEY, Product}
    assert OrderLine not in registered


def test_order_page_begins_with_its_story(admin_client, order):
    page = admin_client.get(url(Order, "change", order.pk)).content.decode()
    positions = [page.index(word) for word in ("UNPAID", "PAYING", "PAID", "READY_FOR_SHIPMENT", "REFUNDING")]
    assert positions[0] < positions[1]
    assert page.index('class="story"') < page.index("Anna Lin")


def test_body_of_a_callback_is_shown_escaped(admin_client, order):
    page = admin_client.get(url(Callback, "change", Callback.objects.get().pk)).content.decode()
    assert "{&quot;&lt;b&gt;&quot;: 1}" in page


@pytest.mark.parametrize("model", [Order, Payment, Receipt, Refund, Event])
def test_lists_take_the_same_statements_whatever_their_length(
    admin_client, order, model, django_assert_max_num_queries
):
    with django_assert_max_num_queries(8):
        admin_client.get(url(model, "changelist"))


def test_saving_a_product_does_not_overwrite_what_was_sold_meanwhile(admin_client, order):
    product = Product.objects.get()
    Product.objects.update(stock=3)
    form = {
        "sku": product.sku,
        "name": "New name",
        "price": product.price,
        "currency": "CNY",
        "is_sold": "on",
    }
    assert admin_client.post(url(Product, "change", product.pk), form).status_code == 302
    product.refresh_from_db()
    assert (product.name, product.stock) == ("New name", 3)


def test_new_product_is_added_with_its_stock(admin_client):
    form = {"sku": "vase", "name": "Vase", "price": 500, "currency": "CNY", "stock": 7, "is_sold": "on"}
    assert admin_client.post(url(Product, "add"), form).status_code == 302
    assert Product.objects.get().stock == 7


@pytest.mark.parametrize("name", ["schedule", "ormq", "success", "failure"])
def test_the_task_queue_can_be_looked_at_and_not_touched(admin_client, name):
    assert admin_client.get(reverse(f"admin:django_q_{name}_changelist")).status_code == 200
    assert admin_client.get(reverse(f"admin:django_q_{name}_add")).status_code == 403


@pytest.fixture
def waiting(order, settings) -> Refund:
    """A refund that sue asked for, above the limit."""
    settings.REFUND_APPROVAL_ABOVE = 0
    return ask_refund(order.payments.get().number, amount=900, reason="broken", actor="sue")


def act(client: Client, action: str, refund: Refund) -> str:
    form = {"action": action, "_selected_action": [refund.pk]}
    told = client.post(url(Refund, "changelist"), form, follow=True).content.decode()
    refund.refresh_from_db()
    return told


@pytest.mark.parametrize(("action", "status"), [("approve", "REFUNDING"), ("reject", "REJECTED")])
def test_second_person_decides_about_a_refund_that_waits(admin_client, waiting, action, status):
    assert f"{waiting.number} is {status}." in act(admin_client, action, waiting)
    assert waiting.status == status


def test_who_asked_for_a_refund_cannot_approve_it(admin_client, admin_user, waiting):
    Refund.objects.filter(pk=waiting.pk).update(asked_by=admin_user.username)
    assert "somebody else" in act(admin_client, "approve", waiting)
    assert waiting.status == "PENDING_APPROVAL"


def test_refund_is_decided_by_staff_with_the_permission_only(client, django_user_model, waiting):
    tom = django_user_model.objects.create_user("tom", is_staff=True)
    tom.user_permissions.add(Permission.objects.get(codename="view_refund"))
    client.force_login(tom)
    act(client, "approve", waiting)
    assert waiting.status == "PENDING_APPROVAL"


# ---- cases -------------------------------------------------------------------------------------------------------


@pytest.fixture
def case(order) -> Case:
    """A receipt that cannot be delivered."""
    return Case.objects.create(kind="mail", subject=order.number, order=order, deadline=order.created_at)


def decide(client: Client, action: str, *cases: Case, resolution: str = "") -> str:
    form = {"action": action, "_selected_action": [case.pk for case in cases], "resolution": resolution}
    told = client.post(url(Case, "changelist"), form, follow=True).content.decode()
    for case in cases:
        case.refresh_from_db()
    return told


def test_staff_take_a_case_and_everybody_sees_whose_it_is(admin_client, admin_user, case):
    assert f"{case.subject} is yours." in decide(admin_client, "take", case)
    assert case.owner == admin_user
    page = admin_client.get(url(Case, "changelist")).content.decode()
    assert f'<td class="field-owner nowrap">{admin_user.username}</td>' in page


def test_case_of_somebody_else_is_not_taken_and_their_name_is_shown(admin_client, django_user_model, case):
    tom = django_user_model.objects.create_user("tom")
    Case.objects.filter(pk=case.pk).update(owner=tom)
    assert "tom looks after this case." in decide(admin_client, "take", case)
    assert case.owner == tom


def test_staff_resolve_a_case_and_say_how(admin_client, admin_user, case):
    assert "is resolved." in decide(admin_client, "resolve", case, resolution="Called her.")
    assert (case.owner, case.resolution) == (admin_user, "Called her.")
    assert case.resolved_at is not None


@pytest.mark.parametrize("resolution", ["", "x" * 301])
def test_case_is_not_resolved_without_a_word_or_with_too_many(admin_client, case, resolution):
    assert "Say how it was resolved" in decide(admin_client, "resolve", case, resolution=resolution)
    assert case.resolved_at is None


def test_case_that_money_hangs_on_says_what_to_do_instead_and_the_others_are_resolved(
    admin_client, waiting, case
):
    approval = Case.objects.get(kind="approval")
    told = decide(admin_client, "resolve", approval, case, resolution="Never mind.")
    assert "Approve or reject the refund" in told
    assert (approval.resolved_at, case.resolution) == (None, "Never mind.")


@pytest.mark.parametrize("action", ["take", "resolve"])
def test_case_is_decided_by_staff_with_the_permission_only(client, django_user_model, case, action):
    tom = django_user_model.objects.create_user("tom", is_staff=True)
    tom.user_permissions.add(Permission.objects.get(codename="view_case"))
    client.force_login(tom)
    decide(client, action, case, resolution="Called her.")
    assert (case.owner, case.resolved_at) == (None, None)
    tom.user_permissions.add(Permission.objects.get(codename="change_case"))
    decide(client, action, case, resolution="Called her.")
    assert case.owner == tom
