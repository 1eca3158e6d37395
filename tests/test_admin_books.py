"""The channels' books in the admin: what is shown of them, and what staff may do about them."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as shop_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.urls import reverse

from orders.models import Order
from payments.admin import bookkeeping, handing
from payments.models import Case, Difference, Entry, Payment, Receipt, Refund, StaffAction, Statement
from payments.reconciling import compare
from payments.settling import settle_payment
from payments.statements import FETCH_STATEMENT
from shop.models import Alarm, Source
from shop.uploads import MAX_FILE_BYTES, UPLOADS, most_bytes
from tests.factories import make_order, make_payment, report
from tests.statements import BEIJING, DAY, make_statement, paid, sale
from tests.waiting import wait_for_a_day_that_lasts

pytestmark = pytest.mark.django_db

TAKE = "/admin/payments/statement/take/"
TODAY = object()
HEAD = "交易时间,商户号,货币种类,交易状态,微信订单号,商户订单号,微信退款单号,商户退款单号,退款状态,订单金额,申请退款金额,手续费,商品名称,商户数据包"


@pytest.fixture
def wechat(sandbox, settings) -> str:
    """Our WeChat channel, which is called by nobody here; its merchant's number."""
    return settings.CHANNELS["wechat"]["MCHID"]


def make_bill(mchid: str, *trades: tuple[str, str, int], day=DAY) -> bytes:
    """A day's bill as WeChat writes it: trades as (their number, ours, fen)."""
    rows = [
        [
            f"{day} 12:00:00", mchid, "CNY", "SUCCESS", trade, number, "", "", "",
            f"{fen / 100:.2f}", "0.00", "0.00", "Tea", "",
        ]
        for trade, number, fen in trades
    ]  # fmt: skip
    total = sum(fen for _, _, fen in trades)
    sums = [str(len(rows)), f"{total / 100:.2f}", "0.00"]
    lines = [HEAD, *(",".join(f"`{cell}" for cell in row) for row in rows)]
    lines += ["总交易单数,订单总金额,申请退款总金额", ",".join(f"`{cell}" for cell in sums)]
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


def hand_in(client, content: bytes, *, day=DAY, channel: str = "wechat"):
    form = {"channel": channel, "day": str(day), "file": SimpleUploadedFile("bill.csv", content)}
    return client.post(TAKE, form, follow=True)


def act(client, row, name: str, **form: str) -> str:
    url = reverse(f"admin:payments_{row._meta.model_name}_act", args=[row.pk, name])
    return client.post(url, form, follow=True).content.decode()


def page_of(client, row, query: str = "") -> str:
    url = reverse(f"admin:payments_{row._meta.model_name}_change", args=[row.pk])
    return client.get(url + query).content.decode()


def only_action() -> tuple[str, str, str, bool]:
    (action,) = StaffAction.objects.all()
    return action.action, action.subject, action.actor, action.is_done


@pytest.fixture
def reader(client, django_user_model):
    """A client of somebody who may see the books and do nothing about them."""
    user = django_user_model.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


# ---- reading -----------------------------------------------------------------------------------------------------


def test_list_of_statements_names_the_open_differences_of_each_day(admin_client, wechat):
    statement = make_statement(sale("POS-7", "T1", amount=500), sale("POS-8", "T2", amount=500))
    compare(statement)
    page = admin_client.get(reverse("admin:payments_statement_changelist")).content.decode()
    assert '<span class="mood mood-wrong">2</span>' in page


def test_page_of_a_statement_balances_to_the_cent(admin_client, wechat):
    payment = paid("T1")
    statement = make_statement(sale(payment, "T1"), sale("POS-7", "T2", amount=500))
    compare(statement)
    page = page_of(admin_client, statement)
    for words in ("¥134.00", "¥129.00", "In their books, not in ours", "¥5.00", "It balances to the cent"):
        assert words in page


