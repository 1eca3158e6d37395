"""Who may do what in the back office, written out. A page that is missing here, or a deed, fails the test."""

from collections.abc import Mapping

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from orders.models import Order
from payments.admin.deeds import address_of, links_for
from payments.channels.base import report_to_json
from payments.deeds import DEEDS, Deed
from payments.models import Callback, Case, Payment, Proposal, Receipt, Refund
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.keyring import make_key
from shop.models import BusinessEvent, Delivery, Endpoint, Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db
WHO = ("nobody", "Viewer", "Support", "Finance", "superuser")
# Staff without a group are nobody: they may log in and see nothing.
DEEDS_BY = """
                       nobody  Viewer  Support  Finance  superuser
cancel_order             no      no      yes      no        yes
ship_order               no      no      yes      no        yes
complete_order           no      no      yes      no        yes
resend_receipt           no      no      yes      no        yes
renew_link               no      no      yes      no        yes
ask_payment              no      no      yes      yes       yes
close_payment            no      no      yes      no        yes
refund_payment           no      no      yes      yes       yes
refund_receipt           no      no      yes      yes       yes
payback_receipt          no      no      yes      yes       yes
propose_settlement       no      no      yes      yes       yes
withdraw_settlement      no      no      yes      yes       yes
approve_settlement       no      no      no       yes       yes
reject_settlement        no      no      no       yes       yes
approve_refund           no      no      no       yes       yes
reject_refund            no      no      no       yes       yes
take_case                no      no      yes      yes       yes
assign_case              no      no      yes      yes       yes
resolve_case             no      no      yes      yes       yes
replay_callback          no      no      yes      yes       yes
test_endpoint            no      no      no       no        yes
switch_off_endpoint      no      no      no       no        yes
switch_on_endpoint       no      no      no       no        yes
resend_dead              no      no      no       no        yes
move_endpoint            no      no      no       no        yes
remove_endpoint          no      no      no       no        yes
resend_delivery          no      no      no       no        yes
change_scopes            no      no      no       no        yes
revoke_key               no      no      no       no        yes
"""
LISTS_BY = """
                           nobody  Viewer  Support  Finance  superuser
orders.order                 no      yes     yes      yes       yes
orders.product               no      yes     yes      yes       yes
payments.payment             no      yes     yes      yes       yes
payments.receipt             no      yes     yes      yes       yes
payments.refund              no      yes     yes      yes       yes
payments.callback            no      yes     yes      yes       yes
payments.refusedcallback     no      yes     yes      yes       yes
payments.call                no      yes     yes      yes       yes
payments.staffaction         no      yes     yes      yes       yes
payments.proposal            no      yes     yes      yes       yes
payments.case                no      yes     yes      yes       yes
payments.statement           no      yes     yes      yes       yes
payments.difference          no      yes     yes      yes       yes
shop.alarm                   no      yes     yes      yes       yes
shop.event                   no      yes     yes      yes       yes
shop.endpoint                no      yes     yes      yes       yes
shop.delivery                no      yes     yes      yes       yes
shop.apikey                  no      yes     yes      yes       yes
shop.heartbeat               no      yes     yes      yes       yes
shop.idempotencykey          no      yes     yes      yes       yes
django_q.schedule            no      no      no       no        yes
django_q.success             no      no      no       no        yes
django_q.failure             no      no      no       no        yes
django_q.ormq                no      no      no       no        yes
auth.user                    no      no      no       no        yes
auth.group                   no      no      no       no        yes
"""
OTHERS_BY = """
                                nobody  Viewer  Support  Finance  superuser
payments.view_raw_callback        no      no      no       yes       yes
payments.export_rows              no      no      yes      yes       yes
payments.reconcile_statement      no      no      no       yes       yes
shop.manage_endpoint              no      no      no       no        yes
shop.manage_key                   no      no      no       no        yes
orders.change_product             no      no      no       no        yes
orders.add_product                no      no      no       no        yes
"""


def read(table: str) -> dict[str, dict[str, bool]]:
    """Each row's name, with who may and who may not."""
    head, *rows = [line.split() for line in table.strip().splitlines()]
    assert tuple(head) == WHO
    assert all(set(answers) <= {"yes", "no"} and len(answers) == len(WHO) for _, *answers in rows)
    return {
        name: {who: word == "yes" for who, word in zip(WHO, answers, strict=True)} for name, *answers in rows
    }


