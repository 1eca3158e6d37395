"""WeChat's trade bill: what it holds, how it is announced and fetched, and what is refused."""

import gzip
import hashlib
import sqlite3
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pytest

from tests.sandbox.merchant import Merchant
from tests.waiting import wait_until

BEIJING = timezone(timedelta(hours=8))
BILLS = "/v3/bill/tradebill"
DAY_US = 86_400 * 1_000_000


def today() -> date:
    """The day in Beijing, which does not end while a test runs."""
    wait_until(lambda: datetime.now(BEIJING).time() < time(23, 59, 30), within_s=40)
    return datetime.now(BEIJING).date()


@pytest.fixture
def sandbox(own_sandbox):
    """One for each test: a bill holds whatever was paid on its day."""
    today()
    return own_sandbox()


def ask(merchant: Merchant, day: date | str | None = None, query: str = "") -> Any:
    return merchant.call("GET", f"{BILLS}?bill_date={day or today()}{query}")


def fetch(merchant: Merchant, document, **options):
    return merchant.call("GET", document["download_url"].removeprefix(merchant.sandbox.url), **options)


def read_bill(merchant: Merchant, **wish):
    """Rows and totals by their columns' names."""
    content = fetch(merchant, ask(merchant, **wish).json()).content
    head, *rows, total_head, totals = content.decode("utf-8-sig").removesuffix("\r\n").split("\r\n")
    names = head.split(",")
    assert all(row.startswith("`") for row in (*rows, totals))
    cells = [dict(zip(names, row[1:].split(",`"), strict=True)) for row in rows]
    return cells, dict(zip(total_head.split(","), totals[1:].split(",`"), strict=True))


def paid(merchant: Merchant, **changes) -> str:
    number = merchant.create(**changes)
    merchant.sandbox.pay(number)
    return number


def refunded(merchant: Merchant, number: str, amount: int) -> None:
    merchant.refund(number, amount, "R" + number)
    wait_until(lambda: merchant.sandbox.trades(number)[0]["refunds"][0]["status"] == "SUCCESS")


# What it holds


def test_payment_and_refund_are_rows_of_their_own(merchant):
    number = paid(merchant, attach="cart 7")
    refunded(merchant, number, 2900)
    merchant.create()
    [trade] = merchant.sandbox.trades(number)

    [payment, refund], totals = read_bill(merchant)

    shared = {
        "公众账号ID": merchant.env["WECHAT_APPID"],
        "商户号": merchant.env["WECHAT_MCHID"],
        "特约商户号": "0",
        "微信订单号": trade["channel_number"],
        "商户订单号": number,
        "交易类型": "NATIVE",
        "货币种类": "CNY",
        "商品名称": "two shirts 两件",
        "商户数据包": "cart 7",
        "费率": "0.60%",
    }
    assert (
        payment.items()
        >= (
            shared
            | {
                "交易状态": "SUCCESS",
                "应结订单金额": "129.00",
                "订单金额": "129.00",
                "微信退款单号": "0",
                "商户退款单号": "0",
                "申请退款金额": "0.00",
                "退款状态": "",
                "手续费": "0.77000",
            }
        ).items()
    )
    assert (
        refund.items()
        >= (
            shared
            | {
                "交易状态": "REFUND",
                "应结订单金额": "0.00",
                "订单金额": "0.00",
                "商户退款单号": "R" + number,
                "退款金额": "29.00",
                "申请退款金额": "29.00",
                "退款类型": "ORIGINAL",
                "退款状态": "SUCCESS",
                "手续费": "-0.17000",
            }
        ).items()
    )
    assert totals == {
        "总交易单数": "2",
        "应结订单总金额": "129.00",
        "退款总金额": "29.00",
        "充值券退款总金额": "0.00",
        "手续费总金额": "0.60000",
        "订单总金额": "129.00",
        "申请退款总金额": "29.00",
    }


def test_row_tells_the_moment_in_beijing(merchant):
    number = paid(merchant)
    paid_at = datetime.fromisoformat(merchant.sandbox.trades(number)[0]["paid_at"])

    [[payment], _] = read_bill(merchant)

    assert payment["交易时间"] == f"{paid_at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"


def test_number_that_was_paid_twice_has_a_row_for_each_trade(merchant):
    number = paid(merchant)
    merchant.sandbox.pay(number, force=True)

    rows, _ = read_bill(merchant)

    assert [row["商户订单号"] for row in rows] == [number] * 2
    assert len({row["微信订单号"] for row in rows}) == 2


def test_row_of_each_scene_says_how_it_was_paid(merchant):
    scene = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "iOS"}}
    for product in ("h5", "app"):
        document = merchant.order(scene_info=scene)
        merchant.call("POST", f"/v3/pay/transactions/{product}", document)
        merchant.sandbox.pay(document["out_trade_no"])

    rows, _ = read_bill(merchant)

    assert [row["交易类型"] for row in rows] == ["MWEB", "APP"]


