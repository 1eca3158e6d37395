"""The life of a payment and of its refunds at UnionPay, as a merchant sees it through the calls."""

import base64
import io
import re
import zipfile
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.unionpay_merchant import (
    APP,
    BACK,
    BEIJING,
    FRONT,
    UnionPayMerchant,
    in_seconds,
    read_notice,
)
from tests.waiting import wait_until

WIDTHS = [3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2]
WIDTHS += [2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131]


@pytest.fixture
def merchant(sandbox):
    return UnionPayMerchant(sandbox)


def ended(merchant, wish):
    """A refund's query once it has ended."""

    def ask():
        told = merchant.query(wish)
        return told if told.get("origRespCode") not in (None, "05") else None

    return wait_until(ask)


# Payments


def test_qr_order_gets_a_code_that_leads_to_the_wallet(merchant):
    told = merchant.call(BACK, merchant.order("qr"))

    assert re.fullmatch(r"https://qr\.95516\.com/00010000/62\d{30}", told["qrCode"])
    page = merchant.http.get(f"{merchant.sandbox.url}/_sandbox/wallet", params={"content": told["qrCode"]})
    assert "¥129.00" in page.text


def test_app_order_gets_a_tn_that_leads_to_the_wallet(merchant):
    told = merchant.call(APP, merchant.order("app"))

    assert re.fullmatch(r"\d{21}", told["tn"])
    page = merchant.http.get(f"{merchant.sandbox.url}/_sandbox/wallet", params={"content": told["tn"]})
    assert "¥129.00" in page.text


def test_form_of_the_browser_leads_to_the_wallet_and_the_same_form_again_too(merchant):
    order = merchant.order("wap")
    form = merchant.sign(order)

    for _ in range(2):
        answer = merchant.post(FRONT, form)
        assert answer.status_code == 303
        page = merchant.http.get(merchant.sandbox.url + answer.headers["Location"])
        assert order["orderId"] in page.text
    assert len(merchant.sandbox.trades(order["orderId"], "unionpay")) == 1


def test_form_with_other_content_under_a_known_number_is_refused_on_a_page(merchant):
    order = merchant.order("wap")
    merchant.post(FRONT, merchant.sign(order))

    answer = merchant.post(FRONT, merchant.sign(order | {"txnAmt": "1"}))

    assert answer.status_code == 400
    assert "text/html" in answer.headers["Content-Type"]
    assert "1200000" in answer.text


def test_order_that_no_browser_has_brought_is_not_there(merchant):
    assert merchant.query(merchant.order("wap"))["respCode"] == "34"


def test_answer_says_again_what_it_answers_and_is_not_url_encoded(merchant):
    order = merchant.order("qr", reqReserved="两件 a+b")

    answer = merchant.post(BACK, merchant.sign(order))

    assert b"reqReserved=\xe4\xb8\xa4\xe4\xbb\xb6 a+b&" in answer.content
    assert b"-----BEGIN CERTIFICATE-----\r\n" in answer.content
    assert b"-----END CERTIFICATE-----&" in answer.content
    assert f"orderId={order['orderId']}&txnTime={order['txnTime']}" in answer.content.decode()


@pytest.mark.parametrize("change", [{}, {"txnAmt": "12901"}, {"txnTime": timedelta(seconds=-60)}])
def test_number_is_good_for_one_trade(merchant, change):
    order = merchant.create()

    assert merchant.call(BACK, order | change)["respCode"] == "12"
    assert len(merchant.sandbox.trades(order["orderId"], "unionpay")) == 1


def test_first_query_may_come_too_early_and_the_second_says_processing(merchant):
    order = merchant.create()

    told = [merchant.query(order) for _ in range(2)]

    # On a busy machine the first may come later than the second in which a trade is not visible.
    assert told[0]["respCode"] in ("34", "00")
    assert (told[1]["respCode"], told[1]["origRespCode"]) == ("00", "05")
    assert "queryId" not in told[1]


