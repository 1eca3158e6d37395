"""`python-alipay-sdk`, a client that knows nothing of us, works against the sandbox with only the gateway's host changed."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from alipay import AliPay
from alipay.exceptions import AliPayException, AliPayValidationError

from tests.sandbox.alipay_merchant import AlipayShop, beijing
from tests.sandbox.merchant import make_number


@pytest.fixture
def shop():
    shop = AlipayShop()
    yield shop
    shop.close()


@pytest.fixture
def client(sandbox, shop):
    return make_client(sandbox, shop.url)


def make_client(sandbox, notify_url, key_file="ALIPAY_ALIPAY_KEY_FILE"):
    client = AliPay(
        appid=sandbox.env["ALIPAY_APP_ID"],
        app_notify_url=notify_url,
        app_private_key_string=Path(sandbox.env["ALIPAY_APP_KEY_FILE"]).read_text(),
        alipay_public_key_string=Path(sandbox.env[key_file]).read_text(),
    )
    client._gateway = sandbox.env["ALIPAY_GATEWAY_URL"]
    return client


def create(client, **extra):
    """Made with a float, as the package wants it."""
    number = make_number()
    said = client.api_alipay_trade_precreate(
        subject="两件T恤 x2", out_trade_no=number, total_amount=129.0, **extra
    )
    assert (said["code"], said["out_trade_no"]) == ("10000", number)
    assert said["qr_code"].startswith("https://qr.alipay.com/")
    return number


def read(client, body):
    """A notification as the package's users read it."""
    fields = dict(parse_qsl(body.decode()))
    signature = fields.pop("sign")
    return fields if client.verify(fields, signature) else None


def test_it_makes_a_code_and_finds_no_trade_until_it_is_scanned(client, sandbox):
    number = create(client, timeout_express="30m")
    assert client.api_alipay_trade_query(out_trade_no=number)["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    sandbox.scan(number, channel="alipay")
    assert client.api_alipay_trade_query(out_trade_no=number)["trade_status"] == "WAIT_BUYER_PAY"
    assert sandbox.trades(number)[0]["amount"] == 12900


def test_it_verifies_our_payment_notification(client, sandbox, shop):
    number = create(client)
    sandbox.pay(number, channel="alipay")
    notice = read(client, shop.take())
    assert (notice["out_trade_no"], notice["trade_status"]) == (number, "TRADE_SUCCESS")
    assert client.api_alipay_trade_query(trade_no=notice["trade_no"])["total_amount"] == "129.00"


def test_it_refuses_a_forged_notification(client, sandbox, shop):
    sandbox.set_faults({"notify": {"forge": 1}})
    sandbox.pay(create(client), channel="alipay")
    assert read(client, shop.take()) is None


def test_it_closes_an_unpaid_trade(client, sandbox):
    number = create(client)
    sandbox.scan(number, channel="alipay")
    assert client.api_alipay_trade_close(out_trade_no=number)["code"] == "10000"
    assert sandbox.trades(number)[0]["status"] == "CLOSED"


def test_it_refunds_asks_for_the_refund_and_verifies_its_notification(client, sandbox, shop):
    number = create(client)
    sandbox.pay(number, channel="alipay")
    shop.take()
    said = client.api_alipay_trade_refund(
        29.0, out_trade_no=number, out_request_no="R1", refund_reason="size"
    )
    assert (said["fund_change"], said["refund_fee"]) == ("Y", "29.00")
    known = client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no=number)
    assert (known["refund_status"], known["refund_amount"]) == ("REFUND_SUCCESS", "29.00")
    assert read(client, shop.take())["out_biz_no"] == "R1"


def test_its_cancel_refunds_what_was_paid(client, sandbox):
    number = create(client)
    sandbox.pay(number, channel="alipay")
    assert client.api_alipay_trade_cancel(out_trade_no=number)["action"] == "refund"
    assert sandbox.trades(number)[0]["refunds"][0]["amount"] == 12900


@pytest.mark.parametrize(
    "call", ["api_alipay_trade_wap_pay", "api_alipay_trade_app_pay", "api_alipay_trade_page_pay"]
)
def test_order_string_that_it_signs_leads_to_the_wallet(client, sandbox, call):
    number = make_number()
    text = getattr(client, call)(subject="两件T恤 x2", out_trade_no=number, total_amount=129.0)
    answer = requests.get(f"{client._gateway}?{text}", allow_redirects=False, timeout=20)
    assert answer.status_code == 303
    sandbox.pay(number, channel="alipay")
    assert client.api_alipay_trade_query(out_trade_no=number)["trade_status"] == "TRADE_SUCCESS"


def test_it_verifies_the_parameters_of_the_browsers_return(client, sandbox):
    number = make_number()
    text = client.api_alipay_trade_wap_pay(
        subject="x", out_trade_no=number, total_amount=1.0, return_url="https://shop.example/back/?a=1"
    )
    answer = requests.get(f"{client._gateway}?{text}", allow_redirects=False, timeout=20)
    sandbox.pay(number, channel="alipay")
    page = requests.get(f"{sandbox.url}{answer.headers['Location']}", timeout=20).text
    link = page.partition('href="https://shop.example/back/?a=1')[2].partition('"')[0]
    fields = dict(parse_qsl(link.replace("&amp;", "&")))
    assert client.verify(fields, fields.pop("sign"))
    assert (fields["out_trade_no"], fields["method"]) == (number, "alipay.trade.wap.pay.return")


def test_it_fetches_the_address_of_a_bill(client, sandbox):
    sandbox.pay(create(client), channel="alipay")
    said = client.server_api(
        "alipay.data.dataservice.bill.downloadurl.query", {"bill_type": "trade", "bill_date": beijing()[:10]}
    )
    assert requests.get(said["bill_download_url"], timeout=20).content.startswith(b"PK")


def test_it_refuses_an_answer_that_a_stranger_signed(client, sandbox):
    fault = {"channel": "alipay", "operation": "query", "when": "after", "what": "badsign"}
    sandbox.set_faults({"script": [fault]})
    with pytest.raises(AliPayValidationError):
        client.api_alipay_trade_query(out_trade_no=create(client))


def test_it_is_refused_with_a_strangers_app(client):
    client._appid = "9021000000000000"
    with pytest.raises(AliPayException, match=r"isv\.invalid-app-id"):
        client.api_alipay_trade_query(out_trade_no="ND1")