def test_what_is_not_explained_is_said(admin_client):
    sums = {"sales": 5, "refunds": 0}
    total = {
        "theirs": {**sums, "fees": 0, "net": 5},
        "ours": sums,
        "bridge": [],
        "rest": {"sales": 1, "refunds": 0},
    }
    statement = make_statement()
    Statement.objects.update(totals={"CNY": total, "JPY": total})
    page = page_of(admin_client, statement)
    assert page.count("Not explained") == 2
    assert "JPY 5<" in page


def test_lines_are_shown_page_by_page(admin_client):
    statement = make_statement(
        *(sale(f"POS-{place:04}", f"T{place:04}", amount=1) for place in range(1, 252))
    )
    page = page_of(admin_client, statement, "?p=3")
    assert "T0201" in page
    assert "T0251" in page
    assert "T0200" not in page
    assert "Page 3 of 3" in page


@pytest.mark.parametrize("query", ["?p=0", "?p=x", "?p=-1", "?p=²", "?p=" + "9" * 30])
def test_senseless_page_number_shows_a_page_all_the_same(admin_client, query):
    assert "T1" in page_of(admin_client, make_statement(sale("POS-7", "T1")), query)


@pytest.mark.parametrize("number", ["T2", "POS-8"])
def test_line_is_found_by_either_number(admin_client, number):
    statement = make_statement(sale("POS-7", "T1"), sale("POS-8", "T2"))
    make_statement(sale("POS-8", "T2"), sale("POS-9", "T3"), day=DAY + timedelta(days=1))
    page = page_of(admin_client, statement, f"?q={number}")
    assert ">T2<" in page
    assert ">T1<" not in page
    assert "No line has this number." in page_of(admin_client, statement, "?q=T9")


def test_page_of_a_statement_takes_the_same_statements_however_long_it_is(
    admin_client, django_assert_num_queries
):
    statement = make_statement(*(sale(f"POS-{place}", f"T{place}", amount=1) for place in range(300)))
    url = reverse("admin:payments_statement_change", args=[statement.pk])
    admin_client.get(url)
    with django_assert_num_queries(5):
        admin_client.get(url)


def test_difference_shows_both_sides_and_what_is_to_be_done(admin_client, wechat):
    payment = paid("T1")
    (difference,) = compare(make_statement(sale(payment, "T1", amount=12800)))
    page = page_of(admin_client, difference)
    for words in ("¥128.00", "¥129.00", "ask the channel", payment.number):
        assert words in page


@pytest.mark.parametrize("model", [Statement, Difference])
def test_books_are_read_only(admin_client, wechat, model):
    compare(make_statement(sale("POS-7", "T1")))
    name = f"admin:payments_{model._meta.model_name}"
    row = model.objects.get()
    assert admin_client.get(reverse(f"{name}_add")).status_code == 403
    assert admin_client.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
    assert admin_client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


# ---- handing in and fetching -------------------------------------------------------------------------------------


def test_file_that_a_person_hands_in_is_taken_in_and_compared(admin_client, wechat):
    answer = hand_in(admin_client, make_bill(wechat, ("T1", "POS-7", 500)))
    statement = Statement.objects.get()
    assert answer.redirect_chain == [(reverse("admin:payments_statement_change", args=[statement.pk]), 302)]
    assert "Taken in: 1 line, 1 difference." in answer.content.decode()
    assert (statement.origin, statement.given_by, statement.is_current) == ("file", "admin", True)
    assert Difference.objects.get().kind == "stranger"
    assert only_action() == ("take_statement", f"wechat:{DAY}", "admin", True)
    assert LogEntry.objects.get().object_id == str(statement.pk)


def test_large_file_is_read_from_the_disk(admin_client, wechat, settings):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
    hand_in(admin_client, make_bill(wechat, ("T1", "POS-7", 500)))
    assert Statement.objects.get().entries == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda bill: bill[: bill.index("总交易单数".encode())], "the bill is cut short"),
        (lambda bill: bill.replace("商户号".encode(), "商户".encode()), "line 1: 商户号"),
        (lambda bill: bill.decode().encode("gbk", "replace"), "not UTF-8"),
        (lambda bill: b"\x1f\x8b" + bill, "the packed file is damaged"),
        (lambda bill: bill.replace(b"5.00", b"6.00", 1), "订单总金额"),
        (lambda bill: bill.replace(str(DAY).encode(), b"2025-01-01"), "of another day"),
    ],
)
def test_bad_file_is_refused_in_clear_words_and_nothing_of_it_stays(admin_client, wechat, damage, words):
    answer = hand_in(admin_client, damage(make_bill(wechat, ("T1", "POS-7", 500))))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "It cannot be taken in" in page
    assert words in page
    assert not Statement.objects.exists()
    assert not Entry.objects.exists()
    assert only_action() == ("take_statement", f"wechat:{DAY}", "admin", False)