def test_comma_of_a_products_name_is_not_quoted(merchant):
    paid(merchant, description="shirt, blue,\n`L`")

    content = fetch(merchant, ask(merchant).json()).content.decode()

    assert ",`shirt, blue, `L`,`" in content


def test_bill_of_a_day_holds_that_day_of_beijing_only(own_sandbox, tmp_path):
    sandbox = own_sandbox()
    old = paid(Merchant(sandbox))
    sandbox.stop()
    with closing(sqlite3.connect(tmp_path / "sandbox" / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE trades SET paid_at = paid_at - ?", [DAY_US])
    merchant = Merchant(own_sandbox())
    new = paid(merchant)
    yesterday = today() - timedelta(days=1)

    assert [row["商户订单号"] for row in read_bill(merchant)[0]] == [new]
    assert [row["商户订单号"] for row in read_bill(merchant, day=yesterday)[0]] == [old]


# How it is announced and fetched


def test_announcement_is_sealed_and_the_file_is_not(merchant):
    paid(merchant)
    announced = ask(merchant)

    file = fetch(merchant, announced.json())

    assert merchant.is_sealed(announced.headers, announced.content)
    assert announced.json()["hash_type"] == "SHA1"
    assert announced.json()["hash_value"] == hashlib.sha1(file.content).hexdigest()
    assert "Wechatpay-Signature" not in file.headers
    assert file.content.startswith("\ufeff交易时间,".encode())


def test_packed_bill_is_announced_by_the_digest_of_its_text(merchant):
    paid(merchant)
    announced = ask(merchant, query="&bill_type=ALL&tar_type=GZIP").json()

    text = gzip.decompress(fetch(merchant, announced).content)

    assert announced["hash_value"] == hashlib.sha1(text).hexdigest()


def test_file_needs_a_signature_as_any_call(merchant):
    paid(merchant)
    announced = ask(merchant).json()

    assert merchant.http.get(announced["download_url"], headers={"User-Agent": "x"}).status_code == 401
    assert fetch(merchant, announced, signature="AAAA").status_code == 401
    assert fetch(merchant, announced).status_code == 200


@pytest.mark.parametrize("token", ["", "token", "0" * 64])
def test_unknown_token_fetches_nothing(merchant, token):
    answer = merchant.call("GET", f"/v3/billdownload/file?token={token}")

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")


# What is refused


def test_day_without_trades_has_no_bill(merchant):
    merchant.create()
    answer = ask(merchant)

    assert (answer.status_code, answer.json()["code"]) == (400, "NO_STATEMENT_EXIST")
    assert merchant.is_sealed(answer.headers, answer.content)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "/bill_date"),
        ("?bill_date=", "/bill_date"),
        ("?bill_date=20261120", "/bill_date"),
        ("?bill_date=2026-02-30", "/bill_date"),
        (f"?bill_date={today() + timedelta(days=2)}", "/bill_date"),
        (f"?bill_date={today() - timedelta(days=95)}", "/bill_date"),
        (f"?bill_date={today()}&bill_type=SUCCESS", "/bill_type"),
        (f"?bill_date={today()}&bill_type=all", "/bill_type"),
        (f"?bill_date={today()}&tar_type=ZIP", "/tar_type"),
    ],
)
def test_wrong_wish_names_the_field(merchant, query, field):
    paid(merchant)
    answer = merchant.call("GET", BILLS + query)

    assert (answer.status_code, answer.json()["code"]) == (400, "PARAM_ERROR")
    assert answer.json()["detail"]["field"] == field


# Faults


@pytest.mark.parametrize(("what", "count"), [("statement_omit", 1), ("statement_double", 3)])
def test_bill_can_lack_a_row_or_have_one_twice_with_totals_that_fit(merchant, what, count):
    for _ in range(2):
        paid(merchant)
    merchant.sandbox.set_faults({"script": [{"channel": "wechat", "operation": "statement", "what": what}]})

    rows, totals = read_bill(merchant)

    assert (len(rows), totals["总交易单数"]) == (count, str(count))
    assert len(read_bill(merchant)[0]) == 2


def test_second_call_of_a_statement_is_the_file(merchant):
    paid(merchant)
    entry = {"channel": "wechat", "operation": "statement", "when": "after", "what": "garbage", "nth": 2}
    merchant.sandbox.set_faults({"script": [entry]})

    answer = fetch(merchant, ask(merchant).json())

    assert (answer.status_code, answer.content) == (200, b"<<<\xff\xfe{]")
    assert "Wechatpay-Signature" not in answer.headers
