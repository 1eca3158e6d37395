"""Staff read everything about money in the admin, and edit none of it."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orders.models import Order, OrderLine, Product
from payments.admin.masking import mask_body
from payments.models import (
    Call,
    Callback,
    Case,
    Difference,
    Payment,
    Proposal,
    Receipt,
    Refund,
    RefusedCallback,
    StaffAction,
    Statement,
)
from payments.settling import settle_payment
from shop import admin as shop_admin
from shop.models import Alarm, ApiKey, Delivery, Endpoint, Event, Heartbeat, IdempotencyKey, Source
from tests.factories import make_order, make_payment, report
from tests.statements import make_statement, sale

pytestmark = pytest.mark.django_db

OF_PAYMENTS = [
    Payment, Receipt, Refund, Callback, Case, Call, RefusedCallback, StaffAction, Proposal, Statement, Difference,
]  # fmt: skip
HEADERS = {"content-type": "application/json", "wechatpay-signature": "c2lnbmF0dXJl"}
MONEY = [Order, *OF_PAYMENTS, Alarm, Event, Heartbeat, IdempotencyKey]


@pytest.fixture
def order() -> Order:
    return make_world()


def make_world() -> Order:
    """An order with one more row of everything about it."""
    order = make_order()
    IdempotencyKey.objects.create(scope="orders", key=order.number, subject=order.number, status=201)
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    settle_payment(
        report(payment, channel_number=f"second{payment.pk}"), channel="wechat", source=Source.CALLBACK
    )
    Callback.objects.create(
        channel="wechat", message_id=payment.number, kind="TRANSACTION.SUCCESS", number=payment.number,
        payment=payment, body=b'{"<b>": 1, "sign": "abcdefgh"}', report={"amount_minor": 1}, headers=HEADERS,
    )  # fmt: skip
    Case.objects.create(kind="mismatch", subject=order.number, order=order, deadline=order.created_at)
    Heartbeat.objects.create(name=f"watch {order.number}", at=order.created_at)
    make_history(order, payment)
    return order


def make_history(order: Order, payment: Payment) -> None:
    """What was said and done around it, and the books of its day: a row of each."""
    told = {"order_number": order.number, "channel": "wechat"}
    Call.objects.create(
        operation="query", subject=payment.number, outcome="open", took_ms=9, source="QUERY", **told
    )
    RefusedCallback.objects.create(
        number=payment.number, reason="bad signature", body=b"sign=abcdef&x=1", **told
    )
    StaffAction.objects.create(
        order_number=order.number, action="ask_payment", subject=payment.number, actor="sue", is_done=True
    )
    Proposal.objects.create(
        number=f"E{payment.pk:015}", payment=payment, evidence="word", channel_number="4200001",
        amount=payment.amount, currency=payment.currency, reason="told", asked_by="sue",
    )  # fmt: skip
    day = order.created_at.date()
    make_statement(sale(payment, f"42{payment.pk}"), day=day)
    Difference.objects.create(
        channel="wechat",
        day=day,
        kind="stranger",
        severity=3,
        subject=f"42{payment.pk}",
        currency="CNY",
        theirs=9,
    )


def make_staff(group: str) -> User:
    user = User.objects.create_user(group.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


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
    assert registered == {*MONEY, Product, ApiKey, Endpoint, Delivery}
    assert OrderLine not in registered


@pytest.mark.parametrize("model", [Callback, RefusedCallback])
def test_messages_as_they_came_are_shown_to_who_may_see_them(client, order, model):
    row = model.objects.get()
    for group, is_shown in (("Finance", True), ("Support", False)):
        client.force_login(make_staff(group))
        page = client.get(url(model, "change", row.pk)).content.decode()
        assert ("Body, as it is kept" in page) is is_shown
        assert ("is shown to who may see messages" in page) is not is_shown


def test_body_of_a_callback_is_shown_escaped_and_what_proves_it_is_masked(admin_client, order):
    page = admin_client.get(url(Callback, "change", Callback.objects.get().pk)).content.decode()
    assert "&quot;&lt;b&gt;&quot;: 1" in page
    assert "abcd…" in page
    assert "c2ln…" in page
    assert "abcdefgh" not in page
    assert "c2lnbmF0dXJl" not in page


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"out_trade_no=P1&sign=abcdefgh&sign_type=RSA2", "out_trade_no=P1&sign=abcd…&sign_type=RSA2"),
        (b"signature=abcdefgh", "signature=abcd…"),
        (
            b'{"a": [{"client_secret": "sk_live_1"}]}',
            '{\n  "a": [\n    {\n      "client_secret": "sk_l…"\n    }\n  ]\n}',
        ),
        (b"<xml><sign>abcdefgh</sign><id>P1</id></xml>", "<xml><sign>abcd…</sign><id>P1</id></xml>"),
        (b"<sign><![CDATA[abcdefgh]]></sign>", "<sign><![CDATA[abcd…]]></sign>"),
        (rb'{"data": "{\"sign\":\"abcdefgh\"}"}', '{\n  "data": "{\\"sign\\":\\"abcd…\\"}"\n}'),
        (b'{"id": "P1", "sign": "abcdefgh", "x', '{"id": "P1", "sign": "abcd…", "x'),
        (b'{"sign_type": "RSA2", "sign": "abcdefgh', '{"sign_type": "RSA2", "sign": "abcd…'),
        (
            rb'{"data": "{\"id\":\"P1\",\"sign\":\"abcdefgh\",\"a',
            r'{"data": "{\"id\":\"P1\",\"sign\":\"abcd…\",\"a',
        ),
        (b'{"sign": 12345678}', '{\n  "sign": "1234…"\n}'),
        (b'{"sign": 12345678,', '{"sign": 1234…,'),
        (b"\xff\x00", "\ufffd\x00"),
        (b"[" * 100_000, "[" * 100_000),
        (b"\\" * 100_000, "\\" * 100_000),
    ],
)
def test_secrets_of_a_message_are_masked_in_whatever_form_it_came(body, shown):
    assert mask_body(body) == shown


def test_case_is_told_in_words(admin_client, order):
    Case.objects.update(evidence={"reported_amount": 900, "code": "SUCCESS", "attempts": 3})
    page = admin_client.get(url(Case, "change", Case.objects.get().pk)).content.decode()
    assert "amount, as the channel says" in page
    assert "¥9.00" in page
    assert "{&#x27;" not in page


def statements_of(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(path).status_code == 200
    return [each["sql"] for each in seen]


@pytest.mark.parametrize("model", [Order, *OF_PAYMENTS, Event])
def test_lists_take_the_same_statements_whatever_their_length_and_count_no_table(admin_client, order, model):
    statements_of(admin_client, url(model, "changelist"))  # content types are read once
    few = statements_of(admin_client, url(model, "changelist"))
    for _ in range(3):
        make_world()
    many = statements_of(admin_client, url(model, "changelist"))
    assert len(many) == len(few) <= 9
    of_all = re.compile(r'count\(\*\) as "__count" from "\w+"$', re.IGNORECASE)
    assert not [sql for sql in many if of_all.search(sql)]


@pytest.mark.parametrize("model", MONEY)
def test_no_list_reads_all_rows_to_offer_its_filters(admin_client, order, model):
    assert not [sql for sql in statements_of(admin_client, url(model, "changelist")) if "DISTINCT" in sql]


@pytest.mark.parametrize(
    ("model", "query", "other"),
    [
        (Call, "operation=query", "operation=close"),
        (Call, "outcome=open", "outcome=refused"),
        (Event, "to_status=PAID", "to_status=SHIPPED"),
        (Alarm, "kind=follow_up", "kind=expire_order"),
    ],
)
def test_filters_of_fixed_choices_show_what_they_say(admin_client, order, model, query, other):
    shown = admin_client.get(f"{url(model, 'changelist')}?{query}").context["cl"]
    column, value = query.split("=")
    assert {getattr(row, column) for row in shown.result_list} == {value}
    offered = {choice for spec in shown.filter_specs for choice, _ in getattr(spec, "lookup_choices", ())}
    assert value in offered
    assert not admin_client.get(f"{url(model, 'changelist')}?{other}").context["cl"].result_list


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Callback, "body=x"),
        (Callback, "headers__wechatpay-signature__startswith=c2l"),
        (Callback, "report__payer__startswith=a"),
        (Order, "email__icontains=anna"),
        (Order, "content_hash__startswith=a"),
        (Payment, "payer__gt="),
        (IdempotencyKey, "key__contains=a"),
    ],
)
def test_columns_that_a_list_does_not_filter_by_cannot_be_guessed(admin_client, order, model, query):
    assert admin_client.get(f"{url(model, 'changelist')}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["channel=%00", "case=%00", "status__exact=%00", "q=%00"])
@pytest.mark.parametrize("page", ["", "export/"])
def test_what_no_text_can_hold_breaks_no_list(admin_client, order, query, page):
    assert admin_client.get(f"{url(Order, 'changelist')}{page}?{query}").status_code in (200, 302)


def test_what_no_text_can_hold_breaks_no_search_in_a_statement(admin_client, order):
    path = url(Statement, "change", Statement.objects.get().pk)
    assert admin_client.get(f"{path}?q=%00").status_code == 200


@pytest.mark.parametrize(
    "model", [Payment, Receipt, Refund, Callback, RefusedCallback, Call, StaffAction, Proposal]
)
def test_pages_take_the_same_statements_however_much_has_happened(admin_client, order, model):
    path = url(model, "change", model.objects.first().pk)
    statements_of(admin_client, path)  # content types are read once
    few = statements_of(admin_client, path)
    for nth in range(3):
        add_more(order, nth)
    assert len(statements_of(admin_client, path)) == len(few) <= 24


def add_more(order: Order, nth: int) -> None:
    """One more of whatever may stand on a payment's page."""
    payment = order.payments.get()
    told = {"order_number": order.number, "channel": "wechat"}
    Call.objects.create(
        operation="query", subject=payment.number, outcome="open", took_ms=9, source="QUERY", **told
    )
    StaffAction.objects.create(
        order_number=order.number, action="ask_payment", subject=payment.number, actor="sue", is_done=True
    )
    Callback.objects.create(
        channel="wechat", message_id=f"m{nth}", kind="TRANSACTION.SUCCESS", number=payment.number,
        payment=payment, body=b"{}", report={},
    )  # fmt: skip
    settle_payment(report(payment, channel_number=f"more{nth}"), channel="wechat", source=Source.CALLBACK)