def test_file_of_another_merchant_is_refused(admin_client, wechat):
    assert "商户号" in hand_in(admin_client, make_bill("1900000000", ("T1", "POS-7", 500))).content.decode()
    assert not Statement.objects.exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"channel": "boleto"}, "is not one of the available choices"),
        ({"day": datetime.now(UTC).date() + timedelta(days=3)}, "This day is not over"),
        ({"day": TODAY}, "This day is not over"),
        ({"day": "yesterday"}, "Enter a valid date."),
        ({"content": b""}, "This file is empty."),
    ],
)
def test_form_that_cannot_be_is_marked(admin_client, wechat, changed, words):
    content = changed.pop("content", b"x")
    if changed.get("day") is TODAY:  # a long run may have begun the day before
        wait_for_a_day_that_lasts(BEIJING)
        changed["day"] = datetime.now(BEIJING).date()
    assert words in hand_in(admin_client, content, **changed).content.decode()
    assert not StaffAction.objects.exists()


def test_file_handed_in_leaves_the_channels_own_statement_and_what_it_showed(admin_client, wechat):
    own = make_statement(sale("POS-7", "T1", amount=500))
    compare(own)
    page = hand_in(admin_client, make_bill(wechat)).content.decode()
    assert "own statement of this day is here already" in page
    assert Statement.objects.get() == own
    assert Difference.objects.get().state == "open"
    assert only_action() == ("take_statement", f"wechat:{DAY}", "admin", False)


def test_file_whose_words_no_column_holds_is_refused_in_clear_words(admin_client, wechat):
    bill = make_bill(wechat, ("T1", "POS-7", 500)).replace(b"`CNY", b"`CNYY")
    assert "its currency is longer than 3 characters" in hand_in(admin_client, bill).content.decode()
    assert not Statement.objects.exists()


def test_file_over_the_limit_is_refused_without_being_read(admin_client, wechat, monkeypatch):
    monkeypatch.setattr(handing, "MAX_FILE_BYTES", 10)
    assert "larger than 200 MB" in hand_in(admin_client, make_bill(wechat)).content.decode()
    assert not Statement.objects.exists()


def test_statement_is_fetched_in_the_background(admin_client, wechat):
    form = {"channel": "wechat", "day": str(DAY)}
    page = admin_client.post(reverse("admin:payments_statement_fetch"), form, follow=True).content.decode()
    assert "It is on its way" in page
    assert Alarm.objects.get(kind=FETCH_STATEMENT).subject == f"wechat:{DAY}"
    assert only_action() == ("ask_statement", f"wechat:{DAY}", "admin", True)


@pytest.mark.parametrize("name", ["take", "fetch"])
def test_who_only_reads_the_books_hands_in_and_fetches_nothing(reader, wechat, name):
    url = reverse(f"admin:payments_statement_{name}")
    assert reader.get(url).status_code == reader.post(url, {}).status_code == 403
    assert url not in reader.get(reverse("admin:payments_statement_changelist")).content.decode()


# ---- comparing and repairing -------------------------------------------------------------------------------------


@pytest.fixture
def unsettled(wechat) -> Difference:
    """A payment that the channel's own statement shows as paid, and the channel knows nothing of when it is asked."""
    statement = make_statement(sale(make_payment(make_order()), "T1"))
    (difference,) = compare(statement)
    return difference


def test_comparing_again_is_a_button(admin_client, wechat):
    statement = make_statement(sale("POS-7", "T1"))
    assert "Compared: 1 difference." in act(admin_client, statement, "compare")
    assert only_action() == ("compare", f"wechat:{DAY}", "admin", True)