@pytest.fixture
def staff() -> Mapping[str, User]:
    made = {"superuser": User.objects.create_superuser("root")}
    for who in WHO[:-1]:
        made[who] = User.objects.create_user(who.lower(), is_staff=True)
        made[who].groups.set(Group.objects.filter(name=who))
    return made


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def rows(settings) -> dict[type, object]:
    """One of each kind of row that something may be done to."""
    settings.REFUND_APPROVAL_ABOVE = 0
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    payment.refresh_from_db()
    refund = ask_refund(payment.number, amount=900, reason="broken", actor="somebody")
    kept = Callback.objects.create(
        channel="wechat", message_id="m", kind="k", number=payment.number, payment=payment, body=b"",
        report=report_to_json(report(payment)),
    )  # fmt: skip
    proposal = Proposal.objects.create(
        number="E1", payment=payment, evidence="word", channel_number="4", amount=1, currency="CNY",
        reason="told", asked_by="somebody",
    )  # fmt: skip
    endpoint = Endpoint.objects.create(url="https://partner.example/", secret="sealed")
    event = BusinessEvent.objects.create(type="order.paid", stream="N1", subject="N1")
    delivery = Delivery.objects.create(endpoint=endpoint, event=event)
    found = [payment.order, payment, payment.receipts.get(), refund, kept, proposal, Case.objects.get()]
    found += [endpoint, delivery, make_key("till", ["orders:read"]).key]
    return {type(row): row for row in found}


def test_every_deed_stands_in_the_table_and_nothing_else():
    assert sorted(read(DEEDS_BY)) == sorted(deed.name for deed in DEEDS)


def test_every_list_stands_in_the_table_and_nothing_else():
    assert sorted(read(LISTS_BY)) == sorted(model._meta.label_lower for model in admin.site._registry)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_deed_is_for_who_stands_in_the_table(staff, rows, deed: Deed):
    """Its page is refused for want of the permission, or not: a form without a word in it does nothing."""
    url = address_of(deed, rows[deed.model])
    for who, may in read(DEEDS_BY)[deed.name].items():
        client = client_of(staff[who])
        assert (client.get(url).status_code != 403) is may, who
        if not may:
            assert client.post(url, {"reason": "I want to."}).status_code == 403, who


@pytest.mark.parametrize("who", WHO)
def test_lists_are_for_who_stands_in_the_table(staff, who):
    """The home page leads to those that are, and all others are refused."""
    client = client_of(staff[who])
    shown = {
        model["model"]._meta.label_lower
        for app in client.get(reverse("admin:index")).context["app_list"]
        for model in app["models"]
    }
    expected = {label: answers[who] for label, answers in read(LISTS_BY).items()}
    assert shown == {label for label, may in expected.items() if may}
    for label in expected.keys() - shown:
        assert client.get(reverse(f"admin:{label.replace('.', '_')}_changelist")).status_code == 403, label


@pytest.mark.parametrize("permission", read(OTHERS_BY))
def test_permission_is_for_who_stands_in_the_table(staff, permission):
    assert {who: staff[who].has_perm(permission) for who in WHO} == read(OTHERS_BY)[permission]


def test_viewer_is_offered_nothing(staff, rows):
    assert [links_for(staff["Viewer"], row) for row in rows.values()] == [[]] * len(rows)


@pytest.mark.parametrize(
    "path",
    [
        "/orders/{order}/cancel/",
        "/orders/{order}/check/",
        "/orders/{order}/pay/",
        "/api/v1/orders/{order}/cancel",
        "/api/v1/orders/{order}/payments",
        "/api/v1/payments/{payment}/query",
    ],
)
def test_what_the_shopper_does_nobody_of_the_staff_does_without_being_the_shopper(staff, path):
    """Those who may see the order are told so; to others it looks as if there were none."""
    payment = make_payment(make_order())
    url, before = (
        path.format(order=payment.order.number, payment=payment.number),
        Order.objects.values().get(),
    )
    answers = {who: client_of(staff[who]).post(url).status_code for who in WHO}
    assert answers == {who: 404 if who == "nobody" else 403 for who in WHO}
    assert Order.objects.values().get() == before


@pytest.mark.parametrize("model", [Payment, Receipt, Refund, Callback, Proposal, Case])
def test_pages_are_read_only_for_everybody(staff, rows, model):
    row = rows[model]
    for action in ("change", "delete"):
        url = reverse(f"admin:payments_{model._meta.model_name}_{action}", args=[row.pk])
        assert {client_of(staff[who]).post(url, {"post": "yes"}).status_code for who in WHO} == {403}