def test_paid_trade_is_told_at_once_and_in_full(merchant):
    order, query_id = merchant.paid()

    told = merchant.query(order)

    assert (told["respCode"], told["origRespCode"], told["queryId"]) == ("00", "00", query_id)
    assert (told["txnAmt"], told["currencyCode"], told["txnType"], told["txnSubType"]) == (
        "12900",
        "156",
        "01",
        "07",
    )
    assert re.fullmatch(r"\d{21}", query_id)
    assert re.fullmatch(r"\d{10}", told["traceTime"])


def test_query_is_taken_at_both_paths(merchant):
    order, _ = merchant.paid()

    assert merchant.query(order, BACK)["origRespCode"] == "00"


@pytest.mark.parametrize(
    "change", [{"txnTime": timedelta(seconds=-5)}, {"orderId": "ND00000000"}, {"bizType": "000201"}]
)
def test_trade_is_found_by_its_whole_identity_only(merchant, change):
    order, _ = merchant.paid()

    assert merchant.query(order, **change)["respCode"] == "34"


def test_declined_trade_is_a_failed_try_that_can_still_be_paid(merchant):
    order = merchant.create()
    merchant.sandbox.decline(order["orderId"], channel="unionpay")
    merchant.query(order)
    assert merchant.query(order)["origRespCode"] == "64"

    merchant.sandbox.pay(order["orderId"], channel="unionpay")

    assert merchant.query(order)["origRespCode"] == "00"


def test_wallet_takes_no_money_after_pay_timeout_but_forced_money_comes(merchant):
    order = merchant.create(payTimeout=in_seconds(3))
    path = f"{merchant.sandbox.url}/_sandbox/trades/unionpay/{order['orderId']}/pay"
    wait_until(lambda: in_seconds(0) > order["payTimeout"])

    assert merchant.http.post(path, json={}).status_code == 409
    merchant.sandbox.pay(order["orderId"], channel="unionpay", force=True)

    assert merchant.query(order)["origRespCode"] == "00"


# Refunds


def test_refund_is_accepted_and_ends_by_itself(merchant):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 2900)

    told = merchant.call(BACK, wish)

    assert (told["respCode"], told["origQryId"]) == ("00", query_id)
    done = ended(merchant, wish)
    assert (done["origRespCode"], done["queryId"], done["txnAmt"], done["txnType"]) == (
        "00",
        told["queryId"],
        "2900",
        "04",
    )
    assert merchant.query(order)["origRespCode"] == "00"


def test_qr_refund_may_name_the_original_by_number_and_moment(merchant):
    order, query_id = merchant.paid()
    named = {"origQryId": None, "origOrderId": order["orderId"], "origTxnTime": order["txnTime"]}

    assert merchant.refund(order, query_id, 100, **named)["respCode"] == "00"
    assert (
        merchant.refund(order, query_id, 100, **named | {"origTxnTime": timedelta(seconds=-9)})["respCode"]
        == "35"
    )


def test_parts_are_given_back_up_to_the_whole(merchant):
    order, query_id = merchant.paid()

    codes = [merchant.refund(order, query_id, amount)["respCode"] for amount in (12000, 901, 900, 1)]

    assert codes == ["00", "36", "00", "45"]


def test_repeated_refund_exists_once(merchant):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 100)

    codes = [merchant.call(BACK, wish)["respCode"] for _ in range(2)]

    assert codes == ["00", "12"]
    [trade] = merchant.sandbox.trades(order["orderId"], "unionpay")
    assert [refund["amount"] for refund in trade["refunds"]] == [100]


@pytest.mark.parametrize(("value", "code"), [("CLOSED", "60"), ("ABNORMAL", "04")])
def test_refund_that_fails_is_told_by_its_query_and_never_notified(merchant, value, code):
    order, query_id = merchant.paid()
    merchant.sandbox.set_faults(
        {
            "script": [
                {"channel": "unionpay", "operation": "refund", "what": "refund_abnormal", "value": value}
            ]
        }
    )
    wish = merchant.refund_wish(order, query_id, 100)
    merchant.call(BACK, wish)

    assert ended(merchant, wish)["origRespCode"] == code
    answer = merchant.http.post(
        f"{merchant.sandbox.url}/_sandbox/trades/unionpay/{order['orderId']}/notify",
        json={"out_refund_no": wish["orderId"]},
    )
    assert answer.status_code == 409


