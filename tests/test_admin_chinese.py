"""The back office in Chinese: no page has an English sentence of ours, and what is kept is English whoever was at work."""

import re
from html.parser import HTMLParser

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import translation

from orders.errors import OrderNotFound
from orders.models import Order, Product
from payments.admin import labels
from payments.deeds import DEEDS, offered_to, say
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
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.models import Alarm, Event, Heartbeat, Source
from shop.sentences import in_english, money
from shop.sentences import say as tell
from tests.factories import ANNA, make_order, make_payment, report
from tests.test_admin import make_history

pytestmark = pytest.mark.django_db
CHINESE = {"accept-language": "zh-CN"}
SENTENCE = re.compile(r"[A-Za-z][\w'’-]*(?:[ ,]+[A-Za-z][\w'’-]*){2,}")
# What stands there as somebody wrote it, and what Django calls things of its own.
AS_WRITTEN = (ANNA.name, ANNA.address, "Because she asked", "nodrop", "Change or view list link")
OURS = (
    Order, Payment, Receipt, Refund, Callback, Case, Call, RefusedCallback, StaffAction, Proposal, Statement, Difference,
    Alarm, Event, Heartbeat,
)  # fmt: skip


class Reader(HTMLParser):
    """What a person sees of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("script", "style", "pre")
        self.told += [value or "" for name, value in attrs if name in ("aria-label", "placeholder", "title")]
        self.told += [value or "" for name, value in attrs if name == "value" and ("type", "submit") in attrs]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style", "pre")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.told.append(" ".join(data.split()))


def english_on(client: Client, path: str, *written: str) -> list[str]:
    answer = client.get(path, headers=CHINESE)
    assert answer.status_code in (200, 409), path
    reader = Reader()
    reader.feed(answer.content.decode())
    kept = [*AS_WRITTEN, *written, *StaffAction.objects.values_list("result", flat=True)]
    texts = []
    for text in reader.told:
        for words in kept:
            text = text.replace(words, "") if words else text
        texts.append(text)
    return [found[0] for text in texts for found in SENTENCE.finditer(text)]


@pytest.fixture
def order(settings) -> Order:
    """Paid twice, a part of it waiting to go back, and one row of whatever else there is."""
    settings.REFUND_APPROVAL_ABOVE = 0
    order = make_order()
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    settle_payment(report(payment, channel_number="4200second"), channel="wechat", source=Source.QUERY)
    ask_refund(payment.number, amount=100, reason="Because she asked", actor="sue")
    Callback.objects.create(
        channel="wechat", message_id="m1", kind="TRANSACTION.SUCCESS", number=payment.number, payment=payment,
        body=b"{}", report={},
    )  # fmt: skip
    make_history(order, payment)
    for kind in (Case.Kind.UNANSWERED, Case.Kind.BOOKS):
        why = "We have it as paid and the channel's books do not show it: ask the channel."
        Case.objects.create(
            kind=kind, subject=payment.number, order=order, deadline=order.created_at,
            evidence={"why": why, "amount": 5, "source": "QUERY", "code": "OK"},
        )  # fmt: skip
    StaffAction.objects.create(
        order_number=order.number, action="ship_order", subject=order.number, actor="sue", is_done=False,
        reason="Because she asked", result="This order is unpaid: only one that is ready can be shipped.",
    )  # fmt: skip
    return Order.objects.get(pk=order.pk)


def test_lists_and_pages_have_no_english_sentence(admin_client, order):
    make_payment(make_order(sku="cup"))
    Heartbeat.objects.create(name="watch", at=order.created_at)
    found = {"home": english_on(admin_client, reverse("admin:index"))}
    for model in OURS:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found[f"{name}s"] = english_on(admin_client, reverse(f"{name}_changelist"))
        row = model._default_manager.first()
        if row is not None:
            found[name] = english_on(admin_client, reverse(f"{name}_change", args=[row.pk]), str(row))
    assert {name: words for name, words in found.items() if words} == {}


def test_story_of_an_open_order_has_no_english_sentence(admin_client):
    payment = make_payment(make_order())
    page = reverse("admin:orders_order_change", args=[payment.order_id])
    assert english_on(admin_client, page) == []
    Payment.objects.update(is_unsure=True)
    assert english_on(admin_client, page) == []


def test_deeds_that_are_offered_have_no_english_sentence(admin_client, admin_user, order):
    rows = [
        row for model in {deed.model for deed in DEEDS} if (row := model._default_manager.first()) is not None
    ]
    rows += [Payment.objects.get(number=make_payment(make_order(sku="cup")).number), make_order(sku="pot")]
    offered = [(deed, row) for row in rows for deed in offered_to(admin_user, row)]
    assert len({deed.name for deed, _ in offered}) > 10
    for deed, row in offered:
        path = reverse("deeds:deed", args=[deed.name, row._meta.label_lower, row.pk])
        assert english_on(admin_client, path) == [], deed.name


def test_deed_that_is_refused_says_why_in_chinese(admin_client, order):
    path = reverse("deeds:deed", args=["complete_order", "orders.order", order.pk])
    assert "只有已发货的订单可以完成" in admin_client.get(path, headers=CHINESE).content.decode()


# ---- what is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [CHINESE, {}], ids=["in Chinese", "in English"])
def test_what_was_done_is_kept_in_english_and_told_in_the_readers_language(admin_client, headers):
    order = make_order()
    path = reverse("deeds:deed", args=["cancel_order", "orders.order", order.pk])
    page = admin_client.post(path, {"reason": "她改了主意"}, headers=headers, follow=True).content.decode()
    english = f"{order.number} is cancelled; its goods are on the shelf again."
    assert StaffAction.objects.get().result == english
    assert LogEntry.objects.get().change_message == f"Cancel the order: 她改了主意 → {english}"
    assert ("货品已重新上架" in page) is bool(headers)


def test_what_was_refused_is_kept_in_english(admin_client, order):
    path = reverse("deeds:deed", args=["complete_order", "orders.order", order.pk])
    admin_client.post(path, {"reason": "好"}, headers=CHINESE)
    kept = StaffAction.objects.latest("id").result
    assert kept == "This order is ready for shipment: only a shipped one can be completed."


def test_export_has_english_headings_and_codes(admin_client, order):
    answer = admin_client.get(reverse("admin:payments_difference_export"), headers=CHINESE)
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    assert text.startswith('"channel","day","kind","severity"')
    assert '"stranger","money"' in text


def test_sentence_reads_in_the_language_of_the_moment():
    words = tell("%(money)s %(error)s", money=money(700, "USD"), error=say(OrderNotFound()))
    with translation.override("zh-hans"):
        assert str(words) == "US$7.00 订单已不存在。"
        assert in_english(words) == "$7.00 This order is not there any more."


# ---- names -------------------------------------------------------------------------------------------------------


def test_every_name_of_a_row_or_column_of_ours_is_translated():
    models = [model for label in labels.OURS for model in apps.get_app_config(label).get_models()]
    names = {
        str(name) for model in models for name in (model._meta.verbose_name, model._meta.verbose_name_plural)
    }
    names |= {str(field.verbose_name) for model in models for field in model._meta.fields}
    with translation.override("zh-hans"):
        assert {name for name in names if translation.gettext(name) == name} - {"ID"} == set()


def test_page_of_an_order_names_goods_columns_and_refunds_in_chinese(admin_client, order):
    Product.objects.update(name_zh_hans="龙井茶")
    page = admin_client.get(reverse("admin:orders_order_change", args=[order.pk]), headers=CHINESE)
    text = page.content.decode()
    assert "1 × 龙井茶" in text
    assert ">付款时间</th>" in text
    assert ">申请时间</th>" in text
    assert text.count("退款中") > 1  # in the table and in the story
    assert "退回中" not in text


def test_every_page_of_ours_has_a_chinese_title(admin_client):
    with translation.override("zh-hans"):
        listed = [
            str(model._meta.verbose_name_plural)
            for model in admin.site._registry
            if model._meta.app_label in labels.OURS
        ]
    assert not [name for name in listed if name.isascii()]


def test_language_is_switched_among_the_tools_of_every_page(admin_client):
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert 'value="zh-hans" lang="zh-hans">简体中文</button>' in page
    form = {"language": "zh-hans", "next": reverse("admin:index")}
    page = admin_client.post(reverse("set-language"), form, follow=True).content.decode()
    assert '<html lang="zh-hans"' in page
    assert ">English</button>" in page


def test_language_is_switched_before_logging_in(client):
    page = client.get(reverse("admin:login"), headers=CHINESE).content.decode()
    assert ">English</button>" in page


def test_what_calls_refunds_and_permissions_are_called_is_chinese(client, order):
    client.force_login(User.objects.create_superuser("root"))
    keep = {"order_number": order.number, "subject": "P1", "channel": "wechat", "source": Source.QUERY}
    Call.objects.create(operation="query", outcome="unknown", took_ms=3, **keep)
    group = Group.objects.get(name="Support")
    shown = [
        client.get(path, headers=CHINESE).content.decode()
        for path in (
            reverse("admin:payments_call_changelist"),
            reverse("admin:payments_refund_changelist"),
            reverse("admin:auth_group_change", args=[group.pk]),
        )
    ]
    calls, refunds, permissions = shown
    assert ">query<" not in calls
    assert ">unknown<" not in calls
    assert ">wechat<" not in calls
    assert "paid twice" not in refunds
    assert "Can cancel an unpaid order" not in permissions
