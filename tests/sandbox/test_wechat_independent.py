"""`wechatpayv3`, a client that knows nothing of us, works against the sandbox with only its host changed."""

import gzip
import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from wechatpayv3 import WeChatPay, WeChatPayType

from tests.sandbox.merchant import Merchant, make_number


@pytest.fixture
def client(sandbox, shop) -> WeChatPay:
    env = sandbox.env
    client = make_client(
        env,
        shop.url,
        public_key=Path(env["WECHAT_PLATFORM_KEY_FILE"]).read_text(),
        public_key_id=env["WECHAT_PLATFORM_KEY_ID"],
    )
    client._core._gate_way = sandbox.url
    return client


def make_client(env: dict[str, str], notify_url: str, **keys: Any) -> WeChatPay:
    return WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=env["WECHAT_MCHID"],
        private_key=Path(env["WECHAT_MERCHANT_KEY_FILE"]).read_text(),
        cert_serial_no=env["WECHAT_MERCHANT_SERIAL"],
        appid=env["WECHAT_APPID"],
        apiv3_key=env["WECHAT_APIV3_KEY"],
        notify_url=notify_url,
        timeout=(5, 20),
        **keys,
    )


def pay(client: WeChatPay, **more: Any) -> tuple[str, dict[str, str]]:
    """Make an order; returns its number and the answer."""
    number = make_number()
    amount = {"total": 12900, "currency": "CNY"}
    status, text = client.pay(description="两件T恤 x2", out_trade_no=number, amount=amount, **more)
    assert status == 200, text
    return number, json.loads(text)


def create(client: WeChatPay) -> str:
    number, answer = pay(client)
    assert answer["code_url"].startswith("weixin://")
    return number


def test_it_creates_and_queries_an_order(client):
    status, text = client.query(out_trade_no=create(client))

    assert (status, json.loads(text)["trade_state"]) == (200, "NOTPAY")


def test_it_creates_an_h5_order_whose_page_leads_to_the_wallet(client, sandbox):
    scene = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
    number, answer = pay(client, pay_type=WeChatPayType.H5, scene_info=scene)

    page = sandbox.http.get(answer["h5_url"], headers={"Referer": "https://shop.example/"})

    assert number in page.text
    assert json.loads(client.query(out_trade_no=number)[1])["trade_type"] == "MWEB"


def test_parameters_that_it_signs_for_an_app_open_the_wallet(client, sandbox):
    number, answer = pay(client, pay_type=WeChatPayType.APP)
    env, timestamp, nonce, prepay_id = sandbox.env, "1795255806", "nonce", answer["prepay_id"]
    parameters = {
        "appid": env["WECHAT_APPID"],
        "partnerid": env["WECHAT_MCHID"],
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": nonce,
        "timestamp": timestamp,
        "sign": client.sign([env["WECHAT_APPID"], timestamp, nonce, prepay_id]),
    }

    page = sandbox.http.get(f"{sandbox.url}/_sandbox/wechat/app", params=parameters)

    assert page.status_code == 200
    assert number in page.text


def test_it_fetches_a_bill(client, sandbox):
    number = create(client)
    sandbox.pay(number)
    day = datetime.now(timezone(timedelta(hours=8))).date()
    status, text = client.trade_bill(bill_date=str(day), tar_type="GZIP")
    assert status == 200, text
    announced = json.loads(text)

    status, content = client.download_bill(announced["download_url"])

    plain = gzip.decompress(content)
    assert status == 200
    assert number.encode() in plain
    assert hashlib.sha1(plain).hexdigest() == announced["hash_value"]


def test_it_verifies_and_opens_our_payment_notification(client, sandbox, shop):
    number = create(client)
    sandbox.pay(number)
    received = shop.take()

    notice = client.callback(dict(received.headers.items()), received.body)

    assert notice["event_type"] == "TRANSACTION.SUCCESS"
    assert notice["resource"]["out_trade_no"] == number
    assert notice["resource"]["amount"]["total"] == 12900


def test_it_refuses_a_forged_notification(client, sandbox, shop):
    sandbox.set_faults({"notify": {"forge": 1}})
    sandbox.pay(create(client))
    received = shop.take()

    assert client.callback(dict(received.headers.items()), received.body) is None


def test_it_closes_an_order(client, sandbox):
    number = create(client)

    status, _ = client.close(out_trade_no=number)

    assert status == 204
    assert sandbox.trades(number)[0]["status"] == "CLOSED"


def test_it_refunds_and_verifies_the_refund_notification(client, sandbox, shop):
    number = create(client)
    sandbox.pay(number)
    shop.take()
    wish = {"out_refund_no": "R" + number, "amount": {"refund": 2900, "total": 12900, "currency": "CNY"}}

    status, text = client.refund(out_trade_no=number, notify_url=shop.url, **wish)
    assert (status, json.loads(text)["status"]) == (200, "PROCESSING")
    received = shop.take()

    notice = client.callback(dict(received.headers.items()), received.body)
    assert notice["event_type"] == "REFUND.SUCCESS"
    assert notice["resource"]["out_refund_no"] == "R" + number
    status, text = client.query_refund(out_refund_no="R" + number)
    assert json.loads(text)["status"] == "SUCCESS"


def test_it_downloads_and_opens_the_platform_certificate(client, sandbox):
    client._core._update_certificates()

    [certificate] = client._core._certificates
    assert certificate.public_key() == Merchant(sandbox).platform_key


def test_answer_names_the_certificate_to_a_client_that_asks_for_it(client, sandbox):
    client._core._update_certificates()
    serial = f"{client._core._certificates[0].serial_number:040X}"
    merchant = Merchant(sandbox)

    answer = merchant.query(merchant.create(), headers={"Wechatpay-Serial": serial})

    assert answer.headers["Wechatpay-Serial"] == serial
    assert client._core._verify_signature(answer.headers, answer.text)
