"""WeChat's H5 and app orders, the ways of a shopper into the wallet, and a shopper who pays while the merchant closes."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox.merchant import SHA256_PKCS1, Merchant, make_number
from tests.sandbox.test_control import make_older

NATIVE, H5, APP = (f"/v3/pay/transactions/{product}" for product in ("native", "h5", "app"))
SCENE = {"payer_client_ip": "203.0.113.9", "h5_info": {"type": "Wap"}}
SHOP = {"Referer": "https://shop.example/"}
TRADE_TYPES = {NATIVE: "NATIVE", H5: "MWEB", APP: "APP"}


def create(merchant: Merchant, path: str, **changes):
    scene = {"scene_info": SCENE} if path == H5 else {}
    document = merchant.order(**(scene | changes))
    answer = merchant.call("POST", path, document)
    assert answer.status_code == 200, answer.text
    return document["out_trade_no"], answer.json()


def code_of(answer):
    return answer.status_code, answer.json()["code"]


def open_page(merchant: Merchant, url: str, headers=SHOP):
    return merchant.http.get(url, headers=headers, allow_redirects=False)


# Create


def test_h5_order_gets_a_page_and_an_app_order_a_prepay_id(merchant):
    page = urlsplit(create(merchant, H5)[1]["h5_url"])
    prepay = create(merchant, APP)[1]["prepay_id"]

    assert page.path == "/cgi-bin/mmpayweb-bin/checkmweb"
    assert set(parse_qs(page.query)) == {"prepay_id", "package"}
    assert prepay.startswith("wx")
    assert len(prepay) == 36


@pytest.mark.parametrize("path", TRADE_TYPES)
def test_query_and_notification_tell_how_the_order_is_paid(merchant, shop, path):
    number, _ = create(merchant, path, notify_url=shop.url)
    assert merchant.query(number).json()["trade_type"] == TRADE_TYPES[path]

    merchant.sandbox.pay(number)

    assert merchant.open_notice(shop.take().body)["trade_type"] == TRADE_TYPES[path]


@pytest.mark.parametrize("path", [H5, APP])
def test_same_order_again_gets_a_fresh_handle_of_the_same_order(merchant, path):
    document = merchant.order(scene_info=SCENE)

    answers = [merchant.call("POST", path, document).json() for _ in range(2)]

    assert answers[0] != answers[1]
    assert len(merchant.sandbox.trades(document["out_trade_no"])) == 1


@pytest.mark.parametrize(("first", "second"), [(NATIVE, H5), (H5, APP), (APP, NATIVE)])
def test_number_cannot_change_its_scene(merchant, first, second):
    document = merchant.order(scene_info=SCENE)
    assert merchant.call("POST", first, document).status_code == 200

    assert code_of(merchant.call("POST", second, document)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("scene", "field"),
    [
        (None, "/scene_info/payer_client_ip"),
        ("Wap", "/scene_info"),
        ({"h5_info": {"type": "Wap"}}, "/scene_info/payer_client_ip"),
        (SCENE | {"payer_client_ip": "shop.example"}, "/scene_info/payer_client_ip"),
        (SCENE | {"payer_client_ip": "203.0.113.9:80"}, "/scene_info/payer_client_ip"),
        ({"payer_client_ip": "203.0.113.9"}, "/scene_info/h5_info/type"),
        (SCENE | {"h5_info": {}}, "/scene_info/h5_info/type"),
        (SCENE | {"h5_info": "Wap"}, "/h5_info"),
        (SCENE | {"h5_info": {"type": "wap"}}, "/scene_info/h5_info/type"),
    ],
    ids=str,
)
def test_h5_order_must_say_who_pays_and_how(merchant, scene, field):
    document = merchant.order(scene_info=scene)

    answer = merchant.call("POST", H5, document)

    assert code_of(answer) == (400, "PARAM_ERROR")
    assert answer.json()["detail"]["field"] == field
    assert merchant.sandbox.trades(document["out_trade_no"]) == []


@pytest.mark.parametrize("product", ["jsapi", "H5", "h5/", ""])
def test_product_that_is_not_offered_is_nobodys_path(merchant, product):
    assert merchant.call("POST", f"/v3/pay/transactions/{product}", merchant.order()).status_code in (
        404,
        405,
    )


# The H5 page


def test_browser_from_the_shop_is_led_to_the_wallet_and_back(merchant):
    number, answer = create(merchant, H5)
    back = "https%3A%2F%2Fshop.example%2Forders%2F1%2F%3Fa%3D1"

    led = open_page(merchant, f"{answer['h5_url']}&redirect_url={back}")

    assert led.status_code == 303
    place = merchant.sandbox.url + led.headers["Location"]
    assert number in merchant.http.get(place).text
    content = parse_qs(urlsplit(place).query)["content"]
    form = {"content": content, "deed": "pay"}
    page = merchant.http.post(f"{merchant.sandbox.url}/_sandbox/wallet", data=form).text
    assert '<a href="https://shop.example/orders/1/?a=1">Back to the shop</a>' in page
    assert merchant.sandbox.trades(number)[0]["status"] == "PAID"


@pytest.mark.parametrize("headers", [{}, {"Referer": ""}, {"Referer": "shop"}], ids=str)
def test_browser_that_does_not_say_where_it_comes_from_is_refused(merchant, headers):
    page = open_page(merchant, create(merchant, H5)[1]["h5_url"], headers)

    assert page.status_code == 400
    assert "商家参数格式有误" in page.content.decode()
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Wechatpay-Signature" not in page.headers


@pytest.mark.parametrize("query", ["", "?prepay_id=", "?prepay_id=wx0", "?prepay_id=weixin://wxpay/x"])
def test_page_of_no_h5_order_is_refused(merchant, query):
    url = f"{merchant.sandbox.url}/cgi-bin/mmpayweb-bin/checkmweb{query}"

    assert open_page(merchant, url).status_code == 400


def test_app_order_has_no_h5_page(merchant):
    prepay = create(merchant, APP)[1]["prepay_id"]
    url = f"{merchant.sandbox.url}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id={prepay}"

    assert open_page(merchant, url).status_code == 400


def test_way_back_that_is_no_address_is_refused(merchant):
    answer = create(merchant, H5)[1]

    assert open_page(merchant, f"{answer['h5_url']}&redirect_url=orders").status_code == 400


@pytest.mark.parametrize(("seconds", "is_open"), [(290, True), (301, False)])
def test_h5_page_is_open_for_five_minutes_though_the_order_lives_on(own_sandbox, tmp_path, seconds, is_open):
    sandbox = own_sandbox()
    in_half_an_hour = datetime.now(UTC) + timedelta(minutes=30)
    number, answer = create(Merchant(sandbox), H5, time_expire=in_half_an_hour.isoformat(timespec="seconds"))
    sandbox.stop()
    make_older(tmp_path / "sandbox", seconds)
    again = own_sandbox(port=sandbox.port)

    page = again.http.get(answer["h5_url"], headers=SHOP).text

    assert ('value="pay"' in page, "This code is too old" in page) == (is_open, not is_open)
    assert again.pay(number)[0]["status"] == "PAID"


# The app


def sdk_parameters(merchant: Merchant, prepay_id: str) -> dict[str, str]:
    env = merchant.env
    text = f"{env['WECHAT_APPID']}\n1795255806\nnonce\n{prepay_id}\n".encode()
    return {
        "appid": env["WECHAT_APPID"],
        "partnerid": env["WECHAT_MCHID"],
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": "nonce",
        "timestamp": "1795255806",
        "sign": base64.b64encode(merchant.key.sign(text, *SHA256_PKCS1)).decode(),
    }


def open_app(merchant: Merchant, parameters):
    url = f"{merchant.sandbox.url}/_sandbox/wechat/app"
    return merchant.http.get(url, params=parameters, allow_redirects=False)


def test_rightly_signed_parameters_open_the_wallet(merchant):
    number, answer = create(merchant, APP)

    led = open_app(merchant, sdk_parameters(merchant, answer["prepay_id"]))

    assert led.status_code == 303
    page = merchant.http.get(merchant.sandbox.url + led.headers["Location"]).text
    assert number in page
    assert 'value="pay"' in page


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"appid": "wx0000000000000000"}, "PARAM_ERROR"),
        ({"partnerid": "1900006011"}, "PARAM_ERROR"),
        ({"package": "prepay_id=1"}, "PARAM_ERROR"),
        ({"extra": "1"}, "PARAM_ERROR"),
        ({"noncestr": None}, "PARAM_ERROR"),
        ({"timestamp": "1795255807"}, "SIGN_ERROR"),
        ({"noncestr": "other"}, "SIGN_ERROR"),
        ({"sign": "AAAA"}, "SIGN_ERROR"),
    ],
    ids=str,
)
def test_damaged_parameters_open_nothing(merchant, change, code):
    parameters = sdk_parameters(merchant, create(merchant, APP)[1]["prepay_id"]) | change

    answer = open_app(merchant, parameters)

    assert answer.json()["code"] == code
    assert answer.status_code in (400, 401)


def test_prepay_id_of_another_scene_opens_nothing_in_an_app(merchant):
    _, answer = create(merchant, H5)
    prepay_id = parse_qs(urlsplit(answer["h5_url"]).query)["prepay_id"][0]

    assert code_of(open_app(merchant, sdk_parameters(merchant, prepay_id))) == (400, "PARAM_ERROR")


# Closing while the shopper pays


def close_while_paid(merchant: Merchant, shop, when: str):
    number = merchant.create(notify_url=shop.url)
    entry = {"channel": "wechat", "operation": "close", "what": "paid_meanwhile", "when": when}
    merchant.sandbox.set_faults({"script": [entry]})
    return number, merchant.close(number)


def test_close_of_what_is_paid_in_this_moment_is_refused(merchant, shop):
    number, answer = close_while_paid(merchant, shop, "before")

    assert code_of(answer) == (400, "ORDERPAID")
    assert merchant.is_sealed(answer.headers, answer.content)
    assert merchant.query(number).json()["trade_state"] == "SUCCESS"
    assert merchant.open_notice(shop.take().body)["out_trade_no"] == number


def test_money_may_come_though_the_close_was_agreed_to(merchant, shop):
    number, answer = close_while_paid(merchant, shop, "after")

    assert answer.status_code == 204
    assert merchant.query(number).json()["trade_state"] == "SUCCESS"
    assert merchant.open_notice(shop.take().body)["out_trade_no"] == number


def test_what_is_unknown_or_paid_before_meets_the_fault_as_ever(merchant, shop):
    number = merchant.create()
    merchant.sandbox.pay(number)
    entry = {"channel": "wechat", "operation": "close", "what": "paid_meanwhile", "when": "after", "times": 2}
    merchant.sandbox.set_faults({"script": [entry]})

    assert code_of(merchant.close(number)) == (400, "ORDERPAID")
    assert code_of(merchant.close(make_number())) == (404, "ORDERNOTEXIST")
    assert len(merchant.sandbox.trades(number)) == 1