FOUND_BY = [
    (Payment, "number"),
    (Payment, "channel_number"),
    (Payment, "order"),
    (Receipt, "channel_number"),
    (Receipt, "payment"),
    (Refund, "number"),
    (Refund, "order"),
    (Callback, "number"),
    (RefusedCallback, "number"),
    (Call, "order_number"),
    (Call, "subject"),
    (StaffAction, "subject"),
    (Proposal, "number"),
    (Proposal, "payment"),
    (Case, "subject"),
    (Case, "order"),
    (Event, "order_number"),
    (Event, "subject"),
]


@pytest.mark.parametrize(("model", "by"), FOUND_BY)
def test_rows_are_found_by_their_exact_numbers_in_small_letters_too(admin_client, order, model, by):
    row = model.objects.first()
    term = str(row.receipt.order if (model, by) == (Refund, "order") else getattr(row, by))
    make_world()
    for typed in (term, f" {term.lower()} "):
        page = admin_client.get(url(model, "changelist"), {"q": typed}).context["cl"]
        assert row in page.result_list
        assert len(page.result_list) < model.objects.count()


def test_a_long_list_is_counted_no_further_than_people_leaf(admin_client, order, monkeypatch):
    monkeypatch.setattr(shop_admin, "LEAFED_THROUGH", 1)
    make_world()
    assert admin_client.get(url(Payment, "changelist")).context["cl"].result_count == 1


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({}, {"mismatch", "mail", "refund"}),
        ({"resolved_at__isnull": "True"}, {"mismatch", "mail"}),
        ({"resolved_at__isnull": "False"}, {"refund"}),
        ({"whose": "mine"}, {"mail"}),
        ({"whose": "nobody"}, {"mismatch"}),
        ({"whose": "others"}, {"refund"}),
    ],
)
def test_cases_are_chosen_by_whose_they_are_and_whether_they_are_open(
    admin_client, admin_user, order, query, kinds
):
    about = {"subject": "x", "order": order, "deadline": order.created_at}
    Case.objects.create(kind="mail", owner=admin_user, **about)
    tom = User.objects.create_user("tom")
    Case.objects.create(kind="refund", owner=tom, resolved_at=order.created_at, **about)
    shown = admin_client.get(url(Case, "changelist"), query).context["cl"].result_list
    assert {case.kind for case in shown} == kinds


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