def test_statement_of_very_many_lines_is_compared_in_the_background(admin_client, wechat, monkeypatch):
    monkeypatch.setattr(bookkeeping, "MOST_LINES", 0)
    assert "It is on its way" in act(admin_client, make_statement(sale("POS-7", "T1")), "compare")
    assert Alarm.objects.filter(kind=FETCH_STATEMENT).exists()


def test_repair_says_what_will_happen_and_asks_why(admin_client, wechat):
    (difference,) = compare(make_statement(sale("POS-7", "T1", amount=500)))
    url = reverse("admin:payments_difference_act", args=[difference.pk, "repair"])
    assert "written down as unmatched" in admin_client.get(url).content.decode()
    assert "This field is required" in act(admin_client, difference, "repair")
    assert not Receipt.objects.exists()


def test_repair_goes_through_the_flow_and_both_logs(admin_client, wechat):
    (difference,) = compare(make_statement(sale("POS-7", "T1", amount=500)))
    act(admin_client, difference, "repair", reason="told by the bank")
    difference.refresh_from_db()
    assert difference.state == "repaired"
    assert Receipt.objects.get().receipt_class == "unmatched"
    assert only_action() == ("repair", "T1", "admin", True)
    assert StaffAction.objects.get().reason == "told by the bank"
    assert LogEntry.objects.get().change_message.startswith("repair")


def test_second_press_repairs_nothing_and_says_so(admin_client, wechat):
    (difference,) = compare(make_statement(sale("POS-7", "T1", amount=500)))
    for _ in range(2):
        page = act(admin_client, difference, "repair", reason="r")
    assert "there is nothing to do any more" in page
    assert Receipt.objects.count() == StaffAction.objects.count() == 1


def test_what_cannot_be_repaired_becomes_a_case_and_is_written_down_as_refused(admin_client, unsettled):
    Statement.objects.update(origin="file")
    page = act(admin_client, unsettled, "repair", reason="r")
    assert "handed in by a person" in page
    unsettled.refresh_from_db()
    assert unsettled.state == "case"
    assert only_action() == ("repair", "T1", "admin", False)
    assert StaffAction.objects.get().order_number == Order.objects.get().number


def test_difference_that_only_a_person_can_decide_has_no_button(admin_client, wechat):
    (difference,) = compare(make_statement(sale(paid("T1"), "T1", amount=12800)))
    assert "/do/repair/" not in page_of(admin_client, difference)


def test_difference_that_a_person_has_decided_waits_for_nobody(admin_client, wechat):
    (difference,) = compare(make_statement(sale("POS-7", "T1", amount=500)))
    Difference.objects.update(state="decided")
    page = page_of(admin_client, difference)
    assert "Nothing any more." in page
    assert "/do/repair/" not in page


def test_safe_repairs_of_a_day_are_run_together(admin_client, wechat):
    statement = make_statement(sale("POS-7", "T1", amount=500), sale(paid("T2"), "T2", amount=12800))
    compare(statement)
    assert "1 repaired, 1 for a person to decide." in act(admin_client, statement, "repair_safe", reason="r")
    assert Receipt.objects.filter(channel_number="T1").exists()
    assert Case.objects.get(kind="books").subject == "T2"


def test_very_many_repairs_are_left_to_the_background(admin_client, wechat, monkeypatch):
    monkeypatch.setattr(bookkeeping, "MOST_REPAIRS", 0)
    statement = make_statement(sale("POS-7", "T1", amount=500))
    compare(statement)
    assert "It is on its way" in act(admin_client, statement, "repair_safe", reason="r")
    assert not Receipt.objects.exists()


def test_who_only_reads_the_books_does_nothing_about_them(reader, wechat):
    statement = make_statement(sale("POS-7", "T1", amount=500))
    (difference,) = compare(statement)
    for row, name in ((statement, "compare"), (statement, "repair_safe"), (difference, "repair")):
        url = reverse(f"admin:payments_{row._meta.model_name}_act", args=[row.pk, name])
        assert reader.post(url, {"reason": "r"}).status_code == 403
        assert url not in page_of(reader, row)
    assert not StaffAction.objects.exists()