def test_unpaid_and_unknown_trades_give_nothing_back(merchant):
    order = merchant.create()

    assert merchant.refund(order, "2" * 21, 100)["respCode"] == "35"


def test_undo_is_of_the_whole_amount_once(merchant):
    order, query_id = merchant.paid()
    undo = {"txnType": "31"}

    assert merchant.refund(order, query_id, 100, **undo)["respCode"] == "36"
    assert merchant.refund(order, query_id, 12900, **undo)["respCode"] == "00"
    assert merchant.refund(order, query_id, 12900, **undo)["respCode"] == "45"


def test_refund_in_the_console_is_in_the_statement_and_not_notified(merchant):
    order, _ = merchant.paid()

    [trade] = merchant.sandbox.refund_in_console(order["orderId"], 300, channel="unionpay")

    assert [refund["amount"] for refund in trade["refunds"]] == [300]
    number = trade["refunds"][0]["out_refund_no"]
    wait_until(lambda: number in {row[11] for row in read_book(merchant)})


# Notifications


def test_payment_is_notified_as_a_form_that_verifies(merchant, shop):
    order, query_id = merchant.paid(backUrl=shop.url)

    notice = read_notice(shop.take().body)

    merchant.verify(notice)
    assert (notice["orderId"], notice["txnTime"]) == (order["orderId"], order["txnTime"])
    assert (notice["respCode"], notice["queryId"], notice["txnAmt"]) == ("00", query_id, "12900")
    assert "origRespCode" not in notice


def test_refund_is_notified_too(merchant, shop):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 2900, backUrl=shop.url)
    merchant.call(BACK, wish)

    notice = read_notice(shop.take().body)

    merchant.verify(notice)
    assert (notice["txnType"], notice["orderId"], notice["origQryId"]) == ("04", wish["orderId"], query_id)


def test_notification_is_repeated_with_the_same_text_up_to_five_times(merchant, shop):
    shop.answer = lambda count: 500
    merchant.paid(backUrl=shop.url)

    bodies = [shop.take(20).body for _ in range(5)]

    assert len(set(bodies)) == 1


@pytest.mark.parametrize("status", [200, 302])
def test_200_and_302_end_the_repeats(merchant, shop, status):
    shop.answer = lambda count: status
    order, _ = merchant.paid(backUrl=shop.url)
    shop.take()

    def tries():
        return merchant.sandbox.trades(order["orderId"], "unionpay")[0]["notifications"]

    assert [made["acknowledged"] for made in wait_until(tries)] == [True]


def test_forged_notification_bears_the_name_but_not_the_authority(merchant, shop):
    merchant.sandbox.set_faults(
        {"script": [{"channel": "unionpay", "operation": "notify", "what": "badsign", "times": 100}]}
    )
    merchant.paid(backUrl=shop.url)
    notice = read_notice(shop.take().body)

    with pytest.raises(Exception, match=r"Issuer|issuer"):
        merchant.verify(notice)


# Statements


def read_book(merchant, moment=None, **changes):
    """The fields of every line of a clearing day's book."""
    day = (moment or datetime.now(UTC)).astimezone(BEIJING) + timedelta(hours=1)
    told = merchant.statement(f"{day:%m%d}", **changes)
    if told["respCode"] == "98":
        return []
    packed = zlib.decompress(base64.b64decode(told["fileContent"], validate=True))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        mer_id = merchant.env["UNIONPAY_MER_ID"]
        book, rest = sorted(archive.namelist(), key=len)
        assert book == f"INN{day:%y%m%d}88ZM_{mer_id}"
        assert archive.read(rest) == b""
        text = archive.read(book).decode("gbk")
    assert text.endswith("\r\n")
    return [split_line(line) for line in text.split("\r\n")[:-1]]


