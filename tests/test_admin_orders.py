"""The back office's orders: found by whatever a person holds in hand, among however many, and told as one story."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orders.models import Order
from payments.cases import open_case
from payments.channels.base import Outcome
from payments.models import Call, Callback, Case, Payment, Receipt, Refund
from payments.settling import settle_payment
from shop.admin import LEAFED_THROUGH
from shop.models import Source
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db

LIST = "/admin/orders/order/"


@pytest.fixture
def order() -> Order:
    order = make_order()
    Order.objects.filter(pk=order.pk).update(
        name="Berta Weiß", email="Berta@Example.com", phone="138 0013 8000"
    )
    return Order.objects.get(pk=order.pk)


@pytest.fixture
def others() -> list[Order]:
    return [make_order(sku=f"cup-{nth}") for nth in range(3)]


def pay(payment: Payment, trade: str) -> None:
    told = report(payment, channel_number=trade)
    settle_payment(told, channel=payment.channel, source=Source.CALLBACK)


def found(client: Client, query: str = "", **filters: str) -> list[str]:
    """The numbers of the orders that the list shows."""
    answer = client.get(LIST, {"q": query, **filters})
    assert answer.status_code == 200
    return [order.number for order in answer.context["cl"].result_list]


def page_of(order: Order) -> str:
    return reverse("admin:orders_order_change", args=[order.pk])


# ---- search ------------------------------------------------------------------------------------------------------


def numbers_of(order: Order) -> dict[str, str]:
    """Everything that a person may hold in hand about an order that was paid twice."""
    payment = make_payment(order)
    pay(payment, "4200001")
    pay(payment, "4200002")
    Refund.objects.update(channel_number="5030001")
    return {
        "order": order.number,
        "order in small letters": order.number.lower(),
        "order with blanks": f" {order.number[:8]} {order.number[8:]} ",
        "payment": payment.number,
        "refund": Refund.objects.get().number,
        "payment at the channel": "4200001",
        "second receipt": "4200002",
        "refund at the channel": "5030001",
        "mail": "berta@example.com",
        "phone as typed": "138 0013 8000",
    }


def test_order_is_found_by_everything_that_names_it_and_no_other_is(admin_client, order, others):
    for what, term in numbers_of(order).items():
        assert (what, found(admin_client, term)) == (what, [order.number])


def test_phone_is_found_without_its_blanks_where_it_was_typed_without(admin_client, others, order):
    Order.objects.filter(pk=order.pk).update(phone="13900000000")
    assert found(admin_client, "139 0000 0000") == [order.number]


@pytest.mark.parametrize("term", ["4711", "berta", "Berta Weiß", "'; drop", "%", "P" * 24, "x@y"])
def test_what_names_nothing_finds_nothing(admin_client, order, others, term):
    assert found(admin_client, term) == []


def test_search_goes_together_with_a_filter(admin_client, order):
    assert found(admin_client, order.number, status__exact="UNPAID") == [order.number]
    assert found(admin_client, order.number, status__exact="SHIPPED") == []


TERMS = ["NAAAAAAAAAAAAAAA", "PAAAAAAAAAAAAAAAAAAAAAAA", "RAAAAAAAAAAAAAAAAAAAAAAA", "x@example.com"]
INDEXES = [
    (Order, "number", "orders_order_number"),
    (Order, "phone", "order_of_phone"),
    (Order, "email__iexact", "order_of_email"),
    (Payment, "number", "payments_payment_number"),
    (Payment, "channel_number", "payment_of_trade"),
    (Receipt, "channel_number", "receipt_of_trade"),
    (Refund, "number", "payments_refund_number"),
    (Refund, "channel_number", "refund_of_trade"),
]


@pytest.fixture
def without_scans() -> None:
    """Few rows are quicker read one by one; which index could be used is what we ask."""
    with connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")


@pytest.mark.parametrize("term", TERMS)
def test_no_way_to_search_reads_a_whole_table(admin_client, order, without_scans, term):
    plans = "\n".join(explain(sql) for sql in statements_of(admin_client, LIST, q=term))
    assert "Seq Scan on orders_order" not in plans
    assert "Seq Scan on payments_" not in plans


@pytest.mark.parametrize(("model", "way", "index"), INDEXES)
def test_every_number_that_people_search_by_has_its_index(without_scans, model, way, index):
    drop_rivals(model._meta.db_table, way.removesuffix("__iexact"), index)
    assert index in model.objects.filter(**{way: "AAAAAAAA"}).order_by().explain()


def drop_rivals(table: str, column: str, index: str) -> None:
    """In an empty table an index that has the column in its second place is as cheap as one that begins with it."""
    named = "tablename = %s and indexdef like %s and indexname not like %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"select indexname, exists(select from pg_constraint where conname = indexname) from pg_indexes where {named}",
            [table, f"%, {column}%", f"{index}%"],
        )
        for rival, is_constraint in cursor.fetchall():
            cursor.execute(
                f'alter table {table} drop constraint "{rival}"' if is_constraint else f'drop index "{rival}"'
            )


def explain(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"explain {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def statements_of(client: Client, path: str, **query: str) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(path, query).status_code == 200
    return [each["sql"] for each in seen if each["sql"].startswith("SELECT")]


# ---- the list ----------------------------------------------------------------------------------------------------


def test_filters_show_what_they_say(admin_client, order, others):
    make_payment(order, channel="alipay")
    open_case(Case.Kind.MISMATCH, order.number, order=order, evidence={})
    open_case(Case.Kind.MAIL, others[0].number, order=others[0], evidence={})
    Case.objects.create(kind="mail", subject="x", order=others[1], deadline=Now(), resolved_at=Now())
    assert found(admin_client, channel="alipay") == [order.number]
    assert found(admin_client, case="mismatch") == [order.number]
    assert found(admin_client, case="any") == [others[0].number, order.number]
    assert found(admin_client, status__exact="SHIPPED") == []
    assert found(admin_client, created_at__gte="2000-01-01", channel="alipay") == [order.number]


def test_row_says_through_what_was_tried_and_what_waits(admin_client, order):
    make_payment(order)
    open_case(Case.Kind.MISMATCH, order.number, order=order, evidence={})
    page = admin_client.get(LIST).content.decode()
    assert re.search(r'field-channels[^>]*">WeChat Pay<', page)
    assert 'mood-wrong">Amount or currency differ<' in page


def test_list_takes_the_same_statements_whatever_its_length(admin_client, order):
    few = len(statements_of(admin_client, LIST))
    for nth in range(3):
        other = make_order(sku=f"cup-{nth}")
        make_payment(other)
        open_case(Case.Kind.MAIL, other.number, order=other, evidence={})
    assert len(statements_of(admin_client, LIST)) == few <= 7


def test_nobody_counts_further_than_people_leaf(admin_client, order):
    columns = (
        "number, status, amount, currency, name, email, phone, address, token_salt, content_hash, expires_at"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into orders_order ({columns}, version, holds_stock, was_extended, close_reason, closed_at)"
            f" select 'NX' || nth, 'CLOSED', amount, currency, name, email, phone, address, token_salt, content_hash,"
            f" expires_at, 1, false, false, 'EXPIRED', now()"
            f" from orders_order, generate_series(1, {LEAFED_THROUGH}) nth where number = %s",
            [order.number],
        )
    page = admin_client.get(LIST).content.decode()
    assert f"{LEAFED_THROUGH} orders and more" in page
    counts = [sql for sql in statements_of(admin_client, LIST) if "COUNT(" in sql]
    assert all(f"LIMIT {LEAFED_THROUGH}" in sql for sql in counts)
    assert "1 order\n" in admin_client.get(LIST, {"q": order.number}).content.decode()


# ---- the page ----------------------------------------------------------------------------------------------------


def show(client: Client, order: Order) -> str:
    answer = client.get(page_of(order))
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_page_says_first_how_the_money_stands_then_the_facts_and_what_happened(admin_client, order):
    numbers = numbers_of(order)
    page = show(admin_client, order)
    parts = [
        "Paid: ¥129.00 through WeChat Pay",
        "Berta Weiß",
        "<h2>Attempts to pay",
        "<h2>Money that came",
        "<h2>Refunds",
    ]
    places = [page.index(part) for part in [*parts, "<h2>What happened"]]
    assert places == sorted(places)
    for name in ("payment", "refund", "second receipt"):
        assert numbers[name] in page
    assert page.index("Order placed") < page.index("Attempt begun") < page.index("Refund on its way")


def test_page_offers_what_may_be_done_beside_what_it_is_about(admin_client, order):
    payment = make_payment(order)
    open_case(Case.Kind.IRREGULAR, payment.number, order=order, evidence={})
    kept = Callback.objects.create(
        channel="wechat",
        message_id="m",
        kind="K",
        number=payment.number,
        payment=payment,
        body=b"{}",
        report={},
    )
    page = show(admin_client, order)
    for name, model, pk in (
        ("cancel_order", "orders.order", order.pk),
        ("ask_payment", "payments.payment", payment.pk),
        ("take_case", "payments.case", Case.objects.get().pk),
        ("replay_callback", "payments.callback", kept.pk),
    ):
        assert reverse("deeds:deed", args=[name, model, pk]) in page


def test_who_may_only_look_has_no_buttons_and_no_links_to_pages_of_others(client, order):
    payment = make_payment(order)
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(viewer)
    page = show(client, order)
    assert payment.number in page
    assert "/admin/deeds/" not in page
    assert "/delete/" not in page


def test_page_shows_no_body_and_no_secret_of_the_order(admin_client, order):
    payment = make_payment(order)
    Callback.objects.create(
        channel="wechat", message_id="m", kind="K", number=payment.number, payment=payment, report={},
        body=b"the-raw-body", headers={"wechatpay-signature": "the-signature"},
    )  # fmt: skip
    page = show(admin_client, order)
    assert "See the message" in page
    for secret in ("the-raw-body", "the-signature", order.token_salt, "weixin://"):
        assert secret not in page


def test_whatever_somebody_typed_is_escaped(admin_client, order):
    evil = "<script>alert(1)</script>"
    Order.objects.update(name=evil, address=evil)
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.REFUSED, code=evil), channel="wechat", source=Source.RESPONSE)
    Call.objects.create(
        order_number=order.number, subject=payment.number, channel="wechat", operation=evil[:20], outcome="open",
        code=evil, took_ms=1, source=Source.QUERY,
    )  # fmt: skip
    page = show(admin_client, order)
    assert evil not in page
    assert evil[:20] not in page
    assert "&lt;script&gt;" in page


def test_money_in_a_currency_of_nobody_is_shown_as_it_was_reported(admin_client, order):
    payment = make_payment(order)
    told = report(payment, currency="XXX", amount_minor=7)
    settle_payment(told, channel="wechat", source=Source.CALLBACK)
    assert "XXX 0.07" in show(admin_client, order)
    assert Receipt.objects.get().currency == "XXX"


def test_page_takes_the_same_statements_however_much_has_happened(admin_client, order):
    payment = make_payment(order)
    admin_client.get(page_of(order))  # content types are read once by each process
    few = len(statements_of(admin_client, page_of(order)))
    for nth in range(3):
        Call.objects.create(
            order_number=order.number, subject=payment.number, channel="wechat", operation="query", outcome="open",
            took_ms=1, source=Source.QUERY,
        )  # fmt: skip
        Callback.objects.create(
            channel="wechat", message_id=f"m{nth}", kind="K", number=payment.number, payment=payment, body=b"{}",
            report={}, taken_at=Now(),
        )  # fmt: skip
    assert len(statements_of(admin_client, page_of(order))) == few <= 22


def test_page_takes_the_same_statements_however_often_was_tried_and_paid(admin_client, order):
    def measure() -> int:
        return len(statements_of(admin_client, page_of(order)))

    payment = try_in_vain(order)
    admin_client.get(page_of(order))  # content types are read once by each process
    few = measure()
    for _ in range(3):
        try_in_vain(order)
    assert measure() == few
    pay(payment, "first")
    pay(payment, "second")
    few = measure()
    for nth in range(3):
        pay(payment, f"more{nth}")
    assert measure() == few


def test_page_takes_the_same_statements_however_many_cases_are_open(admin_client, order):
    def measure() -> int:
        return len(statements_of(admin_client, page_of(order)))

    open_case(Case.Kind.MISMATCH, "T1", order=order, evidence={})
    admin_client.get(page_of(order))  # content types are read once by each process
    few = measure()
    for nth in range(3):
        open_case(Case.Kind.REFUND, f"R{nth}", order=order, evidence={})
    assert measure() == few


def try_in_vain(order: Order) -> Payment:
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    return payment


def test_times_are_those_of_the_shop(admin_client, settings):
    settings.DISPLAY_TIME_ZONE = "Asia/Shanghai"
    order = make_order()
    Order.objects.update(created_at=datetime(2026, 11, 20, 20, 30, tzinfo=UTC))
    page = admin_client.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    assert "2026-11-21 04:30" in page
    assert "times of Asia/Shanghai" in page