# ---- exports -----------------------------------------------------------------------------------------------------


def export(client, model, query: str = "") -> list[list[str]]:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_export")
    answer = client.get(url + query)
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


def test_differences_are_exported_as_the_list_shows_them(admin_client, wechat):
    compare(make_statement(sale("POS-7", "T1", amount=500), sale(paid("T2"), "T2", amount=12800)))
    head, *rows = export(admin_client, Difference, "?kind__exact=stranger")
    (row,) = (dict(zip(head, row, strict=True)) for row in rows)
    assert (row["subject"], row["theirs"], row["ours"], row["currency"]) == ("T1", "5.00", "", "CNY")
    assert len(export(admin_client, Difference)) == 3
    assert len(export(admin_client, Difference, "?q=T2")) == 2


def test_button_exports_what_is_filtered(admin_client):
    page = admin_client.get(reverse("admin:payments_difference_changelist") + "?q=T2&kind__exact=fee")
    assert "/admin/payments/difference/export/?q=T2&amp;kind__exact=fee" in page.content.decode()


@pytest.mark.parametrize("model", [Order, Payment, Refund])
def test_orders_payments_and_refunds_are_exported(admin_client, model):
    payment = make_payment(make_order())
    for trade in ("T1", "T2"):
        settle_payment(report(payment, channel_number=trade), channel="wechat", source=Source.QUERY)
    head, row = export(admin_client, model)
    told = dict(zip(head, row, strict=True))
    assert (told["number"], told["amount"], told["currency"]) == (model.objects.get().number, "129.00", "CNY")


def test_export_leaves_its_trace_with_the_number_of_rows(admin_client):
    make_order()
    export(admin_client, Order)
    assert only_action() == ("export", "orders.order", "admin", True)
    assert StaffAction.objects.get().result == "rows: 1"
    assert LogEntry.objects.get().change_message == "export: rows: 1"


def test_formula_in_a_name_is_harmless_in_the_export(admin_client):
    make_order()
    Order.objects.update(name="=HYPERLINK(1)")
    assert "'=HYPERLINK(1)" in export(admin_client, Order)[1]


@pytest.mark.parametrize("model", [Order, Payment, Refund, Difference])
def test_who_may_not_export_has_no_button_and_gets_no_rows(reader, model):
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert reader.get(reverse(f"{name}_export")).status_code == 403
    assert "/export/" not in reader.get(reverse(f"{name}_changelist")).content.decode()
    assert not StaffAction.objects.exists()


def test_senseless_filter_exports_nothing(admin_client):
    assert admin_client.get(reverse("admin:payments_difference_export") + "?day__gte=x").status_code == 302
    assert not StaffAction.objects.exists()


# ---- who may send a large file -----------------------------------------------------------------------------------


def ask(client, path: str) -> int | None:
    cookie = client.cookies.get(shop_settings.SESSION_COOKIE_NAME)
    headers = [(b"cookie", f"{cookie.key}={cookie.value}".encode())] if cookie else []
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}

    async def ask_once() -> int | None:
        most = await most_bytes(scope)
        await sync_to_async(connections.close_all)()  # that of the thread which has looked
        return most

    return asyncio.run(ask_once())


def test_large_files_are_for_the_page_that_takes_them_in():
    assert list(UPLOADS) == [TAKE] == [reverse("admin:payments_statement_take")]
    assert UPLOADS[TAKE] == bookkeeping.PERMISSION


@pytest.mark.django_db(transaction=True)
def test_large_file_is_read_from_staff_with_the_permission_only(client, admin_client, django_user_model):
    assert (ask(admin_client, TAKE) or 0) > MAX_FILE_BYTES
    assert ask(admin_client, "/admin/") is None
    assert ask(client, TAKE) is None
    client.force_login(django_user_model.objects.create_user("reader", is_staff=True))
    assert ask(client, TAKE) is None
    client.cookies[shop_settings.SESSION_COOKIE_NAME] = "x"
    assert ask(client, TAKE) is None