def split_line(line):
    fields, place = [], 0
    for width in WIDTHS:
        fields.append(line[place : place + width].strip())
        assert line[place + width : place + width + 1] in (" ", "")
        place += width + 1
    assert place == len(line) + 1
    return fields


def test_statement_holds_the_payment_and_its_refund_with_letters_for_signs(merchant):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 2900)
    refund_id = merchant.call(BACK, wish)["queryId"]
    ended(merchant, wish)

    rows = [row for row in read_book(merchant) if query_id in (row[9], row[26])]

    paid, refunded = rows
    assert (paid[6], paid[9], paid[11], paid[19], paid[15], paid[16]) == (
        "000000012900",
        query_id,
        order["orderId"],
        "01",
        "D000000000077",
        "C000000012823",
    )
    assert (refunded[6], refunded[9], refunded[11], refunded[19], refunded[15], refunded[16]) == (
        "000000002900",
        refund_id,
        wish["orderId"],
        "04",
        "C000000000017",
        "D000000002883",
    )
    assert (refunded[26], refunded[40], paid[27]) == (
        query_id,
        order["orderId"],
        merchant.env["UNIONPAY_MER_ID"],
    )


def test_undone_trade_vanishes_from_the_statement(merchant):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 12900, txnType="31")
    merchant.call(BACK, wish)
    ended(merchant, wish)

    assert not [row for row in read_book(merchant) if query_id in (row[9], row[26])]


def test_day_without_a_trade_has_no_file(merchant):
    assert read_book(merchant, datetime.now(UTC) - timedelta(days=40)) == []


@pytest.mark.parametrize(("what", "lines"), [("statement_omit", -1), ("statement_double", 1)])
def test_statement_lacks_a_line_or_has_one_twice_by_a_fault(own_sandbox, what, lines):
    merchant = UnionPayMerchant(own_sandbox())  # in the shared one refunds of other tests may end meanwhile
    for _ in range(2):
        merchant.paid()
    whole = read_book(merchant)
    merchant.sandbox.set_faults({"script": [{"channel": "unionpay", "operation": "statement", "what": what}]})

    assert len(read_book(merchant)) == len(whole) + lines


# Faults


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"what": "notfound", "when": "after"}, "34"),
        ({"what": "syserr", "when": "after"}, "99"),
        ({"what": "status", "when": "after", "value": {"status": 500, "code": "05"}}, "05"),
    ],
)
def test_query_answers_with_the_code_of_a_fault_signed(merchant, fault, code):
    order, _ = merchant.paid()
    merchant.sandbox.set_faults({"script": [{"channel": "unionpay", "operation": "query", **fault}]})

    told = merchant.query(order)

    assert (told["respCode"], told["orderId"]) == (code, order["orderId"])
    assert "signature" in told


def test_lie_changes_what_is_told_and_is_rightly_signed(merchant):
    order, _ = merchant.paid()
    lie = {"amount": 1, "currency": "USD", "status": "05", "out_trade_no": "ND00000000", "merchant": "1"}
    merchant.sandbox.set_faults(
        {
            "script": [
                {"channel": "unionpay", "operation": "query", "when": "after", "what": "lie", "value": lie}
            ]
        }
    )

    told = merchant.query(order)

    assert (told["txnAmt"], told["currencyCode"], told["origRespCode"]) == ("1", "840", "05")
    assert (told["orderId"], told["merId"], told["respCode"]) == ("ND00000000", "1", "00")


def test_faults_of_refund_queries_strike_refunds_only(merchant):
    order, query_id = merchant.paid()
    wish = merchant.refund_wish(order, query_id, 100)
    merchant.call(BACK, wish)
    ended(merchant, wish)
    merchant.sandbox.set_faults(
        {
            "script": [
                {"channel": "unionpay", "operation": "query_refund", "when": "after", "what": "notfound"}
            ]
        }
    )

    assert merchant.query(order)["respCode"] == "00"
    assert merchant.query(wish)["respCode"] == "34"
