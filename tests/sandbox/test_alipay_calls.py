"""The life of a trade, of its refunds and of its notifications at Alipay, as a merchant sees it through the calls."""

import io
import zipfile
from datetime import datetime

import pytest

from tests.sandbox.alipay_merchant import (
    APP,
    BEIJING,
    BILL,
    CANCEL,
    CLOSE,
    PAGE,
    PRECREATE,
    QUERY,
    REFUND,
    REFUND_QUERY,
    WAP,
    AlipayMerchant,
    AlipayShop,
    beijing,
)
from tests.sandbox.merchant import make_number
from tests.waiting import wait_until


@pytest.fixture
def merchant(sandbox):
    return AlipayMerchant(sandbox)


@pytest.fixture
def shop():
    shop = AlipayShop()
    yield shop
    shop.close()


def truth(merchant, number):
    return merchant.sandbox.trades(number, channel="alipay")[0]


# A code


def test_code_is_made_and_no_trade_with_it(merchant):
    content = merchant.order()
    said = merchant.call(PRECREATE, content)
    assert said["qr_code"].startswith("https://qr.alipay.com/bax")
    assert said["out_trade_no"] == content["out_trade_no"]
    for method in (QUERY, CLOSE, REFUND, REFUND_QUERY):
        asked = {**content, "refund_amount": "1.00", "out_request_no": "R1"}
        assert merchant.call(method, asked)["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_query_of_a_code_that_nobody_scanned_tells_the_number_and_no_money(merchant):
    number = merchant.create()
    said = merchant.query(number)
    assert {name: said[name] for name in said if name != "sub_msg"} == {
        "code": "40004",
        "msg": "Business Failed",
        "sub_code": "ACQ.TRADE_NOT_EXIST",
        "out_trade_no": number,
        **dict.fromkeys(("buyer_pay_amount", "invoice_amount", "point_amount", "receipt_amount"), "0.00"),
    }


def test_scan_makes_the_trade_that_waits_for_its_buyer(merchant):
    number = merchant.create()
    merchant.scan(number)
    said = merchant.query(number)
    assert (said["trade_status"], said["total_amount"]) == ("WAIT_BUYER_PAY", "129.00")
    assert "send_pay_date" not in said
    merchant.scan(number)
    assert merchant.query(number)["trade_no"] == said["trade_no"]


def test_trade_is_paid_under_the_number_of_its_scan(merchant):
    number = merchant.create()
    merchant.scan(number)
    trade_no = merchant.query(number)["trade_no"]
    merchant.sandbox.pay(number, channel="alipay")
    said = merchant.query(number)
    assert (said["trade_status"], said["trade_no"]) == ("TRADE_SUCCESS", trade_no)
    assert said["trade_no"] == truth(merchant, number)["channel_number"]
    assert said["trade_no"].startswith(datetime.now(BEIJING).strftime("%Y%m"))
    assert len(said["trade_no"]) == 28
    assert merchant.call(QUERY, {"trade_no": trade_no})["out_trade_no"] == number


def test_money_that_comes_twice_has_two_trades(merchant):
    number = merchant.pay()
    first, second = merchant.sandbox.pay(number, channel="alipay", force=True)
    assert first["channel_number"] != second["channel_number"]
    assert merchant.call(QUERY, {"trade_no": first["channel_number"]})["code"] == "10000"


def test_same_order_again_gets_a_code_of_the_same_order(merchant):
    content = merchant.order()
    codes = {merchant.call(PRECREATE, content)["qr_code"] for _ in range(2)}
    assert len(codes) == 2
    assert len(merchant.sandbox.trades(content["out_trade_no"])) == 1


@pytest.mark.parametrize("is_scanned", [False, True])
@pytest.mark.parametrize("change", [{"total_amount": "129.01"}, {"subject": "other"}], ids=str)
def test_same_number_with_other_content_is_refused(merchant, change, is_scanned):
    content = merchant.order()
    merchant.call(PRECREATE, content)
    if is_scanned:
        merchant.scan(content["out_trade_no"])
    assert merchant.call(PRECREATE, content | change)["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    assert truth(merchant, content["out_trade_no"])["amount"] == 12900


def test_paid_and_closed_orders_are_not_made_again(merchant):
    content = merchant.order(merchant.pay())
    assert merchant.call(PRECREATE, content)["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    content = merchant.order(merchant.create())
    merchant.scan(content["out_trade_no"])
    merchant.call(CLOSE, content)
    assert merchant.call(PRECREATE, content)["sub_code"] == "ACQ.TRADE_HAS_CLOSE"


@pytest.mark.parametrize("amount", ["129.00", "129.0", "129", 129, 129.0])
def test_amount_may_be_a_number(merchant, amount):
    number = merchant.create(total_amount=amount)
    assert truth(merchant, number)["amount"] == 12900


# A browser, an app


@pytest.mark.parametrize(
    ("method", "product"),
    [
        (WAP, "QUICK_WAP_WAY"),
        (WAP, "QUICK_WAP_PAY"),
        (PAGE, "FAST_INSTANT_TRADE_PAY"),
        (APP, "QUICK_MSECURITY_PAY"),
    ],
)
def test_link_leads_to_the_wallet_and_makes_the_trade_there(merchant, method, product):
    content = merchant.order(product_code=product)
    number = content["out_trade_no"]
    answer = merchant.http.get(merchant.link(method, content), allow_redirects=False, timeout=20)
    assert answer.status_code == 303
    assert merchant.query(number)["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    page = merchant.http.get(f"{merchant.sandbox.url}{answer.headers['Location']}", timeout=20)
    assert page.status_code == 200
    merchant.scan(number)
    assert merchant.query(number)["trade_status"] == "WAIT_BUYER_PAY"
    merchant.sandbox.pay(number, channel="alipay")
    assert merchant.query(number)["trade_status"] == "TRADE_SUCCESS"


@pytest.mark.parametrize("change", [{"product_code": "QUICK"}, {"product_code": None}, {"total_amount": "0"}])
def test_wrong_link_is_a_page_with_the_error_and_makes_nothing(merchant, change):
    content = merchant.order(**{"product_code": "QUICK_WAP_WAY", **change})
    answer = merchant.http.get(merchant.link(WAP, content), allow_redirects=False, timeout=20)
    assert "ACQ.INVALID_PARAMETER" in answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    assert merchant.sandbox.trades(content["out_trade_no"]) == []


def test_link_with_a_changed_amount_is_refused(merchant):
    content = merchant.order(product_code="QUICK_WAP_WAY")
    link = merchant.link(WAP, content).replace("129.00", "0.01")
    assert "isv.invalid-signature" in merchant.http.get(link, allow_redirects=False, timeout=20).text
    assert merchant.sandbox.trades(content["out_trade_no"]) == []


# Close and cancel


def test_close_ends_an_unpaid_trade_and_may_be_repeated(merchant):
    number = merchant.create()
    merchant.scan(number)
    said = merchant.call(CLOSE, {"out_trade_no": number})
    assert (said["code"], said["out_trade_no"]) == ("10000", number)
    assert merchant.query(number)["trade_status"] == "TRADE_CLOSED"
    assert merchant.call(CLOSE, {"trade_no": said["trade_no"]})["code"] == "10000"
    assert truth(merchant, number)["status"] == "CLOSED"


def test_paid_trade_is_not_closed(merchant):
    number = merchant.pay()
    assert merchant.call(CLOSE, {"out_trade_no": number})["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    assert truth(merchant, number)["status"] == "PAID"


def end_while_paid(merchant, method: str, when: str):
    number = merchant.create()
    merchant.scan(number)
    entry = {"channel": "alipay", "operation": "close", "what": "paid_meanwhile", "when": when}
    merchant.sandbox.set_faults({"script": [entry]})
    return number, merchant.call(method, {"out_trade_no": number})


def test_close_of_what_is_paid_in_this_moment_is_refused(merchant):
    number, said = end_while_paid(merchant, CLOSE, "before")
    assert said["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    assert merchant.query(number)["trade_status"] == "TRADE_SUCCESS"


def test_cancel_gives_back_what_is_paid_in_this_moment(merchant):
    number, said = end_while_paid(merchant, CANCEL, "before")
    assert said["action"] == "refund"
    assert [refund["amount"] for refund in truth(merchant, number)["refunds"]] == [12900]


@pytest.mark.parametrize("method", [CLOSE, CANCEL])
def test_money_may_come_though_the_end_was_agreed_to(merchant, method):
    number, said = end_while_paid(merchant, method, "after")
    assert said["code"] == "10000"
    assert truth(merchant, number)["status"] == "PAID"


def test_code_that_nobody_scanned_can_be_paid_after_a_close_that_found_nothing(merchant):
    number = merchant.create()
    assert merchant.call(CLOSE, {"out_trade_no": number})["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    merchant.sandbox.pay(number, channel="alipay")
    assert merchant.query(number)["trade_status"] == "TRADE_SUCCESS"


def test_cancel_kills_a_code_that_nobody_scanned(merchant):
    number = merchant.create()
    said = merchant.call(CANCEL, {"out_trade_no": number})
    assert (said["action"], said["retry_flag"]) == ("close", "N")
    assert truth(merchant, number)["status"] == "CLOSED"


def test_cancel_of_a_paid_trade_gives_all_of_it_back(merchant):
    number = merchant.pay()
    merchant.refund(number, "29.00", "R1")
    assert merchant.call(CANCEL, {"out_trade_no": number})["action"] == "refund"
    assert [refund["amount"] for refund in truth(merchant, number)["refunds"]] == [2900, 10000]
    assert merchant.query(number)["trade_status"] == "TRADE_CLOSED"
    merchant.call(CANCEL, {"out_trade_no": number})
    assert len(truth(merchant, number)["refunds"]) == 2


def test_cancel_spells_its_own_error(merchant):
    number = merchant.create()
    merchant.sandbox.set_faults(
        {"script": [{"channel": "alipay", "operation": "close", "when": "before", "what": "syserr"}]}
    )
    said = merchant.call(CANCEL, {"out_trade_no": number})
    assert (said["sub_code"], said["retry_flag"]) == ("AQC.SYSTEM_ERROR", "Y")


# Refunds


def test_refund_moves_money_once(merchant):
    number = merchant.pay()
    first = merchant.refund(number, "29.00", "R1", refund_reason="size")
    assert (first["fund_change"], first["refund_fee"], first["out_trade_no"]) == ("Y", "29.00", number)
    again = merchant.refund(number, "29.00", "R1")
    assert (again["code"], again["fund_change"]) == ("10000", "N")
    assert [refund["amount"] for refund in truth(merchant, number)["refunds"]] == [2900]


def test_refund_fee_is_the_sum_of_all_refunds(merchant):
    number = merchant.pay()
    wishes = (("29.00", "R1"), ("50.00", "R2"), ("50.00", "R2"))
    fees = [merchant.refund(number, *wish)["refund_fee"] for wish in wishes]
    assert fees == ["29.00", "79.00", "79.00"]


def test_full_refund_closes_the_trade_which_still_tells_when_it_was_paid(merchant):
    number = merchant.pay()
    merchant.refund(number, "129.00", "R1")
    said = merchant.query(number)
    assert said["trade_status"] == "TRADE_CLOSED"
    assert said["send_pay_date"]
    assert merchant.refund(number, "129.00", "R1")["fund_change"] == "N"


def test_same_request_number_with_another_amount_is_refused(merchant):
    number = merchant.pay()
    merchant.refund(number, "29.00", "R1")
    assert merchant.refund(number, "30.00", "R1")["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"


def test_same_request_number_may_be_used_for_another_trade(merchant):
    for number in (merchant.pay(), merchant.pay()):
        assert merchant.refund(number, "29.00", "SAME1")["fund_change"] == "Y"
        assert merchant.query_refund(number, "SAME1")["refund_amount"] == "29.00"


@pytest.mark.parametrize(
    ("amount", "request_no", "sub_code"),
    [
        ("130.00", "R9", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
        ("0.00", "R9", "ACQ.INVALID_PARAMETER"),
        ("29.001", "R9", "ACQ.INVALID_PARAMETER"),
        ("29.00", None, "ACQ.INVALID_PARAMETER"),
        ("29.00", "R/9", "ACQ.INVALID_PARAMETER"),
    ],
)
def test_refund_that_breaks_a_rule_is_refused(merchant, amount, request_no, sub_code):
    number = merchant.pay()
    assert merchant.refund(number, amount, request_no)["sub_code"] == sub_code
    assert truth(merchant, number)["refunds"] == []


def test_trade_that_is_not_paid_or_closed_gives_nothing_back(merchant):
    number = merchant.create()
    merchant.scan(number)
    assert merchant.refund(number, "1.00", "R1")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"
    number = merchant.pay()
    merchant.refund(number, "129.00", "R1")
    assert merchant.refund(number, "1.00", "R2")["sub_code"] == "ACQ.TRADE_STATUS_ERROR"


def test_full_refund_needs_no_request_number(merchant):
    number = merchant.pay()
    assert merchant.refund(number, "129.00", None)["fund_change"] == "Y"
    assert merchant.query_refund(number, number)["refund_status"] == "REFUND_SUCCESS"


def test_unknown_refund_is_a_success_with_nothing_in_it(merchant):
    number = merchant.pay()
    assert merchant.query_refund(number, "R9") == {"code": "10000", "msg": "Success"}


def test_known_refund_is_told_with_its_own_amount(merchant):
    number = merchant.pay()
    merchant.refund(number, "29.00", "R1")
    merchant.refund(number, "30.00", "R2")
    said = merchant.query_refund(number, "R2")
    assert (said["refund_status"], said["refund_amount"], said["out_request_no"]) == (
        "REFUND_SUCCESS",
        "30.00",
        "R2",
    )


def test_refund_that_does_not_come_about_may_be_asked_for_again(merchant):
    number = merchant.pay()
    merchant.sandbox.set_faults(
        {"script": [{"channel": "alipay", "operation": "refund", "what": "refund_abnormal"}]}
    )
    assert merchant.refund(number, "29.00", "R1")["fund_change"] == "N"
    assert merchant.query_refund(number, "R1") == {"code": "10000", "msg": "Success"}
    assert merchant.refund(number, "29.00", "R1")["fund_change"] == "Y"


# Notifications


def test_payment_is_notified_with_a_signature_over_all_its_fields(merchant, shop):
    number = merchant.pay(notify_url=shop.url)
    notice = merchant.read_notice(shop.take())
    assert notice["app_id"] == merchant.env["ALIPAY_APP_ID"]
    assert notice["seller_id"] == merchant.env["ALIPAY_SELLER_ID"]
    assert (notice["notify_type"], notice["trade_status"]) == ("trade_status_sync", "TRADE_SUCCESS")
    assert (notice["out_trade_no"], notice["total_amount"]) == (number, "129.00")
    assert notice["trade_no"] == truth(merchant, number)["channel_number"]
    assert "gmt_refund" not in notice
    wait_until(lambda: truth(merchant, number)["notifications"])
    assert truth(merchant, number)["notifications"][0]["acknowledged"]


def test_refunds_are_notified_with_their_sum_and_the_last_one_closes(merchant, shop):
    number = merchant.pay(notify_url=shop.url)
    shop.take()
    merchant.refund(number, "29.00", "R1")
    first = merchant.read_notice(shop.take())
    assert (first["trade_status"], first["out_biz_no"], first["refund_fee"]) == (
        "TRADE_SUCCESS",
        "R1",
        "29.00",
    )
    merchant.refund(number, "100.00", "R2")
    last = merchant.read_notice(shop.take())
    assert (last["trade_status"], last["out_biz_no"], last["refund_fee"]) == ("TRADE_CLOSED", "R2", "129.00")
    assert first["gmt_refund"]
    assert first["notify_id"] != last["notify_id"]


def test_refund_in_the_console_is_notified_under_a_number_of_its_own(merchant, shop):
    number = merchant.pay(notify_url=shop.url)
    shop.take()
    merchant.sandbox.refund_in_console(number, 12900, channel="alipay")
    notice = merchant.read_notice(shop.take())
    assert (notice["trade_status"], notice["refund_fee"]) == ("TRADE_CLOSED", "129.00")
    assert merchant.query_refund(number, notice["out_biz_no"])["refund_amount"] == "129.00"


def test_console_refund_of_too_much_is_refused_in_words(merchant):
    number = merchant.pay()
    answer = merchant.http.post(
        f"{merchant.sandbox.url}/_sandbox/trades/alipay/{number}/refund", json={"amount": 12901}, timeout=20
    )
    assert (answer.status_code, answer.json()["message"]) == (409, "the refunds would exceed what was paid")


@pytest.mark.parametrize(
    "answer",
    [(200, b"fail"), (200, b""), (200, b"success\n"), (200, b"SUCCESS"), (500, b"success"), (204, b"")],
)
def test_anything_but_the_word_success_is_tried_again_under_the_same_id(merchant, shop, answer):
    shop.answer = answer
    number = merchant.pay(notify_url=shop.url)
    first = merchant.read_notice(shop.take())
    wait_until(lambda: truth(merchant, number)["notifications"])
    assert not truth(merchant, number)["notifications"][0]["acknowledged"]
    merchant.sandbox.notify(number, channel="alipay")
    assert merchant.read_notice(shop.take())["notify_id"] == first["notify_id"]


def test_order_without_a_notify_url_is_not_notified(merchant):
    content = merchant.order()
    merchant.call(PRECREATE, content)
    merchant.sandbox.pay(content["out_trade_no"], channel="alipay")
    assert truth(merchant, content["out_trade_no"])["notifications"] == []


# Bills


def test_bill_holds_the_days_payments_and_refunds(merchant):
    number = merchant.pay()
    merchant.refund(number, "29.00", "R1")
    said = merchant.call(BILL, {"bill_type": "trade", "bill_date": beijing()[:10]})
    answer = merchant.http.get(said["bill_download_url"], timeout=20)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = [entry.filename.encode("cp437").decode("gbk") for entry in archive.infolist()]
    assert [name.split("_", 2)[2] for name in names] == ["业务明细.csv", "业务明细(汇总).csv"]
    assert not any(entry.flag_bits & 0x800 for entry in archive.infolist())
    rows = [row for row in archive.read(archive.infolist()[0]).decode("gbk").split("\r\n") if number in row]
    assert [row.split(",")[2] for row in rows] == ["交易", "退款"]
    assert [row.split(",")[11] for row in rows] == ["129.00", "-29.00"]
    assert [row.split(",")[22] for row in rows] == ["-0.77", "0.17"]
    assert [row.split(",")[21] for row in rows] == ["\t", "R1\t"]


@pytest.mark.parametrize(
    ("wish", "sub_code"),
    [
        ({"bill_type": "trade", "bill_date": "2020-01-01"}, "isp.bill_not_exist"),
        ({"bill_type": "trade", "bill_date": "2099-01-01"}, "isp.bill_not_exist"),
        ({"bill_type": "signcustomer", "bill_date": "2020-01-01"}, "isp.bill_not_exist"),
        ({"bill_type": "all", "bill_date": "2020-01-01"}, "ACQ.INVALID_PARAMETER"),
        ({"bill_type": "trade", "bill_date": "20200101"}, "ACQ.INVALID_PARAMETER"),
        ({"bill_type": "trade", "bill_date": "2020-13-01"}, "ACQ.INVALID_PARAMETER"),
    ],
)
def test_bill_that_is_not_there_is_refused(merchant, wish, sub_code):
    assert merchant.call(BILL, wish)["sub_code"] == sub_code


def test_unknown_address_of_a_bill_is_gone(merchant):
    answer = merchant.http.get(f"{merchant.sandbox.url}/downloadBillFile.resource?token=x", timeout=20)
    assert answer.status_code == 404


def test_line_that_a_fault_leaves_out_is_missing(merchant):
    merchant.pay()
    wish = {"bill_type": "trade", "bill_date": beijing()[:10]}

    def count():
        answer = merchant.http.get(merchant.call(BILL, wish)["bill_download_url"], timeout=20)
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        return archive.read(archive.infolist()[0]).count(b"\r\n")

    whole = count()
    for what, lines in (("statement_omit", whole - 1), ("statement_double", whole + 1)):
        fault = {"channel": "alipay", "operation": "statement", "what": what}
        merchant.sandbox.set_faults({"script": [fault]})
        assert count() == lines


def test_trade_that_nobody_made_is_not_there_and_must_be_named(merchant):
    assert merchant.call(QUERY, {"out_trade_no": make_number()})["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert (
        merchant.call(QUERY, {"trade_no": "2026112122001400009999999999"})["sub_code"]
        == "ACQ.TRADE_NOT_EXIST"
    )
    assert merchant.call(QUERY, {})["sub_code"] == "ACQ.INVALID_PARAMETER"
